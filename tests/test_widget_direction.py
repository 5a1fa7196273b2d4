"""The direction explorer: what Python packs, what JavaScript computes, the figure in a browser without a kernel."""

import io
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import traitlets
from PIL import Image
from test_widgets import picture, random

from zecon_lite.losses import clip_direction, clip_distance
from zecon_lite.widgets import DirectionExplorer

JS = Path(__file__).parent / "js"
PROMPTS = ["pencil sketch", "mosaic", "neon lights"]
NAMES = ["early", "late", "truth"]


class FakeClip:
    """Embeddings that are easy to follow: of a picture its mean colours, of a text what is given for it."""

    size = 8

    def __init__(self, **texts):
        self.texts = {name: torch.tensor(vector) for name, vector in texts.items()}

    def image(self, images):
        return 3 * F.adaptive_avg_pool2d(images, (1, 2)).flatten(1)

    def text(self, texts):
        return torch.stack([self.texts[text] for text in texts])


def embeddings(width=8):
    """Of the source prompt and three prompts, of the source and three results; none of unit length."""
    source_text, source_image = 2 * random(0, 1, width), 3 * random(1, 1, width)
    text = source_text + torch.tensor([[1.0], [2.0], [0.5]]) * random(2, 3, width)
    image = source_image + torch.tensor([[0.3], [0.8], [1.5]]) * (text[1] - source_text + 0.7 * random(3, 3, width))
    return {"source_image": source_image, "image": image, "text": text, "source_text": source_text}


def explorer(**changes):
    given = {"source": picture(0), "results": picture(1, batch=3), **embeddings(), "prompts": PROMPTS, "names": NAMES}
    return DirectionExplorer.from_embeddings(**{**given, **changes})


def truth(prompt, result, unit):
    """What torch says of a prompt and a result: the cosines with all prompts, the losses, the plane's coordinates."""
    e = embeddings()
    if unit:
        e = {name: F.normalize(rows, dim=-1) for name, rows in e.items()}
    moved, wanted = e["image"] - e["source_image"], e["text"] - e["source_text"]
    right = F.normalize(wanted[prompt], dim=0)
    rest = moved - (moved @ right)[:, None] * right
    up = torch.linalg.svd(rest).Vh[0]
    up = up * (rest @ up).sum().sign()
    inside = (moved @ right).square() + (moved @ up).square()
    return {
        "cosine": F.cosine_similarity(moved[result], wanted[prompt], dim=0).item(),
        "direction": clip_direction(e["image"], e["source_image"], e["text"][prompt], e["source_text"])[result].item(),
        "global": clip_distance(e["image"][result], e["text"][prompt]).item(),
        "rank": 1 + int((F.cosine_similarity(moved[result], wanted) > F.cosine_similarity(
            moved[result], wanted[prompt], dim=0)).sum()),
        "share": (inside[result] / moved[result].square().sum()).item(),
        "right": (moved[result] @ right).item(),
        "up": (moved[result] @ up).item(),
        "all": (inside.sum() / moved.square().sum()).item(),
    }


# ---------------------------------------------------------------- what Python packs


def test_the_arithmetic_in_javascript_passes_its_own_tests(node):
    command = [node, "--test", str(JS / "direction.test.mjs")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_vectors_are_stored_at_unit_length_with_what_undoes_it():
    widget, e = explorer(), embeddings()
    rows = torch.from_numpy(np.frombuffer(widget.rows, "<f4").copy()).view(-1, widget.width)
    wanted = torch.cat([e["source_text"], e["text"], e["source_image"], e["image"]])
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(8))
    torch.testing.assert_close(rows * torch.tensor(widget.lengths)[:, None], wanted)


def test_clip_is_shown_whole_pictures_and_asked_for_each_text_once():
    texts = dict(zip([*PROMPTS, "photo"], torch.eye(6)[[0, 1, 2, 5]].tolist(), strict=True))
    clip, source, results = FakeClip(**texts), picture(0), picture(1, batch=3)
    widget = DirectionExplorer.from_clip(clip, source, results, PROMPTS, names=NAMES, path=["early", "late"])
    rows = np.frombuffer(widget.rows, "<f4").reshape(8, 6)
    assert rows[0].tolist() == [0, 0, 0, 0, 0, 1] and rows[2].tolist() == [0, 1, 0, 0, 0, 0]
    torch.testing.assert_close(torch.tensor(widget.lengths)[4:], clip.image(torch.cat([source, results])).norm(dim=1))
    assert (widget.prompts, widget.source_prompt, widget.names) == (PROMPTS, "photo", NAMES)
    assert (widget.prompt, widget.result, widget.path) == (0, 2, [0, 1])
    sheet = np.array(Image.open(io.BytesIO(widget.sheet)))
    assert sheet.shape == (64, 64, 3)                                          # the source and three results
    shown = torch.from_numpy(sheet[32:, 32:].copy()).permute(2, 0, 1) / 127.5 - 1
    assert (shown - results[2]).abs().max() <= 2.5 / 127.5 + 1e-6


def test_results_without_names_are_numbered():
    assert explorer(names=None).names == ["result 1", "result 2", "result 3"]
    e = embeddings()
    assert explorer(names=None, results=picture(1), image=e["image"][:1]).names == ["result"]


def test_the_bundled_clip_makes_a_small_page(models):
    results, prompts = picture(1, batch=9, side=64), ["pencil sketch", "mosaic", "oil painting", "neon lights"] * 3
    widget = DirectionExplorer.from_clip(models.clip, picture(0, side=64), results, prompts)
    assert len(widget.sheet) + len(widget.rows) < 150_000                      # on noise: nothing compresses


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": picture(0, batch=2)}, r"source must hold 1 pictures.*got \(2, 3, 32, 32\)"),
        ({"results": picture(0, batch=2)}, r"results must be \(3, 3, 32, 32\).*got \(2, 3, 32, 32\)"),
        ({"results": picture(0, batch=3, side=16)}, r"results must be \(3, 3, 32, 32\)"),
        ({"text": random(0, 2, 8)}, r"text must be \(3, 8\) like the others; got \(2, 8\)"),
        ({"source_text": random(0, 1, 7)}, r"source_text must be \(1, 8\) like the others; got \(1, 7\)"),
        ({"image": torch.zeros(3, 8)}, r"an embedding holds NaN or infinity, or is zero"),
        ({"image": random(0, 3, 8) / 0}, r"an embedding holds NaN or infinity, or is zero"),
        ({"text": embeddings()["source_text"].expand(3, 8)}, r"'pencil sketch' means the same as 'photo'"),
        ({"path": ["early", "lat"]}, r"no result 'lat' on the path; did you mean 'late'"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        explorer(**changes)


def test_a_prompt_or_result_that_is_not_there_is_refused():
    widget = explorer()
    widget.prompt, widget.result = 2, 0
    with pytest.raises(traitlets.TraitError, match=r"prompt must be 0 to 2 \(pencil sketch, mosaic, .*; got 3"):
        widget.prompt = 3
    with pytest.raises(traitlets.TraitError, match=r"result must be 0 to 2 .*; got -1"):
        widget.result = -1


def test_fewer_names_leave_a_choice_that_is_there():
    widget = explorer()
    widget.prompt, widget.result = 2, 2
    widget.names = NAMES[:2]
    assert (widget.prompt, widget.result) == (2, 1)
    widget.prompts = []
    assert (widget.prompt, widget.result) == (0, 1)


# ---------------------------------------------------------------- the page


def matches(page, prompt, result, unit=True):
    """Checks every number of the figure against torch."""
    readout, plane = page.get_by_test_id("readout"), page.get_by_test_id("plane")
    said = {k: float(v) for p in (readout, plane) for k, v in p.evaluate("e => ({...e.dataset})").items()
            if k != "testid"}
    wanted = truth(prompt, result, unit)
    assert said == pytest.approx(wanted, abs=2e-4)
    text = readout.inner_text()
    assert text.startswith(f'{NAMES[result]}, from "photo" to "{PROMPTS[prompt]}": cosine of the two changes ')
    assert f"rank {wanted['rank']}." in text
    assert page.evaluate("[model.get('prompt'), model.get('result')]") == [prompt, result]
    return said


def test_lists_keys_and_clicks_show_the_numbers_that_torch_finds(figure):
    page = figure(explorer(path=NAMES))
    matches(page, 0, 2)
    page.get_by_test_id("prompt").select_option("1")
    matches(page, 1, 2)
    page.get_by_test_id("result-name").select_option("0")
    matches(page, 1, 0)
    page.get_by_test_id("chart").focus()
    for key, place in [
        ("ArrowRight", (1, 1)), ("ArrowRight", (1, 2)), ("ArrowRight", (1, 2)), ("ArrowDown", (2, 2)),
        ("ArrowDown", (2, 2)), ("ArrowUp", (1, 2)), ("ArrowLeft", (1, 1)),
    ]:
        page.keyboard.press(key)
        matches(page, *place)
    box = page.locator(".zlw-point").nth(0).bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2 - 3, box["y"] + box["height"] / 2)
    matches(page, 1, 0)
    page.get_by_test_id("unit").uncheck()
    matches(page, 1, 0, unit=False)
    assert page.evaluate("saved") > 0 and page.faults == []


def test_arrows_are_drawn_as_long_and_at_the_angles_that_the_plane_says(figure):
    page = figure(explorer())
    ends = page.locator("line.zlw-chosen, line.zlw-text").evaluate_all(
        "all => all.map((l) => [l.x2.baseVal.value - l.x1.baseVal.value, l.y1.baseVal.value - l.y2.baseVal.value])"
    )
    (text_x, text_y), (x, y) = ends                                            # in the order in which they are drawn
    e = {name: F.normalize(rows, dim=-1) for name, rows in embeddings().items()}
    scale = text_x / (e["text"][0] - e["source_text"][0]).norm().item()
    wanted = truth(0, 2, True)
    assert (text_y, x, y) == pytest.approx((0, scale * wanted["right"], scale * wanted["up"]), abs=0.05)
    assert page.locator("line.zlw-other").count() == 2 and page.locator("line.zlw-change").count() == 2


def test_pictures_follow_the_chosen_result(figure):
    page = figure(explorer())
    result = page.get_by_test_id("result")
    seen = []
    for k in range(3):
        page.get_by_test_id("result-name").select_option(str(k))
        seen.append(result.evaluate("c => c.toDataURL()"))
        page.get_by_role("img", name=f"Result: {NAMES[k]}").wait_for()
    assert len({*seen, page.get_by_test_id("source").evaluate("c => c.toDataURL()")}) == 4


def test_a_result_that_is_the_source_has_no_direction(figure):
    e = embeddings()
    page = figure(explorer(image=torch.cat([e["image"][:2], e["source_image"]])))
    assert "cosine of the two changes 0.00, directional loss 1.00" in page.get_by_test_id("readout").inner_text()
    assert "0 % of this change" in page.get_by_test_id("plane").inner_text() and page.faults == []


def test_the_figure_follows_its_traits_and_lets_go_of_them(figure):
    page = figure(explorer())
    page.evaluate("model.set('prompt', 2); model.set('result', 0); model.set('unit', false)")
    matches(page, 2, 0, unit=False)
    assert page.get_by_test_id("prompt").input_value() == "2" and not page.get_by_test_id("unit").is_checked()
    page.evaluate("close_figure()")
    assert page.evaluate("listening()") == 0 and page.faults == []


def test_everything_has_a_name_and_changes_are_told(figure):
    page = figure(explorer())
    for role, name in (("combobox", "Prompt"), ("combobox", "Result"), ("checkbox", "embeddings of length 1")):
        page.get_by_role(role, name=name).wait_for()
    page.get_by_role("application", name=re.compile("prompt pencil sketch, result truth. Arrow keys")).wait_for()
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
