"""Exercises of the chapter on patch contrast."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .grading import Exercise, Question


def _pairs(generator: torch.Generator) -> tuple[Tensor, ...]:
    places = int(torch.randint(8, 16, (), generator=generator))
    return tuple(torch.randn(places, 5, generator=generator) for _ in range(2))


def _contrast(query: Tensor, key: Tensor, tau: float = 0.07, dim: int = 1, normalise: bool = True) -> Tensor:
    if normalise:
        query, key = F.normalize(query, dim=1), F.normalize(key, dim=1)
    logits = query @ key.T / tau
    return -(logits.diag() - logits.logsumexp(dim=dim)).mean()


def _exam(generator: torch.Generator) -> tuple[Tensor, float]:
    places = int(torch.randint(4, 9, (), generator=generator))
    tau = 0.2 + 0.3 * torch.rand((), generator=generator).item()
    return 2 * torch.rand((places, places), generator=generator) - 1, tau


def _slope(cosines: Tensor, tau: float, dim: int = 1) -> Tensor:
    return ((cosines / tau).softmax(dim) - torch.eye(len(cosines))) / (tau * len(cosines))


def _maps(generator: torch.Generator) -> tuple[list[int], int]:
    """The places of three layers, ever coarser, and a count that the finest has and the coarsest has not."""
    fine = 8 * int(torch.randint(3, 7, (), generator=generator))
    count = int(torch.randint((fine // 4) ** 2 + 1, (fine // 2) ** 2, (), generator=generator))
    return [(fine // k) ** 2 for k in (1, 2, 4)], count


def _guessing(places: list[int], count: int) -> float:
    return sum(math.log(min(count, there)) for there in places)


def _costs(generator: torch.Generator) -> tuple[Tensor, ...]:
    """What 3 changes cost in 3 layers, (3, 3), then the untouched photo and another scene there, (3,) each; float64."""
    zero = 0.3 + torch.rand(3, generator=generator, dtype=torch.float64)
    other = zero + 1 + torch.rand(3, generator=generator, dtype=torch.float64)
    return zero + torch.rand((3, 3), generator=generator, dtype=torch.float64), zero, other


def _prices(loss: Tensor, zero: Tensor, other: Tensor) -> Tensor:
    return (loss - zero) / (other - zero)


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
            "the temperature divides the cosines; yours is left out.": lambda q, k: _contrast(q, k, tau=1.0),
            "the temperature divides the cosines; yours multiplies them.": lambda q, k: _contrast(q, k, tau=1 / 0.07),
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
            math.log(255) - 2: "the right place stands in the sum, too: 1 + 255 exp(-1 / tau).",
            math.log1p(256 * math.exp(-2)): "there are 256 answers in all, and 255 of them are wrong.",
        },
        rtol=1e-3,
    ),
    Question(
        "blank-sky",
        math.log(256),
        "256 answers, all equally likely: log 256, whatever the query, so the gradient is zero.",
        {
            0.0: "0 is the loss of a sure and right answer; here no place can be told from another.",
            1.0: "256 equal logits share the probability: each gets 1 / 256, and the loss is its negative logarithm.",
            8.0: "that is the logarithm to base 2, 8 bits; the loss is counted in nats.",
            math.log(255): "there are 255 rivals, and the right place is a possible answer as well.",
        },
        rtol=3e-4,
    ),
    Exercise(
        "contrast-slope",
        _exam,
        _slope,
        {
            "right but for the mean: the loss is an average over the P places, so each row counts 1 / P.": (
                lambda cosines, tau: len(cosines) * _slope(cosines, tau)
            ),
            "the cosines are divided by tau inside the loss: by the chain rule so is the slope.": (
                lambda cosines, tau: tau * _slope(cosines, tau)
            ),
            "the right place is missing: its probability less 1, so that it is pulled and not pushed.": (
                lambda cosines, tau: _slope(cosines, tau) + torch.eye(len(cosines)) / (tau * len(cosines))
            ),
            "the sign is turned: descent pushes down where the slope is positive, and that is for the rivals.": (
                lambda cosines, tau: -_slope(cosines, tau)
            ),
            "each query divides *its* probability among the keys: the softmax runs along a row (dim=1).": (
                lambda cosines, tau: _slope(cosines, tau, dim=0)
            ),
            "take the softmax of the cosines *over tau*.": (
                lambda cosines, tau: (cosines.softmax(1) - torch.eye(len(cosines))) / (tau * len(cosines))
            ),
        },
        "the right place is pulled with the probability that it lacks, each rival pushed with what it wrongly has.",
    ),
    Exercise(
        "loss-of-guessing",
        _maps,
        _guessing,
        {
            "a map gives no more places than it has: where `count` is larger, there are fewer answers to guess.": (
                lambda places, count: len(places) * math.log(count)
            ),
            "only `count` places are drawn from a map that has more, and the exam is among those that are drawn.": (
                lambda places, count: sum(math.log(there) for there in places)
            ),
            "each layer is an exam of its own, and their losses are added; you put all places into one exam.": (
                lambda places, count: math.log(sum(min(count, there) for there in places))
            ),
            "that is the mean over the layers; the loss is their sum.": (
                lambda places, count: _guessing(places, count) / len(places)
            ),
            "those are bits, logarithms to base 2; the loss is counted in nats.": (
                lambda places, count: _guessing(places, count) / math.log(2)
            ),
        },
        "a loss below it says that places are recognised; a coarse map adds the logarithm of all the places it has.",
    ),
    Exercise(
        "scaled-price",
        _costs,
        _prices,
        {
            "the untouched photo does not get the price 0: its loss is `zero`, since even it is charged for rivals.": (
                lambda loss, zero, other: loss / other
            ),
            "the untouched photo gets 0, but another scene does not get 1.": (
                lambda loss, zero, other: (loss - zero) / other
            ),
            "the scale is turned: yours gives 1 to the untouched photo and 0 to another scene.": (
                lambda loss, zero, other: 1 - _prices(loss, zero, other)
            ),
            "rows are changes and columns are layers: `zero` and `other` belong to the columns.": (
                lambda loss, zero, other: _prices(loss.T, zero, other).T
            ),
            "each layer has a 0 and a 1 of its own; you scale all of them by the mean over the layers.": (
                lambda loss, zero, other: _prices(loss, zero.mean(), other.mean())
            ),
        },
        "now layers can be compared, whatever their losses are in nats.",
    ),
)
