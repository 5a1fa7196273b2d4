"""A notebook's first cell, on Colab: it installs this package, and leaves torch, torchvision and numpy as they are."""

import json
import re
import subprocess

import pytest
from colab import KEPT, environment, everything_but, needed_by, versions
from conftest import ROOT, missing
from test_notebooks import NOTEBOOKS, code_cells

# What a Colab kernel does with the cell, then what the next cells do.
PROGRAM = """
import sys, types
sys.modules["google.colab"] = types.ModuleType("google.colab")
from IPython.core.interactiveshell import InteractiveShell
InteractiveShell.instance().run_cell(open(sys.argv[1]).read()).raise_error()
import zecon_lite
source = zecon_lite.images.fit(zecon_lite.images.photograph("cat"), 64, "crop")
result = zecon_lite.stylize(source, "a pencil sketch", models=zecon_lite.load_models("tiny", "cpu"), steps=3, skip=1)
print(zecon_lite.__file__, tuple(result.image.shape))

from zecon_lite.widgets import Panel
panel = Panel(zecon_lite.load_models("tiny", "cpu"))
panel.dials.steps.value, panel.dials.t0.value = 3, 1
panel.run()
panel.wait()
print("panel:", tuple(panel.image.shape), panel.error)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("wheel")
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    return ROOT / path


def test_pip_plans_no_other_torch_torchvision_or_numpy(wheel, tmp_path):
    python = environment(tmp_path, needed_by(*KEPT, "pip"))
    command = [python, "-m", "pip", "install", "--dry-run", "--quiet", "--report", tmp_path / "plan.json", wheel]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        missing(f"pip could make no plan, which takes a package index: {done.stderr[-500:]}")
    planned = {item["metadata"]["name"].lower() for item in json.loads((tmp_path / "plan.json").read_text())["install"]}
    assert {"zecon-lite", "timm", "rich"} <= planned    # it was an environment that lacks us
    assert not planned & set(KEPT)


def test_after_the_first_cell_versions_are_the_same_and_the_tiny_profile_runs(wheel, tmp_path):
    python = environment(tmp_path, everything_but("zecon-lite"))
    before = versions(python)
    (cell,) = {code_cells(name)[0].source for name in NOTEBOOKS}    # the same in all of them
    (tmp_path / "cell.ipy").write_text(re.sub(r"git\+[^\s\"]+", wheel.as_uri(), cell))
    command = [python, "-c", PROGRAM, tmp_path / "cell.ipy"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(tmp_path / "env") in done.stdout and "(1, 3, 64, 64)" in done.stdout
    assert "panel: (1, 3, 64, 96) None" in done.stdout
    assert versions(python) == before and set(before) == set(KEPT)
