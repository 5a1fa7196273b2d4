"""The direction explorer: which way a picture moved in CLIP's space, and which way the text wanted it to move.

Python embeds pictures and prompts once; the projection, the cosines and the losses are JavaScript (direction.js), so
the widget works in JupyterLab, in Colab and in a rendered page without a kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anywidget
import torch
import traitlets
from torch import Tensor

from ..models.clip import Clip
from ..profiles import nearest
from .charts import check_sources, chosen, joined, result_names, sheet, within


class DirectionExplorer(anywidget.AnyWidget):
    """A figure: arrows from the source to its results in a plane of CLIP's space that holds the text's direction.

    Make one with `from_clip` or `from_embeddings`. The plane's axis to the right is the way from the source prompt to
    the chosen prompt; the one upwards is the main component of the results' changes at right angles to it, recomputed
    for each prompt. What may be read and set afterwards, also while it is shown:

    prompt: the chosen prompt, a position in `prompts`.
    result: the chosen result, a position in `names`.
    unit:   whether embeddings are scaled to length 1 before they are subtracted, as StyleGAN-NADA does and the released
            ZeCon code does not.
    """

    _esm = joined("charts.js", "direction.js")
    _css = joined("theme.css", "charts.css", "direction.css")

    sheet = traitlets.Bytes().tag(sync=True)                          # a PNG: the source, then the results
    across = traitlets.Int().tag(sync=True)                           # pictures in a row of the sheet
    cell = traitlets.List(traitlets.Int()).tag(sync=True)             # [height, width] of each
    rows = traitlets.Bytes().tag(sync=True)                           # float32 unit vectors, see `_stacked`
    lengths = traitlets.List(traitlets.Float()).tag(sync=True)        # what undoes their unit length
    width = traitlets.Int().tag(sync=True)                            # D
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    prompts = traitlets.List(traitlets.Unicode()).tag(sync=True)
    source_prompt = traitlets.Unicode().tag(sync=True)
    path = traitlets.List(traitlets.Int()).tag(sync=True)             # results that a line joins, in this order
    prompt = traitlets.Int(0).tag(sync=True)
    result = traitlets.Int(0).tag(sync=True)
    unit = traitlets.Bool(True).tag(sync=True)

    @classmethod
    @torch.no_grad()
    def from_clip(
        cls,
        clip: Clip,
        source: Tensor,
        results: Tensor,
        prompts: Sequence[str],
        *,
        source_prompt: str = "photo",
        names: Sequence[str] | None = None,
        path: Sequence[str] = (),
    ) -> DirectionExplorer:
        """An explorer of results, or of the steps of a run, as this CLIP sees them: whole pictures, no views.

        clip: `models.clip`, or anything with its methods `image` and `text`. source: (1, 3, H, W) in [-1, 1].
        results: (R, 3, H, W), on the device of `clip` as `source` is. prompts: texts to choose from.
        source_prompt, names, path: as in `from_embeddings`.
        """
        _check(source, results, names := names or result_names(results))
        texts = clip.text([source_prompt, *prompts])
        return cls.from_embeddings(
            source, results, clip.image(source), clip.image(results), texts[1:], texts[:1], prompts,
            source_prompt=source_prompt, names=names, path=path,
        )

    @classmethod
    def from_embeddings(
        cls,
        source: Tensor,
        results: Tensor,
        source_image: Tensor,
        image: Tensor,
        text: Tensor,
        source_text: Tensor,
        prompts: Sequence[str],
        *,
        source_prompt: str = "photo",
        names: Sequence[str] | None = None,
        path: Sequence[str] = (),
    ) -> DirectionExplorer:
        """An explorer of any embeddings of pictures and texts that can be compared.

        source, results: pictures (1, 3, H, W) in [-1, 1] and (R, 3, H, W). source_image, image: their embeddings,
        (1, D) and (R, D). text, source_text: those of the T `prompts`, (T, D), and of `source_prompt`, (1, D), of any
        length. names: what to call the R results. path: names of results that a line joins, such as the steps of a run.
        Raises ValueError where shapes disagree, an embedding is not finite, a prompt means the same as the source
        prompt, or `path` names no result.
        """
        names = names or result_names(results)
        _check(source, results, names)
        vectors = _stacked(source_text, text, source_image, image, (1, len(prompts), 1, len(names)))
        for words, vector in zip(prompts, text, strict=True):
            if torch.equal(vector, source_text[0]):
                raise ValueError(f"to CLIP {words!r} means the same as {source_prompt!r}: there is no direction to it")
        for name in path:
            if name not in names:
                raise ValueError(f"there is no result {name!r} on the path; {nearest(name, names)}")
        lengths = vectors.norm(dim=1)
        return cls(
            **sheet(torch.cat([source.cpu(), results.detach().cpu().to(source.dtype)])),
            rows=(vectors / lengths[:, None]).numpy().astype("<f4").tobytes(),
            lengths=lengths.tolist(),
            width=vectors.shape[1],
            names=list(names),
            prompts=list(prompts),
            source_prompt=source_prompt,
            path=[list(names).index(name) for name in path],
            result=len(names) - 1,
        )

    @traitlets.observe("names", "prompts")
    def _still_in_range(self, change: Any) -> None:
        """Of fewer names the last one, where the chosen one is no longer there."""
        self.result = within(self.result, self.names)
        self.prompt = within(self.prompt, self.prompts)

    @traitlets.validate("prompt", "result")
    def _in_range(self, proposal: dict[str, Any]) -> int:
        return chosen(proposal, self.prompts if proposal["trait"].name == "prompt" else self.names)


def _check(source: Tensor, results: Tensor, names: Sequence[str]) -> None:
    check_sources(source, (1,))
    wanted = (len(names), *source.shape[1:])
    if tuple(results.shape) != wanted or not len(names):
        raise ValueError(
            f"results must be {wanted}: the source's size, one picture for each of {list(names)}; got "
            f"{tuple(results.shape)}"
        )


def _stacked(source_text: Tensor, text: Tensor, source_image: Tensor, image: Tensor, counts: Sequence[int]) -> Tensor:
    """All embeddings as float32 rows (1 + T + 1 + R, D): source prompt, prompts, source, results."""
    given = (source_text, text, source_image, image)
    names = ("source_text", "text", "source_image", "image")
    for name, rows, count in zip(names, given, counts, strict=True):
        if tuple(rows.shape) != (count, image.shape[-1]):
            raise ValueError(f"{name} must be ({count}, {image.shape[-1]}) like the others; got {tuple(rows.shape)}")
    vectors = torch.cat([rows.detach().float().cpu() for rows in given])
    if not torch.isfinite(vectors).all() or not vectors.any(1).all():
        raise ValueError("an embedding holds NaN or infinity, or is zero: look at the network or the picture")
    return vectors
