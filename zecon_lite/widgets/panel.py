"""A panel that runs a recipe live, for JupyterLab and Colab: choose, run, watch each step, stop, copy as code.

It is made of ipywidgets' own controls alone, so that Colab needs no other widget manager. Unlike the other figures it
lives by Python: in a page without a kernel nothing could run. What it is set to is a `Settings`, what it does is a
`Job`; here is what a reader sees of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
from torch import Tensor

from ..images import PHOTOGRAPHS
from ..profiles import Models, pick
from ..recipes import RECIPES, Recipe
from ..state import Step
from ..stylize import Result
from .job import Job, Stopped
from .markup import code_box, picture_box, sentence
from .settings import Picture, Settings

HELLO = "Choose, then press Run. That works where Python runs: in JupyterLab and Colab, not in a page without a kernel."
MENDABLE = (ValueError, OSError, FloatingPointError, MemoryError)    # errors whose message says what to do
# Layouts as dictionaries: each control makes one of its own, and can be hidden alone.
WIDE = {"layout": {"width": "auto"}, "style": {"description_width": "10.5rem"}}
ROW = {"layout": {"flex_flow": "row wrap", "grid_gap": "0.5rem 1.5rem", "margin": "0.5rem 0"}}
HALF = {"layout": {"flex": "1 1 20rem", "min_width": "0"}}


class Panel(widgets.VBox):
    """Controls around `stylize`; as the last line of a cell it shows itself.

    source: a picture (1, 3, H, W) in [-1, 1] to begin with, and style likewise; without them, bundled photographs.
    recipe: a name, or a recipe of your own. Raises ValueError for a picture or a recipe that cannot be.

    Its controls can be read and set in Python too: `panel.prompt.value`, source_prompt, recipe and seed likewise,
    `panel.source.choice.value` and style likewise, `panel.dials.weights["zecon"].value`, `panel.dials.steps.value`, t0
    (which holds the `skip` that leads there) and strength likewise.
    """

    def __init__(
        self,
        models: Models,
        source: Tensor | None = None,
        recipe: str | Recipe = "zecon",
        prompt: str = "a pencil sketch",
        style: Tensor | None = None,
    ) -> None:
        chosen = pick("recipe", recipe, RECIPES) if isinstance(recipe, str) else recipe
        self.models, self.recipes = models, {**RECIPES, chosen.name: chosen}
        self._job: Job | None = None
        self._image: Tensor | None = None
        self._made = ""    # the picture that is shown, as code
        self.source = _Chooser("Picture", source, "source", "cat", self._say_error)
        self.style = _Chooser("Style picture", style, "style", "coffee", self._say_error)
        self.prompt = widgets.Text(prompt, description="Prompt", continuous_update=False, **WIDE)
        self.source_prompt = widgets.Text("photo", description="The picture is a", continuous_update=False, **WIDE)
        self.recipe = widgets.Dropdown(options=list(self.recipes), value=chosen.name, description="Recipe", **WIDE)
        self.dials = _Dials(models, self._tell)
        self.seed = widgets.IntSlider(0, 0, 99, description="Seed", continuous_update=False, **WIDE)
        self.run_button = widgets.Button(description="Run", icon="play", button_style="primary")
        self.stop_button = widgets.Button(description="Stop", icon="stop", disabled=True)
        self.code_button = widgets.ToggleButton(description="Copy as code", icon="code")
        self.progress = widgets.IntProgress(0, 0, 1, description="Steps", layout={"width": "auto"})
        self.status, self.before, self.after, self.code = (widgets.HTML() for _ in range(4))
        super().__init__(self._arranged(), layout={"max_width": "64rem"})
        self._listen()
        self.status.value = sentence(HELLO)
        self._fit_to_recipe()

    # ---------------------------------------------------------------------------------------------- what Python may ask

    @property
    def settings(self) -> Settings:
        """What the controls say. `settings.python()` and `settings.command()` are it as code."""
        recipe = self.recipes[self.recipe.value]
        reads = recipe.fitted_to(self.models).reads
        return Settings(
            self.models,
            self.source.picture,
            recipe,
            **self.dials.values(),
            prompt=self.prompt.value if "prompt" in reads else None,
            source_prompt=self.source_prompt.value if "source_prompt" in reads else "photo",
            style=self.style.picture if "style" in reads else None,
            seed=self.seed.value,
        )

    @property
    def image(self) -> Tensor | None:
        """What stands beside the source, (1, 3, H, W): a result, or a run's last estimate; None before the first."""
        return self._image

    @property
    def result(self) -> Result | None:
        """The last run's; None while it runs, and when it was stopped or failed."""
        return None if self._job is None else self._job.result

    @property
    def error(self) -> Exception | None:
        """What ended the last run early: `Stopped`, or what went wrong."""
        return None if self._job is None else self._job.error

    def run(self) -> None:
        """Begin a run of what the controls say; as the button. Does nothing while one is at work."""
        if self._job is not None and self._job.is_alive():
            return
        try:
            settings = self.settings
            self._job = Job(settings, self._show_step, self._show_end)
        except MENDABLE as error:
            self._say_error(error)
            return
        self.run_button.disabled, self.stop_button.disabled = True, False
        self.progress.value, self.progress.max = 0, self._job.total
        self._image, self.after.value, self._made = None, "", settings.python()
        self.status.value = sentence("On the way towards noise ...")
        self._job.start()

    def stop(self) -> None:
        """End the run after the step that it is at; as the button."""
        if self._job is not None and not self.stop_button.disabled:
            self._job.stop()
            self.status.value = sentence("Stopping after this step ...")

    def wait(self, timeout: float | None = None) -> None:
        """Return when the run has ended, or after so many seconds."""
        if self._job is not None:
            self._job.join(timeout)

    # ------------------------------------------------------------------------------------------------ what is told when

    def _show_step(self, job: Job, step: Step) -> None:
        image = self._image = step.x0[:1].cpu()
        left = "" if job.seconds_left is None else f", about {job.seconds_left:.0f} s left"
        self.progress.value = job.done
        self.status.value = sentence(f"Step {job.done} of {job.total}{left}.")
        self._draw(job, image, f"The estimate after step {job.done} of {job.total}, at t = {step.t}")

    def _show_end(self, job: Job) -> None:
        self.stop_button.disabled = True
        try:
            self._tell_end(job)
            self._tell()
        except Exception as error:    # here, in the job's thread, it would reach nobody
            self._say_error(error, *job.notes)
        finally:
            self.run_button.disabled = False

    def _tell_end(self, job: Job) -> None:
        if job.result is not None:
            image = self._image = job.result.image.cpu()
            self._draw(job, image, f"The result, seed {job.settings.seed}")
            self.status.value = sentence(f"Done: {job.total} steps.", *job.notes)
        elif isinstance(job.error, Stopped):
            where = f"after step {job.done} of {job.total}; its estimate stays" if job.done else "before the first step"
            self.status.value = sentence(f"Stopped {where}. Run begins from the start.", *job.notes)
        elif job.error is not None:
            self._say_error(job.error, *job.notes)

    def _draw(self, job: Job, image: Tensor, caption: str) -> None:
        prompt = job.settings.prompt
        alt = "The restyled picture" + (f": {prompt}" if prompt else "")
        self.after.value = picture_box(image, alt, caption)

    def _say_error(self, error: Exception, *notes: str) -> None:
        known = isinstance(error, MENDABLE)
        self.status.value = sentence(str(error) if known else f"{type(error).__name__}: {error}", *notes, wrong=True)

    def _tell(self, change: object = None) -> None:
        """Show the source and the code of what the controls say."""
        try:
            settings = self.settings
            fitted, code, command = settings.source.fitted(self.models), settings.python(), settings.command()
        except MENDABLE as error:
            self._say_error(error)
            return
        self.before.value = picture_box(fitted[:1], f"The source: {self.source.choice.value}", "The source")
        changed = self._image is not None and code != self._made
        about = sentence("The controls have changed since: this is not the picture above.") if changed else ""
        self.code.value = about + code_box("Python", code) + code_box("Command line", command)

    # ------------------------------------------------------------------------------------------------------- the layout

    def _arranged(self) -> list[widgets.Widget]:
        what = widgets.VBox([self.source, self.style, self.prompt, self.source_prompt, self.recipe, self.seed], **HALF)
        how = widgets.VBox([self.dials], **HALF)
        buttons = widgets.HBox([self.run_button, self.stop_button, self.code_button], **ROW)
        pictures = widgets.HBox([self.before, self.after], **ROW)
        return [widgets.HBox([what, how], **ROW), buttons, self.progress, self.status, pictures, self.code]

    def _listen(self) -> None:
        self.run_button.on_click(lambda button: self.run())
        self.stop_button.on_click(lambda button: self.stop())
        self.code_button.observe(lambda change: _show(self.code, change.new), "value")
        self.recipe.observe(lambda change: self._fit_to_recipe(), "value")
        for control in (self.source.choice, self.style.choice, self.prompt, self.source_prompt, self.seed):
            control.observe(self._tell, "value")
        _show(self.code, False)

    def _fit_to_recipe(self) -> None:
        """The dials of the recipe, and no field that it does not read."""
        recipe = self.recipes[self.recipe.value].fitted_to(self.models)
        for name in ("prompt", "source_prompt", "style"):
            _show(getattr(self, name), name in recipe.reads)
        self.dials.fit_to(recipe)
        self._tell()


class _Chooser(widgets.VBox):
    """One picture of several: what Python gave, the bundled photographs, what the reader uploads."""

    def __init__(
        self, name: str, given: Tensor | None, variable: str, first: str, on_error: Callable[[Exception], None]
    ) -> None:
        self._known = {} if given is None else {f"{variable}, from Python": Picture.from_python(given, variable)}
        self._on_error = on_error
        self.choice = widgets.Dropdown(
            options=[*self._known, *PHOTOGRAPHS], value=next(iter(self._known), first), description=name, **WIDE
        )
        self.upload = widgets.FileUpload(accept="image/*", description=f"Upload: {name.lower()}")
        self.upload.layout = {"width": "auto", "margin": "2px 2px 2px 11rem"}
        self.upload.observe(self._uploaded, "value")
        super().__init__([self.choice, self.upload])

    @property
    def picture(self) -> Picture:
        name = self.choice.value
        if name not in self._known:
            self._known[name] = Picture.bundled(name)
        return self._known[name]

    def _uploaded(self, change: Any) -> None:
        seven = isinstance(change.new, dict)    # the ipywidgets of Colab keeps files by name
        for name, file in change.new.items() if seven else [(file["name"], file) for file in change.new]:
            try:
                self._known[name] = Picture.uploaded(name, bytes(file["content"]))
            except MENDABLE as error:
                self._on_error(error)
                continue
            self.choice.options = [name, *(option for option in self.choice.options if option != name)]
            self.choice.value = name
            # The same name again is no change to traitlets, but it is another picture.
            again = {"name": "value", "old": name, "new": name, "owner": self.choice, "type": "change"}
            self.choice.notify_change(again)
        if seven:    # in both, so that the same file may come again
            self.upload.metadata = self.upload.data = []
            self.upload._counter = 0
        elif change.new:
            self.upload.value = ()


class _Dials(widgets.VBox):
    """Sliders for the numbers of a recipe."""

    def __init__(self, models: Models, on_change: Callable[[object], None]) -> None:
        super().__init__()
        self._models, self._on_change = models, on_change

    def fit_to(self, recipe: Recipe) -> None:
        """New sliders, set as the recipe is; no slider for a weight that is a function of the step."""
        steady = {"continuous_update": False, **WIDE}
        self.weights = {
            name: widgets.SelectionSlider(
                options=[(f"{value:g}", value) for value in scale(w)], value=w, description=name, **steady
            )
            for name, w in recipe.weights.items()
            if not callable(w)
        }
        self.steps = widgets.IntSlider(recipe.steps, 1, 2 * recipe.steps, description="Steps from noise", **steady)
        self.t0 = widgets.SelectionSlider(
            options=starts(self._models, recipe.steps), value=recipe.skip, description="Begin at t0", **steady
        )
        push = recipe.strength or 1.0
        self.strength = widgets.FloatSlider(push, min=0, max=4 * push, step=push / 20, description="Strength", **steady)
        self._pushed = recipe.strength is not None    # otherwise the weights say how hard
        self.steps.observe(self._keep_share, "value")
        way = [self.steps, self.t0, *([self.strength] if self._pushed else [])]
        for slider in (*self.weights.values(), *way):
            slider.observe(self._on_change, "value")
        heading = [widgets.HTML("<b>Weights of the losses</b>")] if self.weights else []
        self.children = [*heading, *self.weights.values(), widgets.HTML("<b>The way</b>"), *way]

    def values(self) -> dict[str, Any]:
        """What the sliders say, named as fields of `Settings`."""
        weights = {name: slider.value for name, slider in self.weights.items()}
        strength = self.strength.value if self._pushed else None
        return {"weights": weights, "steps": self.steps.value, "skip": self.t0.value, "strength": strength}

    def _keep_share(self, change: Any) -> None:
        """With other steps, begin where the same share of them is left out."""
        skip = min(round(self.t0.value * change.new / change.old), change.new - 1)
        self.t0.options = starts(self._models, change.new)    # which selects the first
        self.t0.value = skip


def scale(weight: float) -> list[float]:
    """What the slider of a weight offers: none of it, and from a hundredth to a hundredfold in ratios of 10^(1/4)."""
    around = [float(f"{(weight or 100) * 10 ** (k / 4):.2g}") for k in range(-8, 9) if k]
    return sorted({0, weight, *around})


def starts(models: Models, steps: int) -> list[tuple[str, int]]:
    """Where a run may begin, from nearly clean to noise: the timestep t0 as text, and the `skip` that leads there."""
    times = models.profile.schedule().respace(steps).timesteps.tolist()
    return [(str(t), steps - 1 - i) for i, t in enumerate(times)]


def _show(widget: widgets.Widget, whether: bool) -> None:
    widget.layout.display = None if whether else "none"
