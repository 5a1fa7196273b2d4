"""Restyles real photographs: python book/scripts/gallery.py writes all that the page book/gallery.md shows.

Ten photographs with free licences, none of which any network was trained on, in every style, by the recipe `zecon` as
it stands, with the bundled networks and seed 0. Nothing is chosen, nothing is left out. Into book/assets go the
numbers (gallery.json), the table made from them (gallery.md) and the pictures (gallery_*.png).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import fmean

import torch
from measure import ASSETS, draw, hashes, markdown, write
from torch import Tensor

from zecon_lite import images, load_models, metrics, show, stylize
from zecon_lite.benchmark import PROMPTS
from zecon_lite.profiles import Models
from zecon_lite.progress import bar
from zecon_lite.tiny import world

FOLDER = ASSETS / "photographs"    # those that scikit-image does not bring; book/credits.md names their makers
STYLES = tuple(world.STYLES)
FIGURES = {"gallery_one.png": STYLES[:6], "gallery_two.png": STYLES[6:]}


def photographs(size: int) -> dict[str, Tensor]:
    """name -> a photograph cut to a square, (1, 3, size, size)."""
    found = {name: images.photograph(name) for name in images.PHOTOGRAPHS}
    found |= {path.stem: images.load(path) for path in sorted(FOLDER.glob("*.jpg"))}
    return {name: images.fit(photograph, size, mode="crop") for name, photograph in found.items()}


def restyled(sources: Tensor, models: Models) -> dict[str, Tensor]:
    """style -> every source in it, (n, 3, H, W)."""
    done = {}
    with bar(len(STYLES), "restyling") as progress:
        for style in STYLES:
            done[style] = stylize(sources, PROMPTS[style], models=models, seed=0).image
            progress.update()
    return done


def redrawn(sources: Tensor) -> dict[str, Tensor]:
    """style -> every source as the style world's own filter redraws it."""
    return {style: world.apply_style(style, sources, torch.arange(len(sources))) for style in STYLES}


def judged(sources: Tensor, results: Mapping[str, Tensor]) -> dict[str, dict[str, float]]:
    """style -> what share of the pictures each judge finds to be in it, and their mean SSIM to the source."""
    scores = {}
    for style, pictures in results.items():
        scores[style] = {
            f"judge {letter.upper()}": metrics.style_accuracy(pictures, style, metrics.judge(name)).mean().item()
            for letter, name in zip("ab", metrics.JUDGES, strict=True)
        }
        scores[style]["SSIM to the source"] = metrics.ssim(pictures, sources).mean().item()
    return scores


def fragment(measured: Mapping) -> str:
    """The table: a line for each style, and one for all of them; in brackets, the same of the truth."""
    rows, bounds = (list(measured[name].values()) for name in ("styles", "truth"))
    headings = list(rows[0])
    lines = [[PROMPTS[style], *beside([row], [bound], headings)]
             for style, row, bound in zip(measured["styles"], rows, bounds, strict=True)]
    return (
        f"{len(measured['photographs'])} photographs, {measured['size']} pixels a side. Each judge's column is the "
        "share of them that it finds to be in the style. In brackets: the same of the photographs as the style world's "
        "own filters redraw them. Where that is low, the judge does not know the style on photographs.\n\n"
        + markdown(["", *headings], [*lines, ["all", *beside(rows, bounds, headings)]])
    )


def beside(rows: Sequence[Mapping], bounds: Sequence[Mapping], keys: Sequence[str]) -> list[str]:
    """The mean of each score, and that of the truth in brackets."""
    return [f"{fmean(row[key] for row in rows):.2f} ({fmean(bound[key] for bound in bounds):.2f})" for key in keys]


def main() -> None:
    models = load_models("tiny", device="cpu")
    shown = photographs(models.size)
    sources = torch.cat(list(shown.values()))
    results = restyled(sources, models)
    measured = {
        "photographs": list(shown), "size": models.size, "seed": 0, "styles": judged(sources, results),
        "truth": judged(sources, redrawn(sources)), "weights": hashes(),
    }
    write(ASSETS / "gallery.json", json.dumps(measured, indent=1) + "\n")
    write(ASSETS / "gallery.md", fragment(measured))
    for name, styles in FIGURES.items():
        rows = [[sources[k], *(results[style][k] for style in styles)] for k in range(len(sources))]
        draw(show.grid(rows, column_titles=["photograph", *(PROMPTS[style] for style in styles)]), name)


if __name__ == "__main__":
    main()
