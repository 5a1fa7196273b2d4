"""Does a face stay the same person? Asked of a face recognition network, such as ArcFace's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from ..state import State

FACE = (35 / 256, 223 / 256, 32 / 256, 220 / 256)    # top, bottom, left, right of the face in an aligned FFHQ picture


def face_crop(images: Tensor, side: int = 112) -> Tensor:
    """The face of aligned portraits (B, 3, H, W), averaged down to (B, 3, side, side), as ArcFace was trained on."""
    height, width = images.shape[-2:]
    top, bottom, left, right = (round(f * n) for f, n in zip(FACE, (height, height, width, width), strict=True))
    return F.adaptive_avg_pool2d(images[..., top:bottom, left:right], side)


def identity_distance(face: Tensor, other: Tensor) -> Tensor:
    """1 - cosine of two face embeddings (..., D): (...), 0 for the same person."""
    return 1 - torch.cosine_similarity(face, other, dim=-1)


@dataclass(eq=False)
class Identity:
    """`identity_distance` between picture and source, summed over the batch (DiffuseIT's and DiffusionCLIP's l_id).

    face: faces (B, 3, 112, 112) in [-1, 1] -> embeddings (B, D), such as `models.ArcFace`. The source's embedding is
    found once. Differs from the released code, which finds it anew at every step.
    """

    face: Callable[[Tensor], Tensor]
    _source: tuple[Tensor, Tensor] | None = field(default=None, init=False, repr=False)

    def __call__(self, state: State) -> Tensor:
        """A scalar."""
        if self._source is None or self._source[0] is not state.source:
            with torch.no_grad():
                self._source = state.source, self.face(face_crop(state.source))
        return identity_distance(self.face(face_crop(state.view)), self._source[1]).sum()
