"""The step scrubber: what Python packs, what JavaScript computes, the figure in a browser without a kernel."""

import base64
import io
import json
import math
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import traitlets
from PIL import Image
from toys import GaussianDenoiser

from zecon_lite.guidance import Guidance
from zecon_lite.samplers import sample
from zecon_lite.schedule import Schedule
from zecon_lite.state import Step
from zecon_lite.widgets import StepScrubber, scrubber

JS = Path(__file__).parent / "js"
WIDGETS = Path(scrubber.__file__).parent
STORED = 2.5 / 127.5 + 1e-6      # a sheet keeps six bits, and half a grey level is lost by rounding


def random(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def run_of(count, batch=1, side=16):
    """Steps whose losses fall evenly; "early" is there in the first half only. The last has no gradient."""
    steps = []
    for k in range(count):
        x, x0, grad = (random(3 * k + n, batch, 3, side, side) for n in range(3))
        losses = {"zecon": 5.0 - k, **({"early": -0.25} if k < count / 2 else {})}
        steps.append(Step(count - 1 - k, 10 * (count - 1 - k), x, x0.tanh(), x0, losses, grad))
    return [*steps[:-1], replace(steps[-1], grad=None)]


def unguided(step):
    """The same step, had nothing guided it: no losses, no gradient."""
    return replace(step, view=None, losses={}, grad=None)


def cells(widget):
    """The pictures of the sheet, track by track: (tracks, S, 3, H, W) in [-1, 1]."""
    pixels = torch.from_numpy(np.array(Image.open(io.BytesIO(widget.sheet)))).permute(2, 0, 1) / 127.5 - 1
    height, width = widget.cell
    found = pixels.unfold(1, height, height).unfold(2, width, width).flatten(1, 2).transpose(0, 1)
    count = len(widget.tracks) * len(widget.steps)
    return found[:count].unflatten(0, (len(widget.tracks), len(widget.steps)))


# ---------------------------------------------------------------- what Python packs


def test_every_step_shows_its_own_pictures():
    steps = run_of(5, batch=2)
    found = cells(StepScrubber.from_steps(steps, number=1))
    for k, step in enumerate(steps):
        for track, wanted in enumerate((step.x, step.x0)):
            assert (found[track, k] - wanted[1].clamp(-1, 1)).abs().max() <= STORED


def test_the_gradient_is_grey_and_on_the_scale_of_its_own_step():
    steps = [replace(step, grad=step.grad * 10.0**k) for k, step in enumerate(run_of(4)[:3])]
    widget = StepScrubber.from_steps([*steps, replace(steps[0], grad=None)])
    found = (cells(widget)[2] + 1) / 2
    for k, step in enumerate(steps):
        pull = step.grad[0].square().mean(0).sqrt()
        wanted = (pull / pull.flatten().quantile(0.99)).clamp(max=1)
        assert (found[k] - wanted).abs().max() <= STORED / 2 + 1e-5                # the same in red, green and blue
    assert found[3].max() == 0 and "each step on its own scale" in widget.note
    told = widget.values[-1]
    assert told["name"] == "gradient (RMS)" and told["values"][3] is None
    assert told["values"][2] == pytest.approx(steps[2].grad.square().mean().sqrt().item(), rel=1e-3)


def test_a_gradient_of_zero_is_black():
    steps = [replace(run_of(2)[0], grad=torch.zeros(1, 3, 16, 16))]
    assert cells(StepScrubber.from_steps(steps))[2].max() == -1


def test_a_run_of_the_sampler_is_shown_as_it_was():
    denoiser, x = GaussianDenoiser(Schedule.linear().respace(10)), random(0, 1, 3, 8, 8)
    guidance = Guidance({"far": lambda s: (s.x0 - 0.5).square().sum()}, {"far": 2.0})
    steps = list(sample(denoiser, x, [4, 4, 3, 2], guidance=guidance, source=x))
    widget = StepScrubber.from_steps(steps)
    assert [step["name"] for step in widget.steps] == [f"t = {step.t}" for step in steps]
    assert widget.values[0]["values"] == pytest.approx([step.losses["far"] for step in steps], rel=1e-3)
    free = StepScrubber.from_steps(list(sample(denoiser, x, [4, 3])))
    assert len(free.tracks) == 2 and free.values == [] and free.note == ""


def test_losses_that_come_and_go_leave_gaps():
    widget = StepScrubber.from_steps(run_of(4))
    assert [curve["name"] for curve in widget.values] == ["zecon", "early", "gradient (RMS)"]
    assert widget.values[0]["values"] == [5, 4, 3, 2] and widget.values[1]["values"] == [-0.25, -0.25, None, None]


@pytest.mark.parametrize("keep", [1, 2, 7, 99])
def test_a_long_run_shows_some_steps_and_all_losses(keep):
    widget = StepScrubber.from_steps(run_of(30, side=4), keep=keep)
    at = [step["at"] for step in widget.steps]
    assert len(at) == min(max(keep, 2), 30) and at[0] == 0 and at[-1] == 29 and len(widget.values[0]["values"]) == 30
    gaps = np.diff(at)
    assert gaps.min() >= 1 and gaps.max() - gaps.min() <= 1


def test_large_pictures_are_averaged_down():
    track = random(0, 2, 3, 40, 24).tanh()
    widget = StepScrubber.from_pictures({"a": track}, max_side=16)
    assert widget.cell == [14, 8]
    assert (cells(widget)[0][..., :13, :] - F.avg_pool2d(track, 3)).abs().max() <= STORED


def test_any_pictures_with_numbers_make_a_scrubber():
    widget = StepScrubber.from_pictures(
        {"SDS": random(0, 3, 3, 4, 4), "DDS": random(1, 3, 3, 4, 4)}, {"structure": [1, math.nan, None]}, note="read"
    )
    assert [step["name"] for step in widget.steps] == ["step 0", "step 1", "step 2"] and widget.note == "read"
    assert widget.values == [{"name": "structure", "values": [1, None, None]}]


def test_a_page_with_twenty_five_steps_stays_small():
    widget = StepScrubber.from_steps(run_of(25, side=64))
    assert len(widget.sheet) <= 900_000                                       # noise in every track: nothing compresses


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("steps", "number", "message"),
    [([], 0, "no steps to show: give the steps of a result"), (run_of(2), 1, "number must be .* 0 to 0; got 1")],
)
def test_a_run_that_cannot_be_shown_is_refused(steps, number, message):
    with pytest.raises(ValueError, match=message):
        StepScrubber.from_steps(steps, number=number)


@pytest.mark.parametrize(
    ("pictures", "values", "names", "message"),
    [
        ({}, {}, None, r"title -> \(S, 3, H, W\), all of one shape.*got \{\}"),
        ({"a": random(0, 3, 4, 4)}, {}, None, r"got \{'a': \(3, 4, 4\)\}"),
        ({"a": random(0, 2, 3, 4, 4), "b": random(0, 1, 3, 4, 4)}, {}, None, r"'b': \(1, 3, 4, 4\)"),
        ({"a": random(0, 2, 3, 4, 4)}, {"loss": [1]}, None, "'loss' must have one entry for each of the 2 steps"),
        ({"a": random(0, 2, 3, 4, 4)}, {}, ["one"], "'names' must have one entry for each of the 2 steps; got 1"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(pictures, values, names, message):
    with pytest.raises(ValueError, match=message):
        StepScrubber.from_pictures(pictures, values, names)


def test_a_step_that_is_not_there_is_refused():
    widget = StepScrubber.from_steps(run_of(3))
    widget.step = 2
    with pytest.raises(traitlets.TraitError, match="step must be 0 to 2; got 3"):
        widget.step = 3


# ---------------------------------------------------------------- the page


def test_the_arithmetic_in_javascript_passes_its_own_tests(node):
    done = subprocess.run([node, "--test", str(JS / "scrubber.test.mjs")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_fetched_from_outside():
    text = StepScrubber._esm + StepScrubber._css
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(|fetch\(|^import ", text, re.MULTILINE)


def shown(page):
    """What the figure says of itself: the step, each curve's value, and every picture's pixels."""
    readout = page.get_by_test_id("readout")
    curves = [json.loads(c.get_attribute("data-value")) for c in page.get_by_test_id("curve").all()]
    urls = [c.evaluate("canvas => canvas.toDataURL()") for c in page.get_by_test_id("picture").all()]
    pictures = [Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB") for url in urls]
    return int(readout.get_attribute("data-step")), curves, pictures


def agrees(page, widget, k):
    """Checks all that is shown of step k against the traits."""
    step, curves, pictures = shown(page)
    assert step == k and page.evaluate("model.get('step')") == k
    assert curves == [curve["values"][widget.steps[k]["at"]] for curve in widget.values]
    for found, wanted in zip(pictures, cells(widget)[:, k], strict=True):
        assert np.abs(np.asarray(found) - (wanted.permute(1, 2, 0).numpy() + 1) * 127.5).max() < 0.01
    text = page.get_by_test_id("readout").inner_text()
    assert text.startswith(f"Step {k + 1} of {len(widget.steps)}, {widget.steps[k]['name']}: zecon {5 - k}, early ")


def test_the_slider_the_keys_and_the_curves_lead_to_the_same_pictures_and_numbers(figure):
    widget = StepScrubber.from_steps(run_of(6))
    page = figure(widget)
    agrees(page, widget, 0)
    page.get_by_role("slider", name="Step").focus()
    for key, k in [("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", 5), ("ArrowRight", 5), ("Home", 0)]:
        page.keyboard.press(key)
        agrees(page, widget, k)
    curve = page.get_by_test_id("curve").first
    box = curve.bounding_box()
    curve.click(position={"x": box["width"] / 2 + box["width"] / 12, "y": 5})     # 0.6 of the way: step 3 of 0 to 5
    agrees(page, widget, 3)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 1, box["y"] + 5)
    agrees(page, widget, 5)
    assert page.evaluate("saved") > 0 and page.faults == []


def test_a_run_plays_to_its_end_and_begins_again(figure):
    widget = StepScrubber.from_steps(run_of(4))
    page = figure(widget)
    play, readout = page.get_by_test_id("play"), page.get_by_test_id("readout")
    play.press("Enter")
    page.locator('[data-testid="readout"][data-step="3"]').wait_for()
    page.get_by_role("button", name="Play").wait_for()
    assert readout.get_attribute("aria-live") == "polite"
    # In one breath, since the clock does not wait for the test.
    live = "document.querySelector('[aria-live]').getAttribute('aria-live')"
    begun = play.evaluate(f"button => {{ button.click(); return [button.textContent, model.get('step'), {live}]; }}")
    assert begun == ["Pause", 0, "off"]                                           # a screen reader is spared the rush
    page.get_by_test_id("step").press("ArrowRight")                               # whoever takes over stops it
    assert play.inner_text() == "Play"
    step = page.evaluate("model.get('step')")
    page.wait_for_timeout(600)
    agrees(page, widget, step)
    assert page.faults == []


def test_steps_that_become_fewer_while_it_plays_end_the_run(figure):
    page = figure(StepScrubber.from_steps(run_of(4)))
    page.evaluate("model.set('step', 2)")
    page.get_by_test_id("play").click()
    page.evaluate("model.set('steps', model.get('steps').slice(0, 2))")
    page.get_by_role("button", name="Play").wait_for()
    assert page.get_by_test_id("readout").get_attribute("data-step") == "1" and page.faults == []


def test_the_figure_follows_its_traits_and_lets_go_of_them(figure):
    widget = StepScrubber.from_steps(run_of(4))
    page = figure(widget)
    page.evaluate("model.set('step', 2)")
    agrees(page, widget, 2)
    assert page.get_by_test_id("step").input_value() == "2"
    dots = page.locator(".zlw-at").evaluate_all("dots => dots.map(dot => dot.style.visibility)")
    assert dots == ["visible", "hidden", "visible"]                               # "early" is over
    page.get_by_test_id("play").click()
    page.evaluate("close_figure()")
    assert page.evaluate("listening()") == 0
    page.wait_for_timeout(600)
    assert page.evaluate("model.get('step')") == 2 and page.faults == []          # and its clock has stopped


@pytest.mark.parametrize(("steps", "told"), [(run_of(3), True), (list(map(unguided, run_of(3))), False)])
def test_a_run_without_guidance_is_not_said_to_have_curves(figure, steps, told):
    page = figure(StepScrubber.from_steps(steps))
    page.get_by_test_id("step").press("ArrowRight")
    assert int(page.get_by_test_id("readout").get_attribute("data-step")) == 1
    assert page.get_by_text("or click a curve").is_visible() is told
    assert (page.get_by_test_id("curve").count() > 0) is told and page.faults == []


def test_everything_has_a_name(figure):
    page = figure(StepScrubber.from_steps(run_of(3)))
    page.get_by_role("img", name="Clean estimate, t = 20").wait_for()
    page.get_by_role("img", name="zecon along the run, now 5").wait_for()
    assert page.get_by_role("slider", name="Step").get_attribute("aria-valuetext") == "1 of 3, t = 20"
    assert page.locator("[data-lm-suppress-shortcuts]").count() == 2              # JupyterLab leaves the keys to them


@pytest.mark.parametrize(("said", "dark"), [("dark", True), ("light", False)])
def test_light_and_dark_follow_the_page_before_the_system(figure, said, dark):
    page = figure(StepScrubber.from_steps(run_of(3)), color_scheme="light" if dark else "dark")
    page.evaluate("said => document.documentElement.dataset.theme = said", said)
    back = page.get_by_test_id("step-scrubber").evaluate("element => getComputedStyle(element).backgroundColor")
    assert back == ("rgb(22, 24, 28)" if dark else "rgb(255, 255, 255)")


def test_a_phone_has_room_for_it(figure):
    page = figure(StepScrubber.from_steps(run_of(3)), viewport={"width": 360, "height": 700})
    assert page.get_by_test_id("picture").first.bounding_box()["width"] > 120
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
