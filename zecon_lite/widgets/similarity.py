"""The similarity explorer: how much one patch of the source resembles every patch of the source and of the result.

One layer of features, or several side by side: what a UNet, a CLIP and a ViT make of the same place.

Python packs the pictures and features into the widget's traits once; everything after that is JavaScript
(similarity.js), so the widget works in JupyterLab, in Colab and in a rendered page without a kernel.
"""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from math import ceil, inf
from typing import Any

import anywidget
import torch
import torch.nn.functional as F
import traitlets
from torch import Tensor

from .. import images
from ..denoiser import UNetDenoiser
from ..profiles import Models, nearest
from ..state import Step
from .charts import chosen, joined, result_names, within

Extractor = Callable[[Tensor], Tensor | Mapping[Any, Tensor]]
"""Pictures (B, 3, H, W) -> features (B, C, h, w), or those of several layers by name."""

TOLERANCE = 0.01      # how far a stored cosine may lie from the exact one ...
MAX_CHANNELS = 128    # ... unless that takes more numbers per patch than this


class SimilarityExplorer(anywidget.AnyWidget):
    """A figure: choose a patch of the source, see its cosine similarity to every patch of source and result.

    Make one with `from_denoiser`, `from_models` (UNet, CLIP and ViT side by side), `from_extractors` or
    `from_features`. What may be read and set afterwards, also while it is shown:

    selected: [row, column] of the chosen patch as fractions of the picture's height and width, in [0, 1).
    marked:   the same for the best match in the first column's result, written by the browser; empty until it has
              drawn.
    layer:    the layer of the first column, an index into `layers`.
    beside:   the layers of the further columns, likewise; empty shows one alone.
    step:     the shown result, an index into `step_names`.
    tau:      the temperature of the PatchNCE softmax, above 0.
    """

    _esm = joined("charts.js", "similarity.js")
    _css = joined("theme.css", "similarity.css")

    source_png = traitlets.Bytes().tag(sync=True)
    result_png = traitlets.List(traitlets.Bytes()).tag(sync=True)     # one per step
    step_names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    features = traitlets.Bytes().tag(sync=True)                       # int8; `layers` says what lies where
    layers = traitlets.List(traitlets.Dict()).tag(sync=True)
    selected = traitlets.List(traitlets.Float(), [0.5, 0.5], minlen=2, maxlen=2).tag(sync=True)
    marked = traitlets.List(traitlets.Float()).tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)
    beside = traitlets.List(traitlets.Int()).tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)
    tau = traitlets.Float(0.07).tag(sync=True)

    @classmethod
    def from_denoiser(
        cls,
        denoiser: UNetDenoiser,
        source: Tensor,
        result: Tensor | Sequence[Step],
        blocks: Sequence[int] | None = None,
        t: int = 0,
        *,
        keep: int = 4,
        max_side: int = 16,
    ) -> SimilarityExplorer:
        """An explorer of the UNet's encoder features, which ZeCon compares (Yang et al. 2023).

        source: (1, 3, H, W) in [-1, 1].
        result: pictures of the same size, (S, 3, H, W), or the steps of a run; of those at most `keep` are shown,
            evenly spaced, the last among them, each by its `x0`.
        blocks: encoder blocks; None takes `denoiser.feature_blocks`.
        t: the training timestep that the encoder is told. ZeCon says 0 whatever the noise.
        max_side: see `from_features`.
        """
        blocks = denoiser.feature_blocks if blocks is None else blocks
        results, names = _results(result, keep, None)
        features, _ = _extracted(source, results, names, {"UNet block": _blocks(denoiser, blocks, t)})
        return cls.from_features(source, results, features, step_names=names, max_side=max_side)

    @classmethod
    def from_models(
        cls,
        models: Models,
        source: Tensor,
        result: Tensor | Sequence[Step],
        *,
        step_names: Sequence[str] | None = None,
        keep: int = 4,
        max_side: int = 16,
    ) -> SimilarityExplorer:
        """An explorer of UNet blocks (ZeCon), CLIP's patches and the ViT's keys (DiffuseIT), side by side.

        The arguments are those of `from_extractors`; pictures are moved to the device of the networks.
        """
        extractors = {
            "UNet block": _blocks(models.denoiser, models.denoiser.feature_blocks, 0),
            "CLIP patches": models.clip.patches,
            "ViT keys": models.vit.patches,
        }
        results, names = _results(result, keep, step_names)
        source, results = source.to(models.device), results.to(models.device)
        return cls.from_extractors(source, results, extractors, step_names=names, max_side=max_side)

    @classmethod
    def from_extractors(
        cls,
        source: Tensor,
        result: Tensor | Sequence[Step],
        extractors: Mapping[str, Extractor],
        *,
        step_names: Sequence[str] | None = None,
        keep: int = 4,
        max_side: int = 16,
    ) -> SimilarityExplorer:
        """An explorer of named networks, one column for each.

        extractors: name -> pictures (B, 3, H, W) to features (B, C, h, w), or to a mapping of several layers, named
            with the extractor's name before; of those the last is shown first.
        source, result, keep: as in `from_denoiser`. step_names, max_side: as in `from_features`.
        """
        results, names = _results(result, keep, step_names)
        features, columns = _extracted(source, results, names, extractors)
        return cls.from_features(source, results, features, step_names=names, max_side=max_side, columns=columns)

    @classmethod
    def from_features(
        cls,
        source: Tensor,
        result: Tensor,
        features: Mapping[str, tuple[Tensor, Tensor]],
        *,
        step_names: Sequence[str] | None = None,
        max_side: int = 16,
        columns: Sequence[str] | None = None,
    ) -> SimilarityExplorer:
        """An explorer of any features that form a grid: UNet blocks, CLIP patches, ViT keys.

        source, result: pictures (1, 3, H, W) and (S, 3, H, W), S results or steps of one run.
        features: layer name -> (of the source, of the result), (1 or S, C, h, w) and (S, C, h, w). The two may not
            differ in C, h or w; layers may differ from each other.
        step_names: what to call the S results.
        max_side: of a longer grid only every second (third, ...) row and column is kept. 16 x 16 positions are 256
            patches, as many as ZeCon compares at a time.
        columns: the layers to show side by side at first; None shows the first alone. Any other may be chosen later.

        To keep a page small, each layer is stored as int8 on as few principal components as hold every shown cosine
        to within `TOLERANCE`, and at most `MAX_CHANNELS`; the largest error is in `layers` and under the figure.
        Raises ValueError where shapes disagree, a feature is not finite or a column names no layer.
        """
        step_names = result_names(result) if step_names is None else step_names
        _check_pictures(source, result, step_names)
        if not features:
            raise ValueError("features must name at least one layer; got none")
        first, *beside = _positions(columns or list(features)[:1], list(features))
        layers, blob = [], bytearray()
        for name, (of_source, of_result) in features.items():
            _check_features(name, of_source, of_result, len(result))
            source_rows, result_rows = _rows(of_source, max_side), _rows(of_result, max_side)
            stored, centre, scale, error = _compress(source_rows, result_rows)
            height, width = _thinned(of_source, max_side).shape[-2:]
            layers.append({
                "name": name, "height": height, "width": width, "channels": stored.shape[-1],
                "offset": len(blob), "sources": len(of_source), "centre": centre.tolist(), "scale": scale.tolist(),
                "error": error,
            })
            blob += stored.numpy().tobytes()
        return cls(
            source_png=_png(source), result_png=[_png(picture) for picture in result], step_names=list(step_names),
            features=bytes(blob), layers=layers, step=len(result) - 1, layer=first, beside=beside,
        )

    @traitlets.observe("layers", "step_names")
    def _still_in_range(self, change: Any) -> None:
        """Of fewer layers or steps the last one, where the chosen one is no longer there."""
        self.step = within(self.step, self.step_names)
        self.layer = within(self.layer, self.layers)
        self.beside = [layer for layer in self.beside if layer < len(self.layers)]

    @traitlets.validate("layer", "step")
    def _in_range(self, proposal: dict[str, Any]) -> int:
        layers = [layer["name"] for layer in self.layers]
        return chosen(proposal, layers if proposal["trait"].name == "layer" else self.step_names)

    @traitlets.validate("tau")
    def _above_zero(self, proposal: dict[str, Any]) -> float:
        if not 0 < proposal["value"] < inf:
            raise traitlets.TraitError(f"tau, a temperature, must be a number above 0; got {proposal['value']}")
        return proposal["value"]

    @traitlets.validate("selected")
    def _within(self, proposal: dict[str, Any]) -> list[float]:
        if not all(0 <= part < 1 for part in proposal["value"]):
            raise traitlets.TraitError(
                f"selected must be [row, column] as fractions of height and width, in [0, 1); got {proposal['value']}"
            )
        return proposal["value"]

    @traitlets.validate("beside")
    def _all_in_range(self, proposal: dict[str, Any]) -> list[int]:
        for value in proposal["value"]:
            if self.layers and not 0 <= value < len(self.layers):
                raise traitlets.TraitError(f"beside must hold layers, 0 to {len(self.layers) - 1}; got {value}")
        return proposal["value"]


def _results(result: Tensor | Sequence[Step], keep: int, names: Sequence[str] | None) -> tuple[Tensor, Sequence[str]]:
    """The pictures (S, 3, H, W) to show, and what to call them."""
    if isinstance(result, Tensor):
        return result, result_names(result) if names is None else names
    steps = _spread(list(result), keep)
    return torch.cat([step.x0 for step in steps]), names or [f"t = {step.t}" for step in steps]


def _blocks(denoiser: UNetDenoiser, blocks: Sequence[int], t: int) -> Extractor:
    return lambda pictures: dict(zip(blocks, denoiser.features(pictures, t, blocks), strict=True))


@torch.no_grad()
def _extracted(
    source: Tensor, results: Tensor, names: Sequence[str], extractors: Mapping[str, Extractor]
) -> tuple[dict[str, tuple[Tensor, Tensor]], list[str]]:
    """Layer name -> features of source and results, and for each extractor the name of its last layer."""
    _check_pictures(source, results, names)
    features: dict[str, tuple[Tensor, Tensor]] = {}
    last = []
    for name, extractor in extractors.items():
        found = [extractor(pictures) for pictures in (source, results)]
        of_source, of_results = (f if isinstance(f, Mapping) else {"": f} for f in found)
        features |= {f"{name} {k}".strip(): (of_source[k], of_results[k]) for k in of_source}
        last.append(list(features)[-1])
    return features, last


def _positions(columns: Sequence[str], layers: Sequence[str]) -> list[int]:
    """Where the columns' layers stand. Raises ValueError for one that is not there."""
    for name in columns:
        if name not in layers:
            raise ValueError(f"there is no layer {name!r} to show; {nearest(name, layers)}")
    return [layers.index(name) for name in columns]


def _spread(steps: list[Step], keep: int) -> list[Step]:
    """At most `keep` steps, evenly spaced, both ends among them."""
    if not steps:
        raise ValueError("result holds no steps: give a picture (1, 3, H, W), or list(sample(...))")
    if len(steps) <= keep:
        return steps
    return [steps[round(k * (len(steps) - 1) / max(keep - 1, 1))] for k in range(keep - 1)] + steps[-1:]


def _thinned(features: Tensor, max_side: int) -> Tensor:
    """The grid (S, C, h, w) with every n-th row and column only, n the least that leaves at most max_side of them."""
    n = max(1, ceil(max(features.shape[-2:]) / max_side))
    return features[..., n // 2 :: n, n // 2 :: n]


def _rows(features: Tensor, max_side: int) -> Tensor:
    """(S, C, h, w) features as unit rows (S, P, C), P = h w patches in reading order."""
    thinned = _thinned(features, max_side).detach().float().cpu()
    return F.normalize(thinned.flatten(2).transpose(1, 2), dim=-1)


def _compress(source: Tensor, result: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
    """Unit rows (S, P, C) as int8 (S_source + S_result, P, K), the centre and scale (K,) that undo it, and the error.

    K is the least number of principal components for which no cosine within the source, or between source and result,
    is off by more than TOLERANCE. The components are those of the rows as they are, mean included: it is the inner
    products that must survive, not the variance.
    """
    rows = torch.cat([source, result])
    exact = _cosines(rows, len(source))
    flat = rows.flatten(0, 1)
    _, axes = torch.linalg.eigh(flat.T @ flat)                       # eigenvalues ascend
    turned = rows @ axes.flip(1)
    low, high = turned.amin((0, 1)), turned.amax((0, 1))
    centre, scale = (low + high) / 2, ((high - low) / 254).clamp(min=1e-8)
    stored = ((turned - centre) / scale).round().to(torch.int8)

    def error(k: int) -> float:
        restored = F.normalize(stored[..., :k] * scale[:k] + centre[:k], dim=-1)
        return (_cosines(restored, len(source)) - exact).abs().max().item()

    counts = range(1, min(len(scale), MAX_CHANNELS) + 1)
    k = counts[min(bisect_left(counts, True, key=lambda k: error(k) <= TOLERANCE), len(counts) - 1)]
    return stored[..., :k].contiguous(), centre[:k], scale[:k], error(k)


def _cosines(rows: Tensor, sources: int) -> Tensor:
    """What the widget can show: each source picture's patches with those of every picture, (sources, P, S P)."""
    return rows[:sources] @ rows.flatten(0, 1).T


def _png(picture: Tensor) -> bytes:
    """A (3, H, W) or (1, 3, H, W) picture as the bytes of a PNG file; values beyond [-1, 1] are clamped."""
    buffer = io.BytesIO()
    images.to_pil(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _check_pictures(source: Tensor, result: Tensor, names: Sequence[str]) -> None:
    images.check(source)
    if len(source) != 1:
        raise ValueError(f"the explorer shows one source, (1, 3, H, W); got {tuple(source.shape)}: take source[:1]")
    if result.ndim != 4 or result.shape[1:] != source.shape[1:] or len(result) != len(names):
        raise ValueError(
            f"result must be ({len(names)}, {', '.join(map(str, source.shape[1:]))}): the source's size, one "
            f"picture for each of {list(names)}; got {tuple(result.shape)}"
        )


def _check_features(name: str, source: Tensor, result: Tensor, results: int) -> None:
    fits = source.ndim == result.ndim == 4 and source.shape[1:] == result.shape[1:]
    if not fits or len(result) != results or len(source) not in (1, results):
        raise ValueError(
            f"features of {name!r} must be (1 or {results}, C, h, w) for the source and ({results}, C, h, w) for the "
            f"result; got {tuple(source.shape)} and {tuple(result.shape)}"
        )
    if not (torch.isfinite(source).all() and torch.isfinite(result).all()):
        raise ValueError(f"features of {name!r} hold NaN or infinity: look at the network or the picture")
