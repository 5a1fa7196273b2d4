"""Exercises of the chapter on DDPM."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .draws import levels, pictures
from .grading import Exercise


def _noisy_picture(generator: torch.Generator) -> tuple[Tensor, ...]:
    return *pictures(generator, 2), *levels(generator, 1)


def _v_from_eps(x: Tensor, eps: Tensor, a: Tensor) -> Tensor:
    return a.sqrt() * eps - (1 - a).sqrt() * _x0(x, eps, a)


def _x0(x: Tensor, eps: Tensor, a: Tensor) -> Tensor:
    return (x - (1 - a).sqrt() * eps) / a.sqrt()


def _batch(generator: torch.Generator) -> tuple[object, ...]:
    x0, eps = (torch.randn((4, 3, 4, 4), generator=generator) for _ in range(2))
    return torch.tanh, x0, torch.rand(4, generator=generator), eps


def _simple_loss(
    network: Callable[[Tensor], Tensor],
    x0: Tensor,
    a: Tensor,
    eps: Tensor,
    shape: tuple[int, ...] = (-1, 1, 1, 1),
    roots: bool = True,
) -> Tensor:
    a = a.view(shape)
    x = a.sqrt() * x0 + (1 - a).sqrt() * eps if roots else a * x0 + (1 - a) * eps
    return (network(x) - eps).square().mean()


def _walk(generator: torch.Generator) -> tuple[Tensor, ...]:
    a_prev, a = levels(generator, 2)
    x, x0, noise = pictures(generator, 3)
    return x, x0, a, a_prev, noise


def _ancestral(
    x: Tensor, x0: Tensor, a: Tensor, a_prev: Tensor, noise: Tensor, beta: Tensor | None = None, power: float = 0.5
) -> Tensor:
    beta = 1 - a / a_prev if beta is None else beta
    mean = (beta * a_prev.sqrt() * x0 + (1 - beta).sqrt() * (1 - a_prev) * x) / (1 - a)
    return mean + (beta * (1 - a_prev) / (1 - a)) ** power * noise


def _level_and_energy(generator: torch.Generator) -> tuple[Tensor, ...]:
    return *levels(generator, 1), 0.1 + 0.6 * torch.rand((), generator=generator, dtype=torch.float64)


def _best_multiple(a: Tensor, mean_square: Tensor) -> Tensor:
    return (a * (1 - a)).sqrt() * (1 - mean_square) / _energy(a, mean_square)


def _energy(a: Tensor, mean_square: Tensor) -> Tensor:
    return a * mean_square + 1 - a


EXERCISES = (
    Exercise(
        "v-from-eps",
        _noisy_picture,
        _v_from_eps,
        {
            "x_t stands where x_0 belongs: first take the noise out, x0 = (x - sqrt(1 - a) eps) / sqrt(a).": (
                lambda x, eps, a: a.sqrt() * eps - (1 - a).sqrt() * x
            ),
            "v is a difference: the picture comes with a minus.": (
                lambda x, eps, a: a.sqrt() * eps + (1 - a).sqrt() * _x0(x, eps, a)
            ),
            "x0 is not yet x0: after the noise is taken out of x, sqrt(a) x0 is left. Divide by sqrt(a).": (
                lambda x, eps, a: a.sqrt() * eps - (1 - a).sqrt() * (x - (1 - a).sqrt() * eps)
            ),
            "the factors are exchanged: in v, eps has the factor that the *picture* has in x_t.": (
                lambda x, eps, a: (1 - a).sqrt() * eps - a.sqrt() * _x0(x, eps, a)
            ),
        },
        "a network that was asked for the noise has answered the other question as well.",
    ),
    Exercise(
        "simple-loss",
        _batch,
        _simple_loss,
        {
            "a holds one number for each *picture*; as it is, it is laid along the width. a.view(-1, 1, 1, 1) lays it "
            "along the batch.": (lambda network, x0, a, eps: _simple_loss(network, x0, a, eps, shape=(-1,))),
            "the network is asked for the noise; you compare its answer with the picture.": (
                lambda network, x0, a, eps: _simple_loss(lambda x: network(x) - x0 + eps, x0, a, eps)
            ),
            "the network must see the mixture x_t; you have shown it the clean picture.": (
                lambda network, x0, a, eps: (network(x0) - eps).square().mean()
            ),
            "the mixture is off: a share of the variance wants its root as a factor, sqrt(a) and sqrt(1 - a).": (
                lambda network, x0, a, eps: _simple_loss(network, x0, a, eps, roots=False)
            ),
            "take the *mean* of the squares: a sum grows with the batch and the pictures, and so would the steps.": (
                lambda network, x0, a, eps: eps.numel() * _simple_loss(network, x0, a, eps)
            ),
        },
        "take a picture, a level, noise; mix; ask for the noise. There is no more to training.",
    ),
    Exercise(
        "ddpm-step",
        _walk,
        _ancestral,
        {
            "mean right; the noise is multiplied by the variance, its size is the standard deviation, the root.": (
                lambda x, x0, a, a_prev, noise: _ancestral(x, x0, a, a_prev, noise, power=1.0)
            ),
            "mean right; beta is the variance of the step *forward*. The posterior's is beta (1 - a_prev) / (1 - a).": (
                lambda x, x0, a, a_prev, noise: (
                    _ancestral(x, x0, a, a_prev, 0 * noise) + (1 - a / a_prev).sqrt() * noise
                )
            ),
            "mean right; the fresh noise is missing, so the result is too quiet for its level.": (
                lambda x, x0, a, a_prev, noise: _ancestral(x, x0, a, a_prev, 0 * noise)
            ),
            "beta is the share of *one* step, 1 - a / a_prev; 1 - a is that of all steps so far.": (
                lambda x, x0, a, a_prev, noise: _ancestral(x, x0, a, a_prev, noise, beta=1 - a)
            ),
            "that noises the guess afresh and forgets x; the posterior's mean is a mix of x0 *and* x.": (
                lambda x, x0, a, a_prev, noise: a_prev.sqrt() * x0 + (1 - a_prev).sqrt() * noise
            ),
        },
        "one step of ancestral sampling. The rest of the sampler is a loop.",
    ),
    Exercise(
        "best-multiple",
        _level_and_energy,
        _best_multiple,
        {
            "that is E[v x], the upper half of the fraction. Divide by E[x^2], which is a V + 1 - a.": (
                lambda a, mean_square: _best_multiple(a, mean_square) * _energy(a, mean_square)
            ),
            "v holds x0 with a minus, so E[v x] is a difference: sqrt(a (1 - a)) times 1 - V, not 1 + V.": (
                lambda a, mean_square: (a * (1 - a)).sqrt() * (1 + mean_square) / _energy(a, mean_square)
            ),
            "the sign is turned: v holds eps with a plus and x0 with a minus, so E[v x] = sqrt(a (1 - a)) (1 - V).": (
                lambda a, mean_square: -_best_multiple(a, mean_square)
            ),
            "mean_square is V as it stands, E[x0^2]; do not square it again.": (
                lambda a, mean_square: _best_multiple(a, mean_square**2)
            ),
            "this multiple of x guesses the *noise*, E[eps x] / E[x^2]; v is sqrt(a) eps - sqrt(1 - a) x0.": (
                lambda a, mean_square: (1 - a).sqrt() / _energy(a, mean_square)
            ),
            "this multiple of x guesses the *picture*, E[x0 x] / E[x^2]; v is sqrt(a) eps - sqrt(1 - a) x0.": (
                lambda a, mean_square: a.sqrt() * mean_square / _energy(a, mean_square)
            ),
        },
        "nobody who knows only V of the world can say more about v. A network has to do better.",
    ),
)
