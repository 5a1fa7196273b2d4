"""Twelve ways to redraw a photograph, each a filter that is unmistakable at 64 px.

The patterns are at least three units (1/64 of the height) wide and have few free parameters, mostly one phase per
picture, so that a small network can learn them. They apply to any picture, not only to those of the style world.
Inside the filters pictures are (B, 3, H, W) in [0, 1] and `draw` is (B, 4, 1, 1) uniforms in [0, 1).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .filters import (
    blur,
    inside,
    lattice,
    luminance,
    outlines,
    positions,
    ramp,
    sample,
    saturated,
    stripes,
    tone,
)

_SALT = 77_003


def pencil(image: Tensor, draw: Tensor) -> Tensor:
    """Grey diagonal hatching on light paper, denser in the dark, and soft dark outlines."""
    x, y = positions(image)
    dark = 1 - tone(blur(image, 1.0))
    hatch = inside(stripes(x + y + 5 * draw[:, :1], 5.0) - 3.2 * (dark - 0.25), image)
    cross = inside(stripes(x - y + 5 * draw[:, 1:2], 5.0) - 3.0 * (dark - 0.62), image)
    grey = 0.96 - 0.36 * hatch * (0.5 + 0.5 * dark) - 0.22 * cross
    grey = grey * (1 - 0.8 * outlines(image, 0.7, 0.05, 0.15))
    return grey * _color(image, 1.0, 0.995, 0.98)


def watercolor(image: Tensor, draw: Tensor) -> Tensor:
    """Pale flat washes with darker wet edges and blooms, and a wavy border of white paper."""
    x, y = positions(image)
    flat = _posterised(saturated(blur(image, 1.3), 1.5), 5, 0.4)
    wash = 1 - 0.66 * (1 - flat)
    bloom = torch.sin(0.13 * x + 6.28 * draw[:, :1]) * torch.sin(0.11 * y + 6.28 * draw[:, 1:2])
    wash = wash + (1 - wash) * (0.3 * bloom + 0.1)
    wash = wash - 0.5 * (1.08 - flat) * outlines(image, 1.1, 0.03, 0.14)
    turn = 6.28 * draw[:, 2:3]
    margin_x = torch.minimum(x, 64 * image.shape[-1] / image.shape[-2] - x) - 4.5 - 1.6 * torch.sin(0.35 * y + turn)
    margin_y = torch.minimum(y, 64 - y) - 4.5 - 1.6 * torch.sin(0.31 * x + turn)
    margin = torch.minimum(margin_x, margin_y)
    rim = (-((margin - 0.8) ** 2) / 1.2).exp()
    painted = ramp(margin / 1.6 + 0.5)
    return torch.lerp(_color(image, 0.99, 0.985, 0.97).expand_as(image), wash - 0.13 * rim, painted)


def oil(image: Tensor, draw: Tensor) -> Tensor:
    """Thick saturated brush strokes that follow a slow swirl, with raised lit and shaded flanks."""
    x, y = positions(image)
    turn = 6.28 * draw[:, :1]
    bend = 2.2 * torch.sin(0.16 * x + turn) + 2.2 * torch.sin(0.14 * y + 1.3 * turn)
    along, across = 0.77 * x - 0.64 * y, 0.64 * x + 0.77 * y + bend
    width, length = 4.0, 7.5
    row = torch.floor(across / width)
    start = along / length + 0.382 * row + draw[:, 1:2]
    to_middle_along = (torch.floor(start) + 0.5 - start) * length
    to_middle_across = (row + 0.5) * width - across
    px = x + 0.77 * to_middle_along + 0.64 * to_middle_across
    py = y - 0.64 * to_middle_along + 0.77 * to_middle_across
    bold = saturated(blur(image, 0.7), 1.8)
    color = 0.68 * sample(bold, px, py) + 0.32 * bold
    color = color * (1 + 0.16 * torch.sin(2.4 * row + 3.9 * torch.floor(start)))  # no two loads of paint are alike
    color = color * _color(image, 1.04, 0.99, 0.88)
    relief = to_middle_across / width  # -0.5 on the lower flank of a stroke, 0.5 on the upper
    end = ramp((to_middle_along.abs() / length - 0.36) / 0.14)
    shade = 0.34 * relief - 0.08 * end
    color = color + shade * (0.35 + 0.65 * color)
    return color * (1 - 0.45 * outlines(image, 0.9, 0.06, 0.18))


def mosaic(image: Tensor, draw: Tensor) -> Tensor:
    """Square tiles of one colour each in a light grout."""
    x, y = positions(image)
    period = 5.0
    shift_x, shift_y = period * draw[:, :1], period * draw[:, 1:2]
    to_x = (torch.floor((x + shift_x) / period) + 0.5) * period - shift_x - x
    to_y = (torch.floor((y + shift_y) / period) + 0.5) * period - shift_y - y
    tile = sample(saturated(blur(image, 0.9), 1.8), x + to_x, y + to_y)
    tile = 0.9 * _contrast(tile, 1.3)
    tile = tile + 0.05 * (to_x + to_y) / 2 * (0.3 + tile)
    grout = 1 - inside(torch.maximum(to_x.abs(), to_y.abs()) - 2.1, image)
    return torch.lerp(tile, _color(image, 0.93, 0.91, 0.85).expand_as(image), grout)


def glass(image: Tensor, draw: Tensor) -> Tensor:
    """Stained glass: jewel-coloured panes between thick black leads that also follow the outlines."""
    x, y = positions(image)
    px, py, distance, border = lattice(x, y, draw[:, :2], 13.0, 0.22)
    smooth = blur(image, 1.2)
    pane = 0.35 * sample(smooth, px, py) + 0.65 * smooth
    pane = saturated(_contrast(pane, 1.2), 2.1)
    pane = 0.12 + 0.95 * pane
    pane = pane * (1.25 - 0.05 * distance)
    lead = torch.maximum(inside(border - 1.0, image), outlines(image, 0.8, 0.14, 0.24))
    return torch.lerp(pane, _color(image, 0.02, 0.02, 0.03).expand_as(image), lead)


def pointillism(image: Tensor, draw: Tensor) -> Tensor:
    """Round dots of pure colour on cream paper, warm and cool by turns."""
    x, y = positions(image)
    px, py, distance, _ = lattice(x, y, draw[:, :2], 4.0, 0.06)
    color = _contrast(saturated(sample(blur(image, 0.8), px, py), 1.9), 1.1)
    warm = torch.sin(3.14159 * (px + py) / 4.0 + 6.28 * draw[:, 2:3])
    color = color + 0.12 * warm * _color(image, 1.0, 0.1, -1.0)
    dot = inside(distance - 1.85, image)
    return torch.lerp(_color(image, 0.98, 0.95, 0.86).expand_as(image), color, dot)


def woodcut(image: Tensor, draw: Tensor) -> Tensor:
    """Black ink on cream: horizontal carved lines that swell with the dark, and black contours."""
    x, y = positions(image)
    dark = 1 - tone(blur(image, 0.8))
    wave = 0.8 * torch.sin(0.16 * x + 6.28 * draw[:, 1:2])
    line = inside(stripes(y + wave + 4 * draw[:, :1], 4.0) - (3.1 * dark - 0.7), image)
    contour = outlines(image, 0.7, 0.08, 0.14)
    ink = torch.maximum(line, contour)
    cream, black = _color(image, 0.95, 0.87, 0.68), _color(image, 0.09, 0.05, 0.03)
    return cream + (black - cream) * ink


def neon(image: Tensor, draw: Tensor) -> Tensor:
    """Glowing tubes of saturated colour along the contours in front of black."""
    smooth = blur(image, 1.5)
    lowest, highest = smooth.amin(1, keepdim=True), smooth.amax(1, keepdim=True)
    hue = ((smooth - lowest) / (highest - lowest + 0.03)).clamp(0, 1)
    colorful = ramp((highest - lowest) / 0.25)
    x, y = positions(image)
    turn = 0.05 * x + 0.04 * y + 6.28 * draw[:, :1]
    default = torch.lerp(_color(image, 1.0, 0.1, 0.8), _color(image, 0.1, 0.9, 1.0), 0.5 + 0.5 * torch.sin(turn))
    light = torch.lerp(default.expand_as(image), hue, colorful)
    light = light / light.amax(1, keepdim=True).clamp(min=0.05)
    tube = outlines(image, 0.9, 0.05, 0.16)
    glow = blur(light * tube, 2.6)
    core = ramp((tube - 0.55) / 0.45)
    picture = _color(image, 0.03, 0.0, 0.07) + 1.1 * glow + 0.75 * light * tube
    return picture + 0.4 * core * (1 - picture.clamp(max=1))


def blueprint(image: Tensor, draw: Tensor) -> Tensor:
    """White construction lines on deep blue paper with a faint grid."""
    x, y = positions(image)
    paper = _color(image, 0.05, 0.19, 0.56) + 0.1 * (tone(blur(image, 1.0)) - 0.5)
    nearest = torch.minimum(stripes(x + 8 * draw[:, :1], 8.0), stripes(y + 8 * draw[:, 1:2], 8.0))
    paper = paper + 0.2 * inside(nearest - 0.5, image)
    line = outlines(image, 0.7, 0.05, 0.14)
    return torch.lerp(paper, _color(image, 0.94, 0.97, 1.0).expand_as(image), 0.95 * line)


def pixel(image: Tensor, draw: Tensor) -> Tensor:
    """Sixteen by sixteen blocks in sixteen bright colours."""
    blocks = (16, max(1, round(16 * image.shape[-1] / image.shape[-2])))
    small = F.interpolate(blur(image, 0.9), size=blocks, mode="bilinear", align_corners=False)
    small = _contrast(saturated(small, 1.5), 1.25)
    palette = image.new_tensor(_PALETTE)
    weight = image.new_tensor([0.8, 1.0, 0.7]).view(1, 1, 3)
    colors = small.permute(0, 2, 3, 1).reshape(image.shape[0], -1, 1, 3)
    nearest = (((colors - palette) * weight) ** 2).sum(-1).argmin(-1)
    small = palette[nearest].view(image.shape[0], *blocks, 3).permute(0, 3, 1, 2)
    return F.interpolate(small, size=image.shape[-2:], mode="nearest-exact")


def comic(image: Tensor, draw: Tensor) -> Tensor:
    """Flat bright colours, thick black contours and halftone dots in the shadows."""
    x, y = positions(image)
    smooth = blur(image, 0.8)
    flat = _posterised(saturated(_contrast(smooth, 1.2), 2.0), 4, 0.2)
    u, v = (x + y) * 0.7071 + 4 * draw[:, :1], (x - y) * 0.7071 + 4 * draw[:, 1:2]
    distance = ((u % 4.2 - 2.1) ** 2 + (v % 4.2 - 2.1) ** 2).sqrt()
    dark = 1 - tone(smooth)
    dots = inside(distance - 2.3 * (dark - 0.22).clamp(0, 0.72), image)
    flat = flat * (1 - 0.55 * dots)
    return flat * (1 - outlines(image, 0.8, 0.08, 0.15))


def crayon(image: Tensor, draw: Tensor) -> Tensor:
    """Separate bright waxy strokes in one direction on white paper, contours in darker wax."""
    x, y = positions(image)
    wobble = 0.5 * torch.sin(0.3 * (x + y) + 6.28 * draw[:, 1:2])
    along, across = 0.5 * x + 0.87 * y, 0.87 * x - 0.5 * y + wobble
    width, length = 5.5, 17.0
    row = torch.floor(across / width + draw[:, :1])
    to_middle_across = (row + 0.5 - draw[:, :1]) * width - across
    turn = along / length + 0.618 * row + draw[:, 2:3]
    to_middle_along = ((turn % 1) - 0.5) * length
    wax = saturated(blur(image, 1.0), 2.1)
    wax = 0.1 + 0.92 * wax
    thick = 1.2 + 1.0 * (1 - luminance(wax))
    beyond = (to_middle_along.abs() - 0.5 * length + 2.6).clamp(min=0)
    stroke = inside((to_middle_across**2 + beyond**2).sqrt() - thick, image)
    drawn = torch.lerp(_color(image, 0.99, 0.98, 0.95).expand_as(image), wax, 0.95 * stroke)
    contour = outlines(image, 0.9, 0.05, 0.15)
    return torch.lerp(drawn, wax * 0.5, 0.9 * contour)


STYLES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "pencil": pencil,
    "watercolor": watercolor,
    "oil": oil,
    "mosaic": mosaic,
    "glass": glass,
    "pointillism": pointillism,
    "woodcut": woodcut,
    "neon": neon,
    "blueprint": blueprint,
    "pixel": pixel,
    "comic": comic,
    "crayon": crayon,
}

_PALETTE = [
    (0.05, 0.05, 0.10), (0.14, 0.17, 0.42), (0.45, 0.14, 0.42), (0.05, 0.45, 0.28),
    (0.60, 0.32, 0.20), (0.36, 0.34, 0.38), (0.72, 0.73, 0.76), (1.00, 0.97, 0.92),
    (0.92, 0.10, 0.25), (0.98, 0.58, 0.10), (0.99, 0.88, 0.25), (0.20, 0.80, 0.25),
    (0.18, 0.62, 0.95), (0.50, 0.42, 0.75), (0.98, 0.45, 0.70), (0.98, 0.78, 0.62),
]  # fmt: skip


def apply_style(name: str, image: Tensor, seeds: Sequence[int] | Tensor | int = 0) -> Tensor:
    """The picture redrawn in one style, (B, 3, H, W) in [-1, 1].

    name: one of STYLES, or "photo" for the picture itself. image: float (B, 3, H, W) in [-1, 1], any size from 16 px.
    seeds: B integers, or one for all, that place the pattern. The same seed gives the same result in any batch.
    """
    _check(name, image)
    if name == "photo":
        return image
    if isinstance(seeds, int):
        seeds = [seeds] * image.shape[0]
    seeds = torch.as_tensor(seeds, dtype=torch.int64).cpu().reshape(-1)
    if len(seeds) != image.shape[0] or (len(seeds) and int(seeds.min()) < 0):
        raise ValueError(f"seeds must be one integer >= 0 per picture; got {len(seeds)} for {image.shape[0]} pictures")
    if not len(seeds):
        return image
    index = list(STYLES).index(name)
    rows = [np.random.default_rng([seed, _SALT, index]).random(4, dtype=np.float32) for seed in seeds.tolist()]
    draw = torch.from_numpy(np.stack(rows)).view(-1, 4, 1, 1).to(image)
    styled = STYLES[name](image.add(1).div(2), draw)
    return styled.clamp(0, 1).mul(2).sub(1)


def _check(name: str, image: Tensor) -> None:
    if name not in STYLES and name != "photo":
        close = difflib.get_close_matches(str(name).lower(), [*STYLES, "photo"], n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise ValueError(f"unknown style {name!r}: {hint}the styles are {', '.join(STYLES)}, and photo")
    if image.ndim != 4 or image.shape[1] != 3 or not image.is_floating_point():
        raise ValueError(
            f"image must be float (B, 3, H, W) in [-1, 1]; got {image.dtype} {tuple(image.shape)}: "
            "use images.load(path), or image.unsqueeze(0) for a single picture"
        )


def _color(image: Tensor, red: float, green: float, blue: float) -> Tensor:
    return image.new_tensor([red, green, blue]).view(1, 3, 1, 1)


def _contrast(image: Tensor, amount: float) -> Tensor:
    """Brightness pushed away from the picture's own mean."""
    mean = image.mean((1, 2, 3), keepdim=True)
    return (mean + amount * (image - mean)).clamp(0, 1)


def _posterised(image: Tensor, levels: int, softness: float) -> Tensor:
    """Brightness pulled to `levels` steps, hues kept; softness 0 gives hard steps, 1 nearly none."""
    bright = luminance(image).clamp(0.02, 1)
    scaled = bright * (levels - 1)
    step = torch.floor(scaled)
    rest = ramp((scaled - step - 0.5) / softness + 0.5)
    wanted = 0.06 + 0.94 * (step + rest) / (levels - 1)
    return (image * wanted / bright).clamp(0, 1)
