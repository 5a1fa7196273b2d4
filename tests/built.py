"""For `make test`, which has just built the book: what a notebook printed then is compared, without running it again.

nbval reads notebooks, decides which outputs count and compares them, as ever; only its kernel is left out. A notebook
whose run for the book is not of its present cells, package and environment is run by nbval itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from nbval.plugin import IPyNbCell, IPyNbFile, coalesce_streams

sys.path.insert(0, str(ROOT / "book/scripts"))
import execute


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector):
    found = yield
    if file_path.suffix == ".ipynb" and execute.is_current(file_path, execute.fingerprint(file_path, "tiny")):
        return [BuiltFile.from_parent(parent, path=file_path)]
    return found


class BuiltFile(IPyNbFile):
    """A notebook and its run for the book."""

    def setup(self) -> None:
        """Starts no kernel."""

    def collect(self):
        ran = nbformat.read(execute.EXECUTED / self.path.name, as_version=4).cells
        shown = [cell.outputs for cell in ran if cell.cell_type == "code" and not execute.is_injected(cell)]
        for cell, outputs in zip(super().collect(), shown, strict=True):
            yield BuiltCell.from_parent(
                self, name=cell.name, cell_num=cell.cell_num, cell=cell.cell, options=cell.options, shown=outputs
            )


class BuiltCell(IPyNbCell):
    """A cell and what it showed; that it ran without an error is sure, since else the book would not be there."""

    def __init__(self, *, shown: list[nbformat.NotebookNode], **of_nbval):
        super().__init__(**of_nbval)
        self.shown = shown

    def runtest(self) -> None:
        if not self.options["check"]:
            return
        if not self.compare_outputs(coalesce_streams(self.shown), coalesce_streams(self.cell.outputs)):
            self.raise_cell_error("Cell outputs differ", "\n".join(self.comparison_traceback))
