"""Exercises of the chapter on style from a picture."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .grading import Exercise, Question


def _map(generator: torch.Generator) -> tuple[Tensor]:
    return (torch.randn(*torch.randint(3, 7, (3,), generator=generator).tolist(), generator=generator),)


def _two_maps(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.randn(4, 3, 5, generator=generator), torch.randn(4, 6, 2, generator=generator)


def _embeddings(generator: torch.Generator) -> tuple[Tensor, ...]:
    # Short vectors: with chords below 2 a reader who forgets to normalise gets numbers, not NaN.
    return tuple(0.2 * torch.randn(n, 8, generator=generator) for n in (6, 1))


def _two_clouds(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.randn(7, 3, generator=generator), torch.randn(5, 3, generator=generator) + 0.5


def _layers(generator: torch.Generator) -> tuple[tuple[Tensor, ...], ...]:
    """Maps (B, C_k, H_k, W_k) of three layers, stronger from layer to layer, of two batches of pictures."""
    return tuple(
        tuple(2**k * torch.randn(2, 2 + 2 * k, high, wide, generator=generator).relu() for k in range(3))
        for high, wide in ((3, 4), (5, 2))
    )


def _gram(features: Tensor) -> Tensor:
    rows = features.flatten(1)
    return rows @ rows.T / rows.numel()


def _centred_gram(features: Tensor) -> Tensor:
    return _gram(features - features.mean((1, 2), keepdim=True))


def _gram_distance(features: Tensor, style: Tensor) -> Tensor:
    return (_gram(features) - _gram(style)).square().mean()


def _unscaled_distance(features: Tensor, style: Tensor) -> Tensor:
    return (_gram(features) * features.numel() - _gram(style) * style.numel()).square().mean()


def _chord(image: Tensor, style: Tensor, normalise: bool = True) -> Tensor:
    if normalise:
        image, style = F.normalize(image, dim=1), F.normalize(style, dim=1)
    return (image - style).norm(dim=1)


def _angle_loss(chord: Tensor) -> Tensor:
    return 2 * (chord / 2).clamp(max=1).asin().square()


def _kernel_distance(f: Tensor, g: Tensor, power: int = 2, cross: float = 2.0) -> Tensor:
    def mean(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T).pow(power).mean()

    return mean(f, f) + mean(g, g) - cross * mean(f, g)


def _by_layer(
    maps: tuple[Tensor, ...], others: tuple[Tensor, ...], measure: Callable[[Tensor, Tensor], Tensor] = _gram_distance
) -> Tensor:
    """The mean over the pictures of a measure of two maps, for each layer: (K,)."""
    return torch.stack([
        torch.stack([measure(p, q) for p, q in zip(one, other, strict=True)]).mean()
        for one, other in zip(maps, others, strict=True)
    ])


def _of_mean_grams(one: Tensor, other: Tensor) -> Tensor:
    a, b = (torch.stack([_gram(picture) for picture in maps]).mean(0) for maps in (one, other))
    return (a - b).square().mean()


EXERCISES = (
    Exercise(
        "gram",
        _map,
        _gram,
        {
            "you multiply places with places, (H W, H W): flatten to (C, H W) and take rows @ rows.T, features with "
            "features.": (lambda f: f.flatten(1).T @ f.flatten(1) / f.numel()),
            "nothing is divided yet: a picture twice as wide would have a Gram matrix twice as large. Divide by "
            "C H W.": (lambda f: f.flatten(1) @ f.flatten(1).T),
            "you divide by H W alone; the convention here also divides by the number of features, C.": (
                lambda f: f.flatten(1) @ f.flatten(1).T / f[0].numel()
            ),
            "you subtract the mean of each feature first: that is a covariance matrix. A Gram matrix keeps the means, "
            "and with them how strong each feature is.": _centred_gram,
        },
        "it says which features occur together, and no longer where.",
    ),
    Exercise(
        "gram-distance",
        _two_maps,
        _gram_distance,
        {
            "too large by the number of entries: take the mean over the matrix, not the sum, and divide each matrix by "
            "C H W, not by H W.": (lambda f, g: (_gram(f) - _gram(g)).square().sum()),
            "that is the length of the difference; wanted is the mean of its squares.": (
                lambda f, g: (_gram(f) - _gram(g)).norm()
            ),
            "that is 1 - cosine of the two matrices, a reading that is blind to strength; here take the difference.": (
                lambda f, g: 1 - F.cosine_similarity(_gram(f).flatten(), _gram(g).flatten(), dim=0)
            ),
            "the maps may have different sizes: divide each matrix by its own C H W before you compare.": (
                _unscaled_distance
            ),
        },
        "pictures of different sizes can be compared, for no place is left in either matrix.",
    ),
    Exercise(
        "clip-image-distance",
        _embeddings,
        lambda image, style: _angle_loss(_chord(image, style)),
        {
            "that is 1 - cosine, which flattens out towards opposite vectors: take 2 arcsin(chord / 2)^2.": (
                lambda image, style: 1 - F.cosine_similarity(image, style)
            ),
            "scale both embeddings to length 1 first: their lengths say nothing about what is seen.": (
                lambda image, style: _angle_loss(_chord(image, style, normalise=False))
            ),
            "that is the angle itself: square it and take half.": (
                lambda image, style: 2 * (_chord(image, style) / 2).asin()
            ),
            "return one number for each picture, (B,); the mean over them comes later.": (
                lambda image, style: _angle_loss(_chord(image, style)).mean()
            ),
        },
        "half the squared angle: its slope grows with the angle.",
    ),
    Exercise(
        "gram-kernel",
        _two_clouds,
        _kernel_distance,
        {
            "with the kernel x.y itself you compare the mean features and nothing else: square the products.": (
                lambda f, g: _kernel_distance(f, g, power=1)
            ),
            "the pairs between the pictures count twice, as in (a - b)^2 = a^2 + b^2 - 2 a b.": (
                lambda f, g: _kernel_distance(f, g, cross=1.0)
            ),
            "pairs between the pictures are subtracted: what resembles the other picture lowers the distance.": (
                lambda f, g: _kernel_distance(f, g, cross=-2.0)
            ),
            "square each product before you take the mean, not the mean afterwards.": (
                lambda f, g: (f @ f.T).mean() ** 2 + (g @ g.T).mean() ** 2 - 2 * (f @ g.T).mean() ** 2
            ),
        },
        "matching Gram matrices is matching clouds of features, compared pair by pair.",
    ),
    Exercise(
        "gram-by-layer",
        _layers,
        _by_layer,
        {
            "`flatten(1)` of a batch makes one row of each picture, and the matrix compares pictures with pictures: "
            "keep the batch's dimension, each picture has a Gram matrix of its own.": (
                lambda maps, others: torch.stack([_gram_distance(p, q) for p, q in zip(maps, others, strict=True)])
            ),
            "the Gram matrices are averaged over the batch before they are compared: two pictures that err in opposite "
            "ways would cost nothing.": (
                lambda maps, others: torch.stack([_of_mean_grams(p, q) for p, q in zip(maps, others, strict=True)])
            ),
            "divide each Gram matrix by the C H W of its own map: layers and pictures differ in size.": (
                lambda maps, others: _by_layer(maps, others, _unscaled_distance)
            ),
            "take the mean over a matrix, not the sum, so that a layer with more features does not count more; and "
            "divide each matrix by C H W, not by H W: the two mistakes give the same number.": (
                lambda maps, others: _by_layer(maps, others, lambda p, q: (_gram(p) - _gram(q)).square().sum())
            ),
            "take the mean over the pictures, not the sum.": (
                lambda maps, others: len(maps[0]) * _by_layer(maps, others)
            ),
            "return one number for each layer, (K,); that is their mean.": (
                lambda maps, others: _by_layer(maps, others).mean()
            ),
        },
        "each layer speaks for itself, before a sum lets the loudest speak for all.",
    ),
    Question(
        "gram-numbers",
        64 * 65 / 2,
        "64 * 65 / 2: the matrix is symmetric, so the entries above the diagonal repeat those below.",
        {
            64.0 * 64 / 2: "half of the matrix would cut the diagonal in two: its 64 entries stand there once.",
            64.0 * 64: "the matrix has 64 x 64 entries, but it is symmetric: half of them repeat the others.",
            64 * 63 / 2: "the diagonal counts too: it says how strong each feature is by itself.",
            64.0 * 256 * 256: "that is the map: the Gram matrix has one row for each feature, none for a place.",
        },
        rtol=1e-6,
    ),
)
