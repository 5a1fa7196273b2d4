"""Weights on disk: what loads, what must not run, what a download survives."""

import contextlib
import errno
import hashlib
import http.server
import io
import multiprocessing
import os
import pickle
import re
import shutil
import socket
import threading
import time
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from tqdm import tqdm

from zecon_lite import weights
from zecon_lite.profiles import load_models
from zecon_lite.weights import WeightFile, adopt, download, fetch, find, load_into, read, store, verify

# 5 MB: several chunks, and the first byte of an old checkpoint
CONTENT = bytes([*range(128, 256), *range(128)]) * 20_000


class Server(http.server.BaseHTTPRequestHandler):
    ranges, cut, status, content, kind, pause = True, None, 200, CONTENT, "application/octet-stream", 0.0

    def do_GET(self):
        self.server.asked.append(self.headers.get("Range"))
        time.sleep(self.pause)
        if self.status != 200:
            self.send_error(self.status)
            return
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1]) if self.ranges else 0
        if start >= len(self.content):
            self.send_error(416)
            return
        self.send_response(206 if self.ranges and "Range" in self.headers else 200)
        self.send_header("Content-Type", self.kind)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.end_headers()
        with contextlib.suppress(OSError):  # who stopped listening is what some tests are about
            self.wfile.write(self.content[start:] if self.cut is None else self.content[start : self.cut])

    def log_message(self, *args):
        pass


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """serve(ranges=, cut=, status=, ...) -> the address of a file on a local server that behaves so.

    serve.asked lists the Range of every request that came to any of them.
    """
    monkeypatch.setenv("ZECON_LITE_HOME", str(tmp_path / "home"))
    servers = []

    def start(**behaviour):
        handler = type("Handler", (Server,), behaviour)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.asked = start.asked
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/w.pt"

    start.asked = []
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def here():
    """The names of the files in the folder of weights, without the folder of locks."""
    return sorted(path.name for path in weights.home().iterdir() if path.is_file())


GOOD = hashlib.sha256(CONTENT).hexdigest()
OTHER = CONTENT[:1] + bytes(reversed(CONTENT[1:]))

# ------------------------------------------------------------------------------------------------------------ fetching


def test_a_file_is_fetched_checked_named_and_recorded_as_sha256sum_would(serve):
    path = fetch(WeightFile("w.pt", serve(), GOOD))
    assert path.read_bytes() == CONTENT and here() == ["w.pt", "w.pt.sha256"]
    assert path.with_name("w.pt.sha256").read_text() == f"{GOOD}  w.pt\n"


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_goes_on_or_starts_again(serve, ranges):
    with pytest.raises(ConnectionError, match=r"the connection ended 2120000 bytes early.* run again to go on"):
        fetch(WeightFile("w.pt", serve(cut=3_000_000), GOOD))
    assert here() == ["w.pt.partial"]
    assert fetch(WeightFile("w.pt", serve(ranges=ranges), GOOD)).read_bytes() == CONTENT
    assert serve.asked == [None, "bytes=3000000-"]


def test_the_bar_counts_bytes_with_their_rate_from_where_the_download_goes_on(serve, monkeypatch):
    bars = []

    def bar(total, desc):
        bars.append(tqdm(total=total, desc=desc, file=io.StringIO()))
        return bars[-1]

    weights.home().mkdir(parents=True)
    (weights.home() / "w.pt.partial").write_bytes(CONTENT[:3_000_000])
    monkeypatch.setattr(download, "bar", bar)
    fetch(WeightFile("w.pt", serve(), GOOD))
    assert (bars[0].initial, bars[0].n, bars[0].total) == (3_000_000, len(CONTENT), len(CONTENT))
    assert re.search(r"fetching w\.pt: 100%.* 5\.12M/5\.12M \[.*<.*B/s\]", str(bars[0]))


def test_a_complete_partial_file_is_only_checked(serve):
    weights.home().mkdir(parents=True)
    (weights.home() / "w.pt.partial").write_bytes(CONTENT)
    assert fetch(WeightFile("w.pt", serve(), GOOD)).read_bytes() == CONTENT


def test_a_wrong_hash_deletes_what_came(serve):
    with pytest.raises(ValueError, match=r"its sha256 is .*, wanted 000000000000\.\.\.; it was deleted"):
        fetch(WeightFile("w.pt", serve(), "0" * 64))
    assert here() == []


def test_an_address_that_is_gone_says_how_to_go_on(serve):
    with pytest.raises(ConnectionError, match=r"answered 404.* by hand"):
        fetch(WeightFile("w.pt", serve(status=404), GOOD))


@pytest.mark.parametrize("fault", [{"status": 404}, {"content": OTHER}, {"cut": 1_000_000}, {"kind": "text/html"}])
def test_where_one_address_fails_its_mirror_is_asked(serve, fault):
    file = WeightFile("w.pt", serve(**fault), GOOD, mirrors=(serve(),))
    assert fetch(file).read_bytes() == CONTENT
    assert len(serve.asked) == 2 and here() == ["w.pt", "w.pt.sha256"]


def test_a_mirror_that_is_given_is_asked_before_the_others(serve):
    mirror = serve().removesuffix("/w.pt")
    assert fetch(WeightFile("w.pt", serve(status=404), GOOD), mirror + "/").read_bytes() == CONTENT
    assert len(serve.asked) == 1


def test_when_all_addresses_fail_each_is_named_with_its_reason(serve):
    file = WeightFile("w.pt", serve(status=404), GOOD, mirrors=(serve(status=503),))
    with pytest.raises(ConnectionError, match=r"w\.pt answered 404; .*w\.pt answered 503\)"):
        fetch(file)


def test_halves_of_a_file_without_a_hash_are_not_mixed(serve):
    file = WeightFile("w.pt", serve(cut=3_000_000, content=OTHER), mirrors=(serve(),))
    assert fetch(file).read_bytes() == CONTENT
    assert serve.asked == [None, None]


def test_a_web_page_is_not_taken_for_the_file(serve):
    with pytest.raises(ConnectionError, match="a web page came, not the file"):
        fetch(WeightFile("w.pt", serve(kind="text/html; charset=utf-8")))
    assert here() == []


def test_a_server_that_falls_silent_is_given_up(serve):
    with pytest.raises(ConnectionError, match=r"sent nothing for 0\.2 s|timed out"):
        fetch(WeightFile("w.pt", serve(pause=1.0), GOOD), timeout=0.2)
    assert here() == []


def test_nobody_at_the_address_is_a_sentence(serve):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionError, match=r"could not fetch w\.pt .*refused"):
            fetch(WeightFile("w.pt", f"http://127.0.0.1:{unused.getsockname()[1]}/w.pt", GOOD))


def test_a_disk_too_small_is_seen_before_anything_is_written(serve, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1_000_000))
    with pytest.raises(OSError, match=r"w\.pt needs 5\.12 MB more and the disk of .* has 1 MB left: make room"):
        fetch(WeightFile("w.pt", serve(), GOOD, mirrors=(serve(),)))
    assert here() == [] and len(serve.asked) == 1


def test_a_disk_that_becomes_full_leaves_what_a_later_run_goes_on_from(serve, monkeypatch):
    class Full:
        """A file on a disk with room for 2 MB, which takes odd amounts as an unbuffered file may."""

        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, data):
            room = 2_000_000 - self.file.tell()
            if not room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(data[: min(room, 700_001)])

    with monkeypatch.context() as full:
        full.setattr(download, "open", lambda path, *how, **more: Full(path.open(*how, **more)), raising=False)
        with pytest.raises(OSError, match=r"the disk became full while w\.pt came: make room and run again"):
            fetch(WeightFile("w.pt", serve(), GOOD))
    assert (weights.home() / "w.pt.partial").read_bytes() == CONTENT[:2_000_000]
    assert fetch(WeightFile("w.pt", serve(), GOOD)).read_bytes() == CONTENT
    assert serve.asked[-1] == "bytes=2000000-"


def test_of_two_processes_one_downloads_and_the_other_waits(serve):
    file = WeightFile("w.pt", serve(pause=0.5), GOOD)
    children = [multiprocessing.get_context("fork").Process(target=fetch, args=(file,)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
    assert len(serve.asked) == 1 and here() == ["w.pt", "w.pt.sha256"]


def test_who_waits_for_another_is_told(serve):
    from zecon_lite.weights.store import _locked

    file = WeightFile("w.pt", serve(), GOOD)
    weights.home().mkdir(parents=True)
    told = pytest.raises(UserWarning, match=r"another process is fetching w\.pt: waiting for it")
    with _locked(file), told, warnings.catch_warnings():
        warnings.simplefilter("error")
        fetch(file)


# ------------------------------------------------------------------------------------------------------ files at hand


def test_a_file_already_there_is_not_fetched(serve):
    weights.home().mkdir(parents=True)
    (weights.home() / "w.pt").write_bytes(b"\x80mine")
    assert find(WeightFile("w.pt", serve())).read_bytes() == b"\x80mine"
    assert serve.asked == []


def test_a_file_without_an_address_says_where_to_get_it_and_put_it(monkeypatch, tmp_path):
    monkeypatch.setenv("ZECON_LITE_HOME", str(tmp_path))
    file = WeightFile("hand.pt", where="ask its author")
    with pytest.raises(FileNotFoundError, match=r"hand\.pt is not in .* put it there, or set ZECON_LITE_HOME"):
        find(file)
    with pytest.raises(FileNotFoundError, match=r"there is no address for hand\.pt: ask its author"):
        fetch(file)


def test_a_file_put_there_by_hand_is_checked_before_its_first_use_and_after_every_change(serve, monkeypatch):
    file = WeightFile("w.pt", serve(), GOOD)
    weights.home().mkdir(parents=True)
    path = weights.home() / "w.pt"
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match=r"is not the published file: .* fetch it again, or take it out"):
        find(file)
    path.write_bytes(CONTENT)
    assert find(file) == path
    monkeypatch.setattr(store, "sha256", lambda path: pytest.fail("it was hashed again, and has not changed"))
    assert find(file) == path
    monkeypatch.undo()
    monkeypatch.setenv("ZECON_LITE_HOME", str(path.parent))
    path.write_bytes(OTHER)
    os.utime(path, ns=(1, 1))  # older than the record, as an unpacked archive would be
    with pytest.raises(ValueError, match="is not the published file"):
        find(file)
    assert serve.asked == []


def test_fetching_replaces_a_damaged_file_and_leaves_a_good_one(serve):
    file = WeightFile("w.pt", serve(), GOOD)
    fetch(file)
    fetch(file)
    assert len(serve.asked) == 1
    weights.path_of(file).write_bytes(CONTENT[:100])
    assert fetch(file).read_bytes() == CONTENT and len(serve.asked) == 2


def test_a_folder_that_may_only_be_read_serves_too(serve, monkeypatch):
    weights.home().mkdir(parents=True)
    (weights.home() / "w.pt").write_bytes(CONTENT)

    def refuse(*args, **options):
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "write_text", refuse)
    assert find(WeightFile("w.pt", serve(), GOOD)).name == "w.pt" and here() == ["w.pt"]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_elsewhere_on_this_computer_is_linked_or_copied(serve, tmp_path, monkeypatch, links):
    mine = tmp_path / "downloads" / "w.pt"
    mine.parent.mkdir()
    mine.write_bytes(CONTENT)
    if not links:

        def refuse(*args):
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", refuse)
    path = adopt(WeightFile("w.pt", serve(), GOOD), mine.parent)
    assert path.samefile(mine) == links and path.read_bytes() == CONTENT
    assert adopt(WeightFile("w.pt", serve(), GOOD), path) == path  # it is there already
    mine.unlink()
    assert find(WeightFile("w.pt", serve(), GOOD)) == path and here() == ["w.pt", "w.pt.sha256"]
    assert serve.asked == []


def test_a_wrong_file_elsewhere_is_refused_and_left(serve, tmp_path):
    (tmp_path / "w.pt").write_bytes(OTHER)
    with pytest.raises(ValueError, match=r"is not the published file: .*; it was left where it is"):
        adopt(WeightFile("w.pt", None, GOOD), tmp_path / "w.pt")
    assert (tmp_path / "w.pt").read_bytes() == OTHER and here() == []


def test_of_two_files_in_a_folder_the_one_named_as_at_its_address_is_taken(serve, tmp_path):
    """As in Stable Diffusion's: halves beside their originals, which have the name that is looked for here."""
    (tmp_path / "model.pt").write_bytes(OTHER)
    (tmp_path / "model.fp16.pt").write_bytes(CONTENT)
    file = WeightFile("sd/model.pt", "https://example.org/model.fp16.pt", GOOD)
    assert adopt(file, tmp_path).read_bytes() == CONTENT


# ------------------------------------------------------------------------------------------------- trust on first use


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><title>Quota exceeded</title>", b"PK\x03\x04 half of an archive"])
def test_without_a_published_hash_what_is_no_checkpoint_is_refused_before_it_is_trusted(serve, tmp_path, content):
    file = WeightFile("w.pt", serve(content=content))
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"is no checkpoint, or only the beginning of one; it was left"):
        adopt(file, tmp_path)
    with pytest.raises(ValueError, match=r"what came is no checkpoint, .*; it was deleted"):
        fetch(file)
    assert here() == []
    (weights.home() / "w.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"w\.pt is no checkpoint, .*; fetch it again"):
        find(file)
    assert "is no checkpoint" in verify(file)


def test_a_hash_that_nobody_publishes_is_recorded_and_a_change_warned_of_until_it_is_accepted(serve):
    path = fetch(WeightFile("w.pt", serve()))
    record = path.with_name("w.pt.sha256")
    assert record.read_text().split() == [GOOD, "w.pt"]
    path.unlink()
    changed = WeightFile("w.pt", serve(content=OTHER))
    with pytest.warns(UserWarning, match=r"is not the file that came first: .* to trust it .* delete w\.pt\.sha256"):
        fetch(changed)
    assert record.read_text().split()[0] == GOOD
    with pytest.warns(UserWarning, match="is not the file that came first"):
        find(changed)
    assert "is not the file that came first" in verify(changed)
    record.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        find(changed)
    assert record.read_text().split()[0] == hashlib.sha256(OTHER).hexdigest() and verify(changed) is None


def test_verify_reads_the_file_whatever_its_record_says(serve):
    file = WeightFile("w.pt", serve(), GOOD)
    path = fetch(file)
    assert verify(file) is None
    before = path.stat().st_mtime_ns
    path.write_bytes(OTHER)
    os.utime(path, ns=(before, before))
    assert find(file) == path  # its time has not changed: not looked at
    assert "is not the published file" in verify(file)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="fetch it first"):
        verify(file)


# ------------------------------------------------------------------------------------------------------------ reading


class Hostile:
    """Unpickled by Python itself, it makes a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def save_bare(thing, path):
    path.write_bytes(pickle.dumps(thing, protocol=2))


def save_old(thing, path):
    torch.save(thing, path, _use_new_zipfile_serialization=False)


def save_as_torchscript(thing, path):
    """The hostile pickle in the place of an archive's own."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/constants.pkl", pickle.dumps(()))
        archive.writestr("w/data.pkl", pickle.dumps(thing))


@pytest.mark.parametrize("save", [torch.save, save_old, save_bare, save_as_torchscript])
def test_code_in_a_checkpoint_does_not_run(tmp_path, save):
    save({"weight": Hostile(tmp_path / "ran")}, tmp_path / "hostile.pt")
    with pytest.raises(ValueError, match="holds more than tensors, and was not loaded"):
        read(tmp_path / "hostile.pt")
    assert not (tmp_path / "ran").exists()


def test_the_hostile_checkpoint_would_run_if_it_were_let(tmp_path):
    save_bare({"weight": Hostile(tmp_path / "ran")}, tmp_path / "hostile.pt")
    pickle.loads((tmp_path / "hostile.pt").read_bytes())
    assert (tmp_path / "ran").exists()


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


def test_a_file_that_is_cut_or_changed_anywhere_says_so(tmp_path):
    torch.save({"w": torch.arange(30.0)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    whole, generator = (tmp_path / "old.pt").read_bytes(), torch.Generator().manual_seed(0)
    refused = 0
    for at in torch.randint(len(whole), (60,), generator=generator).tolist():
        for data in (whole[:at], whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :]):
            (tmp_path / "w.pt").write_bytes(data)
            try:
                read(tmp_path / "w.pt")    # another number is no damage that can be seen
            except ValueError as error:
                refused += "w.pt" in str(error)
    assert refused > 60


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


def test_an_unknown_profile_offers_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'imagenet256'"):
        load_models("imagenet")


@pytest.mark.parametrize("dtype", [torch.float64, "float16"])
def test_a_precision_that_no_network_computes_in_is_refused(dtype):
    with pytest.raises(ValueError, match=r"dtype must be None or one of torch\.float32, torch\.float16"):
        load_models("tiny", "cpu", dtype)


def test_the_home_may_begin_with_a_tilde(monkeypatch):
    monkeypatch.setenv("ZECON_LITE_HOME", "~/w")
    assert weights.home() == Path.home() / "w"


def test_a_device_that_is_not_there_says_so():
    with pytest.raises(ValueError, match=r"is not there .* use device='cpu'"):
        load_models("tiny", device="cuda:99")
    with pytest.raises(ValueError, match="the device 'meta' is not there"):
        load_models("tiny", device="meta")
