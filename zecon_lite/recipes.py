"""Recipes: everything that differs between the papers, as values.

A recipe names the losses and their weights, how the picture is pushed towards noise, how it comes back, and in how
many steps. `small` holds what the bundled networks want otherwise: other numbers, the same code.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .augment import Views
from .denoiser import Denoiser
from .guidance import Guidance, Loss, Weight
from .losses import ClipDirection, ClipDistance, VGGContent, ZeCon, mse, out_of_range
from .profiles import Models, nearest
from .samplers import StepRule, ddim_step, ddpm_step, invert, randn_like

# ---------------------------------------------------------------------------------------- the ways towards noise

Forward = Callable[[Denoiser, Tensor, int, torch.Generator | None], Tensor]


def noised(denoiser: Denoiser, source: Tensor, i: int, generator: torch.Generator | None) -> Tensor:
    """The source at position i with fresh noise: the stochastic way in (SDEdit, Meng et al. 2022)."""
    return denoiser.schedule.noised(source, i, randn_like(source, generator))


def inverted(denoiser: Denoiser, source: Tensor, i: int, generator: torch.Generator | None) -> Tensor:
    """The source at position i by DDIM inversion: the deterministic way in (Song et al. 2021; DiffusionCLIP)."""
    return invert(denoiser, source, i)


def inverted_as_noise(denoiser: Denoiser, source: Tensor, i: int, generator: torch.Generator | None) -> Tensor:
    """The released ZeCon way in: the source noised to position i with its own inverted latent in place of noise.

    That latent stands one position higher and still contains the picture, so the picture enters twice; the released
    code does so whenever DDIM goes forward and DDPM comes back, and it is a main reason why content survives.
    """
    return denoiser.schedule.noised(source, i, invert(denoiser, source, i + 1))


# ----------------------------------------------------------------------------------------------- the task and recipe


@dataclass(frozen=True)
class Task:
    """What the user asked for. source, style: (B, 3, H, W) in [-1, 1]; one prompt for all, or one per picture."""

    source: Tensor
    prompt: str | tuple[str, ...] | None = None
    source_prompt: str = "photo"
    style: Tensor | None = None


@dataclass(frozen=True)
class Recipe:
    """A method as values.

    weights: loss name -> weight (see LOSSES). steps: positions of the respaced schedule. skip: how many of the noisiest
    are left out, so the run starts at position steps - skip - 1. strength: see `Guidance`. views: what CLIP is shown
    in patches. same_views: see `ClipDirection`. patches, tau: see `ZeCon`. resample_first: how often the first position
    is taken. small: fields (of this class) that differ for the bundled networks.
    """

    name: str
    paper: str
    weights: Mapping[str, Weight]
    steps: int = 50
    skip: int = 25
    forward: Forward = inverted_as_noise
    step: StepRule = ddpm_step
    strength: float | None = None
    views: Views = field(default_factory=Views)
    same_views: bool = False
    patches: int = 256
    tau: float = 0.07
    resample_first: int = 1
    small: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.weights:
            if name not in LOSSES:
                raise ValueError(f"there is no loss {name!r}; {nearest(name, LOSSES)}")
        if not self.steps >= 1:
            raise ValueError(f"steps must be at least 1; got {self.steps}")
        if not 0 <= self.skip < self.steps:
            raise ValueError(
                f"skip must leave at least one of the {self.steps} steps: 0 to {self.steps - 1}; got {self.skip}"
            )

    @property
    def positions(self) -> list[int]:
        """The plan: the first position as often as asked, then down to 0."""
        first = self.steps - self.skip - 1
        return [first] * (self.resample_first - 1) + list(range(first, -1, -1))

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
    ) -> Recipe:
        """The recipe with some numbers replaced; weights are merged into its own, so one can be changed alone.

        When only `steps` is given, `skip` keeps its share of them. Raises ValueError for a loss name not in LOSSES.
        """
        if steps is not None and skip is None:
            skip = round(self.skip * steps / self.steps)
        given = {"steps": steps, "skip": skip, "strength": strength}
        return replace(
            self, weights={**self.weights, **(weights or {})}, **{k: v for k, v in given.items() if v is not None}
        )

    def guidance(self, task: Task, models: Models, denoiser: Denoiser, generator: torch.Generator) -> Guidance | None:
        """The losses of this recipe for this task; None when nothing guides."""
        active = {name: w for name, w in self.weights.items() if callable(w) or w != 0}
        if not active:
            return None
        if any(name.startswith("clip") for name in active) and task.prompt is None:
            raise ValueError(f'the recipe {self.name!r} is guided by text: give a prompt such as "a pencil sketch"')
        losses = {name: LOSSES[name](self, task, models, denoiser, generator) for name in LOSSES if name in active}
        return Guidance(losses, {name: active[name] for name in losses}, self.strength)


# ------------------------------------------------------------------------------------------------------- the losses

Builder = Callable[[Recipe, Task, Models, Denoiser, torch.Generator], Loss]

# In the order in which released ZeCon adds its terms up, which is also the order of their random draws.
LOSSES: dict[str, Builder] = {
    "clip_global": lambda r, task, m, d, g: ClipDistance(
        m.clip, task.prompt, replace(r.views, area=None, stratified=False), generator=g
    ),
    "clip_global_patch": lambda r, task, m, d, g: ClipDistance(m.clip, task.prompt, r.views, generator=g),
    "clip_direction": lambda r, task, m, d, g: ClipDirection(
        m.clip,
        task.prompt,
        task.source_prompt,
        replace(r.views, area=None, stratified=False),
        r.same_views,
        generator=g,
    ),
    "clip_direction_patch": lambda r, task, m, d, g: ClipDirection(
        m.clip, task.prompt, task.source_prompt, r.views, r.same_views, generator=g
    ),
    "zecon": lambda r, task, m, d, g: ZeCon(d, patches=r.patches, tau=r.tau, generator=g),
    "mse": lambda r, task, m, d, g: mse,
    "vgg": lambda r, task, m, d, g: VGGContent(m.vgg),
    "range": lambda r, task, m, d, g: out_of_range,
}

# ------------------------------------------------------------------------------------------------------ the recipes

_PATCHES = Views(count=32, area=(0.01, 0.3))
# Five views, laid on quadrants and the whole, cover a small picture evenly; a smaller part of 64 px shows no style.
_FEW = Views(count=5, area=(0.09, 0.3), stratified=True, jitter=0.3)
# The bundled UNet knows no more than its little world: deterministic steps from an inverted picture keep to what is
# there, and a push of fixed strength spares tuning. Few steps, from almost pure noise: palettes must be able to change.
_SMALL = {
    "forward": inverted,
    "step": ddim_step,
    "steps": 25,
    "skip": 3,
    "views": _FEW,
    "same_views": True,
    "strength": 1.0,
    "patches": 128,
}
_CLIP_SMALL = {"clip_global_patch": 1.0, "clip_direction_patch": 1.0, "range": 5.0}

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
    )
}
"""name -> recipe. The numbers are those of the papers' released commands; `small` those of the bundled networks."""


def warn_unused_prompt(recipe: Recipe, task: Task) -> None:
    """Warn when a prompt was given to a recipe that reads none."""
    if task.prompt is not None and not any(
        name.startswith("clip") for name, w in recipe.weights.items() if callable(w) or w
    ):
        warnings.warn(
            f"the recipe {recipe.name!r} does not read the prompt: its weights hold no CLIP term",
            UserWarning,
            stacklevel=3,
        )
