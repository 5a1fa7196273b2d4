"""What losses are built from and what they read: refusals with a cure, style pictures, and the networks behind them."""

import re
from dataclasses import replace

import pytest
import torch
from test_diffuseit import SIDE, ToyClip, picture, toy_recipe, toys
from torch import nn

from zecon_lite import PROFILES, RECIPES, Guidance, Models, images, load_models, samplers, stylize
from zecon_lite.losses import ClipDirection, ClipDistance
from zecon_lite.models.vgg import VGG
from zecon_lite.recipes import LOSSES, READS, Recipe, Task, check
from zecon_lite.state import Step
from zecon_lite.terms import Run


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 3, 40, 13), (1, 3, 5, 90), (2, 3, 3, 3)])
def test_a_style_picture_of_any_size_is_fitted_to_the_source(shape):
    source, style = picture(1, b=2), torch.rand(shape, generator=torch.Generator().manual_seed(3)) * 2 - 1
    recipe = toy_recipe("diffuseit_image", steps=10, skip=8, resample_first=1)
    result = stylize(source, style=style, recipe=recipe, models=toys(), batch=2)
    assert result.image.shape == (4, 3, SIDE, SIDE)
    assert result.task.style.shape == (1 if len(style) == 1 else 4, 3, SIDE, SIDE)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("diffuseit_text", {}, "is guided by text: give a prompt"),
        ("diffuseit_text", {"prompt": "a", "source_prompt": " "}, "goes from what the source is to the prompt"),
        ("diffuseit_text", {"prompt": "a", "source_prompt": None}, "goes from what the source is to the prompt"),
        ("zecon", {"prompt": "a", "source_prompt": ""}, "goes from what the source is to the prompt"),
        ("zecon", {"prompt": "a", "source_prompt": ["photo"]}, "source_prompt is one text, for all pictures; got ['ph"),
        ("diffuseit_image", {}, "takes its style from a picture, and there is none: give style="),
        ("gram_clip", {"prompt": "a"}, "takes its style from a picture, and there is none: give style="),
        ("gram_clip", {"prompt": "a", "style": picture(2)}, "does not read the prompt: give one of them"),
        ("zecon", {"prompt": "a", "style": picture(2)}, "does not read a style picture: leave it out, or take diffus"),
        ("sdedit", {"style": picture(2)}, "does not read a style picture: leave it out, or take diffuseit_image"),
        ("gram_clip", {"style": picture(2)[0]}, "style must be (B, 3, H, W) in [-1, 1]; got (3, 8, 8)"),
        ("gram_clip", {"style": picture(2) * 255}, "style must be (B, 3, H, W) in [-1, 1]; got (1, 3, 8, 8) in [-"),
        ("gram_clip", {"style": "van_gogh.jpg"}, "style must be (B, 3, H, W) in [-1, 1]; got 'van_gogh.jpg': use im"),
        ("gram_clip", {"style": picture(2, b=3)}, "give one style picture, or one per source: 3 style pictures for 1"),
    ],
)
def test_bad_requests_are_refused_with_a_cure(name, changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        stylize(picture(1), **{"recipe": RECIPES[name], "models": toys(), **changes})


def test_a_face_network_is_asked_for_where_identity_is_wanted():
    recipe = Recipe("r", "", {"identity": 100})
    with pytest.raises(ValueError, match=r"profile 'tiny' has no face network: give it one with dataclasses\.replace"):
        recipe.guidance(Task(picture(1), "a"), load_models("tiny", "cpu"), None, torch.Generator())


def test_a_loss_gets_what_its_recipe_says():
    models = toys()
    models.style_vgg = VGG(nn.Sequential(nn.Identity(), nn.Identity()), (1,))
    recipe = replace(RECIPES["zecon"], tau=0.2, patches=9, vgg_unit_range=True)
    run = Run(recipe, Task(picture(1), "a sketch", style=picture(2)), models, models.denoiser, torch.Generator())
    assert all(LOSSES[name](run).tau == 0.2 for name in ("zecon", "key_contrast", "key_contrast_adaptive"))
    assert LOSSES["zecon"](run).patches == 9
    assert LOSSES["gram"](run).vgg.mean == models.style_vgg.on_unit_range().mean
    for name, kind in (("clip_global", ClipDistance), ("clip_direction", ClipDirection)):
        assert isinstance(LOSSES[name](run), kind) and LOSSES[name](run).views.area is None


@pytest.mark.parametrize("changes", [{"resample_first": 0}, {"attempts": 0}])
def test_counts_below_one_are_refused(changes):
    with pytest.raises(ValueError, match="resample_first and attempts must be at least 1"):
        Recipe("r", "", {}, **changes)


def test_what_a_loss_reads_is_a_part_of_the_task():
    assert set(READS) <= set(LOSSES)
    fields = set(Task.__dataclass_fields__)
    assert all(set(parts) <= fields for parts in READS.values())
    check(RECIPES["gram_clip"], Task(picture(1), style=picture(2)))         # and a right request passes


def test_cover_keeps_the_aspect_ratio_and_the_centre():
    wide = torch.full((1, 3, 20, 60), -1.0)
    wide[..., 20:40] = 1.0                                                  # the middle third is white
    assert images.cover(wide, 10, 10).shape == (1, 3, 10, 10)
    assert images.cover(wide, 10, 10)[..., 1:-1].min() > 0.9
    tall = images.cover(wide.mT, 30, 10)
    assert tall.shape == (1, 3, 30, 10) and tall[..., 12:18, :].min() > 0.9 > -0.9 > tall[..., :8, :].max()


def test_a_walk_may_go_on_from_another():
    seen, x = [], picture(0)
    guidance = Guidance({"watch": lambda s: seen.append(s.previous) or s.view.sum() * 0}, {"watch": 1.0})
    before = Step(5, 0, x, x)
    steps = list(
        samplers.sample(toys().denoiser.respace(10), x, [4, 3], guidance=guidance, source=x, previous=before)
    )
    assert seen == [before, steps[0]]


def test_what_a_step_showed_is_its_view_or_without_guidance_its_estimate():
    x = picture(0)
    assert Step(5, 0, x, 2 * x).shown.equal(2 * x) and Step(5, 0, x, 2 * x, 3 * x).shown.equal(3 * x)


def test_the_tiny_profile_asks_one_clip_and_reads_gram_matrices_from_its_vgg():
    models = load_models("tiny", "cpu")
    assert models.clips == (models.clip,)
    maps = models.style_vgg(picture(0, side=16))
    assert [m.shape[1:] for m in maps] == [(16, 16, 16), (32, 8, 8), (64, 4, 4), (128, 2, 2)]
    assert len(models.vgg(picture(0, side=16))) == 2                        # which is still read where it was


def test_a_profile_s_ensemble_and_face_network_are_made_once():
    made = []

    class Movable(ToyClip):
        def to(self, device):
            return self

    profile = replace(
        PROFILES["tiny"], clips=lambda: made.append("clips") or [Movable(4)], face=lambda: made.append("face") or len
    )
    models = Models(profile, torch.device("cpu"))
    assert models.clips is models.clips and models.face is models.face is len
    assert made == ["clips", "face"]


def test_losses_are_asked_in_the_released_order_in_whatever_order_a_recipe_names_them():
    models, zecon = toys(), RECIPES["zecon"]
    turned = replace(zecon, weights=dict(reversed(zecon.weights.items())))
    guidance = turned.guidance(Task(picture(1), "a sketch"), models, models.denoiser, torch.Generator())
    assert list(guidance.weights) == list(zecon.weights)
