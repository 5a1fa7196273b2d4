"""Builds the book: python book/scripts/build.py [profile]

Executes each notebook once (papermill), stages pages and executed notebooks in build/src, and renders them with
Jupyter Book into build/_build/html. Any warning is an error.
"""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import sys
from pathlib import Path

import costs
import editions
import nbformat
import slides
import yaml
from execute import EXECUTED, ROOT, execute_all
from export_browser import export

STAGE, OUT = ROOT / "build/src", ROOT / "build"


def stage() -> None:
    """A copy of everything the renderer reads, with the executed notebooks in place of the sources."""
    shutil.rmtree(STAGE, ignore_errors=True)
    shutil.copytree(ROOT / "book", STAGE / "book", ignore=shutil.ignore_patterns("scripts", "__pycache__"))
    shutil.copytree(export(), STAGE / "book/assets/browser", dirs_exist_ok=True)    # what "ZeCon in your browser" runs
    for packed in (STAGE / "book/assets/vendor").rglob("*.gz"):    # large programs lie compressed in the repository
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    config["execute"]["execute_notebooks"] = "off"                # they have been run
    (STAGE / "_config.yml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    shutil.copy2(ROOT / "_toc.yml", STAGE)
    (STAGE / "notebooks").mkdir()
    known = costs.recorded()
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(EXECUTED / path.name, as_version=4)
        notebook.cells[0].source += f"\n\n{costs.line(path, known)}\n\n{to_slides(path.stem)}"
        notebook.cells = list(editions.with_expected(notebook.cells))
        nbformat.write(notebook, STAGE / "notebooks" / path.name)
    slides.write(STAGE / "book/assets/slides", "../vendor", "../../notebooks")
    page = STAGE / "book/lessons.md"
    decks = {path.stem[:2]: to_slides(path.stem) for path in (ROOT / "notebooks").glob("*.ipynb")}
    page.write_text(re.sub(r"^## (\d+)\. .*$", lambda title: f"{title[0]}\n\n{decks[title[1].zfill(2)]}",
                           page.read_text(encoding="utf-8"), flags=re.M), encoding="utf-8")


def to_slides(chapter: str) -> str:
    """A link to a chapter's slides, Markdown; only where pages are opened in a browser."""
    link = f'<a href="../_static/slides/{chapter}.html">Slides of chapter {int(chapter[:2])}</a>'
    return f"```{{only}} builder_html\n{link}\n```"


def render() -> None:
    """Jupyter Book, from an empty folder: an incremental build would keep assets that have changed."""
    shutil.rmtree(OUT / "_build", ignore_errors=True)
    program = str(Path(sys.executable).with_name("jupyter-book"))
    strict = ["-W", "-n", "--keep-going", "-q"]
    done = subprocess.run([program, "build", str(STAGE), "--path-output", str(OUT), *strict], stdin=subprocess.DEVNULL)
    if done.returncode:
        sys.exit("The book was not built: each WARNING above is one thing to put right.")


if __name__ == "__main__":
    execute_all(sorted((ROOT / "notebooks").glob("*.ipynb")), *sys.argv[1:2])
    stage()
    render()
    print(f"\nThe book is ready. Open {(OUT / '_build/html/index.html').as_uri()}")
