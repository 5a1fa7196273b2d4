"""Writes the notebooks without their answers, for students, or with the answers open, for teachers.

python book/scripts/editions.py student|teacher [FOLDER]      (default build/student or build/teacher)

Both come from the notebooks of the book, so there is one source to keep right. A student's copy has neither solutions
nor the answers to the questions; hints stay, and the open cells still answer through `exercises.check`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

import nbformat

from zecon_lite.files import replacing

ROOT = Path(__file__).resolve().parents[2]
ANSWER = re.compile(r"\n*<details>\s*<summary>Answer</summary>.*?</details>", re.S)


def is_solution(cell: nbformat.NotebookNode) -> bool:
    """True for the hidden cell that solves an exercise."""
    return cell.cell_type == "code" and cell.source.startswith("# @title Solution")


def student(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy with nothing in it that a student should find alone."""
    copy = nbformat.from_dict(notebook)
    copy.cells = [cell for cell in copy.cells if not is_solution(cell)]
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


EDITIONS: dict[str, Callable[[nbformat.NotebookNode], nbformat.NotebookNode]] = {"student": student, "teacher": teacher}


def write(edition: str, folder: Path) -> list[Path]:
    """Write every notebook of the book in this edition; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for source in sorted((ROOT / "notebooks").glob("*.ipynb")):
        target = folder / source.name
        with replacing(target) as partial:
            partial.write_text(nbformat.writes(EDITIONS[edition](nbformat.read(source, as_version=4))) + "\n")
        written.append(target)
    return written


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("edition", choices=EDITIONS)
    parser.add_argument("folder", type=Path, nargs="?")
    asked = parser.parse_args()
    made = write(asked.edition, asked.folder or ROOT / "build" / asked.edition)
    print(f"wrote {len(made)} notebooks to {made[0].parent}")
