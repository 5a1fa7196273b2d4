"""The page on what each knob does is made from one file of numbers, measured with these networks, a knob at a time."""

import re
from dataclasses import fields

import pytest
from conftest import ROOT

from zecon_lite import RECIPES
from zecon_lite.evaluate import MEASURES
from zecon_lite.tiny import world

BOOK = ROOT / "book"
PAGE = (BOOK / "what_each_knob_does.md").read_text(encoding="utf-8")
SCRIPT = "ablations"
AGAIN = "these numbers are of other networks or settings: run python book/scripts/ablations.py again"


@pytest.fixture(scope="module")
def found(script):
    return script.read_csv(script.TABLE)


@pytest.fixture(scope="module")
def recipe(models):
    return RECIPES["zecon"].fitted_to(models)


def settings(recipe, models):
    """Everything that pictures depend on, by name."""
    return {f.name: getattr(recipe, f.name) for f in fields(recipe)} | {"blocks": models.profile.feature_blocks}


def made_up(script, **changes):
    """Lines as they would be measured: two scenes, every number 0.5 but for `changes` of a row's style by judge A."""
    rows = {}
    for name in ("source", "truth", "zecon", "steps 10", "steps 50"):
        mean = changes.get(name.replace(" ", "_"), [0.5, 0.5])
        by_scene = {key: [0.5, 0.5] for key in MEASURES} | {"style_accuracy_a": mean}
        overall = {key: [sum(v) / 2, min(v), max(v)] for key, v in by_scene.items()}
        rows[name] = {"overall": overall, "by_scene": by_scene, "cpu_seconds_per_picture": 1.0}
    measured = {"pictures": 4, "scenes": 2, "first_scene": 7, "seeds": 1, "styles": ["oil", "neon"], "rows": rows}
    names = {("bounds", "source"): "source", ("bounds", "truth"): "truth"}
    names |= {("steps", "10"): "steps 10", ("steps", "25"): "zecon", ("steps", "50"): "steps 50"}
    return script.lines(measured, names)


# ----------------------------------------------------------------------------------------------------------- the knobs


def test_every_knob_has_three_values_or_more_in_order_the_recipe_s_own_among_them(script, recipe, models):
    assert len(script.KNOBS) >= 6
    for name, knob in script.KNOBS.items():
        values = [value for value in knob.values if value != (1, 3, 5)]
        assert len(knob.values) >= 3 and values == sorted(set(values)), name
        assert knob.own(recipe, models) in knob.values, name


def test_a_knob_turns_its_own_setting_and_no_other(script, recipe, models):
    as_it_is = settings(recipe, models)
    for name, knob in script.KNOBS.items():
        for value in knob.values:
            turned = knob.turned(recipe, models, value)
            assert knob.own(*turned) == value, name
            apart = {key for key, old in as_it_is.items() if settings(*turned)[key] != old}
            if value == knob.own(recipe, models):
                assert not apart, name
            else:
                assert len(apart - ({"skip"} if name == "steps" else set())) == 1, name    # skip keeps its share


def test_the_contrast_reads_the_blocks_that_it_is_told_to(script, recipe, models):
    other = script.reading(models, (3,))
    assert other.denoiser.feature_blocks == (3,) and other.profile.name != models.profile.name
    assert script.of_recipe(recipe, other).settings != script.of_recipe(recipe, models).settings


def test_what_is_scored_is_named_once_and_the_recipe_as_it_is_only_once(script, models):
    names, rows = script.names_of(models), script.variants(models)
    assert set(names.values()) == set(rows)
    assert sum(name == script.OWN for name in names.values()) == len(script.KNOBS)
    assert len({row.settings for row in rows.values()}) == len(rows) - 1    # the two bounds have none


# ------------------------------------------------------------------------------------------------------------ the page


def test_the_page_s_tables_are_the_file_s_numbers(script, found):
    for name, text in script.fragments(found).items():
        assert (BOOK / "assets" / name).read_text(encoding="utf-8") == text, f"{name}: {AGAIN}"
        assert f"{{include}} assets/{name}" in PAGE
    assert script.TABLE.read_text(encoding="utf-8") == script.as_csv(found)


def test_one_other_number_makes_another_table(script, found):
    for at, line in enumerate(found):
        if line["measure"] in script.SHOWN:
            other = [*found[:at], {**line, "mean": "7.4321"}, *found[at + 1 :]]
            whose = "setup" if line["knob"] == "bounds" else line["knob"]
            old, new = script.fragments(found), script.fragments(other)
            assert {name for name in old if old[name] != new[name]} == {f"ablations_{whose}.md"}


def test_the_page_shows_every_picture_that_is_drawn():
    drawn = set(re.findall(r'"(ablations_\w+\.png)"', (BOOK / "scripts/ablations.py").read_text(encoding="utf-8")))
    assert drawn == set(re.findall(r"assets/(ablations_\w+\.png)", PAGE)) and len(drawn) == 2
    assert PAGE.count(":alt: ") == PAGE.count("```{figure}")
    assert all(10_000 < (BOOK / "assets" / name).stat().st_size < 400_000 for name in drawn)


def test_the_prose_quotes_no_number_of_its_own():
    prose = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", PAGE, flags=re.S)
    assert set(re.findall(r"\d+", prose)) <= {"95"}, "a number belongs into a generated fragment"


def test_the_measurements_are_of_the_networks_and_the_recipe_in_this_package(script, found, models, recipe):
    digests = " ".join(f"{name}={digest}" for name, digest in script.hashes(script.NETWORKS).items())
    assert {line["weights"] for line in found} == {digests}, AGAIN
    assert list(dict.fromkeys((line["knob"], line["value"]) for line in found)) == list(script.names_of(models)), AGAIN
    own = {(line["knob"], line["value"]) for line in found if line["own"] == "yes"}
    assert own == {(name, script.told(knob.own(recipe, models))) for name, knob in script.KNOBS.items()}, AGAIN


def test_every_value_has_every_measure_with_its_interval_and_what_it_was_measured_on(script, found):
    for knob in ("bounds", *script.KNOBS):
        for value, measures in script.of(found, knob).items():
            assert list(measures) == [*MEASURES, script.SECONDS], (knob, value)
    for line in found:
        assert int(line["n"]) == int(line["scenes"]) * len(line["seeds"].split()) * len(line["styles"].split())
        assert int(line["first_scene"]) >= world.FIRST_HELD_OUT_SEED
        if line["measure"] in MEASURES:
            assert float(line["low"]) <= float(line["mean"]) <= float(line["high"])
            compared = line["own"] == "no" and line["knob"] != "bounds"
            assert all(bool(line[name]) == compared for name in ("difference", "difference_low", "difference_high"))


def test_there_are_scenes_enough_for_an_interval_and_every_style_took_part(found):
    assert int(found[0]["scenes"]) >= 3 and found[0]["styles"].split() == list(world.STYLES), AGAIN


# ---------------------------------------------------------------------------------------------------- stars and words


def test_a_star_stands_where_the_interval_of_the_difference_leaves_0_out(script):
    found = made_up(script, steps_10=[0.98, 1.0], steps_50=[0.75, 1.0])    # Student's t
    ten, own, fifty = script.table(script.of(found, "steps"), "steps").splitlines()[2:]
    assert ten.startswith("| 10 |") and ten.count("\\*") == 1 and "\\*" not in own + fifty
    assert own.startswith("| **25** |") and "0.50<br>0.50 to 0.50" in own and own.endswith("| 1.00 |")


def test_the_differences_are_taken_scene_by_scene(script):
    found = made_up(script, zecon=[0.0, 1.0], steps_10=[0.25, 1.25])
    lines = {(line["value"], line["measure"]): line for line in found}
    ten = lines["10", "style_accuracy_a"]
    assert [ten[key] for key in ("difference", "difference_low", "difference_high")] == ["0.25"] * 3
    assert lines["25", "style_accuracy_a"]["difference"] == lines["source", "style_accuracy_a"]["difference"] == ""
