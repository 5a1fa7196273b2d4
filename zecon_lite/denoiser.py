"""What a network believes about a noisy picture, behind one contract whatever the network predicts.

A `Denoiser` takes x_t and its position and returns a `Prediction`: the clean picture, the noise and the variance of
the next step, from one forward pass. Samplers, guidance and losses know only this contract.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from .models.unet import UNet
from .schedule import Schedule


@dataclass(frozen=True)
class Prediction:
    """What the network believes at x_t. Every field is (B, 3, H, W)."""

    x0: Tensor
    eps: Tensor
    log_variance: Tensor


class Denoiser(Protocol):
    """Anything that reads x_t: a schedule, a call, and encoder features."""

    @property
    def schedule(self) -> Schedule:
        """The positions that `x` may stand at."""
        ...

    def __call__(self, x: Tensor, i: int) -> Prediction:
        """The belief about x, which stands at position i of `schedule`."""
        ...

    def features(self, x: Tensor, t: int, blocks: Sequence[int]) -> list[Tensor]:
        """The outputs of the encoder's `blocks`, [(B, C_k, H_k, W_k)], at training timestep t."""
        ...

    def respace(self, n: int) -> Denoiser:
        """The same network on a schedule of n positions."""
        ...


@dataclass(frozen=True)
class UNetDenoiser(ABC):
    """A UNet and the schedule it was trained on; the classes below differ in how they read what it puts out.

    feature_blocks: the encoder blocks that ZeCon compares.
    """

    unet: UNet
    schedule: Schedule
    feature_blocks: Sequence[int] = (0, 2, 5, 8, 11)

    @abstractmethod
    def __call__(self, x: Tensor, i: int) -> Prediction:
        """See `Denoiser`."""

    def _forward(self, x: Tensor, i: int) -> Tensor:
        return self.unet(x, self.schedule.timesteps[i].to(x.device).expand(len(x)))

    def features(self, x: Tensor, t: int, blocks: Sequence[int] | None = None) -> list[Tensor]:
        """Encoder features [(B, C_k, H_k, W_k)] at training timestep t; `feature_blocks` when `blocks` is None."""
        blocks = self.feature_blocks if blocks is None else blocks
        return self.unet.encode(x, torch.full((len(x),), t, device=x.device), blocks)

    def respace(self, n: int) -> UNetDenoiser:
        """The same network on n evenly spaced positions of its schedule."""
        return replace(self, schedule=self.schedule.respace(n))


@dataclass(frozen=True)
class LearnedVariance(UNetDenoiser):
    """A UNet that outputs (eps, v); v places the variance between its bounds (Nichol & Dhariwal 2021, eq. 15)."""

    def __call__(self, x: Tensor, i: int) -> Prediction:
        """See `Denoiser`. v is not clamped, as in released code; log_variance carries its gradient."""
        s = self.schedule
        eps, v = self._forward(x, i).chunk(2, dim=1)
        frac = (v + 1) / 2
        log_variance = frac * s.betas[i].log() + (1 - frac) * s.posterior_log_variance[i]
        return Prediction(s.x0_from_eps(x, i, eps), eps, log_variance)


@dataclass(frozen=True)
class VPrediction(UNetDenoiser):
    """A UNet that outputs v = sqrt(a) eps - sqrt(1-a) x_0 (Salimans & Ho 2022, section 4); variance as in DDPM eq. 7.

    A small network learns v sooner than eps: at high noise, eps asks it to copy its input through the bottleneck.
    """

    def __call__(self, x: Tensor, i: int) -> Prediction:
        """See `Denoiser`. eps and x0 are rotations of (x, v), so both stay finite at every noise level."""
        s = self.schedule
        a = s.alphas_cumprod[i]
        v = self._forward(x, i)
        x0 = a.sqrt() * x - (1 - a).sqrt() * v
        eps = (1 - a).sqrt() * x + a.sqrt() * v
        return Prediction(x0, eps, s.posterior_log_variance[i].to(x).expand_as(x))
