"""Running notebooks for the book: again when something changed, with its cost counted, and with its errors told; and
rendering them, with warnings for errors."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import nbformat
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "book/scripts"))
import execute
import store_outputs

SCRIPT = "build"    # not imported: ruff sorts a module by this name elsewhere once there is a folder of its name


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


def test_a_notebook_is_run_again_when_something_else_is_installed(tmp_path, monkeypatch):
    path = notebook(tmp_path / "one.ipynb", "x = 1")
    before = execute.fingerprint(path, "tiny")
    assert execute.fingerprint(path, "tiny") == before
    monkeypatch.setattr(execute, "distributions", lambda: [SimpleNamespace(name="torch", version="9.9")])
    assert execute.fingerprint(path, "tiny") != before


def test_a_kernel_has_one_thread_on_every_machine(tmp_path):
    code = "import os\nassert os.environ['OMP_NUM_THREADS'] == os.environ['MKL_NUM_THREADS'] == '1'"
    assert execute.papermill(notebook(tmp_path / "one.ipynb", code), tmp_path / "ran.ipynb", "tiny")[0] is None


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A package, one notebook, and a papermill that notes its calls in `project.ran`, where it would run anything."""
    def papermill(source, target, profile):
        ran.append(profile)
        nbformat.write(nbformat.read(source, as_version=4), target)
        return None, execute.Cost(1.0, 1.0, 1)

    ran = []
    (tmp_path / "zecon_lite").mkdir()
    monkeypatch.setattr(execute, "ROOT", tmp_path)
    monkeypatch.setattr(execute, "EXECUTED", tmp_path)
    monkeypatch.setattr(execute, "papermill", papermill)
    (tmp_path / "notebooks").mkdir()
    module, path = tmp_path / "zecon_lite/module.py", notebook(tmp_path / "notebooks/one.ipynb", "x = 1")
    module.write_text("y = 1")
    return SimpleNamespace(ran=ran, module=module, run=lambda profile="tiny": execute.execute(path, profile))


def test_what_has_not_changed_is_not_run_again(project):
    assert project.run() is None and project.run() is None
    assert project.ran == ["tiny"]


def test_what_has_changed_is_run_once_more(project):
    project.run()
    project.module.write_text("y = 2")
    for profile in ("tiny", "tiny", "imagenet256"):
        project.run(profile)
    assert project.ran == ["tiny", "tiny", "imagenet256"]


def test_a_run_that_failed_is_tried_again(project, monkeypatch):
    monkeypatch.setattr(execute, "papermill", lambda *_: project.ran.append("once") or ("it failed", None))
    assert project.run() == project.run() == "it failed"
    assert project.ran == ["once", "once"]


def test_any_warning_of_the_renderer_is_an_error(script, tmp_path, monkeypatch):
    def run(command, **_):
        told.append(command)
        return SimpleNamespace(returncode=1)

    told = []
    monkeypatch.setattr(script, "OUT", tmp_path)
    monkeypatch.setattr(script.subprocess, "run", run)
    with pytest.raises(SystemExit, match="each WARNING above"):
        script.render()
    (command,) = told
    assert command[1] == "build" and {"-W", "-n", "--keep-going"} <= set(command)


def test_the_kernel_s_own_work_is_counted(tmp_path):
    code = "import time\nblock = b'x' * 300_000_000\nstart = time.process_time()\n" \
           "while time.process_time() - start < 2:\n    pass"
    path = notebook(tmp_path / "busy.ipynb", code)
    failure, cost = execute.papermill(path, tmp_path / "ran.ipynb", "tiny")
    assert failure is None and cost.cpu > 2 and cost.memory > 300_000_000


def test_a_notebook_that_fails_says_why(tmp_path):
    path = notebook(tmp_path / "wrong.ipynb", "1 / 0")
    failure, _ = execute.papermill(path, tmp_path / "ran.ipynb", "tiny")
    assert failure.startswith("wrong.ipynb failed") and "ZeroDivisionError" in failure


def test_what_was_printed_in_a_row_is_stored_as_one_however_it_came():
    def said(text, name="stdout"):
        return nbformat.v4.new_output("stream", text=text, name=name)

    drawn = nbformat.v4.new_output("display_data", {"text/plain": "figure"})
    cut = [said("one\n"), said("two\n"), said("oh\n", "stderr"), drawn, said("three\n")]
    assert store_outputs.joined(cut) == [said("one\ntwo\n"), said("oh\n", "stderr"), drawn, said("three\n")]
