"""The book as an ePub: python book/scripts/epub.py [target]

Reads every page of the built book in a browser and keeps its article: formulas as MathML, a widget as the picture that
it shows at first, answers open. The browser writes XML, so every chapter is well-formed. EPUB 3.
"""

from __future__ import annotations

import mimetypes
import posixpath
import re
import sys
import zipfile
from datetime import datetime, timezone
from html import escape
from pathlib import Path
from urllib.parse import unquote, urlparse

from pdf import HTML, NOTE, ROOT, opened, order
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(ROOT / "tests"))
from browser import find_browser, serve

from zecon_lite import __version__

TARGET = ROOT / "build/zecon_lite.epub"
TITLE = "zecon_lite: style transfer with diffusion, from first principles"
# The article as it can stand in a book without scripts.
ARTICLE = """async ([name, note]) => {
  const article = document.querySelector(".bd-article");
  for (const item of window.MathJax?.startup?.document?.math ?? []) {
    const mathml = MathJax.startup.toMML(item.root);
    const math = new DOMParser().parseFromString(mathml, "application/xml").documentElement;
    item.typesetRoot.replaceWith(document.importNode(math, true));
  }
  [...article.querySelectorAll(".widget-subarea")].forEach((widget, k) => {
    const figure = document.createElement("figure"), picture = document.createElement("img");
    picture.src = `${name}_widget${k}.png`;
    const told = [...widget.querySelectorAll("[aria-live]")].map((e) => e.innerText.trim()).filter(Boolean);
    picture.alt = ["A figure of the page, as it is shown at first.", ...told].join(" ");
    figure.append(picture, Object.assign(document.createElement("figcaption"), { textContent: note }));
    widget.replaceWith(figure);
  });
  for (const details of article.querySelectorAll("details")) {
    const open = document.createElement("div");
    open.className = "answer";
    open.append(...details.childNodes);
    open.id = details.id;
    details.replaceWith(open);
  }
  for (const summary of article.querySelectorAll("summary")) {
    const head = Object.assign(document.createElement("p"), { className: "head" });
    head.textContent = summary.innerText.trim();
    summary.replaceWith(head);
  }
  const alive = "script, style, noscript, template, button, input, select, progress, canvas, svg.svg-inline--fa";
  article.querySelectorAll(`${alive}, .headerlink`).forEach((e) => e.remove());
  for (const e of article.querySelectorAll("*")) {
    for (const { name } of [...e.attributes]) {
      const needless = /^(on|data-|aria-|tabindex|style|target|role)/.test(name) || (name === "id" && !e.id);
      if (needless) e.removeAttribute(name);
    }
  }
  return new XMLSerializer().serializeToString(article);
}"""
PAGE = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" xml:lang="en-GB" lang="en-GB">
<head><title>{title}</title><link rel="stylesheet" type="text/css" href="style.css"/></head>
<body>{body}</body></html>"""
PACKAGE = """<?xml version="1.0" encoding="utf-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id" xml:lang="en-GB">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier id="id">zecon-lite-{version}</dc:identifier>
<dc:title>{title}</dc:title><dc:language>en-GB</dc:language><dc:creator>The zecon_lite authors</dc:creator>
<dc:rights>CC BY 4.0</dc:rights><meta property="dcterms:modified">{modified}</meta></metadata>
<manifest>{manifest}</manifest><spine>{spine}</spine></package>"""
CONTAINER = """<?xml version="1.0"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="book/content.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"""
STYLE = """body { line-height: 1.5; } img { max-width: 100%; } table { border-collapse: collapse; font-size: 0.85em; }
td, th { border-bottom: 1px solid #999; padding: 0.2em 0.5em; text-align: left; vertical-align: top; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.8em; border-left: 0.2em solid #777; }
pre, .answer { padding-left: 0.6em; }
.answer { border-left: 0.2em solid #0072b2; } .head { font-weight: bold; } .eqno { float: right; }
"""


def flat(name: str) -> str:
    """A page's name as a file in the ePub."""
    return name.replace("/", "_")


def article(page: Page, address: str, name: str, files: dict[str, bytes]) -> tuple[str, str]:
    """A page's title and its article as XHTML; photographs of its widgets are added to `files`."""
    title = opened(page, f"{address}/{name}.html")
    for k, widget in enumerate(page.locator(".bd-article .widget-subarea").all()):
        files[f"{flat(name)}_widget{k}.png"] = widget.screenshot()
    text = page.evaluate(ARTICLE, [flat(name), NOTE])
    return title, re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "", text)


def relinked(text: str, name: str, files: dict[str, bytes], html: Path, names: set[str]) -> str:
    """An article whose links lead to the files of the ePub; its pictures are added to `files`."""
    def moved(match: re.Match) -> str:
        attribute, target = match[1], urlparse(match[2])
        path = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(target.path)))
        if target.scheme or not target.path:
            return match[0]
        if path.removesuffix(".html") in names:
            return f'{attribute}="{flat(path).removesuffix("html")}xhtml{"#" * bool(target.fragment)}{target.fragment}"'
        if attribute == "src" and (html / path).is_file():
            files[posixpath.basename(path)] = (html / path).read_bytes()
            return f'src="{posixpath.basename(path)}"'
        return match[0] if attribute == "src" else ""

    return re.sub(r'\b(src|href)="([^"]*)"(?=[^<>]*>)', moved, text)      # in tags, and not in the code that is shown


def make(html: Path, target: Path, pages: list[tuple[str | None, str]]) -> None:
    """Writes these pages of the built book as one ePub."""
    names, files, titles = {name for _, name in pages}, {"style.css": STYLE.encode()}, []
    with serve(html) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 900, "height": 1200}, device_scale_factor=1.5)
        for _, name in pages:
            title, body = article(page, address, name, files)
            body = relinked(body, name, files, html, names)
            titles.append((flat(name), title))
            files[f"{flat(name)}.xhtml"] = PAGE.format(title=escape(title), body=body).encode()
        browser.close()
    links = "".join(f'<li><a href="{file}.xhtml">{escape(title)}</a></li>' for file, title in titles)
    nav = f'<nav epub:type="toc"><h1>Contents</h1><ol>{links}</ol></nav>'
    files["nav.xhtml"] = PAGE.format(title="Contents", body=nav).encode()
    write(target, files, [file for file, _ in titles])


def write(target: Path, files: dict[str, bytes], spine: list[str]) -> None:
    """The container: `mimetype` first and uncompressed, then the package document and everything that it lists."""
    def item(name):
        kind = "application/xhtml+xml" if name.endswith(".xhtml") else mimetypes.guess_type(name)[0]
        properties = ["nav"] * (name == "nav.xhtml") + ["mathml"] * (b"<math" in files[name])
        declared = f' properties="{" ".join(properties)}"' if properties else ""
        return f'<item id="f_{name}" href="{name}" media-type="{kind}"{declared}/>'

    package = PACKAGE.format(
        version=__version__, title=escape(TITLE), modified=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        manifest="".join(map(item, files)), spine="".join(f'<itemref idref="f_{name}.xhtml"/>' for name in spine),
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        book.writestr("META-INF/container.xml", CONTAINER)
        book.writestr("book/content.opf", package)
        for name, data in files.items():
            book.writestr(f"book/{name}", data)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    if not HTML.is_dir():
        sys.exit("The book has not been built: `make book` first.")
    make(HTML, target, order())
    print(f"The book as ePub: {target}")
