"""The twelve things that a scene of the style world can show: one function each, painted from simple shapes.

Every function takes a `Painter` in the object's own frame (x in about [-1, 1], y from -1 at its foot to about 1) and
the `Draws` that decide its colours and proportions. It works on a whole group of n scenes at once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from .shapes import Draws, Painter, box, capsule, convex, ellipse, turned


def house(p: Painter, draw: Draws) -> None:
    """A wall with a door and two windows under a pointed roof with a chimney."""
    wall = draw.color(saturation=(0.08, 0.35), value=(0.88, 0.98))
    roof = draw.color(hue=(0.9, 1.25), saturation=(0.65, 0.9), value=(0.55, 0.85))
    door = draw.color(saturation=(0.5, 0.8), value=(0.35, 0.6))
    glass = draw.pick([(1.0, 0.88, 0.45), (0.45, 0.72, 0.95)])
    ridge = draw.uniform(0.05, 0.5)
    p.paint(box(p.x - 0.5, p.y - 0.6, 0.11, 0.36), roof * 0.7)
    p.paint(box(p.x, p.y + 0.45, 0.76, 0.55), wall, p.slope(0, -0.45, 0.8, 0.6))
    top = [(-1.02, 0.08), (-ridge, 0.9), (ridge, 0.9), (1.02, 0.08)]
    p.paint(convex(p.x, p.y, top), roof, p.slope(0, 0.45, 1.0, 0.5, 0.4))
    p.paint(box(p.x, p.y + 0.68, 0.17, 0.32), door)
    for side in (-0.47, 0.47):
        p.paint(box(p.x - side, p.y + 0.38, 0.17, 0.19), p.rgb_of(0.97, 0.97, 0.95), rim=0.0)
        p.paint(box(p.x - side, p.y + 0.38, 0.12, 0.14), glass, rim=0.1)


def tree(p: Painter, draw: Draws) -> None:
    """A trunk with a round crown or with the three tiers of a fir."""
    green = draw.color(hue=(0.24, 0.40), saturation=(0.6, 0.85), value=(0.5, 0.75))
    autumn = draw.color(hue=(0.04, 0.13), saturation=(0.75, 0.9), value=(0.75, 0.9))
    leaf = torch.where(draw.chance(0.25).unsqueeze(1) > 0, autumn, green)
    trunk = draw.pick([(0.45, 0.29, 0.17), (0.36, 0.24, 0.18)])
    fir = draw.chance(0.4)
    p.paint(box(p.x, p.y + 0.6, 0.13, 0.42), trunk, p.slope(0, 0, 0.15, 1.0, 0.5))
    hide_crown, hide_fir = 9 * fir, 9 * (1 - fir)
    for cx, cy, radius in ((-0.38, 0.02, 0.42), (0.38, 0.02, 0.42), (0.0, 0.42, 0.55)):
        distance = ellipse(p.x - cx, p.y - cy, radius, radius) + hide_crown
        p.paint(distance, leaf, p.sphere(cx, cy, radius, radius))
    for foot, width, height in ((-0.45, 0.82, 0.8), (-0.02, 0.66, 0.7), (0.38, 0.48, 0.62)):
        tier = convex(p.x, p.y, [(-width, foot), (0.0, foot + height), (width, foot)])
        p.paint(tier + hide_fir, leaf * (0.9 + 0.2 * (foot + 0.45)), p.slope(0, foot, width, 1.0, 0.5))


def boat(p: Painter, draw: Draws) -> None:
    """A sailing boat: hull, mast and two sails."""
    hull = draw.color(saturation=(0.65, 0.9), value=(0.55, 0.9))
    sail = draw.pick([(0.99, 0.97, 0.9), (0.98, 0.9, 0.72), (0.95, 0.95, 1.0)])
    front = draw.color(saturation=(0.5, 0.85), value=(0.85, 0.98))
    p.bar(-0.05, -0.6, -0.05, 0.95, 0.05, p.rgb_of(0.4, 0.26, 0.15))
    p.paint(convex(p.x, p.y, [(0.05, -0.42), (0.05, 0.95), (0.9, -0.42)]), sail, p.slope(0.3, 0, 0.6, 0.9, 0.3))
    p.paint(convex(p.x, p.y, [(-0.85, -0.42), (-0.15, 0.75), (-0.15, -0.42)]), front, p.slope(-0.4, 0, 0.5, 0.9, 0.3))
    body = convex(p.x, p.y, [(-1.05, -0.52), (1.1, -0.52), (0.7, -1.0), (-0.72, -1.0)])
    p.paint(body, hull, p.slope(0, -0.75, 1.0, 0.3, 0.4))
    p.bar(-0.95, -0.56, 0.98, -0.56, 0.06, p.rgb_of(0.97, 0.95, 0.9))


def car(p: Painter, draw: Draws) -> None:
    """A chubby toy car seen from its side."""
    paint = draw.color(saturation=(0.65, 0.9), value=(0.7, 0.95))
    glass = draw.pick([(0.68, 0.87, 0.97), (0.8, 0.92, 0.95)])
    roof = draw.uniform(0.55, 0.72)
    tyre, hub = p.rgb_of(0.13, 0.13, 0.15), p.rgb_of(0.8, 0.81, 0.83)
    cabin = convex(p.x, p.y, [(-0.82, -0.2), (-0.55, roof), (0.38, roof), (0.78, -0.2)])
    p.paint(cabin - 0.04, paint, p.slope(0, 0.2, 0.8, 0.5))
    for corners in (
        [(-0.64, -0.1), (-0.46, roof - 0.13), (-0.1, roof - 0.13), (-0.1, -0.1)],
        [(0.04, -0.1), (0.04, roof - 0.13), (0.33, roof - 0.13), (0.6, -0.1)],
    ):
        p.paint(convex(p.x, p.y, corners), glass, rim=0.1)
    p.paint(box(p.x, p.y + 0.4, 1.12, 0.36, 0.2), paint, p.slope(0, -0.4, 1.1, 0.36, 0.4))
    p.disc(0.98, -0.32, 0.11, 0.11, p.rgb_of(1.0, 0.93, 0.6))
    for side in (-0.58, 0.58):
        p.disc(side, -0.7, 0.31, 0.31, tyre)
        p.disc(side, -0.7, 0.14, 0.14, hub)


def balloon(p: Painter, draw: Draws) -> None:
    """A hot-air balloon with stripes and a basket."""
    hue_a = draw.color(saturation=(0.7, 0.9), value=(0.85, 0.98))
    hue_b = draw.color(saturation=(0.15, 0.9), value=(0.9, 1.0))
    stripes = draw.uniform(2.6, 4.4)
    width, cy, height = 0.74, 0.27, 0.74
    rope = p.rgb_of(0.35, 0.24, 0.16)
    for side in (-1, 1):
        p.bar(0.4 * side, -0.25, 0.13 * side, -0.75, 0.03, rope)
    p.paint(box(p.x, p.y + 0.86, 0.19, 0.15, 0.04), p.rgb_of(0.6, 0.4, 0.22), p.slope(0, -0.86, 0.2, 0.2, 0.4))
    neck = convex(p.x, p.y, [(-0.64, -0.05), (0.64, -0.05), (0.17, -0.62), (-0.17, -0.62)])
    skin = torch.minimum(ellipse(p.x, p.y - cy, width, height), neck)
    meridian = p.x / (width * (1 - ((p.y - cy) / 1.05) ** 2).clamp(min=0.06).sqrt())
    band = (0.5 + 2.5 * torch.cos(stripes * meridian * 2)).clamp(0, 1).unsqueeze(1)
    p.paint(skin, torch.lerp(hue_b, hue_a, band), p.sphere(0, 0.2, width, 0.9), rim=0.15)


def mountain(p: Painter, draw: Draws) -> None:
    """Two rocky peaks with a lit and a shaded side, the higher one with a snow cap."""
    rock = draw.color(hue=(0.55, 1.1), saturation=(0.08, 0.35), value=(0.45, 0.65))
    peak = draw.uniform(-0.25, 0.1)
    second = draw.uniform(0.5, 0.75)
    low = draw.uniform(0.0, 0.35)
    snow_line = draw.uniform(0.25, 0.45)
    small = convex(p.x, p.y, [(second - 0.75, -1.0), (second, low), (second + 0.6, -1.0)])
    p.paint(small, rock * 0.85, (1.0 - 0.7 * p.light_x * (second - p.x) * 1.5).clamp(0.7, 1.25), rim=0.2)
    big = convex(p.x, p.y, [(-1.2, -1.0), (peak, 0.97), (0.95, -1.0)])
    ridge = peak + 0.12 * torch.sin(5 * (p.y - 0.97))
    lit = (0.5 + 9 * (ridge - p.x) * -p.light_x / 0.5).clamp(0, 1)
    p.paint(big, rock, 0.62 + 0.68 * lit, rim=0.15)
    zigzag = snow_line + 0.13 * torch.cos(11 * (p.x - peak))
    p.paint(torch.maximum(big, zigzag - p.y), p.rgb_of(0.98, 0.98, 1.0), 0.8 + 0.25 * lit, rim=0.1)


def flower(p: Painter, draw: Draws) -> None:
    """A blossom with five to seven petals on a stem with two leaves."""
    petal = draw.color(hue=(0.58, 1.16), saturation=(0.5, 0.85), value=(0.88, 0.99))
    heart = draw.pick([(0.98, 0.8, 0.2), (0.5, 0.3, 0.15), (0.98, 0.92, 0.55)])
    count = torch.floor(draw.uniform(5, 7.99))
    start = draw.uniform(0.0, 6.28)
    green = draw.color(hue=(0.26, 0.38), saturation=(0.6, 0.8), value=(0.45, 0.65))
    p.bar(0.0, -1.0, 0.0, 0.2, 0.07, green)
    for side in (-1, 1):
        across, up = turned(p.x - 0.3 * side, p.y + 0.62, 0.6 * side)
        p.paint(ellipse(across, up, 0.32, 0.14), green, p.slope(0, -0.6, 0.5, 0.4, 0.4))
    cy = 0.32
    radius = (p.x**2 + (p.y - cy) ** 2 + 1e-6).sqrt()
    angle = torch.atan2(p.y - cy, p.x)
    wave = torch.cos(count * angle + start)
    rim = 0.54 + 0.15 * wave
    shade = p.slope(0, cy, 0.7, 0.7, 0.3) * (0.72 + 0.28 * (wave * 0.7 + 0.6).clamp(0, 1)) * (0.75 + 0.4 * radius)
    p.paint((radius - rim) * 0.75, petal, shade, rim=0.2)
    p.ball(0.0, cy, 0.24, 0.24, heart)


def fish(p: Painter, draw: Draws) -> None:
    """A fish with tail, fins, stripes and an eye."""
    skin = draw.color(saturation=(0.65, 0.9), value=(0.8, 0.97))
    stripe = draw.color(saturation=(0.1, 0.7), value=(0.9, 1.0))
    stripes = draw.uniform(6.5, 9.0)
    phase = draw.uniform(0.0, 6.28)
    fat = draw.uniform(0.5, 0.62)
    fin = skin * 0.72
    p.paint(convex(p.x, p.y, [(0.45, 0.0), (1.12, 0.58), (0.95, 0.0)]), fin, p.slope(0.8, 0, 0.4, 0.5))
    p.paint(convex(p.x, p.y, [(0.45, 0.0), (0.95, 0.0), (1.12, -0.58)]), fin, p.slope(0.8, 0, 0.4, 0.5))
    p.paint(convex(p.x, p.y, [(-0.35, 0.35), (0.2, 0.92), (0.42, 0.3)]), fin)
    p.paint(convex(p.x, p.y, [(-0.15, -0.35), (0.35, -0.3), (0.22, -0.8)]), fin)
    body = ellipse(p.x + 0.18, p.y, 0.84, fat)
    band = (2.2 * torch.sin(stripes * p.x + phase) - 0.7).clamp(0, 1) * (1 + 6 * (p.x + 0.4)).clamp(0, 1)
    p.paint(body, torch.lerp(skin, stripe, band.unsqueeze(1)), p.sphere(-0.18, 0.0, 0.84, fat))
    p.disc(-0.62, 0.12, 0.16, 0.16, p.rgb_of(1.0, 1.0, 1.0))
    p.disc(-0.65, 0.12, 0.085, 0.085, p.rgb_of(0.05, 0.05, 0.1))


def mug(p: Painter, draw: Draws) -> None:
    """A cup of coffee with a handle and a coloured band."""
    glaze = draw.color(saturation=(0.45, 0.85), value=(0.75, 0.98))
    band = draw.color(saturation=(0.05, 0.5), value=(0.9, 1.0))
    banded = draw.chance(0.6)
    bend = 0.1 * (p.x / 0.62) ** 2  # the rim is an ellipse, so horizontal bands on the body bend with it
    round_shade = (1.0 + 0.45 * p.light_x * p.x / 0.5 - 0.25 * (p.x / 0.62) ** 2).clamp(0.45, 1.3)
    p.paint(ellipse(p.x - 0.68, p.y + 0.05, 0.36, 0.42).abs() - 0.1, glaze * 0.85)
    body = torch.maximum(box(p.x, p.y - 0.0, 0.68, 1.0, 0.12), p.y - 0.72)
    p.paint(body, glaze, round_shade, rim=0.15)
    stripe = torch.maximum(body, (p.y + 0.2 - bend).abs() - 0.2) + 9 * (1 - banded)
    p.paint(stripe, band, round_shade, rim=0.05)
    p.paint(ellipse(p.x, p.y - 0.7, 0.68, 0.24), glaze, p.slope(0, 0.7, 0.7, 0.3), rim=-0.2)
    p.disc(0.0, 0.69, 0.56, 0.165, p.rgb_of(0.24, 0.13, 0.07))


def cat(p: Painter, draw: Draws) -> None:
    """The face of a cat."""
    fur = draw.pick([(0.92, 0.55, 0.2), (0.5, 0.5, 0.54), (0.9, 0.8, 0.62), (0.3, 0.29, 0.34), (0.96, 0.94, 0.92)])
    iris = draw.pick([(0.35, 0.8, 0.3), (0.95, 0.8, 0.2), (0.3, 0.65, 0.95)])
    light = 1 - (1 - fur) * 0.3
    pink, dark = p.rgb_of(0.95, 0.6, 0.62), p.rgb_of(0.07, 0.06, 0.08)
    for s in (-1, 1):
        outer = [(0.88 * s, 0.0), (0.8 * s, 1.0), (0.12 * s, 0.55)]
        inner = [(0.75 * s, 0.25), (0.7 * s, 0.8), (0.32 * s, 0.55)]
        p.paint(convex(p.x, p.y, outer[::-s]), fur, p.slope(0, 0.5, 0.9, 0.6))
        p.paint(convex(p.x, p.y, inner[::-s]), pink, rim=0.1)
    p.ball(0.0, -0.15, 0.95, 0.82, fur)
    p.paint(torch.maximum(ellipse(p.x, p.y - 0.55, 0.1, 0.25), ellipse(p.x, p.y + 0.15, 0.93, 0.8)), fur * 0.6, rim=0.0)
    for s in (-1, 1):
        p.ball(0.2 * s, -0.58, 0.29, 0.23, light, rim=0.05)
        p.disc(0.4 * s, -0.03, 0.24, 0.23, iris)
        p.disc(0.4 * s, -0.03, 0.1, 0.2, dark)
        p.disc(0.4 * s - 0.06, 0.06, 0.055, 0.055, p.rgb_of(1.0, 1.0, 1.0))
    p.paint(convex(p.x, p.y, [(-0.15, -0.3), (0.15, -0.3), (0.0, -0.5)]) - 0.02, pink * 0.9, rim=0.1)


def mushroom(p: Painter, draw: Draws) -> None:
    """A toadstool: a pale stem and a round cap with white spots."""
    cap = draw.color(hue=(-0.12, 0.1), saturation=(0.75, 0.95), value=(0.7, 0.95))
    other = draw.color(saturation=(0.6, 0.9), value=(0.65, 0.9))
    cap = torch.where(draw.chance(0.3).unsqueeze(1) > 0, other, cap)
    width = draw.uniform(0.24, 0.34)
    tall = draw.uniform(0.8, 0.98)
    p.paint(box(p.x, p.y + 0.45, width, 0.56, 0.14), p.rgb_of(0.96, 0.92, 0.82), p.slope(0, -0.4, 0.4, 1.0, 0.45))
    p.paint(ellipse(p.x, p.y + 0.02, 0.96, 0.17), p.rgb_of(0.85, 0.77, 0.66), rim=0.3)
    dome = torch.maximum(ellipse(p.x, p.y, 1.0, tall), -0.02 - p.y - 0.12 * (1 - p.x**2).clamp(min=0) + 0.1)
    p.paint(dome, cap, p.sphere(0.0, 0.0, 1.0, tall))
    spot = p.rgb_of(1.0, 0.98, 0.94)
    spots = ((-0.08, 0.5, 0.2, 0.17), (-0.58, 0.25, 0.15, 0.16), (0.5, 0.3, 0.17, 0.17), (0.08, 0.12, 0.12, 0.1))
    for cx, cy, rx, ry in spots:
        p.paint(torch.maximum(ellipse(p.x - cx, p.y - cy, rx, ry), dome), spot, rim=0.0)


def apple(p: Painter, draw: Draws) -> None:
    """An apple with a stalk, a leaf and a highlight."""
    skin = draw.pick([(0.88, 0.12, 0.12), (0.88, 0.12, 0.12), (0.5, 0.78, 0.2), (0.95, 0.78, 0.2)])
    blush = draw.uniform(0.0, 0.5)
    leaf = draw.color(hue=(0.26, 0.36), saturation=(0.65, 0.85), value=(0.5, 0.7))
    lobes = torch.minimum(ellipse(p.x + 0.36, p.y + 0.2, 0.62, 0.8), ellipse(p.x - 0.36, p.y + 0.2, 0.62, 0.8))
    warm = (blush * (0.5 + 0.6 * p.x)).clamp(0, 1).unsqueeze(1)
    p.paint(lobes, torch.lerp(skin, p.rgb_of(0.8, 0.15, 0.1), warm), p.sphere(0.0, -0.2, 1.0, 0.95), rim=0.2)
    p.paint(ellipse(p.x, p.y - 0.5, 0.26, 0.1), skin * 0.45, rim=0.0)
    p.paint(capsule(p.x, p.y, 0.0, 0.45, 0.08, 0.92, 0.065), p.rgb_of(0.36, 0.22, 0.12))
    across, up = turned(p.x - 0.42, p.y - 0.8, 0.35)
    p.paint(ellipse(across, up, 0.36, 0.16), leaf, p.slope(0.4, 0.8, 0.4, 0.2, 0.3))
    p.disc(-0.5 * (p.light_x / -0.5), 0.18, 0.13, 0.18, 1 - (1 - skin) * 0.25)


PAINTERS: dict[str, Callable[[Painter, Draws], None]] = {
    "house": house,
    "tree": tree,
    "boat": boat,
    "car": car,
    "balloon": balloon,
    "mountain": mountain,
    "flower": flower,
    "fish": fish,
    "mug": mug,
    "cat": cat,
    "mushroom": mushroom,
    "apple": apple,
}
