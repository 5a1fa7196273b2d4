"""The style world: a procedural toy world whose photographs exist in twelve true styles.

It trains and measures the tiny models: because every scene can be rendered in every style, the ideal answer to "this
photograph as a mosaic" is known, and so is the mask of the object that should survive.

    scenes = render(range(8))                                   # Scenes: image (8, 3, 64, 64) in [-1, 1], mask, labels
    truth = apply_style("mosaic", scenes.image, scenes.seeds)   # (8, 3, 64, 64) in [-1, 1]

Splits, by seed and by combination:

* training scenes have 0 <= seed < 1_000_000; held-out scenes have seed >= 1_000_000 (`held_out_seeds`);
* two objects per style (`HELD_OUT_PAIRS`) are never rendered in that style in training (`is_held_out`); every object
  is held out from exactly two styles, so a network sees each style and each object, but not those together. A pair
  is about the main object; the small extra at the side of every fourth scene or so may be of any kind.

Files: `shapes` (signed distances, painter), `objects` and `backgrounds` (what is painted), `scenes` (how a seed becomes
a picture), `filters` and `styles` (how a picture is redrawn), `captions` (what is said about it).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .captions import BACKGROUND_WORDS, OBJECT_WORDS, STYLE_WORDS, caption, vocabulary
from .scenes import BACKGROUNDS, OBJECTS, Scenes, render
from .styles import STYLES, apply_style

FIRST_HELD_OUT_SEED = 1_000_000

HELD_OUT_PAIRS: frozenset[tuple[str, str]] = frozenset(
    (style, OBJECTS[(5 * s + shift) % len(OBJECTS)]) for s, style in enumerate(STYLES) for shift in (2, 7)
)
"""The 24 (style, object) pairs that training never sees."""


def held_out_seeds(n: int, start: int = 0) -> list[int]:
    """n seeds of scenes that training never sees, the first being 1_000_000 + start."""
    return list(range(FIRST_HELD_OUT_SEED + start, FIRST_HELD_OUT_SEED + start + n))


def is_held_out(style: str, object: str | int) -> bool:
    """Whether training must not show this object (a name or a position in OBJECTS) in this style; never for "photo"."""
    name = object if isinstance(object, str) else OBJECTS[int(object)]
    if name not in OBJECTS or style not in STYLE_WORDS:
        raise ValueError(
            f"no such pair: style {style!r}, object {name!r}; the styles are photo, {', '.join(STYLES)} "
            f"and the objects are {', '.join(OBJECTS)}"
        )
    return (style, name) in HELD_OUT_PAIRS


def unseen(style: Tensor) -> Tensor:
    """Which objects training never shows in these styles: (n,) labels, 0 = photo -> (n, 12) bool.

    That a picture in such a style never shows them is the split's doing and tells nothing about pictures: a loss that
    counts it as evidence teaches a network to deny what it is tested on.
    """
    table = torch.tensor([[is_held_out(look, name) for name in OBJECTS] for look in ("photo", *STYLES)])
    return table.to(style.device)[style]


__all__ = [
    "BACKGROUNDS",
    "BACKGROUND_WORDS",
    "FIRST_HELD_OUT_SEED",
    "HELD_OUT_PAIRS",
    "OBJECTS",
    "OBJECT_WORDS",
    "STYLES",
    "STYLE_WORDS",
    "Scenes",
    "apply_style",
    "caption",
    "held_out_seeds",
    "is_held_out",
    "render",
    "unseen",
    "vocabulary",
]
