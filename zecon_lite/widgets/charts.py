"""What figures share: files joined, many pictures in one, an index in range, the check of the source."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import traitlets
from PIL import Image
from torch import Tensor

from .. import images


def joined(*names: str) -> str:
    """The text of files of this folder, one after the other: anywidget wants one module and one style sheet."""
    return "\n".join((Path(__file__).parent / name).read_text(encoding="utf-8") for name in names)


def result_names(results: Tensor) -> list[str]:
    """What to call results (N, 3, H, W) that nobody named."""
    return ["result"] if len(results) == 1 else [f"result {k}" for k in range(1, len(results) + 1)]


def within(index: int, choices: Sequence[object]) -> int:
    """The index, as long as it is one of these choices; of fewer the last one, and 0 where there are none."""
    return max(0, min(index, len(choices) - 1))


def chosen(proposal: dict[str, Any], names: Sequence[str]) -> int:
    """The index that is proposed for a trait. Raises TraitError where there are names, and it is none of theirs."""
    trait, value = proposal["trait"].name, proposal["value"]
    if names and not 0 <= value < len(names):
        raise traitlets.TraitError(f"{trait} must be 0 to {len(names) - 1} ({', '.join(names)}); got {value}")
    return value


def sheet(pictures: Tensor) -> dict[str, Any]:
    """Pictures (N, 3, H, W) in reading order as a figure's traits: one PNG, how many stand in a row, the size of each.

    Values are clamped to [-1, 1]. Six bits a channel are kept: a third smaller, and nobody sees the difference of at
    most 2 in 255.
    """
    count, _, height, width = pictures.shape
    across = math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    kept = (images.to_uint8(pictures) / 4).round().mul(4).clamp(max=255).to(torch.uint8)
    cells = F.pad(kept, (0, 0, 0, 0, 0, 0, 0, down * across - count))
    rows = cells.unflatten(0, (down, across)).permute(0, 3, 1, 4, 2).reshape(down * height, across * width, 3)
    buffer = io.BytesIO()
    Image.fromarray(rows.numpy()).save(buffer, "PNG", optimize=True)
    return {"sheet": buffer.getvalue(), "across": across, "cell": [height, width]}


def rounded(values: Iterable[float | None]) -> list[float | None]:
    """Numbers as JSON can hold them: four digits, None for what is not finite."""
    return [None if v is None or not math.isfinite(v) else float(f"{v:.4g}") for v in values]


def check_sources(source: Tensor, counts: Sequence[int]) -> None:
    """Raises ValueError unless there are as many source pictures, (N, 3, H, W) in [-1, 1], as one of `counts`."""
    images.check(source)
    if len(source) not in counts:
        wanted = " or ".join(map(str, dict.fromkeys(counts)))
        raise ValueError(f"source must hold {wanted} pictures, ({wanted}, 3, H, W); got {tuple(source.shape)}")
