"""The list of breaks: it covers every goal and fits the tree. `make breaks` tries them, which takes a while."""

from __future__ import annotations

import re

import breaking
import pytest
from conftest import ROOT


def test_every_goal_is_broken_or_says_why_not():
    covered = {change.goal for change in breaking.BREAKS} | set(breaking.WITHOUT)
    assert covered == {f"G{k:02d}" for k in range(1, 39)}


@pytest.mark.parametrize("change", breaking.BREAKS, ids=lambda change: f"{change.goal} {change.what}")
def test_a_break_changes_what_is_there_and_names_tests_that_exist(change, tmp_path):
    path = ROOT / change.path
    if not change.path.startswith(breaking.HTML):
        (tmp_path / change.path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / change.path).write_bytes(path.read_bytes())
        before = breaking.apply(change, tmp_path)
        assert before == path.read_bytes() != (tmp_path / change.path).read_bytes()
    file, _, name = change.tests.split()[0].partition("::")
    assert re.search(rf"^def {name or 'test_'}", (ROOT / "tests" / file).read_text(encoding="utf-8"), re.M)


def test_a_passage_that_is_gone_is_said(tmp_path):
    (tmp_path / "file").write_text("one")
    with pytest.raises(LookupError, match="G01: file does not hold 'two'"):
        breaking.apply(breaking.Break("G01", "", "file", "two", "three", ""), tmp_path)
