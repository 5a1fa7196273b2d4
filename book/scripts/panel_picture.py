"""Draws the picture of the panel for pages that have no Python behind them: book/assets/panel.png.

python book/scripts/panel_picture.py      (needs a browser, as the tests do)

The panel restyles a photograph with the bundled networks; then its controls are put on a page, as they are, by the
widget manager that the book brings along, and a browser takes their picture.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from ipywidgets.embed import embed_data
from playwright.sync_api import sync_playwright

from zecon_lite import load_models
from zecon_lite.widgets import Panel

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "book/assets"
sys.path.insert(0, str(ROOT / "tests"))
from browser import find_browser  # noqa: E402

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><body style="margin: 1rem; font-family: system-ui">
<script src="{assets}/vendor/widgets/require.js"></script>
<script src="{assets}/widget_paths.js"></script>
<script src="{assets}/vendor/widgets/embed-amd.js" data-jupyter-widgets-cdn="./"></script>
<script type="application/vnd.jupyter.widget-state+json">{state}</script>
<script type="application/vnd.jupyter.widget-view+json">{view}</script></body></html>"""


def page_of(panel: Panel) -> str:
    """A page that shows the panel as it stands; its controls move, and do nothing."""
    data = embed_data(views=[panel])
    state, view = (json.dumps(part).replace("</", "<\\/") for part in (data["manager_state"], data["view_specs"][0]))
    return PAGE.format(assets=ASSETS.as_uri(), state=state, view=view)


def shoot(page: str, target: Path, width: int) -> None:
    """Take the picture of a page."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder, "panel.html")
        path.write_text(page, encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": width, "height": 100})
        shown.goto(path.as_uri())
        shown.get_by_role("img", name="The restyled picture").wait_for()
        shown.screenshot(path=target, full_page=True)
        browser.close()


if __name__ == "__main__":
    panel = Panel(load_models("tiny", device="cpu"))
    panel.run()
    panel.wait()
    shoot(page_of(panel), ASSETS / "panel.png", 900)
