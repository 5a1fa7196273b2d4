"""The repository itself: its files, its verbs, its size."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
import yaml
from conftest import ROOT

BIGGEST = 60_000_000           # bytes of all tracked files


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


def test_every_vendored_file_has_its_licence_named():
    third_party = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
    places = ROOT / "book/assets/vendor", ROOT / "tests/js/vendor"
    for folder in (path for place in places for path in place.iterdir() if path.is_dir()):
        assert folder.relative_to(ROOT).as_posix() in third_party
        assert list(folder.glob("LICENSE*")), f"{folder.name} comes without its licence"


def test_nothing_is_left_undone_in_the_code():
    words = ("TO" + "DO", "FIX" + "ME", "Not" + "Implemented" + "Error")
    for path in tracked():
        if path.suffix in {".py", ".js", ".css", ".md", ".ipynb"} and "vendor" not in path.parts:
            text = path.read_text(encoding="utf-8")
            assert not [word for word in words if word in text], path
