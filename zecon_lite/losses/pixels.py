"""Losses on pixels: stay near the source, stay in range, stay smooth. Each takes a `State` and is a loss by itself."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..state import State


def mse(state: State) -> Tensor:
    """Mean squared difference between view and source view, summed over the batch (ZeCon's l_mse)."""
    return (state.view - state.source_view).square().mean((1, 2, 3)).sum()


@dataclass(frozen=True, eq=False)
class PixelDistance:
    """Mean squared difference between view and another picture, summed over the batch (DiffuseIT's pull of colours
    and layout towards the style picture).

    picture: (1 or B, 3, H, W) in [-1, 1], of the view's size.
    """

    picture: Tensor

    def __call__(self, state: State) -> Tensor:
        """A scalar."""
        return (state.view - self.picture).square().mean((1, 2, 3)).sum()


def l1(state: State) -> Tensor:
    """Mean absolute difference between view and source, summed over the batch (DiffusionCLIP's l_L1)."""
    return (state.view - state.source).abs().mean((1, 2, 3)).sum()


def out_of_range(state: State) -> Tensor:
    """Mean squared distance of the predicted picture x0 to [-1, 1], summed over the batch (ZeCon's range loss).

    It looks at x0 and not at the view: noise may leave the range, a clean picture may not.
    """
    return (state.x0 - state.x0.clamp(-1, 1)).square().mean((1, 2, 3)).sum()


def total_variation(state: State) -> Tensor:
    """Mean squared step between neighbouring pixels of the view, across and down, summed over the batch.

    The squared form (Mahendran & Vedaldi 2015, with beta = 2): smooth everywhere, so its gradient is a blur.
    """
    across, down = state.view.diff(dim=3), state.view.diff(dim=2)
    return (across.square().mean((1, 2, 3)) + down.square().mean((1, 2, 3))).sum()
