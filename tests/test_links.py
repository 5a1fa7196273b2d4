"""One address for the repository, and no address of anybody's machine."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT
from test_project import tracked

REPOSITORY = re.search(r'^Repository = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)[1]
OWNER_AND_NAME = REPOSITORY.removeprefix("https://github.com/")
TEXT = {"", ".py", ".js", ".mjs", ".css", ".md", ".ipynb", ".yml", ".toml", ".txt", ".cff", ".bib", ".svg", ".json"}


def texts():
    for path in tracked():
        if path.suffix in TEXT and not {"vendor", "golden"} & set(path.relative_to(ROOT).parts):
            yield path.relative_to(ROOT), path.read_text(encoding="utf-8")


def test_every_mention_of_the_repository_is_the_one_in_pyproject():
    mentions = 0
    mention = re.compile(r"(?:github\.com|colab\.research\.google\.com/github)/([\w.-]+/zecon[-_]lite)\b")
    for path, text in texts():
        for found in mention.findall(text):
            assert found == OWNER_AND_NAME, f"{path} says {found}"
            mentions += 1
    assert mentions >= 3, "pyproject.toml, _config.yml and the notebooks name it"


def test_colab_and_the_book_use_it():
    assert f"url: {REPOSITORY}\n" in (ROOT / "_config.yml").read_text()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"git+{REPOSITORY}" in path.read_text(encoding="utf-8"), path.name
        opened = f"https://colab.research.google.com/github/{OWNER_AND_NAME}/blob/main/notebooks/{path.name}"
        assert f"[in Colab]({opened})" in (ROOT / "README.md").read_text(encoding="utf-8"), path.name


@pytest.mark.parametrize("pattern", [
    r"/(?:home|Users|root)/\w+", r"[A-Z]:\\\\?Users", r"/(?:wor" + r"k|tmp|mnt|var/folders)/\w+", r"\.\./sha" + "red",
])
def test_no_file_names_a_path_of_somebodys_machine(pattern):
    for path, text in texts():
        found = re.search(pattern, text)
        assert not found, f"{path} names {found[0]}"


def test_prose_links_lead_to_files_that_exist():
    for path, text in texts():
        if path.suffix != ".md":
            continue
        folder = ROOT / ("book" if path.is_relative_to("book/assets") else path.parent)    # fragments of pages
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if not re.match(r"[a-z]+:", target):
                assert (folder / target).exists(), f"{path} links to {target}"
