"""The table of runs that go back up into noise is made from one file of numbers, measured with these networks."""

from __future__ import annotations

import pytest
from conftest import ROOT

from zecon_lite import RECIPES
from zecon_lite.evaluate import FRECHET, MEASURES
from zecon_lite.tiny import world

SCRIPT = "returns"
AGAIN = "these numbers are of other networks or settings: run python book/scripts/returns.py again"
PAGE = (ROOT / "book/what_each_knob_does.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def found(script):
    return script.read_csv(script.TABLE)


def test_every_run_is_another_and_the_first_is_the_recipe_as_it_is(script, models):
    rows, recipe = script.rows_of(models), RECIPES["zecon"].fitted_to(models)
    assert recipe.returns == 0 and rows[script.OWN].settings == script.of_recipe("zecon", models).settings
    assert len(rows) == len(script.RUNS) == len({row.settings for row in rows.values()})


def test_the_page_s_table_is_the_file_s_numbers(script, found):
    assert script.FRAGMENT.read_text(encoding="utf-8") == script.table(found), AGAIN
    assert script.TABLE.read_text(encoding="utf-8") == script.as_csv(found)
    assert "{include} assets/returns.md" in PAGE and f"assets/{script.PICTURES}" in PAGE
    for at, line in enumerate(found):
        if line["measure"] in (*script.ablations.SHOWN, *FRECHET):
            assert script.table([*found[:at], {**line, "mean": "7.4321"}, *found[at + 1 :]]) != script.table(found)


def test_the_measurements_are_of_the_networks_in_this_package_and_of_every_run(script, found):
    digests = script.ablations.hashes(script.ablations.NETWORKS)
    assert {line["weights"] for line in found} == {" ".join(f"{k}={digest}" for k, digest in digests.items())}, AGAIN
    runs = script.of(found, "returns")
    assert list(runs) == list(script.RUNS), AGAIN
    for name, measures in runs.items():
        assert list(measures) == [*MEASURES, *FRECHET, script.ablations.SECONDS]
        assert {line["own"] for line in measures.values()} == {"yes" if name == "0" else "no"}
    assert int(found[0]["scenes"]) >= 3 and found[0]["styles"].split() == list(world.STYLES)
    assert int(found[0]["first_scene"]) >= world.FIRST_HELD_OUT_SEED
