"""Fixtures that several test files share."""

from __future__ import annotations

import base64
import importlib
import json
import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COLLECTED = pytest.StashKey[set[str]]()          # the notebooks that nbval runs in this session
LONG = {    # seconds
    "test_miniature.py": 300, "test_accessibility.py": 240, "test_book.py": 120, "test_types.py": 90,
}


def pytest_addoption(parser: pytest.Parser) -> None:
    about = "compare what notebooks printed when the book was built, where nothing has changed since"
    parser.addoption("--nbval-built", action="store_true", help=about)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("nbval_built"):
        config.pluginmanager.register(importlib.import_module("built"))


def missing(reason: str) -> None:
    """Ends a test that lacks something: in CI, where nothing may be missing, as a failure; elsewhere as a skip."""
    (pytest.skip if os.environ.get("CI", "0") == "0" else pytest.fail)(reason)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that with two at a time none is left alone at the end."""
    known = json.loads((ROOT / "book/assets/notebook_costs.json").read_text(encoding="utf-8"))["notebooks"]
    long = LONG | {f"{name}.ipynb": cost["cpu"] for name, cost in known.items()}
    items.sort(key=lambda item: -long.get(item.path.name, 0))


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


@pytest.fixture(scope="session")
def node() -> str:
    """The program that runs the widgets' arithmetic without a page."""
    return shutil.which("node") or missing("node is not installed: the widgets' arithmetic is not tested")


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
    page.set_default_timeout(120_000)    # a busy machine shows a page with many formulas late
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


# A page that does what a notebook front end does: it keeps a widget's traits and calls render. No kernel, no library.
FIGURE = """<!doctype html><html lang="en"><meta charset="utf-8"><style>{css}</style><body><script type="module">
import widget from "data:text/javascript;base64,{js}";
const listeners = {{}};
const bytes = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
const traits = JSON.parse({traits}, (name, value) => value?.base64 === undefined ? value : bytes(value.base64));
window.saved = 0;
window.listening = () => Object.values(listeners).reduce((sum, list) => sum + list.size, 0);
window.model = {{
  get: (name) => traits[name],
  set(name, value) {{ traits[name] = value; for (const f of listeners[`change:${{name}}`] ?? []) f(); }},
  save_changes() {{ window.saved += 1; }},
  on: (event, f) => (listeners[event] ??= new Set()).add(f),
  off: (event, f) => listeners[event].delete(f),
}};
window.close_figure = widget.render({{ model: window.model, el: document.body }});
</script></body></html>"""


@pytest.fixture
def figure(chromium, tmp_path):
    """Opens a widget in a page of its own; yields a function (widget, **context options) -> page.

    `page.faults` collects errors and everything that the page asks for besides itself.
    """
    from ipywidgets import DOMWidget

    contexts = []

    def text(data):
        return base64.b64encode(data).decode()

    def open_page(widget, **options):
        names = {n for n in widget.trait_names(sync=True) if not n.startswith("_")} - set(DOMWidget.class_trait_names())
        traits = json.dumps({name: getattr(widget, name) for name in names}, default=lambda b: {"base64": text(b)})
        path = tmp_path / f"figure{len(contexts)}.html"
        html = FIGURE.format(css=widget._css, js=text(widget._esm.encode()), traits=json.dumps(traits))
        path.write_text(html, encoding="utf-8")
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.faults = []
        page.on("console", lambda message: page.faults.append(message.text))
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("request", lambda r: r.url.startswith(("file:", "data:", "blob:")) or page.faults.append(r.url))
        page.goto(path.as_uri())
        page.wait_for_selector('[data-ready="true"]')
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def script(request):
    """The script of the book that a test file names in SCRIPT, as a module; files may have a fixture of this name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "book/scripts"))
        yield importlib.import_module(request.module.SCRIPT)


@pytest.fixture
def stage(tmp_path):
    """A staged book of two pages: a function of their text that returns its folder."""
    def write(first, second):
        folder = tmp_path / "stage"
        (folder / "book").mkdir(parents=True, exist_ok=True)
        (folder / "_config.yml").write_text("title: Two pages\nexecute: {execute_notebooks: 'off'}\n")
        (folder / "_toc.yml").write_text("format: jb-book\nroot: book/first\nchapters:\n- file: book/second\n")
        (folder / "book/first.md").write_text(f"# The first page\n\n{first}\n", encoding="utf-8")
        (folder / "book/second.md").write_text(f"# The second page\n\n{second}\n", encoding="utf-8")
        return folder
    return write


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
