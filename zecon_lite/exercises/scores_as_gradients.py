"""Exercises of the chapter on scores as gradients."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from ..losses import result_anchored, source_anchored
from ..models.latent import eps_from_v
from ..scores import classifier_free_guidance, dds_gradient
from .grading import Exercise, Question


def _answers(generator: torch.Generator) -> tuple[Tensor | float, ...]:
    w = 2 + 8 * torch.rand((), generator=generator).item()
    return *torch.randn(4, 2, 4, 3, 3, generator=generator).unbind(), w


def _dds(eps_null: Tensor, eps_text: Tensor, source_null: Tensor, source_text: Tensor, w: float) -> Tensor:
    result = classifier_free_guidance(eps_null, eps_text, w)
    return dds_gradient(result, classifier_free_guidance(source_null, source_text, w))


def _noisy(generator: torch.Generator) -> tuple[Tensor, ...]:
    a = 0.1 + 0.8 * torch.rand((), generator=generator, dtype=torch.float64)
    return *torch.randn(2, 2, 4, 3, 3, generator=generator).unbind(), a


def _rows(generator: torch.Generator) -> tuple[Tensor | float, ...]:
    tau = 0.05 + 0.1 * torch.rand((), generator=generator).item()
    return *(F.normalize(torch.randn(9, 5, generator=generator), dim=1) for _ in range(2)), tau


def _range(generator: torch.Generator) -> tuple[int, int, int]:
    """First and end of a range, and a number of stretches that leaves at least two timesteps over."""
    first, n, length = (int(torch.randint(*ends, (), generator=generator)) for ends in ((20, 80), (3, 7), (50, 150)))
    over = int(torch.randint(2, n, (), generator=generator)) if n > 3 else 2
    return first, first + n * length + over, n


def _stretches(first: int, end: int, n: int) -> list[tuple[int, int]]:
    length, over = divmod(end - first, n)
    edges = [first + k * length + min(k, over) for k in range(n + 1)]
    return list(pairwise(edges))


def _equal(first: int, end: int, n: int, last: int = 0) -> list[tuple[int, int]]:
    """Stretches of one length, the remainder left out; the last one ends at `last`, if given."""
    length = (end - first) // n
    edges = [first + k * length for k in range(n + 1)]
    return list(pairwise([*edges[:-1], last or edges[-1]]))


EXERCISES = (
    Exercise(
        "dds-gradient",
        _answers,
        _dds,
        {
            "the sign is turned: the result's answer comes first, and z is moved against it.": (
                lambda *given: -_dds(*given)
            ),
            "only the conditional answers are compared; each picture must be guided first, from its answer without a "
            "prompt.": lambda en, et, sn, st, w: et - st,
            "that is w times the difference of the answers with a prompt: those without one, which differ for result "
            "and source, are missing, or were taken as equal.": lambda en, et, sn, st, w: (
                en + w * (et - en) - (en + w * (st - en))
            ),
            "guidance of w leads from the empty prompt: eps_null + w (eps_text - eps_null), not eps_text + w (...).": (
                lambda en, et, sn, st, w: et + w * (et - en) - (st + w * (st - sn))
            ),
        },
        "what the network gets wrong about both pictures has dropped out.",
    ),
    Exercise(
        "noise-from-v",
        _noisy,
        lambda z, v, a: eps_from_v(z, a, v),
        {
            "that is x0, sqrt(a) z_t - sqrt(1 - a) v; the noise is the other half of the rotation.": (
                lambda z, v, a: a**0.5 * z - (1 - a) ** 0.5 * v
            ),
            "sqrt(a) and sqrt(1 - a) have changed places: with hardly any noise (a near 1) v is the noise itself.": (
                lambda z, v, a: (1 - a) ** 0.5 * v + a**0.5 * z
            ),
            "the roots are missing: a and 1 - a are variances, what multiplies a picture is their root.": (
                lambda z, v, a: a * v + (1 - a) * z
            ),
        },
        "a rotation back, and no division: it stays finite at every noise level.",
    ),
    Exercise(
        "source-anchored-contrast",
        _rows,
        lambda result, source, tau: source_anchored(result, source, tau).mean(),
        {
            "those are CUT's roles: the result asks and the source's places are the candidates. Read the table the "
            "other way.": lambda result, source, tau: result_anchored(result, source, tau).mean(),
            "the temperature divides the cosines; yours is left out.": (
                lambda result, source, tau: source_anchored(result, source, 1.0).mean()
            ),
            "the temperature divides the cosines; yours multiplies them.": (
                lambda result, source, tau: source_anchored(result, source, 1 / tau).mean()
            ),
            "the loss is a mean over places, not their sum.": (
                lambda result, source, tau: source_anchored(result, source, tau).sum()
            ),
        },
        "each place of the source looks for itself in the result.",
    ),
    Question(
        "step-at-half-size",
        4.0,
        "2000 / (h w) grows fourfold when both sides are halved; the package keeps the step of 512-px pictures.",
        {
            2.0: "both sides are halved, and the sum is divided by their product.",
            0.25: "the scale is divided by h w, so a smaller picture takes larger steps.",
            1.0: "2000 / (h w) depends on the sides: that is the trap.",
        },
    ),
    Exercise(
        "stretches-of-time",
        _range,
        _stretches,
        {
            "`end` itself is never drawn: with your ends, the last timestep of every stretch is in none.": (
                lambda first, end, n: [(a, b - 1) for a, b in _stretches(first, end, n)]
            ),
            "neighbouring stretches share a timestep: what one ends before, the next begins with.": (
                lambda first, end, n: [(max(first, a - 1), b) for a, b in _stretches(first, end, n)]
            ),
            "you cut the timesteps from 0 on; the range begins at `first`.": (
                lambda first, end, n: _stretches(0, end, n)
            ),
            "the last timesteps are in no stretch: the range cannot be cut evenly, and yours is cut short.": _equal,
            "the remainder all goes to the highest stretch: no two may differ by more than one timestep.": (
                lambda first, end, n: _equal(first, end, n, last=end)
            ),
            "no timestep is lost and none is in two; but the longer stretches stand higher up than they should.": (
                lambda first, end, n: list(pairwise([first + k * (end - first) // n for k in range(n + 1)]))
            ),
        },
        "each timestep is in one stretch, and in no other.",
    ),
)
