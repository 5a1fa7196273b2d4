"""Every loss by its name: how it is built for a run, and what it reads of the task.

A loss of your own becomes one that recipes can name by one entry in `LOSSES`, and one in `READS` where it reads a
prompt or the style picture.

    >>> [name for name, read in READS.items() if "style" in read]
    ['clip_image', 'gram', 'cls_style', 'style_mse']
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from . import losses
from .augment import Views
from .denoiser import UNetDenoiser
from .guidance import Loss
from .models.vgg import VGG
from .profiles import Models

if TYPE_CHECKING:
    from .recipes import Recipe, Task


@dataclass(frozen=True)
class Run:
    """What losses are built from, one for each call of `Recipe.guidance`; what several losses share is made once."""

    recipe: Recipe
    task: Task
    models: Models
    denoiser: UNetDenoiser
    generator: torch.Generator

    @property
    def prompt(self) -> str | tuple[str, ...]:
        """The task's, for losses that read it: `recipes.check` has seen that it is there."""
        return cast("str | tuple[str, ...]", self.task.prompt)

    @property
    def style(self) -> Tensor:
        """The task's style picture, likewise."""
        return cast(Tensor, self.task.style)

    @property
    def whole(self) -> Views:
        """The recipe's views, but of the whole picture."""
        return replace(self.recipe.views, area=None, stratified=False)

    @cached_property
    def features(self) -> losses.ViTFeatures:
        return losses.ViTFeatures(self.models.vit)

    @cached_property
    def ensemble(self) -> losses.ClipEnsemble:
        return losses.ClipEnsemble(
            self.models.clips,
            self.prompt,
            self.task.source_prompt,
            self.recipe.cuts,
            self.recipe.templates(),
            self.generator,
        )

    @cached_property
    def style_embedding(self) -> Tensor:
        """(1 or B, D): what CLIP sees in the style picture."""
        with torch.no_grad():
            return self.models.clip.image(self.style)

    def in_range(self, vgg: VGG) -> VGG:
        """The network, reading pictures in the range that the recipe says."""
        return vgg.on_unit_range() if self.recipe.vgg_unit_range else vgg

    def clip_distance(self, wanted: str | Sequence[str] | Tensor, views: Views) -> Loss:
        return losses.ClipDistance(self.models.clip, wanted, views, generator=self.generator)

    def clip_direction(self, views: Views) -> Loss:
        texts, how = (self.prompt, self.task.source_prompt), (self.recipe.same_views, self.recipe.unit_embeddings)
        return losses.ClipDirection(self.models.clip, *texts, views, *how, generator=self.generator)


Builder = Callable[[Run], Loss]

# In the order in which released code adds its terms up, which is also the order of their random draws.
LOSSES: dict[str, Builder] = {
    "clip_global": lambda run: run.clip_distance(run.prompt, run.whole),
    "clip_global_patch": lambda run: run.clip_distance(run.prompt, run.recipe.views),
    "clip_direction": lambda run: run.clip_direction(run.whole),
    "clip_direction_patch": lambda run: run.clip_direction(run.recipe.views),
    "clip_ensemble": lambda run: run.ensemble,
    "clip_image": lambda run: run.clip_distance(run.style_embedding, run.recipe.views),
    "gram": lambda run: losses.GramDistance(run.in_range(run.models.style_vgg), run.style),
    "key_self_similarity": lambda run: losses.KeySelfSimilarity(run.features),
    "key_contrast": lambda run: losses.KeyContrast(run.features, run.recipe.tau),
    "key_contrast_adaptive": lambda run: losses.KeyContrast(
        run.features, run.recipe.tau, losses.ContentFactor(run.ensemble)
    ),
    "cls_divergence": lambda run: losses.ClsDivergence(run.features),
    "cls_style": lambda run: losses.ClsStyle(run.features, run.style),
    "style_mse": lambda run: losses.PixelDistance(run.style),
    "identity": lambda run: losses.Identity(run.models.face),
    "zecon": lambda run: losses.ZeCon(
        run.denoiser, patches=run.recipe.patches, tau=run.recipe.tau, generator=run.generator
    ),
    "mse": lambda run: losses.mse,
    "vgg": lambda run: losses.VGGContent(run.in_range(run.models.vgg)),
    "range": lambda run: losses.out_of_range,
}

# What a loss reads of the task besides the source.
READS: dict[str, tuple[str, ...]] = {
    "clip_global": ("prompt",),
    "clip_global_patch": ("prompt",),
    "clip_direction": ("prompt", "source_prompt"),
    "clip_direction_patch": ("prompt", "source_prompt"),
    "clip_ensemble": ("prompt", "source_prompt"),
    "key_contrast_adaptive": ("prompt", "source_prompt"),
    "clip_image": ("style",),
    "gram": ("style",),
    "cls_style": ("style",),
    "style_mse": ("style",),
}
