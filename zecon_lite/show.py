"""Pictures, curves and features on a page. Every function returns a matplotlib Figure and leaves global settings alone.

In a notebook, make the call the last line of a cell; in a script, save the figure with `.savefig(path)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from . import images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, DPI = 9.0, 100    # inches and dots per inch: as wide as a page of the book, and small as a file
# Okabe & Ito's palette, which colour-blind readers can tell apart, without the yellow that fades on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":")

Pictures = Tensor | Sequence[Tensor]    # (B, 3, H, W), or single pictures (1, 3, H, W) or (3, H, W), in [-1, 1]


def strip(pictures: Pictures, titles: Sequence[str] | None = None, height: float = 1.9) -> Figure:
    """A row of pictures, each with its title above; pixels stay square blocks when enlarged.

    height: of a picture, in inches; less where the row would be wider than the page.
    Raises ValueError for an empty row, or when there are not as many titles as pictures.
    """
    return grid([pictures], column_titles=titles, height=height)


def grid(
    rows: Sequence[Pictures],
    row_titles: Sequence[str] | None = None,
    column_titles: Sequence[str] | None = None,
    height: float = 1.5,
) -> Figure:
    """Rows of pictures with titles on the left and above; a shorter row leaves its last places empty.

    Raises ValueError when there is no picture, or when the titles do not match the rows or columns.
    """
    table = [[np.asarray(images.to_pil(picture)) for picture in row] for row in rows]
    columns = max((len(row) for row in table), default=0)
    if columns == 0:
        raise ValueError("there is no picture to show: give a batch (B, 3, H, W) or a list of pictures")
    _check_titles(row_titles, len(table), "row")
    _check_titles(column_titles, columns, "column")

    # Every row is equally high, every column as wide as its widest picture, and the titles get their own room.
    aspects = [max(row[c].shape[1] / row[c].shape[0] for row in table if c < len(row)) for c in range(columns)]
    left, above = (1.1 if row_titles else 0.0), (0.3 if column_titles else 0.0)
    height = min(height, (WIDTH - left) / sum(aspects))
    size = (left + height * sum(aspects), above + height * len(table))
    figure, axes = _figure(size, (len(table), columns), width_ratios=aspects)
    for row, line in zip(table, axes, strict=True):
        for c, ax in enumerate(line):
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            if c < len(row):
                # Enlarged pixels stay blocks; where a picture is shrunk, matplotlib smooths.
                ax.imshow(row[c], interpolation="nearest" if row[c].shape[0] < height * DPI else "antialiased")
    for c, title in enumerate(column_titles or ()):
        axes[0, c].set_title(fill(title, max(8, int(height * aspects[c] * 12))), fontsize=9)    # 12 letters an inch
    for r, title in enumerate(row_titles or ()):
        axes[r, 0].set_ylabel(fill(title, 14), fontsize=9, rotation=0, ha="right", va="center", labelpad=6)
    return figure


def compare(source: Tensor, result: Tensor, titles: tuple[str, str] = ("source", "result")) -> Figure:
    """Source and result, each one picture (1, 3, H, W) or (3, H, W), side by side at the same height."""
    return strip([source, result], titles, height=2.0)


def curves(
    values: Mapping[str, Sequence[float]], xlabel: str, ylabel: str, x: Sequence[float] | None = None, log: bool = False
) -> Figure:
    """One line per name, told apart by colour and by dashes; `log` makes the vertical axis logarithmic.

    x: where the values stand; 0, 1, 2, ... without it. Raises ValueError when there is no line.
    """
    if not values:
        raise ValueError("there is no curve to show: give {name: values}")
    figure, axes = _figure((6.0, 3.2), (1, 1))
    ax = axes[0, 0]
    for (name, line), colour, dashes in zip(values.items(), cycle(COLOURS), cycle(LINES), strict=False):
        line = [float(value) for value in line]
        ax.plot(range(len(line)) if x is None else [float(at) for at in x], line, dashes, color=colour, label=name)
    ax.set(xlabel=xlabel, ylabel=ylabel, yscale="log" if log else "linear")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3, linewidth=0.6)
    if len(values) > 1:
        ax.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5), handlelength=2.8)
    return figure


def features(maps: Tensor | Sequence[Tensor], titles: Sequence[str] | None = None) -> Figure:
    """One or several feature maps, each (C, H, W) or (1, C, H, W), as colour pictures in a row: see `pca`."""
    maps = [maps] if isinstance(maps, Tensor) else maps
    return strip([pca(feature_map) for feature_map in maps], titles)


def pca(feature_map: Tensor) -> Tensor:
    """A feature map (C, H, W) or (1, C, H, W) as a picture (1, 3, H, W) in [-1, 1]: equal colours, similar features.

    The first three principal components over the map's places become red, green and blue, each divided by its largest
    magnitude. A component's sign is arbitrary; it is set so that the feature that weighs most counts as positive.
    Raises ValueError for another shape, and for fewer than three channels.
    """
    if feature_map.ndim == 4 and feature_map.shape[0] == 1:
        feature_map = feature_map[0]
    if feature_map.ndim != 3 or feature_map.shape[0] < 3:
        raise ValueError(f"a feature map must be (C, H, W) with at least 3 channels; got {tuple(feature_map.shape)}")
    places = feature_map.detach().cpu().double().flatten(1).T                     # (H W, C)
    places = places - places.mean(0)
    _, axes = torch.linalg.eigh(places.T @ places)                                # (C, C), the largest last
    axes = axes[:, -3:].flip(1)                                                   # (C, 3)
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    components = places @ axes                                                    # (H W, 3)
    components = components / components.abs().amax(0).clamp_min(1e-12)
    return components.T.reshape(1, 3, *feature_map.shape[1:]).float()


def _figure(
    size: tuple[float, float], places: tuple[int, int], width_ratios: Sequence[float] | None = None
) -> tuple[Figure, np.ndarray]:
    """A figure (width, height in inches), its axes (rows, columns); closed, so that a notebook shows it only once."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        *places,
        figsize=size,
        dpi=DPI,
        facecolor="white",
        layout="constrained",
        width_ratios=width_ratios,
        squeeze=False,
    )
    plt.close(figure)
    return figure, axes


def _check_titles(titles: Sequence[str] | None, count: int, what: str) -> None:
    if titles is not None and len(titles) != count:
        raise ValueError(f"{len(titles)} {what} titles for {count} {what}s: give one title for each")
