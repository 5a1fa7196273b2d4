"""The widgets in a real JupyterLab: what is done in the page is a value in Python, and the other way round."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
from conftest import ROOT

from zecon_lite import RECIPES, load_models

# Slow machines start a server, a page and a kernel slowly; none of this is waited for when it is not needed.
PATIENCE = 120


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab with settings of its own; yields its address and the folder of its notebooks."""
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")
    folder = tmp_path_factory.mktemp("lab")
    work = folder / "work"
    work.mkdir()
    homes = (
        "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTERLAB_SETTINGS_DIR",
        "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR",
    )
    env = {**os.environ, **{name: str(folder / name) for name in homes}, "PYTHONPATH": str(ROOT)}
    # Full rendering, so that no cell is left out of the page; no question about news, which would ask the network.
    for plugin, settings in {
        "notebook-extension/tracker": {"windowingMode": "none"},
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    }.items():
        path = folder / "JUPYTERLAB_SETTINGS_DIR" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(settings))

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
        "--ServerApp.port_retries=0", "--IdentityProvider.token=", f"--ServerApp.root_dir={work}",
    ]
    with open(folder / "log", "w") as log:
        server = subprocess.Popen(command, env=env, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/api", server, folder / "log")
        yield address, work
    finally:
        server.terminate()                                                     # ends its kernels too
        server.wait(timeout=PATIENCE)


def wait_for(address, server, log):
    """Returns when the server answers; fails with its log when it ends or never does."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and server.poll() is None:
        try:
            return urllib.request.urlopen(address, timeout=5).close()
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()}")


class Notebook:
    """A notebook that is open in a page."""

    def __init__(self, page):
        self.page, self.cells = page, page.locator(".jp-Notebook .jp-CodeCell")

    def run(self, number):
        """Run a cell; returns it."""
        cell = self.cells.nth(number)
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        return cell

    def printed(self, number):
        """What a cell prints when it is run."""
        text = self.run(number).locator(".jp-OutputArea-output pre")
        text.wait_for()
        return text.inner_text()


@pytest.fixture(scope="module")
def opened(lab, chromium):
    """A function (name, *code of cells) -> `Notebook`: opens it in a page that reaches this machine alone.

    `page.strangers` collects what else was asked for.
    """
    address, work = lab
    contexts = []

    def only_here(page, route):
        if re.match(r"(https?|wss?)://127\.0\.0\.1|data:|blob:", route.request.url):
            return route.continue_()
        page.strangers.append(route.request.url)
        return route.abort()

    def open_notebook(name, *code):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in code])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, work / f"{name}.ipynb")
        context = chromium.new_context(viewport={"width": 1280, "height": 1000})
        contexts.append(context)
        context.set_default_timeout(1000 * PATIENCE)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.strangers = []
        context.route("**/*", lambda route: only_here(page, route))
        # Whatever JupyterLab asks ("Select Kernel"), its proposal is right.
        dialog = page.locator(".jp-Dialog")
        page.add_locator_handler(dialog, lambda found: found.locator("button.jp-mod-accept").click())
        # A workspace of its own, or the page would open the notebooks before it, too.
        page.goto(f"{address}/lab/workspaces/{name}/tree/{name}.ipynb")
        page.get_by_text("| Idle").wait_for()                                  # before, "run" would be forgotten
        return Notebook(page)

    yield open_notebook
    for context in contexts:
        context.close()


# ---------------------------------------------------------------------------------------------- the similarity explorer

MAKE = """
import torch
from zecon_lite.widgets import SimilarityExplorer

draw = torch.Generator().manual_seed(0)
source, result = torch.rand(2, 1, 3, 32, 32, generator=draw) * 2 - 1
features = torch.randn(1, 8, 4, 6, generator=draw)
explorer = SimilarityExplorer.from_features(source, result, {"keys": (features, features.flip(-1))})
explorer
"""
TELL = """
print("selected", explorer.selected, "marked", explorer.marked)
explorer.selected = [0.0, 0.0]
explorer.beside = [0]
"""


def test_python_sees_the_patch_that_was_clicked_and_the_page_the_one_that_python_chose(opened):
    notebook = opened("explorer", MAKE, TELL)
    page, cell = notebook.page, notebook.run(0)
    explorer = page.locator('[data-testid="similarity-explorer"][data-ready="true"]')
    explorer.wait_for()
    source, readout = explorer.get_by_test_id("source"), explorer.get_by_test_id("readout")

    box = source.bounding_box()
    source.click(position={"x": box["width"] * 0.5 / 6, "y": box["height"] * 2.5 / 4})
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")                                           # JupyterLab's own key for "next cell"
    assert "Similarity of patch (3, 1)" in readout.inner_text()
    assert "best match 1.00 at (3, 4)" in readout.inner_text()                 # the features were mirrored
    explorer.get_by_test_id("opacity").focus()
    page.keyboard.press("ArrowDown")
    assert explorer.get_by_test_id("opacity").input_value() == "64"
    assert cell.evaluate("cell => cell.classList.contains('jp-mod-active')")

    down, right, down_marked, right_marked = map(float, re.findall(r"\d\.\d+", notebook.printed(1)))
    assert (down, right) == pytest.approx((3.5 / 4, 1.5 / 6), abs=1e-6)
    assert (down_marked, right_marked) == pytest.approx((3.5 / 4, 4.5 / 6), abs=1e-6)

    second = explorer.get_by_test_id("column").nth(1)                          # what the second cell set from Python
    second.get_by_text("keys: similarity of patch (0, 0)").wait_for()
    assert page.strangers == []


# ---------------------------------------------------------------------------------------------------- the other figures

DRAW = """
import torch
from zecon_lite.widgets import BeforeAfter, DirectionExplorer, StepScrubber, WeightExplorer

draw = torch.Generator().manual_seed(0)
pictures = torch.rand(6, 3, 32, 32, generator=draw) * 2 - 1
source, results = pictures[:1], pictures[1:]
"""
SCRUBBER = 'StepScrubber.from_pictures({"estimate": pictures}, {"loss": range(6)})'
BEFORE_AFTER = 'BeforeAfter.from_pictures(source, {"one": results[:1], "two": results[1:2]})'
WEIGHTS = """WeightExplorer.from_grid(
    source, pictures.unflatten(0, (3, 2)), {"t0": [1, 2, 3], "weight": [0.1, 1.0]},
    {"SSIM": torch.rand(3, 2, generator=draw), "style": torch.rand(3, 2, generator=draw)},
)"""
DIRECTION = """DirectionExplorer.from_embeddings(
    source, results[:3], *(torch.randn(n, 8, generator=draw) for n in (1, 3, 2, 1)), ["a sketch", "a mosaic"],
    names=["early", "late", "last"],
)"""
# How it is made; its name in the page; a control of it, and the keys that are pressed there; what Python then reads;
# what Python sets, and the words that this brings into the page.
FIGURES = [
    (SCRUBBER, "step-scrubber", "step", "ArrowRight ArrowRight ArrowDown", "step", 1, "step = 4", "Step 5 of 6"),
    (BEFORE_AFTER, "before-after", "divider", "ArrowRight ArrowUp", "divider", 0.52, "divider = 1.0", "Source alone"),
    (WEIGHTS, "weight-explorer", "chart", "ArrowRight ArrowDown", "selected", [2, 0], "selected = [0, 1]", "weight 1:"),
    (DIRECTION, "direction-explorer", "chart", "ArrowLeft ArrowDown", "result", 1, "result = 0", "early, from"),
]


@pytest.fixture(scope="module")
def figures(opened):
    """A notebook with all of them; each has a cell that shows it and one that reads and sets it."""
    cells = [DRAW]
    for made, name, _, _, trait, _, change, _ in FIGURES:
        variable = name.replace("-", "_")
        cells += [f"{variable} = {made}\n{variable}", f"print({variable}.{trait})\n{variable}.{change}"]
    notebook = opened("figures", *cells)
    notebook.run(0)
    return notebook


@pytest.mark.parametrize("number", range(len(FIGURES)), ids=[name for _, name, *_ in FIGURES])
def test_a_figure_answers_the_keyboard_and_python_in_both_directions(figures, number):
    _, name, control, keys, _, value, _, words = FIGURES[number]
    cell = figures.run(1 + 2 * number)
    figure = cell.locator(f'[data-testid="{name}"][data-ready="true"]')
    figure.wait_for()
    figure.get_by_test_id(control).focus()
    for key in keys.split():
        figures.page.keyboard.press(key)
    assert cell.evaluate("cell => cell.classList.contains('jp-mod-active')")   # JupyterLab did not take the keys
    assert figures.printed(2 + 2 * number).strip() == str(value)
    figure.locator('[data-testid="readout"]', has_text=words).wait_for()       # what that cell set from Python
    assert figures.page.strangers == []


# ------------------------------------------------------------------------------------------------------------ the panel

PANEL = """
import zecon_lite
from zecon_lite.widgets import Panel

panel = Panel(zecon_lite.load_models("tiny", "cpu"))
panel.dials.steps.value = 50
panel
"""
READ = "print(type(panel.error).__name__, panel.result, tuple(panel.image.shape), panel.prompt.value, panel.seed.value)"


def test_the_panel_runs_shows_steps_stops_and_copies_while_the_kernel_stays_free(opened):
    notebook = opened("panel", PANEL, READ)
    page, cell = notebook.page, notebook.run(0)
    cell.get_by_role("button", name="Run").wait_for()
    cell.get_by_label("Prompt").fill("a mosaic")
    page.keyboard.press("Enter")
    cell.locator(".widget-hslider", has_text="Seed").locator(".noUi-handle").focus()
    page.keyboard.press("ArrowRight")
    cell.get_by_role("button", name="Copy as code").click()
    python = cell.get_by_role("textbox", name="Python")
    told = "box => box.value.includes('a mosaic') && box.value.includes('seed=1')"
    page.wait_for_function(told, arg=python.element_handle())
    cell.get_by_role("button", name="Copy Python").click()
    assert page.evaluate("navigator.clipboard.readText()") == python.input_value()

    cell.get_by_role("button", name="Run").click()
    cell.get_by_role("img", name="The restyled picture: a mosaic").wait_for()
    cell.get_by_role("button", name="Stop").click()
    steps = len(RECIPES["zecon"].fitted_to(load_models("tiny", "cpu")).changed(steps=50).positions)
    cell.get_by_text(re.compile(rf"Stopped after step \d+ of {steps}")).wait_for()
    assert cell.get_by_role("img", name="The restyled picture: a mosaic").is_visible()
    assert notebook.printed(1).strip() == "Stopped None (1, 3, 64, 96) a mosaic 1"
    assert page.strangers == []
