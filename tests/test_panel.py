"""The panel without a browser: what it is set to, the same as code, and runs that end, stop, fail and begin again."""

import io
import re
import threading
import warnings
import weakref
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace

import ipywidgets
import pytest
import torch
from PIL import Image
from test_cli import run as command_line

from zecon_lite import images, load_models
from zecon_lite.recipes import RECIPES
from zecon_lite.state import Step
from zecon_lite.ways import Early
from zecon_lite.widgets import job, markup, settings
from zecon_lite.widgets.panel import Panel, scale, starts

PATIENCE = 120    # seconds that a thread may take on a busy machine


def picture(seed, height=64, width=64):
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(seed)).tanh()


def file_of(array, name="holiday.png"):
    """What a browser sends when a file is chosen."""
    content = array
    if not isinstance(array, bytes):
        buffer = io.BytesIO()
        images.to_pil(array).save(buffer, "PNG")
        content = buffer.getvalue()
    kept = {"name": name, "type": "image/png", "size": len(content), "last_modified": datetime(2026, 1, 1)}
    return {**kept, "content": memoryview(content)}


def upload(chooser, file):
    """What choosing a file sends to the kernel: to ipywidgets 8 a list, to 7 a dictionary."""
    if int(ipywidgets.__version__.split(".")[0]) >= 8:
        chooser.upload.value = (file,)
    else:
        kept = {key: value for key, value in file.items() if key != "content"}
        chooser.upload.set_trait("value", {file["name"]: {"metadata": kept, "content": bytes(file["content"])}})


def finished(panel):
    """The panel after its run."""
    panel.run()
    panel.wait(PATIENCE)
    assert not panel.run_button.disabled and panel.stop_button.disabled
    return panel


def said(panel):
    """The status line as it is read, without markup."""
    return re.sub(r"<[^>]+>", " ", panel.status.value)


@pytest.fixture
def made_up(monkeypatch):
    """In place of the networks, a run whose estimates are pictures of noise; `positions` are those it visits."""
    fake = SimpleNamespace(positions=[3, 2, 1, 0], before=lambda i: None)

    def stylize(source, prompt, *, on_step, **asked):
        for i in fake.positions:
            fake.before(i)
            on_step(Step(i, 10 * i, picture(i), picture(i)))
        return SimpleNamespace(image=picture(100))

    monkeypatch.setattr(settings, "stylize", stylize)
    return fake


# ----------------------------------------------------------------------------------------------------- the same as code


def quick(panel):
    """Two guided steps, which is what a test has time for, and every kind of number changed."""
    panel.dials.steps.value, panel.dials.t0.value = 3, 1
    panel.dials.strength.value, panel.seed.value = 0.9, 7
    name = "zecon" if "zecon" in panel.dials.weights else "key_contrast"
    slider = panel.dials.weights[name]
    slider.index += 2
    return panel


@pytest.mark.parametrize("recipe", ["zecon", "gram_clip", "diffuseit_image"])
def test_the_code_makes_the_picture_that_the_panel_made(models, recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    panel = finished(quick(Panel(models, recipe=recipe)))
    assert panel.error is None, panel.error
    namespace = {}
    exec(panel.settings.python(), namespace)
    assert torch.equal(namespace["result"].image, panel.image)
    told = images.read_metadata(tmp_path / settings.SAVED)
    assert {"recipe": recipe, "steps": "3", "skip": "1", "strength": "0.9", "seed": "7"}.items() <= told.items()
    assert (told["prompt"] == "a pencil sketch") == (recipe == "zecon")


def test_the_command_makes_it_too(models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    panel = quick(Panel(models, prompt="a child's crayon drawing"))
    first, last = panel.settings.command().splitlines()
    exec(re.fullmatch(r"python -c '(.*)'", first)[1])
    words = settings.shlex.split(last)
    assert words[:2] == ["zecon-lite", "stylize"] and command_line(*words[1:]).exit_code == 0
    made = images.load(tmp_path / settings.SAVED)
    assert torch.equal(images.to_uint8(made), images.to_uint8(finished(panel).image))


def test_code_says_only_what_was_changed(models):
    panel = Panel(models)
    assert panel.settings.python().splitlines()[-8:] == [
        "result = stylize(", "    source,", '    "a pencil sketch",', '    recipe="zecon",', "    models=models,",
        "    seed=0,", ")", 'result.save("restyled.png")',
    ]
    weights = panel.dials.weights
    weights["zecon"].value = 0
    assert 'weights={"zecon": 0}' in panel.settings.python() and "--weight zecon=0 " in panel.settings.command()
    panel.dials.t0.value += 1
    skip = RECIPES["zecon"].fitted_to(models).skip + 1
    assert f"    steps=25,\n    skip={skip},\n" in panel.settings.python() and "strength" not in panel.settings.python()
    panel.source_prompt.value = "a cat"
    assert 'source_prompt="a cat"' in panel.settings.python() and "--source-prompt 'a cat'" in panel.settings.command()


def test_what_came_from_python_keeps_its_name_and_has_no_command(models):
    own = replace(RECIPES["gram_clip"], name="mine")
    panel = Panel(models, source=picture(0), recipe=own, style=picture(1))
    code = panel.settings.python()
    assert code.startswith("# source and style and mine: as given to the panel\nfrom zecon_lite import load_models, ")
    assert "    style=style,\n    recipe=mine,\n" in code
    assert panel.settings.command() == "# source and style and mine came from Python: take the Python code"
    assert panel.settings.source.fitted(models) is panel.settings.source.image
    others = load_models("tiny", "cpu", dtype=torch.bfloat16)
    assert "# models: as given to the panel" in Panel(others).settings.python()


def test_an_uploaded_file_is_called_as_the_reader_knows_it(models):
    panel = Panel(models)
    upload(panel.source, file_of(picture(0, 40, 60)))
    assert panel.source.choice.value == "holiday.png" and not panel.source.upload.value
    assert 'images.fit(images.load("holiday.png")' in panel.settings.python()
    assert panel.settings.command().startswith("zecon-lite stylize holiday.png 'a pencil sketch'")
    assert panel.settings.source.fitted(models).shape == (1, 3, 64, 96)
    shown = panel.before.value
    upload(panel.source, file_of(picture(1, 40, 60)))
    assert panel.source.choice.value == "holiday.png" and panel.before.value != shown, "the same name, another picture"


# ------------------------------------------------------------------------------------------------------------ the dials


@pytest.mark.parametrize("weight", [0.02, 5.0, 1e7, 37.3124, 0])
def test_a_weight_slides_to_zero_and_over_decades_through_the_recipes_own(weight):
    values = scale(weight)
    assert values == sorted(values) and values[0] == 0 and weight in values
    assert values[1] == pytest.approx((weight or 100) / 100, rel=0.05)
    assert values[-1] == pytest.approx((weight or 100) * 100, rel=0.05)


def test_a_start_is_named_by_its_time_and_leads_to_it(models):
    recipe = RECIPES["zecon"].fitted_to(models)
    for time, skip in starts(models, 25):
        at = recipe.changed(steps=25, skip=skip).positions[0]
        assert int(time) == models.denoiser.respace(25).schedule.timesteps[at]
    assert [skip for _, skip in starts(models, 25)] == list(range(24, -1, -1))    # from nearly clean to noise


def test_other_steps_begin_at_the_same_share(models):
    dials = Panel(models).dials
    dials.t0.value, dials.steps.value = 10, 50
    assert dials.t0.value == 20 and len(dials.t0.options) == 50
    for skip, steps, wanted in ((2, 26, 2), (13, 50, 26), (0, 50, 0)):    # the same number; one that was not there
        dials.steps.value, dials.t0.value = 25, skip
        dials.steps.value = steps
        assert dials.t0.value == wanted and len(dials.t0.options) == steps
    dials.steps.value = 1
    assert dials.t0.value == 0 and len(dials.t0.options) == 1


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_a_dial_for_each_number_and_fields_for_what_it_reads(models, name):
    panel, recipe = Panel(models, recipe=name), RECIPES[name].fitted_to(models)
    assert {n: dial.value for n, dial in panel.dials.weights.items()} == recipe.weights
    assert (panel.dials.strength in panel.dials.children) == (recipe.strength is not None)
    shown = {field for field in ("prompt", "source_prompt", "style") if getattr(panel, field).layout.display != "none"}
    assert shown == recipe.reads
    chosen = panel.settings.chosen
    assert (chosen.weights, chosen.steps, chosen.skip, chosen.strength) == (
        recipe.weights, recipe.steps, recipe.skip, recipe.strength
    )


def test_another_recipe_brings_other_dials(models):
    panel = Panel(models)
    panel.recipe.value = "sdedit"
    assert panel.dials.weights == {} and panel.settings.prompt is None and panel.settings.strength is None
    panel.recipe.value = "gram_clip"
    assert "gram" in panel.dials.weights and panel.settings.style.file == "coffee.png"
    assert panel.prompt.layout.display == "none" and panel.recipe.layout.display is None


def test_a_weight_that_depends_on_the_step_has_no_dial_and_stays(models):
    recipe = replace(RECIPES["clip_guided"], weights={"mse": 1.0, "zecon": Early(2.0)}, small={})
    panel = Panel(models, recipe=recipe)
    assert list(panel.dials.weights) == ["mse"]
    assert panel.settings.chosen.weights["zecon"] == Early(2.0)


def test_colab_needs_no_other_widget_manager(models):
    def below(widget):
        yield widget
        for child in getattr(widget, "children", ()):
            yield from below(child)

    modules = {widget._model_module for widget in below(Panel(models))}
    assert modules <= {"@jupyter-widgets/controls", "@jupyter-widgets/base"}


# ---------------------------------------------------------------------------------------------------------------- a run


def test_a_run_shows_each_estimate_and_then_the_result(models, made_up):
    panel, seen = Panel(models, source=picture(5)), []
    panel.after.observe(lambda change: seen.append(change.new), "value")
    panel.dials.steps.value, panel.dials.t0.value = 4, 0
    finished(panel)
    assert [re.search(r"figcaption[^>]*>([^<]*)", html)[1] for html in seen if html] == [
        *(f"The estimate after step {k + 1} of 4, at t = {30 - 10 * k}" for k in range(4)), "The result, seed 0",
    ]
    assert markup.picture_box(picture(2), "The restyled picture: a pencil sketch", "").split(" width")[0] in seen[-4]
    assert torch.equal(panel.image, picture(100)) and panel.result.image is not None and panel.error is None
    assert panel.progress.value == panel.progress.max == 4 and "Done: 4 steps" in said(panel)


def test_stop_keeps_the_last_estimate_and_run_begins_from_the_start(models, made_up):
    panel = Panel(models, source=picture(5))
    panel.dials.steps.value, panel.dials.t0.value = 4, 0
    made_up.before = lambda i: panel.stop() if i == 1 else None    # while the third step is at work
    finished(panel)
    assert isinstance(panel.error, job.Stopped) and panel.result is None
    assert torch.equal(panel.image, picture(2)) and panel.after.value
    assert "Stopped after step 2 of 4; its estimate stays" in said(panel) and panel.progress.value == 2
    made_up.before = lambda i: None
    finished(panel)
    assert panel.error is None and torch.equal(panel.image, picture(100))


def test_stop_is_heard_while_a_step_is_at_work_and_a_second_run_is_not_begun(models, made_up):
    panel, at_work, go_on = Panel(models, source=picture(5)), threading.Event(), threading.Event()
    made_up.before = lambda i: (at_work.set(), go_on.wait(PATIENCE))
    panel.run()
    assert at_work.wait(PATIENCE)                       # the thread that runs this test stayed free
    first = panel._job
    panel.run()
    panel.stop_button.click()
    assert panel._job is first and panel.run_button.disabled and "Stopping" in said(panel)
    go_on.set()
    panel.wait(PATIENCE)
    assert isinstance(panel.error, job.Stopped) and panel.image is None


def test_stop_is_heard_on_the_way_towards_noise_and_by_no_other_thread(models, monkeypatch):
    panel, passes, unet = Panel(models, source=picture(5)), [], models.denoiser.unet
    monkeypatch.setattr(type(unet), "forward", lambda unet, x, t: (passes.append(t), panel.stop(), x)[2])
    finished(panel)
    assert isinstance(panel.error, job.Stopped) and len(passes) == 1 and panel.image is None
    assert "Stopped before the first step. Run begins from the start." in said(panel)
    work = job.Job(panel.settings, lambda *_: None, lambda *_: None)
    work.stop()
    with work._heeding():
        unet(picture(0), torch.zeros(1))
    assert len(passes) == 2 and not unet._forward_pre_hooks


def test_what_goes_wrong_in_telling_the_end_leaves_run_ready(models, made_up, monkeypatch):
    panel = Panel(models, source=picture(5))
    made_up.before = lambda i: monkeypatch.setattr(panel, "_draw", None) if i == 0 else None
    monkeypatch.setattr(panel, "_show_step", lambda job, step: None)
    finished(panel)
    assert "Error: TypeError" in re.sub(" +", " ", said(panel)) and panel.result is not None


@pytest.mark.parametrize(("error", "message"), [
    (ValueError("the prompt is <empty>: say what"), "the prompt is &lt;empty&gt;: say what"),
    (MemoryError("take a smaller picture"), "take a smaller picture"),
    (KeyError("a slip"), "KeyError: &#x27;a slip&#x27;"),
])
def test_an_error_is_shown_as_its_message_and_the_panel_goes_on(models, made_up, error, message, capfd):
    held = []

    def fail(i):
        graph = picture(6)
        held.append(weakref.ref(graph))
        raise error

    panel, made_up.before = Panel(models, source=picture(5)), fail
    finished(panel)
    assert held[0]() is None                               # the error is kept, and of the run nothing else
    assert panel.error is error and panel.status.value.count('role="alert"') == 1
    assert f"<b>Error:</b> {message}</p>" in panel.status.value
    assert "Traceback" not in panel.status.value + capfd.readouterr().err
    made_up.before = lambda i: None
    assert finished(panel).error is None


def test_real_mistakes_are_said_in_the_packages_words(models):
    panel = Panel(models, prompt=" ")
    finished(panel)
    assert "the prompt is empty: say what the picture should look like" in said(panel)
    upload(panel.source, file_of(b"no picture", "notes.png"))
    assert "Error: notes.png is not a picture that can be read" in re.sub(" +", " ", said(panel))
    assert panel.source.choice.value == "cat"
    upload(panel.source, file_of(picture(0, 16, 80), "long.png"))
    assert "longer than 4:1: cut it first" in said(panel)
    finished(panel)
    assert "longer than 4:1: cut it first" in said(panel)


def test_a_picture_or_recipe_that_cannot_be_is_refused_at_once(models):
    with pytest.raises(ValueError, match=r"no recipe 'zekon'; did you mean 'zecon'"):
        Panel(models, recipe="zekon")
    with pytest.raises(ValueError, match=r"source must be \(B, 3, H, W\).*image\[None\]"):
        Panel(models, source=picture(0)[0])
    with pytest.raises(ValueError, match=r"works on one source, .*; got \(3, 3, 64, 64\): take source\[:1\]"):
        Panel(models, source=picture(0).repeat(3, 1, 1, 1))
    with pytest.raises(ValueError, match=r"style must be"):
        Panel(models, style=255 * picture(0).abs())


def test_a_warning_becomes_a_note_and_other_threads_keep_theirs(models, made_up, recwarn):
    def warn(i):
        if i == 3:
            warnings.warn("it is read as an unknown word", UserWarning, stacklevel=1)
            other = threading.Thread(target=warnings.warn, args=("of another thread", UserWarning))
            other.start()
            other.join()

    panel, made_up.before = Panel(models, source=picture(5)), warn
    finished(panel)
    assert "Done" in said(panel) and "Note: it is read as an unknown word" in re.sub(" +", " ", said(panel))
    assert [str(w.message) for w in recwarn] == ["of another thread"]


def test_the_time_left_is_the_mean_of_the_steps_so_far(models, monkeypatch):
    clock = iter([10.0, 12.0, 16.0, 16.5])
    monkeypatch.setattr(job, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    work = job.Job(Panel(models, source=picture(5)).settings, lambda *_: None, lambda *_: None)
    assert work.total == len(RECIPES["zecon"].fitted_to(models).positions)
    told = []
    for i in (22, 21, 20):
        work._step(Step(i, 0, None, None))
        told.append(work.seconds_left)
    assert told == [None, (work.total - 2) * 2.0, (work.total - 3) * 3.0]
    work._step(Step(22, 0, None, None))                 # a recipe that began again
    assert work.done == 1


def test_a_run_that_goes_back_up_is_counted_on(models):
    recipe = replace(RECIPES["zecon"].fitted_to(models), steps=8, skip=1, returns=2)
    work = job.Job(Panel(models, source=picture(5), recipe=recipe).settings, lambda *_: None, lambda *_: None)
    for n, i in enumerate(recipe.positions, start=1):
        work._step(Step(i, 0, None, None))
        assert work.done == n
    assert work.done == work.total


def test_the_code_says_when_it_is_no_longer_that_of_the_picture(models, made_up):
    panel = finished(Panel(models, source=picture(5)))
    assert "have changed since" not in panel.code.value
    panel.seed.value = 4
    assert "have changed since" in panel.code.value
    panel.seed.value = 0
    assert "have changed since" not in panel.code.value


def test_the_code_is_shown_on_request_and_can_hold_anything(models):
    panel = Panel(models, prompt='</textarea> "&')
    assert panel.code.layout.display == "none"
    panel.code_button.value = True
    assert panel.code.layout.display is None
    assert panel.code.value.count("</textarea>") == 2 and "&lt;/textarea&gt; \\&quot;&amp;" in panel.code.value
    assert Image.open(io.BytesIO(settings_png(panel))).size == (96, 64)


def settings_png(panel):
    """The bytes of the source that the panel shows."""
    return markup.base64.b64decode(re.search(r"base64,([^\"]+)", panel.before.value)[1])


def test_the_panel_shows_itself(models):
    assert isinstance(Panel(models), ipywidgets.DOMWidget)
    assert "application/vnd.jupyter.widget-view+json" in Panel(models)._repr_mimebundle_()
