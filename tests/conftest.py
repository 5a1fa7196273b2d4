"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COLLECTED = pytest.StashKey[set[str]]()          # the notebooks that nbval runs in this session


def missing(reason: str) -> None:
    """Ends a test that lacks something: in CI, where nothing may be missing, as a failure; elsewhere as a skip."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Notes which notebooks are run, so that a test can miss one."""
    session.config.stash[COLLECTED] = {item.path.name for item in session.items if item.path.suffix == ".ipynb"}


@pytest.fixture(scope="session")
def html() -> Path:
    """The folder of the built book."""
    folder = ROOT / "build/_build/html"
    if not (folder / "book/index.html").is_file():
        missing("the book has not been built: `make book` first")
    return folder


@pytest.fixture(scope="session")
def chromium():
    """A headless browser, shared by the session."""
    from browser import find_browser
    from playwright.sync_api import sync_playwright

    path = find_browser()
    if path is None:
        missing("no browser: `python tests/browser.py --install` first")
    with sync_playwright() as playwright:
        # Without --no-sandbox Chromium does not start as root, as in most containers.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
