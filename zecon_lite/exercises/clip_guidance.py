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
    """Five angles in radians, not so near to 0 or pi that the roundings of an arcsine would count; float32."""
    return (0.2 + 2.6 * torch.rand(5, generator=generator),)


def _changes(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Changes of 24 styles, (24, 6) each, float64: the pictures' roughly along the texts', which differ in length."""
    text = torch.randn((24, 6), generator=generator, dtype=torch.float64)
    image = text + 0.8 * torch.randn((24, 6), generator=generator, dtype=torch.float64)
    return image, text * (0.4 + 2 * torch.rand((24, 1), generator=generator, dtype=torch.float64))


def _cosines(image_change: Tensor, text_change: Tensor) -> Tensor:
    return F.normalize(image_change, dim=1) @ F.normalize(text_change, dim=1).T


def _told(alike: Tensor, dim: int = 1) -> int:
    return int((alike.argmax(dim) == torch.arange(len(alike))).sum())


def _two_pictures(generator: torch.Generator) -> tuple[Tensor, ...]:
    """Two pictures, (1, 3, 16, 24), whose cells are not 8 pixels wide; float64."""
    return tuple(torch.randn((1, 3, 16, 24), generator=generator, dtype=torch.float64) for _ in range(2))


def _split(a: Tensor, b: Tensor, mode: str = "nearest") -> tuple[Tensor, Tensor]:
    layout = F.adaptive_avg_pool2d(b - a, 8)
    return layout, b - a - F.interpolate(layout, a.shape[-2:], mode=mode)


def _rms(*changes: Tensor) -> tuple[Tensor, ...]:
    return tuple(change.square().mean().sqrt() for change in changes)


def _blocks_of_pixels(a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    layout = F.avg_pool2d(b - a, 8)
    return _rms(layout, b - a - F.interpolate(layout, a.shape[-2:]))


def _contrast_apart(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    (_, one), (_, other) = _split(torch.zeros_like(a), a), _split(torch.zeros_like(b), b)
    return _rms(_split(a, b)[0])[0], (_rms(other)[0] - _rms(one)[0]).abs()


def _looks(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Embeddings of 5 views of 3 pictures, (3, 5, 6), and of an example, (1, 6): none of length 1; float64."""
    looks = 0.2 * torch.randn((3, 5, 6), generator=generator, dtype=torch.float64)
    return looks, 0.2 * torch.randn((1, 6), generator=generator, dtype=torch.float64)


def _half_squares(looks: Tensor, example: Tensor) -> Tensor:
    return _angle(looks, example) ** 2 / 2


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
                lambda image, text: (
                    2 * ((F.normalize(image, dim=-1) - F.normalize(text, dim=-1)).norm(dim=-1).asin() / 2) ** 2
                )
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
        "styles-told",
        _changes,
        lambda image_change, text_change: _told(_cosines(image_change, text_change)),
        {
            "you ask each text for its best picture; asked is, for each change of the pictures, the best text.": (
                lambda image_change, text_change: _told(_cosines(image_change, text_change), dim=0)
            ),
            "that compares bare products, in which a long change of text wins for its length: take cosines.": (
                lambda image_change, text_change: _told(image_change @ text_change.T)
            ),
            "that takes the nearest end of a change; what is compared is where the changes point, by cosines.": (
                lambda image_change, text_change: _told(-torch.cdist(image_change, text_change))
            ),
            "that is the share of the styles; asked is how many they are.": (
                lambda image_change, text_change: _told(_cosines(image_change, text_change)) / len(text_change)
            ),
            "a cosine above 0 is not yet the best: each change has a cosine with *every* text, and the right one must "
            "win.": lambda image_change, text_change: int((_cosines(image_change, text_change).diag() > 0).sum()),
        },
        "each style's change is asked which text it follows.",
        rtol=0,
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
    Exercise(
        "layout-and-details",
        _two_pictures,
        lambda a, b: _rms(*_split(a, b)),
        {
            "8 x 8 is the number of cells, not their size in pixels: the grid is the same for pictures of any size.": (
                _blocks_of_pixels
            ),
            "the details still hold the layout: each pixel must first lose the average of its cell.": (
                lambda a, b: _rms(_split(a, b)[0], b - a)
            ),
            "those are mean squares; their roots are missing.": (
                lambda a, b: tuple(value**2 for value in _rms(*_split(a, b)))
            ),
            "those are means of absolute values: square, mean, root, in this order.": (
                lambda a, b: tuple(change.abs().mean() for change in _split(a, b))
            ),
            "you blend neighbouring averages into each other; a pixel loses the average of its own cell alone.": (
                lambda a, b: _rms(*_split(a, b, mode="bilinear"))
            ),
            "you compare how much detail each picture has; two pictures may have as much, and another. Subtract pixel "
            "by pixel before you square.": _contrast_apart,
        },
        "the squares of the two add up to the mean square of the whole change: nothing is counted twice.",
    ),
    Exercise(
        "distance-to-example",
        _looks,
        lambda looks, example: _half_squares(looks, example).mean(1),
        {
            "you average the vectors and measure once; measure each view, then take the mean of what was measured.": (
                lambda looks, example: _half_squares(looks.mean(1), example)
            ),
            "you average the angles before you square; the loss of each view comes first, the mean last.": (
                lambda looks, example: _angle(looks, example).mean(1) ** 2 / 2
            ),
            "one number for each picture is wanted, the mean over its views; yours is the mean over the pictures.": (
                lambda looks, example: _half_squares(looks, example).mean(0)
            ),
            "you add up the views; then more views would mean a larger loss.": (
                lambda looks, example: _half_squares(looks, example).sum(1)
            ),
            "you keep the best view alone; all of them count.": (
                lambda looks, example: _half_squares(looks, example).min(1).values
            ),
            "CLIP's vectors do not have length 1, those of a picture no more than those of a text: scale both.": (
                lambda looks, example: (2 * ((looks - example).norm(dim=-1) / 2).asin() ** 2).mean(1)
            ),
            "the loss is *half* the squared angle.": lambda looks, example: 2 * _half_squares(looks, example).mean(1),
        },
        "CLIP has one space for pictures and texts, so either may be the prompt.",
        atol=1e-4,
    ),
)
