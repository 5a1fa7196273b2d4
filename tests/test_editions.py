"""Student and teacher editions: one source, answers out of one and open in the other."""

from __future__ import annotations

import sys

import nbformat
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "book/scripts"))
import editions

SOURCES = {path.name: nbformat.read(path, as_version=4) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
each_notebook = pytest.mark.parametrize("name", SOURCES)


@pytest.fixture(scope="module", params=["student", "teacher"])
def edition(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    editions.write(request.param, folder)
    return request.param, folder


def test_an_edition_holds_every_notebook_and_is_written_alike_again(edition, tmp_path):
    name, folder = edition
    again = editions.write(name, tmp_path)
    assert [path.name for path in again] == list(SOURCES)
    assert all(path.read_bytes() == (folder / path.name).read_bytes() for path in again)
    assert not [path for path in folder.iterdir() if path.suffix != ".ipynb"]


@each_notebook
def test_a_student_finds_no_answer_and_every_open_question(name):
    source, copy = SOURCES[name], editions.student(SOURCES[name])
    text = "\n".join(cell.source for cell in copy.cells)
    assert "# @title Solution" not in text and "<summary>Answer</summary>" not in text
    solutions = sum(editions.is_solution(cell) for cell in source.cells)
    assert solutions >= 4 and len(copy.cells) == len(source.cells) - solutions
    assert text.count("<summary>Hint</summary>") == sum(c.source.count("<summary>Hint</summary>") for c in source.cells)
    assert not any(cell.get("outputs") for cell in copy.cells)
    nbformat.validate(copy)


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
