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
    # Some places are more like [CLS] than like themselves: whoever lets it compete loses them.
    query[1:4] = F.normalize(key[1:4], dim=-1) + 1.2 * F.normalize(key[:1], dim=-1)
    query[0] = key[0] = 9 * key[0]
    return query, key * (0.3 + 3 * torch.rand(tokens, 1, generator=generator))


def _two_cls(generator: torch.Generator) -> tuple[Tensor, ...]:
    batch = int(torch.randint(2, 6, (), generator=generator))
    return tuple(torch.randn(batch, 8, generator=generator) for _ in range(2))


def _qkv(generator: torch.Generator) -> tuple[Tensor]:
    """What the layer `qkv` returns, (B, 1 + P, 3 D)."""
    batch, tokens, width = torch.randint(4, 8, (3,), generator=generator).tolist()
    return (torch.randn(batch, 1 + tokens, 3 * width, generator=generator),)


def _keys_and_matrix(generator: torch.Generator) -> tuple[Tensor, ...]:
    width = int(torch.randint(4, 8, (), generator=generator))
    return tuple(torch.randn(rows, width, generator=generator, dtype=torch.float64) for rows in (10, width))


def _parts(qkv: Tensor, rows: slice = slice(1, None)) -> Tensor:
    return torch.stack(qkv.chunk(3, dim=-1))[:, :, rows]


def _in_turn(qkv: Tensor) -> Tensor:
    return qkv.unflatten(-1, (-1, 3)).movedim(-1, 0)[:, :, 1:]


def _turned(keys: Tensor, matrix: Tensor) -> Tensor:
    return keys @ torch.linalg.qr(matrix).Q.T


def _other_signs(keys: Tensor, matrix: Tensor) -> Tensor:
    q, r = torch.linalg.qr(matrix)
    return keys @ (q * r.diag().sign()).T


def _nearest_turn(keys: Tensor, matrix: Tensor) -> Tensor:
    u, _, vh = torch.linalg.svd(matrix)
    return keys @ (u @ vh).T


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


def _found_beside_cls(keys: Tensor, source_keys: Tensor) -> Tensor:
    query, key = F.normalize(keys[1:], dim=-1), F.normalize(source_keys, dim=-1)
    return ((query @ key.T).argmax(-1) == torch.arange(1, len(keys))).float().mean()


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
            "row 0 of the source is [CLS], which is no place either: no place of the result may find it.": (
                _found_beside_cls
            ),
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
            -2.0: "that stands before the bracket (CLS - CLS before); what is the bracket itself?",
        },
    ),
    Exercise(
        "query-key-value",
        _qkv,
        _parts,
        {
            "row 0 of each is that of [CLS], which is no place: leave it out.": lambda qkv: _parts(qkv, slice(None)),
            "you leave out the last place; [CLS] stands in front.": lambda qkv: _parts(qkv, slice(None, -1)),
            "the three do not take turns, number by number: each fills one third of the last dimension.": _in_turn,
            "the three are right, their order is not: as the layer's name has it, queries, keys, values.": (
                lambda qkv: _parts(qkv)[[1, 0, 2]]
            ),
        },
        "three descriptions of every place, from one layer.",
    ),
    Exercise(
        "turned-keys",
        _keys_and_matrix,
        _turned,
        {
            "that is the matrix itself, which stretches as well as turns: take its Q.": (
                lambda keys, matrix: keys @ matrix.T
            ),
            "you turn the other way: a key is a *row* here, and k becomes Q k.": (
                lambda keys, matrix: keys @ torch.linalg.qr(matrix).Q
            ),
            "columns of length 1 are not enough: in a rotation they stand at right angles to each other, too.": (
                lambda keys, matrix: keys @ F.normalize(matrix, dim=0).T
            ),
            "R is the part that stretches and shears; the turn is the other factor.": (
                lambda keys, matrix: keys @ torch.linalg.qr(matrix).R.T
            ),
            "a turn, and as free of charge; but some columns have the other sign than those of `torch.linalg.qr`.": (
                _other_signs
            ),
            "a turn, and as free of charge, the nearest to the matrix; wanted is its factor Q in Q R.": _nearest_turn,
        },
        "all lengths and all angles between the keys are what they were.",
        rtol=1e-3,
    ),
)
