"""Slides: one deck for each chapter, made from the chapter and its lesson plan, no slide fuller than it can show."""

from __future__ import annotations

import re
import sys

import nbformat
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "book/scripts"))
import slides

CHAPTERS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
PLANS = slides.lessons()
each_chapter = pytest.mark.parametrize("chapter", CHAPTERS)
SIZES = """() => [...document.querySelectorAll(".slides > section")].map((section, k) => {
  Reveal.slide(k);
  const boxes = [section, ...section.querySelectorAll("pre, table, mjx-container[display=true], img")];
  const inside = section.getBoundingClientRect();
  return {
    title: section.querySelector("h1, h2").textContent,
    over: boxes.some((box) => box.scrollHeight > box.clientHeight + 2 && box === section
      || box.tagName === "PRE" && box.scrollWidth > box.clientWidth + 2
      || box.getBoundingClientRect().bottom > inside.bottom + 2
      || box.getBoundingClientRect().right > inside.right + 2),
    size: parseInt(section.style.fontSize || "100"),
    unseen: [...section.querySelectorAll("img")].filter((image) => !image.naturalWidth).length,
  };
})"""


@pytest.fixture(scope="module")
def decks(html):
    """The folder of the decks in the built book."""
    return html / "_static/slides"


@pytest.fixture
def deck(page, decks):
    """Opens a chapter's deck from its file, as a teacher would."""
    def opened(chapter, query=""):
        page.set_viewport_size({"width": 1280, "height": 720})
        page.goto((decks / f"{chapter}.html").as_uri() + query)
        page.wait_for_selector("body[data-ready=true]", state="attached")
        return page
    return opened


# ---------------------------------------------------------------------------------------------------------- the rules


def cell(kind, source, **more):
    made = getattr(nbformat.v4, f"new_{kind}_cell")(source)
    made.update(more)
    return made


def prints(text):
    return [nbformat.v4.new_output("stream", name="stdout", text=text)]


def test_first_sentences_end_where_a_sentence_ends():
    assert slides.opening("One. Two. Three is long.", 10) == "One. Two."
    assert slides.opening("**Measured here.** So much. And more.", 20) == "**Measured here.**"
    assert slides.opening("Never cut ([Ho et al. 2020](x), eq. 2) in the middle", 5).endswith("middle")


def test_links_to_files_and_roles_become_words():
    assert slides.plain("[a [b] c](../x.ipynb), {term}`keys <key>`, {term}`CLIP`") == "a [b] c, keys, CLIP"
    assert slides.plain("[paper](https://arxiv.org/abs/1)") == "[paper](https://arxiv.org/abs/1)"


def test_an_equation_comes_with_the_words_that_announce_it():
    text = "First sentence. " + "Filler. " * 60 + "\n\nHence, with\n\n$$a = b$$\n\nand nothing else."
    (slide,) = slides.told("Title", text, with_opening=True)
    assert "First sentence." in slide.body and "Hence, with" in slide.body and "$$a = b$$" in slide.body
    assert "nothing else" not in slide.body and "nothing else" in slide.notes[0]


def test_text_between_two_cells_is_left_to_the_speaker_unless_it_displays_something():
    assert list(slides.told("Title", "Some words.", with_opening=False)) == []
    (slide,) = slides.told("Title", "Some words:\n\n* one\n* two", with_opening=False)
    assert "<li>one</li>" in slide.body and slide.body.index("Some words:") < slide.body.index("one")


def test_too_much_for_a_slide_goes_on_on_the_next():
    made = list(slides.told("Title", "\n\n".join(f"So:\n\n$${k}$$" for k in range(6)), with_opening=True))
    assert len(made) >= 2 and sum(slide.body.count("$$") for slide in made) == 12
    assert all(slide.body.count("So:") == slide.body.count("$$") // 2 for slide in made)


def test_the_last_slide_says_what_was_reported_in_whatever_form_it_stands():
    lists = slides.ending("* **A** found it. More.\n* **Not measured**: the rest.")
    assert lists == "* **A** found it. More.\n* **Not measured**: the rest."
    table = "Their numbers:\n\n| a |\n|---|\n| 1 |\n\n**You have seen** it all.\n\nOther words."
    assert slides.ending(table) == "Their numbers:\n\n| a |\n|---|\n| 1 |"
    assert slides.ending(f"**Reported.** {'A long sentence ' * 20}ends. Next.").endswith("ends.")


@pytest.mark.parametrize(("source", "outputs", "kinds"), [
    ("def f(x):\n    return x", [], ["code"]),
    ("assert_close(a, b)", [], ["code"]),
    ("x = 1", [], []),
    ("\n".join(["def f(x):"] + ["    x"] * 20), [], []),
    ("def f(x):\n    return x", prints("a 1\nb 2\n"), ["code"]),
    ("def f(x):\n    return x", prints("a 1\n" * 5), ["code", "output"]),    # what was found is not lost
    ("print(table)", prints("a 1\nb 2\n"), ["output"]),
    ("print(long)", prints("a\n" * 40), []),
])
def test_code_is_shown_where_it_is_short_and_defines_or_checks_something(source, outputs, kinds):
    assert [slide.kind for slide in slides.run("Title", cell("code", source, outputs=outputs))] == kinds


def test_solutions_are_on_no_slide():
    hint = "<details><summary>Hint</summary>\n\nLook.\n\n</details>"
    cells = [cell("markdown", f"## Exercises\n\n### Exercise 1.1\n\nDo it.\n\n{hint}"),
             cell("code", "# @title Solution\nsecret"), cell("markdown", "### Exercise 1.2\n\nMore.\n\n<details>"),
             cell("code", "# @title Solution\nsecret")]
    made = list(slides.exercises(cells, most=1))
    assert [slide.title for slide in made] == ["Exercise 1.1", "At home"]
    assert not any("secret" in slide.body + "".join(slide.notes) for slide in made)


@each_chapter
def test_a_chapter_s_plan_has_goals_minutes_and_misunderstandings(chapter):
    plan = PLANS[int(chapter[:2])]
    assert len(plan.goals) >= 2 and len(plan.misread) >= 2
    assert sum(minutes for minutes, _ in plan.plan) == 90


# ----------------------------------------------------------------------------------------------------------- the decks


@each_chapter
def test_a_deck_follows_its_chapter(decks, chapter):
    text = (decks / f"{chapter}.html").read_text(encoding="utf-8")
    notebook = nbformat.read(ROOT / f"notebooks/{chapter}.ipynb", as_version=4)
    questions = sum(c.source.count("**Question ") for c in notebook.cells if c.cell_type == "markdown")
    assert len(re.findall('<section class="question">', text)) == questions >= 5
    assert len(re.findall('<section class="answer">', text)) == questions
    assert len(re.findall('<section class="exercise">', text)) >= 3
    assert "Afterwards you can" in text and "Easily misunderstood" in text and "| 0 |" not in text
    assert "# @title Solution" not in text, "solutions are for the end of the hour"
    # Every figure of the chapter, with its alternative text.
    drawn = nbformat.read(slides.EXECUTED / f"{chapter}.ipynb", as_version=4).cells
    last = next(k for k, c in enumerate(drawn) if c.source.startswith("## Questions"))
    pictures = sum("image/png" in o.get("data", {}) for c in drawn[:last] for o in c.get("outputs", []))
    images = re.findall(r"<img [^>]*?alt=\"([^\"]*)\"", text)
    assert len(images) == pictures and all(len(alt) > 20 for alt in images)


@each_chapter
def test_no_slide_is_fuller_than_it_can_show(deck, chapter):
    page = deck(chapter)
    for slide in page.evaluate(SIZES):
        assert not slide["over"], f"{slide['title']!r} in {chapter} does not fit"
        assert slide["size"] >= 70, f"{slide['title']!r} in {chapter} is set too small to read"
        assert not slide["unseen"], f"a picture of {slide['title']!r} in {chapter} is broken"
    assert page.locator("mjx-merror").count() == 0 and page.faults == []


def test_the_keyboard_leads_through_a_deck_and_changes_light_and_dark(deck):
    page = deck(CHAPTERS[0])
    def at():
        return page.evaluate("Reveal.getIndices().h")
    last = page.evaluate("Reveal.getTotalSlides()") - 1
    for key, place in (("ArrowRight", 1), ("Space", 2), ("ArrowLeft", 1), ("End", last), ("Home", 0)):
        page.keyboard.press(key)
        assert at() == place, key
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("d")
    assert before != page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert page.faults == []


def test_a_deck_can_be_printed_one_slide_to_a_page(deck):
    page = deck(CHAPTERS[0], "?print-pdf")
    total = page.evaluate("Reveal.getTotalSlides()")
    page.wait_for_function(f"document.querySelectorAll('.pdf-page').length === {total}")
    pages = len(re.findall(rb"/Type\s*/Page\b(?!s)", page.pdf(prefer_css_page_size=True)))
    assert pages == total


def test_the_speaker_sees_the_plan(deck):
    page = deck(CHAPTERS[0])
    notes = page.locator("section.title aside.notes").text_content()
    assert all(what.split()[0] in notes for _, what in PLANS[1].plan) and "90 min" in notes
    with page.expect_popup() as popup:
        page.keyboard.press("s")
    popup.value.wait_for_selector(".speaker-controls-notes .value", state="attached")


def test_decks_are_light(decks):
    sizes = {path.name: path.stat().st_size for path in decks.glob("*.html")}
    assert len(sizes) == len(CHAPTERS) and max(sizes.values()) < 1_500_000
