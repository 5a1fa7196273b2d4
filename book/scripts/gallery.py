"""Restyles real photographs: python book/scripts/gallery.py writes all that the page book/gallery.md shows.

Ten photographs with free licences, none of which any network was trained on, in every style, by the recipe `zecon` as
it stands, with the bundled networks and seed 0. Nothing is chosen, nothing is left out. Into book/assets go the
numbers (gallery.json), the table made from them (gallery.md) and the pictures (gallery_*.png).
"""

from __future__ import annotations

import json
from collections.abc import Mapping

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
    """The table: a line for each style, and one for all of them."""
    scores = measured["styles"]
    headings = list(next(iter(scores.values())))
    lines = [[PROMPTS[style], *(f"{row[key]:.2f}" for key in headings)] for style, row in scores.items()]
    means = [sum(row[key] for row in scores.values()) / len(scores) for key in headings]
    lines.append(["all", *(f"{mean:.2f}" for mean in means)])
    return (
        f"{len(measured['photographs'])} photographs, {measured['size']} pixels a side. Each judge's column is the "
        "share of them that it finds to be in the style.\n\n" + markdown(["", *headings], lines)
    )


def main() -> None:
    models = load_models("tiny", device="cpu")
    shown = photographs(models.size)
    sources = torch.cat(list(shown.values()))
    results = restyled(sources, models)
    measured = {
        "photographs": list(shown), "size": models.size, "seed": 0, "styles": judged(sources, results),
        "weights": hashes(),
    }
    write(ASSETS / "gallery.json", json.dumps(measured, indent=1) + "\n")
    write(ASSETS / "gallery.md", fragment(measured))
    for name, styles in FIGURES.items():
        rows = [[sources[k], *(results[style][k] for style in styles)] for k in range(len(sources))]
        draw(show.grid(rows, column_titles=["photograph", *(PROMPTS[style] for style in styles)]), name)


if __name__ == "__main__":
    main()
