"""Finds a browser for the tests that open the book, installs one where there is none, and serves a folder.

python tests/browser.py --install   makes sure that there is one, and says which.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find_browser() -> str | None:
    """The path of a browser for Playwright: $BROWSER_PATH, one of the system's, or Playwright's own; else None."""
    return next((path for path in _candidates() if path and Path(path).is_file()), None)


def _candidates() -> Iterator[str | None]:
    yield os.environ.get("BROWSER_PATH")
    yield from map(shutil.which, NAMES)
    yield "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
    # In a program of its own: who asks may have Playwright at work already, and two do not run in one thread.
    program = "import playwright.sync_api as a\nwith a.sync_playwright() as p: print(p.chromium.executable_path)"
    yield subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60).stdout.strip()


def install_browser() -> None:
    """Installs Chromium: from the distribution as root on Debian and Ubuntu, otherwise Playwright's own copy."""
    if shutil.which("apt-get") and os.geteuid() == 0:
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in ("apt-get update", "apt-get install -y --no-install-recommends chromium"):
            subprocess.run(command.split(), env=env, stdin=subprocess.DEVNULL)
        if find_browser():
            return
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True, stdin=subprocess.DEVNULL)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Gives files, and says nothing of it."""

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serve(folder: Path, handler: type[Quiet] = Quiet) -> Iterator[str]:
    """Serves a folder on this machine alone, at a free port; yields its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def visit(page, address: str) -> None:
    """Opens a page of the book as readers do: widgets and formulas are drawn when one is near, or a key is pressed."""
    page.goto(address)    # until it is loaded: a busy machine's network may be idle before the page listens for keys
    page.wait_for_load_state("networkidle")
    page.keyboard.press("Shift")
    page.wait_for_load_state("networkidle")


if __name__ == "__main__":
    if find_browser() is None and "--install" in sys.argv:
        install_browser()
    browser = find_browser()
    print(f"Browser for the tests: {browser}" if browser else "No browser found: install Chromium or Google Chrome.")
    sys.exit(browser is None)
