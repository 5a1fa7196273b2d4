"""What is reported of the systems stands with its source, and what we put beside it in a file of measurements."""

import re

import pytest
from conftest import ROOT

BOOK = ROOT / "book"
PAGE = (BOOK / "claims.md").read_text(encoding="utf-8")
SCRIPT = "paper_vs_ours"
AGAIN = "run python book/scripts/paper_vs_ours.py again"


@pytest.fixture(scope="module")
def lines(script):
    return script.read_csv(script.TABLE)


def test_the_page_s_table_is_made_from_the_file(script, lines):
    assert (BOOK / "assets/paper_vs_ours.md").read_text(encoding="utf-8") == script.fragment(lines), AGAIN
    assert script.TABLE.read_text(encoding="utf-8") == script.as_csv(lines), AGAIN
    assert "{include} assets/paper_vs_ours.md" in PAGE


def test_another_value_makes_another_table(script, lines):
    for column in ("system", "quantity", "reported", "quoted_from", "on", "ours", "why"):
        for at in range(1, len(lines)):
            other = [*lines[:at], {**lines[at], column: "something else"}, *lines[at + 1 :]]
            assert script.fragment(other) != script.fragment(lines), column


def test_each_of_our_values_stands_in_a_file_of_measurements_or_was_not_measured(script, lines):
    assert script.filled(lines) == lines, AGAIN
    for line in lines:
        assert (line["ours"] == script.NOT_MEASURED) == (not line["file"]) == (not line["key"])
        assert line["data"] == ("different" if line["file"] else "-"), "nothing here was run on a paper's pictures"
    assert 3 <= sum(bool(line["file"]) for line in lines) < len(lines)


def test_every_reported_value_has_a_source_and_every_row_a_reason(lines):
    for line in lines:
        for column in ("system", "quantity", "reported", "table", "quoted_from", "on", "why"):
            assert line[column].strip() == line[column] != "", line
        assert line["table"].isdigit() or line["table"] in ("not known", "another paper's", "none")
        assert line["why"].endswith(".")
        quoted = bool(re.search(r"\d", line["reported"]))
        assert quoted == bool(re.search(r"review|notes|summary", line["quoted_from"])), "say who is quoted"


def test_all_five_systems_are_there_and_no_quantity_twice(lines):
    names = " ".join(line["system"] for line in lines)
    assert all(name in names for name in ("ZeCon", "DiffuseIT", "DiffusionCLIP", "CDS", "Style from a picture"))
    assert len({(line["system"], line["quantity"]) for line in lines}) == len(lines)


def test_a_key_that_is_not_there_is_an_error_and_of_a_list_the_mean_is_taken(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "ASSETS", tmp_path)
    (tmp_path / "some.json").write_text('{"a": {"b": [0.5, 0.25], "c": 12.345}}')
    assert script.measured("some.json", "a/b") == "0.375" and script.measured("some.json", "a/c") == "12.3"
    with pytest.raises(KeyError, match="'d'"):
        script.measured("some.json", "a/d")
