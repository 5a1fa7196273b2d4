"""The step scrubber: a run, step by step: noisy picture, clean estimate, gradient, and every loss on the way.

Python packs the pictures and numbers into the widget's traits once; everything after that is JavaScript (scrubber.js),
so the widget works in JupyterLab, in Colab and in a rendered page without a kernel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import anywidget
import torch
import torch.nn.functional as F
import traitlets
from torch import Tensor

from ..state import Step
from .charts import joined, rounded, sheet, within

NOTE = (
    "The gradient is drawn in grey, for each step on its own scale: black where it is zero, white where it is largest. "
    "Its size, as it was handed to the step rule, is the last curve."
)


class StepScrubber(anywidget.AnyWidget):
    """A figure: choose a step of a run, see its pictures, and where each loss stands on its way.

    Make one with `from_steps`, or with `from_pictures` for anything else that goes on in steps. What may be read and
    set afterwards, also while it is shown:

    step: the shown step, an index into `steps`.
    """

    _esm = joined("charts.js", "scrubber.js")
    _css = joined("theme.css", "scrubber.css")

    sheet = traitlets.Bytes().tag(sync=True)                          # a PNG: all steps of the first track, then ...
    across = traitlets.Int().tag(sync=True)                           # pictures in a row of the sheet
    cell = traitlets.List(traitlets.Int()).tag(sync=True)             # [height, width] of each
    tracks = traitlets.List(traitlets.Unicode()).tag(sync=True)       # what is drawn at every step
    steps = traitlets.List(traitlets.Dict()).tag(sync=True)           # {name, at}: `at` is a place in `values`
    values = traitlets.List(traitlets.Dict()).tag(sync=True)          # {name, values}: one curve each
    note = traitlets.Unicode().tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)

    @classmethod
    def from_steps(
        cls, steps: Sequence[Step], *, number: int = 0, keep: int = 25, max_side: int = 128
    ) -> StepScrubber:
        """A scrubber of a run: `Result.steps`, or `list(sample(...))`.

        number: which picture of the batch is shown. The losses are the run's own: weight included, sums over the batch.
        keep: at most so many steps are shown, evenly spaced, both ends among them; the curves have them all.
        max_side: larger pictures are averaged down to at most that, to keep the page small.
        Raises ValueError when there is no step, or no picture of that number.
        """
        steps = list(steps)
        if not steps:
            raise ValueError("there are no steps to show: give the steps of a result, or list(sample(...))")
        if not 0 <= number < len(steps[0].x):
            raise ValueError(f"number must be that of a picture of the batch, 0 to {len(steps[0].x) - 1}; got {number}")
        at = torch.linspace(0, len(steps) - 1, min(len(steps), max(keep, 2))).round().long().tolist()
        kept = [steps[k] for k in at]
        pictures = {
            "Noisy picture after the step": torch.stack([step.x[number] for step in kept]),
            "Clean estimate": torch.stack([step.x0[number] for step in kept]),
        }
        names = dict.fromkeys(name for step in steps for name in step.losses)
        values = {name: [step.losses.get(name) for step in steps] for name in names}
        guided = any(step.grad is not None for step in steps)
        if guided:
            slopes = [None if step.grad is None else step.grad[number].detach().float() for step in steps]
            pictures["Gradient"] = torch.stack([
                -torch.ones_like(step.x[number]) if slopes[k] is None else _map(slopes[k])
                for k, step in zip(at, kept, strict=True)
            ])
            values["gradient (RMS)"] = [None if g is None else g.square().mean().sqrt().item() for g in slopes]
        told = [f"t = {step.t}" for step in kept]
        return cls._packed(pictures, values, told, at, NOTE if guided else "", max_side)

    @classmethod
    def from_pictures(
        cls,
        pictures: Mapping[str, Tensor],
        values: Mapping[str, Sequence[float | None]] | None = None,
        names: Sequence[str] | None = None,
        *,
        note: str = "",
        max_side: int = 128,
    ) -> StepScrubber:
        """A scrubber of anything that goes on in S steps: an optimisation, a training.

        pictures: title -> (S, 3, H, W), at least one, all of one shape; values beyond [-1, 1] are clamped.
        values: name -> S numbers, a curve each; None, or what is not finite, leaves a gap.
        names: what to call the steps; without it their numbers. note: what the reader should know.
        max_side: as in `from_steps`. Raises ValueError where shapes or numbers of steps disagree.
        """
        shapes = {title: tuple(track.shape) for title, track in pictures.items()}
        first = next(iter(shapes.values()), ())
        if len(first) != 4 or first[0] < 1 or first[1] != 3 or set(shapes.values()) != {first}:
            raise ValueError(f"pictures must be title -> (S, 3, H, W), all of one shape, S at least 1; got {shapes}")
        values, count = dict(values or {}), first[0]
        names = [f"step {k}" for k in range(count)] if names is None else list(names)
        for what, found in {"names": names, **values}.items():
            if len(found) != count:
                raise ValueError(f"{what!r} must have one entry for each of the {count} steps; got {len(found)}")
        return cls._packed(pictures, values, names, range(count), note, max_side)

    @classmethod
    def _packed(
        cls,
        pictures: Mapping[str, Tensor],
        values: Mapping[str, Sequence[float | None]],
        names: Sequence[str],
        at: Sequence[int],
        note: str,
        max_side: int,
    ) -> StepScrubber:
        cells = torch.cat([_smaller(track.detach().float().cpu(), max_side) for track in pictures.values()])
        return cls(
            **sheet(cells),
            tracks=list(pictures),
            steps=[{"name": name, "at": k} for name, k in zip(names, at, strict=True)],
            values=[{"name": name, "values": rounded(curve)} for name, curve in values.items()],
            note=note,
        )

    @traitlets.observe("steps")
    def _still_in_range(self, change: Any) -> None:
        """Of fewer steps the last one, where the chosen one is no longer there."""
        self.step = within(self.step, self.steps)

    @traitlets.validate("step")
    def _in_range(self, proposal: dict[str, Any]) -> int:
        if self.steps and not 0 <= proposal["value"] < len(self.steps):
            raise traitlets.TraitError(f"step must be 0 to {len(self.steps) - 1}; got {proposal['value']}")
        return proposal["value"]


def _map(slope: Tensor) -> Tensor:
    """How hard a gradient (3, H, W) pulls at each place, as a grey picture (3, H, W) in [-1, 1].

    The RMS over the colours, divided by its 99th percentile: a few extreme places do not turn all others black.
    """
    pull = slope.square().mean(0).sqrt()
    share = pull / pull.flatten().quantile(0.99).clamp_min(1e-12)
    return (share.clamp(max=1) * 2 - 1).expand_as(slope)


def _smaller(pictures: Tensor, max_side: int) -> Tensor:
    """Pictures (S, 3, H, W), averaged over squares of the least side that makes them fit."""
    return F.avg_pool2d(pictures, math.ceil(max(pictures.shape[-2:]) / max_side), ceil_mode=True)
