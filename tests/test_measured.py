"""The table of measurements is the one that was measured, and the claims about it hold in it."""

import importlib.util
import json
from pathlib import Path

BOOK = Path(__file__).parents[1] / "book"
MEASURED = json.loads((BOOK / "assets/measured.json").read_text())


def script():
    spec = importlib.util.spec_from_file_location("measure", BOOK / "scripts/measure.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_in_the_book_is_made_from_the_measurements():
    assert (BOOK / "assets/measured.md").read_text() == script().table(MEASURED)


def test_the_limitations_page_describes_what_was_run():
    page = " ".join((BOOK / "limitations.md").read_text().split())
    assert MEASURED["scenes"] == 6 and "six held-out scenes" in page
    assert f"{MEASURED['pictures']} pictures a row" in page and "assets/measured.md" in page


def test_zecon_keeps_more_structure_than_clip_alone_beyond_the_intervals():
    zecon, clip = (MEASURED["rows"][name]["ssim_to_source"] for name in ("zecon", "clip_guided"))
    assert zecon[1] > clip[2]


def test_the_zecon_weight_moves_the_result_from_style_to_content():
    low, default, high = (MEASURED["rows"][n] for n in ("zecon, zecon=0.005", "zecon", "zecon, zecon=0.1"))
    assert low["ssim_to_source"][0] < default["ssim_to_source"][0] < high["ssim_to_source"][0]
    assert low["style_probability"][0] > high["style_probability"][0]


def test_the_truth_bounds_what_can_be_had():
    rows = MEASURED["rows"]
    assert rows["truth"]["style_accuracy"][0] > 0.95 and rows["source"]["style_accuracy"][0] < 0.05
    assert all(row["style_accuracy"][0] <= rows["truth"]["style_accuracy"][0] for row in rows.values())


def test_the_styles_named_as_failing_are_those_that_fail():
    by_style = MEASURED["rows"]["zecon"]["style_accuracy_by_style"]
    assert {style for style, accuracy in by_style.items() if accuracy == 0} == {
        "watercolor",
        "glass",
        "pointillism",
        "neon",
    }
