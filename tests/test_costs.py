"""What the book says about time, memory and downloads of its chapters is what was measured."""

from __future__ import annotations

import json
import re
import sys

import nbformat
import pytest
from conftest import ROOT, missing

sys.path.insert(0, str(ROOT / "book/scripts"))
import costs

CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
KNOWN = costs.recorded()
each_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


@each_chapter
def test_a_chapter_has_been_measured_and_keeps_within_its_budget(path):
    cost = KNOWN["notebooks"][path.stem]
    assert 1 < cost["cpu"] <= 180, "a chapter runs in a minute or two on two cores"
    assert cost["seconds"] is None or cost["seconds"] > 1
    assert 2**28 < cost["memory"] < 4 * 2**30, "a laptop has the memory"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", cost["date"]) and cost["zecon_lite"]


def test_two_cores_run_all_chapters_in_a_quarter_of_an_hour():
    assert sum(cost["cpu"] for cost in KNOWN["notebooks"].values()) / 2 <= 15 * 60


def strays(took, known):
    """The chapters whose share of the time of all is not within 50 % of the share that is recorded.

    Not the seconds themselves: those differ by a factor of two and more between one machine and another, and between a
    quiet hour and a busy one; what a chapter takes beside the others is a matter of its cells.
    """
    measured, recorded = sum(took.values()), sum(known[name] for name in took)
    return [name for name, cpu in took.items() if abs(cpu / measured / (known[name] / recorded) - 1) > 0.5]


def test_in_the_last_build_each_chapter_took_the_share_of_the_time_that_is_recorded():
    files = {path.stem: costs.EXECUTED / f"{path.stem}.cost.json" for path in CHAPTERS}
    if not all(path.is_file() for path in files.values()):
        missing("not every notebook has been run for the book: `make book` first")
    took = {name: json.loads(path.read_text(encoding="utf-8"))["cpu"] for name, path in files.items()}
    assert strays(took, {name: cost["cpu"] for name, cost in KNOWN["notebooks"].items()}) == []


def test_a_slow_machine_is_no_stray_and_a_chapter_that_has_grown_is_one():
    known = {"a": 10.0, "b": 40.0, "c": 60.0, "d": 50.0}
    assert strays({name: 3 * cpu for name, cpu in known.items()}, known) == []
    assert strays(known | {"b": 80.0}, known) == ["b"] and strays(known | {"a": 4.0}, known) == ["a"]


def test_nothing_is_recorded_of_a_chapter_that_is_gone():
    assert set(KNOWN["notebooks"]) == {path.stem for path in CHAPTERS}


def test_the_table_in_the_book_is_made_from_the_measurements():
    assert costs.COSTS.with_suffix(".md").read_text(encoding="utf-8") == costs.fragment(KNOWN)
    assert "assets/notebook_costs.md" in (ROOT / "book/teaching.md").read_text(encoding="utf-8")


@each_chapter
def test_a_chapter_s_page_says_what_it_costs(html, path):
    page = re.sub(r"<[^>]+>", "", (html / f"notebooks/{path.stem}.html").read_text(encoding="utf-8"))
    assert costs.line(path, KNOWN).replace("`", "") in " ".join(page.split())


@each_chapter
def test_the_minutes_of_reading_are_those_that_the_guide_for_teachers_counts_with(path):
    first = nbformat.read(path, as_version=4).cells[0].source
    minutes = int(re.search(r"\b[Aa]bout (\d+) minutes", first)[1])
    least, most = map(int, re.search(r"A chapter is (\d+) to (\d+) minutes", (ROOT / "book/teaching.md").read_text())
                      .groups())
    assert least <= minutes <= most


def test_only_a_notebook_that_ran_alone_has_seconds_on_the_clock(tmp_path, monkeypatch):
    monkeypatch.setattr(costs, "EXECUTED", tmp_path)
    (tmp_path / "01_images_and_noise.cost.json").write_text('{"seconds": 99.0, "cpu": 50.04, "memory": 1073741824}')
    path = ROOT / "notebooks/01_images_and_noise.ipynb"
    known = {"notebooks": {path.stem: costs.built(path)}, "machine": {"cores": 2, "processor": "x86_64"}}
    assert "took 50 s of processor time and 1.00 GiB" in costs.line(path, known)
    known["notebooks"][path.stem]["seconds"] = 30.0
    assert "took 30 s on 2 cores, 50 s of processor time" in costs.line(path, known)
    assert "not been measured yet" in costs.line(path, {"notebooks": {}})


def test_downloads_are_the_manifest_s():
    assert costs.downloads(ROOT / "notebooks/01_images_and_noise.ipynb") == "2.2 GB"
    assert costs.downloads(ROOT / "notebooks/07_zecon.ipynb") == "3.1 GB"
    assert costs.downloads(ROOT / "notebooks/13_side_by_side.ipynb") == "more than 4.8 GB"    # DINO's size is unknown
    assert sorted(costs.ASKED) == [int(path.stem[:2]) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
