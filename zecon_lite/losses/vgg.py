"""A perceptual loss: the source again, but seen through the first layers of a VGG."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..state import State


@dataclass(frozen=True, eq=False)
class VGGContent:
    """Mean squared difference of VGG features of view and source view, summed over layers and over the batch.

    vgg: images in [-1, 1] -> its feature maps, [(B, C_k, H_k, W_k)], such as `models.vgg.VGG`, whose layers relu1_1 and
    relu2_1 are those that the released ZeCon code compares: edges and fine texture.
    """

    vgg: Callable[[Tensor], list[Tensor]]

    def __call__(self, state: State) -> Tensor:
        """A scalar; the gradient flows through the view only."""
        with torch.no_grad():
            wanted = self.vgg(state.source_view)
        layers = zip(self.vgg(state.view), wanted, strict=True)
        total: Any = sum((found - want).square().mean((1, 2, 3)).sum() for found, want in layers)    # begins with 0
        return total
