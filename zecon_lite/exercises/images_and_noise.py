"""Exercises of the chapter on images and noise."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ..schedule import Schedule
from .draws import levels, pictures
from .grading import Exercise, Question


def _mixed(x0: Tensor, a: Tensor | float, noise: Tensor) -> Tensor:
    return a**0.5 * x0 + (1 - a) ** 0.5 * noise


def _picture_ratio_noise(generator: torch.Generator) -> tuple[Tensor, ...]:
    ratio = 0.1 + 0.8 * torch.rand((), generator=generator, dtype=torch.float64)
    x0, noise = pictures(generator, 2)
    return x0, ratio, noise


def _noised_to(x0: Tensor, ratio: Tensor, noise: Tensor) -> Tensor:
    return _mixed(x0, ratio / (1 + ratio), noise)


def _two_levels(generator: torch.Generator) -> tuple[Tensor, ...]:
    return *pictures(generator, 1), *levels(generator, 2), *pictures(generator, 1)


def _noised_further(x: Tensor, a: Tensor, a_later: Tensor, noise: Tensor) -> Tensor:
    return _mixed(x, a_later / a, noise)


def _step_back(generator: torch.Generator) -> tuple[Tensor, ...]:
    a_prev, a = levels(generator, 2)
    return *pictures(generator, 2), a, a_prev


def _posterior(x: Tensor, x0: Tensor, a: Tensor, a_prev: Tensor) -> tuple[Tensor, Tensor]:
    beta = 1 - a / a_prev
    mean = (beta * a_prev.sqrt() * x0 + (1 - beta).sqrt() * (1 - a_prev) * x) / (1 - a)
    return mean, beta * (1 - a_prev) / (1 - a)


def _a_for_a_prev(x: Tensor, x0: Tensor, a: Tensor, a_prev: Tensor) -> tuple[Tensor, Tensor]:
    mean, variance = _posterior(x, x0, a, a_prev)
    return mean + (a.sqrt() - a_prev.sqrt()) * (1 - a / a_prev) / (1 - a) * x0, variance


def _shares_exchanged(x: Tensor, x0: Tensor, a: Tensor, a_prev: Tensor) -> tuple[Tensor, Tensor]:
    beta = 1 - a / a_prev
    mean = (beta * x + (1 - beta).sqrt() * (1 - a_prev) * a_prev.sqrt() * x0) / (1 - a)
    return mean, beta * (1 - a_prev) / (1 - a)


def _table(generator: torch.Generator) -> tuple[Tensor, int]:
    length = 40 + int(torch.randint(40, (), generator=generator))
    n = 2 * int(torch.randint(3, 8, (), generator=generator))  # even: no timestep lies half-way between two whole ones
    return (1 - 0.1 * torch.rand(length, generator=generator, dtype=torch.float64)).cumprod(0), n


def _at(alphas_cumprod: Tensor, timesteps: Iterable[int]) -> tuple[Tensor, Tensor]:
    index = torch.tensor(list(timesteps))
    return index, alphas_cumprod[index]


def _respaced(alphas_cumprod: Tensor, n: int) -> tuple[Tensor, Tensor]:
    stride = (len(alphas_cumprod) - 1) / (n - 1)
    return _at(alphas_cumprod, (round(k * stride) for k in range(n)))


def _shares_picked(alphas_cumprod: Tensor, n: int) -> tuple[Tensor, Tensor]:
    timesteps, _ = _respaced(alphas_cumprod, n)
    kept = alphas_cumprod / torch.cat([alphas_cumprod.new_ones(1), alphas_cumprod[:-1]])
    return timesteps, kept[timesteps].cumprod(0)


def _first_below(ratio: float, schedule: Schedule) -> float:
    a = schedule.alphas_cumprod
    return float((a / (1 - a) < ratio).nonzero()[0])


def _as_noisy(schedule: Schedule, level: Tensor) -> float:
    return float((schedule.alphas_cumprod - level).abs().argmin())


_START = Schedule.linear().respace(50)  # a recipe's: start at position 25

EXERCISES = (
    Exercise(
        "noised-to-ratio",
        _picture_ratio_noise,
        _noised_to,
        {
            "the ratio is a / (1 - a), not a itself: solve it for a first.": _mixed,
            "a is right; a share of the variance wants its *root* as a factor: sqrt(a) and sqrt(1 - a), equation 4.": (
                lambda x0, ratio, noise: (ratio * x0 + noise) / (1 + ratio)
            ),
            "the variances of picture and noise must add up to 1, not their factors: the noise gets sqrt(1 - a).": (
                lambda x0, ratio, noise: noise + (ratio / (1 + ratio)).sqrt() * (x0 - noise)
            ),
            "the factors are exchanged: a, the picture's share, is ratio / (1 + ratio).": (
                lambda x0, ratio, noise: _noised_to(noise, ratio, x0)
            ),
            "the ratio compares variances; yours compares the factors, so it comes out squared.": (
                lambda x0, ratio, noise: _noised_to(x0, ratio**2, noise)
            ),
        },
        "one number says it all: how many times larger the picture's variance is than the noise's.",
    ),
    Exercise(
        "noised-further",
        _two_levels,
        _noised_further,
        {
            "x is not clean: it holds sqrt(a) of the picture already, so only a factor sqrt(a_later / a) is missing.": (
                lambda x, a, a_later, noise: _mixed(x, a_later, noise)
            ),
            "the picture's factor is right, but x brings noise of its own: add just what is missing, the variance "
            "1 - a_later / a.": (
                lambda x, a, a_later, noise: (a_later / a).sqrt() * x + (1 - a_later).sqrt() * noise
            ),
            "that adds the difference of the two noise variances, but x's own noise shrinks with x: wanted is "
            "1 - a_later / a.": (
                lambda x, a, a_later, noise: (a_later / a).sqrt() * x + (a - a_later).sqrt() * noise
            ),
            "a share of the variance wants its root as a factor: sqrt(a_later / a) and sqrt(1 - a_later / a).": (
                lambda x, a, a_later, noise: a_later / a * x + (1 - a_later / a) * noise
            ),
        },
        "from any level to any later one in a single jump; between neighbours it is the forward step.",
    ),
    Exercise(
        "posterior",
        _step_back,
        _posterior,
        {
            "variance right, mean uses a where a_prev belongs: one step ago the picture's factor was sqrt(a_prev).": (
                _a_for_a_prev
            ),
            "variance right; in the mean the shares are exchanged: beta goes with x0, (1 - a_prev) with x.": (
                _shares_exchanged
            ),
            "mean right; beta is the variance of the step forward. Whoever knows x0 too is surer: precisions add.": (
                lambda x, x0, a, a_prev: (_posterior(x, x0, a, a_prev)[0], 1 - a / a_prev)
            ),
            "mean right; that is the standard deviation, its square is asked for.": (
                lambda x, x0, a, a_prev: (_posterior(x, x0, a, a_prev)[0], _posterior(x, x0, a, a_prev)[1].sqrt())
            ),
            "mean right, the variance is missing: return both, `mean, variance`.": (
                lambda x, x0, a, a_prev: _posterior(x, x0, a, a_prev)[0]
            ),
        },
        "two bell curves multiplied. Chapter 2 walks back with this mean and this variance.",
    ),
    Question(
        "signal-gone",
        _first_below(1e-2, Schedule.linear()),
        "the first timestep with a / (1 - a) below 0.01; a third of the schedule still follows it.",
        {
            _first_below(1e-4, Schedule.linear()): (
                "there the *factors* stand 1 : 100, so the variances stand 1 : 10,000; ask for a / (1 - a)."
            ),
            _first_below(1e-2, Schedule.cosine()): "that is the cosine schedule's; the question is about the linear.",
            float((Schedule.linear().alphas_cumprod < 0.01).nonzero()[0]): (
                "there the picture's share a is below 0.01; asked is the ratio of picture to noise, a / (1 - a)."
            ),
            _first_below(1e-1, Schedule.linear()): "there is only ten times more noise than picture.",
        },
        rtol=1e-3,
    ),
    Exercise(
        "respaced",
        _table,
        _respaced,
        {
            "the last timestep is missing: both ends stay, so n positions have n - 1 gaps between them.": (
                lambda alphas_cumprod, n: _at(
                    alphas_cumprod, (round(k * len(alphas_cumprod) / n) for k in range(n))
                )
            ),
            "a whole stride stops short of the end: let the stride be a fraction, and round each timestep.": (
                lambda alphas_cumprod, n: _at(
                    alphas_cumprod, (k * ((len(alphas_cumprod) - 1) // (n - 1)) for k in range(n))
                )
            ),
            "each timestep is rounded down; wanted is the nearest whole number.": (
                lambda alphas_cumprod, n: _at(
                    alphas_cumprod, (k * (len(alphas_cumprod) - 1) // (n - 1) for k in range(n))
                )
            ),
            "the timesteps are right; you have picked *shares* and multiplied them anew; the steps between are lost. "
            "Pick the levels.": _shares_picked,
            "the timesteps are right; the levels do not lie on a straight line between the ends. Look them up.": (
                lambda alphas_cumprod, n: (
                    _respaced(alphas_cumprod, n)[0],
                    alphas_cumprod[0] + (alphas_cumprod[-1] - alphas_cumprod[0]) * torch.arange(n) / (n - 1),
                )
            ),
            "the levels are right, the timesteps are missing: return both, `timesteps, levels`.": (
                lambda alphas_cumprod, n: _respaced(alphas_cumprod, n)[1]
            ),
            "the two have changed places: return `timesteps, levels`.": (
                lambda alphas_cumprod, n: _respaced(alphas_cumprod, n)[::-1]
            ),
        },
        "two short tables, and the shares follow by themselves. Nothing of the process has changed but where we look.",
    ),
    Question(
        "same-noise",
        _as_noisy(Schedule.cosine(), _START.alphas_cumprod[25]),
        "equal noise is equal alphas_cumprod, whatever the schedule and its count of steps.",
        {
            float(_START.timesteps[25]): (
                "that is the timestep on the *linear* schedule; at the same timestep the cosine one has kept far more."
            ),
            25.0: "25 is a position among 50; wanted is one of the thousand timesteps.",
            _as_noisy(Schedule.cosine(), _START.alphas_cumprod[25].square()): (
                "compare alphas_cumprod with alphas_cumprod; one of yours has been squared, or the other rooted."
            ),
        },
        rtol=1e-3,
    ),
)
