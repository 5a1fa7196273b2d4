"""What the book says of DiffusionCLIP's claims is made from the numbers that were measured, with these networks."""

import json

from conftest import ROOT

from zecon_lite.evaluate import MEASURES
from zecon_lite.tiny import world

SCRIPT = "claims_diffusionclip"
ASSETS = ROOT / "book/assets"
AGAIN = "these numbers are of other networks: run python book/scripts/claims_diffusionclip.py again"
MEASURED = json.loads((ASSETS / "claims_diffusionclip.json").read_text(encoding="utf-8"))


def test_the_text_is_made_from_the_numbers(script):
    text = (ASSETS / "claims_diffusionclip.md").read_text(encoding="utf-8")
    assert text == script.fragment(MEASURED), AGAIN


def test_the_picture_is_there_and_small():
    assert 10_000 < (ASSETS / "claims_diffusionclip.png").stat().st_size < 300_000


def test_what_was_measured_is_complete(script):
    assert MEASURED["styles"] == list(script.STYLES) == list(MEASURED["training"])
    assert list(MEASURED["rows"]) == ["source", "truth", script.ZECON, script.FULL, script.HALF, script.BORROWED]
    assert list(MEASURED["memory"]) == ["original", *script.STYLES]
    for row in MEASURED["rows"].values():
        assert set(row["by_scene"]) == set(MEASURES) and len(row["by_scene"]["edge_f1"]) == MEASURED["scenes"]


def test_the_measurements_are_of_the_networks_in_this_package(script):
    assert MEASURED["weights"] == script.hashes(), AGAIN


def test_no_scene_was_both_taught_and_scored(script):
    first = MEASURED["first_scene"] - world.FIRST_HELD_OUT_SEED
    assert first >= script.FIRST_LESSON + script.LESSONS


def test_a_verdict_needs_the_whole_interval_on_one_side(script):
    assert script.verdict((0.2, 0.1, 0.3)) == "true"
    assert script.verdict((-0.2, -0.3, -0.1)) == "false"
    assert script.verdict((0.2, -0.1, 0.5)) == "not shown"
    assert script.negative((0.2, 0.1, 0.4)) == (-0.2, -0.4, -0.1)


def test_a_claim_follows_its_numbers(script):
    words = {(says, measure): script.verdict(found) for says, measure, found in script.questions(MEASURED)}
    better = json.loads(json.dumps(MEASURED))
    for key in ("style_probability_a", "ssim_to_source"):
        better["rows"][script.FULL]["by_scene"][key] = [
            1 + v for v in MEASURED["rows"][script.ZECON]["by_scene"][key]
        ]
    for network in script.STYLES:
        better["memory"][network]["denoising"] = [v - 1 for v in MEASURED["memory"]["original"]["denoising"]]
    found = {(says, measure): script.verdict(found) for says, measure, found in script.questions(better)}
    assert len(found) == len(words) == len(script.questions(MEASURED))
    claim = "DiffusionCLIP scores higher than ZeCon"
    assert found[claim, MEASURES["style_probability_a"]] == found[claim, MEASURES["ssim_to_source"]] == "true"
    assert found["tuned networks are worse at removing noise from scenes", "squared error"] == "false"


def test_training_pays_only_where_a_picture_costs_less(script):
    rows = {script.ZECON: {"cpu_seconds_per_picture": 2.5}, script.FULL: {"cpu_seconds_per_picture": 0.5}}
    measured = {"training": {"pencil": 30.0, "neon": 50.0}, "rows": rows}
    text = script.costs(measured)
    assert "from 20 pictures on, training is the cheaper way" in text
    assert "| DiffusionCLIP | 40.5 | 4.5 | 0.9 | 0.5 |" in text
    rows[script.FULL]["cpu_seconds_per_picture"] = 3.0
    assert "training never pays" in script.costs(measured)
