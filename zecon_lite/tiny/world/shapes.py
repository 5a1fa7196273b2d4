"""Signed distances of simple shapes, and the painter that turns them into smooth, anti-aliased pictures.

A signed distance is negative inside a shape, positive outside and zero on its rim, in the units of the coordinates.
One pixel around the rim is blended, which is all the anti-aliasing there is: no supersampling is needed.

Legend: n pictures of one group, H W pixels. Coordinates are (n, H, W) with x to the right and y UP; parameters are
floats or (n, 1, 1) tensors; colours are (n, 3, 1, 1) or (n, 3, H, W) in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor

Number = float | Tensor

LIGHT_X, LIGHT_Y, LIGHT_Z = -0.5, 0.6, 0.62  # one light for the whole world: from the left, above, towards the viewer


def ellipse(x: Tensor, y: Tensor, rx: Number, ry: Number) -> Tensor:
    """Distance to an ellipse around the origin (first-order, exact on the rim), (n, H, W)."""
    radius = ((x / rx) ** 2 + (y / ry) ** 2).sqrt()
    slope = ((x / rx**2) ** 2 + (y / ry**2) ** 2).sqrt()
    hair = 1e-4 * min(side if isinstance(side, float | int) else 1.0 for side in (rx, ry))
    return radius * (radius - 1) / (slope + 1e-4) - hair  # 1e-4 guards the exact centre, where radius = slope = 0


def box(x: Tensor, y: Tensor, half_width: Number, half_height: Number, corner: float = 0.0) -> Tensor:
    """Distance to a box around the origin whose corners are rounded with radius `corner`, (n, H, W)."""
    across, up = x.abs() - half_width + corner, y.abs() - half_height + corner
    outside = (across.clamp(min=0) ** 2 + up.clamp(min=0) ** 2).sqrt()
    return outside + torch.maximum(across, up).clamp(max=0) - corner


def convex(x: Tensor, y: Tensor, corners: list[tuple[Number, Number]]) -> Tensor:
    """Distance to a convex polygon with corners in clockwise order (y up), (n, H, W); too small outside the corners."""
    distance = None
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        dx, dy = x1 - x0, y1 - y0
        length = (dx * dx + dy * dy) ** 0.5
        side = ((y - y0) * dx - (x - x0) * dy) / length
        distance = side if distance is None else torch.maximum(distance, side)
    return distance


def capsule(x: Tensor, y: Tensor, x0: Number, y0: Number, x1: Number, y1: Number, radius: Number) -> Tensor:
    """Distance to a thick line with round ends, (n, H, W)."""
    dx, dy = x1 - x0, y1 - y0
    along = (((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy)).clamp(0, 1)
    return ((x - x0 - along * dx) ** 2 + (y - y0 - along * dy) ** 2).sqrt() - radius


def turned(x: Tensor, y: Tensor, angle: Number) -> tuple[Tensor, Tensor]:
    """The coordinates seen by a shape that is turned by `angle` radians counter-clockwise about the origin."""
    angle = torch.as_tensor(angle, dtype=x.dtype, device=x.device)
    cos, sin = angle.cos(), angle.sin()
    return cos * x + sin * y, cos * y - sin * x


def hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """RGB of hue (cyclic in 1), saturation and value in [0, 1]: three (n, 1, 1) -> (n, 3, 1, 1)."""
    offsets = hue.new_tensor([5.0, 3.0, 1.0]).view(1, 3, 1, 1)
    k = (offsets + 6 * hue.unsqueeze(1)) % 6
    ramp = torch.minimum(k, 4 - k).clamp(0, 1)
    return value.unsqueeze(1) * (1 - saturation.unsqueeze(1) * ramp)


class Draws:
    """Hands out the random numbers of n scenes one by one.

    table: (n, K) uniforms in [0, 1). Every call takes the next column, so that the k-th decision of a scene is always
    made by its k-th number, whichever scenes are rendered beside it.
    """

    def __init__(self, table: Tensor):
        self.table, self.used = table, 0

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        """The next number, moved to [low, high), (n, 1, 1)."""
        column = self.table[:, self.used].view(-1, 1, 1)
        self.used += 1
        return low + (high - low) * column

    def chance(self, probability: float) -> Tensor:
        """1.0 with this probability, else 0.0, (n, 1, 1)."""
        return (self.uniform() < probability).to(self.table.dtype)

    def color(self, hue=(0.0, 1.0), saturation=(0.6, 0.85), value=(0.75, 0.95)) -> Tensor:
        """A colour whose hue, saturation and value are uniform in the given ranges, (n, 3, 1, 1)."""
        return hsv(self.uniform(*hue), self.uniform(*saturation), self.uniform(*value))

    def pick(self, colors: list[tuple[float, float, float]]) -> Tensor:
        """One of the listed RGB colours, slightly brighter or darker, (n, 3, 1, 1)."""
        palette = self.table.new_tensor(colors)
        index = (self.uniform() * len(colors)).long().view(-1)
        return (palette[index].view(-1, 3, 1, 1) * self.uniform(0.9, 1.1).unsqueeze(1)).clamp(0, 1)


class Painter:
    """Paints shapes back to front onto a transparent layer of n pictures.

    x, y: (n, H, W) coordinates of the object's own frame; it stands on y = -1 and reaches to about y = 1.
    pixel: (n, 1, 1) size of a pixel in that frame. mirrored: (n, 1, 1), -1 where the object is flipped, else 1.
    Leaves rgb (n, 3, H, W), already multiplied by alpha, and alpha (n, 1, H, W), both in [0, 1].
    """

    def __init__(self, x: Tensor, y: Tensor, pixel: Tensor, mirrored: Tensor):
        self.x, self.y, self.pixel, self.light_x = x, y, pixel, LIGHT_X * mirrored
        self.rgb = x.new_zeros(x.shape[0], 3, *x.shape[1:])
        self.alpha = x.new_zeros(x.shape[0], 1, *x.shape[1:])

    def rgb_of(self, red: float, green: float, blue: float) -> Tensor:
        """A constant colour, (1, 3, 1, 1)."""
        return self.x.new_tensor([red, green, blue]).view(1, 3, 1, 1)

    def paint(self, distance: Tensor, color: Tensor, shade: Tensor | None = None, rim: float = 0.25) -> None:
        """Covers the inside of a shape with a colour, times `shade` (n, H, W), darker by `rim` towards its outline."""
        light = 1 - rim * (distance.clamp(max=0) * 9).exp()
        if shade is not None:
            light = light * shade
        cover = (0.5 - distance / self.pixel).clamp(0, 1).unsqueeze(1)
        self.rgb = torch.lerp(self.rgb, (color * light.unsqueeze(1)).clamp(0, 1), cover)
        self.alpha = self.alpha + (1 - self.alpha) * cover

    def slope(self, cx: Number, cy: Number, half_width: Number, half_height: Number, strength: float = 0.3) -> Tensor:
        """Shade of a nearly flat face: brighter towards the light, (n, H, W)."""
        across, up = (self.x - cx) / half_width, (self.y - cy) / half_height
        return (1 + strength * (self.light_x * across + LIGHT_Y * up)).clamp(0.5, 1.5)

    def sphere(self, cx: Number, cy: Number, rx: Number, ry: Number) -> Tensor:
        """Lambert shade of an ellipsoid that bulges towards the viewer, (n, H, W)."""
        nx, ny = (self.x - cx) / rx, (self.y - cy) / ry
        nz = (1 - nx * nx - ny * ny).clamp(min=0).sqrt()
        return 0.55 + 0.62 * (self.light_x * nx + LIGHT_Y * ny + LIGHT_Z * nz).clamp(min=-0.2)

    def ball(self, cx: Number, cy: Number, rx: Number, ry: Number, color: Tensor, rim: float = 0.15) -> None:
        """Paints a shaded ellipsoid."""
        distance = ellipse(self.x - cx, self.y - cy, rx, ry)
        self.paint(distance, color, self.sphere(cx, cy, rx, ry), rim)

    def disc(self, cx: Number, cy: Number, rx: Number, ry: Number, color: Tensor) -> None:
        """Paints a flat ellipse without shade: an eye, a spot."""
        self.paint(ellipse(self.x - cx, self.y - cy, rx, ry), color, rim=0.0)

    def bar(self, x0: Number, y0: Number, x1: Number, y1: Number, radius: Number, color: Tensor) -> None:
        """Paints a flat thick line with round ends."""
        self.paint(capsule(self.x, self.y, x0, y0, x1, y1, radius), color, rim=0.15)
