"""Exercises of the chapter on DiffusionCLIP."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .grading import Exercise, Question


def _number(generator: torch.Generator, low: int, high: int) -> int:
    return int(torch.randint(low, high, (), generator=generator))


# ------------------------------------------------------------------------------------------------- the two timetables


def _journey_numbers(generator: torch.Generator) -> tuple[int, int]:
    primes = (307, 401, 503, 601, 701)  # which no number of gaps divides, so that cutting and rounding differ
    return primes[_number(generator, 0, len(primes))], _number(generator, 5, 10)


def _stations(t0: int, n: int) -> list[int]:
    return [int(k / (n - 1) * t0) for k in range(n)]


def _timetable(t0: int, n: int) -> tuple[list[int], list[int]]:
    times = _stations(t0, n)
    return times[:-1], times[::-1]


def _rounded(t0: int, n: int) -> tuple[list[int], list[int]]:
    times = [round(k / (n - 1) * t0) for k in range(n)]
    return times[:-1], times[::-1]


def _equal_strides(t0: int, n: int) -> tuple[list[int], list[int]]:
    times = [k * (t0 // n) for k in range(n)]
    return times[:-1], times[::-1]


# ------------------------------------------------------------------------------------------------ the guarded direction

FLOOR = 0.05


def _near_pairs(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings of four pictures and their sources, unit rows, at four distances (0 among them); a text direction."""
    source, other = (F.normalize(torch.randn(4, 6, generator=generator), dim=1) for _ in range(2))
    shares = torch.tensor([[0.0], [0.01], [0.04], [0.8]])
    text = F.normalize(torch.randn(6, generator=generator), dim=0)
    return torch.where(shares == 0, source, F.normalize(source + shares * (other - source), dim=1)), source, text


def _loss(change: Tensor, length: Tensor, text: Tensor, log: bool = True) -> Tensor:
    direction = 1 - (change / length) @ text
    return -torch.log((2 - direction) / 2) if log else direction


def _guarded(image: Tensor, source: Tensor, text: Tensor, log: bool = True) -> Tensor:
    change = image - source
    return _loss(change, change.norm(dim=1, keepdim=True).clamp_min(FLOOR), text, log)


def _with_length(length: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    def wrong(image: Tensor, source: Tensor, text: Tensor) -> Tensor:
        change = image - source
        return _loss(change, length(change.norm(dim=1, keepdim=True)), text)

    return wrong


# ------------------------------------------------------------------------------------------------------ mixing in bands

BAND = 300


def _beliefs(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    first, second = (torch.randn(6, 5, generator=generator) for _ in range(2))
    times = torch.randint(1000, (6,), generator=generator)
    times[:3] = torch.tensor([BAND - 1, BAND, BAND + 1])
    return first, second, times


def _mixed(
    first: Tensor, second: Tensor, t: Tensor, shares: tuple[float, float] = (0.25, 0.75), above: int = BAND
) -> Tensor:
    both = shares[0] * first + shares[1] * second
    return torch.where((t >= above)[:, None], first, both)


# ------------------------------------------------------------------------------------------------ passes and updates


def _training_numbers(generator: torch.Generator) -> tuple[int, ...]:
    return tuple(_number(generator, low, 10) for low in (3, 4, 5))


def _passes(n: int, pictures: int, epochs: int) -> tuple[int, int, int, int]:
    seen = pictures * epochs
    return 2 * n * seen, seen, n * seen, n * seen


# ------------------------------------------------------------------------------------- how much picture a latent holds


def _falling(generator: torch.Generator) -> tuple[Tensor, float]:
    """Cumulative products of alphas, falling towards 0, and a ratio of picture to noise."""
    betas = 0.02 + 0.2 * torch.rand(_number(generator, 40, 60), generator=generator, dtype=torch.float64)
    return (1 - betas).cumprod(0), 0.3 + 0.6 * torch.rand((), generator=generator).item()


def _last(values: Tensor, ratio: float) -> int:
    """The last position at which falling values are at least `ratio`."""
    return int((values >= ratio).sum()) - 1


def _latest(a: Tensor, ratio: float) -> int:
    return _last((a / (1 - a)).sqrt(), ratio)


EXERCISES = (
    Question(
        "training-pays",
        30,
        "each picture earns 2.4 - 0.4 = 2 s of the 60 back.",
        {
            25: "60 / 2.4 forgets that the trained network wants its 0.4 s a picture, too.",
            150: "60 / 0.4 says how many pictures the training time would make; what counts is what each one saves.",
        },
    ),
    Exercise(
        "timetable",
        _journey_numbers,
        _timetable,
        {
            "DiffusionCLIP cuts to whole numbers, `int(...)`; yours are rounded.": _rounded,
            "both ends must be in: n timesteps have n - 1 gaps, and the last timestep is t0.": _equal_strides,
            "on the way up nobody asks at t0: the climb ends there. That is one pass fewer than on the way down.": (
                lambda t0, n: (_stations(t0, n), _stations(t0, n)[::-1])
            ),
            "on the way down timestep 0 counts too: its pass leads to the clean picture.": (
                lambda t0, n: (_stations(t0, n)[:-1], _stations(t0, n)[:0:-1])
            ),
        },
        "n - 1 passes up, n down: almost, not quite, a mirror.",
    ),
    Exercise(
        "guarded-direction",
        _near_pairs,
        _guarded,
        {
            "where the picture has not changed, 0 / 0 is NaN: give the length a floor before you divide.": (
                _with_length(lambda length: length)
            ),
            "that floor is too low to help: divide by at least 0.05, not by at least 1e-12 or 1e-7.": (
                _with_length(lambda length: length.clamp_min(1e-12))
            ),
            "a floor is not a summand: lengths above 0.05 stay what they are. Use clamp_min(0.05), not + 0.05.": (
                _with_length(lambda length: length + FLOOR)
            ),
            "that is L itself; DiffusionCLIP minimises -log((2 - L) / 2).": (
                lambda image, source, text: _guarded(image, source, text, log=False)
            ),
        },
        "far away nothing is changed; at the source the slope is 1 / 0.05, and not infinite.",
    ),
    Exercise(
        "mixing-in-bands",
        _beliefs,
        _mixed,
        {
            "shares must add up to 1, or the noise grows: divide 1 and 3 by their sum.": (
                lambda a, b, t: _mixed(a, b, t, (1.0, 3.0))
            ),
            "timestep 300 itself belongs to the upper band: t >= 300.": lambda a, b, t: _mixed(a, b, t, above=BAND + 1),
            "the bands are swapped: large t is early, and there the first network speaks alone.": (
                lambda a, b, t: torch.where((t < BAND)[:, None], a, 0.25 * a + 0.75 * b)
            ),
            "one part of the first and three of the second; yours is the other way round.": (
                lambda a, b, t: _mixed(a, b, t, (0.75, 0.25))
            ),
        },
        "one network lays out the picture, both finish it.",
    ),
    Exercise(
        "passes-and-updates",
        _training_numbers,
        _passes,
        {
            "with checkpointing every step runs once more during the backward pass: 2 n, not n.": (
                lambda n, p, e: (n * p * e, p * e, n * p * e, n * p * e)
            ),
            "step by step there is an update after each step, so n for each picture.": (
                lambda n, p, e: (2 * n * p * e, p * e, n * p * e, p * e)
            ),
            "every epoch sees every picture again: multiply by the epochs.": (
                lambda n, p, e: (2 * n * p, p, n * p, n * p)
            ),
            "step by step nothing is computed twice: no step's activations wait for another's.": (
                lambda n, p, e: (2 * n * p * e, p * e, 2 * n * p * e, n * p * e)
            ),
        },
        "half the passes and n times the updates: at the same learning rate that is another training altogether.",
    ),
    Exercise(
        "latest-start",
        _falling,
        _latest,
        {
            "a and 1 - a are variances; the factors of picture and noise are their roots.": (
                lambda a, ratio: _last(a / (1 - a), ratio)
            ),
            "one too late: timesteps count from 0, and at yours the picture has fallen below the ratio already.": (
                lambda a, ratio: _latest(a, ratio) + 1
            ),
            "you hold the picture's factor alone against `ratio`; the noise has a factor, too.": (
                lambda a, ratio: _last(a.sqrt(), ratio)
            ),
            "that is the timestep nearest to the ratio; the picture may have fallen below it there.": (
                lambda a, ratio: int(((a / (1 - a)).sqrt() - ratio).abs().argmin())
            ),
            "that is the last timestep of all, which has most noise: is your ratio upside down?": (
                lambda a, ratio: len(a) - 1
            ),
        },
        "a latent from any earlier timestep holds still more of the picture.",
    ),
)
