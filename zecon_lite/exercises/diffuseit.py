"""Exercises of the chapter on DiffuseIT."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .grading import Exercise, Question


def _embeddings(generator: torch.Generator) -> tuple[Tensor, ...]:
    # Of different lengths: who forgets to normalise must get other numbers.
    return tuple(length * torch.randn(8, generator=generator) for length in (1.0, 3.0, 0.4))


def _plan_sizes(generator: torch.Generator) -> tuple[int, ...]:
    return tuple(int(torch.randint(low, low + 9, (), generator=generator)) for low in (12, 3))


def _predictions(generator: torch.Generator) -> tuple[Tensor]:
    return (1.2 * torch.randn(3, 3, 4, 5, generator=generator),)


def _covariances(generator: torch.Generator) -> tuple[Tensor, ...]:
    return tuple(torch.randn(40, 3, generator=generator, dtype=torch.float64).T.cov() + 0.1 * k for k in range(2))


def _walk(generator: torch.Generator) -> tuple[Tensor, ...]:
    """[CLS] of several steps (N, D), of the source and of the style picture (1, D) each, far from zero."""
    count = int(torch.randint(3, 7, (), generator=generator))
    return tuple(1 + torch.randn(rows, 8, generator=generator) for rows in (count, 1, 1))


def _target(text: Tensor, source_text: Tensor, picture: Tensor, s: float = 0.4, i: float = 0.2) -> Tensor:
    return F.normalize(_raw_target(text, source_text, picture, s, i), dim=-1)


def _raw_target(text: Tensor, source_text: Tensor, picture: Tensor, s: float = 0.4, i: float = 0.2) -> Tensor:
    text, source_text, picture = (F.normalize(e, dim=-1) for e in (text, source_text, picture))
    return text - s * source_text + i * picture


def _plan(first: int, times: int) -> list[int]:
    return [first] * (times - 1) + list(range(first, -1, -1))


def _out_of_range(x0: Tensor, low: float = -1.0, power: int = 2) -> Tensor:
    return (x0 - x0.clamp(low, 1)).abs().pow(power).mean((1, 2, 3)).sum()


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.sqrt() @ vectors.T


def _colour_map(s: Tensor, r: Tensor) -> Tensor:
    half = _root(s)
    back = torch.linalg.inv(half)
    return back @ _root(half @ r @ half) @ back


def _way(cls: Tensor, source_cls: Tensor, style_cls: Tensor) -> tuple[Tensor, Tensor]:
    gone, way = cls - source_cls, style_cls - source_cls
    along = (gone * way).sum(-1) / way.square().sum(-1)
    return along, (gone - along[:, None] * way).norm(dim=-1) / way.norm(dim=-1)


def _way_by_lengths(cls: Tensor, source_cls: Tensor, style_cls: Tensor) -> tuple[Tensor, Tensor]:
    along, aside = _way(cls, source_cls, style_cls)
    length = (style_cls - source_cls).norm(dim=-1)
    return length * along, length * aside


def _way_by_cosines(cls: Tensor, source_cls: Tensor, style_cls: Tensor) -> tuple[Tensor, Tensor]:
    along = F.cosine_similarity(cls - source_cls, style_cls - source_cls)
    return along, (1 - along.square()).sqrt()


EXERCISES = (
    Exercise(
        "input-aware-target",
        _embeddings,
        _target,
        {
            "bring each of the three embeddings to length 1 before you add them: CLIP's raw lengths mean nothing.": (
                lambda t, s, p: F.normalize(t - 0.4 * s + 0.2 * p, dim=-1)
            ),
            "the direction is right, its length is not: normalise the sum as well.": _raw_target,
            "the source's text is what the picture shall leave: subtract it.": lambda t, s, p: _target(t, s, p, s=-0.4),
            "that is a target for any picture: the source's own embedding is missing.": (
                lambda t, s, p: _target(t, s, p, i=0.0)
            ),
            "the numbers are exchanged: 0.4 belongs to the source's text, 0.2 to its picture.": (
                lambda t, s, p: _target(t, s, p, 0.2, 0.4)
            ),
        },
        "towards the text, away from the old text, and still in reach of this picture.",
    ),
    Exercise(
        "plan-with-resampling",
        _plan_sizes,
        _plan,
        {
            "the plan must end at position 0, the last step to a clean picture: range stops before its end.": (
                lambda first, times: _plan(first, times)[:-1]
            ),
            "the first position is taken once too often: the descent visits it, too.": (
                lambda first, times: [first, *_plan(first, times)]
            ),
            "that is the plan without resampling.": lambda first, times: _plan(first, 1),
            "only the first position is repeated; yours repeats every one.": (
                lambda first, times: [i for i in range(first, -1, -1) for _ in range(times)]
            ),
        },
        "resampling needs no code of its own: where the list does not go down, the sampler climbs.",
    ),
    Exercise(
        "out-of-range",
        _predictions,
        _out_of_range,
        {
            "that is the mean over the batch: losses are sums over it, so that a picture's push does not depend on its "
            "neighbours.": lambda x0: _out_of_range(x0) / len(x0),
            "pictures here are in [-1, 1]; yours lets only [0, 1] pass.": lambda x0: _out_of_range(x0, low=0.0),
            "square the overflow: its slope then vanishes at the border, and the loss is smooth.": (
                lambda x0: _out_of_range(x0, power=1)
            ),
            "take the mean over channels and pixels, not the sum: a larger picture must not be pushed harder.": (
                lambda x0: _out_of_range(x0) * x0[0].numel()
            ),
        },
        "nothing happens inside the range, and outside the push grows with the distance.",
        rtol=1e-3,
    ),
    Exercise(
        "colour-map",
        _covariances,
        _colour_map,
        {
            "that map goes the other way, from R to S.": lambda s, r: _colour_map(r, s),
            "A S A.T = R holds, but A is not symmetric: Cholesky's factors give another of the many maps, which moves "
            "colours farther than it must.": (
                lambda s, r: torch.linalg.cholesky(r) @ torch.linalg.inv(torch.linalg.cholesky(s))
            ),
            "R^1/2 S^-1/2 is symmetric only where S and R commute: put S^1/2 around R before you take the root.": (
                lambda s, r: _root(r) @ torch.linalg.inv(_root(s))
            ),
            "that matches each channel by itself, and forgets how the channels go together.": (
                lambda s, r: (r.diag() / s.diag()).sqrt().diag()
            ),
        },
        "symmetric, positive, and A S A = R: the map that moves colours least.",
    ),
    Exercise(
        "way-to-the-style",
        _walk,
        _way,
        {
            "subtract the source's [CLS] first: the way begins there, not at zero.": (
                lambda cls, s, g: _way(cls, torch.zeros_like(s), g - s)
            ),
            "that counts from the style picture to the source.": lambda cls, s, g: _way(cls, g, s),
            "those are lengths; give both in units of the way from source to style.": _way_by_lengths,
            "cosine and sine tell the direction alone, however far [CLS] has gone.": _way_by_cosines,
            "`along` is right; `aside` holds all that was gone. Take the part that lies along the way off it.": (
                lambda cls, s, g: (_way(cls, s, g)[0], (cls - s).norm(dim=-1) / (g - s).norm(dim=-1))
            ),
            "`along` is right, `aside` is squared: take the root.": (
                lambda cls, s, g: (_way(cls, s, g)[0], _way(cls, s, g)[1].square())
            ),
        },
        "a distance from the source alone cannot tell towards from away; these two numbers can.",
    ),
    Question(
        "passes-of-the-transformer",
        131,
        "129 guided steps, one pass each; and one pass for the source, one for the style picture, in the whole run.",
        {
            129: "the steps are counted; but who looked at the source, and at the style picture?",
            122: "ten visits to the first position are nine more steps.",
            132: "ten visits to the first position are nine more steps, not ten: the plan has one of them anyway.",
            91: "80 of the 200 positions are left out; the other 120 are taken.",
            516: "one pass gives keys and [CLS] together: the four losses share it.",
            518: "two for what is looked at once is right; but the four losses of a step share one pass.",
        },
        rtol=1e-6,
    ),
)
