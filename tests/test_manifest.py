"""The table of published files, the command that fetches them, and stand-ins of their exact layouts."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys

import pytest
import stable_diffusion
import torch
from conftest import ROOT
from fabricate import KINDS, OPENAI_NUMBERS, fabricate, own_hashes, save_torchscript, shrink
from test_cli import plain, run
from test_dependencies import MODULES

from zecon_lite import profiles, weights
from zecon_lite.models.unet import UNet
from zecon_lite.models.vit import ViT
from zecon_lite.weights import MANIFEST
from zecon_lite.weights.download import readable

FILES = [file for files in MANIFEST.values() for file in files]
full_size = pytest.mark.skipif("ZECON_LITE_SLOW" not in os.environ, reason="full size: set ZECON_LITE_SLOW=1")

# ----------------------------------------------------------------------------------------------------------- the table


def test_every_file_says_where_it_is_whose_it_is_and_who_loads_it():
    for file in FILES:
        assert file.url and all(a.startswith("https://") for a in (file.url, *file.mirrors)), file.name
        assert file.licence and file.loaded_by and re.search(r"arXiv:\d{4}\.\d{5}|arXiv:1409\.1556", file.citation)
        assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256), file.name
        assert set(file.profiles) <= set(profiles.PROFILES)
    assert len({file.name for file in FILES}) == len(FILES) == len({file.sha256 for file in FILES})


def test_the_one_file_without_a_published_hash_is_named_and_comes_from_one_address():
    assert [file.name for file in FILES if file.sha256 is None] == ["ffhq_baseline.pt"]
    assert not MANIFEST["ffhq_baseline"][0].mirrors    # two sources could not be told apart


def test_files_with_one_address_or_of_unknown_size_are_named_so_that_none_is_added_unnoticed():
    dino = ["vit_base_patch8_224.dino.safetensors"]
    # No other address is named where none is known to hold the same bytes.
    assert [file.name for file in FILES if not file.mirrors] == ["ffhq_baseline.pt", *dino, "vgg19-dcbb9e9d.pth"]
    assert [file.name for file in FILES if file.size is None] == ["ffhq_baseline.pt", *dino]


@pytest.mark.parametrize("name", [name for name in MANIFEST if name.startswith("clip")])
def test_openai_s_addresses_hold_the_hash_and_open_clip_names_the_same(name):
    from open_clip.pretrained import get_pretrained_url

    (file,) = MANIFEST[name]
    assert file.url == get_pretrained_url(profiles._ENSEMBLE[name], "openai")
    assert f"/{file.sha256}/" in file.url


def test_torchvision_names_the_same_vgg():
    from torchvision.models import VGG19_Weights

    (file,) = MANIFEST["vgg19"]
    assert VGG19_Weights.IMAGENET1K_V1.url == file.url
    assert file.sha256.startswith(re.search(r"-(\w+)\.pth", file.url)[1])
    assert VGG19_Weights.IMAGENET1K_V1.meta["_file_size"] == pytest.approx(file.size / 2**20, abs=1e-3)


@pytest.mark.parametrize("name", ["256x256_diffusion_uncond", "ffhq_10m"])
def test_the_size_of_a_file_is_that_of_its_network(name):
    (file,) = MANIFEST[name]
    with torch.device("meta"):
        numbers = sum(p.numel() for p in UNet(profiles.PROFILES[file.profiles[0]].unet).parameters())
    assert 4 * numbers < file.size < 4 * numbers + 200_000


def test_a_profile_needs_its_unet_its_clip_and_its_vgg():
    assert [file.name for file in weights.needed_by("imagenet256")] == [
        "256x256_diffusion_uncond.pt", "ViT-B-16.pt", "vgg19-dcbb9e9d.pth",
    ]
    assert weights.needed_by("tiny") == ()
    for name in set(profiles.PROFILES) - {"tiny"}:
        assert len(weights.needed_by(name)) == 3


@pytest.mark.parametrize(("size", "said"), [(None, "?"), (541, "541 B"), (374_417_833, "374 MB"), (2.2e9, "2.2 GB")])
def test_sizes_are_said_as_people_say_them(size, said):
    assert readable(size) == said


# ---------------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def entries(tmp_path, monkeypatch):
    """A manifest of two entries, one of two files; returns a folder that holds them, as a download site would."""
    monkeypatch.setenv("ZECON_LITE_HOME", str(tmp_path / "home"))
    site = tmp_path / "site"
    (site / "pair").mkdir(parents=True)
    table = {}
    for name, entry in (("one.pt", "one"), ("pair/a.bin", "pair"), ("pair/b.bin", "pair")):
        (site / name).write_bytes(name.encode() * 100)
        digest = weights.sha256(site / name)
        file = weights.WeightFile(name, (site / name).as_uri(), digest, len(name) * 100, "MIT", loaded_by="a test")
        table[entry] = (*table.get(entry, ()), file)
    table["one"] = (dataclasses.replace(table["one"][0], profiles=("tiny",)),)
    for name in list(MANIFEST):
        monkeypatch.delitem(MANIFEST, name)
    for name, files in table.items():
        monkeypatch.setitem(MANIFEST, name, files)
    return site


def test_list_says_what_is_here(entries):
    assert re.search(r"one +│ 600 B +│ no +│ MIT +│ tiny", run("weights", "list").stdout)
    run("weights", "fetch", "one")
    weights.adopt(MANIFEST["pair"][0], entries)
    said = run("weights", "list").stdout
    assert re.search(r"one +│ 600 B +│ yes ", said) and re.search(r"pair +│ 2 kB +│ partly ", said)


def test_fetch_takes_entries_and_profiles_and_where_finds_them(entries):
    assert run("weights", "fetch", "pair", "tiny").exit_code == 0
    home = weights.home()
    assert run("weights", "where", "pair", "one").stdout.split() == [str(home / "pair"), str(home / "one.pt")]
    assert (home / "pair/b.bin").read_bytes() == b"pair/b.bin" * 100


def test_verify_ends_with_2_when_a_file_is_wrong_and_names_it(entries):
    run("weights", "fetch", "one", "pair")
    good = run("weights", "verify")
    assert good.exit_code == 0 and good.stdout.count("good ") == 3
    (weights.home() / "one.pt").write_bytes(b"another")
    done = run("weights", "verify")
    assert done.exit_code == 2 and done.stdout.count("good ") == 2
    assert re.search(r"one\.pt is not the published file: .* 1 of the files must not be used", plain(done.stderr))


def test_a_file_at_hand_is_taken_from_a_path_or_a_folder(entries):
    done = run("weights", "fetch", "one", "--from", entries / "one.pt")
    assert done.exit_code == 0 and done.stdout == f"checked {weights.home() / 'one.pt'}\n"
    assert run("weights", "fetch", "pair", "--from", entries / "pair").exit_code == 0
    assert run("weights", "verify").exit_code == 0


def test_a_file_at_hand_may_have_the_name_of_its_address(entries, tmp_path):
    (tmp_path / "pair").mkdir()
    (entries / "pair/a.bin").rename(tmp_path / "pair/a.fp16.bin")
    file = dataclasses.replace(MANIFEST["pair"][0], url="https://example.org/pair/a.fp16.bin")
    assert weights.adopt(file, tmp_path / "pair").name == "a.bin"


def test_a_mirror_is_asked_first(entries, tmp_path):
    (entries / "one.pt").rename(tmp_path / "one.pt")
    assert run("weights", "fetch", "one", "--mirror", tmp_path.as_uri()).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fetch", "oen"], "there are no published weights 'oen'; did you mean 'one'?"),
        (["where", "one"], "one.pt is not in"),
        (["verify", "one"], "fetch it first"),
        (["fetch", "one", "--from", "nowhere.pt"], "there is no file nowhere.pt: give one.pt, or the folder"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(entries, arguments, message):
    done = run("weights", *arguments)
    assert done.exit_code == 2 and message in plain(done.stderr) and "Traceback" not in done.stderr


# ------------------------------------------------------------------------------------------------------------ stand-ins


def load(name):
    """Load a file of the manifest the way that its profile does."""
    (file,) = MANIFEST[name]
    if name.startswith("clip"):
        return profiles._clip(name).model
    if name.startswith("dino"):
        network = ViT.unfilled(file.name.removesuffix(".safetensors")).model
        return weights.load_into(network, profiles._published(name), name)
    if name == "vgg19":
        return profiles._vgg().features
    if name == "arcface-ir-se50":
        return profiles._face()
    return profiles.load_models(file.profiles[0], "cpu").denoiser.unet


def check_that_it_loads(name, tmp_path, monkeypatch):
    monkeypatch.setenv("ZECON_LITE_HOME", str(tmp_path))
    monkeypatch.setitem(MANIFEST, name, fabricate(name, tmp_path))
    network = load(name)
    stored = profiles._published(name)
    loaded = network.state_dict()
    last = next(key for key in reversed(loaded) if loaded[key].is_floating_point())
    theirs = stored[f"features.{last}" if name == "vgg19" else last]
    assert torch.equal(loaded[last], theirs.float()) and theirs.abs().sum() > 0
    assert not any(p.requires_grad or p.dtype != torch.float32 for p in network.parameters())


@pytest.mark.parametrize("name", KINDS)
def test_a_small_stand_in_of_the_published_layout_loads_strictly(name, tmp_path, monkeypatch):
    shrink(monkeypatch)
    check_that_it_loads(name, tmp_path, monkeypatch)


@full_size
@pytest.mark.parametrize("name", KINDS)
def test_a_full_size_stand_in_of_the_published_layout_loads_strictly(name, tmp_path, monkeypatch):
    size = MANIFEST[name][0].size
    check_that_it_loads(name, tmp_path, monkeypatch)
    path = weights.path_of(MANIFEST[name][0])
    if size and not name.startswith("clip"):    # OpenAI's archives keep some tensors in single precision
        assert path.stat().st_size == pytest.approx(size, rel=1e-3)
    path.unlink()


def test_the_small_files_of_stable_diffusion_are_the_published_ones_to_the_byte(tmp_path):
    stable_diffusion.write_small_files(tmp_path / "stable-diffusion-v1-5")
    written = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*.*")}
    small = [file for file in MANIFEST["stable-diffusion-v1-5"] if file.name.endswith((".json", ".txt"))]
    assert {name: weights.sha256(path) for name, path in written.items()} == {file.name: file.sha256 for file in small}


def test_stable_diffusion_by_its_name_is_what_was_fetched_once_all_of_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("ZECON_LITE_HOME", str(tmp_path))
    monkeypatch.setattr(profiles, "_latent", lambda: "fetched")
    monkeypatch.setattr(profiles.Latent, "pretrained", lambda name: name)
    name, files = profiles.STABLE_DIFFUSION, [weights.path_of(file) for file in MANIFEST["stable-diffusion-v1-5"]]
    for path in files:
        assert profiles.latent_named(name) == name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert profiles.latent_named(name) == "fetched" and profiles.latent_named("another") == "another"


def check_that_it_holds(network, path):
    """A network has exactly the tensors that are stored at the path, but for those that only count positions."""
    from safetensors import safe_open

    loaded = {name.removeprefix("text_model."): tensor for name, tensor in network.state_dict().items()}
    with safe_open(path, "pt") as stored:
        names = {name.removeprefix("text_model."): name for name in stored.keys()}    # noqa: SIM118  (not a mapping)
        names.pop("embeddings.position_ids", None)
        assert names.keys() == loaded.keys()
        for name, tensor in loaded.items():
            assert torch.equal(stored.get_tensor(names[name]).float(), tensor), name


@full_size
def test_a_full_size_stable_diffusion_of_the_published_layout_loads_strictly(tmp_path, monkeypatch):
    pytest.importorskip("diffusers")
    monkeypatch.setenv("ZECON_LITE_HOME", str(tmp_path))
    folder = tmp_path / "stable-diffusion-v1-5"
    try:
        stable_diffusion.write(folder)
        sizes = {p.relative_to(tmp_path).as_posix(): p.stat().st_size for p in folder.rglob("*") if p.is_file()}
        assert sizes == {file.name: file.size for file in MANIFEST["stable-diffusion-v1-5"]}
        own_hashes(monkeypatch)
        latent = profiles.load_models("imagenet256", "cpu").latent
        for network, name, count in (
            (latent.unet, "unet/diffusion_pytorch_model", 859_520_964),
            (latent.autoencoder, "vae/diffusion_pytorch_model", 83_653_863),
            (latent.text_encoder, "text_encoder/model", 123_060_480),
        ):
            assert sum(p.numel() for p in network.parameters()) == count
            assert not any(p.requires_grad or p.dtype != torch.float32 for p in network.parameters())
            check_that_it_holds(network, folder / f"{name}.safetensors")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert (latent.size, latent.multiple) == (512, 64)
    z, text, layers = latent.encode(torch.zeros(1, 3, 64, 64)), latent.text(["a cat"]), latent.layers()
    with torch.no_grad():
        eps, maps = latent.predict(z, 500, text, layers)
    assert text.shape == (1, 77, 768) and z.shape == eps.shape == (1, 4, 8, 8)
    assert [m.shape[1:] for m in maps] == [(1280, 2, 2)] * 3 + [(640, 4, 4)] * 3 + [(320, 8, 8)] * 3
    assert eps.isfinite().all() and latent.decode(z).isfinite().all() and eps.std() > 0


def test_the_guided_network_of_a_stand_in_runs(tmp_path, monkeypatch):
    shrink(monkeypatch)
    monkeypatch.setenv("ZECON_LITE_HOME", str(tmp_path))
    monkeypatch.setitem(MANIFEST, "256x256_diffusion_uncond", fabricate("256x256_diffusion_uncond", tmp_path))
    denoiser = profiles.load_models("imagenet256", device="cpu").denoiser.respace(50)
    with torch.no_grad():
        p = denoiser(torch.zeros(1, 3, 64, 64), 25)
    assert p.x0.shape == (1, 3, 64, 64) and torch.isfinite(p.log_variance).all()


def test_the_published_profiles_have_the_papers_numbers():
    from open_clip import get_model_config

    for name in set(profiles.PROFILES) - {"tiny"}:
        profile = profiles.PROFILES[name]
        told = (profile.size, profile.denoiser, profile.schedule, profile.small)
        assert told == (256, profiles.LearnedVariance, profiles.Schedule.linear, False)
        assert (profile.feature_blocks, profile.style_layers) == ((0, 2, 5, 8, 11), (1, 6, 11, 20, 29))
    assert all(get_model_config(name)["quick_gelu"] for name in profiles._ENSEMBLE.values())


def test_auto_takes_a_gpu_and_half_precision_for_the_published_networks_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", lambda *size, device: torch.zeros(size))    # the GPU is made up
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    full, tiny = profiles.load_models("imagenet256"), profiles.load_models("tiny")
    assert full.device.type == tiny.device.type == "cuda"
    assert (full.dtype, tiny.dtype) == (torch.bfloat16, torch.float32)


def test_a_published_profile_loads_all_its_networks_from_the_manifest(tmp_path, monkeypatch):
    shrink(monkeypatch)
    monkeypatch.setenv("ZECON_LITE_HOME", str(tmp_path))
    for name in (*profiles._ENSEMBLE, "dino-vit-b-8", "vgg19", "arcface-ir-se50"):
        monkeypatch.setitem(MANIFEST, name, fabricate(name, tmp_path))
    folder = weights.WeightFile("stable-diffusion-v1-5/vae/config.json", ROOT.joinpath("pyproject.toml").as_uri())
    monkeypatch.setitem(MANIFEST, "stable-diffusion-v1-5", (folder,))
    monkeypatch.setattr(profiles.Latent, "pretrained", lambda path: torch.nn.Linear(1, int((path / "vae").is_dir())))
    models = profiles.load_models("ffhq256_baseline", "cpu")
    assert [clip.size for clip in models.clips] == [224, 288, 224, 384, 224]
    assert models.clip.resize is profiles.by_area and {clip.resize for clip in models.clips} == {profiles.bilinear}
    assert models.clip.image(torch.zeros(1, 3, 64, 64)).shape == (1, 32)
    assert models.vit.keys_and_cls(torch.zeros(1, 3, 224, 224))[1].shape == (1, 48)
    assert len(models.vgg(torch.zeros(1, 3, 64, 64))) == 2 and models.latent.out_features == 1
    assert models.face(torch.zeros(1, 3, 112, 112)).shape == (1, 32)


def test_a_stand_in_that_was_tampered_with_does_not_load(tmp_path, monkeypatch):
    shrink(monkeypatch)
    monkeypatch.setenv("ZECON_LITE_HOME", str(tmp_path))
    monkeypatch.setitem(MANIFEST, "vgg19", fabricate("vgg19", tmp_path))
    load("vgg19")
    with open(weights.path_of(MANIFEST["vgg19"][0]), "ab") as file:
        file.write(b"!")
    with pytest.raises(ValueError, match=r"is not the published file: its sha256 is .* fetch it again"):
        load("vgg19")


def test_a_torchscript_archive_gives_the_tensors_that_torch_would(tmp_path):
    tensors = {"visual.proj": torch.randn(3, 2).half(), "a.0.weight": torch.randn(2, 5).T, "empty": torch.zeros(0)}
    tensors |= {k: torch.tensor(v) for k, v in OPENAI_NUMBERS.items()}
    save_torchscript(tensors, tmp_path / "w.pt")
    got = weights.read(tmp_path / "w.pt")
    assert set(got) == set(tensors)
    assert all(torch.equal(got[k], v) and got[k].dtype == v.dtype for k, v in tensors.items())


# ------------------------------------------------------------------------------------------------------- no connections


def test_importing_every_module_opens_no_connection():
    program = """
import importlib, socket, sys
def refuse(*args, **kwargs):
    raise SystemExit(f"an import opened a connection: {args}")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
for name in sys.argv[1:]:
    importlib.import_module(name)
"""
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in MODULES]
    names = [name for name in names if not name.endswith("__main__")]
    done = subprocess.run([sys.executable, "-c", program, *names], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
