"""Losses: each is a formula on tensors and, where it needs a network, a small object around it.

A loss takes a `State` and returns a scalar: the sum over the batch of one value per image.
"""

from .clip import ClipDirection, ClipDistance, clip_direction, clip_distance
from .contrast import ZeCon, patch_nce
from .pixels import mse, out_of_range, total_variation
from .vgg import VGGContent

__all__ = [
    "ClipDirection",
    "ClipDistance",
    "VGGContent",
    "ZeCon",
    "clip_direction",
    "clip_distance",
    "mse",
    "out_of_range",
    "patch_nce",
    "total_variation",
]
