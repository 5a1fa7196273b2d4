"""Exercises of the chapter on patch contrast."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .grading import Exercise, Question


def _pairs(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return tuple(torch.randn(12, 5, generator=generator) for _ in range(2))


def _contrast(query: Tensor, key: Tensor, tau: float = 0.07, dim: int = 1, normalise: bool = True) -> Tensor:
    if normalise:
        query, key = F.normalize(query, dim=1), F.normalize(key, dim=1)
    logits = query @ key.T / tau
    return -(logits.diag() - logits.logsumexp(dim=dim)).mean()


EXERCISES = (
    Exercise(
        "patch-contrast",
        _pairs,
        _contrast,
        {
            "each query must choose among all keys: take the logsumexp along a row (dim=1), not down a column.": (
                lambda q, k: _contrast(q, k, dim=0)
            ),
            "queries and keys must have length 1, so that a product is a cosine: use torch.nn.functional.normalize.": (
                lambda q, k: _contrast(q, k, normalise=False)
            ),
            "the temperature divides the cosines; yours multiplies them, or is left out.": (
                lambda q, k: _contrast(q, k, tau=1.0)
            ),
            "the sign is turned: a loss falls when the right pair becomes more alike.": lambda q, k: -_contrast(q, k),
        },
        "every place is asked to find itself among all places.",
    ),
    Question(
        "perfect-contrast",
        math.log1p(255 * math.exp(-1 / 0.5)),
        "log(1 + 255 exp(-1 / tau)): at a high temperature even the perfect answer is uncertain.",
        {
            0.0: "even a perfect query is charged for the 255 other places, exp(0 / tau) each.",
            math.log1p(255 * math.exp(-1 / 0.07)): "that is the value at tau = 0.07; the question asks for tau = 0.5.",
        },
    ),
)
