"""Recipes as values, and the front door."""

import dataclasses
import re
from dataclasses import replace

import pytest
import torch
from golden import draw
from toys import GaussianDenoiser

from zecon_lite import RECIPES, Models, Recipe, images, load_models, stylize
from zecon_lite.augment import Views
from zecon_lite.recipes import LOSSES, Task, inverted, inverted_as_noise, noised
from zecon_lite.samplers import ddim_step, ddpm_step, invert, look, randn_like, sample
from zecon_lite.schedule import Schedule
from zecon_lite.state import State
from zecon_lite.ways import Early, inverted_as_released


def quick(source, prompt="a pencil sketch", **changes):
    return stylize(source, prompt, **{"steps": 10, "skip": 6, **changes})


def test_the_published_settings_stand_in_the_recipe():
    """ZeCon's README command (spec: 50 steps, 25 left out, 32 patches of 1 to 30 per cent, its six weights)."""
    recipe = RECIPES["zecon"]
    assert recipe.weights == {
        "clip_global_patch": 10000, "clip_direction_patch": 20000, "zecon": 500, "mse": 5000, "vgg": 100, "range": 50,
    }  # fmt: skip
    assert (recipe.steps, recipe.skip, recipe.step, recipe.forward) == (50, 25, ddpm_step, inverted_as_noise)
    assert (recipe.views.count, recipe.views.area, recipe.patches, recipe.tau) == (32, (0.01, 0.3), 256, 0.07)
    assert recipe.strength is None


@pytest.mark.parametrize("weight, wanted", [(Early(4.0, 500), [4.0, 0.0, 0.0]), (Early(4, 500, 1.0), [4.0, 1.0, 1.0])])
def test_an_early_weight_holds_above_its_timestep_and_is_another_from_there_on(weight, wanted):
    picture = torch.zeros(1, 3, 8, 8)
    states = [State(i, t, *4 * [picture], None) for i, t in ((9, 501), (8, 500), (0, 0))]
    assert [weight(state) for state in states] == wanted


def test_a_course_multiplies_a_number_and_leaves_a_function_alone(source, models):
    course = {"zecon": Early(3, after=0.5)}
    own = replace(RECIPES["zecon"].fitted_to(models), weights={"mse": 2.0, "zecon": 0.5}, course=course)
    states = [State(i, t, *4 * [torch.zeros(1, 3, 8, 8)], None) for i, t in ((9, 506), (8, 505))]
    assert own.along("mse") == 2.0 and [own.along("zecon")(state) for state in states] == [1.5, 0.25]
    assert own.changed(weights={"zecon": 1}).along("zecon")(states[0]) == 3    # a number is what the course goes by
    mine = Early(7.0)
    assert replace(own, weights={"zecon": mine}).along("zecon") is mine

    def losses(**changes):
        result = quick(source, None, models=models, recipe=replace(own, **changes), skip=4)
        return [step.losses["zecon"] for step in result.steps]

    assert losses()[0] == pytest.approx(3 * losses(course={})[0], rel=1e-4)    # the same picture yet, and places


def test_small_changes_numbers_and_nothing_else(models):
    for recipe in RECIPES.values():
        fitted = recipe.fitted_to(models)
        changed = {f.name for f in dataclasses.fields(Recipe) if getattr(fitted, f.name) != getattr(recipe, f.name)}
        assert changed - {"small"} <= set(recipe.small)
        assert (fitted.name, fitted.paper) == (recipe.name, recipe.paper)


def test_the_released_way_in_uses_the_latent_as_if_it_were_noise():
    """The picture enters directly and inside the latent, 0.548 in all; the latent's own noise counts 0.921."""
    denoiser = GaussianDenoiser(Schedule.linear().respace(50))
    source = torch.from_numpy(draw(1, 1, 3, 4, 4)).double()
    a = denoiser.schedule.alphas_cumprod[24]
    latent = invert(denoiser, source, 25)
    torch.testing.assert_close(
        inverted_as_noise(denoiser, source, 24, None), a.sqrt() * source + (1 - a).sqrt() * latent
    )
    torch.testing.assert_close(inverted(denoiser, source, 24, None), invert(denoiser, source, 24))
    a_latent = denoiser.schedule.alphas_cumprod[25]
    assert f"{(a.sqrt() + (1 - a).sqrt() * a_latent.sqrt()).item():.3f}" == "0.548"
    assert f"{((1 - a).sqrt() * (1 - a_latent).sqrt()).item():.3f}" == "0.921"


def test_the_released_inversion_goes_one_position_too_far_and_leads_elsewhere():
    denoiser, source = GaussianDenoiser(Schedule.linear().respace(50)), torch.from_numpy(draw(1, 1, 3, 4, 4)).double()
    latent = inverted_as_released(denoiser, source, 24, None)
    torch.testing.assert_close(latent, invert(denoiser, source, 25))
    right = [*sample(denoiser, inverted(denoiser, source, 24, None), range(24, -1, -1), step=ddim_step)][-1].x
    released = [*sample(denoiser, latent, range(24, -1, -1), step=ddim_step)][-1].x
    assert (released - right).abs().max() > 0.01


@pytest.mark.parametrize("option", ["fresh_source_noise", "unit_embeddings", "vgg_unit_range"])
def test_an_option_changes_the_terms_that_it_is_about_and_no_other(option, source, models):
    """Asked of the recipe's own losses, at one state."""
    about = {
        "fresh_source_noise": {"zecon", "mse", "vgg"},
        "unit_embeddings": {"clip_direction_patch"},
        "vgg_unit_range": {"vgg"},
    }[option]
    # One look at the whole picture, so that no term's draws move another's; places are few enough to be all taken.
    whole = {"views": Views(count=1, area=None, jitter=0.0), "same_views": False, "patches": 10**6}
    found = []
    for chosen in (False, True):
        recipe = replace(RECIPES["zecon"].fitted_to(models), **whole, **{option: chosen})
        denoiser, generator = models.denoiser.respace(10), torch.Generator().manual_seed(0)
        guidance = recipe.guidance(Task(source, "a pencil sketch"), models, denoiser, generator)
        view = look(denoiser.schedule, 0.7 * source + 0.2, 5, denoiser(source, 5), source, None, generator)
        with torch.no_grad():
            found.append({name: value.item() for name, value in guidance.terms(view).items()})
    changed = {name for name, value in found[0].items() if abs(found[1][name] - value) > 1e-4 * abs(value)}
    if option == "fresh_source_noise":
        changed -= {"clip_direction_patch"}    # it looks at the source too
    assert changed == about


def test_the_stochastic_way_in_is_one_jump_of_the_forward_process():
    denoiser, source = GaussianDenoiser(Schedule.linear()), torch.zeros(1, 3, 64, 64)
    x = noised(denoiser, source, 500, torch.Generator().manual_seed(0))
    assert abs(x.std().item() - (1 - denoiser.schedule.alphas_cumprod[500]).sqrt().item()) < 0.02


def test_positions_lead_from_the_first_kept_step_down_to_zero():
    assert Recipe("r", "", {}, steps=10, skip=6).positions == [3, 2, 1, 0]
    assert Recipe("r", "", {}, steps=10, skip=6, resample_first=3).positions == [3, 3, 3, 2, 1, 0]
    assert Recipe("r", "", {}, steps=10, skip=6, resample_first=3).guided == 6


def test_a_run_turns_back_where_it_is_told_and_nothing_guides_its_last_way_down():
    once, twice = (Recipe("r", "", {}, steps=12, skip=1, returns=n) for n in (1, 2))
    down, last = [10, 9, 8, 7, 6, 5, 4], [7, 6, 5, 4, 3, 2, 1, 0]
    assert (once.positions, once.guided) == (down + last, 7)
    assert (twice.positions, twice.guided) == ([*down, 7, 6, 5, 4, *last], 11)
    late = Recipe("r", "", {}, steps=5, skip=3, returns=1)    # it begins below where it would turn
    assert (late.positions, late.guided) == ([1, 1, 0], 1)
    topped = Recipe("r", "", {}, steps=12, skip=1, returns=1, resample_first=2, turn=(0, 1))
    assert (topped.positions, topped.guided) == ([10, *range(10, -1, -1), *range(10, -1, -1)], 12)


@pytest.mark.parametrize(("changes", "told"), [
    ({"returns": -1}, "returns must be at least 0; got -1"),
    ({"turn": (0.6, 0.4)}, r"two shares of the way to noise, the lower one first; got \(0.6, 0.4\)"),
    ({"turn": (0.4, 640)}, r"two shares of the way to noise, the lower one first; got \(0.4, 640\)"),
])
def test_a_return_that_cannot_be_is_refused(changes, told):
    with pytest.raises(ValueError, match=told):
        Recipe("r", "", {}, **changes)


def test_a_run_with_returns_is_two_walks_with_a_climb_between_them(source, models):
    result = quick(source, models=models, seed=3, skip=2, returns=2)
    recipe, generator = result.recipe, torch.Generator().manual_seed(3)
    denoiser, task = models.denoiser.respace(10), Task(source, "a pencil sketch")
    guidance = recipe.guidance(task, models, denoiser, generator)
    parts = {"step": recipe.step, "generator": generator}
    x = recipe.forward(denoiser, source, 7, generator)
    plan = [7, 6, 5, 4, 3, 6, 5, 4, 3]
    *_, turned = sample(denoiser, x, plan, guidance=guidance, source=source, **parts)
    x = turned.x
    for i in (3, 4, 5, 6):
        x = denoiser.schedule.renoised(x, i, randn_like(x, generator))
    *_, last = sample(denoiser, x, range(6, -1, -1), **parts)
    assert torch.equal(last.x.clamp(-1, 1), result.image)
    assert [step.i for step in result.steps] == [*plan, *range(6, -1, -1)]
    assert [bool(step.losses) for step in result.steps] == [True] * 9 + [False] * 7
    assert result.metadata()["returns"] == "2"


def test_one_weight_can_be_changed_alone():
    recipe = RECIPES["zecon"].changed(weights={"zecon": 7})
    assert recipe.weights == {**RECIPES["zecon"].weights, "zecon": 7}


def test_fewer_steps_keep_the_share_that_is_skipped():
    assert (RECIPES["zecon"].changed(steps=20).steps, RECIPES["zecon"].changed(steps=20).skip) == (20, 10)


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_every_recipe_runs_and_leaves_a_picture_in_range(recipe, source, models):
    if "style" in RECIPES[recipe].reads:
        result = quick(source, None, style=images.photograph("coffee"), recipe=recipe, models=models)
    else:
        with pytest.warns(UserWarning, match="does not read the prompt") if recipe == "sdedit" else _nothing():
            result = quick(source, recipe=recipe, models=models)
    assert result.image.shape == source.shape and result.image.abs().max() <= 1
    assert [step.i for step in result.steps] == [3, 2, 1, 0]


def test_a_run_without_noise_is_warned_about(source, models):
    with pytest.warns(UserWarning, match=r"begins at position 0 \(steps=1, skip=0\).* out is the source"):
        quick(source, models=models, steps=1, skip=0)


def _nothing():
    import contextlib

    return contextlib.nullcontext()


def test_stylize_is_sample_with_the_recipes_own_parts(source, models):
    result = quick(source, models=models, seed=3)
    recipe, generator = result.recipe, torch.Generator().manual_seed(3)
    denoiser, task = models.denoiser.respace(10), Task(source, "a pencil sketch")
    guidance = recipe.guidance(task, models, denoiser, generator)
    x = recipe.forward(denoiser, source, 3, generator)
    *_, last = sample(
        denoiser, x, recipe.positions, guidance=guidance, source=source, step=recipe.step, generator=generator
    )
    assert torch.equal(last.x.clamp(-1, 1), result.image)


def test_reading_networks_leaves_a_callers_random_numbers_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    models = load_models("tiny", "cpu")
    for name in Models.NETWORKS:
        if name != "face":    # which the profile has not
            getattr(models, name)
    assert torch.equal(torch.rand(3), expected)


def test_the_same_seed_gives_the_same_picture_and_another_seed_another(source, models):
    first, again, other = (quick(source, models=models, seed=s).image for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_guidance_lowers_its_own_losses(source, models):
    steps = stylize(source, "a pencil sketch", models=models, steps=20).steps
    assert sum(steps[-1].losses.values()) < sum(steps[0].losses.values())


def test_a_stronger_zecon_term_keeps_more_of_the_source(source, models):
    def contrast(weight):
        return quick(source, models=models, steps=20, skip=8, weights={"zecon": weight}).steps[-1]

    free, held = contrast(1e-6), contrast(2.0)
    assert held.losses["zecon"] / 2.0 < free.losses["zecon"] / 1e-6


def test_batches_hold_several_results_and_several_prompts(source, models):
    assert quick(source, models=models, batch=2).image.shape[0] == 2
    two = quick(source.expand(2, -1, -1, -1), ["a pencil sketch", "neon lights"], models=models)
    assert not torch.equal(two.image[0], two.image[1])
    assert two.metadata()["prompt"] == "a pencil sketch | neon lights"


def test_a_wide_picture_keeps_its_shape(models):
    wide = images.fit(images.photograph("coffee"), models.size, multiple=models.multiple)
    assert wide.shape[-1] > wide.shape[-2] and quick(wide, models=models).image.shape == wide.shape


def test_on_step_sees_each_step_and_may_stop_the_run(source, models):
    class Enough(Exception):
        pass

    seen = []

    def watch(step):
        seen.append(step.i)
        if step.i == 2:
            raise Enough

    with pytest.raises(Enough):
        quick(source, models=models, on_step=watch)
    assert seen == [3, 2]


def test_a_result_carries_what_is_needed_to_make_it_again(source, models, tmp_path):
    result = quick(source, models=models, seed=5, weights={"zecon": 0.25})
    (path,) = result.save(tmp_path / "out.png")
    known = images.read_metadata(path)
    assert (known["recipe"], known["seed"], known["prompt"], known["profile"]) == (
        "zecon",
        "5",
        "a pencil sketch",
        "tiny",
    )
    assert "zecon=0.25*f(t)" in known["weights"].split() and (known["steps"], known["skip"]) == ("10", "6")
    again = quick(images.fit(images.photograph("cat"), 64, mode="crop"), models=models, seed=5, weights={"zecon": 0.25})
    assert torch.equal(images.to_uint8(again.image), images.to_uint8(images.load(path)))


def test_no_gradient_is_left_behind(source, models):
    result = quick(source, models=models)
    assert not result.image.requires_grad and not any(s.x.requires_grad or s.x0.requires_grad for s in result.steps)
    assert all(p.grad is None for p in models.denoiser.unet.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": "zecom"}, "there is no recipe 'zecom'; did you mean 'zecon'?"),
        ({"weights": {"zeccon": 1}}, "there is no loss 'zeccon'; did you mean 'zecon'?"),
        ({"prompt": " "}, "the prompt is empty"),
        ({"prompt": None}, "is guided by text: give a prompt"),
        ({"prompt": ["a", "b"]}, "2 prompts for 1 pictures"),
        ({"steps": 5, "skip": 5}, "skip must leave at least one of the 5 steps"),
        ({"steps": 0, "skip": 0}, "steps must be at least 1"),
        ({"steps": 2000, "skip": 1990}, "cannot be respaced to 2000"),
        ({"batch": 0}, "batch must be a whole number, at least 1; got 0"),
    ],
)
def test_bad_requests_are_refused_with_a_cure(source, models, changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        quick(source, **{"models": models, **changes})


def test_a_source_of_the_wrong_kind_is_refused_with_a_cure(models):
    with pytest.raises(ValueError, match=r"source must be \(B, 3, H, W\) in \[-1, 1\]"):
        quick(torch.zeros(64, 64, 3), models=models)
    with pytest.raises(ValueError, match=r"sides must be multiples of 8: use images\.fit\(source, 56"):
        quick(torch.zeros(1, 3, 60, 64), models=models)


def test_every_loss_has_a_recipe_that_uses_it_or_stands_for_a_choice():
    used = {name for recipe in RECIPES.values() for name in recipe.weights}
    assert set(LOSSES) - used == {"clip_global", "clip_direction"}


@pytest.mark.parametrize("strength", [-1.5, float("nan"), float("inf")])
def test_a_push_away_from_the_prompt_or_without_end_is_refused(strength):
    with pytest.raises(ValueError, match=r"strength must be a number from 0 on, or None; got (-1\.5|nan|inf)"):
        RECIPES["zecon"].changed(strength=strength)


def test_with_several_prompts_every_result_of_a_picture_gets_that_picture_s_prompt(source, models):
    two = torch.cat([source, -source])
    task = quick(two, ["a pencil sketch", "neon lights"], models=models, batch=2, skip=8).task
    assert task.prompt == ("a pencil sketch", "a pencil sketch", "neon lights", "neon lights")
    assert torch.equal(task.source, two[[0, 0, 1, 1]])
