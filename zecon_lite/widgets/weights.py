"""The weight explorer: results for every combination of a few settings, computed ahead, with their scores.

Python packs the pictures and numbers into the widget's traits once; everything after that is JavaScript (weights.js),
so the widget works in JupyterLab, in Colab and in a rendered page without a kernel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import torch
import traitlets
from torch import Tensor

from ..profiles import nearest
from .charts import check_sources, joined, rounded, sheet, within

_GRIDS = Path(__file__).parent / "grids"
"""Grids that come with the package; book/scripts/weight_grid.py makes them."""
STORED = ("across", "cell", "sources", "axes", "scores", "selected", "plane", "caption")
"""What a grid's JSON says under "traits"; the sheet is the PNG beside it."""


class WeightExplorer(anywidget.AnyWidget):
    """A figure: choose settings, see the result beside the source, and where it stands between style and structure.

    Make one with `from_grid`, or with `bundled`. The chart draws the results of all settings of the first two axes, the
    others being as chosen, by two of their scores. What may be read and set afterwards, also while it is shown:

    selected: for each of `axes` the position of the chosen value.
    plane:    the scores to the right and upwards in the chart, positions in `scores`.
    """

    _esm = joined("charts.js", "weights.js")
    _css = joined("theme.css", "charts.css", "weights.css")

    sheet = traitlets.Bytes().tag(sync=True)                          # a PNG: the sources, then the grid's pictures
    across = traitlets.Int().tag(sync=True)                           # pictures in a row of the sheet
    cell = traitlets.List(traitlets.Int()).tag(sync=True)             # [height, width] of each
    sources = traitlets.Int(1).tag(sync=True)                         # one, or one for each value of the last axis
    axes = traitlets.List(traitlets.Dict()).tag(sync=True)
    scores = traitlets.List(traitlets.Dict()).tag(sync=True)
    selected = traitlets.List(traitlets.Int()).tag(sync=True)
    plane = traitlets.List(traitlets.Int(), [1, 0], minlen=2, maxlen=2).tag(sync=True)
    caption = traitlets.Unicode().tag(sync=True)

    @classmethod
    def from_grid(
        cls,
        source: Tensor,
        pictures: Tensor,
        axes: Mapping[str, Sequence[float] | Sequence[str]],
        scores: Mapping[str, Tensor],
        *,
        selected: Sequence[int] | None = None,
        plane: tuple[str, str] | None = None,
        caption: str = "",
    ) -> WeightExplorer:
        """An explorer of any grid of pictures.

        source: (1, 3, H, W) in [-1, 1], or one for each value of the last axis.
        pictures: (n1, n2, ..., 3, H, W), a dimension for each axis; values beyond [-1, 1] are clamped.
        axes: name -> its n values: numbers get a slider and lines in the chart, words a list to choose from.
        scores: name -> (n1, n2, ...), at least two; NaN where there is none.
        selected: the settings shown first, a position for each axis; without it the middle of each.
        plane: the scores to the right and upwards in the chart; without it the second and the first.
        caption: what the reader should know of the grid: which networks, which picture.
        Raises ValueError where shapes disagree, a score is infinite or `plane` names none.
        """
        shape = _check(source, pictures, axes, scores)
        names = list(scores)
        for name in plane or ():
            if name not in names:
                raise ValueError(f"there is no score {name!r} to draw; {nearest(name, names)}")
        cells = torch.cat([source.cpu(), pictures.detach().cpu().flatten(0, len(shape) - 1).to(source.dtype)])
        return cls(
            **sheet(cells),
            sources=len(source),
            axes=[_axis(name, list(values)) for name, values in axes.items()],
            scores=[{"name": name, "values": rounded(values.flatten().tolist())} for name, values in scores.items()],
            selected=[n // 2 for n in shape] if selected is None else list(selected),
            plane=[names.index(name) for name in plane] if plane else [1, 0],
            caption=caption,
        )

    @classmethod
    def bundled(cls, name: str = "zecon") -> WeightExplorer:
        """The grid of that name that comes with the package: results of the bundled tiny networks.

        Raises FileNotFoundError where there is none.
        """
        path = _GRIDS / f"{name}.json"
        if not path.exists():
            found = ", ".join(sorted(p.stem for p in _GRIDS.glob("*.json"))) or "none"
            raise FileNotFoundError(f"there is no grid {name!r}; there are: {found}")
        traits = json.loads(path.read_text(encoding="utf-8"))["traits"]
        return cls(sheet=path.with_suffix(".png").read_bytes(), **traits)

    @traitlets.observe("axes")
    def _still_in_range(self, change: Any) -> None:
        """Of fewer values the last one, where the chosen one is no longer there."""
        if len(self.selected) == len(self.axes):
            self.selected = [within(k, axis["values"]) for k, axis in zip(self.selected, self.axes, strict=True)]

    @traitlets.validate("selected")
    def _one_for_each_axis(self, proposal: dict[str, Any]) -> list[int]:
        at, counts = proposal["value"], [len(axis["values"]) for axis in self.axes]
        if counts and not (len(at) == len(counts) and all(0 <= k < n for k, n in zip(at, counts, strict=True))):
            raise traitlets.TraitError(f"selected must hold a position for each axis, below {counts}; got {at}")
        return at

    @traitlets.validate("plane")
    def _two_scores(self, proposal: dict[str, Any]) -> list[int]:
        if self.scores and not all(0 <= k < len(self.scores) for k in proposal["value"]):
            raise traitlets.TraitError(f"plane must hold scores, 0 to {len(self.scores) - 1}; got {proposal['value']}")
        return proposal["value"]


def _axis(name: str, values: Sequence[object]) -> dict[str, Any]:
    """An axis as the page reads it. Numbers have an order, so they can be slid through and joined by a line."""
    values = [value.item() if hasattr(value, "item") else value for value in values]    # NumPy's and torch's numbers
    ordered = all(isinstance(value, int | float) for value in values)
    return {"name": name, "values": [f"{v:g}" if ordered else str(v) for v in values], "ordered": ordered}


def _check(
    source: Tensor, pictures: Tensor, axes: Mapping[str, Sequence[object]], scores: Mapping[str, Tensor]
) -> list[int]:
    """The number of values on each axis. Raises ValueError as `from_grid` says."""
    shape = [len(values) for values in axes.values()]
    if not shape or min(shape) < 1:
        raise ValueError(f"axes must name at least one setting, each with its values; got {dict(axes)}")
    check_sources(source, (1, shape[-1]))
    wanted = (*shape, *source.shape[1:])
    if tuple(pictures.shape) != wanted:
        raise ValueError(
            f"pictures must be {wanted}: one of the source's size for each combination of {list(axes)}; got "
            f"{tuple(pictures.shape)}"
        )
    if len(scores) < 2:
        raise ValueError(f"the chart needs two scores, such as style and structure; got {list(scores)}")
    for name, values in scores.items():
        if list(values.shape) != shape or values.isinf().any():
            raise ValueError(f"the score {name!r} must be {tuple(shape)} and finite; got {tuple(values.shape)}")
    return shape
