"""Contrast between patches: each place of the picture should resemble the same place of the source, and no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..state import State


class Encoder(Protocol):
    """What ZeCon asks of a denoiser; `denoiser.LearnedVariance` and `denoiser.VPrediction` give it."""

    @property
    def feature_blocks(self) -> Sequence[int]:
        """The blocks of its encoder that are compared."""
        ...

    def features(self, x: Tensor, t: int, blocks: Sequence[int]) -> list[Tensor]:
        """The outputs of the encoder's `blocks`, [(B, C_k, H_k, W_k)], at training timestep t."""
        ...


def patch_nce(query: Tensor, key: Tensor, tau: float = 0.07) -> Tensor:
    """The mean cross-entropy of finding each row of query among all rows of key (CUT, Park et al. 2020).

    query, key: features (P, D) of P places; returns a scalar. Leading batch dimensions are averaged over; each image is
    compared with itself alone. tau: the temperature; smaller looks harder at the most similar places.
    Rows are scaled to unit length; the key is a constant. Half precision is computed in float32.
    Raises ValueError when the shapes differ.

    >>> rows = torch.eye(4)
    >>> patch_nce(rows, rows, tau=1.0), patch_nce(rows, rows.flip(0), tau=1.0)
    (tensor(0.7437), tensor(1.7437))
    """
    if query.shape != key.shape or query.ndim < 2:
        raise ValueError(
            f"query and key must both be (P, D), row for row; got {tuple(query.shape)} and {tuple(key.shape)}"
        )
    return place_nce(_unit_rows(query), _unit_rows(key.detach()), tau).mean()


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
        check_contrast(self.tau, self.patches)

    def __call__(self, state: State) -> Tensor:
        """A scalar. The gradient flows through the query only: the source is the example, not the pupil."""
        blocks = self.denoiser.feature_blocks
        queries = self.denoiser.features(state.view, 0, blocks)
        with torch.no_grad():
            keys = self.denoiser.features(state.source_view, 0, blocks)
        terms = []
        for query, key in zip(queries, keys, strict=True):
            places = _places(query, self.patches, self.generator)
            terms.append(patch_nce(_rows(query, places), _rows(key, places), self.tau))
        return len(state.view) * torch.stack(terms).sum()                  # patch_nce averages over the batch


# ------------------------------------------------------------------------------------------- contrast with roles


def place_nce(anchor: Tensor, candidates: Tensor, tau: float = 0.07) -> Tensor:
    """-log of the share that the right candidate gets of each anchor's softmax, (..., P) (InfoNCE; CUT, section 3.2).

    anchor, candidates: rows of unit length, (..., P, D); row i of one belongs to row i of the other, and the other rows
    of the same picture are the negatives. The gradient flows to both. Differs from the released code, which keeps the
    diagonal of the negatives in the softmax as a logit of -10 / tau: exp(-143), nothing in any precision.
    """
    logits = anchor @ candidates.mT / tau                                  # (P, P): how much row r resembles row c
    return logits.logsumexp(-1) - logits.diagonal(dim1=-2, dim2=-1)


def result_anchored(result: Tensor, source: Tensor, tau: float = 0.07) -> Tensor:
    """CUT's roles (Park et al. 2020): each place of the result looks for its own among the places of the source.

    Rows of unit length (..., P, D) -> (..., P). The source is a constant: a place of the result is pulled to its own
    place and pushed from the other places of the source, and no other place of the result feels it.
    """
    return place_nce(result, source.detach(), tau)


def source_anchored(result: Tensor, source: Tensor, tau: float = 0.07) -> Tensor:
    """CDS's roles (Nam et al. 2024, released code): each place of the source looks for its own in the result.

    Rows of unit length (..., P, D) -> (..., P). The source is a constant here too, but the negatives are now places *of
    the result*: they are moved as well, away from every place of the source that is not theirs. So one place's term
    reshapes the whole result, where CUT's moves one place.
    """
    return place_nce(source.detach(), result, tau)


@dataclass(frozen=True, eq=False)
class AttentionContrast:
    """The contrast of CDS (Nam et al. 2024) between what self-attention layers say of the result and of the source.

    layers: which layers, each by a part of its name: "up_blocks" takes the whole decoder, "up_blocks.1" one block.
    kind: "attn1" is self-attention; "attn2", attention to the text, is the paper's ablation. patch_sizes: the maps are
    averaged over squares of these sides first. patches: places drawn for each layer and patch size; a smaller map gives
    all it has. roles: `source_anchored` as in CDS, `result_anchored` as in CUT.
    """

    layers: tuple[str, ...] = ("up_blocks",)
    kind: str = "attn1"
    patch_sizes: tuple[int, ...] = (1, 2)
    patches: int = 256
    tau: float = 0.07
    roles: Callable[[Tensor, Tensor, float], Tensor] = source_anchored

    def __post_init__(self) -> None:
        check_contrast(self.tau, self.patches)
        if isinstance(self.layers, str):
            raise ValueError(f"layers must be a tuple of names; got {self.layers!r}: write ({self.layers!r},)")
        if not self.patch_sizes or min(self.patch_sizes) < 1:
            raise ValueError(f"patch_sizes must be whole numbers from 1, such as (1, 2); got {self.patch_sizes}")

    def __call__(
        self, result: Sequence[Tensor], source: Sequence[Tensor], generator: torch.Generator | None = None
    ) -> Tensor:
        """A scalar: the mean over places, summed over patch sizes, layers and pictures, as released.

        result, source: one map [(B, C_k, H_k, W_k)] for each layer. Draws one permutation for each layer and, within
        it, each patch size, in that order; it is shared by both maps and by the pictures of the batch.
        Raises ValueError for a patch larger than a map.
        """
        terms = []
        for of_result, of_source in zip(result, source, strict=True):
            for size in self.patch_sizes:
                if size > min(of_result.shape[-2:]):
                    raise ValueError(
                        f"a layer's map is {of_result.shape[-2]} x {of_result.shape[-1]}, smaller than a patch of "
                        f"{size}: leave that layer or that patch size out"
                    )
                query, key = (F.avg_pool2d(m, size) if size > 1 else m for m in (of_result, of_source))
                places = _places(query, self.patches, generator)
                query, key = (_unit_rows(_rows(m, places)) for m in (query, key))
                terms.append(self.roles(query, key, self.tau).mean(-1).sum())
        return torch.stack(terms).sum()


def check_contrast(tau: float, patches: int = 2) -> None:
    """Raises ValueError where there is nothing to tell a place from, or no temperature."""
    if patches < 2:
        raise ValueError(f"patches must be at least 2, a place and one to tell it from; got {patches}")
    if tau <= 0:
        raise ValueError(f"tau, the temperature, must be above 0; got {tau}: the papers use 0.07")


def _places(features: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Places of maps (B, C, H, W) in random order, drawn on the CPU: `count` of them, or all that there are."""
    return torch.randperm(features[0, 0].numel(), generator=generator)[:count].to(features.device)


def _rows(features: Tensor, places: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, P, C): one row of features for each place."""
    return features.flatten(2)[..., places].mT


def _unit_rows(rows: Tensor) -> Tensor:
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    return rows / (rows.norm(dim=-1, keepdim=True) + 1e-7)
