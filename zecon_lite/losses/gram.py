"""Style as correlations: which features of a network occur together, wherever they occur (Gatys et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..state import State


def gram(features: Tensor) -> Tensor:
    """F F^T / (C H W) of feature maps (..., C, H, W), F their rows: (..., C, C). No place is left in it.

    >>> features = torch.tensor([[[1.0, 2.0]], [[0.0, 1.0]]])
    >>> gram(features)
    tensor([[1.2500, 0.5000],
            [0.5000, 0.2500]])
    >>> torch.equal(gram(features), gram(features.flip(-1)))
    True
    """
    rows = features.flatten(-2)
    return rows @ rows.mT / (rows.shape[-2] * rows.shape[-1])


def gram_distance(features: Tensor, style: Tensor, normalized: bool = False) -> Tensor:
    """The mean squared difference of two Gram matrices, from maps (..., C, H, W) and (..., C, h, w): (...).

    normalized: True takes 1 minus the cosine of the two matrices instead, which is the literal reading of a product
    G(a) * G(b) as a similarity: blind to how strong the features are.
    """
    a, b = gram(features), gram(style)
    if normalized:
        return 1 - torch.cosine_similarity(a.flatten(-2), b.flatten(-2), dim=-1)
    return (a - b).square().mean((-2, -1))


@dataclass(frozen=True, eq=False)
class GramDistance:
    """`gram_distance` between view and style picture, averaged over layers and summed over the batch.

    vgg: images in [-1, 1] -> its feature maps, [(B, C_k, H_k, W_k)]; Gatys et al. read relu1_1 to relu5_1 of VGG-19.
    style: (1 or B, 3, h, w) in [-1, 1], of any size.
    """

    vgg: Callable[[Tensor], list[Tensor]]
    style: Tensor
    normalized: bool = False

    def __call__(self, state: State) -> Tensor:
        """A scalar; the style picture is looked at once."""
        layers = zip(self.vgg(state.view), self._wanted, strict=True)
        return torch.stack([gram_distance(found, want, self.normalized) for found, want in layers]).mean(0).sum()

    @cached_property
    @torch.no_grad()
    def _wanted(self) -> list[Tensor]:
        return self.vgg(self.style)
