"""Random looks at a picture: crops, small rotations and tilts, for losses that must hold wherever one looks.

CLIP shown one whole picture is easily fooled by noise that no one sees; shown many random views of it, much less so
(CLIPstyler, Kwon & Ye 2022; the released ZeCon code looks in the same way).

A view is a rule that says where each of its pixels comes from. Each transform below moves points, from the view back
towards the picture, so a chain of transforms is a chain of moved points, and the picture is read only once, at the end:
one bilinear read for all views of all images. Points are (x, y) in pixels; (0, 0) is the centre of the first pixel.

Differs from the released ZeCon code, which resamples after every transform, one crop at a time: views here are a
little sharper, because they are resampled once, and a crop is drawn at the final size instead of at 128 pixels and then
repeated up to 224. All images of a batch get the same views. The distributions are the released ones (kornia 0.6.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_ANGLE, MAX_SHIFT, MAX_TILT = 15.0, 0.1, 0.35    # degrees; parts of the view's side
MAX_RATIO = 4 / 3                                   # width : height of a crop, and height : width


def crop_boxes(
    n: int,
    height: int,
    width: int,
    area: tuple[float, float],
    generator: torch.Generator | None = None,
    ratio: tuple[float, float] = (1 / MAX_RATIO, MAX_RATIO),
) -> Tensor:
    """Boxes (n, 4) anywhere in the picture, as x0, y0, x1, y1: the centres of their corner pixels.

    area: the part of the picture that a box covers, drawn uniformly; ratio: width : height, log-uniform; sides are
    rounded to whole pixels. The first of ten tries that fits is taken, as in torchvision's and kornia's
    RandomResizedCrop, and the whole picture where none does.
    """
    areas = _uniform(generator, *area, n, 10) * height * width
    ratios = _uniform(generator, log(ratio[0]), log(ratio[1]), n, 10).exp()
    w, h = (areas * ratios).sqrt().round(), (areas / ratios).sqrt().round()
    fits = (w >= 1) & (w <= width) & (h >= 1) & (h <= height)
    first = fits.int().argmax(1, keepdim=True)                             # argmax of 0 and 1: the first 1
    w = torch.where(fits.any(1), w.gather(1, first)[:, 0], width)
    h = torch.where(fits.any(1), h.gather(1, first)[:, 0], height)
    place = _uniform(generator, 0, 1, 2, n)
    x0, y0 = (place[0] * (width - w + 1)).floor(), (place[1] * (height - h + 1)).floor()
    return torch.stack([x0, y0, x0 + w - 1, y0 + h - 1], dim=1)


def quadrant_boxes(
    n: int, height: int, width: int, area: tuple[float, float], generator: torch.Generator | None = None
) -> Tensor:
    """Boxes (n, 4) that cover the picture evenly: n - 1 squares, one quadrant after the other, and almost all of it.

    area: the part of the picture's central square that a small square covers; its side is drawn uniformly. The last
    box spans 0.9 to 1 of each side of the picture.
    """
    quadrant = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]], dtype=torch.float64)
    centre = quadrant[torch.arange(n) % 4] + _uniform(generator, -0.2, 0.2, n, 2)
    picture = torch.tensor([width, height], dtype=torch.float64)
    extent = (_uniform(generator, sqrt(area[0]), sqrt(area[1]), n, 1) * picture.min()).expand(n, 2).clone()
    extent[-1] = _uniform(generator, 0.9, 1.0, 1) * picture
    centre[-1] = 0
    low = ((centre + 1) / 2 * picture - extent / 2).clamp_min(0)           # in pixel edges, 0 to width
    low = torch.minimum(low, picture - extent)
    return torch.cat([low, low + (extent - 1).clamp_min(0)], dim=1)


@dataclass(frozen=True)
class Views:
    """How CLIP looks at a picture: `count` random views of it.

    area: the part of the picture that a view shows, from and to; None: all of it. The released ZeCon command uses
    (0.01, 0.3), at 256 pixels; a small picture wants larger parts.
    stratified: lay the views on the four quadrants in turn and let the last one show almost everything. With few
    views per step, even coverage keeps a picture from being painted only where the crops happened to fall.
    jitter: 1 turns, shifts and tilts each view as the released code does, 0 not at all, 0.5 half as far.
    """

    count: int = 32
    area: tuple[float, float] | None = (0.09, 0.3)
    stratified: bool = False
    jitter: float = 1.0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count is the number of views, at least 1; got {self.count}")
        if self.area is not None and not 0 < self.area[0] <= self.area[1] <= 1:
            raise ValueError(f"area must be two parts of the picture, 0 < from <= to <= 1, or None; got {self.area}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be from 0 (no turn or tilt) to 1 (as released); got {self.jitter}")

    def __call__(self, images: Tensor, size: int, generator: torch.Generator | None = None) -> Tensor:
        """(B, 3, H, W) -> (B * count, 3, size, size), the views of the first image first; differentiable.

        Every image gets the same views: no picture's result depends on its neighbours in the batch. Where a tilted
        view shows nothing it is 0, which is grey. Random numbers are drawn on the CPU: boxes, angles, shifts, corners.

        >>> Views(count=5)(torch.zeros(2, 3, 64, 64), size=32).shape
        torch.Size([10, 3, 32, 32])
        """
        height, width = images.shape[-2:]
        boxes = self._boxes(height, width, generator)
        points, inside = pixel_grid(size).expand(self.count, size, size, 2).to(images), None
        if self.jitter:
            turn, tilt = (m.to(images) for m in random_jitter(self.count, size, generator, self.jitter))
            points = move(points, tilt)
            inside = coverage(points, size)
            points = move(points.clamp(0, size - 1), turn).clamp(0, size - 1)    # beyond its edge a crop is repeated
        low, high = boxes.to(images)[:, None, None].chunk(2, dim=-1)             # (count, 1, 1, 2) each
        views = read(images, low + points * (high - low) / (size - 1), _reduced(images, boxes, size))
        return (views if inside is None else views * inside[:, None]).flatten(0, 1)

    def _boxes(self, height: int, width: int, generator: torch.Generator | None) -> Tensor:
        if self.area is None:
            return torch.tensor([0, 0, width - 1, height - 1], dtype=torch.float64).expand(self.count, 4)
        rule = quadrant_boxes if self.stratified else crop_boxes
        return rule(self.count, height, width, self.area, generator)


@dataclass(frozen=True)
class Cuts:
    """How DiffuseIT lets CLIP look at a picture: `count` large pieces of it, a little turned, half of them mirrored.

    area: the part of the picture that a piece shows, from and to. ratio: a piece's width : height, as parts of the
    picture's own: a piece of a long picture is as long. angle: the largest turn, in degrees.
    Differs from the released code, which turns by nearest pixels and then crops bilinearly: the picture is read once.
    Like there, nothing is averaged before, but for pictures of twice the size and more, of which it would miss pixels.
    """

    count: int = 8
    area: tuple[float, float] = (0.8, 1.0)
    ratio: tuple[float, float] = (0.9, 1.1)
    angle: float = 10.0

    def __call__(self, images: Tensor, size: int, generator: torch.Generator | None = None) -> Tensor:
        """(B, 3, H, W) -> (B * count, 3, size, size), the cuts of the first image first; differentiable.

        Every image gets the same cuts; beyond a turned picture's edge it is black. Draws: boxes, angles, mirrorings.
        """
        height, width = images.shape[-2:]
        shape = width / height
        ratio = self.ratio[0] * shape, self.ratio[1] * shape
        boxes = crop_boxes(self.count, height, width, self.area, generator, ratio)
        angle = _uniform(generator, -self.angle, self.angle, self.count).deg2rad()
        mirrored = _uniform(generator, 0, 1, self.count) < 0.5
        points = pixel_grid(size).expand(self.count, size, size, 2)
        points = torch.where(mirrored[:, None, None, None], points.flip(2), points)    # columns from right to left
        low, high = boxes[:, None, None].chunk(2, dim=-1)                  # (count, 1, 1, 2) each
        extent = boxes.new_tensor([width, height])
        points = low + points * (high - low) / (size - 1) - (extent - 1) / 2
        turn = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()], dim=-1).view(-1, 1, 2, 2)
        points = (points @ turn + (extent - 1) / 2).to(images)
        inside = coverage(points, extent.to(images))[:, None]
        reduced = _reduced(images, boxes, size) if min(height, width) >= 2 * size else None
        return ((read(images, points, reduced) + 1) * inside - 1).flatten(0, 1)


def random_jitter(
    n: int, side: int, generator: torch.Generator | None = None, strength: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The matrices (n, 3, 3) of n random turns and n random tilts of a view of `side` pixels.

    At strength 1: angle U(-15, 15) degrees; shift U(-0.1, 0.1) of the side, vertical only (the released code passes
    one number where kornia wants a horizontal and a vertical one); each corner moved inward by U(0, 0.35) of the side
    in x and in y.
    """
    angle = strength * _uniform(generator, -MAX_ANGLE, MAX_ANGLE, n)
    shift = strength * _uniform(generator, -MAX_SHIFT, MAX_SHIFT, n) * side
    inward = strength * _uniform(generator, 0, MAX_TILT, n, 4, 2) * side
    signs = torch.tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]], dtype=torch.float64)
    return affine_matrices(angle, shift, side), perspective_matrices(_corners(side) + signs * inward, side)


def affine_matrices(angle: Tensor, shift: Tensor, side: int) -> Tensor:
    """Matrices (n, 3, 3) that move points back from a picture turned by `angle` and then shifted down by `shift`.

    angle: (n,) degrees, clockwise, about the centre. shift: (n,) pixels; kornia stretches it by side/(side-1).
    """
    centre, down = (side - 1) / 2, shift * side / (side - 1)
    cos, sin = angle.deg2rad().cos(), angle.deg2rad().sin()
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    # p = centre + R^-1 (view - centre - shift), multiplied out
    rows = [
        [cos, sin, centre - cos * centre - sin * (centre + down)],
        [-sin, cos, centre + sin * centre - cos * (centre + down)],
        [zero, zero, one],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def perspective_matrices(corners: Tensor, side: int) -> Tensor:
    """Matrices (n, 3, 3) that move points back from a picture whose corners were dragged to `corners`.

    corners: (n, 4, 2), where the top left, top right, bottom right and bottom left pixel went. A perspective has eight
    unknowns and four corners give eight equations. kornia then counts pixels from their edges instead of their
    centres, which stretches the result by side/(side-1) and moves it by half a pixel; so do we.
    """
    corners = corners.double()
    x, y = corners.unbind(-1)                                              # (n, 4)
    u, v = _corners(side).expand_as(corners).unbind(-1)                    # where they came from
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    equations = torch.cat([
        torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y], dim=-1),
        torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y], dim=-1),
    ], dim=1)                                                              # (n, 8, 8)
    solution = torch.linalg.solve(equations, torch.cat([u, v], dim=1))
    matrices = torch.cat([solution, one[:, :1]], dim=1).view(-1, 3, 3)
    stretch = side / (side - 1)
    return torch.tensor([[stretch, 0, -0.5], [0, stretch, -0.5], [0, 0, 1]], dtype=torch.float64) @ matrices


def pixel_grid(side: int) -> Tensor:
    """The points (side, side, 2) of a square view: (x, y) of each pixel, row by row, float64."""
    steps = torch.arange(side, dtype=torch.float64)
    return torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1)


def move(points: Tensor, matrices: Tensor) -> Tensor:
    """Points (n, h, w, 2) moved by matrices (n, 3, 3) in homogeneous coordinates: divided by their third one."""
    homogeneous = F.pad(points, (0, 1), value=1.0) @ matrices.mT[:, None]
    return homogeneous[..., :2] / homogeneous[..., 2:]


def coverage(points: Tensor, side: int | Tensor) -> Tensor:
    """How much of each point (n, h, w, 2) lies on a picture of `side` pixels, (n, h, w): 1 inside, 0 outside.

    side: of a square picture, or its (width, height). The fall from 1 to 0 takes one pixel: what a bilinear read gives
    where beyond the edge there are zeros.
    """
    return ((points + 1).clamp(0, 1) * (side - points).clamp(0, 1)).prod(-1)


def read(images: Tensor, points: Tensor, reduced: tuple[int, int] | None = None) -> Tensor:
    """The images (B, 3, H, W) at n sets of points (n, h, w, 2), bilinear: (B, n, 3, h, w).

    Points outside take the nearest edge. reduced: the (height, width) to which the images are averaged first, so that
    a coarse view sees every pixel and not one in a few; the points still count in pixels of `images`.
    """
    n, h, w, _ = points.shape
    corner = points.new_tensor([images.shape[-1] - 1, images.shape[-2] - 1]).clamp_min(1)
    grid = (points / corner * 2 - 1).reshape(1, n * h, w, 2).expand(len(images), -1, -1, -1)
    if reduced not in (None, images.shape[-2:]):
        images = F.adaptive_avg_pool2d(images, reduced)
    views = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return views.unflatten(2, (n, h)).transpose(1, 2)


def _reduced(images: Tensor, boxes: Tensor, size: int) -> tuple[int, int]:
    """The (height, width) at which the smallest box still has `size` pixels; the picture's own where it has fewer."""
    extent = (boxes[:, 2:] - boxes[:, :2] + 1).amin(0).tolist()
    width, height = (
        min(n, max(size, round(n * size / e))) for n, e in zip(reversed(images.shape[-2:]), extent, strict=True)
    )
    return height, width


def _corners(side: int) -> Tensor:
    return torch.tensor([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=torch.float64) * (side - 1)


def _uniform(generator: torch.Generator | None, low: float, high: float, *shape: int) -> Tensor:
    """U(low, high), float64, drawn on the CPU, so that a seed means the same views on every device."""
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)
