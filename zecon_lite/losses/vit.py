"""Losses on a vision transformer: its keys say how a picture is laid out, its [CLS] token how it looks as a whole.

From Splice (Tumanyan et al. 2022) and DiffuseIT (Kwon & Ye 2023). The formulas compare features (..., T, D) or (..., D)
and leave the leading dimensions, so a batch gives one value per image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.vit import ViT
from ..state import State
from .contrast import check_contrast, place_nce


def self_similarity(keys: Tensor) -> Tensor:
    """The cosines between all rows of keys (..., T, D): (..., T, T). What resembles what, whatever it looks like.

    >>> self_similarity(torch.tensor([[2.0, 0.0], [1.0, 1.0]]))
    tensor([[1.0000, 0.7071],
            [0.7071, 1.0000]])
    """
    keys = F.normalize(keys, dim=-1)
    return keys @ keys.mT


def key_self_similarity(keys: Tensor, source_keys: Tensor) -> Tensor:
    """The mean squared difference of the two self-similarities (Tumanyan et al. 2022, eq. 4), (..., T, D) -> (...).

    Differs from the paper's norm by the factor T^2: the mean is what released code takes, and what its weight fits.
    """
    return (self_similarity(keys) - self_similarity(source_keys)).square().mean((-2, -1))


def key_contrast(keys: Tensor, source_keys: Tensor, tau: float = 0.07) -> Tensor:
    """The mean cross-entropy of finding each row of keys among all of source_keys, (..., T, D) -> (...).

    `contrast.patch_nce` on a ViT's keys, for each image of a batch by itself (DiffuseIT's l_cont; the paper sums over
    the rows, released code averages). The source is a constant.
    """
    return place_nce(F.normalize(keys, dim=-1), F.normalize(source_keys.detach(), dim=-1), tau).mean(-1)


def cls_distance(cls: Tensor, other: Tensor) -> Tensor:
    """The mean squared difference of two [CLS] tokens, (..., D) -> (...)."""
    return (cls - other).square().mean(-1)


@dataclass(eq=False)
class ViTFeatures:
    """What the losses below share: one forward pass per step, and one for the source in the whole run.

    Pictures are recognised by being the same tensor, so the losses depend on the `State` alone; what is remembered only
    saves work. All terms of one state hang on one graph: ask for their gradients together. What is shown is the view,
    as DiffuseIT's commands do (`--use_noise_aug_all`).
    """

    vit: ViT
    _now: tuple[Tensor, Tensor, Tensor] | None = field(default=None, init=False, repr=False)     # picture, keys, [CLS]
    _before: tuple[Tensor, Tensor] | None = field(default=None, init=False, repr=False)          # picture, [CLS]
    _source: tuple[Tensor, Tensor, Tensor, Tensor] | None = field(default=None, init=False, repr=False)

    def now(self, state: State) -> tuple[Tensor, Tensor]:
        """Keys (B, T, D) and [CLS] (B, D) of the picture as it stands, with gradients."""
        if self._now is None or self._now[0] is not state.view:
            if self._now is not None:
                self._before = self._now[0].detach(), self._now[2].detach()
            self._now = state.view, *self.vit.keys_and_cls(state.view)
        return self._now[1:]

    def source(self, state: State) -> tuple[Tensor, Tensor, Tensor]:
        """Keys (B, T, D), their self-similarity (B, T, T) and [CLS] (B, D) of the source itself, without its noise."""
        if self._source is None or self._source[0] is not state.source:
            with torch.no_grad():
                keys, cls = self.vit.keys_and_cls(state.source)
                self._source = state.source, keys, self_similarity(keys), cls
        return self._source[1:]

    def previous_cls(self, state: State) -> Tensor:
        """[CLS] (B, D) of what the step before was shown, a constant; of the source at the first step."""
        if state.previous is None:
            return self.source(state)[2]
        self.now(state)    # so that what was now is before
        picture = state.previous.shown
        if self._before is None or self._before[0].data_ptr() != picture.data_ptr():
            with torch.no_grad():
                self._before = picture, self.vit.keys_and_cls(picture)[1]
        return self._before[1]


@dataclass(frozen=True, eq=False)
class KeySelfSimilarity:
    """`key_self_similarity` between picture and source, summed over the batch (DiffuseIT's l_ssim)."""

    features: ViTFeatures

    def __call__(self, state: State) -> Tensor:
        """A scalar; the source's self-similarity is found once."""
        keys, _ = self.features.now(state)
        _, wanted, _ = self.features.source(state)
        return (self_similarity(keys) - wanted).square().mean((1, 2)).sum()


@dataclass(frozen=True, eq=False)
class KeyContrast:
    """`key_contrast` between picture and source, summed over the batch (DiffuseIT's l_cont).

    factor: multiplies each image's value, state -> (B,), such as `ensemble.ContentFactor`.
    Differs from the released code, which averages this term over a batch and sums the others.
    """

    features: ViTFeatures
    tau: float = 0.07
    factor: Callable[[State], Tensor] | None = None

    def __post_init__(self) -> None:
        check_contrast(self.tau)

    def __call__(self, state: State) -> Tensor:
        """A scalar."""
        keys, _ = self.features.now(state)
        source_keys, _, _ = self.features.source(state)
        each = key_contrast(keys, source_keys, self.tau)
        return (each if self.factor is None else self.factor(state) * each).sum()


@dataclass(frozen=True, eq=False)
class ClsDivergence:
    """Minus `cls_distance` to the step before, summed over the batch: away from where it was (DiffuseIT's l_sem).

    It makes the first steps bold. The step before is `State.previous`; the first step is compared with the source.
    """

    features: ViTFeatures

    def __call__(self, state: State) -> Tensor:
        """A scalar, never positive."""
        _, cls = self.features.now(state)
        return -cls_distance(cls, self.features.previous_cls(state)).sum()


@dataclass(frozen=True, eq=False)
class ClsStyle:
    """`cls_distance` to a style picture, summed over the batch (DiffuseIT's l_sty).

    style: (1 or B, 3, h, w) in [-1, 1].
    """

    features: ViTFeatures
    style: Tensor

    def __call__(self, state: State) -> Tensor:
        """A scalar; the style picture is looked at once."""
        _, cls = self.features.now(state)
        return cls_distance(cls, self._wanted).sum()

    @cached_property
    @torch.no_grad()
    def _wanted(self) -> Tensor:
        return self.features.vit.keys_and_cls(self.style)[1]
