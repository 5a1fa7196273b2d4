"""Student and teacher editions: one source, answers out of one and open in the other."""

from __future__ import annotations

import re
import sys

import nbformat
import pytest
from conftest import ROOT, missing
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

sys.path.insert(0, str(ROOT / "book/scripts"))
import editions

SOURCES = {path.name: nbformat.read(path, as_version=4) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
each_notebook = pytest.mark.parametrize("name", SOURCES)


@pytest.fixture(scope="module")
def executed():
    """Every notebook after its last run, by its name."""
    if not all((editions.EXECUTED / name).is_file() for name in SOURCES):
        missing("the book has not been built: `make book` first")
    return {name: nbformat.read(editions.EXECUTED / name, as_version=4) for name in SOURCES}


def told(outputs, source="# @title Solution"):
    """What is to be expected of one solution with these outputs."""
    return editions.expected([new_code_cell(source, outputs=outputs)])


def print_of(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def value_of(text, **data):
    return new_output("execute_result", {"text/plain": text, **data})


def blocks(cells):
    return [cell for cell in cells if f"<summary>{editions.SUMMARY}</summary>" in cell.source]


@pytest.fixture(scope="module", params=["student", "teacher"])
def edition(request, tmp_path_factory):
    if request.param == "student":
        request.getfixturevalue("executed")
    folder = tmp_path_factory.mktemp(request.param)
    editions.write(request.param, folder)
    return request.param, folder


def test_an_edition_holds_every_notebook_and_is_written_alike_again(edition, tmp_path):
    name, folder = edition
    again = editions.write(name, tmp_path)
    assert [path.name for path in again] == list(SOURCES)
    assert all(path.read_bytes() == (folder / path.name).read_bytes() for path in again)
    assert not [path for path in folder.iterdir() if path.suffix != ".ipynb"]


def test_an_edition_links_to_pages_of_the_book_where_they_can_be_read(edition):
    _, folder = edition
    texts = "\n".join(path.read_text(encoding="utf-8") for path in folder.iterdir())
    assert "](../" not in texts
    linked = re.findall(rf"\]\({re.escape(editions.ADDRESS)}/(raw|blob)/main/([^)#]+)", texts)
    assert len(linked) >= 20 and all((ROOT / path).is_file() for _, path in linked)
    assert {kind for kind, path in linked if path.endswith(".png")} == {"raw"}


# --------------------------------------------------------------------------------------------- what is to be expected


def test_what_is_to_be_expected_is_what_was_printed_one_click_away():
    assert told([print_of("a 1\n"), print_of("b 2\n"), value_of("Right: so.")]) == (
        "<details><summary>What a right answer prints</summary>\n\n```text\na 1\nb 2\nRight: so.\n```\n\n</details>"
    )


def test_a_solution_that_prints_nothing_promises_nothing():
    assert told([]) == told([print_of("\n")]) == told([print_of("a warning", "stderr")]) == ""
    assert told([value_of("Explorer()", **{"text/html": "<p>"})]) == ""


def test_a_solution_that_only_compares_says_so():
    assert "every comparison holds" in told([], "# @title Solution\nassert_close(mine, package)")


def test_a_solution_that_draws_says_so():
    figure = new_output("display_data", {"text/plain": "<Figure size 640x480>", "image/png": "..."})
    assert "It draws a figure." in told([figure]) and "640x480" not in told([figure])
    assert "\na 1\n```\n\nIt draws a figure." in told([print_of("a 1\n"), figure])


def test_much_is_cut():
    lines = told([print_of("x" * 1000 + "\n" + "y\n" * 1000)]).split("```")[1].splitlines()
    assert len(lines) <= editions.LINES + 2 and max(map(len, lines)) <= editions.WIDTH + 4
    assert lines[1].endswith(" ...") and lines[-1] == "..."


def test_where_a_number_is_asked_for_it_is_not_betrayed():
    source = '# @title Solution\nexercises.check("passes-of-zecon", 50)'
    shown = told([print_of("50\n"), value_of("Right: 25 and 25.")], source)
    assert "Right:" in shown and "50" not in shown and "25" not in shown


def test_solutions_that_follow_each_other_are_told_together():
    first, second = (new_code_cell("# @title Solution", id=name, outputs=[print_of(name)]) for name in ("one", "two"))
    cells = list(editions.with_expected([new_code_cell("..."), first, second, new_markdown_cell("The end.")]))
    assert [cell.id for cell in cells[1:4]] == ["expected-one", "one", "two"] and len(cells) == 5
    assert "one" in cells[1].source and "two" in cells[1].source


@each_notebook
def test_the_source_does_not_repeat_what_its_solutions_print(name):
    assert not blocks(SOURCES[name].cells)


@each_notebook
def test_the_page_tells_above_every_solution_what_is_to_be_expected(name, html):
    staged = nbformat.read(ROOT / "build/src/notebooks" / name, as_version=4)
    without = [cell for cell in staged.cells if cell not in blocks(staged.cells)]
    assert list(editions.with_expected(without)) == staged.cells
    page = (html / "notebooks" / name.replace(".ipynb", ".html")).read_text(encoding="utf-8")
    assert page.count(f"<summary>{editions.SUMMARY}</summary>") == len(blocks(staged.cells)) >= 4


# ------------------------------------------------------------------------------------------------------- the editions


@each_notebook
def test_a_student_finds_no_answer_and_every_open_question(name, executed):
    source, copy = SOURCES[name], editions.student(SOURCES[name], executed[name])
    text = "\n".join(cell.source for cell in copy.cells)
    assert "# @title Solution" not in text and "<summary>Answer</summary>" not in text
    kept = [cell.id for cell in source.cells if not editions.is_solution(cell)]
    added = [cell for cell in copy.cells if cell.id not in kept]
    assert len(source.cells) - len(kept) >= 4 and [cell.id for cell in copy.cells if cell not in added] == kept
    assert all(cell.source == "# your lines" or cell in blocks(added) for cell in added)
    assert text.count("<summary>Hint</summary>") == sum(c.source.count("<summary>Hint</summary>") for c in source.cells)
    assert not any(cell.get("outputs") for cell in copy.cells)
    nbformat.validate(copy)


@each_notebook
def test_a_student_has_room_below_every_exercise_and_then_sees_what_to_expect(name, executed):
    cells = editions.student(SOURCES[name], executed[name]).cells
    for text, room, after in zip(cells, cells[1:], cells[2:], strict=False):
        if "### Exercise" in text.source:
            assert room.cell_type == "code" and re.search(r"# your lines|\.\.\.", room.source)
            assert after in blocks(cells), f"nothing is told of what to expect:\n{text.source}"


@each_notebook
def test_a_teacher_sees_every_answer_and_nothing_else_differs(name):
    source, copy = SOURCES[name], editions.teacher(SOURCES[name])
    for before, after in zip(source.cells, copy.cells, strict=True):
        assert after.source.replace("<details open>", "<details>") == before.source
        if editions.is_solution(after):
            assert "hide-cell" not in after.metadata.get("tags", []) and "jupyter" not in after.metadata
    nbformat.validate(copy)


def test_the_book_keeps_its_answers_hidden():
    hidden = [c for nb in SOURCES.values() for c in nb.cells if editions.is_solution(c)]
    assert all("hide-cell" in cell.metadata.get("tags", []) for cell in hidden)
