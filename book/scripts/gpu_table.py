"""Measures time and memory at full size: python book/scripts/gpu_table.py, on a machine with a GPU.

Every recipe, in three precisions, with and without torch.compile, for several pictures at once, with networks of the
published layouts whose weights are random: what a step costs does not depend on what the networks know. Into
book/assets go the numbers (measured_gpu.json, with card and commit) and the table made from them (measured_gpu.md).
`--fragment` writes the table alone; where nothing was measured it says so.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from zecon_lite import PROFILES, RECIPES, VGG, Clip, Models, Profile, Recipe, Result, UNet, ViT, stylize
from zecon_lite.files import write
from zecon_lite.memory import LOW_MEMORY, Saving, in_gib
from zecon_lite.models.resize import bilinear
from zecon_lite.progress import bar

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "book/assets"
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
CLIP_TERMS = {"clip_global_patch", "clip_direction_patch", "clip_image"}
CLIPS = ("RN50-quickgelu", "RN50x4-quickgelu", "ViT-B-32-quickgelu", "RN50x16-quickgelu", "ViT-B-16-quickgelu")


# ----------------------------------------------------------------------------------------------------- what is measured


def stand_in(name: str) -> Profile:
    """The profile of that name with random weights in place of the published ones."""
    profile = PROFILES[name]
    return replace(
        profile,
        unet_weights=functools.cache(lambda: UNet(profile.unet).state_dict()),
        clip=Clip.unfilled,
        vgg=VGG.unfilled,
        vit=ViT.unfilled,
        clips=lambda: [Clip.unfilled(name, bilinear) for name in CLIPS],
    )


def tamed(recipe: Recipe, steps: int | None) -> Recipe:
    """The recipe with a push of fixed strength and no beginning again: random networks lead nowhere, and stay finite.

    steps: take only the last so many, for a short look.
    """
    recipe = replace(recipe, strength=1.0, restart_when=None, attempts=1)
    return recipe if steps is None else replace(recipe, skip=recipe.steps - steps, resample_first=1)


def compile_networks(models: Models, recipe: Recipe) -> None:
    """torch.compile on the UNet's blocks, and on the image towers of the CLIPs that the recipe asks."""
    unet = models.denoiser.unet
    names = set(recipe.active)
    clips = models.clips if "clip_ensemble" in names else [models.clip] if names & CLIP_TERMS else []
    for module in [*unet.input_blocks, unet.middle_block, *unet.output_blocks, *(c.model.visual for c in clips)]:
        module.compile()


def measured(models: Models, recipe: Recipe, batch: int, size: int) -> dict[str, float | int | str | None]:
    """Seconds for each picture of a whole run, and the most memory held, after a short run that warms up."""
    grey = torch.zeros(1, 3, size, size)
    style = {"style": grey.clone()} if "style" in recipe.reads else {}
    prompt = "a pencil sketch" if "prompt" in recipe.reads else None

    def run(chosen: Recipe) -> tuple[float, Result]:
        start = time.perf_counter()
        result = stylize(grey, prompt, recipe=chosen, models=models, batch=batch, **style)
        result.image.cpu()    # waits for the device
        return time.perf_counter() - start, result

    try:
        run(tamed(recipe, min(2, len(recipe.positions))))
        seconds, result = run(recipe)
    except (MemoryError, FloatingPointError) as error:
        note = "out of memory" if isinstance(error, MemoryError) else "not finite"
        return {"seconds_per_picture": None, "peak": None, "note": note}
    return {
        "seconds_per_picture": seconds / batch,
        "steps": len(recipe.positions),
        "peak": result.memory.peak,
        "note": result.memory.how,
    }


def rows(args: argparse.Namespace, profile: Profile) -> list[dict]:
    """One row for each combination; networks are made once for a precision."""
    device, found = torch.device(args.device), []
    plan = list(itertools.product(args.recipes, args.dtypes, args.compile, args.batches))
    with bar(len(plan), "measuring") as progress:
        for (name, dtype, compiled), group in itertools.groupby(plan, key=lambda row: row[:3]):
            models = Models(profile, device, DTYPES[dtype], LOW_MEMORY if args.low_memory else Saving())
            recipe = tamed(RECIPES[name].fitted_to(models), args.steps)
            if compiled == "yes":
                compile_networks(models, recipe)
            for *_, batch in group:
                numbers = measured(models, recipe, batch, args.size or models.size)
                found.append({"recipe": name, "dtype": dtype, "compile": compiled, "batch": batch, **numbers})
                progress.update()
    return found


# ------------------------------------------------------------------------------------------------------------ the page


def fragment(report: Mapping | None) -> str:
    """The table in Markdown; without a report, the sentence that there is none."""
    if report is None:
        return "Not measured yet: run `python book/scripts/gpu_table.py` on a machine with a GPU.\n"
    headings = ("recipe", "precision", "torch.compile", "pictures at once", "s / picture", "peak")
    lines = [headings, ["---"] * len(headings), *map(cells, report["rows"])]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    shortened = "" if report["steps"] is None else f", the last {report['steps']} steps of each run alone"
    saving = ", saving memory" if report["low_memory"] else ""
    return (
        f"{report['card']}, torch {report['torch']}, commit {report['commit']}: {report['size']} pixels, networks of "
        f"the layouts of `{report['profile']}` with random weights{shortened}{saving}.\n\n{table}\n"
    )


def cells(row: Mapping) -> Sequence[str]:
    """A row of the table as text."""
    seconds = row["note"] if row["seconds_per_picture"] is None else f"{row['seconds_per_picture']:.2f}"
    peak = "" if row["peak"] is None else in_gib(row["peak"])
    return (row["recipe"], row["dtype"], row["compile"], str(row["batch"]), seconds, peak)


def commit() -> str:
    """The commit that is measured, with a + where the files differ from it."""
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if git("status", "--porcelain") else "")


def main(arguments: Sequence[str] | None = None, layout: Callable[[str], Profile] = stand_in) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--profile", default="imagenet256", choices=sorted(PROFILES))
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--dtypes", nargs="+", default=list(DTYPES), choices=list(DTYPES))
    parser.add_argument("--compile", nargs="+", default=["no", "yes"], choices=["no", "yes"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4, 8])
    parser.add_argument("--steps", type=int, help="only the last so many steps of each run")
    parser.add_argument("--size", type=int, help="the side in pixels; without it, the profile's")
    parser.add_argument("--low-memory", action="store_true")
    parser.add_argument("--fragment", action="store_true", help="write the table from the numbers that are there")
    parser.add_argument("--output", type=Path, default=ASSETS / "measured_gpu.json")
    args = parser.parse_args(arguments)
    if not args.fragment:
        device = torch.device(args.device)
        profile = layout(args.profile)
        report = {
            "card": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine() + " CPU",
            "torch": torch.__version__,
            "commit": commit(),
            "profile": profile.name,
            "size": args.size or profile.size,
            "steps": args.steps,
            "low_memory": args.low_memory,
            "rows": rows(args, profile),
        }
        write(args.output, json.dumps(report, indent=1) + "\n")
    known = json.loads(args.output.read_text(encoding="utf-8")) if args.output.is_file() else None
    write(args.output.with_suffix(".md"), fragment(known))


if __name__ == "__main__":
    main()
