"""DiffuseIT as a recipe: its settings, whole runs against the released algorithm, and restarts."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from golden import load
from torch.testing import assert_close

from zecon_lite import RECIPES, images, samplers, stylize
from zecon_lite.denoiser import LearnedVariance
from zecon_lite.memory import Saving
from zecon_lite.recipes import Recipe
from zecon_lite.samplers import ddpm_step, renoised_as_released
from zecon_lite.schedule import Schedule
from zecon_lite.state import State, Step
from zecon_lite.ways import Overflow, colours_matched, colours_stretched, estimated, noised

RECORDED = {name: torch.from_numpy(array) for name, array in load("diffuseit/schedule.npz").items()}
SIDE = 8


def picture(seed, b=1, side=SIDE):
    return torch.rand(b, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 1.6 - 0.8


def matrix(seed, rows, columns):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) / 8


class ToyUNet(torch.nn.Module):
    """(eps, v) pixel by pixel; leans on x so that steps stay tame."""

    def forward(self, x, t):
        t = t.view(-1, 1, 1, 1) / 1000
        return torch.cat([0.9 * x + 0.2 * (3 * x).sin() * t, (2 * x).cos() * 0.5], dim=1)


class ToyViT:
    calls = 0

    def keys_and_cls(self, images):
        ToyViT.calls += 1
        pixels = F.adaptive_avg_pool2d(images, SIDE).flatten(1).tanh()
        return (pixels @ matrix(0, 192, 30)).view(-1, 5, 6), pixels @ matrix(1, 192, 7)


class ToyClip:
    def __init__(self, size):
        self.size = size

    def image(self, images):
        return F.adaptive_avg_pool2d(images, self.size).flatten(1).tanh() @ matrix(self.size, 3 * self.size**2, 9)

    def text(self, texts):
        return torch.stack([matrix(len(text), 1, 9)[0] for text in texts])


class ToyVGG:
    layers = (1,)

    def __call__(self, images):
        return [images, F.avg_pool2d(images, 2).relu()]


def toys():
    profile = SimpleNamespace(name="toys", small=False)
    denoiser = LearnedVariance(ToyUNet(), Schedule.linear())
    return SimpleNamespace(
        profile=profile, denoiser=denoiser, vit=ToyViT(), clips=(ToyClip(4), ToyClip(6)), clip=ToyClip(4),
        vgg=ToyVGG(), style_vgg=ToyVGG(), device=torch.device("cpu"), multiple=4, dtype=torch.float32,
        saving=Saving(), at_work=nullcontext, memory=lambda: None, loaded={},
    )  # fmt: skip


def toy_recipe(name, scale=1 / 500, **changes):
    """The recipe with the weights that pictures of 8 pixels can bear, and cuts that show the whole."""
    weights = {name: scale * weight for name, weight in RECIPES[name].weights.items()}
    whole = {"cuts": lambda images, size, generator: images, "templates": lambda: ("a {}.", "the {}.")}
    return replace(RECIPES[name], **{"weights": weights, **whole, **changes})


# ------------------------------------------------------------------------------------------------------- schedules


@pytest.mark.parametrize("n", [10, 100, 200])
def test_the_respaced_schedules_are_the_released_ones(n):
    s = Schedule.linear().respace(n)
    assert torch.equal(s.timesteps, RECORDED[f"map_{n}"])
    assert torch.equal(torch.arange(n), RECORDED[f"unscaled_{n}"])          # our losses are told i itself
    assert_close(s.betas, RECORDED[f"betas_{n}"], atol=1e-14, rtol=1e-12)
    assert_close(s.alphas_cumprod, RECORDED[f"abar_{n}"], atol=1e-14, rtol=1e-12)
    assert_close((1 - s.alphas_cumprod).sqrt(), RECORDED[f"noisy_aug_fac_{n}"], atol=1e-14, rtol=1e-12)
    assert_close(s.posterior_log_variance, RECORDED[f"post_logvar_clipped_{n}"], atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(("name", "above"), [("diffuseit_text", 50), ("diffuseit_image", 100)])
def test_divergence_acts_where_the_released_code_lets_it(name, above):
    recipe, zero = RECIPES[name], torch.zeros(1)
    weight, timesteps = recipe.along("cls_divergence"), RECORDED[f"map_{recipe.steps}"]
    for i in range(recipe.steps):
        state = State(i, int(timesteps[i]), zero, zero, zero, zero)
        assert weight(state) == (100 if i > above else 0)


def test_colours_can_be_stretched_as_in_the_released_code():
    """Against the picture that color-matcher made; the default clips, and keeps the style's own contrast."""
    recorded = load("diffuseit/mkl.npz")
    source, style, want = (
        images.from_unit(torch.from_numpy(recorded[name].astype("float64") / 255).permute(2, 0, 1)[None])
        for name in ("src_uint8", "ref_uint8", "final_uint8")
    )
    last = Step(0, 0, source, source)
    assert (colours_stretched(last, style) - want).abs().max() < 2 / 255
    source[0, 0, 0, 0] = 1.3    # as a picture is saved, before it is matched: one pixel must not set the contrast
    inside = Step(0, 0, source, source.clamp(-1, 1))
    assert torch.equal(colours_stretched(Step(0, 0, source, source), style), colours_stretched(inside, style))
    source[0, 0, 0, 0] = images.from_unit(torch.tensor(recorded["src_uint8"][0, 0, 0] / 255.0))
    assert (colours_matched(last, style) - want).abs().max() > 10 / 255


def test_the_released_settings_stand_in_the_recipes():
    """The spec's two commands: 59 + 10 and 119 + 10 guided calls, weights of arguments.py, noise in, x0 out."""
    text, image = RECIPES["diffuseit_text"], RECIPES["diffuseit_image"]
    assert (text.steps, text.skip, image.steps, image.skip) == (100, 40, 200, 80)
    assert (len(text.positions), text.positions[:11]) == (69, [59] * 10 + [58])
    assert (len(image.positions), image.positions[:11]) == (129, [119] * 10 + [118])
    for recipe in (text, image):
        assert (recipe.forward, recipe.step, recipe.climb) == (noised, ddpm_step, renoised_as_released)
        assert (recipe.tau, recipe.strength, recipe.restart_when) == (0.07, None, Overflow(0.01 / 200))
        assert recipe.attempts > 1 and recipe.weights["key_self_similarity"] == 1000 and recipe.weights["range"] == 200
    assert (text.weights["clip_ensemble"], text.weights["key_contrast_adaptive"], text.finish) == (2000, 200, estimated)
    assert (image.weights["cls_style"], image.weights["style_mse"], image.weights["key_contrast"]) == (2000, 3000, 200)
    assert image.finish is colours_matched and (text.cuts.count, text.cuts.angle) == (8, 10)


def test_the_released_climb_uses_the_beta_one_lower():
    s = Schedule.linear().respace(100)
    x, noise = picture(1).double(), picture(2).double()
    assert_close(renoised_as_released(s, x, 59, noise), (1 - s.betas[58]).sqrt() * x + s.betas[58].sqrt() * noise)
    a = s.alphas_cumprod[58]
    assert f"{a * (1 - s.betas[58]):.6f} {a * (1 - s.betas[59]):.6f}" == "0.027215 0.027160"


# ------------------------------------------------------------------------------------------------- the whole algorithm


def released(recipe, source, style, draws, restart_at=()):
    """The released algorithm as the spec writes it down, step by step; yields what stylize's steps hold.

    draws: the noise, in our order. restart_at: the numbers of the calls after which a trajectory is given up.
    """
    n, top = recipe.steps, recipe.positions[0]
    m, beta, abar = (RECORDED[f"{k}_{n}"] for k in ("map", "betas", "abar"))
    abar_prev = torch.cat([abar.new_ones(1), abar[:-1]])
    models, w = toys(), recipe.weights
    unet, vit, noise = ToyUNet(), models.vit, iter(draws)

    def unit(z):
        return z / z.norm(dim=-1, keepdim=True)

    def similarity(picture):
        values = []
        for clip in models.clips:
            text, source_text = (
                unit(clip.text([t.format(p) for t in recipe.templates()]).mean(0)) for p in ("a sketch", "photo")
            )
            target = unit(text - 0.4 * source_text + 0.2 * unit(clip.image(source)[0]))
            values.append((unit(clip.image(picture)) @ target).mean())
        return sum(values) / len(values)

    source_keys, cls_before = vit.keys_and_cls(source)
    source_keys, clip_before, call = unit(source_keys[0]), -similarity(source), 0
    while True:
        x, fresh = abar[top].sqrt() * source + (1 - abar[top]).sqrt() * next(noise), True
        for number, i in enumerate(recipe.positions):
            if 0 < number < recipe.resample_first:
                x = (1 - beta[top - 1]).sqrt() * x + beta[top - 1].sqrt() * next(noise)
            eps_step, _ = next(noise), next(noise)                          # the second is the source's, unused here
            x = x.float().detach().requires_grad_()
            eps, v = unet(x, m[i].view(1)).chunk(2, dim=1)
            log_variance = (v + 1) / 2 * beta[i].log() + (1 - v) / 2 * RECORDED[f"post_logvar_clipped_{n}"][i]
            x0 = x / abar[i].sqrt() - (1 / abar[i] - 1).sqrt() * eps
            mean = beta[i] * abar_prev[i].sqrt() / (1 - abar[i]) * x0
            mean = mean + (1 - abar_prev[i]) * (1 - beta[i]).sqrt() / (1 - abar[i]) * x
            f = (1 - abar[i]).sqrt()
            mix = f * x0 + (1 - f) * x
            keys, cls = vit.keys_and_cls(mix)
            keys = unit(keys[0])
            total = w["key_self_similarity"] * (keys @ keys.T - source_keys @ source_keys.T).square().mean()
            contrast = F.cross_entropy(keys @ source_keys.T / 0.07, torch.arange(len(keys)))
            total = total + w["range"] * (x0 - x0.clamp(-1, 1)).square().mean()
            if i > n // 2:
                total = total - w["cls_divergence"] * (cls - cls_before).square().mean()
            if style is None:
                clip_loss = -similarity(mix)
                frac = 2 if clip_before < -0.5 else 1
                total = total + w["clip_ensemble"] * clip_loss + w["key_contrast_adaptive"] * frac * contrast
                clip_before = clip_loss.detach()
            else:
                total = total + w["cls_style"] * (cls - vit.keys_and_cls(style)[1]).square().mean()
                total = total + w["style_mse"] * (mix - style).square().mean() + w["key_contrast"] * contrast
            (gradient,) = torch.autograd.grad(total, x)
            cls_before, call = cls.detach(), call + 1
            if call in restart_at:
                fresh = False
                break
            with torch.no_grad():
                x = mean - log_variance.exp() * gradient + (i > 0) * (0.5 * log_variance).exp() * eps_step
            yield i, x0.detach(), x
        if fresh:
            return


def run(monkeypatch, name, restart_at=(), **changes):
    """Our run and the released one on the same noise."""
    draws, calls = [], []

    def drawn(x, generator):
        draws.append(torch.randn(x.shape, generator=generator))
        return draws[-1]

    def watch(step):
        calls.append(step)

    monkeypatch.setattr(samplers, "randn_like", drawn)
    monkeypatch.setattr("zecon_lite.ways.randn_like", drawn)
    style = picture(8) if "style" in RECIPES[name].reads else None
    recipe = toy_recipe(name, restart_when=lambda step: len(calls) in restart_at, **changes)
    result = stylize(
        picture(1), None if style is not None else "a sketch", style=style, recipe=recipe, models=toys(), on_step=watch
    )
    return result, calls, list(released(recipe, picture(1), style, draws, restart_at))


@pytest.mark.parametrize("name", ["diffuseit_text", "diffuseit_image"])
def test_a_whole_run_follows_the_released_algorithm(monkeypatch, name):
    result, calls, want = run(monkeypatch, name)
    assert [step.i for step in calls] == [i for i, _, _ in want] == result.recipe.positions
    for step, (_, x0, x) in zip(calls, want, strict=True):
        assert_close(step.x0, x0, rtol=1e-3, atol=1e-4)
        assert_close(step.x, x.float(), rtol=1e-3, atol=1e-4)
    assert (want[-1][2] - want[10][2]).abs().max() > 0.1                    # something happened on the way
    if name == "diffuseit_text":
        assert torch.equal(result.image, calls[-1].x0.clamp(-1, 1))


def test_restarted_runs_follow_the_released_algorithm_too(monkeypatch):
    """Given up after calls 12 and 30: noise anew, all resamplings again, compared with the failed step at first."""
    result, calls, want = run(monkeypatch, "diffuseit_text", restart_at=(12, 30))
    kept = [step for number, step in enumerate(calls, start=1) if number not in (12, 30)]
    for step, (_, x0, x) in zip(kept, want, strict=True):
        assert_close(step.x0, x0, rtol=1e-3, atol=1e-4)
        assert_close(step.x, x.float(), rtol=1e-3, atol=1e-4)
    assert len(calls) == 12 + 18 + 69 and [step.i for step in result.steps] == result.recipe.positions
    assert result.steps[0] is calls[30]


def test_the_adaptive_factor_and_the_gate_were_both_met_on_the_way(monkeypatch):
    """Else the runs above would prove less than they say."""
    _, calls, _ = run(monkeypatch, "diffuseit_text")
    ensemble = [step.losses["clip_ensemble"] / (2000 / 500) for step in calls]
    assert min(ensemble) < -0.5 < max(ensemble)
    assert {"cls_divergence" in step.losses for step in calls} == {True, False}


def test_one_look_of_the_transformer_serves_each_step():
    ToyViT.calls = 0
    recipe = toy_recipe("diffuseit_image", restart_when=None)
    result = stylize(picture(1), style=picture(8), recipe=recipe, models=toys())
    assert ToyViT.calls == len(result.steps) + 2                            # and one for the source, one for the style


# ---------------------------------------------------------------------------------------------------------- restarts


def test_a_run_that_never_suits_ends_after_its_attempts():
    recipe = toy_recipe("diffuseit_text", restart_when=lambda step: True, attempts=3)
    seen = []
    result = stylize(picture(1), "a sketch", recipe=recipe, models=toys(), on_step=lambda step: seen.append(step.i))
    assert seen == ([59] * 10 + [58]) * 2 + recipe.positions
    assert [step.i for step in result.steps] == recipe.positions


def test_neither_the_first_position_nor_the_last_step_begins_again():
    recipe = Recipe("r", "", {}, steps=10, skip=6, resample_first=2, restart_when=lambda step: True)
    x = picture(0)
    assert [recipe.restarts(Step(i, 0, x, x)) for i in (3, 2, 1, 0)] == [False, True, True, False]
    assert not replace(recipe, restart_when=None).restarts(Step(2, 0, x, x))


def test_overflow_is_the_worst_picture_s_mean_square_beyond_the_range():
    x0 = torch.zeros(2, 3, 4, 4)
    x0[1] = 1.01                                                            # mean square 1e-4
    step = Step(3, 0, x0, x0)
    assert Overflow()(step) and Overflow(0.9e-4)(step) and not Overflow(1.1e-4)(step)
    assert not Overflow()(Step(3, 0, x0[:1], x0[:1]))


def test_a_batch_of_three_is_three_runs_of_one(monkeypatch):
    monkeypatch.setattr(samplers, "randn_like", lambda x, g: picture(77)[: len(x)].expand_as(x).clone())
    monkeypatch.setattr("zecon_lite.ways.randn_like", lambda x, g: picture(78).expand_as(x).clone())
    source, style = picture(1, b=3), picture(2, b=3)
    for name in ("diffuseit_image", "diffuseit_text", "gram_clip"):
        takes = "style" in RECIPES[name].reads
        recipe = toy_recipe(
            name, steps=10, skip=6, forward=noised, restart_when=None,
            weights={k: w for k, w in toy_recipe(name).weights.items() if k not in ("zecon", "clip_image")},
        )  # fmt: skip

        def restyle(k, recipe=recipe, takes=takes):
            style_k, prompt = (style[k], None) if takes else (None, "a sketch")
            return stylize(source[k], prompt, style=style_k, recipe=recipe, models=toys()).image

        alone = torch.cat([restyle(slice(k, k + 1)) for k in range(3)])
        assert_close(restyle(slice(None)), alone, rtol=1e-4, atol=1e-5)
