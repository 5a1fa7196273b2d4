"""Matching the colours of one picture to another's, in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 1e-6    # the least variance, of values in [0, 1], that the picture's colours are taken to have


def match_colours(image: Tensor, reference: Tensor, stretch: bool = False) -> Tensor:
    """The image with the mean and the covariance of the reference's colours, clipped to [-1, 1].

    image: (B, 3, H, W); reference: (1 or B, 3, h, w), of any size; both in [-1, 1]. Of all linear maps that do it, the
    one that moves colours least (Monge and Kantorovich; Pitie & Kokaram 2007): A = S^-1/2 (S^1/2 R S^1/2)^1/2 S^-1/2
    for covariances S and R. An image of one colour gets the reference's mean: S has a floor.
    stretch: True does as the released DiffuseIT code does with the package color-matcher: both are first stretched to
    span the whole range, and so is the result, instead of being clipped; that changes its contrast.
    """
    # On the CPU: Apple's GPUs have no float64.
    x, y = (to_span(z) if stretch else (z + 1) / 2 for z in (image.cpu().double(), reference.cpu().double()))
    (mean, s), (wanted, r) = colour_statistics(x), colour_statistics(y)
    matched = (transfer_matrix(s, r) @ (x.flatten(2) - mean) + wanted).view_as(x)
    matched = to_span(matched) if stretch else matched.clamp(0, 1)
    return (matched * 2 - 1).to(image)


def colour_statistics(image: Tensor) -> tuple[Tensor, Tensor]:
    """The mean colour (B, 3, 1) and the covariance of colours (B, 3, 3) of images (B, 3, H, W)."""
    pixels = image.flatten(2)
    mean = pixels.mean(2, keepdim=True)
    centred = pixels - mean
    return mean, centred @ centred.mT / max(1, pixels.shape[-1] - 1)


def transfer_matrix(source: Tensor, reference: Tensor) -> Tensor:
    """The symmetric A with A S A = R, for covariances (B, 3, 3): the optimal map between two Gaussians."""
    values, vectors = torch.linalg.eigh(source)
    root = values.clamp_min(FLOOR).sqrt()
    half, inverse = (vectors * scale[..., None, :] @ vectors.mT for scale in (root, 1 / root))
    return inverse @ square_root(half @ reference @ half) @ inverse


def to_span(image: Tensor) -> Tensor:
    """Each image (B, 3, H, W) stretched so that its least value becomes 0 and its greatest 1."""
    low, high = image.amin((1, 2, 3), keepdim=True), image.amax((1, 2, 3), keepdim=True)
    return (image - low) / (high - low).clamp_min(1e-12)


def square_root(matrix: Tensor) -> Tensor:
    """The symmetric square root of a positive semidefinite matrix; rounding's negative eigenvalues count as 0."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp_min(0).sqrt()[..., None, :] @ vectors.mT
