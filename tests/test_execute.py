"""Running notebooks for the book: again when something changed, with its cost counted, and with its errors told."""

from __future__ import annotations

import sys

import nbformat
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "book/scripts"))
import execute


def notebook(path, code):
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code, id="only")], metadata=kernel), path)
    return path


@pytest.mark.parametrize(("change", "again"), [
    (lambda root: None, False),
    (lambda root: notebook(root / "one.ipynb", "x = 2"), True),
    (lambda root: (root / "zecon_lite/module.py").write_text("y = 2"), True),
    (lambda root: (root / "zecon_lite/weights.safetensors").write_bytes(b"2"), True),
    (lambda root: (root / "zecon_lite/new.py").touch(), True),
    (lambda root: (root / "README.md").write_text("2"), False),
], ids=["nothing", "cell", "module", "weights", "new file", "elsewhere"])
def test_a_notebook_is_run_again_when_its_cells_or_the_package_have_changed(tmp_path, monkeypatch, change, again):
    monkeypatch.setattr(execute, "ROOT", tmp_path)
    (tmp_path / "zecon_lite").mkdir()
    (tmp_path / "zecon_lite/module.py").write_text("y = 1")
    (tmp_path / "zecon_lite/weights.safetensors").write_bytes(b"1")
    path = notebook(tmp_path / "one.ipynb", "x = 1")
    before = execute.fingerprint(path, "tiny")
    change(tmp_path)
    assert (execute.fingerprint(path, "tiny") != before) is again
    assert execute.fingerprint(path, "imagenet256") != before, "another profile is another run"


def test_the_kernel_s_own_work_is_counted(tmp_path):
    code = "import time\nblock = b'x' * 300_000_000\nstart = time.process_time()\n" \
           "while time.process_time() - start < 2:\n    pass"
    path = notebook(tmp_path / "busy.ipynb", code)
    failure, cost = execute.papermill(path, tmp_path / "ran.ipynb", "tiny", 1)
    assert failure is None and cost.cpu > 2 and cost.memory > 300_000_000


def test_a_notebook_that_fails_says_why(tmp_path):
    path = notebook(tmp_path / "wrong.ipynb", "1 / 0")
    failure, _ = execute.papermill(path, tmp_path / "ran.ipynb", "tiny", 1)
    assert failure.startswith("wrong.ipynb failed") and "ZeroDivisionError" in failure
