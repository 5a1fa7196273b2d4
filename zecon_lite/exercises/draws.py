"""Random arguments that several chapters' exercises are tried on."""

from __future__ import annotations

import torch
from torch import Tensor


def pictures(generator: torch.Generator, count: int, side: int = 4) -> tuple[Tensor, ...]:
    """`count` batches of noise, (2, 3, side, side) each: small, and without any structure to hide a mistake."""
    return tuple(torch.randn((2, 3, side, side), generator=generator) for _ in range(count))


def levels(generator: torch.Generator, count: int) -> tuple[Tensor, ...]:
    """`count` entries of `alphas_cumprod`, from clean to noisy: 0-dim float64, one from each of as many equal bins."""
    bins = torch.arange(count) + 0.8 * torch.rand(count, generator=generator, dtype=torch.float64)
    return tuple((0.05 + 0.9 * bins / count).flip(0))
