"""Exercises of the chapter on skipping to t0."""

from __future__ import annotations

import torch
from torch import Tensor

from ..schedule import Schedule
from .draws import levels, pictures
from .grading import Exercise, Question


def _run(generator: torch.Generator) -> tuple[object, ...]:
    source, noise = pictures(generator, 2)
    skip = int(torch.randint(3, 8, (), generator=generator))
    steps = int(torch.randint(15, 30, (), generator=generator))
    return source, Schedule.linear().respace(steps).alphas_cumprod, skip, noise


def _start(source: Tensor, alphas_cumprod: Tensor, skip: int, noise: Tensor, position: int | None = None) -> Tensor:
    a = alphas_cumprod[len(alphas_cumprod) - skip - 1 if position is None else position]
    return a.sqrt() * source + (1 - a).sqrt() * noise


def _band(generator: torch.Generator) -> tuple[Tensor, ...]:
    n = 2 ** int(torch.randint(1, 4, (), generator=generator))
    energy = 0.005 + 0.05 * torch.rand((), generator=generator, dtype=torch.float64)
    return energy, n, Schedule.cosine().alphas_cumprod


def _drowned(energy: Tensor, n: int, alphas_cumprod: Tensor, noise: float | None = None, power: float = 1.0) -> int:
    noise = 3 / (4 * n**2) if noise is None else noise
    ratio = (alphas_cumprod / (1 - alphas_cumprod)) ** power * energy / noise
    return int((ratio > 1).sum())


def _two_levels(generator: torch.Generator) -> tuple[Tensor, ...]:
    return levels(generator, 2)


def _released(a: Tensor, a_next: Tensor) -> tuple[Tensor, Tensor]:
    return a.sqrt() + ((1 - a) * a_next).sqrt(), ((1 - a) * (1 - a_next)).sqrt()


def _two_noises(generator: torch.Generator) -> tuple[object, ...]:
    r = 0.2 + 0.6 * torch.rand((), generator=generator).item()
    return *pictures(generator, 3), r, *levels(generator, 1)


def _dialled(
    source: Tensor, eps_inv: Tensor, eps_new: Tensor, r: float, a: Tensor, c: float | None = None
) -> Tensor:
    c = (1 - r**2) ** 0.5 if c is None else c
    return a.sqrt() * source + (1 - a).sqrt() * (c * eps_inv + r * eps_new)


def _plan(generator: torch.Generator) -> tuple[int, int]:
    """A far start and a number of rounds: they share its network passes evenly, or one pass is missing for that."""
    rounds, near, missing = (int(torch.randint(*ends, (), generator=generator)) for ends in ((3, 6), (5, 12), (0, 2)))
    return rounds * (near + 1) - missing - 1, rounds


def _latent(generator: torch.Generator) -> tuple[Tensor, ...]:
    return *pictures(generator, 2), *levels(generator, 1)


def _noise_in(latent: Tensor, source: Tensor, a: Tensor) -> Tensor:
    return (latent - a.sqrt() * source) / (1 - a).sqrt()


def _share(position: int) -> float:
    return float(Schedule.linear().respace(100).alphas_cumprod[position].sqrt())


EXERCISES = (
    Question(
        "colleagues-start",
        _share(29),
        "100 - 70 - 1 = 29, and there sqrt(alphas_cumprod) is more than twice the paper's: the *fraction* of the way "
        "decides, not the number of steps.",
        {
            _share(29) ** 2: "that is alphas_cumprod, the share of the variance; the coefficient is its root.",
            float(Schedule.linear().respace(50).alphas_cumprod[24].sqrt()): (
                "that is the paper's start, position 24 of 50; asked is the colleague's, of 100."
            ),
            _share(30): "30 steps from position 0 upwards end at position 29: steps - skip - 1.",
            _share(70): "`skip` counts the noisiest positions, which are left out: 30 of 100 are taken, not 70.",
            _share(69): "you take 70 positions and leave out 30: `skip` is the number of those that are left out.",
        },
        rtol=0.005,
    ),
    Exercise(
        "sdedit-start",
        _run,
        _start,
        {
            "off by one: positions count from 0, so after leaving out `skip` of N the last one left is N - skip - 1.": (
                lambda source, alphas_cumprod, skip, noise: _start(source, alphas_cumprod, skip, noise, -skip)
            ),
            "`skip` leaves out the *noisiest* positions; you start at position `skip`, counted from the clean end.": (
                lambda source, alphas_cumprod, skip, noise: _start(source, alphas_cumprod, skip, noise, skip)
            ),
            "position right; picture and noise want sqrt(a) and sqrt(1 - a), the roots of their shares.": (
                lambda source, alphas_cumprod, skip, noise: noise + alphas_cumprod[-skip - 1] * (source - noise)
            ),
            "position right; the noise is laid on top of the whole source, which must be turned down by sqrt(a).": (
                lambda source, alphas_cumprod, skip, noise: source + (1 - alphas_cumprod[-skip - 1]).sqrt() * noise
            ),
        },
        "one jump up; what follows is ordinary sampling from there.",
    ),
    Exercise(
        "drowned-position",
        _band,
        _drowned,
        {
            "averaging over n x n pixels quiets noise as well: in this band it has the energy 3 / (4 n^2), not 1.": (
                lambda energy, n, alphas_cumprod: _drowned(energy, n, alphas_cumprod, noise=1.0)
            ),
            "1 / n^2 is the noise in n x n averages; the band is what 2n x 2n averages do not show: 3 / (4 n^2).": (
                lambda energy, n, alphas_cumprod: _drowned(energy, n, alphas_cumprod, noise=1 / n**2)
            ),
            "the noise in the band is 3 / (4 n^2): n squared, since a block has n x n pixels.": (
                lambda energy, n, alphas_cumprod: _drowned(energy, n, alphas_cumprod, noise=3 / (4 * n))
            ),
            "energies are squares: compare them through a / (1 - a), not through its root.": (
                lambda energy, n, alphas_cumprod: _drowned(energy, n, alphas_cumprod, power=0.5)
            ),
            "off by one: that is the last position where the band can still be made out.": (
                lambda energy, n, alphas_cumprod: _drowned(energy, n, alphas_cumprod) - 1
            ),
        },
        "from here on, most of what appears in this band is invented on the way back; a regular pattern may "
        "outlive it.",
        rtol=0,
        atol=0.5,
    ),
    Exercise(
        "noise-dial",
        _two_noises,
        _dialled,
        {
            "with factors that add up to 1 the mixture is quieter than either noise: variances are what adds up.": (
                lambda source, eps_inv, eps_new, r, a: _dialled(source, eps_inv, eps_new, r, a, 1 - r)
            ),
            "that is the *variance* left for the old noise; a factor enters the variance squared.": (
                lambda source, eps_inv, eps_new, r, a: _dialled(source, eps_inv, eps_new, r, a, 1 - r**2)
            ),
            "the dial is turned round: at r = 0 nothing must be fresh.": (
                lambda source, eps_inv, eps_new, r, a: _dialled(source, eps_new, eps_inv, r, a)
            ),
            "that is the mixture of the noises alone; the walk begins with a noisy *picture*.": (
                lambda source, eps_inv, eps_new, r, a: _dialled(0 * source, eps_inv, eps_new, r, a) / (1 - a).sqrt()
            ),
            "the mixture is right; picture and noise want the roots of their shares, a and 1 - a.": (
                lambda source, eps_inv, eps_new, r, a: (
                    a * source + (1 - a).sqrt() * _dialled(0 * source, eps_inv, eps_new, r, a)
                )
            ),
        },
        "at r = 0 the way back leads home, at r = 1 it is SDEdit's start.",
    ),
    Exercise(
        "released-start",
        _two_levels,
        _released,
        {
            "that is the ordinary start; the latent that is passed as noise holds the picture a second time.": (
                lambda a, a_next: (a.sqrt(), (1 - a).sqrt())
            ),
            "the latent enters with the factor that noise has: its sqrt(a_next) is multiplied by sqrt(1 - a).": (
                lambda a, a_next: (a.sqrt() + a_next.sqrt(), ((1 - a) * (1 - a_next)).sqrt())
            ),
            "the latent stands one position higher than the mixture: in it a_next rules, not a.": (
                lambda a, a_next: _released(a, a)
            ),
            "the picture's coefficient is right; the latent's noise is turned down twice, by sqrt(1 - a_next) and by "
            "sqrt(1 - a).": lambda a, a_next: (_released(a, a_next)[0], (1 - a).sqrt()),
        },
        "the picture, twice: the squares add up to more than 1, which is where the contrast comes from.",
    ),
    Exercise(
        "noise-in-latent",
        _latent,
        _noise_in,
        {
            "the latent holds sqrt(a) of the picture, not all of it: subtract that much.": (
                lambda latent, source, a: (latent - source) / (1 - a).sqrt()
            ),
            "the picture is out; what is left is sqrt(1 - a) times the noise. Divide.": (
                lambda latent, source, a: latent - a.sqrt() * source
            ),
            "that is the latent itself, as the released code passes it: the picture is still in it.": (
                lambda latent, source, a: latent
            ),
        },
        "the latent with the picture taken out; the released code leaves it in.",
    ),
    Exercise(
        "near-start",
        _plan,
        lambda far, rounds: (far + 1) // rounds - 1,
        {
            "your rounds take more passes together than the one; position 0 takes a step as well, and one cannot round "
            "up.": lambda far, rounds: far // rounds,
            "that is how many steps each round may take; asked is the position of the first of them.": (
                lambda far, rounds: (far + 1) // rounds
            ),
            "you take one off for position 0 after you have lost it: count all steps before you divide.": (
                lambda far, rounds: far // rounds - 1
            ),
            "a position is a whole number; what is left over is not enough for one more step in every round.": (
                lambda far, rounds: (far + 1) / rounds - 1
            ),
        },
        "the rounds share the passes of the far start; what they cannot share evenly is left over.",
        rtol=0,
    ),
)
