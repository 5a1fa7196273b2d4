"""Exercises of the chapter on writing one's own recipe."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .grading import Exercise, Question


def _two_batches(generator: torch.Generator) -> tuple[Tensor, ...]:
    batch = int(torch.randint(2, 6, (), generator=generator))
    return tuple(torch.rand(batch, 3, 6, 6, generator=generator) * 2 - 1 for _ in range(2))


def _strength(images: Tensor) -> Tensor:
    grey = images.mean(1)
    across, down = grey[:, :-1].diff(dim=2), grey[:, :, :-1].diff(dim=1)
    return (across.square() + down.square() + 1e-6).sqrt()


def _outlines(images: Tensor, others: Tensor) -> Tensor:
    a, b = _strength(images).flatten(1), _strength(others).flatten(1)
    return (1 - F.cosine_similarity(a, b, dim=1)).sum()


def _outlines_of_all(images: Tensor, others: Tensor) -> Tensor:
    a, b = _strength(images).flatten(), _strength(others).flatten()
    return 1 - F.cosine_similarity(a, b, dim=0)


def _palette(images: Tensor, others: Tensor, dims: tuple[int, ...] = (2, 3)) -> Tensor:
    """Squared difference of the colours' means and spreads, summed."""
    mean = images.mean(dims) - others.mean(dims)
    spread = images.std(dims) - others.std(dims)
    return mean.square().sum() + spread.square().sum()


def _gradients(generator: torch.Generator) -> tuple[Tensor, Tensor, float]:
    known, new = torch.randn(1, 3, 5, 5, generator=generator), 40 * torch.randn(1, 3, 5, 5, generator=generator)
    return known, new, 0.2 + torch.rand(1, generator=generator).item()


EXERCISES = (
    Exercise(
        "sum-of-outlines",
        _two_batches,
        _outlines,
        {
            "a loss is the sum over the batch of one value for each picture; yours is the mean, so a picture in a "
            "larger batch is pushed less.": lambda a, b: _outlines(a, b) / len(a),
            "all pictures of the batch are compared as one long picture: flatten from dimension 1 on.": (
                _outlines_of_all
            ),
            "the sign is turned.": lambda a, b: -_outlines(a, b),
            "that is the similarity, which guidance would lower: take 1 - cosine.": (
                lambda a, b: len(a) - _outlines(a, b)
            ),
            "return one number: the distances of the pictures, summed.": (
                lambda a, b: 1 - F.cosine_similarity(_strength(a).flatten(1), _strength(b).flatten(1), dim=1)
            ),
        },
        "a batch of three costs what its three pictures cost alone.",
    ),
    Exercise(
        "palette",
        _two_batches,
        _palette,
        {
            "means and spreads are taken over the batch as well: take them over the places (dim 2 and 3) of each "
            "picture.": lambda a, b: _palette(a, b, (0, 2, 3)),
            "the colours are mixed into one grey: keep the three channels apart.": (
                lambda a, b: _palette(a, b, (1, 2, 3))
            ),
            "the means are there, the spreads are missing.": (
                lambda a, b: (a.mean((2, 3)) - b.mean((2, 3))).square().sum()
            ),
            "that compares pixel by pixel, so it holds places and not colours: average over the places first.": (
                lambda a, b: (a - b).square().mean((2, 3)).sum()
            ),
        },
        "it knows which colours there are, and not where.",
    ),
    Exercise(
        "weight-for-a-share",
        _gradients,
        lambda known, new, share: share * known.norm() / new.norm(),
        {
            "the ratio is upside down: a long gradient wants a small weight.": (
                lambda known, new, share: share * new.norm() / known.norm()
            ),
            "the share is missing: with your weight both push equally.": (
                lambda known, new, share: known.norm() / new.norm()
            ),
            "those are the squares of the lengths: a weight multiplies a gradient once.": (
                lambda known, new, share: share * known.square().sum() / new.square().sum()
            ),
        },
        "weights are compared by the length of what they push with, not by the loss's value.",
    ),
    Question(
        "mean-over-the-batch",
        1 / 3,
        "each picture's gradient is divided by the size of the batch; the other terms, which are sums, are not.",
        {
            3: "it is the other way round: the mean divides.",
            1: "that would be so if this term were the only one and a `strength` fixed the push; beside other terms "
            "its share shrinks.",
        },
    ),
)
