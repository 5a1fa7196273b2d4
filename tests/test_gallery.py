"""The gallery is of photographs that training never saw, with these networks, and every one is credited."""

import json
import re

from conftest import ROOT

from zecon_lite import images
from zecon_lite.benchmark import PROMPTS
from zecon_lite.tiny import world
from zecon_lite.tiny.data import TRAINING_PHOTOGRAPHS

SCRIPT = "gallery"
BOOK = ROOT / "book"
MEASURED = json.loads((BOOK / "assets/gallery.json").read_text(encoding="utf-8"))
AGAIN = "the gallery is of other networks: run python book/scripts/gallery.py again"


def test_the_pictures_and_the_table_are_of_these_networks(script):
    assert MEASURED["weights"] == script.hashes(), AGAIN
    assert (BOOK / "assets/gallery.md").read_text(encoding="utf-8") == script.fragment(MEASURED), AGAIN


def test_every_photograph_is_shown_in_every_style_and_none_was_trained_on(script):
    shown = script.photographs(64)
    assert list(shown) == MEASURED["photographs"] and len(shown) >= 8
    assert list(MEASURED["truth"]) == list(MEASURED["styles"])
    assert list(MEASURED["styles"]) == list(world.STYLES) == [style for six in script.FIGURES.values() for style in six]
    assert all(photograph.shape == (1, 3, 64, 64) for photograph in shown.values())
    trained = {name.split(".")[0] for name in TRAINING_PHOTOGRAPHS}
    files = {file.split(".")[0] for file, _ in images._SHIPPED.values()}
    assert not trained & (files | {path.stem for path in script.FOLDER.iterdir()})


def test_every_photograph_is_credited_with_its_maker_and_terms(script):
    credits = (BOOK / "credits.md").read_text(encoding="utf-8")
    for path in script.FOLDER.iterdir():
        (row,) = re.findall(rf"^\| .*`{path.name}` \|(.+)\|(.+)\|$", credits, flags=re.M)
        assert all(cell.strip() for cell in row) and re.search(r"CC0|CC BY", row[1])


def test_the_table_gives_the_mean_of_all_styles(script):
    one = {"judge A": 1.0, "judge B": 0.5, "SSIM to the source": 0.25}
    two = {"judge A": 0.0, "judge B": 0.5, "SSIM to the source": 0.75}
    given = {"styles": {"pencil": one, "mosaic": two}, "truth": {"pencil": two, "mosaic": two}}
    text = script.fragment({"photographs": ["cat"], "size": 64, **given})
    assert f"| {PROMPTS['pencil']} | 1.00 (0.00) | 0.50 (0.50) | 0.25 (0.75) |" in text
    assert "| all | 0.50 (0.00) | 0.50 (0.50) | 0.50 (0.75) |" in text


def test_the_page_shows_the_figures_and_quotes_no_score_of_its_own(script):
    page = (BOOK / "gallery.md").read_text(encoding="utf-8")
    assert set(re.findall(r"assets/(gallery_\w+\.png)", page)) == set(script.FIGURES)
    assert not re.findall(r"(?<!BY )\d\.\d", page) and "{include} assets/gallery.md" in page
