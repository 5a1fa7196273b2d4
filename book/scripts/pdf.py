"""The book as one PDF: python book/scripts/pdf.py [target]

Prints every page of the built book with a browser, with typeset formulas and hidden answers open, and joins them in the
order of the table of contents, with an outline. A widget is printed as the figure that it shows at first.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import yaml
from execute import ROOT
from playwright.sync_api import Page, sync_playwright
from pypdf import PdfReader, PdfWriter

sys.path.insert(0, str(ROOT / "tests"))
from browser import find_browser, serve, visit

HTML, TARGET = ROOT / "build/_build/html", ROOT / "build/zecon_lite.pdf"
NOTE = "On the page of the book, this figure answers to mouse and keyboard."
ELSEWHERE = "Here stand the controls, on the page of the book that is read in a browser."
# Every widget stands where its script tag is, once it has been drawn.
DRAWN = """() => {
  const tags = document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]');
  const areas = [...document.querySelectorAll(".widget-subarea")];
  return areas.length >= tags.length && areas.every((area) => area.childElementCount);
}"""
PREPARE = """(text) => {
  document.querySelectorAll("details").forEach((details) => { details.open = true; });
  for (const widget of document.querySelectorAll(".widget-subarea")) {
    widget.after(Object.assign(document.createElement("p"), { textContent: text }));
  }
  document.documentElement.dataset.theme = "light";
}"""


def order() -> list[tuple[str | None, str]]:
    """The pages (part, name) in the order of the book; None before the first part."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    return [(None, toc["root"])] + [(part["caption"], c["file"]) for part in toc["parts"] for c in part["chapters"]]


def opened(page: Page, address: str) -> str:
    """Opens a page, waits until formulas and widgets are drawn, and returns its title."""
    visit(page, address)
    page.evaluate("() => document.querySelectorAll('img').forEach((picture) => { picture.loading = 'eager'; })")
    page.wait_for_load_state("networkidle")
    page.evaluate("async () => { await window.MathJax?.startup?.promise; await document.fonts.ready; }")
    page.wait_for_function(DRAWN, timeout=120_000)
    page.evaluate("""(text) => document.getElementById("zecon-browser")?.replaceWith(
      Object.assign(document.createElement("p"), { textContent: text }))""", ELSEWHERE)
    return page.locator(".bd-article h1").first.inner_text().rstrip("#").strip()


def printed(page: Page, address: str) -> tuple[str, bytes]:
    """A page's title and the page itself as PDF, A4."""
    title = opened(page, address)
    page.evaluate(PREPARE, NOTE)
    centred = "font-size: 8px; width: 100%; text-align: center"
    footer = f'<div style="{centred}">{title} · <span class="pageNumber"></span></div>'
    margin = {"top": "18mm", "bottom": "18mm", "left": "16mm", "right": "16mm"}
    return title, page.pdf(
        format="A4", scale=0.8, margin=margin, print_background=True, tagged=True,
        display_header_footer=True, header_template="<span></span>", footer_template=footer,
    )


def make(html: Path, target: Path, pages: list[tuple[str | None, str]]) -> None:
    """Prints these pages of the built book into one file, with an outline: parts, and their chapters under them."""
    writer, parts = PdfWriter(), {}
    with serve(html) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 900, "height": 1200})
        for part, name in pages:
            title, pdf = printed(page, f"{address}/{name}.html")
            start = len(writer.pages)
            writer.append(PdfReader(io.BytesIO(pdf)), import_outline=False)
            if part and part not in parts:
                parts[part] = writer.add_outline_item(title=part, page_number=start)
            writer.add_outline_item(title=title, page_number=start, parent=parts.get(part))
        browser.close()
    writer.add_metadata({"/Title": "zecon_lite: style transfer with diffusion, from first principles"})
    writer.compress_identical_objects()
    target.parent.mkdir(parents=True, exist_ok=True)
    writer.write(target)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    if not HTML.is_dir():
        sys.exit("The book has not been built: `make book` first.")
    make(HTML, target, order())
    print(f"The book as PDF: {target}")
