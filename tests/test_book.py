"""The built book, opened in a browser with the network blocked: what a reader without a connection gets."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag, urljoin, urlparse

import pytest
import yaml
from browser import visit
from conftest import ROOT

TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
PAGES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]
EXPLORER, SCRUBBER, DIVIDED = (
    f'[data-testid="{name}"][data-ready="true"]' for name in ("similarity-explorer", "step-scrubber", "before-after")
)
ANY = '[data-testid][data-ready="true"]'         # whichever figure it is that has been drawn
PAINTED = """canvas => {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return new Set(new Uint32Array(pixels.buffer)).size > 1;
}"""
STILL = {                                        # chapters without a figure to move, and why
    "notebooks/01_images_and_noise": "it has no method yet whose run could be walked through",
    "notebooks/14_your_own_recipe": "its panel makes pictures, and that takes a kernel",
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_without_error_and_without_network_and_its_formulas_are_typeset(page, address, name):
    visit(page, f"{address}/{name}.html")
    assert page.locator(".bd-article h1").count() == 1
    formulas = page.locator(".bd-article .math").count()
    if formulas:
        page.wait_for_function("() => document.querySelectorAll('.bd-article mjx-container').length > 0")
    assert page.locator(".bd-article mjx-container").count() >= formulas
    assert page.locator(".bd-article mjx-merror").count() == 0, "MathJax does not understand a formula"
    assert "$$" not in page.locator(".bd-article").inner_text()
    assert page.faults == []


def test_the_book_opens_from_a_folder_too(page, html):
    page.goto((html / "index.html").as_uri())
    page.wait_for_url("**/book/index.html", wait_until="networkidle")    # the first page sends the reader on
    visit(page, (html / "notebooks/06_patch_contrast.html").as_uri())
    page.wait_for_selector(EXPLORER)
    assert page.faults == []


def test_search_finds_a_word(page, address):
    page.goto(f"{address}/search.html?q=inversion")
    page.wait_for_selector("#search-results li a")
    assert any("03_ddim" in link.get_attribute("href") for link in page.locator("#search-results li a").all())
    assert page.faults == []


def test_dark_mode_changes_the_page(page, address):
    page.emulate_media(color_scheme="dark")
    page.goto(f"{address}/book/index.html")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="light")
    page.reload()
    assert dark != page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_the_similarity_explorer_answers_a_click_and_the_arrow_keys(page, address):
    visit(page, f"{address}/notebooks/06_patch_contrast.html")
    page.wait_for_selector(EXPLORER)
    explorer = page.locator(EXPLORER).first
    readout, source = explorer.get_by_test_id("readout"), explorer.get_by_test_id("source")

    def patch():
        return int(readout.get_attribute("data-row")), int(readout.get_attribute("data-col"))

    def heat_map():
        return explorer.get_by_test_id("result").evaluate("canvas => canvas.toDataURL()")

    box, before = source.bounding_box(), heat_map()
    source.click(position={"x": box["width"] * 0.1, "y": box["height"] * 0.1})
    row, col = patch()
    assert row <= 2 and col <= 2, "a click near the corner chooses a patch there"
    assert before != heat_map(), "the heat map is drawn anew"

    said = readout.inner_text()
    source.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert patch() == (row + 1, col + 1)
    assert readout.inner_text() != said
    assert page.faults == []


def test_the_explorer_shows_three_readers_side_by_side(page, address):
    visit(page, f"{address}/notebooks/08_keys_and_cls.html")
    page.wait_for_selector(EXPLORER)
    columns = page.locator(EXPLORER).first.get_by_test_id("column")
    assert columns.count() == 3
    source = columns.nth(1).get_by_test_id("source")
    source.click(position={"x": source.bounding_box()["width"] * 0.1, "y": 5})
    assert all(int(c.get_by_test_id("readout").get_attribute("data-col")) <= 1 for c in columns.all())
    assert page.faults == []


def test_the_similarity_explorer_shows_another_layer(page, address):
    visit(page, f"{address}/notebooks/06_patch_contrast.html")
    page.wait_for_selector(EXPLORER)
    explorer = page.locator(EXPLORER).first
    before = explorer.get_by_test_id("nce").get_attribute("data-mean")
    explorer.get_by_test_id("layer").select_option("1")
    assert explorer.get_by_test_id("nce").get_attribute("data-mean") != before
    assert page.faults == []


@pytest.mark.parametrize("name", [page for page in PAGES if page.startswith("notebooks/") and page not in STILL])
def test_every_chapter_has_a_figure_to_move_that_needs_no_kernel(page, address, name):
    visit(page, f"{address}/{name}.html")
    page.wait_for_selector(f".bd-article {ANY}")
    drawn = page.locator(f".bd-article {ANY}").first.locator("canvas").first
    assert drawn.evaluate(PAINTED), "a figure stands there, but nothing is drawn in it"
    assert page.faults == []


def test_a_chapter_that_need_not_have_a_figure_to_move_is_one_of_the_book():
    assert STILL.keys() <= set(PAGES)


@pytest.mark.parametrize("name", ["07_zecon", "09_diffuseit", "12_scores_as_gradients"])
def test_the_step_scrubber_answers_the_mouse_and_the_keyboard(page, address, name):
    visit(page, f"{address}/notebooks/{name}.html")
    page.wait_for_selector(SCRUBBER)
    scrubber = page.locator(SCRUBBER).first
    readout, slider, curve = (scrubber.get_by_test_id(name) for name in ("readout", "step", "curve"))

    def shown():
        pictures = [p.evaluate("canvas => canvas.toDataURL()") for p in scrubber.get_by_test_id("picture").all()]
        return int(readout.get_attribute("data-step")), readout.inner_text(), pictures

    step, text, pictures = shown()
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert shown()[0] == step + 1 and shown()[1] != text
    assert all(before != after for before, after in zip(pictures, shown()[2], strict=True)), "every picture is another"
    box = curve.first.bounding_box()
    curve.first.click(position={"x": box["width"] - 2, "y": box["height"] / 2})
    assert shown()[0] == int(slider.get_attribute("max")), "a click at a curve's end leads to the last step"
    click = "button => { button.click(); return button.textContent; }"
    assert scrubber.get_by_test_id("play").evaluate(click) == "Pause", "a run plays"
    assert page.faults == []


@pytest.mark.parametrize(
    "name", ["10_style_from_a_picture", "11_diffusionclip", "12_scores_as_gradients", "13_side_by_side"]
)
def test_before_and_after_answers_the_mouse_and_the_keyboard(page, address, name):
    visit(page, f"{address}/notebooks/{name}.html")
    page.wait_for_selector(DIVIDED)
    figure = page.locator(DIVIDED).first
    readout, pictures, result = (figure.get_by_test_id(name) for name in ("readout", "pictures", "result"))

    def divider():
        return float(readout.get_attribute("data-divider"))

    box, before = pictures.bounding_box(), result.evaluate("canvas => canvas.toDataURL()")
    pictures.click(position={"x": box["width"] * 0.2, "y": 10})
    assert divider() == pytest.approx(0.2, abs=0.02)
    page.keyboard.press("ArrowRight")
    assert divider() == pytest.approx(0.21, abs=0.02)
    figure.get_by_test_id("choice").select_option("1")
    assert before != result.evaluate("canvas => canvas.toDataURL()"), "another result is drawn"
    assert page.faults == []


@pytest.mark.parametrize("name", ["04_skipping_to_t0", "07_zecon"])
def test_the_weight_explorer_answers_the_mouse_and_the_keyboard(page, address, name):
    visit(page, f"{address}/notebooks/{name}.html")
    page.wait_for_selector('[data-testid="weight-explorer"][data-ready="true"]')
    explorer = page.get_by_test_id("weight-explorer").first
    readout, chart, result = (explorer.get_by_test_id(name) for name in ("readout", "chart", "result"))

    def shown():
        return readout.get_attribute("data-at"), readout.inner_text(), result.evaluate("canvas => canvas.toDataURL()")

    first = shown()
    chart.press("ArrowLeft")
    walked = shown()
    assert all(before != after for before, after in zip(first, walked, strict=True)), "place, text and picture change"
    points, seen = explorer.locator(".zlw-point"), set()
    chart.scroll_into_view_if_needed()                                         # a click of the mouse needs to see it
    for k in (0, points.count() - 1):
        box = points.nth(k).bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        seen.add(shown()[0])
    assert len(seen) == 2, "a click on another point leads to another place"
    style = explorer.locator("select").first
    before = shown()
    style.select_option("0" if style.input_value() != "0" else "1")
    assert all(a != b for a, b in zip(before, shown(), strict=True))
    assert page.faults == []


def test_the_direction_explorer_answers_the_mouse_and_the_keyboard(page, address):
    visit(page, f"{address}/notebooks/05_clip_guidance.html")
    page.wait_for_selector('[data-testid="direction-explorer"][data-ready="true"]')
    explorer = page.get_by_test_id("direction-explorer").first
    readout, chart = explorer.get_by_test_id("readout"), explorer.get_by_test_id("chart")

    def numbers():
        return [readout.get_attribute(f"data-{name}") for name in ("cosine", "direction", "global")]

    first = numbers()
    chart.press("ArrowUp")
    other_prompt = numbers()
    assert all(before != after for before, after in zip(first, other_prompt, strict=True)), "another prompt"
    chart.press("ArrowLeft")
    assert all(before != after for before, after in zip(other_prompt, numbers(), strict=True)), "another result"
    points, said = explorer.locator(".zlw-point"), set()
    chart.scroll_into_view_if_needed()
    for k in (0, points.count() - 1):
        box = points.nth(k).bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        said.add(explorer.get_by_test_id("result-name").input_value())
    assert len(said) == 2, "a click on another result chooses it"
    assert page.faults == []


# What needs no browser: the files themselves.


class Links(HTMLParser):
    """Collects a page's pictures, links and anchors."""

    def __init__(self, text):
        super().__init__()
        self.images, self.links, self.anchors = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors |= {attrs[key] for key in ("id", "name") if attrs.get(key)}
        if tag == "img":
            self.images.append((attrs.get("src"), attrs.get("alt")))
        if tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])


@pytest.fixture(scope="module")
def parsed(html):
    return {name: Links((html / f"{name}.html").read_text(encoding="utf-8")) for name in PAGES}


@pytest.mark.parametrize("name", PAGES)
def test_every_picture_says_what_it_shows(parsed, name):
    for src, alt in parsed[name].images:
        # Sphinx puts the file's name where an author has written nothing.
        assert alt and not re.search(r"[0-9a-f]{16}|\.(png|svg|jpg)$", alt), f"{src} in {name} needs alternative text"


@pytest.mark.parametrize("name", PAGES)
def test_links_within_the_book_lead_somewhere(html, parsed, name):
    for link in parsed[name].links:
        target, anchor = urldefrag(urljoin(f"{name}.html", link))
        if urlparse(link).scheme or not target.endswith(".html"):
            continue
        assert (html / unquote(target)).is_file(), f"{name} links to {link}"
        page = target.removesuffix(".html")
        if anchor and page in parsed:
            assert unquote(anchor) in parsed[page].anchors, f"{name} links to {link}, and {target} has no such place"


@pytest.mark.parametrize("name", [page for page in PAGES if page.startswith("notebooks/")])
def test_a_notebook_page_can_be_opened_in_colab(parsed, name):
    colab = [link for link in parsed[name].links if link.startswith("https://colab.research.google.com/github/")]
    assert colab and all(link.endswith(f"/blob/main/{name}.ipynb") for link in colab)


AT_ONCE, LATER, EACH = 1_500_000, 2_500_000, 750_000       # bytes: a page as it opens, all that waits, each of those


def pictures(html, name, text):
    """The bytes of the pictures of a page's text: (those that come with it, those that wait until they come near)."""
    at_once, later = {}, {}
    for tag in re.findall(r"<img\b[^>]*>", text):
        address = re.search(r'\bsrc="([^"]+)"', tag)[1]
        if not urlparse(address).scheme:
            file = html / unquote(urldefrag(urljoin(f"{name}.html", address)).url.split("?")[0])
            (later if 'loading="lazy"' in tag else at_once)[file] = file.stat().st_size
    return [*at_once.values()], [*later.values()]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_light_enough_to_load(html, name):
    files = [html / f"{name}.html", html / f"{name}.widgets.js"]
    at_once, later = pictures(html, name, files[0].read_text(encoding="utf-8"))
    assert sum(file.stat().st_size for file in files if file.exists()) + sum(at_once) < AT_ONCE
    assert sum(later) < LATER and all(size < EACH for size in later), "smaller pictures, or fewer"


def test_what_a_page_weighs_counts_each_picture_once_and_apart_what_waits(tmp_path):
    (tmp_path / "_images").mkdir()
    for number, file in enumerate(("_images/a.png", "_images/b.png", "logo.svg"), start=1):
        (tmp_path / file).write_bytes(b"x" * number)
    page = '<img src="../logo.svg?v=1"><img alt="" loading="lazy" src="../_images/a.png"><img src="../_images/b.png"/>'
    page += '<img src="data:image/png;base64,AAAA"><img src="../logo.svg">'
    assert pictures(tmp_path, "book/page", page) == ([3, 2], [1])
