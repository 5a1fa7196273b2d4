"""Writes the notebooks without their answers, for students, or with the answers open, for teachers.

python book/scripts/editions.py student|teacher [FOLDER]      (default build/student or build/teacher)

Both come from the notebooks of the book, so there is one source to keep right. A student's copy has neither solutions
nor the answers to the questions; hints stay, every exercise has an open cell, and the cells with a checker still answer
through `exercises.check`. What a right answer prints stands above its solution in the built book and in a student's
copy. It comes from the last run in build/executed, since few outputs are stored; a copy first runs what has changed.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import nbformat
from execute import EXECUTED, ROOT, execute_all
from nbformat.v4 import new_code_cell, new_markdown_cell

from zecon_lite import files
from zecon_lite.exercises import EXERCISES, Question

ANSWER = re.compile(r"\n*<details>\s*<summary>Answer</summary>.*?</details>", re.S)
CHECK = re.compile(r'exercises\.check\("([\w-]+)"')
SUMMARY = "What a right answer prints"
ADDRESS = re.findall(r'^Repository = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)[0]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LINES, WIDTH = 16, 110    # of what a solution prints, that are shown


def is_solution(cell: nbformat.NotebookNode) -> bool:
    """True for the hidden cell that solves an exercise."""
    return cell.cell_type == "code" and cell.source.startswith("# @title Solution")


# ----------------------------------------------------------------------------------------------- what is to be expected


def said(output: nbformat.NotebookNode) -> str:
    """What an output says in text; nothing for a warning, a figure or a widget."""
    if output.output_type == "stream":
        return output.text if output.name == "stdout" else ""
    data = output.get("data", {})
    return data["text/plain"] + "\n" if set(data) == {"text/plain"} else ""


def printed(outputs: list[nbformat.NotebookNode]) -> Iterator[str]:
    """Markdown for what was printed, cut to LINES and WIDTH, and for what was drawn."""
    lines = "".join(map(said, outputs)).strip("\n").splitlines()
    if any(lines):
        cut = [line if len(line) <= WIDTH else line[:WIDTH] + " ..." for line in lines[:LINES]]
        yield "\n".join(["```text", *cut, *["..."][: len(lines) > LINES], "```"])
    if any("image/png" in output.get("data", {}) for output in outputs):
        yield "It draws a figure."


def expected(solutions: list[nbformat.NotebookNode]) -> str:
    """Markdown: what an exercise's executed solutions print, one click away; empty where there is nothing to tell.

    Where a number or a word is asked for, the print would be the answer; there it is the first word of the verdict.
    """
    source = "\n".join(cell.source for cell in solutions)
    if any(isinstance(EXERCISES.get(name), Question) for name in CHECK.findall(source)):
        shown = ["`Right:` and why."]
    else:
        shown = list(printed([output for cell in solutions for output in cell.outputs]))
    if not shown and "assert" in source:
        shown = ["Nothing. It compares, and every comparison holds."]
    return "\n\n".join([f"<details><summary>{SUMMARY}</summary>", *shown, "</details>"]) if shown else ""


def with_expected(cells: Iterable[nbformat.NotebookNode]) -> Iterator[nbformat.NotebookNode]:
    """The cells of an executed notebook, with what is to be expected above the solutions of each exercise."""
    for solved, group in groupby(cells, is_solution):
        together = list(group)
        if solved and (text := expected(together)):
            yield new_markdown_cell(text, id=f"expected-{together[0].id}")
        yield from together


def with_room(cells: list[nbformat.NotebookNode]) -> Iterator[nbformat.NotebookNode]:
    """The cells, with an open one where an exercise's text is followed by its solution at once."""
    for before, cell in zip([None, *cells], cells, strict=False):
        if is_solution(cell) and before.cell_type == "markdown":
            yield new_code_cell("# your lines", id=f"open-{cell.id}")
        yield cell


# ------------------------------------------------------------------------------------------------------- the editions


def on_their_own(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook, with links to the book's other pages that hold wherever it lies: those in the repository."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"(?<=!\[)([^\]]*)\]\(\.\./book/", rf"\1]({ADDRESS}/raw/main/book/", cell.source)
            cell.source = cell.source.replace("](../book/", f"]({ADDRESS}/blob/main/book/")
    return notebook


def student(notebook: nbformat.NotebookNode, executed: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy with nothing in it that a student should find alone; `executed` knows what the solutions print."""
    copy, ran = nbformat.from_dict(notebook), {cell.id: cell for cell in executed.cells}
    for cell in filter(is_solution, copy.cells):
        cell.outputs = ran[cell.id].outputs
    copy.cells = [cell for cell in with_expected(with_room(copy.cells)) if not is_solution(cell)]
    for cell in copy.cells:
        if cell.cell_type == "markdown":
            cell.source = ANSWER.sub("", cell.source)
        else:
            cell.outputs, cell.execution_count = [], None
    return copy


def teacher(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy in which solutions and answers are open."""
    copy = nbformat.from_dict(notebook)
    for cell in copy.cells:
        if is_solution(cell):
            cell.metadata["tags"] = [tag for tag in cell.metadata.get("tags", []) if tag != "hide-cell"]
            for name in ("cellView", "jupyter"):
                cell.metadata.pop(name, None)
        elif cell.cell_type == "markdown":
            cell.source = re.sub(r"<details>(?=\s*<summary>Answer</summary>)", "<details open>", cell.source)
    return copy


def edition_of(source: Path, edition: str) -> nbformat.NotebookNode:
    """One notebook of the book in this edition."""
    notebook = on_their_own(nbformat.read(source, as_version=4))
    if edition == "teacher":
        return teacher(notebook)
    return student(notebook, nbformat.read(EXECUTED / source.name, as_version=4))


def write(edition: str, folder: Path) -> list[Path]:
    """Write every notebook of the book in this edition; returns the paths. For students they must have been run."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        files.write(folder / source.name, nbformat.writes(edition_of(source, edition)) + "\n") for source in NOTEBOOKS
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("edition", choices=("student", "teacher"))
    parser.add_argument("folder", type=Path, nargs="?")
    asked = parser.parse_args()
    if asked.edition == "student":
        execute_all(NOTEBOOKS)
    made = write(asked.edition, asked.folder or ROOT / "build" / asked.edition)
    print(f"wrote {len(made)} notebooks to {made[0].parent}")
