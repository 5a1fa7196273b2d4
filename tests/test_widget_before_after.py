"""Before and after: what Python packs, what JavaScript computes, the figure in a browser without a kernel."""

import io
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import traitlets
from PIL import Image

from zecon_lite.widgets import BeforeAfter

JS = Path(__file__).parent / "js"
BLACK, WHITE, RED = (torch.tensor(rgb).view(1, 3, 1, 1).expand(1, 3, 16, 24) for rgb in
                     ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0), (1.0, -1.0, -1.0)))


@pytest.fixture
def two():
    return BeforeAfter.from_pictures(BLACK, {"ZeCon": WHITE, "truth": RED[0]})


# ---------------------------------------------------------------- what Python packs


def test_source_and_results_stand_in_one_sheet(two):
    pixels = np.array(Image.open(io.BytesIO(two.sheet)))
    assert (two.cell, two.across, two.names) == ([16, 24], 2, ["ZeCon", "truth"])
    assert pixels[0, 0].tolist() == [0, 0, 0] and pixels[0, 24].tolist() == [255, 255, 255]
    assert pixels[16, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("source", "results", "message"),
    [
        (BLACK, {}, "results must name at least one picture; got none"),
        (BLACK, {"a": WHITE[..., :8]}, r"source and 'a' must be one picture each.*24\) and \(1, 3, 16, 8\)"),
        (BLACK.expand(2, -1, -1, -1), {"a": WHITE.expand(2, -1, -1, -1)}, r"one picture each.*got \(2, 3, 16, 24\)"),
        (2 * BLACK, {"a": WHITE}, r"source must be \(B, 3, H, W\) in \[-1, 1\]"),
        (BLACK, {"a": WHITE / 0}, "NaN or infinity"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(source, results, message):
    with pytest.raises(ValueError, match=message):
        BeforeAfter.from_pictures(source, results)


def test_a_result_or_a_divider_that_is_not_there_is_refused(two):
    with pytest.raises(traitlets.TraitError, match=r"result must be 0 to 1 \(ZeCon, truth\); got 2"):
        two.result = 2
    for divider in (1.5, float("nan")):
        with pytest.raises(traitlets.TraitError, match="divider"):
            two.divider = divider


def test_fewer_names_leave_a_result_that_is_there(two):
    two.result = 1
    two.names = ["ZeCon"]
    assert two.result == 0
    two.names = []
    assert two.result == 0


# ---------------------------------------------------------------- the page


def test_the_arithmetic_in_javascript_passes_its_own_tests(node):
    done = subprocess.run([node, "--test", str(JS / "before_after.test.mjs")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_fetched_from_outside():
    text = BeforeAfter._esm + BeforeAfter._css
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(|fetch\(|^import ", text, re.MULTILINE)


def colours_at(page, *fractions):
    """The colours on the screen along a line through the pictures, off the handle in the middle."""
    box = page.get_by_test_id("pictures").bounding_box()
    pixels = np.array(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
    row = pixels[int(box["y"] + 0.15 * box["height"])]
    return [tuple(row[int(box["x"] + f * box["width"])].tolist()) for f in fractions]


black, white, red = (0, 0, 0), (255, 255, 255), (255, 0, 0)


def divided(page):
    return float(page.get_by_test_id("readout").get_attribute("data-divider"))


def test_the_divider_is_dragged_over_the_pictures_and_beyond_their_edge(figure, two):
    page = figure(two)
    assert colours_at(page, 0.4, 0.6) == [black, white]
    box = page.get_by_test_id("pictures").bounding_box()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 10)
    page.mouse.down()
    assert divided(page) == pytest.approx(0.2, abs=0.01) and colours_at(page, 0.1, 0.3) == [black, white]
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 30)
    assert divided(page) == pytest.approx(0.8, abs=0.01) and colours_at(page, 0.7, 0.9) == [black, white]
    page.mouse.move(box["x"] + 2 * box["width"], box["y"] + 30)
    assert divided(page) == 1 and page.get_by_test_id("readout").inner_text() == "Source alone"
    page.mouse.up()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 10)
    assert divided(page) == 1                                                     # let go
    page.keyboard.press("ArrowLeft")                                              # the keys go on where the mouse was
    assert divided(page) == 0.99
    assert page.evaluate("model.get('divider')") == 0.99 and page.evaluate("saved") > 0 and page.faults == []


def test_keys_move_the_divider_and_choose_the_result(figure, two):
    page = figure(two)
    divider = page.get_by_role("slider", name="Divider")
    divider.focus()
    for key, at in [("ArrowRight", 0.51), ("ArrowLeft", 0.5), ("PageUp", 0.6), ("Home", 0.0)]:
        page.keyboard.press(key)
        assert divided(page) == pytest.approx(at)
    assert page.get_by_test_id("readout").inner_text() == "ZeCon alone" and colours_at(page, 0.1) == [white]
    divider.press("End")
    assert colours_at(page, 0.1, 0.9) == [black, black]
    page.get_by_role("combobox", name="Result").select_option("truth")
    divider.fill("50")
    assert colours_at(page, 0.4, 0.6) == [black, red]
    assert divider.get_attribute("aria-valuetext") == "left 50 % source, right 50 % truth"
    page.get_by_role("img", name="truth").wait_for()
    # The slider says the same: a reader would hear it twice.
    assert page.get_by_test_id("readout").get_attribute("aria-live") is None and page.faults == []


def test_of_two_sheets_on_their_way_the_last_one_stays(figure, two):
    page = figure(two)
    colours = """async () => {
      const decode = createImageBitmap, later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
      let calls = 0;    // the first takes longer
      globalThis.createImageBitmap = async (blob) => { if (!calls++) await later(200); return decode(blob); };
      const png = (colour) => {
        const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 64 });
        const pen = canvas.getContext("2d");
        pen.fillStyle = colour;
        pen.fillRect(0, 0, 64, 64);
        return Uint8Array.from(atob(canvas.toDataURL().split(",")[1]), (letter) => letter.charCodeAt(0));
      };
      for (const colour of ["red", "blue"]) model.set("sheet", png(colour));
      await later(500);
      const source = document.querySelector('[data-testid="source"]');
      return [...source.getContext("2d").getImageData(0, 0, 1, 1).data];
    }"""
    assert page.evaluate(colours) == [0, 0, 255, 255] and page.faults == []


def test_fewer_results_than_the_chosen_one_are_no_fault(figure, two):
    page = figure(two)
    page.evaluate("model.set('result', 1)")
    page.evaluate("model.set('names', model.get('names').slice(0, 1))")
    assert "undefined" not in page.get_by_test_id("readout").inner_text() and page.faults == []


def test_a_finger_moves_it_too(figure, two):
    page = figure(two, has_touch=True)
    box = page.get_by_test_id("pictures").bounding_box()
    page.touchscreen.tap(box["x"] + 0.75 * box["width"], box["y"] + 20)
    assert divided(page) == pytest.approx(0.75, abs=0.01)
    action = page.get_by_test_id("pictures").evaluate("element => getComputedStyle(element).touchAction")
    assert action == "pan-y"                                                      # across it draws, down it scrolls


def test_the_figure_follows_its_traits_and_lets_go_of_them(figure, two):
    page = figure(two)
    page.evaluate("model.set('result', 1); model.set('divider', 0.25)")
    assert colours_at(page, 0.2, 0.3) == [black, red]
    assert page.get_by_test_id("divider").input_value() == "25" and page.get_by_test_id("choice").input_value() == "1"
    page.evaluate("close_figure()")
    assert page.evaluate("listening()") == 0 and page.faults == []


def test_a_single_result_needs_no_list(figure):
    page = figure(BeforeAfter.from_pictures(BLACK, {"restyled": WHITE}, source_name="photograph"))
    assert not page.get_by_test_id("choice").is_visible()
    assert page.get_by_test_id("readout").inner_text() == "Left 50 % photograph, right 50 % restyled"


@pytest.mark.parametrize(("said", "dark"), [("dark", True), ("light", False)])
def test_light_and_dark_follow_the_page_before_the_system(figure, two, said, dark):
    page = figure(two, color_scheme="light" if dark else "dark")
    page.evaluate("said => document.documentElement.dataset.theme = said", said)
    back = page.get_by_test_id("before-after").evaluate("element => getComputedStyle(element).backgroundColor")
    assert back == ("rgb(22, 24, 28)" if dark else "rgb(255, 255, 255)")


def test_a_phone_has_room_for_it(figure, two):
    page = figure(two, viewport={"width": 360, "height": 700})
    assert page.get_by_test_id("pictures").bounding_box()["width"] > 280
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
