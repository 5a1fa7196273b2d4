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


@pytest.fixture(scope="module")
def address(html):
    """Where the built book is served."""
    from browser import serve

    with serve(html) as address:
        yield address


@pytest.fixture
def page(chromium):
    """A page that may load nothing but the book; `page.faults` collects errors, strangers and missing files."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.faults = []

    def only_the_book(route):
        url = route.request.url
        if url.startswith(("http://127.0.0.1", "file://", "data:", "blob:")):
            route.continue_()
        else:
            page.faults.append(f"asked the network for {url}")
            route.abort()

    context.route("**/*", only_the_book)
    page.on("console", lambda m: page.faults.append(f"console: {m.text}") if m.type == "error" else None)
    page.on("pageerror", lambda e: page.faults.append(f"error: {e}"))
    page.on("requestfailed", lambda r: page.faults.append(f"failed: {r.url}"))
    page.on("response", lambda r: page.faults.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
    yield page
    context.close()


@pytest.fixture(scope="module")
def models():
    """The bundled networks; files that want others have a fixture of this name themselves."""
    from zecon_lite import load_models

    return load_models("tiny", device="cpu")


@pytest.fixture(scope="module")
def source(models):
    """A photograph as `models` wants it."""
    from zecon_lite import images

    return images.fit(images.photograph("cat"), models.size, mode="crop", multiple=models.multiple)
