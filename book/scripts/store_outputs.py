"""Runs each notebook and stores the outputs of its marked cells, no others.

python book/scripts/store_outputs.py [notebook ...]

A cell is marked by the tag `nbval-check-output` or by a line `# NBVAL_CHECK_OUTPUT`; the tests compare what it prints
with what is stored. All other cells are stored without outputs, so that a notebook's history is its text and code.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from execute import EXECUTED, ROOT, execute_all

from zecon_lite.files import write


def is_marked(cell: nbformat.NotebookNode) -> bool:
    """True when the tests compare this cell's output."""
    return "nbval-check-output" in cell.metadata.get("tags", []) or "# NBVAL_CHECK_OUTPUT" in cell.source


def joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Outputs in which what was printed in a row is one: a busy machine cuts it where it likes."""
    found: list[nbformat.NotebookNode] = []
    for output in outputs:
        if found and output.output_type == "stream" == found[-1].output_type and output.name == found[-1].name:
            found[-1].text += output.text
        else:
            found.append(output)
    return found


def store(path: Path) -> None:
    """Takes the outputs of marked cells from the executed copy; the file is replaced in one piece."""
    notebook, executed = nbformat.read(path, as_version=4), nbformat.read(EXECUTED / path.name, as_version=4)
    results = {cell.id: cell for cell in executed.cells if cell.cell_type == "code"}
    for cell in (c for c in notebook.cells if c.cell_type == "code"):
        result = results[cell.id]
        # nbval wants a number beside stored outputs; where nothing is stored there is none.
        kept = (joined(result.outputs), result.execution_count) if is_marked(cell) else ([], None)
        cell.outputs, cell.execution_count = kept
    notebook.metadata.pop("widgets", None)
    write(path, nbformat.writes(notebook) + "\n")


if __name__ == "__main__":
    paths = [Path(name).resolve() for name in sys.argv[1:]] or sorted((ROOT / "notebooks").glob("*.ipynb"))
    execute_all(paths)
    for path in paths:
        store(path)
    print(f"Stored the marked outputs of {len(paths)} notebooks.")
