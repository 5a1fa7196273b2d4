"""Computes the weight explorer's bundled grid: python book/scripts/weight_grid.py writes zecon_lite/widgets/grids.

One held-out scene, restyled by ZeCon from several starts t0, with several weights of its contrast, in several styles,
scored as in measure.py. Into the folder go the pictures (zecon.png) and everything else (zecon.json). Finished pictures
are kept in build/evaluation, so an interrupted run goes on there.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import torch
from compare import made_of
from measure import CACHE, GUIDING, hashes
from torch import Tensor

from zecon_lite import RECIPES, images, load_models, metrics
from zecon_lite.benchmark import Benchmark, of_recipe
from zecon_lite.evaluate import MEASURES, made, save, scores
from zecon_lite.files import write
from zecon_lite.profiles import Models
from zecon_lite.progress import only_bar
from zecon_lite.recipes import Recipe
from zecon_lite.widgets.weights import _GRIDS, STORED, WeightExplorer

STYLES = ("pencil", "mosaic", "woodcut", "crayon")
LATER = (12, 8, 4, 0)              # positions by which the run starts later than the recipe's
FACTORS = (0, 0.25, 1, 5, 25)      # of the recipe's own weight
SHOWN = ("style_probability_a", "style_probability_b", "ssim_to_source", "mask_iou")


def settings(recipe: Recipe) -> tuple[list[int], list[float]]:
    """The numbers of left-out steps, and the weights of ZeCon's contrast."""
    own = recipe.weights["zecon"]
    return [recipe.skip + later for later in LATER], [round(factor * own, 6) for factor in FACTORS]


def computed(recipe: Recipe, models: Models, asked: Benchmark, cache: Path) -> tuple[Tensor, dict[str, Tensor]]:
    """The pictures, (starts, weights, styles, 3, H, W) in [-1, 1], and their scores, (starts, weights, styles) each."""
    pictures, found, (skips, weights) = [], [], settings(recipe)
    with only_bar(len(skips) * len(weights), "weight grid") as progress:
        for skip, weight in product(skips, weights):
            row = of_recipe(recipe.changed(skip=skip, weights={"zecon": weight}), models)
            pictures.append(images.from_unit(made(row, asked, cache)[0][0].float() / 255))
            found.append(scores(pictures[-1], asked.pictures))
            progress.update()
    shape = (len(skips), len(weights))
    numbers = {MEASURES[name]: torch.stack([s[name] for s in found]).unflatten(0, shape) for name in SHOWN}
    return torch.stack(pictures).unflatten(0, shape), numbers


def main() -> None:
    models = load_models("tiny", device="cpu")
    recipe = RECIPES["zecon"].fitted_to(models)
    skips, weights = settings(recipe)
    asked = Benchmark(1, STYLES, 1, models.size)
    pictures, numbers = computed(recipe, models, asked, CACHE)
    explorer = WeightExplorer.from_grid(
        asked.pictures.source[:1],
        pictures,
        {"t₀ (position)": [recipe.steps - skip - 1 for skip in skips], "ZeCon weight": weights, "style": STYLES},
        numbers,
        selected=[LATER.index(0), FACTORS.index(1), 0],
        plane=(MEASURES["ssim_to_source"], MEASURES["style_probability_a"]),
        caption=f"Computed ahead: ZeCon in {recipe.steps} steps with the bundled tiny networks, {models.size} pixels, "
        f"held-out scene {int(asked.pictures.scene[0])}, seed 0. Judges A and B are two small classifiers that guided "
        "nothing. At first the recipe's own settings are shown.",
    )
    _GRIDS.mkdir(exist_ok=True)
    write(_GRIDS / "zecon.png", explorer.sheet)
    about = {
        "weights": hashes((*GUIDING, *metrics.JUDGES, "segmenter")),
        "settings": made_of(of_recipe(recipe, models)),
        "traits": {name: getattr(explorer, name) for name in STORED},
    }
    print(f"{pictures.flatten(0, 2).shape[0]} pictures: {save(about, _GRIDS / 'zecon.json')}")


if __name__ == "__main__":
    main()
