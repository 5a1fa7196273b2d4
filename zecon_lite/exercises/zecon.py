"""Exercises of the chapter on ZeCon."""

from __future__ import annotations

import torch
from torch import Tensor

from ..state import State
from .draws import levels, pictures
from .grading import DRAWS, Exercise, Question


def _guess(generator: torch.Generator) -> tuple[Tensor, ...]:
    return *pictures(generator, 2), *levels(generator, 1)


def _view(x0: Tensor, x: Tensor, f: Tensor) -> Tensor:
    return f * x0 + (1 - f) * x


def _slope(generator: torch.Generator) -> tuple[Tensor, ...]:
    (grad,) = pictures(generator, 1)
    sizes = torch.tensor([0.01, 3.0]).view(-1, 1, 1, 1)  # one picture pulls hard, the other hardly at all
    strength = 0.2 + torch.rand((), generator=generator, dtype=torch.float64)
    return sizes * grad, strength, *levels(generator, 1)


def _scaled(grad: Tensor, strength: Tensor, a: Tensor, over: tuple[int, ...] = (1, 2, 3)) -> Tensor:
    rms = grad.square().mean(over, keepdim=True).sqrt()
    return strength / (1 - a).sqrt() * grad / rms


def _step(generator: torch.Generator) -> tuple[Tensor, ...]:
    mean, log_variance, grad, noise = pictures(generator, 4)
    return mean, log_variance - 1, grad, noise


def _guided(mean: Tensor, log_variance: Tensor, grad: Tensor, noise: Tensor) -> Tensor:
    return mean - log_variance.exp() * grad + (log_variance / 2).exp() * noise


def _state(generator: torch.Generator) -> tuple[State, float, int]:
    """A state before the gate's border, on it or past it, each in one of the draws; a weight; the border."""
    side = generator.initial_seed() % DRAWS - 1
    below, off = torch.randint(100, 900, (2,), generator=generator).tolist()
    t = below + side * (1 + off % 90)
    weight = 2 + torch.rand((), generator=generator).item()
    x0, view, source, source_view = pictures(generator, 4)
    return State(t // 20, t, x0, view, source, source_view), weight, below


def _gate(state: State, weight: float, below: int) -> float:
    return weight * (state.t < below)


def _slopes(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Gradients (K, B, 3, H, W) of very different lengths, and weights (K,) that do not make up for it."""
    sizes = torch.tensor([0.02, 1.0, 5.0, 0.3]).view(-1, 1, 1, 1, 1) * torch.tensor([1.0, 3.0]).view(-1, 1, 1, 1)
    slopes = sizes * torch.stack(pictures(generator, 4))
    return slopes, 0.5 + 9 * torch.rand(4, generator=generator)


def _lengths(slopes: Tensor, weights: Tensor) -> Tensor:
    return weights[:, None] * slopes.flatten(2).norm(dim=2)


def _shares(lengths: Tensor) -> Tensor:
    return lengths / lengths.sum(0)


def _seeds(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    count = int(torch.randint(3, 6, (), generator=generator))
    results = torch.rand(count, 3, 4, 4, generator=generator) * 2 - 1
    return results, torch.rand(1, 3, 4, 4, generator=generator) * 2 - 1


def _apart(results: Tensor, pairs: Tensor) -> Tensor:
    return (results[pairs[:, 0]] - results[pairs[:, 1]]).abs().mean()


def _pairs(results: Tensor) -> Tensor:
    return torch.combinations(torch.arange(len(results)))


def _spread(results: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    return _apart(results, _pairs(results)), (results - source).abs().mean()


def _root_mean_squares(results: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    a, b = _pairs(results).T
    return (results[a] - results[b]).square().mean().sqrt(), (results - source).square().mean().sqrt()


EXERCISES = (
    Exercise(
        "view",
        _guess,
        lambda x0, x, a: _view(x0, x, (1 - a).sqrt()),
        {
            "the shares are exchanged: where there is much noise, f is near 1, and the *guess* must count.": (
                lambda x0, x, a: _view(x, x0, (1 - a).sqrt())
            ),
            "f is the noise's factor, sqrt(1 - a); yours is its square.": lambda x0, x, a: _view(x0, x, 1 - a),
            "f is sqrt(1 - a), which grows with the noise; yours is sqrt(a), which falls.": (
                lambda x0, x, a: _view(x0, x, a.sqrt())
            ),
            "the *squares* of your shares add up to 1, as in noising; the second share is 1 - f of x_t, so that the "
            "shares themselves add up to 1.": (
                lambda x0, x, a: (1 - a).sqrt() * x0 + a.sqrt() * x
            ),
        },
        "early the network's guess, late the picture itself: at every step something nearly clean to look at.",
    ),
    Exercise(
        "scaled-gradient",
        _slope,
        _scaled,
        {
            "one length is taken for the whole batch; each picture is to be pushed alike: mean over (1, 2, 3).": (
                lambda grad, strength, a: _scaled(grad, strength, a, over=(0, 1, 2, 3))
            ),
            "the *gradient* has this root mean square now. The step multiplies it by sqrt(1 - a) before it is a push: "
            "divide by that.": lambda grad, strength, a: (1 - a).sqrt() * _scaled(grad, strength, a),
            "divide by sqrt(1 - a), the factor with which the gradient joins the noise; you multiply by it.": (
                lambda grad, strength, a: (1 - a) * _scaled(grad, strength, a)
            ),
            "you divide by the length, the root of the *sum* of squares: that gives pictures with more pixels less. "
            "Take the root of the mean.": (
                lambda grad, strength, a: _scaled(grad, strength, a) / grad[0].numel() ** 0.5
            ),
            "divide by the *root* of the mean square.": (
                lambda grad, strength, a: (
                    _scaled(grad, strength, a) / grad.square().mean((1, 2, 3), keepdim=True).sqrt()
                )
            ),
        },
        "every picture is pushed equally hard; the weights only say how the terms share it. (The package "
        "pushes less at the noisiest steps.)",
    ),
    Exercise(
        "shifted-mean",
        _step,
        _guided,
        {
            "the mean moves *down* the slope of the loss: minus.": (
                lambda mean, log_variance, grad, noise: _guided(mean, log_variance, -grad, noise)
            ),
            "the slope is multiplied by the variance, exp(log_variance); you have taken the standard deviation.": (
                lambda mean, log_variance, grad, noise: (
                    mean + (log_variance / 2).exp() * (noise - grad)
                )
            ),
            "the shift is right; the noise wants the standard deviation, exp(log_variance / 2), not the variance.": (
                lambda mean, log_variance, grad, noise: mean + log_variance.exp() * (noise - grad)
            ),
            "the slope is subtracted as it is; completing the square gives it the variance as a factor.": (
                lambda mean, log_variance, grad, noise: mean - grad + (log_variance / 2).exp() * noise
            ),
            "the mean is right, the fresh noise is missing.": (
                lambda mean, log_variance, grad, noise: _guided(mean, log_variance, grad, 0 * noise)
            ),
        },
        "the same Gaussian, shifted: guidance leaves the variance as it is.",
    ),
    Exercise(
        "gate-by-timestep",
        _state,
        _gate,
        {
            "that is the released code's slip: i counts the steps of a shortened schedule and hardly ever comes near "
            "the border, so the gate never closes. Ask the training timestep.": (
                lambda state, weight, below: weight * (state.i < below)
            ),
            "the gate is the wrong way round: the term shall be off where there is much noise, at large t.": (
                lambda state, weight, below: weight * (state.t >= below)
            ),
            "on the border itself the gate is to be shut already.": (
                lambda state, weight, below: weight * (state.t <= below)
            ),
            "that says whether the gate is open; where it is, return the weight.": (
                lambda state, weight, below: state.t < below
            ),
        },
        "the training timestep decides, however many steps the schedule has.",
    ),
    Exercise(
        "shares-of-the-push",
        _slopes,
        lambda slopes, weights: _shares(_lengths(slopes, weights)),
        {
            "the weights are missing: a term pushes with its gradient times its weight.": (
                lambda slopes, weights: _shares(_lengths(slopes, torch.ones_like(weights)))
            ),
            "those are shares of the *squared* lengths, which make a strong term look stronger: take the root first.": (
                lambda slopes, weights: _shares(_lengths(slopes, weights).square())
            ),
            "you share among the pictures; each picture's push is shared among the K terms.": (
                lambda slopes, weights: _shares(_lengths(slopes, weights).T).T
            ),
            "you divide by the length of the whole push, in which the terms cancel in part; shares add up to 1: divide "
            "by the sum of the lengths.": (
                lambda slopes, weights: (
                    _lengths(slopes, weights) / (weights.view(-1, 1, 1, 1, 1) * slopes).sum(0).flatten(1).norm(dim=1)
                )
            ),
            "one length is taken for the whole batch: each picture has shares of its own.": (
                lambda slopes, weights: _shares(
                    _lengths(slopes, weights).square().sum(1, keepdim=True).sqrt().expand(-1, slopes.shape[1])
                )
            ),
        },
        "weight and gradient together, picture by picture: that is who pushes.",
    ),
    Exercise(
        "spread-of-seeds",
        _seeds,
        _spread,
        {
            "a result is compared with itself as well: those zeros make the spread too small. Take each pair of "
            "different seeds once.": (
                lambda results, source: (
                    _apart(results, torch.cartesian_prod(*[torch.arange(len(results))] * 2)),
                    _spread(results, source)[1],
                )
            ),
            "only neighbours in the list are compared: the order of the seeds means nothing, so take all pairs.": (
                lambda results, source: (
                    _apart(results, torch.arange(len(results)).unfold(0, 2, 1)), _spread(results, source)[1]
                )
            ),
            "that is how far the results are from their mean, which is nearer to each of them than they are to one "
            "another.": (
                lambda results, source: (
                    (results - results.mean(0)).abs().mean(), _spread(results, source)[1]
                )
            ),
            "the spread is right; but each result has its own distance to the source: take the mean after the "
            "differences, not before.": (
                lambda results, source: (
                    _spread(results, source)[0], (results.mean(0) - source).abs().mean()
                )
            ),
            "those are roots of mean squares; wanted are mean absolute differences.": _root_mean_squares,
        },
        "two numbers of one kind, so that one can be the measure of the other.",
    ),
    Question(
        "no-direction",
        1.0,
        "the text's change is zero and has no direction, so the cosine counts as 0: the loss is 1 wherever the picture "
        "goes, and its gradient is 0.",
        {
            0.0: "0 would need a picture that changes *along* the text's change; a change of zero points nowhere.",
            2.0: "2 would need a picture that changes against the text's change; a change of zero points nowhere.",
        },
    ),
)
