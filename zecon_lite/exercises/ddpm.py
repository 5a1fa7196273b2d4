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


def _guessed(generator: torch.Generator) -> tuple[Tensor, ...]:
    a_prev, a = levels(generator, 2)
    return *pictures(generator, 2), a, a_prev


def _snr(a: Tensor) -> Tensor:
    return a / (1 - a)


def _squares(x0: Tensor, guess: Tensor) -> Tensor:
    return (x0 - guess).square().sum((1, 2, 3))


def _divergence(x0: Tensor, guess: Tensor, a: Tensor, a_prev: Tensor) -> Tensor:
    return (_snr(a_prev) - _snr(a)) / 2 * _squares(x0, guess)


def _among(generator: torch.Generator) -> tuple[Tensor, ...]:
    known = 0.3 * torch.randn((5, 3, 4, 4), generator=generator)  # so faint that more than one counts
    _, a = levels(generator, 2)
    (noise,) = pictures(generator, 1)
    return a.sqrt() * known[: len(noise)] + (1 - a).sqrt() * noise, a, known


def _distances(x: Tensor, a: Tensor, known: Tensor) -> Tensor:
    return (x[:, None] - a.sqrt() * known).square().sum((2, 3, 4))


def _mean_picture(exponents: Tensor, known: Tensor, dim: int = 1) -> Tensor:
    return torch.einsum("bk,kchw->bchw", exponents.softmax(dim), known)


def _ideal(x: Tensor, a: Tensor, known: Tensor) -> Tensor:
    return _mean_picture(-_distances(x, a, known) / (2 * (1 - a)), known)


def _several(generator: torch.Generator) -> tuple[Tensor, ...]:
    return (torch.randn((4, 3, 5, 6), generator=generator),)


def _steps(x: Tensor, *dims: int) -> Tensor:
    """The mean absolute difference of neighbours along each of the axes, added up."""
    return torch.stack([x.diff(dim=dim).abs().mean() for dim in dims]).sum()


def _roughness_and_spread(x: Tensor) -> tuple[Tensor, Tensor]:
    return _steps(x, 2, 3), x.std(0).mean()


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
        "step-divergence",
        _guessed,
        _divergence,
        {
            "a divergence is never negative, yours is: which of the two levels has the larger SNR?": (
                lambda x0, guess, a, a_prev: -_divergence(x0, guess, a, a_prev)
            ),
            "the half is missing; it comes from the 2 in the exponent of a Gaussian.": (
                lambda x0, guess, a, a_prev: 2 * _divergence(x0, guess, a, a_prev)
            ),
            "the weight is right; a squared norm is the *sum* of a picture's squares, yours is their mean.": (
                lambda x0, guess, a, a_prev: _divergence(x0, guess, a, a_prev) / x0[0].numel()
            ),
            "the weight is right, and one number for each picture is wanted: do not sum over the batch.": (
                lambda x0, guess, a, a_prev: _divergence(x0, guess, a, a_prev).sum()
            ),
            "the weight is right; the norm is to be squared.": (
                lambda x0, guess, a, a_prev: (_snr(a_prev) - _snr(a)) / 2 * _squares(x0, guess).sqrt()
            ),
            "SNR compares variances; yours compares the factors of picture and noise, their roots.": (
                lambda x0, guess, a, a_prev: (_snr(a_prev).sqrt() - _snr(a).sqrt()) / 2 * _squares(x0, guess)
            ),
            "that is the difference of the levels; SNR is the picture's share over the noise's.": (
                lambda x0, guess, a, a_prev: (a_prev - a) / 2 * _squares(x0, guess)
            ),
            "that is w_t, the weight of an error in the *noise*; here the error is in the picture.": (
                lambda x0, guess, a, a_prev: _divergence(x0, guess, a, a_prev) / _snr(a)
            ),
        },
        "each step is paid for the signal that it brings back, whatever schedule it belongs to.",
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
    Exercise(
        "ideal-denoiser",
        _among,
        _ideal,
        {
            "the weights that must add up to 1 are those of one noisy picture: your softmax runs over the batch.": (
                lambda x, a, known: _mean_picture(-_distances(x, a, known) / (2 * (1 - a)), known, dim=0)
            ),
            "the sign is turned: the farthest picture gets the largest weight.": (
                lambda x, a, known: _mean_picture(_distances(x, a, known) / (2 * (1 - a)), known)
            ),
            "x is compared with the pictures at their full strength, but it holds only a part of one.": (
                lambda x, a, known: _mean_picture(-_distances(x, a, known / a.sqrt()) / (2 * (1 - a)), known)
            ),
            "a picture's squared distance is the *sum* over its numbers; with their mean all pictures look alike.": (
                lambda x, a, known: _mean_picture(-_distances(x, a, known) / (2 * (1 - a) * known[0].numel()), known)
            ),
            "squared distances are measured by the noise's *variance*; you divide by its standard deviation.": (
                lambda x, a, known: _mean_picture(-_distances(x, a, known) / (2 * (1 - a).sqrt()), known)
            ),
            "the weights are too sure of themselves: the 2 in the exponent of a Gaussian is missing.": (
                lambda x, a, known: _mean_picture(-_distances(x, a, known) / (1 - a), known)
            ),
            "that is the nearest picture alone; wanted is the mean of all, each with its weight.": (
                lambda x, a, known: known[_distances(x, a, known).argmin(dim=1)]
            ),
        },
        "in a world of these pictures alone there is no better guess. What will it paint?",
    ),
    Exercise(
        "roughness-spread",
        _several,
        _roughness_and_spread,
        {
            "the spread is right; ups and downs of neighbours cancel: no difference may count below zero.": (
                lambda x: (x.diff(dim=2).mean() + x.diff(dim=3).mean(), x.std(0).mean())
            ),
            "the spread is right; only neighbours in a row are compared, those in a column are missing.": (
                lambda x: (_steps(x, 3), x.std(0).mean())
            ),
            "the spread is right; only neighbours in a column are compared, those in a row are missing.": (
                lambda x: (_steps(x, 2), x.std(0).mean())
            ),
            "the spread is right; of the two directions' means the sum is wanted, not the mean.": (
                lambda x: (_steps(x, 2, 3) / 2, x.std(0).mean())
            ),
            "the spread is right; you compare channels as if they were rows; in (B, 3, H, W) they come second.": (
                lambda x: (_steps(x, 1, 2), x.std(0).mean())
            ),
            "the roughness is right; the other is the deviation of all numbers together. Compare picture with picture, "
            "place by place.": (
                lambda x: (_steps(x, 2, 3), x.std())
            ),
            "the roughness is right; the other is the contrast *within* a picture. Compare picture with picture.": (
                lambda x: (_steps(x, 2, 3), x.std((1, 2, 3)).mean())
            ),
            "the roughness is right; you compare the pictures' mean brightness alone, and they differ in more.": (
                lambda x: (_steps(x, 2, 3), x.mean((1, 2, 3)).std())
            ),
            "the roughness is right; you average variances and take one root of the mean. Average the deviations.": (
                lambda x: (_steps(x, 2, 3), x.var(0).mean().sqrt())
            ),
            "the roughness is right; your deviation divides by B, torch.std by B - 1.": (
                lambda x: (_steps(x, 2, 3), x.std(0, correction=0).mean())
            ),
        },
        "how grainy each picture is, and how much they differ: two questions, and two ways to average.",
    ),
)
