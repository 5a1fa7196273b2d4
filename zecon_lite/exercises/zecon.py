"""Exercises of the chapter on ZeCon."""

from __future__ import annotations

import torch
from torch import Tensor

from .draws import levels, pictures
from .grading import Exercise, Question


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
            "that noises the guess; the second share is 1 - f of x_t, so that the two add up to 1.": (
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
