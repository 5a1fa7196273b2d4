"""Photographs of a toy world: one large object in front of a simple background, rendered from integer seeds.

A scene is a pure function of its seed: numpy draws one vector of uniforms per seed on the CPU, everything after that is
batched tensor algebra on any device. Scenes that show the same object (or background) are rendered together.
The pictures are deliberately smooth, without noise or fine texture: what a small network has to learn are shapes, light
and colours, and every bit of noise would be paid for with a blurred object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .backgrounds import BACKDROPS
from .objects import PAINTERS
from .shapes import Draws, Painter, turned

OBJECTS: tuple[str, ...] = tuple(PAINTERS)
BACKGROUNDS: tuple[str, ...] = tuple(BACKDROPS)

_SALT = 20_240_117
_NUMBERS = 64  # uniforms per scene: 16 for the layout, 16 for the background, 16 per object
_FLOATING = ("balloon", "fish")
_EXTRAS = ("tree", "flower", "mushroom", "apple")  # what may stand small beside the main object
_TURN = {"fish": 0.25, "boat": 0.12, "car": 0.06, "house": 0.03, "mountain": 0.0, "mug": 0.08}
_HALF_SIZE = {
    "car": (0.58, 0.72),
    "fish": (0.55, 0.74),
    "mountain": (0.6, 0.78),
    "cat": (0.55, 0.74),
    "apple": (0.5, 0.7),
}


@dataclass(frozen=True)
class Scenes:
    """A batch of rendered scenes.

    image: float (B, 3, H, W) in [-1, 1]. mask: float (B, 1, H, W) in [0, 1], the pixels of the main object.
    object, background: int64 (B,), positions in OBJECTS and BACKGROUNDS. seeds: int64 (B,), always on the CPU.
    """

    image: Tensor
    mask: Tensor
    object: Tensor
    background: Tensor
    seeds: Tensor

    def __len__(self) -> int:
        return self.image.shape[0]


def render(
    seeds: Sequence[int] | Tensor,
    size: int = 64,
    device: str | torch.device = "cpu",
    objects: Sequence[int] | Tensor | None = None,
) -> Scenes:
    """Renders one scene per seed.

    seeds: B integers >= 0. size: H = W in pixels, at least 16. objects: B positions in OBJECTS that replace the object
    drawn from the seed (the background and the place stay the same); None keeps what the seed says.
    The same seed gives the same picture in any batch and, within rounding, on any device.
    """
    seeds = _as_seeds(seeds)
    if size < 16:
        raise ValueError(f"size must be at least 16 pixels; got {size}: 64, 96 and 128 are what the world is drawn for")
    numbers = _uniforms(seeds)
    drawn, background = _labels(numbers)
    object_ = drawn if objects is None else torch.as_tensor(objects, dtype=torch.int64).cpu().reshape(-1)
    if object_.shape != seeds.shape or ((object_ < 0) | (object_ >= len(OBJECTS))).any():
        raise ValueError(
            f"objects must be {len(seeds)} positions in 0..{len(OBJECTS) - 1}, one per seed; got {object_.tolist()[:8]}"
        )
    image = torch.empty(len(seeds), 3, size, size, device=device)
    mask = torch.empty(len(seeds), 1, size, size, device=device)
    x, y = _grid(size, device)
    for index, name in enumerate(BACKGROUNDS):
        rows = (background == index).nonzero().view(-1)
        if len(rows):
            draw = Draws(numbers[rows, 16:32].to(device))
            image[rows.to(device)] = BACKDROPS[name](x, y, _horizon(numbers[rows]).to(device), draw)
    _add_extras(image, numbers, object_, x, y)
    for index, name in enumerate(OBJECTS):
        rows = (object_ == index).nonzero().view(-1)
        if len(rows):
            place = _main_place(numbers[rows], name)
            mask[rows.to(device)] = _add_object(image, rows, name, place, numbers[rows, 32:48], x, y)
    vignette = 1 - 0.07 * (x**2 + y**2)
    image = (image * vignette).clamp_(0, 1).mul_(2).sub_(1)
    return Scenes(image, mask, object_.to(device), background.to(device), seeds)


def _as_seeds(seeds: Sequence[int] | Tensor) -> Tensor:
    seeds = torch.as_tensor(seeds, dtype=torch.int64).cpu().reshape(-1)
    if len(seeds) and int(seeds.min()) < 0:
        raise ValueError(f"seeds must be integers >= 0; got {int(seeds.min())}")
    return seeds


def _uniforms(seeds: Tensor) -> Tensor:
    """(B, 64) uniforms in [0, 1), each row drawn from its own seed and nothing else."""
    rows = [np.random.default_rng([seed, _SALT]).random(_NUMBERS, dtype=np.float32) for seed in seeds.tolist()]
    return torch.from_numpy(np.stack(rows)) if rows else torch.empty(0, _NUMBERS)


def _labels(numbers: Tensor) -> tuple[Tensor, Tensor]:
    return (numbers[:, 0] * len(OBJECTS)).long(), (numbers[:, 1] * len(BACKGROUNDS)).long()


def _grid(size: int, device: str | torch.device) -> tuple[Tensor, Tensor]:
    """Scene coordinates of the pixel centres, x to the right and y up in [-1, 1], each (1, H, W)."""
    centres = (torch.arange(size, dtype=torch.float32, device=device) + 0.5) * (2 / size) - 1
    return centres.view(1, 1, -1).expand(1, size, size), -centres.view(1, -1, 1).expand(1, size, size)


def _horizon(numbers: Tensor) -> Tensor:
    return -0.38 + 0.38 * numbers[:, 2].view(-1, 1, 1)


@dataclass(frozen=True)
class _Place:
    """Where an object stands, each (n, 1, 1): centre, half size, turn in radians, -1 or 1 for mirrored."""

    x: Tensor
    y: Tensor
    half_size: Tensor
    turn: Tensor
    mirrored: Tensor
    shadow: float


def _main_place(numbers: Tensor, name: str) -> _Place:
    draw = Draws(numbers[:, 3:16])
    half_size = draw.uniform(*_HALF_SIZE.get(name, (0.58, 0.76)))
    x = draw.uniform(-1, 1) * 0.24
    limit = _TURN.get(name, 0.1)
    turn = draw.uniform(-limit, limit)
    mirrored = 1 - 2 * draw.chance(0.5)
    if name in _FLOATING:
        return _Place(x, draw.uniform(-0.12, 0.12), half_size, turn, mirrored, shadow=0.0)
    return _Place(x, draw.uniform(-0.85, -0.68) + half_size, half_size, turn, mirrored, shadow=0.45)


def _add_extras(image: Tensor, numbers: Tensor, object_: Tensor, x: Tensor, y: Tensor) -> None:
    """Paints a small second object at the side of every fourth scene, in place."""
    draw = Draws(numbers[:, 9:16])
    wanted = draw.chance(0.25).view(-1) > 0
    kind = (draw.uniform().view(-1) * len(_EXTRAS)).long()
    side = 1 - 2 * draw.chance(0.5)
    place = _Place(
        side * draw.uniform(0.7, 0.82), draw.uniform(-0.6, -0.5), draw.uniform(0.2, 0.26), 0 * side, side, 0.35
    )
    for index, name in enumerate(_EXTRAS):
        rows = (wanted & (kind == index) & (object_ != OBJECTS.index(name))).nonzero().view(-1)
        if len(rows):
            picked = _Place(*(getattr(place, f)[rows] for f in ("x", "y", "half_size", "turn", "mirrored")), 0.35)
            _add_object(image, rows, name, picked, numbers[rows, 48:64], x, y)


def _add_object(image: Tensor, rows: Tensor, name: str, place: _Place, numbers: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Paints one kind of object and its contact shadow into `image` (values in [0, 1]) in place; returns its mask."""
    device, rows = image.device, rows.to(image.device)
    cx, cy, half, turn, mirrored = (
        value.to(device) for value in (place.x, place.y, place.half_size, place.turn, place.mirrored)
    )
    scene = image[rows]
    if place.shadow:
        spread = ((x - cx - 0.08 * half) / (1.05 * half)) ** 2 + ((y - cy + half) / (0.2 * half)) ** 2
        scene = scene * (1 - place.shadow * (-1.3 * spread).exp()).unsqueeze(1)
    across, up = turned((x - cx) / half, (y - cy) / half, turn)
    painter = Painter(across * mirrored, up, 2 / (x.shape[-1] * half), mirrored)
    PAINTERS[name](painter, Draws(numbers.to(device)))
    image[rows] = scene * (1 - painter.alpha) + painter.rgb
    return painter.alpha
