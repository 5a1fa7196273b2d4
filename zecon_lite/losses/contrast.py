"""Contrast between patches: each place of the picture should resemble the same place of the source, and no other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..state import State


class Encoder(Protocol):
    """What ZeCon asks of a denoiser; `denoiser.LearnedVariance` and `denoiser.VPrediction` give it."""

    feature_blocks: Sequence[int]

    def features(self, x: Tensor, t: int, blocks: Sequence[int]) -> list[Tensor]:
        """The outputs of the encoder's `blocks`, [(B, C_k, H_k, W_k)], at training timestep t."""
        ...


def patch_nce(query: Tensor, key: Tensor, tau: float = 0.07) -> Tensor:
    """The mean cross-entropy of finding each row of query among all rows of key (CUT, Park et al. 2020).

    query, key: features (P, D) of P places; returns a scalar. Leading batch dimensions are averaged over; each image is
    compared with itself alone. tau: the temperature; smaller looks harder at the most similar places.
    Rows are scaled to unit length; the key is a constant. Half precision is computed in float32.
    Raises ValueError when the shapes differ.
    """
    if query.shape != key.shape or query.ndim < 2:
        raise ValueError(
            f"query and key must both be (P, D), row for row; got {tuple(query.shape)} and {tuple(key.shape)}"
        )
    query, key = _unit_rows(query), _unit_rows(key.detach())
    logits = query @ key.mT / tau                                          # (P, P): how much query r resembles key c
    return (logits.logsumexp(-1) - logits.diagonal(dim1=-2, dim2=-1)).mean()


@dataclass(frozen=True, eq=False)
class ZeCon:
    """The zero-shot contrastive loss (Yang et al. 2023): `patch_nce` between the features that the denoiser's own
    encoder finds in view and source view, summed over layers and over the batch. Nothing is trained for it.

    denoiser: its `features` at t = 0 are compared, at the blocks that its `feature_blocks` names.
    patches: places drawn anew for each layer and step, the same in both pictures and in all images of the batch; a
    smaller map gives all it has.
    """

    denoiser: Encoder
    patches: int = 256
    tau: float = 0.07
    generator: torch.Generator | None = None

    def __post_init__(self) -> None:
        if self.patches < 2:
            raise ValueError(f"patches must be at least 2, a place and one to tell it from; got {self.patches}")
        if self.tau <= 0:
            raise ValueError(f"tau, the temperature, must be above 0; got {self.tau}: the papers use 0.07")

    def __call__(self, state: State) -> Tensor:
        """A scalar. The gradient flows through the query only: the source is the example, not the pupil."""
        blocks = self.denoiser.feature_blocks
        queries = self.denoiser.features(state.view, 0, blocks)
        with torch.no_grad():
            keys = self.denoiser.features(state.source_view, 0, blocks)
        terms = []
        for query, key in zip(queries, keys, strict=True):
            places = torch.randperm(query[0, 0].numel(), generator=self.generator)[: self.patches].to(query.device)
            terms.append(patch_nce(_rows(query, places), _rows(key, places), self.tau))
        return len(state.view) * torch.stack(terms).sum()                  # patch_nce averages over the batch


def _rows(features: Tensor, places: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, P, C): one row of features for each place."""
    return features.flatten(2)[..., places].mT


def _unit_rows(rows: Tensor) -> Tensor:
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    return rows / (rows.norm(dim=-1, keepdim=True) + 1e-7)
