"""Exercises of the chapter on a ViT's keys and its [CLS]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .grading import Exercise, Question


def _two_keys(generator: torch.Generator) -> tuple[Tensor, ...]:
    return tuple(torch.randn(10, 6, generator=generator) for _ in range(2))


def _near_keys(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Keys (P, 6) of two pictures that agree in part; [CLS] agrees with itself, and is longer than the rest."""
    tokens = int(torch.randint(10, 20, (), generator=generator))
    key = torch.randn(tokens, 6, generator=generator)
    query = key + torch.randn(tokens, 6, generator=generator)
    query[0] = key[0] = 9 * key[0]
    return query, key * (0.3 + 3 * torch.rand(tokens, 1, generator=generator))


def _two_cls(generator: torch.Generator) -> tuple[Tensor, ...]:
    batch = int(torch.randint(2, 6, (), generator=generator))
    return tuple(torch.randn(batch, 8, generator=generator) for _ in range(2))


def _cosines(keys: Tensor, normalise: bool = True) -> Tensor:
    keys = F.normalize(keys, dim=-1) if normalise else keys
    return keys @ keys.mT


def _structure(keys: Tensor, source_keys: Tensor, normalise: bool = True) -> Tensor:
    return (_cosines(keys, normalise) - _cosines(source_keys, normalise)).square().mean()


def _found(keys: Tensor, source_keys: Tensor, first: int = 1, normalise: bool = True, dim: int = -1) -> Tensor:
    query, key = keys[first:], source_keys[first:]
    if normalise:
        query, key = F.normalize(query, dim=-1), F.normalize(key, dim=-1)
    return ((query @ key.T).argmax(dim) == torch.arange(len(query))).float().mean()


EXERCISES = (
    Exercise(
        "key-self-similarity",
        _two_keys,
        _structure,
        {
            "the tables must hold cosines: give the keys length 1 first.": lambda k, s: _structure(k, s, False),
            "that is the Frobenius norm of the difference, as in the paper; the loss takes the mean of its squares.": (
                lambda k, s: (_cosines(k) - _cosines(s)).norm()
            ),
            "the keys themselves are compared; compare what resembles what within each picture.": (
                lambda k, s: (F.normalize(k, dim=-1) - F.normalize(s, dim=-1)).square().mean()
            ),
            "one table between the pictures is not enough: make one table within each, and subtract.": (
                lambda k, s: (F.normalize(k, dim=-1) @ F.normalize(s, dim=-1).mT - 1).square().mean()
            ),
        },
        "the arrangement is compared, whatever the keys themselves have become.",
    ),
    Exercise(
        "nearest-key",
        _near_keys,
        _found,
        {
            "row 0 is [CLS], which is no place: leave it out of both pictures.": lambda k, s: _found(k, s, first=0),
            "long keys win without being alike: give all keys length 1.": lambda k, s: _found(k, s, normalise=False),
            "each place of the result looks among all places of the source: take the argmax along a row (dim=-1).": (
                lambda k, s: _found(k, s, dim=0)
            ),
        },
        "the share of places that are recognised; guessing finds one in as many as there are.",
    ),
    Exercise(
        "cls-divergence",
        _two_cls,
        lambda cls, before: -(cls - before).square().mean(-1).sum(),
        {
            "the sign is turned: the loss must fall when [CLS] moves away from where it was.": (
                lambda cls, before: (cls - before).square().mean(-1).sum()
            ),
            "the mean runs over the numbers of one [CLS]; the values of the pictures are added up.": (
                lambda cls, before: -(cls - before).square().mean()
            ),
            "take the mean over the numbers of a [CLS], not their sum.": (
                lambda cls, before: -(cls - before).square().sum()
            ),
        },
        "away from where it was, each picture for itself.",
    ),
    Question(
        "cls-at-rest",
        0.0,
        "the distance is a square, and a square is flat at its foot: something else must make the first move.",
        {
            -1.0: "that is the sign of the loss, not its slope.",
            2.0: "the slope is -2 (CLS - CLS before) / D, times how [CLS] depends on the picture; what is the bracket?",
        },
    ),
)
