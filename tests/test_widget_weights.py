"""The weight explorer: what Python packs, the figure in a browser without a kernel, the grid that comes with it."""

import base64
import io
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import traitlets
from PIL import Image
from test_widgets import luminance, picture

from zecon_lite import RECIPES, load_models, metrics, weights
from zecon_lite.benchmark import Benchmark, of_recipe
from zecon_lite.evaluate import MEASURES
from zecon_lite.widgets import WeightExplorer
from zecon_lite.widgets.weights import _GRIDS, STORED

JS = Path(__file__).parent / "js"
AXES = {"start": [9, 21], "weight": [0, 0.02, 0.1], "style": ["oil", "neon"]}
SCRIPT = "weight_grid"
AGAIN = "the grid is of other networks or settings: run python book/scripts/weight_grid.py again"


def grid(seed=0, shape=(2, 3, 2), side=16):
    return picture(seed, batch=int(np.prod(shape)), side=side).unflatten(0, shape)


def scores(shape=(2, 3, 2)):
    """Style grows with the start and falls with the weight; structure the other way round."""
    start, weight, *_ = torch.meshgrid(*(torch.arange(float(n)) for n in shape), indexing="ij")
    return {"style": 0.3 + 0.25 * start - 0.1 * weight, "SSIM": 0.4 - 0.1 * start + 0.15 * weight}


def explorer(**changes):
    return WeightExplorer.from_grid(**{
        "source": picture(9, side=16), "pictures": grid(), "axes": AXES, "scores": scores(), **changes
    })


def cells(widget):
    """The sheet's pictures, (N, 3, H, W) in [-1, 1]."""
    sheet = torch.from_numpy(np.array(Image.open(io.BytesIO(widget.sheet)))).permute(2, 0, 1) / 127.5 - 1
    height, width = widget.cell
    rows = sheet.unfold(1, height, height).unfold(2, width, width)
    return rows.permute(1, 2, 0, 3, 4).flatten(0, 1)


# ---------------------------------------------------------------- what Python packs


def test_the_arithmetic_in_javascript_passes_its_own_tests(node):
    command = [node, "--test", str(JS / "weights.test.mjs")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_picture_survives_in_its_place_of_the_sheet():
    pictures, sources = 1.2 * grid(side=16), picture(9, batch=2, side=16)
    found = cells(explorer(source=sources, pictures=pictures))
    wanted = torch.cat([sources, pictures.flatten(0, 2).clamp(-1, 1)])
    assert (found[: len(wanted)] - wanted).abs().max() <= 2.5 / 127.5 + 1e-6


def test_numbers_are_an_order_and_words_are_not():
    found = explorer().axes
    assert [(axis["name"], axis["ordered"]) for axis in found] == [("start", True), ("weight", True), ("style", False)]
    assert found[1]["values"] == ["0", "0.02", "0.1"] and found[2]["values"] == ["oil", "neon"]


def test_scores_are_stored_as_json_can_hold_them():
    unknown = scores()
    unknown["SSIM"][1, 2, 0] = torch.nan
    style, ssim = explorer(scores=unknown).scores
    assert style["name"] == "style" and style["values"][:3] == [0.3, 0.3, 0.2]
    assert ssim["values"][10] is None and None not in style["values"]


def test_what_is_shown_first_may_be_chosen():
    assert (explorer().selected, explorer().plane) == ([1, 1, 1], [1, 0])
    chosen = explorer(selected=[0, 2, 0], plane=("style", "SSIM"))
    assert (chosen.selected, chosen.plane) == ([0, 2, 0], [0, 1])


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axes": {}}, r"axes must name at least one setting"),
        ({"axes": {**AXES, "style": []}}, r"axes must name at least one setting, each with its values"),
        ({"source": picture(0, batch=3, side=16)}, r"source must hold 1 or 2 pictures.*got \(3, 3, 16, 16\)"),
        ({"pictures": grid(side=8)}, r"pictures must be \(2, 3, 2, 3, 16, 16\).*got \(2, 3, 2, 3, 8, 8\)"),
        ({"pictures": grid(shape=(3, 2, 2))}, r"for each combination of \['start', 'weight', 'style'\]"),
        ({"scores": {"style": scores()["style"]}}, r"needs two scores.*got \['style'\]"),
        ({"scores": {**scores(), "SSIM": torch.zeros(2, 3)}}, r"'SSIM' must be \(2, 3, 2\) and finite; got \(2, 3\)"),
        ({"scores": {**scores(), "SSIM": torch.zeros(2, 3, 2) + torch.inf}}, r"must be \(2, 3, 2\) and finite"),
        ({"plane": ("SSIN", "style")}, r"no score 'SSIN' to draw; did you mean 'SSIM'"),
    ],
)
def test_grids_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        explorer(**changes)


def test_a_place_or_score_that_is_not_there_is_refused():
    widget = explorer()
    widget.selected, widget.plane = [1, 2, 0], [0, 0]
    for wrong in ([0, 3, 0], [0, 0], [-1, 0, 0]):
        with pytest.raises(traitlets.TraitError, match=r"a position for each axis, below \[2, 3, 2\]; got "):
            widget.selected = wrong
    with pytest.raises(traitlets.TraitError, match="plane must hold scores, 0 to 1; got"):
        widget.plane = [0, 2]


def test_a_grid_that_does_not_come_with_the_package_is_refused():
    with pytest.raises(FileNotFoundError, match="no grid 'zekon'; there are: zecon"):
        WeightExplorer.bundled("zekon")


# ---------------------------------------------------------------- the page


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_colours_meet_wcag_aa(mode):
    pairs = re.findall(r"--zlw-(\w+): light-dark\((#\w+), (#\w+)\)", explorer()._css)
    colours = {name: pair[mode] for name, *pair in pairs}
    for name, least in {"text": 4.5, "soft": 4.5, "second": 4.5, "line": 3, "accent": 3}.items():
        high, low = sorted([luminance(colours[name]), luminance(colours["back"])], reverse=True)
        assert (high + 0.05) / (low + 0.05) >= least, name


def shown(page):
    """What the figure says and shows: the place, the text, the result in [-1, 1]."""
    readout = page.get_by_test_id("readout")
    png = page.get_by_test_id("result").evaluate("canvas => canvas.toDataURL().split(',')[1]")
    result = np.array(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"))
    return readout.get_attribute("data-at"), readout.inner_text(), torch.from_numpy(result).permute(2, 0, 1) / 127.5 - 1


def test_sliders_lists_keys_and_clicks_show_the_result_and_its_scores(figure):
    widget = explorer()
    page, pictures = figure(widget), grid()

    def at(start, weight, style):
        place, text, result = shown(page)
        assert place == f"{start},{weight},{style}"
        names = [f"{name} {values[k]}" for (name, values), k in zip(AXES.items(), (start, weight, style), strict=True)]
        numbers = [f"{name} {values[start, weight, style]:.2f}" for name, values in scores().items()]
        assert text == f"{', '.join(names)}: {'; '.join(numbers)}"
        assert (result - pictures[start, weight, style].clamp(-1, 1)).abs().max() <= 2.5 / 127.5 + 1e-6
        assert page.evaluate("model.get('selected')") == [start, weight, style]

    at(1, 1, 1)
    start, weight, style = page.get_by_test_id("setting").all()
    start.focus()
    page.keyboard.press("ArrowLeft")
    at(0, 1, 1)
    weight.fill("2")
    at(0, 2, 1)
    style.select_option("0")
    at(0, 2, 0)
    chart = page.get_by_test_id("chart")
    chart.focus()
    for key, place in [
        ("ArrowRight", (1, 2, 0)), ("ArrowUp", (1, 2, 0)), ("ArrowDown", (1, 1, 0)), ("PageUp", (1, 1, 1)),
        ("ArrowLeft", (0, 1, 1)), ("PageDown", (0, 1, 0)), ("ArrowDown", (0, 0, 0)), ("ArrowDown", (0, 0, 0)),
    ]:
        page.keyboard.press(key)
        at(*place)
    assert start.input_value() == "0" and weight.get_attribute("aria-valuetext") == "0"
    for n, place in ((5, (1, 2, 0)), (1, (0, 1, 0))):                          # in the order in which they are drawn
        box = page.locator(".zlw-point").nth(n).bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2 + 3, box["y"] + box["height"] / 2 - 3)
        at(*place)
    assert page.evaluate("saved") > 0 and page.faults == []


def test_the_chart_puts_more_structure_right_and_more_style_up(figure):
    page = figure(explorer())
    points = page.locator(".zlw-point").evaluate_all("all => all.map((c) => [c.cx, c.cy].map((v) => v.baseVal.value))")
    x, y = torch.tensor(points).T
    style, ssim = (values[..., 1].flatten() for values in scores().values())
    assert torch.equal(x.argsort(stable=True), ssim.argsort(stable=True))
    assert torch.equal(y.argsort(descending=True, stable=True), style.argsort(stable=True))
    assert page.locator(".zlw-line").count() == 5                              # 3 along the start, 2 along the weight
    page.evaluate("model.set('plane', [0, 1])")
    assert page.get_by_role("application", name=re.compile("SSIM against style; chosen: start 21")).count() == 1


def test_a_result_without_a_score_is_shown_but_not_drawn(figure):
    unknown = scores()
    unknown["SSIM"][1, 1, 1] = torch.nan
    page = figure(explorer(scores=unknown))
    assert page.get_by_test_id("readout").inner_text().endswith("SSIM unknown")
    assert page.locator(".zlw-point").count() == 5 and page.locator(".zlw-chosen").count() == 0
    page.get_by_test_id("chart").press("ArrowLeft")
    assert page.locator(".zlw-chosen").count() == 1 and page.faults == []


def test_one_axis_is_enough_and_each_last_value_may_have_a_source(figure):
    widget = WeightExplorer.from_grid(
        picture(9, batch=3, side=16), grid(shape=(3,)), {"start": [2, 6, 10]},
        {"a": torch.tensor([0.1, 0.2, 0.3]), "b": torch.tensor([0.3, 0.1, 0.2])}, selected=[0],
    )
    page = figure(widget)
    source = page.get_by_test_id("source")
    before = source.evaluate("c => c.toDataURL()")
    page.get_by_test_id("chart").press("ArrowRight")
    assert shown(page)[0] == "1" and source.evaluate("c => c.toDataURL()") != before
    page.keyboard.press("ArrowUp")                                             # there is no second axis
    assert shown(page)[0] == "1" and page.faults == []


def test_the_figure_follows_its_traits_and_lets_go_of_them(figure):
    page = figure(explorer())
    page.evaluate("model.set('selected', [0, 0, 0])")
    assert shown(page)[0] == "0,0,0" and page.get_by_test_id("setting").first.input_value() == "0"
    page.evaluate("close_figure()")
    assert page.evaluate("listening()") == 0 and page.faults == []


def test_everything_has_a_name_and_changes_are_told(figure):
    page = figure(explorer())
    page.get_by_role("slider", name="start").wait_for()
    page.get_by_role("slider", name="weight").wait_for()
    page.get_by_role("combobox", name="style").wait_for()
    page.get_by_role("img", name="Source picture").wait_for()
    page.get_by_role("img", name="Result at start 21, weight 0.02, style neon").wait_for()
    readout = page.get_by_test_id("readout")
    assert readout.get_attribute("aria-live") is None    # nobody asked yet
    for _ in range(4):
        page.keyboard.press("Tab")
    assert readout.get_attribute("aria-live") == "polite"
    outline = "chart => document.activeElement === chart && getComputedStyle(chart).outlineWidth"
    assert page.get_by_test_id("chart").evaluate(outline) == "3px"


def test_a_phone_shows_the_chart_below_the_pictures(figure):
    page = figure(explorer(), viewport={"width": 360, "height": 700})
    source, result, chart = (page.get_by_test_id(name).bounding_box() for name in ("source", "result", "chart"))
    assert result["y"] == source["y"] and chart["y"] > source["y"] + source["height"] and chart["width"] > 280
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


# ---------------------------------------------------------------- the grid that comes with the package


@pytest.fixture(scope="module")
def stored():
    return json.loads((_GRIDS / "zecon.json").read_text(encoding="utf-8"))


def test_the_grid_is_of_the_networks_and_the_recipe_in_this_package(script, stored):
    for name, sha256 in stored["weights"].items():
        assert weights.sha256(weights.BUNDLED / f"{name}.safetensors")[:12] == sha256, f"{name}: {AGAIN}"
    models = load_models("tiny", "cpu")
    assert stored["settings"] == script.made_of(of_recipe("zecon", models)), AGAIN
    skips, factors = script.settings(recipe := RECIPES["zecon"].fitted_to(models))
    widget = WeightExplorer.bundled()
    assert [axis["values"] for axis in widget.axes] == [
        [f"{recipe.steps - skip - 1:g}" for skip in skips], [f"{weight:g}" for weight in factors], list(script.STYLES)
    ]
    first = [axis["values"][k] for axis, k in zip(widget.axes, widget.selected, strict=True)]
    assert first[:2] == [str(recipe.positions[0]), f"{recipe.weights['zecon']:g}"], "the recipe's own settings first"


def test_the_grid_is_whole_small_and_says_what_it_is(script, stored):
    assert set(stored["traits"]) == set(STORED)
    widget = WeightExplorer.bundled()
    count = np.prod([len(axis["values"]) for axis in widget.axes])
    assert [score["name"] for score in widget.scores] == [MEASURES[name] for name in script.SHOWN]
    assert all(len(score["values"]) == count and None not in score["values"] for score in widget.scores)
    assert len(cells(widget)) >= count + widget.sources
    assert len(widget.sheet) < 600_000
    assert "bundled tiny networks" in widget.caption and "held-out scene" in widget.caption


def test_the_grid_shows_the_untouched_source_and_scores_that_belong_to_its_pictures():
    widget = WeightExplorer.bundled()
    pictures, asked = cells(widget), Benchmark(1, ("pencil",), 1, widget.cell[0]).pictures
    assert (pictures[0] - asked.source[0]).abs().max() <= 2.5 / 127.5 + 1e-6
    results = pictures[1 : 1 + len(widget.scores[2]["values"])]
    again = metrics.ssim(results, asked.source.expand_as(results))
    torch.testing.assert_close(again, torch.tensor(widget.scores[2]["values"]), atol=0.03, rtol=0)
