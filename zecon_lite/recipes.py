"""Recipes: everything that differs between the papers, as values.

A recipe names the losses and their weights, how the picture is pushed towards noise, how it comes back, and in how
many steps. `small` holds what the bundled networks want otherwise: other numbers, the same code.
"""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from .augment import Cuts, Views
from .denoiser import UNetDenoiser
from .guidance import Guidance, Weight
from .losses import imagenet_templates
from .profiles import Models, pick
from .provenance import plain_numbers
from .samplers import ClimbRule, StepRule, ddim_step, ddpm_step, renoised_as_released, view_of_source
from .schedule import Schedule
from .state import State, Step
from .terms import LOSSES, READS, Run
from .ways import (
    Early,
    Finish,
    Forward,
    Overflow,
    colours_matched,
    estimated,
    inverted,
    inverted_as_noise,
    noised,
    stepped,
)

# ----------------------------------------------------------------------------------------------- the task and recipe


@dataclass(frozen=True)
class Task:
    """What the user asked for. source: (B, 3, H, W) in [-1, 1]; one prompt for all, or one per picture.

    style: (1 or B, 3, H, W) in [-1, 1], of the source's size.
    """

    source: Tensor
    prompt: str | tuple[str, ...] | None = None
    source_prompt: str = "photo"
    style: Tensor | None = None


@dataclass(frozen=True)
class Recipe:
    """A method as values.

    weights: loss name -> weight (see LOSSES). course: loss name -> a function of the state, by which its weight, where
    that is a number, is multiplied; without one it is the same all the way. steps: positions of the respaced
    schedule. skip: how many of the noisiest are left out, so the run starts at position steps - skip - 1. strength: see
    `Guidance`. views: what CLIP is shown in patches. same_views: see `ClipDirection`. patches, tau: see `ZeCon`. cuts,
    templates: see `ClipEnsemble`. resample_first: how often the first position is taken. climb: how the picture is
    noised up again for that.
    returns: how often the run, once down at `turn[0]`, is noised up again to `turn[1]`, both as shares of the way to
    noise, and comes down again; the last time nothing guides it. RePaint (arXiv 2201.09865) calls it resampling,
    FreeDoM (arXiv 2303.09833) time travel; there every return is guided.
    restart_when: after which steps, but the first position's and the last, the run begins again with other noise;
    attempts: how often it may begin, the last time for good. finish: what is made of the last step.
    fresh_source_noise: True draws the source's noise anew for each loss, as released; False once for a step.
    unit_embeddings: True takes CLIP's directions between embeddings of unit length, as in StyleGAN-NADA's code.
    vgg_unit_range: True applies VGG's mean and deviation to pictures in [0, 1], for which they are meant.
    small: fields (of this class) that differ for the bundled networks.
    """

    name: str
    paper: str
    weights: Mapping[str, Weight]
    course: Mapping[str, Callable[[State], float]] = field(default_factory=dict)
    steps: int = 50
    skip: int = 25
    forward: Forward = inverted_as_noise
    step: StepRule = ddpm_step
    strength: float | None = None
    views: Views = field(default_factory=Views)
    same_views: bool = False
    patches: int = 256
    tau: float = 0.07
    cuts: Cuts = field(default_factory=Cuts)
    templates: Callable[[], Sequence[str]] = imagenet_templates
    resample_first: int = 1
    climb: ClimbRule = Schedule.renoised
    returns: int = 0
    turn: tuple[float, float] = (0.36, 0.64)
    restart_when: Callable[[Step], bool] | None = None
    attempts: int = 1
    finish: Finish = stepped
    fresh_source_noise: bool = False
    unit_embeddings: bool = False
    vgg_unit_range: bool = False
    small: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (*self.weights, *self.course):
            pick("loss", name, LOSSES)
        for name in ("steps", "skip", "resample_first", "attempts", "returns", "patches"):
            if not isinstance(getattr(self, name), numbers.Integral):
                raise ValueError(f"{name} must be a whole number; got {getattr(self, name)!r}")
        for name, w in self.weights.items():
            if not callable(w) and not math.isfinite(w):
                raise ValueError(f"the weight of {name!r} must be finite; got {w}: 0 leaves the loss out")
        if not self.steps >= 1:
            raise ValueError(f"steps must be at least 1; got {self.steps}")
        if not 0 <= self.skip < self.steps:
            raise ValueError(
                f"skip must leave at least one of the {self.steps} steps: 0 to {self.steps - 1}; got {self.skip}"
            )
        if self.strength is not None and not 0 <= self.strength < math.inf:
            raise ValueError(f"strength must be a number from 0 on, or None; got {self.strength}")
        if min(self.resample_first, self.attempts) < 1:
            raise ValueError(
                f"resample_first and attempts must be at least 1; got {self.resample_first} and {self.attempts}"
            )
        if self.returns < 0:
            raise ValueError(f"returns must be at least 0; got {self.returns}")
        if not 0 <= self.turn[0] <= self.turn[1] <= 1:
            raise ValueError(f"turn must be two shares of the way to noise, the lower one first; got {self.turn}")

    @property
    def positions(self) -> list[int]:
        """The plan: the first position as often as asked, then down to 0, or to where the run turns back up.

        >>> RECIPES["diffuseit_text"].positions[:12]
        [59, 59, 59, 59, 59, 59, 59, 59, 59, 59, 58, 57]
        >>> replace(RECIPES["zecon"], steps=8, skip=1, returns=2).positions
        [6, 5, 4, 3, 4, 3, 4, 3, 2, 1, 0]
        """
        first = self.steps - self.skip - 1
        top = [first] * (self.resample_first - 1)
        if not self.returns:
            return [*top, *range(first, -1, -1)]
        low, high = self._turning
        again = [*range(high, low - 1, -1)] * (self.returns - 1)
        return [*top, *range(first, low - 1, -1), *again, *range(high, -1, -1)]

    @property
    def guided(self) -> int:
        """How many steps of the plan are guided: all, or all but those of the last return."""
        return len(self.positions) - (self._turning[1] + 1 if self.returns else 0)

    @property
    def _turning(self) -> tuple[int, int]:
        """The positions where the run turns, down below and up above."""
        low, high = (min(round(share * (self.steps - 1)), self.steps - self.skip - 1) for share in self.turn)
        return low, high

    @property
    def active(self) -> dict[str, Weight]:
        """The weights that are not zero."""
        return {name: w for name, w in self.weights.items() if callable(w) or w != 0}

    def along(self, name: str) -> Weight:
        """The weight of a loss over the way down: the number times its course, or the function that it is."""
        weight, course = self.weights[name], self.course.get(name)
        return weight if course is None or callable(weight) else lambda state: weight * course(state)

    @property
    def told(self) -> dict[str, str]:
        """The weights as text: a number, times "f(t)" where it has a course; or "f(t)" for a function.

        >>> RECIPES["diffuseit_text"].told["range"], RECIPES["diffuseit_text"].told["cls_divergence"]
        ('200', '100*f(t)')
        """
        return {
            name: "f(t)" if callable(w) else f"{w:g}*f(t)" if name in self.course else f"{w:g}"
            for name, w in self.weights.items()
        }

    @property
    def reads(self) -> set[str]:
        """What the losses read of the task.

        >>> sorted(RECIPES["zecon"].reads), sorted(RECIPES["gram_clip"].reads)
        (['prompt', 'source_prompt'], ['style'])
        """
        return set().union(*(READS.get(name, ()) for name in self.active))

    def restarts(self, step: Step) -> bool:
        """Whether the run shall begin again after this step."""
        return self.restart_when is not None and self.positions[0] > step.i > 0 and self.restart_when(step)

    def fitted_to(self, models: Models) -> Recipe:
        """The recipe as these networks want it."""
        return replace(self, **self.small, small={}) if models.profile.small else self

    def changed(
        self,
        *,
        weights: Mapping[str, float] | None = None,
        steps: int | None = None,
        skip: int | None = None,
        strength: float | None = None,
        returns: int | None = None,
    ) -> Recipe:
        """The recipe with some numbers replaced; weights are merged into its own, so one can be changed alone.

        When only `steps` is given, `skip` keeps its share of them. Raises ValueError for a loss name not in LOSSES.

        >>> longer = RECIPES["zecon"].changed(steps=100, weights={"mse": 1000})
        >>> longer.steps, longer.skip, longer.weights["mse"], longer.weights["zecon"]
        (100, 50, 1000, 500)
        """
        if steps is not None and skip is None:
            skip = min(round(self.skip * steps / self.steps), steps - 1)
        given = plain_numbers({"steps": steps, "skip": skip, "strength": strength, "returns": returns})
        return replace(self, weights={**self.weights, **plain_numbers(weights or {})}, **given)

    def guidance(
        self, task: Task, models: Models, denoiser: UNetDenoiser, generator: torch.Generator
    ) -> Guidance | None:
        """The losses of this recipe for this task; None when nothing guides. Raises ValueError as `check` does."""
        check(self, task)
        active, run = self.active, Run(self, task, models, denoiser, generator)
        if not active:
            return None
        built = {name: LOSSES[name](run) for name in LOSSES if name in active}
        weights, fresh = {name: self.along(name) for name in built}, None
        if self.fresh_source_noise:
            fresh = lambda state: view_of_source(denoiser.schedule, state.source, state.i, generator)  # noqa: E731
        return Guidance(built, weights, self.strength, fresh)


def check(recipe: Recipe, task: Task) -> None:
    """Raises ValueError where the recipe lacks what it reads, or was given a style picture that it does not read."""
    takers = ", ".join(name for name, other in RECIPES.items() if "style" in other.reads)
    if "prompt" in recipe.reads and task.prompt is None:
        raise ValueError(f'the recipe {recipe.name!r} is guided by text: give a prompt such as "a pencil sketch"')
    if not isinstance(task.source_prompt, str | None):
        raise ValueError(f"source_prompt is one text, for all pictures; got {task.source_prompt!r}")
    if "source_prompt" in recipe.reads and not (task.source_prompt or "").strip():
        raise ValueError(
            f"the recipe {recipe.name!r} goes from what the source is to the prompt: give a source_prompt, such as "
            '"photo"'
        )
    if "style" in recipe.reads and task.style is None:
        raise ValueError(
            f"the recipe {recipe.name!r} takes its style from a picture, and there is none: give "
            "style=images.load(path), or --style PICTURE at the command line"
        )
    if "style" not in recipe.reads and task.style is not None:
        raise ValueError(f"the recipe {recipe.name!r} does not read a style picture: leave it out, or take {takers}")
    if "prompt" not in recipe.reads and task.prompt is not None and task.style is not None:
        raise ValueError(
            f"the recipe {recipe.name!r} takes its style from the picture and does not read the prompt: give one of "
            "them"
        )


# ------------------------------------------------------------------------------------------------------ the recipes

_PATCHES = Views(count=32, area=(0.01, 0.3))
# Five views, laid on quadrants and the whole, cover a small picture evenly; a smaller part of 64 px shows no style.
_FEW = Views(count=5, area=(0.09, 0.3), stratified=True, jitter=0.3)
# The bundled UNet knows no more than its little world: deterministic steps from an inverted picture keep to what is
# there, and a push of fixed strength spares tuning. Few steps, from almost pure noise: palettes must be able to change.
_SMALL: dict[str, Any] = {
    "forward": inverted,
    "step": ddim_step,
    "steps": 25,
    "skip": 2,
    "views": _FEW,
    "same_views": True,
    "strength": 1.5,
    "patches": 128,
}
_CLIP_SMALL = {"clip_global_patch": 1.0, "clip_direction_patch": 1.0, "range": 5.0}

# What both of DiffuseIT's commands say. Beginning again has no limit there; here the fifth time is for good.
_DIFFUSEIT: dict[str, Any] = {
    "course": {"cls_divergence": Early()},
    "forward": noised,
    "resample_first": 10,
    "climb": renoised_as_released,
    "restart_when": Overflow(),
    "attempts": 5,
}
_DIFFUSEIT_SMALL = {
    **_SMALL, "course": {}, "resample_first": 1, "restart_when": None, "attempts": 1, "templates": lambda: ("{}",),
}

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "zecon",
            "Yang, Hwang & Ye, ICCV 2023, arXiv 2303.08622",
            {
                "clip_global_patch": 10000,
                "clip_direction_patch": 20000,
                "zecon": 500,
                "mse": 5000,
                "vgg": 100,
                "range": 50,
            },
            views=_PATCHES,
            small={
                **_SMALL,
                "weights": {**_CLIP_SMALL, "zecon": 0.02, "mse": 0.1, "vgg": 0.01},
                # Where things are is settled early; a contrast that then lets go leaves room for more style.
                "course": {"zecon": Early(3, after=0.5)},
            },
        ),
        Recipe(
            "clip_guided",
            "ZeCon's CLIP terms alone; the directional one is StyleGAN-NADA's, arXiv 2108.00946",
            {"clip_global_patch": 10000, "clip_direction_patch": 20000, "range": 50},
            views=_PATCHES,
            small={**_SMALL, "weights": _CLIP_SMALL},
        ),
        Recipe(
            "sdedit",
            "Meng et al., ICLR 2022, arXiv 2108.01073",
            {},
            forward=noised,
            small={"steps": 25, "skip": 12},
        ),
        Recipe(
            "diffuseit_text",
            "Kwon & Ye, ICLR 2023, arXiv 2209.15264",
            {
                "clip_ensemble": 2000,
                "key_self_similarity": 1000,
                "key_contrast_adaptive": 200,
                "cls_divergence": 100,
                "range": 200,
                "identity": 0,    # for faces there are the presets diffuseit-face-text and -image
            },
            **_DIFFUSEIT,
            steps=100,
            skip=40,
            finish=estimated,
            # Keys see no colours, so a little of ZeCon's mse keeps them; smaller cuts show CLIP more of a pattern.
            small={
                **_DIFFUSEIT_SMALL,
                "cuts": Cuts(count=5, area=(0.3, 1.0)),
                "weights": {
                    "clip_ensemble": 1.0,
                    "key_self_similarity": 2.0,
                    "key_contrast_adaptive": 0.2,
                    "mse": 0.1,
                    "range": 20.0,
                },
            },
        ),
        Recipe(
            "diffuseit_image",
            "Kwon & Ye, ICLR 2023, arXiv 2209.15264",
            {
                "cls_style": 2000,
                "style_mse": 3000,
                "key_self_similarity": 1000,
                "key_contrast": 200,
                "cls_divergence": 100,
                "range": 200,
                "identity": 0,
            },
            **_DIFFUSEIT,
            steps=200,
            skip=80,
            finish=colours_matched,
            small={
                **_DIFFUSEIT_SMALL,
                "weights": {
                    "cls_style": 1.0, "style_mse": 0.05, "key_self_similarity": 3.0, "key_contrast": 0.1, "range": 5.0,
                },
            },
        ),
        # The text gives no weights. The large ones are sized like ZeCon's terms and are not tuned: a Gram distance of
        # VGG-19 is near 1e-4, a contrast of five layers near 10.
        Recipe(
            "gram_clip",
            "ZeCon's content; CLIP and Gram matrices (arXiv 1508.06576) of a picture; weights ours",
            {
                "clip_image": 20000,
                "gram": 1e7,
                "zecon": 500,
                "mse": 5000,
                "vgg": 100,
                "range": 50,
            },
            views=_PATCHES,
            small={
                **_SMALL,
                "weights": {"clip_image": 1.0, "gram": 1.0, "zecon": 0.02, "mse": 0.1, "vgg": 0.01, "range": 5.0},
            },
        ),
    )
}
"""name -> recipe. The numbers are those of the papers' released commands; `small` those of the bundled networks."""


def warn(recipe: Recipe, task: Task) -> None:
    """Warn when a prompt was given to a recipe that reads none, and when a run begins where nothing is noised."""
    if recipe.positions[0] == 0:
        warnings.warn(
            f"this run begins at position 0 (steps={recipe.steps}, skip={recipe.skip}), where hardly anything is "
            "noised: what comes out is the source; take more steps, or skip fewer",
            UserWarning,
            stacklevel=3,
        )
    if task.prompt is not None and "prompt" not in recipe.reads:
        warnings.warn(
            f"the recipe {recipe.name!r} does not read the prompt: its weights hold no CLIP term",
            UserWarning,
            stacklevel=3,
        )
