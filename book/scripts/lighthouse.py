"""Lighthouse's scores of the built book: python book/scripts/lighthouse.py [folder]

Serves the book on this machine, compressed as hosts of static pages do, lets Lighthouse (from npm, at the version
named here) open four pages as a desktop and as a slow phone on a slow network would, and writes
book/assets/lighthouse.json. Needs node 18 and a machine that does nothing else meanwhile.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from browser import Quiet, find_browser, serve  # noqa: E402

LIGHTHOUSE = "lighthouse@12.8.2"
PAGES = ("book/index", "notebooks/07_zecon", "book/in_your_browser", "book/comparison")
DEVICES = {"desktop": ("--preset=desktop",), "phone": ()}
CATEGORIES = ("accessibility", "best-practices", "performance")
TARGET = ROOT / "book/assets/lighthouse.json"


class Compressed(Quiet):
    """Files compressed, and kept by the browser for a day."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self.send_error(404)
        body = gzip.compress(path.read_bytes(), 6)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=86400")
        self.end_headers()
        self.wfile.write(body)


def scores(address: str, options: Sequence[str]) -> dict:
    """One page's scores, 0 to 100, and the audits that cost points."""
    command = [
        "npx", "--yes", LIGHTHOUSE, address, "--output=json", "--quiet", *options,
        f"--only-categories={','.join(CATEGORIES)}", "--chrome-flags=--headless=new --no-sandbox",
    ]
    env = {**os.environ, "CHROME_PATH": find_browser() or ""}
    done = subprocess.run(command, capture_output=True, text=True, env=env, stdin=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(f"Lighthouse did not run: {done.stderr[-800:]}")
    report = json.loads(done.stdout)
    lost = [
        ref["id"] for name in CATEGORIES for ref in report["categories"][name]["auditRefs"]
        if ref["weight"] and (report["audits"][ref["id"]]["score"] or 0) < 0.9
        and report["audits"][ref["id"]]["scoreDisplayMode"] not in ("notApplicable", "manual")
    ]
    return {name: round(100 * report["categories"][name]["score"]) for name in CATEGORIES} | {"below_90": lost}


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/_build/html")
    with serve(folder, Compressed) as address:
        found = {
            device: {name: scores(f"{address}/{name}.html", options) for name in PAGES}
            for device, options in DEVICES.items()
        }
    TARGET.write_text(json.dumps({"lighthouse": LIGHTHOUSE, **found}, indent=1) + "\n", encoding="utf-8")
    for device, pages in found.items():
        for name, page in pages.items():
            told = [f"{category} {page[category]} " for category in CATEGORIES]
            print(f"{device:8}{name:22}", *told, page["below_90"])
