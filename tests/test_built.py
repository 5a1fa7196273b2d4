"""Where the book has just been built, nbval compares what its notebooks printed, and runs none of them again."""

from __future__ import annotations

import built
import nbformat
import pytest
from built import execute
from nbval.plugin import NbCellError

PARAMETERS = nbformat.v4.new_code_cell("profile = 'tiny'", metadata={"tags": ["injected-parameters"]})


def cell(text, tags):
    out = [nbformat.v4.new_output("stream", text=text)]
    return nbformat.v4.new_code_cell("print()", outputs=out, execution_count=1, metadata={"tags": tags})


@pytest.fixture
def cells(tmp_path, monkeypatch, request):
    """A function (what is stored, what was printed, tags) -> the test of that cell, after one that prints "before"."""
    def make(stored, printed, tags=("nbval-check-output",)):
        execute.EXECUTED.mkdir(exist_ok=True)
        first = cell("before", ["nbval-check-output"])
        for path, added, text in ((tmp_path, [], stored), (execute.EXECUTED, [PARAMETERS], printed)):
            written = nbformat.v4.new_notebook(cells=[first, *added, cell(text, list(tags))])
            nbformat.write(written, path / "one.ipynb")
        _, last = built.BuiltFile.from_parent(request.session, path=tmp_path / "one.ipynb").collect()
        return last

    monkeypatch.setattr(execute, "EXECUTED", tmp_path / "kept")
    monkeypatch.setattr(request.config.option, "nbval_lax", True)
    return make


def test_what_was_printed_is_compared_with_what_is_stored(cells):
    cells("0.25", "0.25").runtest()
    with pytest.raises(NbCellError, match="outputs differ") as caught:
        cells("0.25", "0.26").runtest()
    assert "0.25" in caught.value.inner_traceback and "0.26" in caught.value.inner_traceback


def test_what_is_not_marked_is_not_compared(cells):
    cells("0.25", "0.26", tags=()).runtest()


@pytest.mark.parametrize("current", [True, False])
def test_nbval_runs_what_has_changed_since(cells, request, tmp_path, monkeypatch, current):
    cells("0.25", "0.25")
    monkeypatch.setattr(execute, "is_current", lambda notebook, wanted: current)
    hook = built.pytest_collect_file(tmp_path / "one.ipynb", request.session)
    next(hook)
    with pytest.raises(StopIteration) as found:
        hook.send(["nbval's own"])
    assert [isinstance(one, built.BuiltFile) for one in found.value.value] == [current]


def test_files_of_other_kinds_are_left_to_pytest(request, tmp_path):
    hook = built.pytest_collect_file(tmp_path / "test_one.py", request.session)
    next(hook)
    with pytest.raises(StopIteration) as found:
        hook.send(["pytest's own"])
    assert found.value.value == ["pytest's own"]
