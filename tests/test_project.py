"""The repository itself: its files, its verbs, its size."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from zecon_lite import images

BIGGEST = 60_000_000           # bytes of all tracked files
PICTURES = {".png", ".svg", ".jpg", ".jpeg", ".gif", ".webp", ".ico", ".pdf"}
FONTS = {".woff", ".woff2", ".ttf", ".otf", ".eot"}
BOOK = ROOT / "book"
CREDITS = (BOOK / "credits.md").read_text(encoding="utf-8")
FIGURES = re.findall(r"^\| `([\w./]+)` \| (hand|`[\w./]+`) \| (.*?) ?\| (.+) \|$", CREDITS, re.M)
# What a photograph is called -> (who took it, its terms), from both tables.
MAKERS = {
    name: (maker.split(",")[0], terms)
    for name, maker, terms in re.findall(
        r"^\| .*`(?:skimage\.data\.)?(\w+)(?:\(\)|\.jpg)` \| (.+?) \| (.+?) \|$", CREDITS, re.M
    )
}


def tracked():
    """Every file under version control; outside a clone, every file that is not built."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a clone")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("name", [
    "README.md", "LICENSE", "LICENSE-TEXT.md", "THIRD_PARTY.md", "CITATION.cff", "CHANGELOG.md", "CONTRIBUTING.md",
    "CODE_OF_CONDUCT.md", "book/errata.md",
    "Makefile", ".ci/run", "environment.yml", "constraints.txt", "_config.yml", "_toc.yml", "pyproject.toml",
])
def test_the_repository_has(name):
    assert (ROOT / name).stat().st_size > 100


def test_ci_calls_what_the_readme_tells_readers_to_call():
    script = (ROOT / ".ci/run").read_text()
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert script.rstrip().endswith("make test") and "make test" in (ROOT / "README.md").read_text()


def test_the_readme_names_only_verbs_that_exist():
    verbs = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "book").glob("*.md")]:
        assert set(re.findall(r"`make ([a-z]+)", page.read_text(encoding="utf-8"))) <= set(verbs), page.name


def test_version_and_title_are_the_same_everywhere():
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version and citation["title"].startswith("zecon_lite")
    assert re.search(rf"^## {re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)


def test_a_clone_is_small():
    assert sum(path.stat().st_size for path in tracked()) < BIGGEST


def test_the_readme_says_what_a_clone_weighs():
    def weight(*commits):
        done = subprocess.run(["git", "rev-list", "--disk-usage", "--objects", *commits], cwd=ROOT, capture_output=True)
        return pytest.skip("not a clone") if done.returncode else int(done.stdout)

    said = re.search(r"fetches about (\d+) MB .* about (\d+) MB", (ROOT / "README.md").read_text(encoding="utf-8"))
    shallow, whole = (1e6 * int(number) for number in said.groups())
    assert weight("--no-walk", "HEAD") == pytest.approx(shallow, rel=0.15)
    if not (ROOT / ".git/shallow").exists():
        assert weight("HEAD") == pytest.approx(whole, rel=0.15)


def test_every_vendored_file_has_its_licence_named():
    third_party = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
    places = ROOT / "book/assets/vendor", ROOT / "tests/js/vendor"
    for folder in (path for place in places for path in place.iterdir() if path.is_dir()):
        assert folder.relative_to(ROOT).as_posix() in third_party
        assert list(folder.glob("LICENSE*")), f"{folder.name} comes without its licence"


def test_every_picture_and_font_that_nobody_else_s_folder_brings_stands_in_the_credits():
    others = {"vendor", "photographs"}
    found = [path for path in tracked() if path.suffix.lower() in PICTURES | FONTS and not others & {*path.parts}]
    assert sorted(name for name, *_ in FIGURES) == sorted(path.relative_to(ROOT).as_posix() for path in found)


@pytest.mark.parametrize(("name", "drawn_by", "shown", "licence"), FIGURES, ids=[name for name, *_ in FIGURES])
def test_a_figure_in_the_credits_is_drawn_by_the_script_that_it_names(name, drawn_by, shown, licence):
    assert licence == ("MIT" if name.startswith("zecon_lite/") else "CC BY 4.0")
    if drawn_by == "hand":
        assert name.endswith(".svg")
    else:
        assert f'"{name.rsplit("/", 1)[1]}"' in (ROOT / drawn_by.strip("`")).read_text(encoding="utf-8")


def test_the_credits_name_the_photographs_that_a_figure_shows():
    shown = {Path(name).name: re.findall(r"`(\w+)`", photographs) for name, _, photographs, _ in FIGURES}
    assert set().union(*shown.values()) == set(MAKERS) > set(images.PHOTOGRAPHS)
    results = {name: json.loads((BOOK / f"assets/{name}.json").read_text()) for name in ("gallery", "comparison")}
    assert shown["gallery_one.png"] == shown["gallery_two.png"] == results["gallery"]["photographs"]
    four = list(images.PHOTOGRAPHS)[: results["comparison"]["photographs"]["scenes"]]
    assert shown["comparison_photographs.png"] == four
    cover = re.search(r'for name in (\(".*\))', (BOOK / "scripts/cover.py").read_text(encoding="utf-8"))[1]
    assert shown["stylized.png"] == re.findall(r'"(\w+)"', cover) and shown["panel.png"] == [next(iter(MAKERS))]
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert "photographs/" not in path.read_text(encoding="utf-8"), f"{path.name} shows more than the four"


def test_a_page_names_whoever_took_a_photograph_that_it_shows_where_the_terms_ask_for_it():
    owed = 0
    for name, _, photographs, _ in FIGURES:
        makers = [MAKERS[p] for p in re.findall(r"`(\w+)`", photographs) if "CC BY" in MAKERS[p][1]]
        for page in {ROOT / "README.md", *BOOK.glob("*.md")} - {BOOK / "credits.md"}:
            text = " ".join(page.read_text(encoding="utf-8").split())
            if f"assets/{Path(name).name}" in text:
                owed += len(makers)
                assert all(f"{maker} (CC BY {re.search(r'[0-9.]+', terms)[0]})" in text for maker, terms in makers)
    assert owed, "no page shows a photograph that asks for its maker's name: mend this test"


def test_nothing_is_left_undone_in_the_code():
    words = ("TO" + "DO", "FIX" + "ME", "Not" + "Implemented" + "Error")
    for path in tracked():
        if path.suffix in {".py", ".js", ".css", ".md", ".ipynb"} and "vendor" not in path.parts:
            text = path.read_text(encoding="utf-8")
            assert not [word for word in words if word in text], path
