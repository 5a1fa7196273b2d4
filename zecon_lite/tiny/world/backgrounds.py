"""The six places where a scene of the style world can happen: smooth skies, grounds and nothing else.

Every function takes the scene's coordinates x, y (1, H, W) in [-1, 1] with y up, the height of the horizon (n, 1, 1)
and the `Draws` of the group, and returns a picture (n, 3, H, W) in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .shapes import Draws


def sea(x: Tensor, y: Tensor, horizon: Tensor, draw: Draws) -> Tensor:
    """Open water with broad waves under a day or evening sky with a sun."""
    sky = _sky(
        y,
        horizon,
        draw.pick([(0.25, 0.55, 0.9), (0.3, 0.65, 0.88), (0.45, 0.4, 0.72)]),
        draw.pick([(0.8, 0.92, 0.98), (0.98, 0.85, 0.65), (0.98, 0.72, 0.55)]),
    )
    sky = _sun(sky, x, y, draw.uniform(-0.8, 0.8), draw.uniform(0.5, 0.8), draw.uniform(0.13, 0.18), (1.0, 0.95, 0.75))
    near, far = draw.pick([(0.03, 0.25, 0.5), (0.02, 0.38, 0.45)]), draw.pick([(0.25, 0.6, 0.78), (0.3, 0.7, 0.7)])
    depth = ((horizon - y) / (1 + horizon)).clamp(0, 1)
    wave = torch.sin(16 * depth.sqrt() + 0.6 * torch.sin(3 * x + draw.uniform(0, 6.28)))
    water = torch.lerp(far, near, depth.unsqueeze(1)) + 0.05 * (wave * depth.clamp(max=0.5) * 2).unsqueeze(1)
    return _stack(sky, water, y - horizon)


def hills(x: Tensor, y: Tensor, horizon: Tensor, draw: Draws) -> Tensor:
    """Two rows of green hills under a blue sky with a soft cloud."""
    sky = _sky(
        y,
        horizon,
        draw.color(hue=(0.53, 0.62), saturation=(0.45, 0.7), value=(0.85, 0.97)),
        draw.color(hue=(0.5, 0.6), saturation=(0.08, 0.2), value=(0.93, 0.99)),
    )
    sky = _cloud(sky, x, y, draw.uniform(-0.7, 0.7), draw.uniform(0.45, 0.8))
    far = draw.color(hue=(0.28, 0.4), saturation=(0.35, 0.55), value=(0.55, 0.7))
    near = draw.color(hue=(0.2, 0.33), saturation=(0.55, 0.75), value=(0.55, 0.75))
    back = horizon + 0.14 + 0.16 * torch.sin(2.4 * x + draw.uniform(0, 6.28))
    front = horizon - 0.08 + 0.1 * torch.sin(1.9 * x + draw.uniform(0, 6.28))
    picture = _stack(sky, _shaded(far, y, back), y - back)
    return _stack(picture, _shaded(near, y, front), y - front)


def desert(x: Tensor, y: Tensor, horizon: Tensor, draw: Draws) -> Tensor:
    """Sand dunes with a lit and a shaded side under a warm sky with a low sun."""
    sky = _sky(
        y,
        horizon,
        draw.pick([(0.96, 0.62, 0.35), (0.55, 0.75, 0.88), (0.9, 0.5, 0.45)]),
        draw.pick([(1.0, 0.88, 0.62), (0.99, 0.82, 0.6)]),
    )
    sky = _sun(sky, x, y, draw.uniform(-0.75, 0.75), draw.uniform(0.3, 0.7), draw.uniform(0.15, 0.2), (1.0, 0.97, 0.8))
    sand = draw.color(hue=(0.08, 0.12), saturation=(0.5, 0.65), value=(0.85, 0.95))
    phase = draw.uniform(0, 6.28)
    back = horizon + 0.06 + 0.12 * torch.sin(2.1 * x + phase)
    front = horizon - 0.2 + 0.13 * torch.sin(1.6 * x + 2 * phase)
    picture = _stack(sky, _shaded(sand * 0.86, y, back), y - back)
    return _stack(picture, _shaded(sand, y, front), y - front)


def night(x: Tensor, y: Tensor, horizon: Tensor, draw: Draws) -> Tensor:
    """A dark blue sky with a moon and five large stars above dark hills."""
    sky = _sky(
        y,
        horizon,
        draw.pick([(0.06, 0.07, 0.24), (0.1, 0.06, 0.26)]),
        draw.pick([(0.25, 0.26, 0.55), (0.38, 0.26, 0.55), (0.2, 0.35, 0.55)]),
    )
    moon_x, moon_y = draw.uniform(-0.8, 0.8), draw.uniform(0.55, 0.78)
    sky = _sun(sky, x, y, moon_x, moon_y, draw.uniform(0.14, 0.18), (0.98, 0.96, 0.85))
    turn = draw.uniform(0, 1)
    for k in range(5):
        star_x = ((turn + 0.618 * k) % 1) * 1.9 - 0.95
        star_y = 0.3 + 0.62 * ((2.3 * turn + 0.382 * k) % 1)
        glow = (-((x - star_x) ** 2 + (y - star_y) ** 2) / 0.0016).exp().unsqueeze(1)
        sky = sky + (0.95 - sky) * glow
    ground = draw.pick([(0.12, 0.17, 0.27), (0.14, 0.22, 0.24), (0.18, 0.15, 0.28)])
    line = horizon + 0.1 * torch.sin(2.2 * x + draw.uniform(0, 6.28))
    return _stack(sky, _shaded(ground, y, line, 0.5), y - line)


def snow(x: Tensor, y: Tensor, horizon: Tensor, draw: Draws) -> Tensor:
    """White slopes with blue shadows under a pale winter sky."""
    sky = _sky(
        y,
        horizon,
        draw.pick([(0.55, 0.72, 0.9), (0.62, 0.66, 0.78), (0.7, 0.62, 0.8)]),
        draw.pick([(0.86, 0.92, 0.97), (0.98, 0.88, 0.86)]),
    )
    phase = draw.uniform(0, 6.28)
    back = horizon + 0.16 + 0.2 * torch.sin(2.0 * x + phase)
    front = horizon - 0.06 + 0.1 * torch.sin(1.5 * x + 2 * phase)
    blue = draw.pick([(0.72, 0.8, 0.93), (0.78, 0.8, 0.92)])
    white = draw.pick([(0.95, 0.97, 1.0), (0.97, 0.96, 0.97)])
    picture = _stack(sky, _shaded(blue, y, back, 0.15), y - back)
    return _stack(picture, _shaded(white, y, front, 0.15), y - front)


def room(x: Tensor, y: Tensor, horizon: Tensor, draw: Draws) -> Tensor:
    """A painted wall above a skirting board and a wooden floor, lit from the left."""
    wall = draw.color(saturation=(0.15, 0.45), value=(0.7, 0.92))
    wood = draw.color(hue=(0.05, 0.1), saturation=(0.45, 0.65), value=(0.45, 0.7))
    pool = (-((x + draw.uniform(0.1, 0.7)) ** 2 + (y - draw.uniform(0.2, 0.6)) ** 2) / 1.1).exp()
    lit = wall * (0.72 + 0.36 * pool).unsqueeze(1)
    board = x.new_tensor([0.95, 0.93, 0.9]).view(1, 3, 1, 1).expand_as(lit)
    floor = wood * (1.05 - 0.35 * ((horizon - y) / (1 + horizon)).clamp(0, 1) - 0.12 * x).unsqueeze(1)
    return _stack(_stack(lit, board * 0.95, y - horizon - 0.09), floor, y - horizon)


BACKDROPS: dict[str, Callable[[Tensor, Tensor, Tensor, Draws], Tensor]] = {
    "sea": sea,
    "hills": hills,
    "desert": desert,
    "night": night,
    "snow": snow,
    "room": room,
}


def _sky(y: Tensor, horizon: Tensor, top: Tensor, bottom: Tensor) -> Tensor:
    """A gradient from the horizon to the upper edge, (n, 3, H, W)."""
    return torch.lerp(bottom, top, ((y - horizon) / (1 - horizon)).clamp(0, 1).unsqueeze(1))


def _sun(sky: Tensor, x: Tensor, y: Tensor, cx: Tensor, cy: Tensor, radius: Tensor, color: tuple) -> Tensor:
    """A disc with a soft halo: sun or moon."""
    distance = ((x - cx) ** 2 + (y - cy) ** 2).sqrt()
    disc = (0.5 - (distance - radius) * x.shape[-1] / 2).clamp(0, 1)
    halo = 0.45 * (-((distance / (2.2 * radius)) ** 2)).exp()
    light = x.new_tensor(color).view(1, 3, 1, 1)
    return torch.lerp(sky, light.expand_as(sky), torch.maximum(disc, halo).unsqueeze(1))


def _cloud(sky: Tensor, x: Tensor, y: Tensor, cx: Tensor, cy: Tensor) -> Tensor:
    """Three overlapping soft white puffs."""
    cover = 0.0
    for dx, dy, radius in ((-0.22, 0.0, 0.16), (0.0, 0.07, 0.21), (0.24, 0.0, 0.15)):
        distance = ((x - cx - dx) ** 2 + (1.4 * (y - cy - dy)) ** 2).sqrt()
        cover = torch.maximum(((radius - distance) / 0.12 + 0.5).clamp(0, 1), torch.as_tensor(cover).to(x))
    return sky + (1 - sky) * (0.9 * cover).unsqueeze(1)


def _shaded(color: Tensor, y: Tensor, line: Tensor, strength: float = 0.3) -> Tensor:
    """Ground that is brightest at its upper line, (n, 3, H, W)."""
    return color * (1.06 - strength * ((line - y) / 0.9).clamp(0, 1)).unsqueeze(1)


def _stack(above: Tensor, below: Tensor, height: Tensor) -> Tensor:
    """`below` where height < 0, `above` elsewhere, with a smooth line between them."""
    return torch.lerp(above, below, (0.5 - height * height.shape[-1] / 2).clamp(0, 1).unsqueeze(1))
