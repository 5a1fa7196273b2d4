"""What a run takes of memory, and that taking less leaves the picture as it is."""

import json
import os
import subprocess
import sys
import weakref
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT
from fabricate import shrink
from test_cli import folder, photo, plain, run  # noqa: F401  (fixtures)
from test_unet import small
from torch import nn
from torch.testing import assert_close

from zecon_lite import VGG, Clip, Models, edit, load_models, stylize
from zecon_lite.finetune import FINETUNE, finetune
from zecon_lite.memory import LOW_MEMORY, Memory, Saving, bytes_of, half_precision, naming_the_knob, ran_out
from zecon_lite.profiles import PROFILES

SCRIPT = "gpu_table"
CPU = torch.device("cpu")


def quick(source, models, **changes):
    return stylize(source, "a pencil sketch", models=models, **{"steps": 8, "skip": 6, "seed": 1, **changes})


# ------------------------------------------------------------------------------------------ the same numbers, from less


def test_a_checkpointed_unet_runs_its_blocks_again_for_the_same_output_and_gradient():
    runs = []
    for checkpointed in (False, True):
        unet, x, t = small().requires_grad_(False), torch.linspace(-1, 1, 768).view(1, 3, 16, 16), torch.tensor([300])
        unet.checkpointed = checkpointed
        seen = []
        unet.middle_block.register_forward_pre_hook(lambda module, inputs, seen=seen: seen.append(1))
        x.requires_grad_(True)
        y, features = unet(x, t), unet.encode(x, t, (1, 3))
        (grad,) = torch.autograd.grad(y.sin().sum() + sum(f.square().sum() for f in features), x)
        runs.append((y, *features, grad, len(seen)))
    (*plain_run, once), (*saving_run, again) = runs
    for ours, want in zip(saving_run, plain_run, strict=True):
        assert_close(ours, want, rtol=1e-6, atol=1e-6)
    assert (once, again) == (1, 2)


class Tower(nn.Module):
    """Stands in for CLIP, and notes how many pictures came at once."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(12, 5, generator=generator))
        self.came = []

    def encode_image(self, pictures):
        self.came.append(len(pictures))
        return (pictures.flatten(1) @ self.weight).tanh()


def test_clip_in_chunks_has_the_embeddings_and_the_gradient_of_all_at_once():
    pictures = torch.linspace(-1, 1, 84).view(7, 3, 2, 2)
    found = []
    for chunk in (None, 3, 7, 100):
        clip, x = Clip(Tower(), None, size=2, chunk=chunk), pictures.clone().requires_grad_()
        embeddings = clip.image(x)
        (grad,) = torch.autograd.grad(embeddings.pow(3).sum(), x)
        found.append((embeddings, grad, clip.model.came))
    for embeddings, grad, _ in found[1:]:
        assert_close(embeddings, found[0][0], rtol=1e-6, atol=1e-6)
        assert_close(grad, found[0][1], rtol=1e-6, atol=1e-6)
    assert [came for *_, came in found] == [[7], [3, 3, 1, 1, 3, 3], [7, 7], [7, 7]]


def test_without_a_gradient_there_is_nothing_to_save():
    clip = Clip(Tower(), None, size=2, chunk=3)
    with torch.no_grad():
        clip.image(torch.zeros(7, 3, 2, 2))
    assert clip.model.came == [7]


def test_attention_never_holds_the_matrix_of_all_places(monkeypatch):
    calls, fused = [], F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *a, **k: calls.append(a[0].shape) or fused(*a, **k))
    unet = small()
    unet(torch.zeros(1, 3, 16, 16), torch.tensor([0]))
    layers = [module for module in unet.modules() if type(module).__name__ == "AttentionBlock"]
    assert len(calls) == len(layers) > 0


def test_the_picture_is_the_same_with_everything_that_saves_memory(source, models):
    saving = load_models("tiny", device="cpu", saving=LOW_MEMORY)
    assert saving.denoiser.unet.checkpointed and saving.clip.chunk == LOW_MEMORY.chunk
    ours, want = (quick(source, m) for m in (saving, models))
    assert_close(ours.image, want.image, rtol=0, atol=2e-3)


def test_half_precision_changes_little(source, models):
    half = load_models("tiny", device="cpu", dtype=torch.bfloat16)
    assert half.denoiser.unet.input_blocks[0][0].weight.dtype == torch.bfloat16
    assert half.clip.autocast == half.vit.autocast == torch.bfloat16
    assert half.clip.image(source).dtype == half.vit.keys_and_cls(source)[0].dtype == torch.float32
    assert_close(half.clip.image(source), models.clip.image(source), rtol=0.1, atol=0.1)
    ours, want = (quick(source, m).image for m in (half, models))
    assert not torch.equal(ours, want) and (ours - want).square().mean().sqrt() < 0.1


# ------------------------------------------------------------------------------------------------------- what is chosen


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)]
)
def test_cards_that_compute_with_bfloat16_get_it(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert half_precision(torch.device("cuda")) == dtype


def test_the_cpu_stays_with_float32_and_saves_nothing_unasked():
    for profile in PROFILES:
        models = load_models(profile, device="cpu")
        assert models.dtype == torch.float32 and models.saving == Saving(False, None, False)


def test_a_chunk_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"chunk is how many views .* at least 1, or None; got 0"):
        Saving(chunk=0)


# --------------------------------------------------------------------------------------------------- idle networks rest


class Noted(nn.Sequential):
    """Layers that note where they are moved to."""

    def to(self, device):
        self.__dict__.setdefault("went", []).append(str(device))
        return self


def resting(saving):
    """Models whose VGG notes where it goes, and is told when another one is loaded."""
    loaded = []

    def load():
        loaded.append(Noted(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()))
        return VGG(loaded[-1], layers=(1,))

    profile = replace(PROFILES["tiny"], vgg=load, style_layers=(0,))
    return Models(profile, torch.device("meta"), saving=saving), loaded


def test_networks_rest_on_the_cpu_and_come_back_without_being_loaded_again():
    models, loaded = resting(Saving())
    first = models.vgg
    assert models.style_vgg.layers == (0,)
    models.rest()
    assert loaded[0].went == ["meta", "cpu"] and not {"vgg", "style_vgg"} & set(vars(models))
    assert models.memory().networks == {"vgg": 4 * (3 * 4 * 9 + 4)}    # known while it rests
    assert models.style_vgg.features is first.features and models.vgg is first
    assert loaded[0].went == ["meta", "cpu", "meta"] and len(loaded) == 1


@pytest.mark.parametrize(("saving", "rests"), [(Saving(), False), (LOW_MEMORY, True)])
def test_after_a_run_networks_rest_where_that_was_asked_for_even_when_it_fails(saving, rests):
    models, _ = resting(saving)
    models.device = CPU
    with pytest.raises(KeyError), models.at_work((1, 3, 8, 8)):
        assert models.vgg.features.went == ["cpu"]
        raise KeyError
    assert ("vgg" in vars(models)) is not rests


def test_a_run_inside_another_leaves_it_its_networks():
    models, _ = resting(LOW_MEMORY)
    models.device = CPU
    with models.at_work((1, 3, 8, 8)):
        vgg = models.vgg
        with models.at_work((1, 3, 8, 8)):
            assert models.vgg is vgg
        assert models.vgg is vgg and vgg.features.went == ["cpu"]
    assert "vgg" not in vars(models)


# ----------------------------------------------------------------------------------------------------------- the report


def test_a_run_reports_what_its_networks_take_and_its_peak(source, models):
    memory = quick(source, load_models("tiny", device="cpu"), recipe="clip_guided").memory
    assert set(memory.networks) == {"denoiser", "clip"}
    assert memory.networks["denoiser"] == 4 * sum(p.numel() for p in models.denoiser.unet.parameters())
    assert memory.peak > sum(memory.networks.values()) and "resident in the whole process" in memory.how
    assert str(Memory({"clip": 3 * 2**29}, 2**31, "by guess")) == "clip  1.50 GiB\npeak  2.00 GiB (by guess)"
    assert str(Memory({}, None, "not measured")) == "peak  not measured"


def test_what_several_networks_share_counts_once():
    one = Clip(nn.Linear(4, 2), None, size=2)
    assert bytes_of(one) == bytes_of((one, one)) == bytes_of((one, replace(one, chunk=3))) == 4 * (8 + 2)


# ----------------------------------------------------------------------------------------------------------- not enough


def test_running_out_names_the_knobs_that_are_left():
    with pytest.raises(MemoryError, match=(
        r"not enough memory on cpu \(.*you tried to allocate 4\d{15} bytes.*\): take batch=1 or --batch 1, instead of "
        r"4 pictures at once, or load_models\(\.\.\., saving=LOW_MEMORY\) or --low-memory, or a smaller picture than "
        r"64 x 96, such as --size 48"
    )), load_models("tiny", CPU).at_work((4, 3, 64, 96)):
        torch.empty(10**15)
    saving = load_models("tiny", CPU, saving=LOW_MEMORY).at_work((1, 3, 64, 64))
    with pytest.raises(MemoryError, match=r"take a smaller picture than 64 x 64") as caught, saving:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    assert "--low-memory" not in str(caught.value) and "CUDA out of memory" in str(caught.value)


def test_after_running_out_nothing_is_held_but_the_error():
    held = []

    def run():
        graph = torch.zeros(8)
        held.append(weakref.ref(graph))
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    with pytest.raises(MemoryError) as caught, naming_the_knob(CPU, (1, 3, 8, 8), {}):
        run()
    assert caught.value.__cause__ is not None and held[0]() is None


def test_other_errors_are_left_alone():
    for said in ("CUDA error: out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"):
        assert ran_out(RuntimeError(said))                  # not from torch's allocator
    assert not ran_out(RuntimeError("shapes differ")) and not ran_out(ValueError("DefaultCPUAllocator"))
    with pytest.raises(RuntimeError, match="shapes differ"), naming_the_knob(CPU, (1, 3, 8, 8), {}):
        raise RuntimeError("shapes differ")


def test_too_large_a_batch_is_told_before_the_networks_work(source, models):
    with pytest.raises(MemoryError, match=r"take batch=1 or --batch 1, instead of 100000000000 pictures at once"):
        stylize(source, "a pencil sketch", models=models, batch=10**11)


def test_stylize_runs_out_with_a_sentence(source, models):
    with pytest.raises(MemoryError, match=r"not enough memory on cpu .* or --low-memory"):
        quick(source, models, on_step=lambda step: torch.empty(10**15))


def test_the_command_line_says_it_too_and_hands_the_saving_on(photo, monkeypatch):  # noqa: F811
    seen = []

    def restyle(*args, models, **more):
        seen.append(models.saving)
        raise MemoryError("not enough memory on cuda: take --low-memory")

    monkeypatch.setattr(sys.modules["zecon_lite.cli.stylize"], "restyle", restyle)
    for flags, saving in (((), Saving()), (("--low-memory",), LOW_MEMORY)):
        done = run("stylize", photo, "a sketch", *flags)
        assert done.exit_code == 2 and "error: not enough memory on cuda: take --low-memory" in plain(done.stderr)
        assert seen.pop() == saving


def test_training_runs_out_with_a_sentence_that_names_its_own_knobs(source, models, monkeypatch):
    few = replace(FINETUNE.fitted_to(models), epochs=1, invert_steps=2, train_steps=2, batch=2)
    monkeypatch.setattr(sys.modules["zecon_lite.finetune"], "latents", lambda *args: torch.empty(10**15))
    with pytest.raises(MemoryError, match=(
        r"FineTune\(batch=1\) or --batch 1, instead of 2 pictures at once, or rank=8 or --rank 8, or "
        r"load_models\(\.\.\., saving=LOW_MEMORY\) or --low-memory, or a smaller picture"
    )):
        list(finetune(source, "a sketch", models=models, settings=few))
    thrifty = replace(few, batch=1, rank=4)
    with pytest.raises(MemoryError) as caught:
        list(finetune(source, "a sketch", models=load_models("tiny", CPU, saving=LOW_MEMORY), settings=thrifty))
    assert "take a smaller picture" in str(caught.value)


def test_training_learns_the_same_with_everything_that_saves_memory(source, models):
    few = replace(FINETUNE.fitted_to(models), epochs=1, invert_steps=2, train_steps=2, batch=1)
    learnt = [
        list(finetune(source, "a sketch", models=m, settings=few))[-1].losses
        for m in (models, load_models("tiny", CPU, saving=LOW_MEMORY))
    ]
    assert learnt[0].keys() == learnt[1].keys()
    assert_close(torch.tensor([*learnt[0].values()]), torch.tensor([*learnt[1].values()]), rtol=1e-3, atol=1e-4)


def test_an_edit_runs_out_with_a_sentence_that_names_its_own_knobs(monkeypatch):
    pytest.importorskip("diffusers")
    latent = load_models("tiny", CPU).latent
    monkeypatch.setattr(sys.modules["zecon_lite.distill"], "distill", lambda *args, **more: torch.empty(10**15))
    pictures = torch.zeros(2, 3, 64, 64)
    with pytest.raises(MemoryError, match=r"one prompt and picture at a time, instead of 2, or replace\(latent, tiles"):
        edit(pictures, "a sketch", "a photo", latent=latent)
    with pytest.raises(MemoryError, match=r"take a smaller picture than 64 x 64"):
        edit(pictures[:1], "a sketch", "a photo", latent=replace(latent, tiles=True))


@pytest.mark.parametrize("command", [
    ("finetune", ".", "a sketch", "-o", "out.safetensors"), ("evaluate", "--scenes", "1"),
])  # fmt: skip
def test_other_commands_hand_the_saving_on_too(command, photo, monkeypatch):  # noqa: F811
    def seen(profile, device, saving):
        raise MemoryError(f"saw {saving}")

    monkeypatch.setattr(sys.modules[f"zecon_lite.cli.{command[0]}"], "load_models", seen)
    for flags, saving in (((), Saving()), (("--low-memory",), LOW_MEMORY)):
        done = run(*command, *flags)
        assert done.exit_code == 2 and f"saw {saving}" in plain(done.stderr)


# ------------------------------------------------------------------------------------------------------------ full size


def test_the_table_of_costs_is_made_from_networks_of_the_published_layout(script, monkeypatch, tmp_path):
    """Here on the CPU, with narrow ones."""
    shrink(monkeypatch)
    out = tmp_path / "gpu.json"
    monkeypatch.setattr(script, "commit", lambda: "0123456")
    script.main([
        "--device", "cpu", "--recipes", "sdedit", "zecon", "--dtypes", "fp32", "bf16", "--compile", "no", "--batches",
        "1", "--steps", "1", "--size", "32", "--low-memory", "--output", str(out),
    ])  # fmt: skip
    report = json.loads(out.read_text())
    assert (report["commit"], report["size"], report["steps"]) == ("0123456", 32, 1)
    assert [(row["recipe"], row["dtype"], row["steps"]) for row in report["rows"]] == [
        ("sdedit", "fp32", 1), ("sdedit", "bf16", 1), ("zecon", "fp32", 1), ("zecon", "bf16", 1),
    ]  # fmt: skip
    assert all(row["seconds_per_picture"] > 0 and row["peak"] > 0 for row in report["rows"])
    page = out.with_suffix(".md").read_text()
    assert "commit 0123456" in page and page.count("| zecon | ") == 2
    assert "the last 1 steps of each run alone, saving memory" in page


def test_a_row_that_did_not_fit_says_so(script, monkeypatch, models):
    def full(*args, **more):
        raise MemoryError

    monkeypatch.setattr(script, "stylize", full)
    row = script.measured(models, script.RECIPES["zecon"], 8, 64)
    assert row == {"seconds_per_picture": None, "peak": None, "note": "out of memory"}
    shown = script.cells({"recipe": "zecon", "dtype": "fp32", "compile": "no", "batch": 8, **row})
    assert shown == ("zecon", "fp32", "no", "8", "out of memory", "")


def test_the_page_shows_what_was_measured_or_that_nothing_was(script):
    numbers = ROOT / "book/assets/measured_gpu.json"
    known = json.loads(numbers.read_text()) if numbers.is_file() else None
    assert numbers.with_suffix(".md").read_text(encoding="utf-8") == script.fragment(known)
    assert script.fragment(None).startswith("Not measured yet")
    assert "{include} assets/measured_gpu.md" in (ROOT / "book/from_the_original_code.md").read_text(encoding="utf-8")


FULL = """
import importlib.util, json, sys, time
spec = importlib.util.spec_from_file_location("gpu_table", sys.argv[1])
table = importlib.util.module_from_spec(spec)
spec.loader.exec_module(table)
models = table.Models(table.stand_in("imagenet256"), table.torch.device("cpu"), saving=table.LOW_MEMORY)
recipe = table.tamed(table.RECIPES["zecon"], 1)
start = time.perf_counter()
result = table.stylize(table.torch.zeros(1, 3, 256, 256), "a sketch", recipe=recipe, models=models)
print(json.dumps({
    "parameters": sum(p.numel() for p in models.denoiser.unet.parameters()), "seconds": time.perf_counter() - start,
    "peak": result.memory.peak, "finite": bool(result.image.isfinite().all()), "losses": list(result.steps[0].losses),
    "shape": list(result.image.shape),
}))
"""


@pytest.mark.skipif("ZECON_LITE_SLOW" not in os.environ, reason="full size: set ZECON_LITE_SLOW=1")
def test_the_released_network_at_full_size_takes_a_guided_step_in_16_gib():
    """With random weights, on the CPU in float32, with all six terms and everything that saves memory."""
    command = [sys.executable, "-c", FULL, str(ROOT / "book/scripts/gpu_table.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["parameters"] == 552_814_086 and found["shape"] == [1, 3, 256, 256] and found["finite"]
    assert set(found["losses"]) == {"clip_global_patch", "clip_direction_patch", "zecon", "mse", "vgg", "range"}
    assert found["peak"] < 16 * 2**30
