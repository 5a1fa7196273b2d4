"""How long the page "ZeCon in your browser" takes: python book/scripts/browser_seconds.py   (on a machine that rests)

Opens the built page in a headless browser, on the processor, and restyles its first picture with the settings
that the page opens with. Into book/assets go browser_seconds.json and the sentence made from it, browser_seconds.md,
which the page shows. `--fragment` writes the sentence alone.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

from costs import machine
from measure import ASSETS, ROOT, write
from playwright.sync_api import Page, sync_playwright

RECORD, FRAGMENT = ASSETS / "browser_seconds.json", ASSETS / "browser_seconds.md"
sys.path.insert(0, str(ROOT / "tests"))
from browser import find_browser, serve  # noqa: E402

RUNS, LIMIT = 3, 30    # seconds that a picture may take on two cores


def seconds(page: Page) -> float:
    """From a press on Run to the finished picture."""
    begun = time.monotonic()
    page.locator('[data-part="run"]').click()
    page.wait_for_function("document.querySelector('[data-part=status]').textContent.includes('Done')", timeout=600_000)
    return time.monotonic() - begun


def measure(html: Path) -> dict:
    """The seconds of each run, and where they were measured."""
    with serve(html) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{address}/book/in_your_browser.html?engine=wasm")
        page.locator('[data-part="load"]').click()
        page.locator('[data-part="work"]').wait_for(state="visible", timeout=600_000)
        page.wait_for_function("() => !document.querySelector('[data-part=run]').disabled", timeout=600_000)
        found = [round(seconds(page), 1) for _ in range(RUNS)]
        where = {key: machine()[key] for key in ("processor", "cores", "system")}
        record = {"seconds": found, "machine": where | {"browser": f"Chromium {browser.version}"}}
        browser.close()
    return record


def sentence(record: dict) -> str:
    """What the page says of it, Markdown."""
    where = record["machine"]
    return (
        f"With the settings that it opens with, a picture took {statistics.median(record['seconds']):.0f} seconds on a "
        f"processor: the median of {len(record['seconds'])} runs in headless {where['browser']} on {where['cores']} "
        f"cores ({where['processor']}, {where['system']}).\n"
    )


if __name__ == "__main__":
    if sys.argv[1:] != ["--fragment"]:
        write(RECORD, json.dumps(measure(ROOT / "build/_build/html"), indent=1) + "\n")
    write(FRAGMENT, sentence(json.loads(RECORD.read_text(encoding="utf-8"))))
    print(FRAGMENT.read_text(encoding="utf-8"))
