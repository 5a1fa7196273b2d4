"""Exercises of the chapter on writing one's own recipe."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .grading import Exercise, Question


def _two_batches(generator: torch.Generator) -> tuple[Tensor, ...]:
    batch = int(torch.randint(2, 6, (), generator=generator))
    return tuple(torch.rand(batch, 3, 6, 6, generator=generator) * 2 - 1 for _ in range(2))


def _strength(images: Tensor) -> Tensor:
    grey = images.mean(1)
    across, down = grey[:, :-1].diff(dim=2), grey[:, :, :-1].diff(dim=1)
    return (across.square() + down.square() + 1e-6).sqrt()


def _outlines(images: Tensor, others: Tensor) -> Tensor:
    a, b = _strength(images).flatten(1), _strength(others).flatten(1)
    return (1 - F.cosine_similarity(a, b, dim=1)).sum()


def _outlines_of_all(images: Tensor, others: Tensor) -> Tensor:
    a, b = _strength(images).flatten(), _strength(others).flatten()
    return 1 - F.cosine_similarity(a, b, dim=0)


def _palette(images: Tensor, others: Tensor, dims: tuple[int, ...] = (2, 3), correction: int = 1) -> Tensor:
    """Squared difference of the colours' means and spreads, summed."""
    mean = images.mean(dims) - others.mean(dims)
    spread = images.std(dims, correction=correction) - others.std(dims, correction=correction)
    return mean.square().sum() + spread.square().sum()


def _gradients(generator: torch.Generator) -> tuple[Tensor, Tensor, float]:
    known, new = torch.randn(1, 3, 5, 5, generator=generator), 40 * torch.randn(1, 3, 5, 5, generator=generator)
    return known, new, 0.2 + torch.rand(1, generator=generator).item()


# ----------------------------------------------------------------------------------------------------------- the dots


def _one_batch(generator: torch.Generator) -> tuple[Tensor]:
    return (_two_batches(generator)[0],)


def _dots(images: Tensor, mode: str = "nearest") -> Tensor:
    """What averages of 2 x 2 pixels, laid back over their squares, leave of a picture."""
    return images - F.interpolate(F.avg_pool2d(images, 2), scale_factor=2.0, mode=mode)


# ------------------------------------------------------------------------------------------- colours that go together


def _pictures_and_style(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A batch and one style picture of another size, whose channels go together."""
    batch = int(torch.randint(2, 6, (), generator=generator))
    blend = torch.eye(3) + 0.7 * torch.rand(3, 3, generator=generator)
    images, style = torch.rand(batch, 3, 6, 6, generator=generator), torch.rand(1, 3, 4, 5, generator=generator)
    return images * 1.6 - 0.9, torch.einsum("cd,bdhw->bchw", blend, style) - 0.8


def _rows_of(images: Tensor, centred: bool = True) -> Tensor:
    rows = images.flatten(2)
    return rows - rows.mean(2, keepdim=True) if centred else rows


def _covariance(images: Tensor, centred: bool = True) -> Tensor:
    rows = _rows_of(images, centred)
    return rows @ rows.mT / rows.shape[2]


def _means_apart(images: Tensor, style: Tensor) -> Tensor:
    return (images.mean((2, 3)) - style.mean((2, 3))).square().sum()


def _together(images: Tensor, style: Tensor, covariance: Callable[[Tensor], Tensor] = _covariance) -> Tensor:
    return _means_apart(images, style) + (covariance(images) - covariance(style)).square().sum()


def _as_one(images: Tensor) -> Tensor:
    """A batch as one long picture, (1, 3, B H, W)."""
    return images.transpose(0, 1).flatten(1, 2)[None]


EXERCISES = (
    Exercise(
        "sum-of-outlines",
        _two_batches,
        _outlines,
        {
            "a loss is the sum over the batch of one value for each picture; yours is the mean, so a picture in a "
            "larger batch is pushed less.": lambda a, b: _outlines(a, b) / len(a),
            "all pictures of the batch are compared as one long picture: flatten from dimension 1 on.": (
                _outlines_of_all
            ),
            "the sign is turned.": lambda a, b: -_outlines(a, b),
            "that is the similarity, which guidance would lower: take 1 - cosine.": (
                lambda a, b: len(a) - _outlines(a, b)
            ),
            "return one number: the distances of the pictures, summed.": (
                lambda a, b: 1 - F.cosine_similarity(_strength(a).flatten(1), _strength(b).flatten(1), dim=1)
            ),
        },
        "a batch of three costs what its three pictures cost alone.",
    ),
    Exercise(
        "palette",
        _two_batches,
        _palette,
        {
            "means and spreads are taken over the batch as well: take them over the places (dim 2 and 3) of each "
            "picture.": lambda a, b: _palette(a, b, (0, 2, 3)),
            "the colours are mixed into one grey: keep the three channels apart.": (
                lambda a, b: _palette(a, b, (1, 2, 3))
            ),
            "your spread divides by the number of places; `std`, as PyTorch takes it, divides by one less.": (
                lambda a, b: _palette(a, b, correction=0)
            ),
            "the means are there, the spreads are missing.": (
                lambda a, b: (a.mean((2, 3)) - b.mean((2, 3))).square().sum()
            ),
            "that compares pixel by pixel, so it holds places and not colours: average over the places first.": (
                lambda a, b: (a - b).square().mean((2, 3)).sum()
            ),
        },
        "it knows which colours there are, and not where.",
    ),
    Exercise(
        "weight-for-a-share",
        _gradients,
        lambda known, new, share: share * known.norm() / new.norm(),
        {
            "the ratio is upside down: a long gradient wants a small weight.": (
                lambda known, new, share: share * new.norm() / known.norm()
            ),
            "the share is missing: with your weight both push equally.": (
                lambda known, new, share: known.norm() / new.norm()
            ),
            "those are the squares of the lengths: a weight multiplies a gradient once.": (
                lambda known, new, share: share * known.square().sum() / new.square().sum()
            ),
        },
        "weights are compared by the length of what they push with, not by the loss's value.",
    ),
    Question(
        "mean-over-the-batch",
        1 / 3,
        "each picture's gradient is divided by the size of the batch; the other terms, which are sums, are not.",
        {
            3: "it is the other way round: the mean divides.",
            1: "that would be so if this term were the only one and a `strength` fixed the push; beside other terms "
            "its share shrinks.",
        },
    ),
    Exercise(
        "dirt",
        _one_batch,
        lambda images: _dots(images).abs().mean(),
        {
            "brighter and darker pixels cancel, so this is always 0: how large is a difference, whatever its sign?": (
                lambda images: _dots(images).mean()
            ),
            "those are squares, which hardly see small differences; asked for are absolute values.": (
                lambda images: _dots(images).square().mean()
            ),
            "the averages are laid side by side, as four small pictures; each belongs over its own square.": (
                lambda images: (images - F.avg_pool2d(images, 2).repeat(1, 1, 2, 2)).abs().mean()
            ),
            "your averages run smoothly into one another; each must stand unchanged in all of its square.": (
                lambda images: _dots(images, "bilinear").abs().mean()
            ),
            "only one pixel of each square is held against its average; all four count.": (
                lambda images: (images[..., ::2, ::2] - F.avg_pool2d(images, 2)).abs().mean()
            ),
            "the channels are mixed into one grey first, and coloured dots cancel: keep them apart.": (
                lambda images: _dots(images.mean(1, keepdim=True)).abs().mean()
            ),
            "that is the sum over all pixels; a larger picture would be the dirtier one.": (
                lambda images: _dots(images).abs().sum()
            ),
        },
        "it is 0 where the four pixels of every square are alike.",
    ),
    Exercise(
        "colours-together",
        _pictures_and_style,
        _together,
        {
            "each channel's own spread is compared, and not how two channels go together.": (
                lambda images, style: _together(images, style, lambda x: _covariance(x).diagonal(dim1=1, dim2=2))
            ),
            "the mean is not subtracted before colours are multiplied, so it counts a second time.": (
                lambda images, style: _together(images, style, lambda x: _covariance(x, centred=False))
            ),
            "the products are summed over places; pictures of two sizes can be compared only by a mean.": (
                lambda images, style: _together(images, style, lambda x: _rows_of(x) @ _rows_of(x).mT)
            ),
            "your covariance is divided by one less than the number of places, as `torch.cov` does it.": (
                lambda images, style: _together(
                    images, style, lambda x: torch.stack([torch.cov(rows) for rows in x.flatten(2)])
                )
            ),
            "all pictures of the batch are taken as one; each has a mean and a covariance of its own.": (
                lambda images, style: _together(_as_one(images), style)
            ),
            "a loss is the sum over the batch; yours is the mean.": (
                lambda images, style: _together(images, style) / len(images)
            ),
            "the means are there, the covariances are missing.": _means_apart,
            "the covariances are there, the means are missing: a darker picture has the same ones.": (
                lambda images, style: _together(images, style) - _means_apart(images, style)
            ),
        },
        "it knows which colours there are and which go together, in pictures of any size.",
    ),
)
