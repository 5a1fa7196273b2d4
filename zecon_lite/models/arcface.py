"""ArcFace's IR-SE50: faces to embeddings that tell people apart, with the published checkpoint's parameter names.

A residual network with squeeze and excitation (Hu et al. 2018), trained with ArcFace's margin (Deng et al. 2019,
section 3.2.1, "improved residual"). Attribute names (`input_layer`, `res_layer`, `fc1`, ...) and the places in each
Sequential are dictated by that checkpoint: a state_dict loads strictly. Legend: B batch, C channels, D embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 112
STAGES = ((64, 3), (128, 4), (256, 14), (512, 3))    # (channels, blocks)


class SqueezeExcitation(nn.Module):
    """Each channel, times a number in (0, 1) that depends on what all of them hold on average (Hu et al. 2018, § 3)."""

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        return x * self.fc2(self.fc1(mean).relu()).sigmoid()


class Block(nn.Module):
    """Two convolutions beside a shortcut; with stride 2 the second, and the shortcut, keep every other pixel."""

    def __init__(self, channels: int, out_channels: int, stride: int):
        super().__init__()
        if channels == out_channels:
            self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)    # of one pixel: it only strides
        else:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, out_channels, 3, padding=1, bias=False),
            nn.PReLU(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            SqueezeExcitation(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


class ArcFace(nn.Module):
    """Faces (B, 3, 112, 112) in [-1, 1] -> embeddings (B, D) of length 1; the cosine of two says how alike people are.

    Faces are aligned, and fill the picture, as `losses.identity.face_crop` cuts them out. stages: (channels, blocks) of
    each; the first block of a stage halves the map. embedding: D.
    """

    def __init__(self, stages: Sequence[tuple[int, int]] = STAGES, embedding: int = 512):
        super().__init__()
        (first, _), (last, _) = stages[0], stages[-1]
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, first, 3, padding=1, bias=False), nn.BatchNorm2d(first), nn.PReLU(first)
        )
        blocks, channels = [], first
        for out_channels, count in stages:
            blocks.append(Block(channels, out_channels, 2))
            blocks += [Block(out_channels, out_channels, 1) for _ in range(count - 1)]
            channels = out_channels
        self.body = nn.Sequential(*blocks)
        side = SIDE // 2 ** len(stages)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(last),
            nn.Dropout(0.6),
            nn.Flatten(),
            nn.Linear(last * side * side, embedding),
            nn.BatchNorm1d(embedding),
        )

    def forward(self, faces: Tensor) -> Tensor:
        """(B, 3, 112, 112) in [-1, 1] -> (B, D). Raises ValueError for pictures of another shape."""
        if faces.shape[1:] != (3, SIDE, SIDE):
            raise ValueError(
                f"faces must be (B, 3, {SIDE}, {SIDE}) in [-1, 1]; got {tuple(faces.shape)}: cut them out of aligned "
                "portraits with losses.identity.face_crop(images)"
            )
        return F.normalize(self.output_layer(self.body(self.input_layer(faces))), dim=1)
