"""Before and after: the source under a result, with a divider to draw across them.

Python packs the pictures into the widget's traits once; everything after that is JavaScript (before_after.js), so the
widget works in JupyterLab, in Colab and in a rendered page without a kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anywidget
import torch
import traitlets
from torch import Tensor

from .. import images
from .charts import chosen, joined, sheet, within


class BeforeAfter(anywidget.AnyWidget):
    """A figure: the source left of a divider, a result right of it; drag the divider, choose the result.

    Make one with `from_pictures`. What may be read and set afterwards, also while it is shown:

    divider: how far from the left it stands, 0 to 1: at 1 the source is seen whole.
    result:  the shown result, an index into `names`.
    """

    _esm = joined("charts.js", "before_after.js")
    _css = joined("theme.css", "before_after.css")

    sheet = traitlets.Bytes().tag(sync=True)                          # a PNG: the source, then the results
    across = traitlets.Int().tag(sync=True)                           # pictures in a row of the sheet
    cell = traitlets.List(traitlets.Int()).tag(sync=True)             # [height, width] of each
    source_name = traitlets.Unicode("source").tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)        # one for each result
    result = traitlets.Int(0).tag(sync=True)
    divider = traitlets.Float(0.5, min=0, max=1).tag(sync=True)

    @classmethod
    def from_pictures(cls, source: Tensor, results: Mapping[str, Tensor], source_name: str = "source") -> BeforeAfter:
        """A source and one or several results of the same size, by name.

        source, results: each (1, 3, H, W) or (3, H, W) in [-1, 1]; values of results beyond are clamped.
        Raises ValueError for another shape, and when there is no result.
        """
        source = source[None] if source.ndim == 3 else source
        images.check(source)
        if not results:
            raise ValueError("results must name at least one picture; got none")
        pictures = [source]
        for name, result in results.items():
            result = result[None] if result.ndim == 3 else result
            if result.shape != source.shape or len(source) != 1:
                raise ValueError(
                    f"source and {name!r} must be one picture each, (1, 3, H, W), of the same size; got "
                    f"{tuple(source.shape)} and {tuple(result.shape)}"
                )
            pictures.append(result)
        packed = sheet(torch.cat([picture.detach().float().cpu() for picture in pictures]))
        return cls(**packed, source_name=source_name, names=list(results))

    @traitlets.validate("divider")
    def _a_number(self, proposal: dict[str, Any]) -> float:
        if not 0 <= proposal["value"] <= 1:    # the trait's own bounds let NaN through
            raise traitlets.TraitError(f"divider must be 0 to 1; got {proposal['value']}")
        return proposal["value"]

    @traitlets.observe("names")
    def _still_in_range(self, change: Any) -> None:
        """Of fewer names the last one, where the shown result is no longer there."""
        self.result = within(self.result, self.names)

    @traitlets.validate("result")
    def _in_range(self, proposal: dict[str, Any]) -> int:
        return chosen(proposal, self.names)
