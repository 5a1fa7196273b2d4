"""The section on what DiffuseIT's paper claims is made from what was measured, and judged by the intervals alone."""

import json

import pytest
import torch
from conftest import ROOT

SCRIPT = "claims_diffuseit"
ASSETS = ROOT / "book/assets"
MEASURED = json.loads((ASSETS / "claims_diffuseit.json").read_text(encoding="utf-8"))
AGAIN = "these numbers are of other networks: run python book/scripts/claims_diffuseit.py again"


def scored(script, **changes):
    """Made-up numbers: every row alike but for `changes`, {row: {measure: values}}."""
    names = ["pixels 1", "pixels 3", *(n for n in MEASURED["rows"] if not n.startswith("pixels"))]
    even = {measure: [0.5] * 8 for measure in script.MEASURES} | {"cpu_seconds_per_picture": 1.0}
    rows = {name: {**even, **changes.get(name, {})} for name in names}
    return {"scenes": 4, "seeds": 1, "styles": ["a", "b"], "guided": 3, "rows": rows}


def test_the_fragment_is_made_from_the_measurements(script):
    assert (ASSETS / "claims_diffuseit.md").read_text(encoding="utf-8") == script.fragment(MEASURED), AGAIN


def test_the_measurements_are_of_the_networks_in_this_package(script):
    assert MEASURED["networks"] == script.hashes(script.NETWORKS), AGAIN


def test_every_row_has_every_measure_of_every_picture(script):
    pictures = MEASURED["scenes"] * MEASURED["seeds"] * len(MEASURED["styles"])
    for name, row in MEASURED["rows"].items():
        assert {len(row[measure]) for measure in script.MEASURES} == {pictures}, name
    for claim in script.claims(MEASURED):
        assert {claim.one, claim.other.removeprefix(script.LIKE)} <= set(MEASURED["rows"])


def test_the_pictures_are_there_and_small():
    for name in ("claims_diffuseit.png", "claims_diffuseit_pictures.png"):
        assert 10_000 < (ASSETS / name).stat().st_size < 300_000


@pytest.mark.parametrize(
    ("style", "verdict"), [([0.8] * 8, "true"), ([0.2] * 8, "false"), ([0.8, 0.8, 0.2, 0.2] * 2, "not shown")]
)
def test_the_interval_alone_decides(script, style, verdict):
    numbers = scored(script, image={"style": style})
    found, judged = script.judged(script.Claim("", "image", "source", "style"), numbers)
    assert judged == verdict and found[1] <= found[0] <= found[2]
    opposite = {"true": "false", "false": "true"}.get(verdict, verdict)
    assert script.judged(script.Claim("", "image", "source", "style", sign=-1), numbers)[1] == opposite


def test_what_is_bought_with_another_measure_is_not_shown(script):
    claim = script.Claim("", "image", "source", "content", fair="style")
    assert script.judged(claim, scored(script, image={"content": [0.9] * 8}))[1] == "true"
    dear = {"content": [0.9] * 8, "style": [0.1] * 8}
    assert script.judged(claim, scored(script, image=dear))[1] == "not shown"


def test_keys_are_held_against_pixels_of_the_same_style(script):
    ends = {"pixels 1": {"style": [0.4, 0.6] * 4, "content": [0.2] * 8}, "pixels 3": {"style": [0.9] * 8}}
    mixed = script.row_of(f"{script.LIKE}image", scored(script, **ends, image={"style": [0.6] * 8}))
    assert mixed["style"] == pytest.approx([0.525, 0.675] * 4) and mixed["content"] == pytest.approx([0.275] * 8)
    for beyond, nearest in ((0.1, [0.4, 0.6] * 4), (1.0, [0.9] * 8)):
        numbers = scored(script, **ends, image={"style": [beyond] * 8})
        assert script.row_of(f"{script.LIKE}image", numbers)["style"] == nearest
    others = [claim.other for claim in script.claims(MEASURED)]
    assert others[1:4:2] == [f"{script.LIKE}image", f"{script.LIKE}keys x 4"]


def test_palettes_are_compared_wherever_colours_stand(script):
    picture = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    moved = picture.flip(2).roll(3, 3)
    assert script.palette_distance(picture, moved).abs().max() < 1e-6
    torch.testing.assert_close(script.palette_distance(picture, picture * 0 + 1), (1 - picture).mean((1, 2, 3)))


def test_the_comparisons_differ_from_the_recipes_in_what_they_name(script):
    from zecon_lite import load_models

    rows = script.variants(load_models("tiny", device="cpu"), 16)
    guided = {name: len(recipe.positions) for name, recipe in rows.items()}
    assert guided["repeated"] == guided["more steps"] == guided["image"] + 9
    assert "key_contrast" in rows["image"].active and not {"key_contrast", "key_self_similarity"} & set(
        rows["no keys"].active
    )
    assert rows["no [CLS]"].active == {k: w for k, w in rows["image"].active.items() if k != "cls_style"}
