"""What a reader looks up: words, papers, limits; and where to ask."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace

import nbformat
import pytest
import torch
import yaml
from conftest import ROOT

from zecon_lite import PRESETS, PROFILES, Guidance, images, load_models, metrics, weights
from zecon_lite.state import State
from zecon_lite.tiny import world
from zecon_lite.weights import MANIFEST

sys.path.insert(0, str(ROOT / "book/_ext"))
import zecon_chapters

BOOK = ROOT / "book"
PAGES = sorted(BOOK.glob("*.md"))
ENTRIES = re.findall(r"^@.*?^\}", (BOOK / "references.bib").read_text(encoding="utf-8"), re.S | re.M)
GLOSSARY = re.search(r"```\{glossary\}\n(.*?)^```", (BOOK / "glossary.md").read_text(encoding="utf-8"), re.S | re.M)[1]
NUMBER = (
    "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen|dozens?|"
    "(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundreds?|thousands?|(?:m|b)illions?|twice|thrice|half|\\w+fold"
)
WORDS = re.findall(r"^(\S.*)$", GLOSSARY, re.M)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: re.match(r"@\w+\{([^,]+)", entry)[1])
def test_a_reference_can_be_found_by_a_number_that_lasts(entry):
    doi = re.search(r"^\s*doi\s*=\s*[{\"]10\.\d{4,}/\S+[}\"]", entry, re.M | re.I)
    arxiv = re.search(r"\b\d{4}\.\d{4,5}\b|arxiv\.org/abs/\S+|arXiv:\S+", entry)
    assert doi or arxiv, "give its DOI or its number in the arXiv"


def test_the_glossary_is_large_and_each_word_stands_in_it_once():
    assert len(WORDS) >= 60 and len(WORDS) == len(set(map(str.lower, WORDS)))
    first = [word.lower().strip("[")[0] for word in WORDS]
    assert first == sorted(first), "in the order of the alphabet"


def chapter(path):
    """A chapter's texts as the book shows them."""
    cells = nbformat.read(path, as_version=4).cells
    return zecon_chapters.chapter([c.source for c in cells if c.cell_type == "markdown"], path.name[:2], WORDS)


def terms(text):
    """The words of the glossary that a text links to."""
    found = re.findall(r"\{term\}`(?:[^`<]*<)?([^`<>]+)>?`", text)
    return [word.lower() for word in found]


def test_pages_and_chapters_use_the_glossary_by_links_that_lead_there():
    used = {page.name: terms(page.read_text(encoding="utf-8")) for page in PAGES}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        used[path.name] = terms("\n".join(chapter(path)))
        assert len(used[path.name]) == len(set(used[path.name])) >= 5, f"{path.name}: once each, and some"
    assert set().union(*used.values()) <= set(map(str.lower, WORDS)), "a word that the glossary does not have"
    assert len(set().union(*(found for name, found in used.items() if name != "glossary.md"))) >= 60


def test_the_extension_reads_the_words_that_stand_in_the_glossary_and_its_everyday_words_are_some_of_them():
    assert zecon_chapters.words(ROOT) == WORDS
    assert set(WORDS) > zecon_chapters.EVERYDAY


@pytest.mark.parametrize(("text", "shown"), [
    ("A patch, another patch.", "A {term}`patch`, another patch."),
    ("Guidance, first in the sentence.", "{term}`Guidance`, first in the sentence."),
    ("a key\nself-similarity and a key", "a {term}`key self-similarity` and a {term}`key`"),
    ("keys, patched, a patch-wise loss", "keys, patched, a patch-wise loss"),
    ("cut the CUT", "cut the {term}`CUT`"),
    ("another look, and a *look*", "another look, and a *{term}`look`*"),
    ("the [CLS] token", "the {term}`[CLS] token`"),
    ("`patch`, ``a ` patch``, $patch$ patch", "`patch`, ``a ` patch``, $patch$ {term}`patch`"),
    ("$$\npatch\n$$\npatch", "$$\npatch\n$$\n{term}`patch`"),
    ("```python\npatch\n```\n\n    patch\n\npatch", "```python\npatch\n```\n\n    patch\n\n{term}`patch`"),
    ("[a [CLS] patch](patch.md) ![patch](a.png) patch", "[a [CLS] patch](patch.md) ![patch](a.png) {term}`patch`"),
    ("## A patch\n| patch |\n|---|\npatch", "## A patch\n| patch |\n|---|\n{term}`patch`"),
    ("<details><summary>patch</summary>\n\npatch", "<details><summary>patch</summary>\n\n{term}`patch`"),
    ('a <b title="patch">patch</b>, https://a.org/patch', 'a <b title="patch">{term}`patch`</b>, https://a.org/patch'),
])
def test_the_first_plain_use_of_a_word_leads_to_the_glossary(text, shown):
    some = ["patch", "key", "key self-similarity", "CUT", "look", "guidance", "[CLS] token"]
    assert zecon_chapters.linked(text, zecon_chapters.pattern_of(some), set()) == shown


def test_a_word_is_linked_once_in_a_chapter():
    assert zecon_chapters.chapter(["# A", "a patch", "a patch"], "07", WORDS) == ["# A", "a {term}`patch`", "a patch"]


def numbers_in(text):
    """Every number of a text, in digits or in words, but for those of chapters."""
    return re.findall(rf"\d[\d.,]*\d|\d|\b(?:{NUMBER})\b", re.sub(r"chapters? \d+", "", text), re.I)


def test_numbers_are_found_in_digits_and_in_words():
    said = "Fourteen of 3,000 pages, as chapter 7 says: a hundred-odd, two or 2.5; twice, or twenty-one-fold, tenfold."
    found = ["Fourteen", "3,000", "hundred", "two", "2.5", "twice", "twenty", "tenfold"]
    assert numbers_in(said) == found and not numbers_in("Often, one at a time, the first of them weighs a stone.")


def test_every_number_among_the_limits_is_true_or_stands_in_a_file_of_results():
    text = (BOOK / "limitations.md").read_text(encoding="utf-8")
    prose = " ".join(re.sub(r"\]\([^)]*\)|`[^`]*`", "", text).split())
    gallery, costs = (json.loads((BOOK / f"assets/{name}.json").read_text()) for name in ("gallery", "notebook_costs"))
    zecon = [p for p in PRESETS.values() if p.recipe.name == "zecon" and p.profile == "imagenet256"]
    contrast = [p.recipe.weights["zecon"] for p in zecon]
    true = {
        "64 pixels": PROFILES["tiny"].size == 64,
        "ten real photographs": len(gallery["photographs"]) == 10,
        "Linux with two CPU cores": (costs["machine"]["system"], costs["machine"]["cores"]) == ("Linux", 2),
        "a hundred-odd words": 100 < len(world.vocabulary()) < 200,
        "twelve styles": len(world.STYLES) == 12,
        "The two judges": len(metrics.JUDGES) == 2,
        "by a factor of twenty": max(contrast) == 20 * min(contrast) > 0,
    }
    for phrase, holds in true.items():
        assert holds and phrase in prose, phrase
        prose = prose.replace(phrase, "")
    assert not numbers_in(prose), "say where it is known from, here or by a file of results"
    # What it says of results, it says by a link to a page whose numbers are generated.
    for page in ("how_good.md", "comparison.md", "claims.md"):
        assert f"({page})" in text and "```{include} assets/" in (BOOK / page).read_text(encoding="utf-8")


def _out_of_memory():
    with load_models("tiny", "cpu").at_work((4, 3, 64, 64)):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")


def test_the_page_on_setting_up_names_what_the_message_does_when_memory_runs_out():
    setup = (BOOK / "setup.md").read_text(encoding="utf-8")
    (help_,) = re.findall(r"^\*\*Out of memory on the GPU\.\*\*.*?^$", setup, re.M | re.S)
    with pytest.raises(MemoryError) as said:
        _out_of_memory()
    options = re.findall(r"--[a-z-]+|\w+=\w+", str(said.value))
    assert {"--batch", "--low-memory", "saving=LOW_MEMORY"} <= set(options)
    assert [option for option in options if option not in help_] == []


def _not_finite():
    one = torch.ones(())
    Guidance({"text": lambda state: one / 0}, {"text": 1.0}).terms(State(3, 300, one, one, one, one))


MESSAGES = {
    "memory": (_out_of_memory, "Setting up"),
    "no GPU": (lambda: load_models("tiny", "cuda:99"), "Setting up"),
    "no network": (lambda: weights.fetch(replace(MANIFEST["ffhq_10m"][0], url="http://127.0.0.1:9/x")), "Setting up"),
    "not finite": (_not_finite, "Setting up"),
    "range": (lambda: images.check(torch.full((1, 3, 8, 8), 200.0)), "Images and noise"),
    "sides": (lambda: images.check_sides(torch.zeros(1, 3, 60, 64), 8), "Images and noise"),
    "unknown word": (lambda: load_models("tiny", "cpu").clip.text(["penicl sketch"]), "Setting up"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_names_a_page_of_the_book_that_exists(name, tmp_path, monkeypatch):
    monkeypatch.setenv("ZECON_LITE_HOME", str(tmp_path))
    fails, page = MESSAGES[name]
    with pytest.raises(Exception, match=re.escape(f'(in the book: "{page}")')):
        fails()


def test_every_page_that_a_message_names_exists():
    titles = {re.search(r"^# (.+)$", path.read_text(encoding="utf-8"), re.M)[1] for path in PAGES}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        titles.add(nbformat.read(path, as_version=4).cells[0].source.splitlines()[0].removeprefix("# "))
    code = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "zecon_lite").rglob("*.py")))
    named = set(re.findall(r'in the book: "([^"]+)"', code))
    assert named == {page for _, page in MESSAGES.values()} and named <= titles


def test_whoever_finds_a_mistake_or_has_a_question_is_asked_for_what_helps():
    forms = sorted((ROOT / ".github").glob("*_TEMPLATE/*.yml"))
    assert {"page", "error", "exercise"} <= {path.stem for path in forms}
    assert {"questions", "study-groups", "office-hours", "show-and-tell"} <= {path.stem for path in forms}
    for path in forms:
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        if path.stem == "config":
            continue
        fields = [field for field in form["body"] if field["type"] != "markdown"]
        assert fields and all(field["attributes"]["label"] for field in fields), path.name
        assert len({field["id"] for field in fields}) == len(fields)
        assert any(field.get("validations", {}).get("required") for field in fields), path.name
