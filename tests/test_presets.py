"""Published settings by name, and the released programs' quirks as options."""

import re
import warnings
from dataclasses import replace

import pytest
from test_cli import folder, names, negative, photo, plain, run  # noqa: F401  (fixtures)

from zecon_lite import PROFILES, RECIPES, load_models
from zecon_lite.presets import AS_TYPED, PRESETS, README, as_released
from zecon_lite.samplers import ddim_step
from zecon_lite.ways import colours_matched, colours_stretched, estimated, inverted_as_noise, stepped


def numbers(name):
    recipe = PRESETS[name].recipe
    terms = ("clip_global_patch", "clip_direction_patch", "zecon", "mse", "vgg")
    return [recipe.weights[term] for term in terms], recipe.views.area, recipe.skip


def test_the_numbers_are_those_of_the_table():
    """Three rows, one of which leaves fewer steps out, and one of which has a weight of its own for every term."""
    assert numbers("zecon-mosaic") == ([20000, 20000, 500, 1000, 100], (0.01, 0.3), 25)
    assert numbers("zecon-golden") == ([5000, 5000, 100, 5000, 10], (0.01, 0.05), 15)
    assert numbers("zecon-face-stone-wall") == ([2000, 50000, 500, 5000, 10], (0.01, 0.1), 25)


def test_the_readme_s_own_command_is_the_recipe_itself():
    preset = PRESETS["zecon-crayon"]
    assert preset.recipe == RECIPES["zecon"] and preset.prompt == "a sketch with crayon"
    assert [p.name for p in PRESETS.values() if p.source == README] == ["zecon-crayon"]


def test_what_a_third_party_typed_is_said_to_be_so():
    others = [p for p in PRESETS.values() if p.recipe.name == "zecon" and p.name != "zecon-crayon"]
    assert len(others) == 21 and all(p.source == AS_TYPED and "third party" in p.source for p in others)


def test_what_the_commands_share_stays_as_the_recipe_has_it():
    for preset in PRESETS.values():
        recipe, base = preset.recipe, RECIPES[preset.recipe.name]
        own = {"weights": base.weights, "views": base.views, "skip": base.skip, "restart_when": base.restart_when}
        assert replace(recipe, **own) == base
        assert set(recipe.weights) == set(base.weights) and recipe.weights["range"] == base.weights["range"]
        assert preset.profile in PROFILES and preset.name == next(k for k, v in PRESETS.items() if v is preset)


def test_diffuseit_s_two_commands_are_there():
    text, image = PRESETS["diffuseit-text"], PRESETS["diffuseit-image"]
    assert (text.recipe, text.prompt, text.source_prompt) == (RECIPES["diffuseit_text"], "Black Leopard", "Lion")
    assert (image.recipe, image.prompt) == (RECIPES["diffuseit_image"], None)


def test_on_faces_people_stay_themselves_and_estimates_may_overflow_ten_times_as_much():
    for kind in ("text", "image"):
        face, base = (PRESETS[f"diffuseit-{name}"] for name in (f"face-{kind}", kind))
        assert face.recipe.weights == base.recipe.weights | {"identity": 100} and face.profile == "ffhq256"
        assert face.recipe.restart_when.limit == pytest.approx(10 * base.recipe.restart_when.limit)


def test_the_bundled_networks_keep_their_numbers_and_say_so():
    models, preset = load_models("tiny", device="cpu"), PRESETS["zecon-mosaic"]
    with pytest.warns(UserWarning, match=r"'zecon-mosaic' are for .* 'imagenet256'; those of 'tiny' .* keep their own"):
        fitted = preset.fitted_to(models)
    assert fitted == RECIPES["zecon"].fitted_to(models)


def test_the_networks_that_the_numbers_are_for_take_them_in_silence():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        preset = PRESETS["zecon-face-clay"]
        fitted = preset.fitted_to(load_models(preset.profile, device="cpu"))
    assert fitted.weights == preset.recipe.weights and fitted.views == preset.recipe.views


# --------------------------------------------------------------------------------------------------- the command line


def test_the_command_takes_recipe_and_prompts_from_the_preset(photo, negative):  # noqa: F811
    done = run("stylize", photo, "--preset", "diffuseit-text", "--steps", 20)
    assert done.exit_code == 0 and "warning: the numbers of the preset 'diffuseit-text'" in plain(done.stderr)
    (call,) = negative
    assert (call["recipe"].name, call["recipe"].steps, call["source_prompt"]) == ("diffuseit_text", 20, "Lion")
    assert names(photo.parent) == ["cat.jpg", "cat_black-leopard.png"]


def test_what_is_said_goes_before_the_preset(photo, negative):  # noqa: F811
    done = run("stylize", photo, "a tiger", "--preset", "zecon-mosaic", "--source-prompt", "a cat", "-w", "mse=7")
    assert done.exit_code == 0
    (call,) = negative
    assert (call["source_prompt"], call["recipe"].weights["mse"]) == ("a cat", 7)
    assert names(photo.parent) == ["cat.jpg", "cat_a-tiger.png"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--preset", "zecon-mozaic"), "there is no preset 'zecon-mozaic'; did you mean 'zecon-mosaic'?"),
        (("--preset", "zecon-mosaic", "--recipe", "sdedit"), "says which recipe: leave --recipe sdedit out"),
        (("--preset", "diffuseit-image"), "takes its style from a picture, and there is none"),
    ],
)
def test_presets_that_cannot_be_are_refused(photo, negative, flags, message):  # noqa: F811
    done = run("stylize", photo, *flags)
    assert done.exit_code == 2 and re.search(re.escape(message), plain(done.stderr)) and not negative


def test_presets_are_listed_with_their_source():
    done = run("presets")
    assert done.exit_code == 0
    text = plain(done.stdout.replace("│", " "))
    assert all(f" {name} " in text for name in PRESETS), "a name that is cut cannot be typed"
    assert "not checked" in text and "clip_direction_patch=20000" in text and "mse=1000" in text


def test_the_command_hands_the_quirks_on(photo, negative):  # noqa: F811
    assert run("stylize", photo, "a sketch", "--as-released").exit_code == 0
    (call,) = negative
    assert call["recipe"].fresh_source_noise and call["recipe"].finish is estimated


# ------------------------------------------------------------------------------------------------------- as released


def test_as_released_turns_the_quirks_on_that_are_off_and_changes_nothing_else():
    zecon, image = as_released(RECIPES["zecon"]), as_released(RECIPES["diffuseit_image"])
    assert zecon.fresh_source_noise and zecon.finish is estimated and zecon.forward is inverted_as_noise
    assert as_released(replace(RECIPES["zecon"], step=ddim_step)).finish is stepped    # guided, as released
    assert RECIPES["diffuseit_image"].finish is colours_matched and image.finish is colours_stretched
    for recipe in RECIPES.values():
        off = replace(as_released(recipe), fresh_source_noise=False, finish=recipe.finish, small=recipe.small)
        assert off == recipe


def test_the_quirks_reach_the_bundled_networks_too():
    models = load_models("tiny", device="cpu")
    fitted, plain_one = (recipe.fitted_to(models) for recipe in (as_released(RECIPES["zecon"]), RECIPES["zecon"]))
    assert fitted.fresh_source_noise and fitted.finish is estimated
    assert replace(fitted, fresh_source_noise=False, finish=plain_one.finish) == plain_one
