"""DiffusionCLIP: its losses against the released code's record, training on toys, one style on the bundled models."""

import dataclasses
import math
import re
import sys

import pytest
import torch
import torch.nn.functional as F
from golden import load
from test_losses_clip import ToyClip
from toys import EpsStub, GaussianDenoiser, TinyUNet
from typer.testing import CliRunner

from zecon_lite import FINETUNE, FineTune, cli, images, load_models, translate
from zecon_lite.adapters import Adapter, tuned
from zecon_lite.denoiser import LearnedVariance
from zecon_lite.finetune import LOSSES, finetune, journeys_of, step_by_step, through_all_steps
from zecon_lite.latents import digest_of, journey
from zecon_lite.losses import Identity, identity_distance, l1
from zecon_lite.profiles import Models
from zecon_lite.schedule import Schedule
from zecon_lite.state import State

STEPS, FACES = (
    {name: torch.from_numpy(array) for name, array in load(f"diffusionclip/{file}.npz").items()}
    for file in ("denoising", "idloss")
)
LINEAR = Schedule.linear()
COMMAND = sys.modules["zecon_lite.cli.finetune"]


def close(ours, recorded, atol=1e-5):
    torch.testing.assert_close(ours, recorded, atol=atol, rtol=0)


def rows(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def state(view, source):
    return State(i=0, t=0, x0=view, view=view, source=source, source_view=source)


# ------------------------------------------------------------------------------------- the losses on pixels and faces

def test_l1_is_the_mean_difference_of_each_picture_summed():
    view, source = rows(1, 3, 3, 8, 8), rows(2, 3, 3, 8, 8)
    torch.testing.assert_close(l1(state(view, source)), sum((view - source).abs().mean((1, 2, 3))))


def face(images):
    """The stub face network of the record."""
    return F.normalize(F.avg_pool2d(images, 28).flatten(1), dim=-1)


def test_the_recorded_identity_loss_is_reproduced():
    side = torch.linspace(-1, 1, 256)
    y, x = torch.meshgrid(side, side, indexing="ij")
    a = torch.stack([torch.sin(3 * x + k) * torch.cos(2 * y - k) for k in range(3)])[None]
    b = torch.stack([torch.sin(3.3 * x + k) * torch.cos(2.2 * y + 0.3 * k) for k in range(3)])[None]
    seen = []
    loss = Identity(lambda crop: seen.append(crop) or face(crop))
    close(loss(state(b, a))[None], FACES["id_loss"])
    close(seen[0][0, :, 56], FACES["pooled_a_row56"])
    close(face(seen[0]), FACES["feat_a"])
    close(face(seen[1]), FACES["feat_b"])
    close(identity_distance(face(seen[0]), face(seen[0])), FACES["id_loss_same"])


# ------------------------------------------------------------------------------------- the two ways through the steps

def test_the_recorded_gradient_through_all_steps_is_reproduced():
    denoiser = LearnedVariance(EpsStub(0), LINEAR)
    (look,) = through_all_steps(denoiser, STEPS["traj_lat_t500_n40"], journey(500, 6))
    loss = l1(state(look.x0, STEPS["traj_x0"]))
    close(loss, STEPS["train_full_l1"])
    close(torch.autograd.grad(loss, denoiser.unet.theta)[0], STEPS["train_full_dl1_dtheta"], atol=1e-4)


def test_the_recorded_gradients_of_single_steps_are_reproduced():
    denoiser, losses, gradients = LearnedVariance(EpsStub(0), LINEAR), [], []
    for look in step_by_step(denoiser, STEPS["traj_lat_t500_n40"], journey(500, 6)):
        losses.append(l1(state(look.x0, STEPS["traj_x0"])))
        gradients.append(torch.autograd.grad(losses[-1], denoiser.unet.theta)[0])
    close(torch.stack(losses).double(), STEPS["train_eff_l1_per_step"])
    close(torch.stack(gradients).double(), STEPS["train_eff_dl1_dtheta_per_step"], atol=1e-4)


def test_the_papers_settings_stand_as_defaults():
    """The README command: t0 500, (40, 6, 40) timesteps, 5 epochs, lr 8e-6 growing by 1.3, weights 3 and 1."""
    s = FineTune()
    assert (s.t0, s.invert_steps, s.train_steps, s.test_steps, s.epochs, s.batch) == (500, 40, 6, 40, 5, 1)
    assert (s.lr, s.growth, s.weights, s.rank) == (8e-6, 1.3, {"clip_direction": 3.0, "l1": 1.0}, None)
    assert s.looks is through_all_steps and len(s.templates()) == 79 and s.views is None


# --------------------------------------------------------------------------------------------------- runs, on a toy

TOY = FineTune(t0=400, invert_steps=3, train_steps=3, test_steps=3, epochs=3, batch=2, lr=0.02, growth=1.1,
               templates=lambda: ("{}",))
PICTURES = rows(5, 5, 3, 8, 8).float().tanh()


@pytest.fixture
def toy():
    """Models whose networks are toys."""
    models = Models(load_models("tiny", "cpu").profile, torch.device("cpu"))
    models.__dict__ |= {"denoiser": LearnedVariance(TinyUNet(), LINEAR), "clip": FloatClip()}
    models.profile = dataclasses.replace(models.profile, small=False)
    return models


class FloatClip(ToyClip):
    """The toy CLIP in single precision."""

    def __init__(self):
        super().__init__()
        self.matrix = self.matrix.float()

    def text(self, texts):
        return super().text(texts).float()


def learn(models, settings=TOY, **options):
    return list(finetune(PICTURES, "a sketch", models=models, settings=settings, **options))


def test_a_run_lowers_its_losses_and_leaves_the_models_as_they_were(toy):
    before = digest_of(toy.denoiser)
    steps = learn(toy, dataclasses.replace(TOY, epochs=8))
    total = [sum(step.losses.values()) for step in steps]
    assert sum(total[-3:]) < 0.9 * sum(total[:3])
    assert digest_of(toy.denoiser) == before and not any(p.requires_grad for p in toy.denoiser.unet.parameters())
    assert not any(step.x0.requires_grad for step in steps)


def test_each_update_says_where_it_is_and_each_epoch_ends_with_an_adapter(toy):
    steps = learn(toy)
    assert [(step.number, step.epoch) for step in steps] == [(n, n // 3) for n in range(9)]
    assert [step.adapter is not None for step in steps] == [False, False, True] * 3
    for epoch in range(3):
        seen = torch.cat([step.source for step in steps if step.epoch == epoch])
        assert torch.equal(seen.flatten(1).sum(1).sort()[0], PICTURES.flatten(1).sum(1).sort()[0])
    about = steps[-1].adapter.about
    assert (about["prompt"], about["source_prompt"], about["t0"], about["looks"]) == (
        "a sketch", "photo", "400", "through_all_steps",
    )


def test_steps_one_by_one_update_once_for_each(toy):
    steps = learn(toy, dataclasses.replace(TOY, looks=step_by_step, epochs=1))
    assert [step.t for step in steps] == [400, 200, 0] * 3


@pytest.mark.parametrize("rank", [None, 2])
def test_a_killed_run_goes_on_to_the_same_result(toy, tmp_path, rank):
    settings, path = dataclasses.replace(TOY, rank=rank), tmp_path / "run"
    whole = learn(toy, settings)
    for step in finetune(PICTURES, "a sketch", models=toy, settings=settings, checkpoint=path):
        if step.number == 4:                                               # killed within the second epoch
            break
    rest = learn(toy, settings, checkpoint=path)
    assert [step.number for step in rest] == [3, 4, 5, 6, 7, 8]
    ours, want = rest[-1].adapter.tensors, whole[-1].adapter.tensors
    assert ours.keys() == want.keys() and all(torch.equal(ours[name], want[name]) for name in want)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_the_same_seed_learns_the_same_and_another_something_else(toy):
    one, again, other = (learn(toy, seed=s)[-1].adapter.tensors for s in (1, 1, 2))
    assert all(torch.equal(again[name], one[name]) for name in one)
    assert any(not torch.equal(other[name], one[name]) for name in one)


def test_the_callers_grad_mode_is_left_alone(toy):
    with torch.no_grad():
        for _ in finetune(PICTURES, "a sketch", models=toy, settings=TOY):
            assert not torch.is_grad_enabled()


def test_a_face_network_may_have_its_say(toy):
    settings = dataclasses.replace(TOY, weights={"identity": 1.0}, epochs=6)

    def colours(crop):
        return F.adaptive_avg_pool2d(crop, 2).flatten(1) + 0.1

    steps = learn(toy, settings, face=colours)
    assert steps[0].losses.keys() == {"identity"}
    assert sum(s.losses["identity"] for s in steps[-3:]) < sum(s.losses["identity"] for s in steps[:3])
    toy.profile = dataclasses.replace(toy.profile, face=lambda: colours)
    assert [step.losses for step in learn(toy, settings)] == [step.losses for step in steps]


@pytest.mark.parametrize(("changes", "options", "message"), [
    ({"weights": {"clip_dir": 1}}, {}, "there is no loss 'clip_dir'; did you mean 'clip_direction'?"),
    ({"epochs": 0}, {}, "epochs must be a whole number, at least 1; got 0"),
    ({"lr": 0}, {}, "lr, the learning rate, must be above 0 and finite; got 0: the paper uses 8e-6"),
    ({"lr": math.inf}, {}, "must be above 0 and finite; got inf"),
    ({"weights": {"clip_direction": 0, "l1": 0}}, {}, "every weight is 0, so there is nothing to learn"),
    ({"growth": -1.0}, {}, "growth, by which lr is multiplied, must be above 0 and finite; got -1.0"),
    ({"train_steps": 1}, {}, "there are journeys of 2 to 401 timesteps; got 1"),
    ({"t0": 1000}, {}, "t0 must be a timestep, 1 to 999; got 1000"),
    ({"weights": {"identity": 1}}, {}, "the loss 'identity' needs a face network: give finetune(..., face=...)"),
    ({}, {"source_prompt": " "}, "the source_prompt is empty"),
    ({}, {"seed": 1.5}, "a seed must be a whole number of at most 64 bits; got 1.5"),
])
def test_bad_requests_are_refused_with_a_cure(toy, changes, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        learn(toy, dataclasses.replace(TOY, **changes), **options)


def test_the_largest_seed_has_a_second_epoch_and_sentences_belong_to_a_run(toy, tmp_path):
    twice, run = dataclasses.replace(TOY, epochs=2), {"seed": 2**64 - 1, "checkpoint": tmp_path / "run"}
    learn(toy, twice, **run)
    with pytest.raises(ValueError, match="run is the checkpoint of another run"):
        learn(toy, dataclasses.replace(twice, templates=lambda: ("not a {}",)), **run)


def test_settings_that_the_bundled_networks_overrule_are_told(models):
    with pytest.warns(UserWarning, match="bundled networks take their own t0, epochs, and not .* FINETUNE.fitted_to"):
        dataclasses.replace(FINETUNE, t0=300, epochs=1).fitted_to(models)
    with pytest.raises(ValueError, match="t0 must be a timestep, 1 to 999; got 1000"):
        far = dataclasses.replace(FINETUNE.fitted_to(models), t0=1000)
        translate(torch.zeros(1, 3, 64, 64), models.denoiser, models=models, settings=far)


def test_bad_pictures_and_other_runs_checkpoints_are_refused(toy, tmp_path):
    with pytest.raises(ValueError, match=r"sources must be \(B, 3, H, W\)"):
        finetune(PICTURES[0], "a sketch", models=toy, settings=TOY)
    next(iter(finetune(PICTURES, "a sketch", models=toy, settings=dataclasses.replace(TOY, epochs=1))))
    path = tmp_path / "run"
    learn(toy, checkpoint=path)
    with pytest.raises(ValueError, match=r"run is the checkpoint of another run .*: delete it"):
        learn(toy, checkpoint=path, seed=1)
    path.write_bytes(b"hello")
    with pytest.raises(ValueError, match="run is no checkpoint that can be read: delete it to start again"):
        learn(toy, checkpoint=path)


def test_a_loss_that_breaks_stops_the_run_and_is_named(toy, monkeypatch):
    monkeypatch.setitem(LOSSES, "l1", lambda *_: lambda s: s.view.sum() * torch.nan)
    with pytest.raises(FloatingPointError, match="the loss 'l1' became nan"):
        learn(toy)


def test_several_adapters_are_applied_over_the_longest_of_their_journeys():
    journeys = (("300", "12"), ("500", "8"))
    adapters = [Adapter({}, {"t0": t0, "invert_steps": n, "test_steps": "9"}) for t0, n in journeys]
    settings = journeys_of(adapters, TOY)
    assert (settings.t0, settings.invert_steps, settings.test_steps, settings.train_steps) == (500, 12, 9, 3)


# -------------------------------------------------------------------------------------------- with the bundled models

QUICK = {"t0": 400, "invert_steps": 3, "train_steps": 2, "test_steps": 3, "epochs": 3, "batch": 3}


@pytest.fixture(scope="module")
def sketch(tmp_path_factory):
    """Three photographs in a folder, and what the command line learns from them in a few seconds."""
    folder = tmp_path_factory.mktemp("photos")
    for name in ("cat", "rocket", "coffee"):
        images.save(images.fit(images.photograph(name), 64, "crop"), folder / f"{name}.png")
    models = load_models("tiny", "cpu")
    pictures = torch.cat([images.load(path) for path in sorted(folder.iterdir())])
    settings = dataclasses.replace(FINETUNE.fitted_to(models), **QUICK)
    steps = list(finetune(pictures, "a pencil sketch", models=models, settings=settings))
    steps[-1].adapter.save(folder / "pencil.safetensors")
    return folder, models, pictures, settings, steps


def test_a_few_steps_lower_the_loss_on_the_bundled_models(sketch):
    _, _, _, settings, steps = sketch
    assert settings.epochs == len(steps) and steps[-1].losses["clip_direction"] < steps[0].losses["clip_direction"]


def test_the_degree_of_change_goes_from_the_photograph_on(sketch):
    _, models, pictures, settings, steps = sketch
    with torch.no_grad():
        none, half, full = (
            translate(pictures, tuned(models.denoiser, [steps[-1].adapter], [d]), models=models, settings=settings)
            for d in (0.0, 0.5, 1.0)
        )
    assert torch.equal(none, translate(pictures, models.denoiser, models=models, settings=settings))
    assert 0 < (half - none).abs().mean() < (full - none).abs().mean()


def run(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], env={"COLUMNS": "160"})


def plain(text):
    return re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;]*m", "", text))


def test_the_learning_rate_grows_after_each_epoch(toy, tmp_path):
    learn(toy, TOY, checkpoint=tmp_path / "run")
    kept = torch.load(tmp_path / "run", weights_only=True)    # after two of the three epochs
    assert kept["adam"]["param_groups"][0]["lr"] == pytest.approx(TOY.lr * TOY.growth**2)


def test_adapters_of_two_profiles_are_not_used_together(sketch, tmp_path):
    folder, *_ = sketch
    one = Adapter.load(folder / "pencil.safetensors")
    dataclasses.replace(one, about={**one.about, "profile": "ffhq256"}).save(tmp_path / "face.safetensors")
    done = run("apply", folder / "pencil.safetensors", tmp_path / "face.safetensors", folder / "cat.png", "-o", "a.png")
    assert done.exit_code == 2 and "must be of one profile to be used together; got ffhq256 and" in plain(done.stderr)


def test_a_picture_from_outside_is_redrawn_first_by_its_seed(sketch, tmp_path):
    folder, *_ = sketch
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        options = ["--unseen", 1, "--seed", seed, "-o", tmp_path / f"{name}.png"]
        assert run("apply", folder / "pencil.safetensors", folder / "cat.png", *options).exit_code == 0
    a, b, c = (images.load(tmp_path / f"{name}.png") for name in "abc")
    assert a.equal(b) and not a.equal(c)


def test_the_command_line_applies_adapters(sketch, tmp_path):
    folder, *_ = sketch
    pencil, cat = folder / "pencil.safetensors", folder / "cat.png"
    for name, options in {"a": ["--degree", 0.7], "b": ["--degree", 0], "c": ["--degree", 0.7, "--mix"]}.items():
        done = run("apply", pencil, pencil, cat, "-o", tmp_path / f"{name}.png", *options)
        assert done.exit_code == 0 and done.stdout == f"saved {tmp_path / name}.png\n", done.stderr
    a, b, c = (images.load(tmp_path / f"{name}.png") for name in "abc")
    assert a.shape == (1, 3, 64, 64) and not a.equal(b) and not a.equal(c)
    about = images.read_metadata(tmp_path / "a.png")
    assert (about["prompt"], about["degree"]) == ("a pencil sketch | a pencil sketch", "0.7 0.7")
    told = [about[name] for name in ("mix", "unseen", "seed", "size", "fit")]
    assert told == ["no", "0", "0", "64", "native"] and about["adapters"].startswith("pencil.safetensors ")
    assert images.read_metadata(tmp_path / "c.png")["mix"] == "yes"


def test_the_command_line_learns_and_clears_up(sketch, tmp_path, monkeypatch):
    folder, *_ = sketch
    monkeypatch.setenv("ZECON_LITE_HOME", str(tmp_path / "home"))
    (folder / "broken.jpg").write_bytes(b"hello")
    options = ["--epochs", 1, "--t0", 60, "--batch", 2, "--size", 48, "--per-step", "--lr", "1e-3"]
    done = run("finetune", folder, "neon lights", "-o", tmp_path / "neon.safetensors", *options)
    assert done.exit_code == 0 and "neon.safetensors" in done.stdout
    assert "broken.jpg is left out: " in plain(done.stderr) and "from 3 photographs" in done.stdout
    done = run("finetune", folder, "neon lights", "-o", tmp_path / "odd.safetensors", "--size", 20)
    assert done.exit_code == 2 and "--size must be a multiple of 8, the network's stride; got 20" in plain(done.stderr)
    about = Adapter.load(tmp_path / "neon.safetensors").about
    told = tuple(about[name] for name in ("prompt", "batch", "looks", "lr", "rank"))
    assert told == ("neon lights", "2", "step_by_step", "0.001", "None")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "neon.safetensors"]
    assert len(list((tmp_path / "home/latents").iterdir())) == 3


@pytest.mark.parametrize(("arguments", "message"), [
    (["finetune", "none", "a sketch", "-o", "a.safetensors"], "there is no folder none: give one that holds"),
    (["finetune", ".", "a sketch", "-o", "a.safetensors"], "the folder . holds no pictures"),
    (["finetune", ".", "a sketch", "-o", "a.png"], "the name 'a.png' must end in .safetensors: try a.safetensors"),
    (["finetune", ".", "a sketch", "-o", "no/a.safetensors"], "there is no folder no: make it first"),
    (["apply", "a.safetensors", "cat.png", "-o", "out.png"], "there are no weights at a.safetensors"),
    (["apply", "cat.png", "cat.png", "-o", "out.png"], "an adapter is a .safetensors file; got cat.png"),
    (["apply", "a.safetensors", "cat.png", "-o", "out.bmp"], "must end in one of .png"),
    (["apply", "a.safetensors", "-o", "out.png"], "Missing argument"),
])
def test_a_bad_command_is_refused_with_the_cure(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.exit_code == 2 and message in plain(done.stderr), done.stderr
    assert not list(tmp_path.iterdir())


def test_bad_requests_of_an_adapter_are_refused_on_the_command_line(sketch, tmp_path):
    folder, *_ = sketch
    for options, message in {
        ("--seed", 1 << 65): "a seed must be a whole number of at most 64 bits",
        ("--size", 40_000_000): "not enough memory on cpu",
        ("--degree", 2): "a degree must be 0 to 1; got 2",
        ("--degree", "nan"): "a degree must be 0 to 1; got nan",
    }.items():
        done = run("apply", folder / "pencil.safetensors", folder / "cat.png", "-o", tmp_path / "a.png", *options)
        assert done.exit_code == 2 and message in plain(done.stderr) and not list(tmp_path.iterdir()), done.stderr


def test_translation_runs_out_of_memory_with_a_sentence(sketch):
    _, models, pictures, settings, _ = sketch
    with pytest.raises(MemoryError, match=r"not enough memory on cpu .* or a smaller picture than 64") as told:
        translate(pictures, LearnedVariance(lambda x, t: torch.empty(10**15), LINEAR), models=models, settings=settings)
    assert "--low-memory" not in str(told.value), "without gradients it saves nothing"


def test_wrong_degrees_are_refused_on_the_command_line(sketch, tmp_path):
    folder, *_ = sketch
    pencil = folder / "pencil.safetensors"
    done = run("apply", pencil, folder / "cat.png", "-o", tmp_path / "a.png", "--degree", 0.5, "--degree", 1)
    assert done.exit_code == 2 and "one degree for each adapter; got 2 for 1" in plain(done.stderr)


def test_the_command_hands_every_option_to_the_training(sketch, tmp_path, monkeypatch):
    asked = {}

    def learn(pictures, prompt, **options):
        asked.update(options, prompt=prompt)
        raise ValueError("enough")

    monkeypatch.setattr(COMMAND, "learn", learn)
    run("finetune", sketch[0], "neon", "-o", tmp_path / "a.safetensors", "--seed", 5, "--source-prompt", "a cat",
        "--epochs", 2, "--lr", 0.5, "--t0", 60, "--batch", 3, "--rank", 4, "--per-step")
    settings = asked["settings"]
    assert (asked["prompt"], asked["seed"], asked["source_prompt"]) == ("neon", 5, "a cat")
    assert (settings.epochs, settings.lr, settings.t0, settings.batch, settings.rank) == (2, 0.5, 60, 3, 4)
    assert settings.looks is step_by_step


def test_rounds_and_degrees_are_handed_on(sketch, tmp_path, monkeypatch):
    asked, (place, *_) = {}, sketch
    monkeypatch.setattr(COMMAND, "into_domain", lambda d, x, t0, **more: asked.update(more) or x)
    monkeypatch.setattr(COMMAND, "degree_of_change", lambda original, each, degrees: asked.update(degrees=degrees))
    monkeypatch.setattr(COMMAND, "translate", lambda source, pupil, **more: source)
    pencil = place / "pencil.safetensors"
    done = run("apply", pencil, pencil, place / "cat.png", "-o", tmp_path / "a.png", "--unseen", 3, "--mix",
               "--degree", 0.25, "--degree", 0.5)
    assert done.exit_code == 0, done.stderr
    assert (asked["rounds"], asked["degrees"]) == (3, [0.25, 0.5])


def test_each_journey_has_its_own_number_of_steps(toy):
    settings, asked = dataclasses.replace(TOY, invert_steps=5, train_steps=3, test_steps=4, epochs=1), []
    toy.denoiser.unet.register_forward_pre_hook(lambda module, given: asked.append(int(given[1][0])))
    translate(PICTURES, toy.denoiser, models=toy, settings=settings)
    assert asked == [*journey(400, 5)[:-1], *reversed(journey(400, 4))]
    asked.clear()
    learn(toy, settings)
    assert asked[:7] == [*journey(400, 5)[:-1], *reversed(journey(400, 3))]    # all at once, then the first batch


def test_what_is_translated_stays_in_range(toy):
    assert translate(PICTURES, GaussianDenoiser(LINEAR, mean=3.0), models=toy, settings=TOY).abs().max() == 1


def test_losses_are_told_as_the_mean_of_the_pictures(toy):
    for step in learn(toy, dataclasses.replace(TOY, weights={"l1": 2.0}, epochs=1)):
        assert step.losses["l1"] == pytest.approx(2 * (step.x0 - step.source).abs().mean().item(), rel=1e-5)


def test_each_epoch_has_an_order_of_its_own(toy):
    steps = learn(toy, dataclasses.replace(TOY, weights={"l1": 1.0}))
    first, second = (torch.cat([step.source for step in steps if step.epoch == k]) for k in (0, 1))
    assert not torch.equal(first, second)
