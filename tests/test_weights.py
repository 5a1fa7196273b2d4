"""Weights on disk: what loads, what must not run, what a download survives."""

import hashlib
import http.server
import pickle
import threading

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from zecon_lite import weights
from zecon_lite.profiles import PROFILES, load_models
from zecon_lite.weights import WeightFile, fetch, find, load_into, read

CONTENT = bytes(range(256)) * 20_000  # 5 MB: several chunks


class Server(http.server.BaseHTTPRequestHandler):
    ranges, cut, status = True, None, 200

    def do_GET(self):
        if self.status != 200:
            self.send_error(self.status)
            return
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1]) if self.ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if self.ranges and "Range" in self.headers else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start:] if self.cut is None else CONTENT[start : self.cut])

    def log_message(self, *args):
        pass


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """serve(ranges=, cut=, status=) -> the address of a file on a local server that behaves so."""
    monkeypatch.setenv("ZECON_LITE_HOME", str(tmp_path / "home"))
    servers = []

    def start(**behaviour):
        handler = type("Handler", (Server,), behaviour)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/file"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


GOOD = hashlib.sha256(CONTENT).hexdigest()


def test_a_file_is_fetched_checked_and_named(serve):
    path = fetch(WeightFile("w.pt", serve(), GOOD))
    assert path.read_bytes() == CONTENT and not path.with_name("w.pt.partial").exists()


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_goes_on_or_starts_again(serve, ranges):
    with pytest.raises(ConnectionError, match=r"run again to go on"):
        fetch(WeightFile("w.pt", serve(cut=3_000_000), GOOD))
    partial = weights.home() / "w.pt.partial"
    assert partial.exists() and not (weights.home() / "w.pt").exists()
    assert fetch(WeightFile("w.pt", serve(ranges=ranges), GOOD)).read_bytes() == CONTENT


def test_a_complete_partial_file_is_only_checked(serve):
    weights.home().mkdir(parents=True)
    (weights.home() / "w.pt.partial").write_bytes(CONTENT)
    assert fetch(WeightFile("w.pt", serve(), GOOD)).read_bytes() == CONTENT


def test_a_wrong_hash_deletes_what_came(serve):
    with pytest.raises(ValueError, match="sha256"):
        fetch(WeightFile("w.pt", serve(), "0" * 64))
    assert list(weights.home().iterdir()) == []


def test_an_address_that_is_gone_says_how_to_go_on(serve):
    with pytest.raises(ConnectionError, match=r"answered 404: .* by hand"):
        fetch(WeightFile("w.pt", serve(status=404), GOOD))


def test_a_file_already_there_is_not_fetched(serve):
    weights.home().mkdir(parents=True)
    (weights.home() / "w.pt").write_bytes(b"mine")
    assert find(WeightFile("w.pt", serve(status=404))).read_bytes() == b"mine"


def test_a_file_without_an_address_says_where_to_get_it_and_put_it(monkeypatch, tmp_path):
    monkeypatch.setenv("ZECON_LITE_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"ffhq_10m\.pt is not in .* put it there, or set ZECON_LITE_HOME"):
        find(weights.FFHQ256)


class Hostile:
    def __reduce__(self):
        import os

        return os.mkdir, (self.folder,)


def test_code_in_a_checkpoint_does_not_run(tmp_path):
    hostile, path = Hostile(), tmp_path / "hostile.pt"
    hostile.folder = str(tmp_path / "ran")
    torch.save({"weight": hostile}, path)
    with pytest.raises(ValueError, match="holds more than tensors, and was not loaded"):
        read(path)
    assert not (tmp_path / "ran").exists()
    with open(path, "rb") as file, pytest.raises((pickle.UnpicklingError, ValueError, KeyError)):
        pickle.load(file)  # a zip, not a bare pickle: nothing to run here either


def test_both_formats_hold_the_same_tensors(tmp_path):
    tensors = {"a": torch.arange(3.0), "b": torch.ones(2, 2, dtype=torch.float16)}
    save_file(tensors, tmp_path / "w.safetensors")
    torch.save(tensors, tmp_path / "w.pt")
    torch.save({"state_dict": tensors}, tmp_path / "nested.pt")
    for name in ("w.safetensors", "w.pt", "nested.pt"):
        got = read(tmp_path / name)
        assert set(got) == {"a", "b"} and all(torch.equal(got[k], tensors[k]) for k in tensors)


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_a_damaged_file_says_so(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x00damaged" * 100)
    with pytest.raises(ValueError, match="damaged"):
        read(tmp_path / name)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights at"):
        read(tmp_path / "none.pt")


def test_something_else_than_tensors_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match="does not hold a table of tensors"):
        read(tmp_path / "w.pt")


def test_a_mismatch_takes_three_lines_not_two_thousand_names():
    tensors = {"weight": torch.ones(5, 2), "other": torch.ones(1)}
    with pytest.raises(ValueError) as caught:
        load_into(nn.Linear(2, 3), tensors, "these weights")
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert lines[1:] == ["1 missing (such as bias); 1 unknown (such as other);", "1 of another shape (such as weight)"]


def test_loaded_weights_are_single_precision_and_frozen():
    network = load_into(nn.Linear(2, 3), {"weight": torch.ones(3, 2).half(), "bias": torch.zeros(3).half()}, "w")
    assert network.weight.dtype == torch.float32 and not network.training
    assert not any(p.requires_grad for p in network.parameters())


def test_a_published_checkpoint_of_the_right_layout_loads_through_its_profile(tmp_path, monkeypatch):
    """The published keys at a small width, saved as OpenAI saves them; the profile's own loading code reads it."""
    import dataclasses

    from zecon_lite import profiles
    from zecon_lite.models.unet import UNet

    small = dataclasses.replace(PROFILES["imagenet256"].unet, model_channels=32, num_head_channels=32)
    torch.manual_seed(0)
    torch.save(UNet(small).state_dict(), tmp_path / "256x256_diffusion_uncond.pt")
    monkeypatch.setenv("ZECON_LITE_HOME", str(tmp_path))
    monkeypatch.setitem(profiles.PROFILES, "imagenet256", dataclasses.replace(PROFILES["imagenet256"], unet=small))
    denoiser = load_models("imagenet256", device="cpu").denoiser.respace(50)
    with torch.no_grad():
        p = denoiser(torch.zeros(1, 3, 64, 64), 25)
    assert p.x0.shape == (1, 3, 64, 64) and torch.isfinite(p.log_variance).all()
    assert len(UNet(small).state_dict()) == 566


def test_an_unknown_profile_offers_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'imagenet256'"):
        load_models("imagenet")


def test_a_device_that_is_not_there_says_so():
    with pytest.raises(ValueError, match=r"is not there .* use device='cpu'"):
        load_models("tiny", device="cuda:99")
