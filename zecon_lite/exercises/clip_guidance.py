"""Exercises of the chapter on CLIP guidance."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .draws import levels, pictures
from .grading import Exercise


def _embeddings(generator: torch.Generator, count: int) -> tuple[Tensor, ...]:
    """Embeddings of 4 pictures or texts, (4, 6) each, shorter than 1 and of different lengths, as CLIP's are not 1."""
    return tuple(0.2 * torch.randn((4, 6), generator=generator) for _ in range(count))


def _angle(image: Tensor, text: Tensor) -> Tensor:
    return F.cosine_similarity(image, text, dim=-1).acos()


def _direction(
    image: Tensor, source_image: Tensor, text: Tensor, source_text: Tensor, normalise: bool = False
) -> Tensor:
    if normalise:
        image, source_image, text, source_text = (
            F.normalize(e, dim=-1) for e in (image, source_image, text, source_text)
        )
    return 1 - F.cosine_similarity(image - source_image, text - source_text, dim=-1)


def _angles(generator: torch.Generator) -> tuple[Tensor]:
    """Five angles in radians, not so near to 0 or pi that the roundings of an arcsine would count; float64."""
    return (0.2 + 2.6 * torch.rand(5, generator=generator, dtype=torch.float64),)


def _push(generator: torch.Generator) -> tuple[Tensor, ...]:
    return *pictures(generator, 3), *levels(generator, 1)


def _guided_x0(x: Tensor, eps: Tensor, grad: Tensor, a: Tensor, push: Tensor | None = None) -> Tensor:
    push = (1 - a).sqrt() * grad if push is None else push
    return (x - (1 - a).sqrt() * (eps + push)) / a.sqrt()


EXERCISES = (
    Exercise(
        "clip-distance",
        lambda generator: _embeddings(generator, 2),
        lambda image, text: _angle(image, text) ** 2 / 2,
        {
            "the loss is *half* the squared angle.": lambda image, text: _angle(image, text) ** 2,
            "that is the angle; the loss is half its square.": _angle,
            "that is 1 - cos, half the squared chord: straight through the ball, where the angle goes round it.": (
                lambda image, text: 1 - _angle(image, text).cos()
            ),
            "CLIP's vectors do not have length 1: use torch.nn.functional.normalize on both before you compare.": (
                lambda image, text: 2 * ((image - text).norm(dim=-1) / 2).asin() ** 2
            ),
            "the chord is halved *inside* the arcsine: sin(angle / 2) = chord / 2.": (
                lambda image, text: 2 * ((_angle(image, text) / 2).sin().asin() / 2) ** 2
            ),
        },
        "it depends on the angle alone, and pulls the harder the larger it is.",
        atol=1e-4,
    ),
    Exercise(
        "two-slopes",
        _angles,
        lambda theta: (theta, theta.sin()),
        {
            "those are the two losses themselves; their slopes are what torch.autograd.grad gives.": (
                lambda theta: (theta**2 / 2, 1 - theta.cos())
            ),
            "the order is turned: first the slope of half the squared angle, then that of 1 - cos.": (
                lambda theta: (theta.sin(), theta)
            ),
            "the second loss is 1 - cos, yours is cos: a slope of the wrong sign pulls picture and text apart.": (
                lambda theta: (theta, -theta.sin())
            ),
            "the first loss is *half* the squared angle.": lambda theta: (2 * theta, theta.sin()),
            "theta comes in radians; you turn it into radians once more.": (
                lambda theta: (theta.deg2rad(), theta.deg2rad().sin())
            ),
        },
        "theta against sin(theta). Near 180 degrees 1 - cos has almost no slope left, just where the picture is most "
        "wrong.",
        atol=1e-3,
    ),
    Exercise(
        "clip-direction",
        lambda generator: _embeddings(generator, 4),
        _direction,
        {
            "one of the two changes points backwards: it is picture minus source, and prompt minus source prompt.": (
                lambda image, source_image, text, source_text: 2 - _direction(image, source_image, text, source_text)
            ),
            "that is the cosine: largest when all is well. A loss falls when things get better, so 1 - cosine.": (
                lambda image, source_image, text, source_text: 1 - _direction(image, source_image, text, source_text)
            ),
            "that compares places, picture with prompt; compare the *changes*, each from its source.": (
                lambda image, source_image, text, source_text: 1 - F.cosine_similarity(image, text, dim=-1)
            ),
            "you scale the vectors to length 1 before you subtract, as StyleGAN-NADA does; the released ZeCon code "
            "subtracts first.": (
                lambda image, source_image, text, source_text: (
                    _direction(image, source_image, text, source_text, normalise=True)
                )
            ),
            "divide by the lengths of the two changes: it is their cosine that counts, not how large they are.": (
                lambda image, source_image, text, source_text: (
                    1 - ((image - source_image) * (text - source_text)).sum(-1)
                )
            ),
        },
        "0 where picture and text changed alike, 2 where oppositely, whatever else the picture shows.",
    ),
    Exercise(
        "guided-x0",
        _push,
        _guided_x0,
        {
            "the sign is turned: eps points *away* from likely pictures, so the slope of the loss is added to it.": (
                lambda x, eps, grad, a: _guided_x0(x, eps, -grad, a)
            ),
            "the slope of a log density becomes noise through sqrt(1 - a); you add it as it is.": (
                lambda x, eps, grad, a: _guided_x0(x, eps, grad, a, push=grad)
            ),
            "the factor of the slope is sqrt(1 - a), not 1 - a.": (
                lambda x, eps, grad, a: _guided_x0(x, eps, grad, a, push=(1 - a) * grad)
            ),
            "the push is left out: put eps + sqrt(1 - a) grad in the place of eps.": (
                lambda x, eps, grad, a: _guided_x0(x, eps, 0 * grad, a)
            ),
            "that pushes the picture by the bare slope. Push the noise, and let x0 follow from it.": (
                lambda x, eps, grad, a: _guided_x0(x, eps, 0 * grad, a) - grad
            ),
        },
        "in all, x0 moves by (1 - a) / sqrt(a) times the slope: far at the noisy end, hardly at the clean one.",
    ),
)
