"""What the book says of style from a picture is made from the numbers that were measured, with these networks."""

import json
from dataclasses import replace

import pytest
import torch
from conftest import ROOT
from torch.testing import assert_close

from zecon_lite import RECIPES, metrics
from zecon_lite.tiny import world

SCRIPT = "claims_gram"
ASSETS = ROOT / "book/assets"
MEASURED = json.loads((ASSETS / "claims_gram.json").read_text(encoding="utf-8"))
AGAIN = "these numbers are of other networks or weights: run python book/scripts/claims_gram.py again"


def pictures(seed, *shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_text_is_made_from_the_numbers(script):
    assert (ASSETS / "claims_gram.md").read_text(encoding="utf-8") == script.fragment(MEASURED)
    for name in ("claims_gram_curves.png", "claims_gram_grid.png"):
        assert f"assets/{name}" in script.fragment(MEASURED) and 10_000 < (ASSETS / name).stat().st_size < 300_000


def test_the_numbers_are_of_the_networks_and_the_recipe_in_this_package(script):
    recipe = RECIPES["gram_clip"]
    assert MEASURED["networks"] == script.hashes(), AGAIN
    assert MEASURED["steps"] == script.STEPS - 2, AGAIN                # what the command does that the page quotes
    assert MEASURED["weights"] == dict(replace(recipe, **recipe.small, small={}).weights), AGAIN


def test_every_point_of_the_grid_has_every_measure_of_every_scene(script):
    rows = ["the source", "the truth", *(script.name_of(a, b) for a in script.FACTORS for b in script.FACTORS)]
    assert list(MEASURED["grid"]) == rows
    for row in MEASURED["grid"].values():
        assert list(row) == list(script.MEASURES) and {len(v) for v in row.values()} == {MEASURED["scenes"]}


def test_nothing_leaks_where_nobody_looks_at_the_style_picture(script):
    for name in ("the source", "the truth", script.name_of(0, 0)):
        for key in ("leak_edges", "leak_ssim", "leak_keys"):
            assert max(map(abs, MEASURED["grid"][name][key])) < 1e-4


def test_a_leak_is_0_for_what_both_results_share_and_1_for_the_style_picture_itself(script):
    examples = pictures(0, 2, 3, 3, 16, 16)
    assert_close(script.leak(metrics.ssim, pictures(1, 1, 3, 3, 16, 16).expand_as(examples), examples), torch.zeros(3))
    mixed = examples / 2 + pictures(2, 2, 3, 3, 16, 16) / 2
    whole, part = (script.leak(metrics.ssim, z, examples) for z in (examples, mixed))
    assert (whole > part).all() and (part > 0.1).all()
    assert_close(script.leak(metrics.ssim, examples.flip(0), examples), -whole)


def test_colours_are_compared_wherever_they_stand(script):
    one = pictures(0, 2, 3, 8, 8)
    places = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    moved = one.flatten(2)[..., places].view_as(one)
    assert_close(script.colours_apart(one, moved).tolist(), [0.0, 0.0], atol=1e-3, rtol=0)
    black, white = torch.full((1, 3, 8, 8), -1.0), torch.ones(1, 3, 8, 8)
    assert_close(script.colours_apart(black, white).item(), 100.0, atol=0.1, rtol=0)    # L* goes from 0 to 100


@pytest.mark.parametrize(
    ("found", "less", "word"),
    [
        ((0.2, 0.1, 0.3), False, "true"),
        ((0.2, 0.1, 0.3), True, "false"),
        ((-0.2, -0.3, -0.1), True, "true"),
        ((-0.2, -0.3, -0.1), False, "false"),
        ((0.1, -0.1, 0.3), False, "not shown"),
        ((0.0, 0.0, 0.0), True, "not shown"),
    ],
)
def test_a_verdict_is_read_off_the_interval(script, found, less, word):
    assert script.verdict(replace(script.CLAIMS[0], less=less), found) == word


def test_the_style_pictures_show_other_scenes_in_the_same_style(script):
    one, two = (asked.pictures for asked in script.pairs(2, 16))
    assert_close(one.source, two.source)
    assert one.styles == two.styles == tuple(world.STYLES)[:2]
    assert (one.example - two.example).abs().mean() > 0.05 and (one.example - one.truth).abs().mean() > 0.05
