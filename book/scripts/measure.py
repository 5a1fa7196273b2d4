"""Measures the recipes on held-out scenes: python book/scripts/measure.py writes book/assets/measured.json, and from it
the table measured.md beside it, which the page on limitations shows.

Every style of the style world on scenes that training never saw, bundled networks, seed 0. Style is the probability
that the bundled judge gives to the wanted style, and the share of pictures where that style comes first; content is
the SSIM to the source. The rows "source" and "truth" bound what can be had. Intervals: bootstrap over pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import torch
from torch import Tensor

from zecon_lite import RECIPES, load_models, stylize
from zecon_lite.metrics import colour_distance, ssim, style_probability
from zecon_lite.progress import bar
from zecon_lite.tiny import world

PROMPTS = {style: f"a {words[0]}" for style, words in world.STYLE_WORDS.items() if style != "photo"}
TARGET = Path(__file__).parents[1] / "assets" / "measured.json"


def interval(values: Tensor, resamples: int = 2000) -> list[float]:
    """[mean, low, high]: the mean and its 95 % bootstrap interval."""
    pick = torch.randint(len(values), (resamples, len(values)), generator=torch.Generator().manual_seed(0))
    low, high = values[pick].mean(1).quantile(torch.tensor([0.025, 0.975])).tolist()
    return [round(v, 4) for v in (values.mean().item(), low, high)]


def scores(result: Tensor, source: Tensor, truth: Tensor, styles: list[str]) -> dict:
    """One row: style by the judge, content by SSIM to the source, colour by distance to the true stylised picture."""
    every = torch.stack([style_probability(result, style) for style in ("photo", *world.STYLES)])
    wanted = style_probability(result, styles)
    first = (wanted >= every.max(0).values).float()
    return {
        "style_probability": interval(wanted), "style_accuracy": interval(first),
        "ssim_to_source": interval(ssim(result, source)),
        "colour_distance_to_truth": interval(colour_distance(result, truth)),
        "style_accuracy_by_style": {s: round(first[[t == s for t in styles]].mean().item(), 3) for s in world.STYLES},
    }  # fmt: skip


def table(measured: dict) -> str:
    """The measurements as a Markdown table, one row each, means with their intervals."""
    lines = [
        "| | style accuracy | SSIM to the source | colour distance to the truth | CPU seconds a picture |",
        "|---|---|---|---|---|",
    ]
    for name, row in measured["rows"].items():
        cells = [row[k] for k in ("style_accuracy", "ssim_to_source", "colour_distance_to_truth")]
        seconds = row.get("cpu_seconds_per_picture")
        lines.append(
            f"| {name} | "
            + " | ".join(f"{mean:.2f} ({low:.2f} to {high:.2f})" for mean, low, high in cells)
            + f" | {'' if seconds is None else format(seconds, '.1f')} |"
        )
    return "\n".join(lines) + "\n"


def write(path: Path, text: str) -> None:
    """The file appears whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=8)
    args = parser.parse_args()
    models, styles = load_models("tiny", device="cpu"), list(world.STYLES)
    scenes = world.render(world.held_out_seeds(args.scenes, start=2000), size=models.size)
    source = scenes.image.repeat_interleave(len(styles), 0)
    truth = torch.stack([world.apply_style(s, scenes.image, scenes.seeds) for s in styles], 1).flatten(0, 1)
    names = styles * args.scenes
    rows = {"source": scores(source, source, truth, names), "truth": scores(truth, source, truth, names)}
    variants = {name: (name, {}) for name in RECIPES} | {
        f"zecon, zecon={w:g}": ("zecon", {"zecon": w}) for w in (0.005, 0.1)
    }
    with bar(len(variants) * args.scenes, "measuring") as progress:
        for name, (recipe, weights) in variants.items():
            start, done = time.process_time(), []
            for k in range(args.scenes):
                chunk = slice(k * len(styles), (k + 1) * len(styles))
                prompts = None if recipe == "sdedit" else [PROMPTS[s] for s in styles]
                done.append(stylize(source[chunk], prompts, recipe=recipe, models=models, weights=weights).image)
                progress.update()
            seconds = (time.process_time() - start) / len(source)
            rows[name] = scores(torch.cat(done), source, truth, names) | {"cpu_seconds_per_picture": round(seconds, 2)}
            print(name, {k: v for k, v in rows[name].items() if k != "style_accuracy_by_style"}, flush=True)
    measured = {"pictures": len(source), "scenes": args.scenes, "seed": 0, "size": models.size, "rows": rows}
    write(TARGET, json.dumps(measured, indent=1) + "\n")
    write(TARGET.with_suffix(".md"), table(measured))


if __name__ == "__main__":
    main()
