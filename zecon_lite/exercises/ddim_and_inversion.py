"""Exercises of the chapter on DDIM and inversion."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .draws import levels, pictures
from .grading import Exercise, Question

Network = Callable[[Tensor], Tensor]


def _x0(x: Tensor, eps: Tensor, a: Tensor) -> Tensor:
    return (x - (1 - a).sqrt() * eps) / a.sqrt()


def _walk_down(generator: torch.Generator) -> tuple[Tensor, ...]:
    a_prev, a = levels(generator, 2)
    eta = 0.2 + 0.6 * torch.rand((), generator=generator, dtype=torch.float64)
    x, eps, noise = pictures(generator, 3)
    return x, eps, a, a_prev, eta, noise


def _sigma(a: Tensor, a_prev: Tensor, eta: Tensor | float) -> Tensor:
    return eta * ((1 - a_prev) / (1 - a)).sqrt() * (1 - a / a_prev).sqrt()


def _ddim(
    x: Tensor, eps: Tensor, a: Tensor, a_prev: Tensor, eta: Tensor | float, noise: Tensor, old: Tensor | None = None
) -> Tensor:
    sigma = _sigma(a, a_prev, eta)
    old = (1 - a_prev - sigma**2).sqrt() if old is None else old
    return a_prev.sqrt() * _x0(x, eps, a) + old * eps + sigma * noise


def _two_levels(generator: torch.Generator) -> tuple[Tensor, ...]:
    a_prev, a = levels(generator, 2)
    return a, a_prev


def _factors(a: Tensor, a_prev: Tensor, eta: float = 1.0) -> tuple[Tensor, Tensor]:
    return _put_together(a, a_prev, ((1 - a_prev - _sigma(a, a_prev, eta) ** 2) / (1 - a)).sqrt())


def _put_together(a: Tensor, a_prev: Tensor, of_x: Tensor) -> tuple[Tensor, Tensor]:
    return a_prev.sqrt() - a.sqrt() * of_x, of_x


def _came_back(generator: torch.Generator) -> tuple[Tensor, ...]:
    x, originals = pictures(generator, 2)
    return (0.3 + torch.rand((len(x), 1, 1, 1), generator=generator)) * x, originals


def _error(x: Tensor, originals: Tensor) -> Tensor:
    return (x - originals).square().mean((1, 2, 3))


def _contrast(x: Tensor, originals: Tensor) -> Tensor:
    return x.std((1, 2, 3)) / originals.std((1, 2, 3))


def _walk_up(generator: torch.Generator) -> tuple[Tensor, ...]:
    a, a_next = levels(generator, 2)
    return *pictures(generator, 2), a, a_next


def _climb(x: Tensor, eps: Tensor, a: Tensor, a_next: Tensor) -> Tensor:
    return a_next.sqrt() * _x0(x, eps, a) + (1 - a_next).sqrt() * eps


def _climb_with_network(generator: torch.Generator) -> tuple[object, ...]:
    a, a_next = levels(generator, 2)
    strength = 0.5 + torch.rand((), generator=generator, dtype=torch.float64)
    rounds = int(torch.randint(2, 5, (), generator=generator))
    return lambda x: strength * torch.tanh(x), *pictures(generator, 1), a, a_next, rounds


def _climb_exactly(network: Network, x: Tensor, a: Tensor, a_next: Tensor, rounds: int) -> Tensor:
    there = x
    for _ in range(rounds):
        there = _climb(x, network(there), a, a_next)
    return there


def _climb_repeatedly(network: Network, x: Tensor, a: Tensor, a_next: Tensor, rounds: int) -> Tensor:
    for _ in range(rounds):
        x = _climb(x, network(x), a, a_next)
    return x


EXERCISES = (
    Exercise(
        "ddim-step",
        _walk_down,
        _ddim,
        {
            "variance right, mean uses a where a_prev belongs: one position on, the picture counts sqrt(a_prev).": (
                lambda x, eps, a, a_prev, eta, noise: (
                    _ddim(x, eps, a, a_prev, eta, noise) + (a.sqrt() - a_prev.sqrt()) * _x0(x, eps, a)
                )
            ),
            "picture and fresh noise right; the old noise uses a where a_prev belongs: in all there shall be noise of "
            "variance 1 - a_prev.": (
                lambda x, eps, a, a_prev, eta, noise: (
                    _ddim(x, eps, a, a_prev, eta, noise, (1 - a - _sigma(a, a_prev, eta) ** 2).sqrt())
                )
            ),
            "too much noise: what is fresh must be taken from what is old, sqrt(1 - a_prev - sigma^2).": (
                lambda x, eps, a, a_prev, eta, noise: (
                    _ddim(x, eps, a, a_prev, eta, noise, (1 - a_prev).sqrt())
                )
            ),
            "sqrt(a_prev) multiplies the picture that the network believes in, x0 = (x - sqrt(1 - a) eps) / sqrt(a); "
            "yours multiplies x.": (
                lambda x, eps, a, a_prev, eta, noise: (
                    _ddim(x, eps, a, a_prev, eta, noise) + a_prev.sqrt() * (x - _x0(x, eps, a))
                )
            ),
            "eta is left out: this is the step for eta = 1, DDPM's.": (
                lambda x, eps, a, a_prev, eta, noise: _ddim(x, eps, a, a_prev, 1.0, noise)
            ),
            "there is no fresh noise: this is the step for eta = 0.": (
                lambda x, eps, a, a_prev, eta, noise: _ddim(x, eps, a, a_prev, 0.0, noise)
            ),
        },
        "whatever eta is, the milestone is met: sqrt(a_prev) of the picture, noise of variance 1 - a_prev.",
    ),
    Exercise(
        "inversion-step",
        _walk_up,
        _climb,
        {
            "that is a forward step, for noise that is fresh. This eps is in x already: take the picture out first, "
            "then mix the two anew.": (
                lambda x, eps, a, a_next: (a_next / a).sqrt() * x + (1 - a_next / a).sqrt() * eps
            ),
            "x is not the clean picture: divide it up into x0 and eps at its own level, a.": (
                lambda x, eps, a, a_next: a_next.sqrt() * x + (1 - a_next).sqrt() * eps
            ),
            "x stands at the level a, so it is taken apart with a; a_next is for putting it together.": (
                lambda x, eps, a, a_next: a_next.sqrt() * _x0(x, eps, a_next) + (1 - a_next).sqrt() * eps
            ),
            "the picture's factor is right; the noise's is sqrt(1 - a_next), for the place that you are going to.": (
                lambda x, eps, a, a_next: a_next.sqrt() * _x0(x, eps, a) + (1 - a).sqrt() * eps
            ),
        },
        "the DDIM step with the arrow turned round: take apart here, put together there.",
    ),
    Exercise(
        "ddim-factors",
        _two_levels,
        _factors,
        {
            "the factor of x is right; eps holds x0 too, and with a minus: what does it take from sqrt(a_prev)?": (
                lambda a, a_prev: (a_prev.sqrt(), _factors(a, a_prev)[1])
            ),
            "the factor of x is right; in that of x0 the sign is turned: eps holds x0 with a minus.": (
                lambda a, a_prev: (2 * a_prev.sqrt() - _factors(a, a_prev)[0], _factors(a, a_prev)[1])
            ),
            "what is left of the old noise is counted as a variance; a factor is its root.": (
                lambda a, a_prev: _put_together(a, a_prev, (1 - a_prev - _sigma(a, a_prev, 1.0) ** 2) / (1 - a).sqrt())
            ),
            "these are the factors at eta = 0: at eta = 1 some of the noise is fresh, so less of it is old.": (
                lambda a, a_prev: _factors(a, a_prev, eta=0.0)
            ),
            "these are the factors of x0 and of *eps*; put in what eps is, and collect anew.": (
                lambda a, a_prev: (a_prev.sqrt(), _factors(a, a_prev)[1] * (1 - a).sqrt())
            ),
            "the two have changed places: the factor of x0 comes first.": (
                lambda a, a_prev: _factors(a, a_prev)[::-1]
            ),
        },
        "they are those of the posterior's mean: the step of DDIM at eta = 1 is the step of DDPM.",
    ),
    Question(
        "doubled-steps",
        2.0,
        "Euler's method is of first order: half the step, half the error of the whole walk.",
        {
            4.0: "one *step's* error falls to a quarter, but there are twice as many steps; what falls fourfold is the "
            "squared error of the walk.",
            1.0: "the curve stays the same, and Euler's polygon comes nearer to it with every corner.",
            0.5: "more steps, less error: say by what the error is divided.",
        },
    ),
    Exercise(
        "error-contrast",
        _came_back,
        lambda x, originals: (_error(x, originals), _contrast(x, originals)),
        {
            "one number for each picture is wanted, twice: leave the batch out of the mean and of `std`.": (
                lambda x, originals: ((x - originals).square().mean(), x.std() / originals.std())
            ),
            "the contrast is right; the error is its root, and the *squared* one is wanted.": (
                lambda x, originals: (_error(x, originals).sqrt(), _contrast(x, originals))
            ),
            "the contrast is right; the error is the mean of absolute differences, not of squares.": (
                lambda x, originals: ((x - originals).abs().mean((1, 2, 3)), _contrast(x, originals))
            ),
            "the contrast is right; the squares are added, and their mean is wanted.": (
                lambda x, originals: (_error(x, originals) * x[0].numel(), _contrast(x, originals))
            ),
            "the error is right; the contrast is upside down: what comes back is measured by the original.": (
                lambda x, originals: (_error(x, originals), _contrast(originals, x))
            ),
            "the error is right; the contrast is compared as a variance, and so it comes out squared.": (
                lambda x, originals: (_error(x, originals), _contrast(x, originals) ** 2)
            ),
            "the error is right; that is the contrast as it stands. Wanted is how many times the original's it is.": (
                lambda x, originals: (_error(x, originals), x.std((1, 2, 3)))
            ),
            "the error is right; you compare contrast channel by channel. Take all numbers of a picture together.": (
                lambda x, originals: (_error(x, originals), (x.std((2, 3)) / originals.std((2, 3))).mean(1))
            ),
        },
        "an error says how far from home; the contrast says something of the direction.",
    ),
    Exercise(
        "exact-inversion",
        _climb_with_network,
        _climb_exactly,
        {
            "each of your rounds climbs from where the last one ended; begin every round at the same x, with a better "
            "eps.": _climb_repeatedly,
            "the network is asked about x in every round; ask it about the latest guess of the place above.": (
                lambda network, x, a, a_next, rounds: _climb(x, network(x), a, a_next)
            ),
            "the network runs once too often: the first guess of the place above is x itself.": (
                lambda network, x, a, a_next, rounds: _climb_exactly(network, x, a, a_next, rounds + 1)
            ),
        },
        "eps is now, nearly, the one that the way down will see.",
    ),
)
