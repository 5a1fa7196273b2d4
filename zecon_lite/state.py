"""The two records that travel through a guided run: what a loss may see, and what a finished step leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Step:
    """One finished reverse step. Images are (B, 3, H, W)."""

    i: int  # the position it left, 0 = almost clean
    t: int  # the training timestep there
    x: Tensor  # x_{t-1}: the noisy picture one position nearer to clean
    x0: Tensor  # the clean picture the network believed in, before guidance
    view: Tensor | None = None  # what the losses were shown; None without guidance
    losses: Mapping[str, float] = field(default_factory=dict)  # each term, weight included, summed over the batch
    grad: Tensor | None = None  # what guidance stepped against: the slope in x_t, at its strength; None without

    @property
    def shown(self) -> Tensor:
        """The view; the clean estimate where nothing guided."""
        return self.x0 if self.view is None else self.view

    def to(self, device: torch.device | str) -> Step:
        """The step with its pictures on a device."""
        kept: dict[str, Any] = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in vars(self).items()}
        return Step(**kept)


@dataclass(frozen=True)
class State:
    """What a loss may look at during one guided step. Images are (B, 3, H, W) in [-1, 1]."""

    i: int  # position in the schedule, 0 = almost clean
    t: int  # the training timestep there
    x0: Tensor  # predicted clean picture; gradients flow back to x_t
    view: Tensor  # x0 mixed with x_t: what CLIP and friends are shown
    source: Tensor  # the picture being restyled
    source_view: Tensor  # the source mixed with its own noise in the same way
    previous: Step | None = None  # the step before, for losses that compare with it
