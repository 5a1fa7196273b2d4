"""The page that compares all methods is made from the numbers that were measured, with these networks and recipes."""

import importlib
import json
import re

import pytest
from conftest import ROOT

from zecon_lite import RECIPES, load_models
from zecon_lite.benchmark import of_recipe
from zecon_lite.evaluate import COSTS, MEASURES

BOOK = ROOT / "book"
MEASURED = json.loads((BOOK / "assets/comparison.json").read_text(encoding="utf-8"))
PAGE = (BOOK / "comparison.md").read_text(encoding="utf-8")
AGAIN = "these numbers are of other networks or recipes: run python book/scripts/compare.py again"
PARTS = ("scenes", "photographs")


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BOOK / "scripts"))
        yield importlib.import_module("compare")


def test_every_table_in_the_book_is_made_from_the_measurements(script):
    for name, text in script.fragments(MEASURED).items():
        assert (BOOK / "assets" / name).read_text(encoding="utf-8") == text, f"{name}: {AGAIN}"
        assert f"{{include}} assets/{name}" in PAGE


def test_the_page_shows_every_picture_that_is_drawn():
    drawn = set(re.findall(r'"(comparison_\w+\.png)"', (BOOK / "scripts/compare.py").read_text()))
    assert drawn == set(re.findall(r"assets/(comparison_\w+\.png)", PAGE)) and len(drawn) == 2
    assert all(10_000 < (BOOK / "assets" / name).stat().st_size < 400_000 for name in drawn)


def test_the_prose_quotes_no_number_of_its_own():
    prose = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", PAGE, flags=re.S)
    assert set(re.findall(r"\d+", prose)) <= {"95", "0"}, "a number belongs into a generated fragment"


def test_the_measurements_are_of_the_networks_and_recipes_in_this_package(script):
    assert MEASURED["weights"] == script.hashes(MEASURED["weights"]), AGAIN
    models = load_models("tiny", "cpu")
    for name in script.RECIPES:
        assert MEASURED["settings"][name] == script.made_of(of_recipe(name, models)), f"{name}: {AGAIN}"


def test_every_recipe_takes_part_and_what_does_not_is_named(script):
    for part in PARTS:
        rows = set(MEASURED[part]["rows"])
        assert rows == {"source", "truth", "diffusionclip", *RECIPES, *script.EDITS} - set(MEASURED["left_out"])
        assert rows | set(MEASURED["left_out"]) == {"source", "truth", *script.REPORTED}
    assert set(script.RECIPES) == set(RECIPES)
    assert MEASURED["scenes"]["styles"] == MEASURED["photographs"]["styles"] == list(MEASURED["training"])


def test_who_is_shown_a_style_is_not_ranked_with_who_is_told_one(script):
    told, shown = script.groups(MEASURED["scenes"])
    assert set(told) & set(shown) == set(script.BOUNDS) and "zecon" in told
    assert all(("style" in RECIPES[name].reads) == (name in script.BY_PICTURE) for name in RECIPES)
    assert set(script.BY_PICTURE) <= set(shown)


def test_every_row_has_every_measure_within_its_interval():
    for part, missing in (("scenes", 0), ("photographs", 3)):
        for row in MEASURED[part]["rows"].values():
            known = [key for key in MEASURES if key in row["overall"]]
            assert len(known) == len(MEASURES) - missing
            assert all(row["overall"][key][1] <= row["overall"][key][0] <= row["overall"][key][2] for key in known)


def test_costs_tell_the_methods_apart():
    rows = MEASURED["scenes"]["rows"]
    assert all(set(COSTS) <= set(row) for row in rows.values())
    assert rows["source"]["passes"] == {} and rows["sdedit"]["passes"]["UNet"][1] == 0
    assert rows["zecon"]["passes"].keys() == {"UNet", "UNet encoder", "CLIP", "VGG"}
    assert "ViT" in rows["diffuseit_text"]["passes"] and list(rows["diffusionclip"]["passes"]) == ["UNet"]
    forward, backward = rows["zecon"]["passes"]["UNet"]
    assert forward > backward > 0 and rows["zecon"]["peak_megabytes"] > rows["sdedit"]["peak_megabytes"]


def test_a_star_stands_where_the_interval_leaves_0_out(script):
    keys = [key for key in MEASURES if key.startswith(("style_accuracy", "ssim", "edge", "mask"))]
    rows = {name: {"by_scene": dict.fromkeys(keys, values)} for name, values in (
        ("zecon", [0.5] * 3), ("better", [0.75, 0.8, 0.85]), ("as good", [0.25, 0.5, 1.0]),
    )}
    better, as_good = script.difference({"rows": rows}, list(rows)).splitlines()[2:]
    assert better.startswith("| better |") and better.count("\\*") == 5 and "\\*" not in as_good
