"""The similarity explorer in a real JupyterLab: a click in the page is a value in Python, and the other way round."""

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

# Slow machines start a server, a page and a kernel slowly; none of this is waited for when it is not needed.
PATIENCE = 120

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


@pytest.fixture
def lab(tmp_path):
    """A JupyterLab with settings of its own, serving a notebook of two cells; yields the notebook's address."""
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code.strip()) for code in (MAKE, TELL)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    (tmp_path / "work").mkdir()
    nbformat.write(notebook, tmp_path / "work" / "explorer.ipynb")

    homes = (
        "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTERLAB_SETTINGS_DIR",
        "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR",
    )
    env = {**os.environ, **{name: str(tmp_path / name) for name in homes}, "PYTHONPATH": str(ROOT)}
    # Full rendering, so that no cell is left out of the page; no question about news, which would ask the network.
    for plugin, settings in {
        "notebook-extension/tracker": {"windowingMode": "none"},
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    }.items():
        path = tmp_path / "JUPYTERLAB_SETTINGS_DIR" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(settings))

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
        "--ServerApp.port_retries=0", "--IdentityProvider.token=", f"--ServerApp.root_dir={tmp_path / 'work'}",
    ]
    with open(tmp_path / "log", "w") as log:
        server = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/api", server, tmp_path / "log")
        yield f"{address}/lab/tree/explorer.ipynb"
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


@pytest.fixture
def page(chromium):
    """A page that reaches this machine alone; `page.strangers` collects what else was asked for."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(1000 * PATIENCE)
    page = context.new_page()
    page.strangers = []

    def only_here(route):
        if re.match(r"(https?|wss?)://127\.0\.0\.1|data:|blob:", route.request.url):
            return route.continue_()
        page.strangers.append(route.request.url)
        return route.abort()

    context.route("**/*", only_here)
    # Whatever JupyterLab asks ("Select Kernel"), its proposal is right.
    page.add_locator_handler(page.locator(".jp-Dialog"), lambda dialog: dialog.locator("button.jp-mod-accept").click())
    yield page
    context.close()


def test_python_sees_the_patch_that_was_clicked_and_the_page_the_one_that_python_chose(lab, page):
    page.goto(lab)
    page.get_by_text("| Idle").wait_for()                                      # before, "run" would be forgotten
    cells = page.locator(".jp-Notebook .jp-CodeCell")
    cells.nth(0).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
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
    assert cells.nth(0).evaluate("cell => cell.classList.contains('jp-mod-active')")

    cells.nth(1).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    printed = cells.nth(1).locator(".jp-OutputArea-output pre")
    printed.wait_for()
    down, right, down_marked, right_marked = map(float, re.findall(r"\d\.\d+", printed.inner_text()))
    assert (down, right) == pytest.approx((3.5 / 4, 1.5 / 6), abs=1e-6)
    assert (down_marked, right_marked) == pytest.approx((3.5 / 4, 4.5 / 6), abs=1e-6)

    second = explorer.get_by_test_id("column").nth(1)                          # what the second cell set from Python
    second.get_by_text("keys: similarity of patch (0, 0)").wait_for()
    assert page.strangers == []
