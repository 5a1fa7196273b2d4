"""How pictures come to the square that a network reads. All take (B, 3, H, W) and give (B, 3, side, side)."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

Resize = Callable[[Tensor, int], Tensor]


def bilinear(images: Tensor, side: int, antialias: bool = False) -> Tensor:
    """Bilinear, whatever the shape; without `antialias` shrinking skips pixels, as torchvision once did on tensors."""
    if images.shape[-2:] == (side, side):
        return images
    return F.interpolate(images, (side, side), mode="bilinear", align_corners=False, antialias=antialias)


def by_area(images: Tensor, side: int) -> Tensor:
    """Shrinks by averaging areas, so that every pixel counts; enlarges bilinearly."""
    return F.adaptive_avg_pool2d(images, side) if min(images.shape[-2:]) >= side else bilinear(images, side)


def bicubic_centre(images: Tensor, side: int, antialias: bool = True) -> Tensor:
    """The short side to `side`, bicubic, then the square in the middle: CLIP's own way, and DiffusionCLIP's.

    antialias: False is what torchvision 0.8 did to tensors, with which DiffusionCLIP was published.
    """
    height, width = images.shape[-2:]
    size = [side * n // min(height, width) for n in (height, width)]
    images = F.interpolate(images, size, mode="bicubic", align_corners=False, antialias=antialias)
    top, left = (round((n - side) / 2) for n in size)
    return images[..., top : top + side, left : left + side]
