"""The networks that judge pictures and guide nothing: two classifiers of different architecture, and a segmenter.

Scores can be fooled by guidance towards a relative of the judge. So these share no layer with what guides: `judge_a`
is a plain convolutional network, `judge_b` a ConvNeXt, each trained on its own half of the pictures from its own seed.
Both read 64 px; `timm` is imported when `judge_b` is built.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import world

PLAIN = ((48,), (80, 80), (144, 144))  # channels of the convolutions at 32, 16 and 8 positions a side
CONVNEXT: dict[str, Any] = {"depths": (1, 2, 3, 1), "dims": (24, 48, 96, 128), "patch_size": 2, "ls_init_value": None}
SEGMENTER = (32, 64, 96)  # channels at 32, 16 and 8 positions a side


class Judge(nn.Module):
    """A body that describes a picture by D numbers, and one linear head over styles, objects and backgrounds.

    (B, 3, H, W) in [-1, 1] -> three tables of logits; the first style is the photo. `features` gives the (B, D) that
    the head reads.
    """

    def __init__(self, body: nn.Module, width: int) -> None:
        super().__init__()
        self.body = body
        self.split = (len(world.STYLES) + 1, len(world.OBJECTS), len(world.BACKGROUNDS))
        self.head = nn.Linear(width, sum(self.split))

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, D)."""
        return self.body(images)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.head(self.features(images)).split(self.split, dim=1)


def build_judge_a() -> Judge:
    """The plain judge, untrained: 3 x 3 convolutions, average pooling, nothing else."""
    layers: list[nn.Module] = [nn.PixelUnshuffle(2)]
    channels = 12
    for stage in PLAIN:
        for width in stage:
            layers.append(_convolution(channels, width))
            channels = width
        layers.append(nn.AvgPool2d(2))
    return Judge(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), channels)


def build_judge_b() -> Judge:
    """The ConvNeXt judge, untrained (Liu et al. 2022): depthwise 7 x 7 convolutions and layer norms, by `timm`."""
    from timm.models.convnext import ConvNeXt

    return Judge(ConvNeXt(num_classes=0, **CONVNEXT), CONVNEXT["dims"][-1])


class Segmenter(nn.Module):
    """Where the main object is: (B, 3, H, W) in [-1, 1] -> logits (B, 1, H, W), sides multiples of 8.

    A small U-Net (Ronneberger et al. 2015), trained on photos and every style alike, so that it looks at shapes.
    """

    def __init__(self) -> None:
        super().__init__()
        one, two, three = SEGMENTER
        self.fine = nn.Sequential(nn.PixelUnshuffle(2), _convolution(12, one), _convolution(one, one))
        self.middle = nn.Sequential(nn.AvgPool2d(2), _convolution(one, two), _convolution(two, two))
        self.coarse = nn.Sequential(nn.AvgPool2d(2), *(_convolution(c, three) for c in (two, three, three)))
        self.up_middle = _convolution(three + two, two)
        self.up_fine = _convolution(two + one, one)
        self.out = nn.Sequential(nn.Conv2d(one, 4, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, images: Tensor) -> Tensor:
        fine = self.fine(images)
        middle = self.middle(fine)
        up = F.interpolate(self.coarse(middle), scale_factor=2.0)
        up = F.interpolate(self.up_middle(torch.cat([up, middle], dim=1)), scale_factor=2.0)
        return self.out(self.up_fine(torch.cat([up, fine], dim=1)))


def overlap(masks: Tensor, truth: Tensor) -> Tensor:
    """Intersection over union of masks in [0, 1], cut at one half: (B, 1, H, W), (B, 1, H, W) -> (B,) in [0, 1]."""
    a, b = masks > 0.5, truth > 0.5
    return (a & b).sum((1, 2, 3)) / (a | b).sum((1, 2, 3)).clamp_min(1)


def _convolution(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False), nn.BatchNorm2d(channels_out), nn.ReLU()
    )
