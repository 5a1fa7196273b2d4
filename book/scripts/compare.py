"""Compares every method: python book/scripts/compare.py writes all that the page book/comparison.md shows.

Same scenes, same photographs, same styles for all: those that claims_diffusionclip.py trains adapters for. Into
book/assets go the numbers (comparison.json), the tables made from them (comparison_*.md) and the pictures
(comparison_*.png). Finished pictures are kept in build/evaluation, adapters in build/adapters, so an interrupted run
goes on there.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence

from claims_diffusionclip import LESSONS, STYLES, learnt
from matplotlib.figure import Figure
from measure import (
    ASSETS,
    CACHE,
    _pictures,
    draw,
    elsewhere,
    hashes,
    markdown,
    minus,
    setup,
    side_of_zero,
    with_seconds,
    without_seconds,
    write,
)
from torch import Tensor

from zecon_lite import Models, load_models, show, weights
from zecon_lite.benchmark import PROMPTS, Benchmark, Photographs, Row, of_adapters
from zecon_lite.evaluate import COSTS, MEASURES, cell, compare, cost, made, rows_of, save, table

BOUNDS = ("source", "truth", "sdedit")    # the last one is told no style: what noise alone does
RECIPES = ("sdedit", "clip_guided", "zecon", "diffuseit_text", "diffuseit_image", "gram_clip")
BY_PICTURE = ("diffuseit_image", "gram_clip")
EDITS = ("cds",)                          # need the latent model
GUIDING = ("unet", "clip", "vgg", "vit")
LATENT = ("autoencoder", "latent")
WIDEST = 8                                # pictures in a row of a figure

SCORES = ("style_accuracy_a", "style_accuracy_b", "ssim_to_source", "edge_f1", "mask_iou", "colour_distance")
OF_PHOTOGRAPHS = tuple(key for key in SCORES if key != "mask_iou")

# Every number here is second-hand: the papers' own tables were not at hand. Nothing of it compares with ours.
REPORTED = {
    "sdedit": ("not at hand", "-"),
    "clip_guided": ("not at hand: ours is ZeCon's CLIP term alone, no published system", "-"),
    "zecon": ("about 38 s a picture, against 293 s for DiffusionCLIP; GPU not named", "a review on GitHub, which "
              "cites arXiv 2303.08622v2; the paper's tables are not at hand"),
    "diffuseit_text": ("SFID 9.98, CSFID 41.07, LPIPS 0.372 on animals; SFID 16.86, CSFID 54.48 on landscapes; 40 s a "
                       "picture on an RTX 3090", "notes on AGG (arXiv 2306.04396), which repeats the table; a review "
                       "(kimjy99.github.io)"),
    "diffuseit_image": ("3.07 style, 2.07 realism, 2.70 content of 5, in another paper's user study",
                        "notes on AGG (arXiv 2306.04396)"),
    "diffusionclip": ("directional similarity 0.17, segmentation consistency 93.7 %, identity 0.70 on CelebA-HQ; 1 to "
                      "7 minutes of training on a Quadro RTX 6000", "a review's transcription of its tables and text"),
    "gram_clip": ("none: its text says only that it fell behind the methods it was compared with", "its text"),
    "cds": ("structure distance 0.020 against 0.023 of DDS, cat to dog", "a third party's summary"),
}
"""method -> what is reported of it, and by whom."""


# ---------------------------------------------------------------------------------------------------------- the tables


def fragments(measured: Mapping) -> dict[str, str]:
    """Every table and every sentence with a number in it, by the name of its file."""
    scenes, photographs = measured["scenes"], measured["photographs"]
    told, shown = groups(scenes)
    return {
        "comparison_setup.md": told_setup(measured),
        "comparison_text.md": markdown(*table(only(scenes, told), SCORES)),
        "comparison_image.md": markdown(*table(only(scenes, shown), SCORES)),
        "comparison_difference.md": difference(scenes, told),
        "comparison_costs.md": costs(scenes),
        "comparison_training.md": training(measured["training"]),
        "comparison_photographs_text.md": markdown(*table(only(photographs, told), OF_PHOTOGRAPHS)),
        "comparison_photographs_image.md": markdown(*table(only(photographs, shown), OF_PHOTOGRAPHS)),
        "comparison_reported.md": reported(scenes, measured["left_out"]),
    }


def groups(measured: Mapping) -> tuple[list[str], list[str]]:
    """The rows that are told a style in words and those that are shown one, each after the bounds."""
    told = [name for name in measured["rows"] if name not in BY_PICTURE]
    return told, [*BOUNDS, *BY_PICTURE]


def only(measured: Mapping, names: Sequence[str]) -> dict:
    """The same with these rows alone."""
    return {**measured, "rows": {name: measured["rows"][name] for name in names}}


def told_setup(measured: Mapping) -> str:
    """What was run."""
    scenes, photographs = measured["scenes"], measured["photographs"]
    return (
        f"{setup(scenes)}The styles: {', '.join(PROMPTS[s] for s in scenes['styles'])}.\n"
        f"{photographs['scenes']} photographs in the same styles: {photographs['pictures']} pictures a row.\n"
    )


def difference(measured: Mapping, names: Sequence[str]) -> str:
    """Each method minus `zecon`, scene by scene, with the interval of the difference itself."""
    keys = ("style_accuracy_a", "style_accuracy_b", "ssim_to_source", "edge_f1", "mask_iou")
    lines = []
    for name in (name for name in names if name not in (*BOUNDS, "zecon")):
        each = [minus(measured["rows"], name, "zecon", key) for key in keys]
        lines.append([name, *(cell(found) + (" \\*" if side_of_zero(*found[1:]) else "") for found in each)])
    return markdown(["minus `zecon`", *(MEASURES[key] for key in keys)], lines)


def costs(measured: Mapping) -> str:
    """Seconds, passes and memory of every method; nobody restyles by hand, so the bounds are left out."""
    names = [name for name in measured["rows"] if name not in ("source", "truth")]
    return markdown(*table(only(measured, names), tuple(COSTS)))


def training(lessons: Mapping) -> str:
    """What DiffusionCLIP spent before its first picture."""
    lines = [[style, str(it["scenes"]), f"{it['cpu_seconds']:.0f}"] for style, it in lessons.items()]
    return markdown(["`diffusionclip` learnt", "from scenes", "in CPU seconds"], lines)


def reported(measured: Mapping, left_out: Sequence[str]) -> str:
    """What others say of each method, beside what we measured of it."""
    lines = []
    for name, (what, source) in REPORTED.items():
        if name in left_out:
            ours = "not measured: no latent model is bundled"
        else:
            row = measured["rows"][name]["overall"]
            ours = f"style by judge A {row['style_accuracy_a'][0]:.2f}, SSIM {row['ssim_to_source'][0]:.2f}"
        lines.append([name, what, source, ours])
    return markdown(["", "reported, on other pictures and networks", "by", "here, on the style world"], lines)


# -------------------------------------------------------------------------------------------------------- the pictures


def grid(asked: Benchmark, pictures: Mapping[str, Tensor], each: int) -> Figure:
    """A row for each method; `each` first pictures in as many styles as fit, the first seed. Nothing is chosen."""
    styles, each = min(WIDEST // each, len(asked.styles)), min(each, asked.scenes)
    chosen = [n * len(asked.styles) + k for k in range(styles) for n in range(each)]
    known = {"source": asked.pictures.source, "truth": asked.pictures.truth}
    known |= {name: p[0] for name, p in pictures.items() if name not in (*known, *BY_PICTURE)}
    known |= {"style picture": asked.pictures.example} | {name: pictures[name][0] for name in BY_PICTURE}
    rows = [[column[k] for k in chosen] for column in known.values()]
    titles = [asked.pictures.styles[k] for k in chosen]
    return show.grid(rows, [name.replace("_", " ") for name in known], titles, height=0.95)


# ------------------------------------------------------------------------------------------------------------ the run


def made_of(row: Row) -> str:
    """All that a row's pictures depend on but the package's code and weights and the device, which stand at the end."""
    return re.sub(r"[,;] package .*$", "", row.settings)


def compared(rows: Mapping[str, Row], asked: Benchmark, models: Models, counted: bool) -> dict:
    """The comparison on these pictures, saying how far it is. counted: also passes and memory, where that is a CPU."""
    for name, row in rows.items():
        print(f"{name}: {made(row, asked, CACHE)[1]:.2f} CPU seconds a picture", flush=True)
    return without_seconds(compare(rows, asked, CACHE, counted and models.device.type == "cpu"), models)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--photographs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--styles", default=",".join(STYLES), help="names with commas")
    elsewhere(parser)
    args = parser.parse_args()
    styles = tuple(args.styles.split(","))
    models = load_models("tiny", device=args.device)
    latent = all((weights.BUNDLED / f"{name}.safetensors").exists() for name in LATENT)
    lessons = {style: learnt(style, models) for style in styles}
    rows = rows_of(models, (*RECIPES, *(EDITS if latent else ())))
    rows["diffusionclip"] = of_adapters([adapter for adapter, _ in lessons.values()], models)
    scenes = Benchmark(args.scenes, styles, args.seeds, models.size, args.batch)
    photographs = Photographs(args.photographs, styles, args.seeds, models.size, args.batch)
    if args.seconds:
        measured = json.loads((ASSETS / "comparison.json").read_text(encoding="utf-8"))
        with_seconds(measured["scenes"], rows, scenes)
        for name, row in rows.items():
            measured["scenes"]["rows"][name] |= cost(row, scenes)
        save(measured, ASSETS / "comparison.json")
        for name, text in fragments(measured).items():
            write(ASSETS / name, text)
        return
    measured = {
        "scenes": compared(rows, scenes, models, counted=True),
        "photographs": compared(rows, photographs, models, counted=False),
        "training": {style: {"scenes": LESSONS, "cpu_seconds": took} for style, (_, took) in lessons.items()},
        "left_out": [] if latent else list(EDITS),
        "weights": hashes((*GUIDING, *(LATENT if latent else ()))),
        "settings": {name: made_of(row) for name, row in rows.items() if row.settings},
    }
    save(measured, ASSETS / "comparison.json")
    for name, text in fragments(measured).items():
        write(ASSETS / name, text)
    for asked, name, each in ((scenes, "comparison_scenes.png", 2), (photographs, "comparison_photographs.png", 4)):
        draw(grid(asked, {key: _pictures(row, asked) for key, row in rows.items()}, each), name)


if __name__ == "__main__":
    main()
