"""What teachers are given: syllabi, a study group's hour, projects and a rubric, a plan and a deck for each chapter."""

from __future__ import annotations

import re
import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "book/scripts"))
import slides

TEACHING = (ROOT / "book/teaching.md").read_text(encoding="utf-8")
LESSONS = (ROOT / "book/lessons.md").read_text(encoding="utf-8")
CHAPTERS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
PARTS = {int(part.split(".")[0]): part for part in re.split(r"^## (?=\d+\.)", LESSONS, flags=re.M)[1:]}
NUMBERS = {"five": 5, "ten": 10, "fifteen": 15, "twenty": 20, "thirty": 30}


def section(heading):
    """What stands under a heading of the page for teachers, up to the next of its rank or above."""
    rank = len(heading.split()[0])
    return re.search(rf"^{heading}\n(.*?)(?=^#{{1,{rank}}} |\Z)", TEACHING, re.M | re.S)[1]


@pytest.mark.parametrize(("heading", "weeks"), [("## Twelve weeks", 12), ("## Six weeks", 6)])
def test_a_syllabus_has_a_row_for_each_week_and_leads_through_every_chapter_in_order(heading, weeks):
    text = section(heading)
    assert [int(week) for week in re.findall(r"^\| (\d+) \|", text, re.M)] == [*range(1, weeks + 1)]
    assert re.findall(r"\(\.\./notebooks/(\w+\.ipynb)\)", text) == CHAPTERS


def test_the_minutes_of_a_study_group_are_an_hour():
    text = section("## A study group without a teacher")
    assert "an hour together" in text
    assert sum(NUMBERS[word.lower()] for word in re.findall(r"\*\*(\w+) minutes\*\*", text)) == 60


def test_there_are_projects_to_choose_from():
    projects = re.findall(r"^(\d+)\. \*\*.+?\*\* \S", section("## Projects"), re.M)
    assert len(projects) >= 6 and [int(number) for number in projects] == [*range(1, len(projects) + 1)]


def test_the_rubric_gives_a_hundred_per_cent_and_says_of_each_part_what_is_excellent_sound_and_neither():
    rows = [re.split(r"\s*\|\s*", row)[1:-1] for row in re.findall(r"^\| \*\*.*$", section("### Rubric"), re.M)]
    assert sum(int(re.search(r"\((\d+)\s%\)", part)[1]) for part, *_ in rows) == 100
    assert all(len(said) == 3 and all(said) for _, *said in rows)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_has_goals_a_plan_that_fills_its_lesson_and_what_is_misunderstood(chapter):
    part, plan = PARTS[int(chapter[:2])], slides.lessons()[int(chapter[:2])]
    assert "**Goals.**" in part and len(plan.goals) >= 2
    assert '**Expect.** *"' in part and len(plan.misread) >= 2
    assert "ninety minutes" in LESSONS.split("##")[0]
    assert sum(int(minutes) for minutes in re.findall(r"^\| (\d+) \| \S", part, re.M)) == 90


def test_no_plan_is_of_a_chapter_that_is_not_there():
    assert list(PARTS) == [int(chapter[:2]) for chapter in CHAPTERS]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_has_a_deck_that_its_page_links_to(html, chapter):
    name = chapter.replace(".ipynb", ".html")
    assert (html / "_static/slides" / name).is_file()
    assert f"_static/slides/{name}" in (html / "notebooks" / name).read_text(encoding="utf-8")
