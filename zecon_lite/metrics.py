"""How much of the content stayed, and how much of the style came.

All take pictures (B, 3, H, W) in [-1, 1] and return one number per picture, (B,).
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601


def luminance(images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H, W) in [0, 1]."""
    weights = images.new_tensor(LUMINANCE)[:, None, None]
    return ((images + 1) / 2 * weights).sum(1, keepdim=True)


def ssim(a: Tensor, b: Tensor, window: int = 7) -> Tensor:
    """Structural similarity of luminance (Wang et al. 2004, eq. 13), over boxes of `window` pixels; 1 is equal."""
    x, y = luminance(a), luminance(b)
    n = window * window

    def mean(z: Tensor) -> Tensor:
        return F.avg_pool2d(z, window, stride=1)

    mx, my = mean(x), mean(y)
    unbiased = n / (n - 1)
    vx, vy, cov = (unbiased * (mean(p * q) - m) for p, q, m in ((x, x, mx * mx), (y, y, my * my), (x, y, mx * my)))
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean((1, 2, 3))


def colour_distance(a: Tensor, b: Tensor, cells: int = 8) -> Tensor:
    """Root mean squared difference of the pictures' colours in `cells` x `cells` averages, in [0, 2]."""
    a, b = (F.adaptive_avg_pool2d(z, cells) for z in (a, b))
    return (a - b).square().mean((1, 2, 3)).sqrt()


@cache
def _judge() -> nn.Module:
    """The bundled VGG with its classification head: it never saw a prompt, and its style head guides nothing."""
    from . import weights
    from .tiny.networks import VGGClassifier

    tensors = weights.read(weights.BUNDLED / "vgg.safetensors")
    return weights.load_into(weights.build(VGGClassifier), tensors, "the bundled style judge")


@torch.no_grad()
def style_probability(images: Tensor, style: str | list[str]) -> Tensor:
    """The probability that the bundled judge gives to a style of the style world ("pencil", ..., or "photo").

    style: one name for all pictures or one for each. The judge is a small classifier trained on the style world's true
    pictures, labelled as such wherever it is quoted; guidance uses its first layers only, for content.
    Raises ValueError for an unknown style.
    """
    from .tiny import world

    names = ["photo", *world.STYLES]
    wanted = [style] * len(images) if isinstance(style, str) else list(style)
    for name in wanted:
        if name not in names:
            raise ValueError(f"there is no style {name!r}; there are {', '.join(names)}")
    logits, _, _ = _judge()(images.cpu().float())
    return logits.softmax(1)[torch.arange(len(images)), torch.tensor([names.index(name) for name in wanted])]
