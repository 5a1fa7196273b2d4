"""What a reader looks up: words, papers, limits; and where to ask."""

from __future__ import annotations

import re

import pytest
import yaml
from conftest import ROOT

from zecon_lite import PROFILES
from zecon_lite.tiny import world

BOOK = ROOT / "book"
PAGES = sorted(BOOK.glob("*.md"))
ENTRIES = re.findall(r"^@.*?^\}", (BOOK / "references.bib").read_text(encoding="utf-8"), re.S | re.M)
GLOSSARY = re.search(r"```\{glossary\}\n(.*?)^```", (BOOK / "glossary.md").read_text(encoding="utf-8"), re.S | re.M)[1]
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


def test_pages_use_the_glossary_by_links_that_lead_there():
    used = {}
    for page in PAGES:
        for text in re.findall(r"\{term\}`([^`]+)`", page.read_text(encoding="utf-8")):
            target = re.search(r"<([^>]+)>$", text)
            used.setdefault((target[1] if target else text).lower(), set()).add(page.name)
    assert set(used) <= set(map(str.lower, WORDS)), "a word that the glossary does not have"
    assert sum(bool(pages - {"glossary.md"}) for pages in used.values()) >= 20


def test_every_number_among_the_limits_is_true_or_stands_in_a_file_of_results():
    text = (BOOK / "limitations.md").read_text(encoding="utf-8")
    prose = re.sub(r"\]\([^)]*\)|`[^`]*`", "", text)
    numbers = set(re.findall(r"\d[\d.,]*\d|\d", prose)) - set(re.findall(r"chapter (\d+)", prose))
    assert numbers == {str(PROFILES["tiny"].size)}, "name the file of results"
    assert "twelve styles" in prose and len(world.STYLES) == 12
    # What it says of results, it says by a link to a page whose numbers are generated.
    for page in ("how_good.md", "comparison.md", "claims.md"):
        assert f"({page})" in text and "```{include} assets/" in (BOOK / page).read_text(encoding="utf-8")


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
