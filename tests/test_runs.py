"""The tables of runs that go another way are made from files of numbers, measured with these networks."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from conftest import ROOT

from zecon_lite.evaluate import FRECHET, MEASURES
from zecon_lite.tiny import world

SCRIPT = "runs"
AGAIN = "these numbers are of other networks or settings: run python book/scripts/runs.py again"
PAGE = (ROOT / "book/what_each_knob_does.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module", params=["ways", "returns", "looks"])
def section(script, request):
    return script.SECTIONS[request.param]


@pytest.fixture(scope="module")
def found(script, section):
    return script.read_csv(section.table)


def test_these_are_all_sections(script):
    assert list(script.SECTIONS) == ["ways", "returns", "looks"]


def test_every_run_is_another_and_the_first_is_the_recipe_as_it_is(script, section, models):
    rows = script.rows_of(section, models)
    assert next(iter(rows)) == script.OWN and rows[script.OWN].settings == script.of_recipe("zecon", models).settings
    assert len(rows) == len(section.runs) == len({row.settings for row in rows.values()})
    assert all(row.settings for row in rows.values())    # else an interrupted measurement would begin again


def test_the_page_s_table_is_the_file_s_numbers(script, section, found):
    assert section.fragment.read_text(encoding="utf-8") == script.table(section, found), AGAIN
    assert section.table.read_text(encoding="utf-8") == script.as_csv(found)
    assert f"{{include}} assets/{section.fragment.name}" in PAGE and f"assets/{section.pictures}" in PAGE
    for at, line in enumerate(found):
        if line["measure"] in (*script.ablations.SHOWN, *script.BESIDE):
            changed = [*found[:at], {**line, "mean": "7.4321"}, *found[at + 1 :]]
            assert script.table(section, changed) != script.table(section, found)


def test_the_page_s_python_makes_the_last_way_s_recipe(script, models):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)
    names = {}
    exec(code, names)
    *_, last = script.SECTIONS["ways"].runs.values()
    assert names["recipe"] == replace(script.recipe_of(models, **last), small=names["recipe"].small)
    assert names["result"].image.shape == names["photo"].shape


def test_the_measurements_are_of_the_networks_in_this_package_and_of_every_run(script, section, found):
    digests = script.ablations.hashes(script.ablations.NETWORKS)
    assert {line["weights"] for line in found} == {" ".join(f"{k}={digest}" for k, digest in digests.items())}, AGAIN
    runs = script.of(found, section.name)
    assert list(runs) == list(section.runs), AGAIN
    for name, measures in runs.items():
        assert list(measures) == [*MEASURES, *FRECHET, script.ablations.SECONDS]
        assert {line["own"] for line in measures.values()} == {"no" if section.runs[name] else "yes"}
    assert int(found[0]["scenes"]) >= 3 and found[0]["styles"].split() == list(world.STYLES)
    assert int(found[0]["first_scene"]) >= world.FIRST_HELD_OUT_SEED
