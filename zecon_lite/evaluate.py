"""How good is a method? Scores on held-out scenes of the style world, where the right answer is known.

    from zecon_lite import evaluate
    evaluate("zecon", scenes=2, styles=["pencil", "comic"], seeds=1)["overall"]["ssim_to_source"]

What is asked, and of whom, stands in `benchmark`; how an answer is scored, in `metrics`. This module makes the
pictures, stores them as they come, scores them and writes it down. `zecon-lite evaluate` does so at the command line.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from . import images, metrics, weights
from .adapters import Adapter
from .benchmark import (
    SOURCE,
    TRUTH,
    Benchmark,
    Pictures,
    Restyle,
    Row,
    of_adapters,
    of_edit,
    of_function,
    of_method,
    of_recipe,
)
from .cost import counted, peak_memory
from .files import replacing, write
from .latents import digest
from .profiles import Models, load_models
from .progress import bar
from .recipes import Recipe
from .scores import METHODS
from .tiny import world

MEASURES = {
    "style_accuracy_a": "style, judge A",
    "style_accuracy_b": "style, judge B",
    "style_probability_a": "p(style), judge A",
    "style_probability_b": "p(style), judge B",
    "object_accuracy_a": "object, judge A",
    "object_accuracy_b": "object, judge B",
    "ssim_to_source": "SSIM to the source",
    "edge_f1": "edge F1 to the source",
    "mask_iou": "mask IoU",
    "colour_distance": "colour distance to the truth",
}
"""The measures of one picture, each with its heading."""
FRECHET = {"frechet_a": "Fréchet distance, judge A", "frechet_b": "Fréchet distance, judge B"}
"""The measures of a style's pictures together; of small samples, so no intervals."""
COSTS = {
    "cpu_seconds_per_picture": "CPU seconds a picture",
    "passes": "pictures through networks, forward + backward",
    "peak_megabytes": "peak memory, MB",
}
"""What a row's pictures cost; the last two of a single picture, where they were asked for."""


def evaluate(
    method: str | Recipe | Restyle,
    scenes: int = 20,
    styles: Sequence[str] | None = None,
    seeds: int = 3,
    models: Models | None = None,
    cache: str | Path | None = None,
) -> dict[str, Any]:
    """The scores of one recipe, or one function of (source, prompts, seed): "overall" and for each of "styles".

    Each measure is [mean, low, high] with its 95 % interval over scenes. styles: all of the style world without it.
    cache: a folder where a recipe's finished pictures are kept, so that an interrupted run goes on; a function's are
    not. Networks that were changed want a folder, or a profile's name, of their own.
    Raises ValueError for an unknown recipe or style, and for a function that does not return what it should.
    """
    models = models or load_models()
    row = of_function(method) if callable(method) else of_recipe(method, models)
    named = (styles,) if isinstance(styles, str) else styles
    asked = Benchmark(scenes, tuple(world.STYLES) if named is None else tuple(named), seeds, models.size)
    return compare({"it": row}, asked, None if cache is None else Path(cache))["rows"]["it"]


def rows_of(
    models: Models,
    recipes: Sequence[str],
    methods: Sequence[str] = (),
    curves: Sequence[str] = (),
    adapters: Sequence[Path] = (),
) -> dict[str, Row]:
    """Rows by name: the bounds first, then recipes, "package.module:function"s, and curves such as "zecon=0.02,0.1".

    recipes: also the names of `scores.METHODS`, such as "cds". A curve is the recipe `zecon` with one loss at several
    weights. adapters: files of DiffusionCLIP, one for each style, that are one row together.
    """
    rows = {"source": SOURCE, "truth": TRUTH}
    rows |= {name: (of_edit if name in METHODS else of_recipe)(name, models) for name in recipes}
    if adapters:
        rows["diffusionclip"] = of_adapters([Adapter.load(path) for path in adapters], models)
    rows |= {spec: of_method(spec) for spec in methods}
    for curve in curves:
        loss, _, numbers = curve.partition("=")
        try:
            found = [float(number) for number in numbers.split(",")]
        except ValueError:
            found = [math.nan]
        if not all(map(math.isfinite, found)):
            raise ValueError(f"a curve must be LOSS=WEIGHT,WEIGHT,..., as in zecon=0.005,0.02,0.1; got {curve!r}")
        rows |= {f"zecon, {loss}={weight:g}": of_recipe("zecon", models, loss, weight) for weight in found}
    return rows


def compare(
    rows: Mapping[str, Row], asked: Benchmark, cache: Path | None = None, costs: bool = False
) -> dict[str, Any]:
    """Everything about every row, ready for `save` and `table`. Raises as the rows' methods do.

    costs: whether one more picture of each row is made, to count its network passes and its memory.
    """
    done = {}
    with bar(len(rows) * asked.seeds * len(asked.parts), "evaluating") as progress:
        for name, row in rows.items():
            progress.set_description(f"evaluating {name}")
            pictures, seconds = made(row, asked, cache, progress.update)
            point = {} if row.loss is None else {"loss": row.loss, "weight": row.weight}
            spent = {"cpu_seconds_per_picture": round(seconds, 3)} | (cost(row, asked) if costs else {})
            done[name] = {**point, **spent, **_summary(pictures, asked)}
    return {
        "scenes": asked.scenes,
        "first_scene": int(asked.pictures.scene[0]),
        "seeds": asked.seeds,
        "styles": list(asked.styles),
        "size": asked.size,
        "batch": asked.batch,
        "pictures": asked.seeds * len(asked.pictures.styles),
        "judges": {name: _card(name) for name in metrics.JUDGES},
        "segmenter": _card("segmenter"),
        "rows": done,
    }


def _card(name: str) -> dict[str, float | str]:
    """Which network judged, and how it scores on true pictures that it has not seen."""
    path = weights.BUNDLED / f"{name}.safetensors"
    return {"sha256": weights.sha256(path)[:12], **json.loads(path.with_suffix(".json").read_text())["scores"]}


# ------------------------------------------------------------------------------------------------------- the pictures


def made(
    row: Row, asked: Benchmark, cache: Path | None = None, tick: Callable[[], object] = lambda: None
) -> tuple[Tensor, float]:
    """A row's pictures, uint8 (seeds, n, 3, H, W), and the CPU seconds that each took.

    cache: a folder; portions found there are not made again, and each new one is stored as soon as it is finished.
    tick: called after every portion.
    """
    pictures, seconds = [], 0.0
    for seed in range(asked.seeds):
        for at in asked.parts:
            part, took = _made_part(row, asked.pictures.part(at), seed, cache)
            pictures.append(part)
            seconds += took
            tick()
    done = torch.cat(pictures)
    return done.unflatten(0, (asked.seeds, -1)), seconds / len(done)


def _made_part(row: Row, part: Pictures, seed: int, cache: Path | None) -> tuple[Tensor, float]:
    """One portion, from the cache folder if it is there: uint8 pictures and the seconds they took together."""
    if cache is None or not row.settings:
        return _make(row, part, seed)
    shown = digest(part.source, part.example)    # of other parts of the same scenes the style picture is another one
    what = json.dumps([row.settings, shown, part.scene.tolist(), part.styles, seed])
    path = cache / f"{hashlib.sha256(what.encode()).hexdigest()[:32]}.npz"
    if not path.exists():
        pictures, took = _make(row, part, seed)
        cache.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial, open(partial, "wb") as file:
            np.savez(file, pictures=pictures.numpy(), seconds=took)
    try:
        with np.load(path) as stored:
            return torch.from_numpy(stored["pictures"]), float(stored["seconds"])
    except (EOFError, ValueError, OSError, KeyError, BadZipFile) as error:
        raise ValueError(f"{path}, a store of finished pictures, is damaged: delete it; they are made again") from error


def _make(row: Row, part: Pictures, seed: int) -> tuple[Tensor, float]:
    start = time.process_time()
    pictures = row.make(part, seed)
    return images.to_uint8(pictures), time.process_time() - start


def cost(row: Row, asked: Benchmark) -> dict[str, Any]:
    """Network passes and memory of a row: what its first picture costs, made alone and not timed."""
    with counted() as passes:
        peak = peak_memory(lambda: row.make(asked.pictures.part(slice(0, 1)), 0))
    return {"passes": {name: n for name, n in passes.items() if n[0]}, "peak_megabytes": round(peak, 1)}


# --------------------------------------------------------------------------------------------------------- the scores


@torch.no_grad()
def scores(pictures: Tensor, asked: Pictures) -> dict[str, Tensor]:
    """Every one of MEASURES for every picture, (n,); of photographs, those that need no mask and no object's name.

    pictures: (n, 3, H, W) in [-1, 1]. The judges and the segmenter see them as `metrics.as_judged` makes them.
    """
    seen, found = metrics.as_judged(pictures), {}
    for letter, name in zip("ab", metrics.JUDGES, strict=True):
        judge = metrics.judge(name)
        found[f"style_accuracy_{letter}"] = metrics.style_accuracy(seen, asked.styles, judge)
        found[f"style_probability_{letter}"] = metrics.style_probability(seen, asked.styles, judge)
        if asked.object is not None:
            found[f"object_accuracy_{letter}"] = metrics.object_accuracy(seen, asked.object, judge)
    found["ssim_to_source"] = metrics.ssim(pictures, asked.source)
    found["edge_f1"] = metrics.edge_f1(pictures, asked.source)
    if asked.mask is not None:
        found["mask_iou"] = metrics.mask_iou(seen, asked.mask)
    found["colour_distance"] = metrics.colour_distance(pictures, asked.truth)
    return {name: found[name] for name in MEASURES if name in found}


@torch.no_grad()
def _features(pictures: Tensor) -> dict[str, Tensor]:
    """What each judge reads its verdict from, (n, D), by the name of the Fréchet distance that it serves."""
    seen = metrics.as_judged(pictures)
    return {key: metrics.judge(name).features(seen) for key, name in zip(FRECHET, metrics.JUDGES, strict=True)}


def _summary(pictures: Tensor, asked: Benchmark) -> dict[str, Any]:
    """A row's numbers, from its uint8 pictures (seeds, n, 3, H, W): overall, by style, and each scene's mean."""
    want, each = asked.pictures, [images.from_unit(p.float() / 255) for p in pictures]
    by_seed = [scores(p, want) for p in each]
    found = {name: torch.cat([s[name] for s in by_seed]) for name in by_seed[0]}
    drawn, true = [_features(p) for p in each], _features(want.truth)
    scene, styles = want.scene.repeat(asked.seeds), want.styles * asked.seeds

    def numbers(which: Tensor) -> dict[str, list[float]]:
        return {k: [round(x, 4) for x in metrics.interval(v[which], scene[which])] for k, v in found.items()}

    by_style: dict[str, dict[str, Any]] = {}
    for style in asked.styles:
        at = torch.tensor([k for k, name in enumerate(want.styles) if name == style])
        distances = {k: _distance([d[k][at] for d in drawn], true[k][at]) for k in FRECHET}
        by_style[style] = numbers(torch.tensor([name == style for name in styles])) | distances
    overall: dict[str, Any] = numbers(torch.ones(len(scene), dtype=torch.bool))
    overall |= {key: _mean([row[key] for row in by_style.values()]) for key in FRECHET}
    means = {k: v.unflatten(0, (asked.seeds, asked.scenes, -1)).mean((0, 2)) for k, v in found.items()}
    return {
        "overall": overall,
        "styles": by_style,
        "by_scene": {k: [round(x, 4) for x in v.tolist()] for k, v in means.items()},
    }


def _distance(drawn: Sequence[Tensor], true: Tensor) -> float | None:
    """The Fréchet distance of the pictures of all seeds to the true ones; None of a single scene."""
    return round(metrics.frechet_distance(torch.cat([*drawn]), true), 3) if len(true) > 1 else None


def _mean(numbers: Sequence[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return None if len(known) < len(numbers) else round(sum(known) / len(known), 3)


# --------------------------------------------------------------------------------------------------------- the report


def table(
    measured: Mapping[str, Any], keys: Sequence[str] = (), style: str | None = None
) -> tuple[list[str], list[list[str]]]:
    """Headings and cells, one line for each row: "0.85 (0.80 to 0.90)", of all styles or of one.

    keys: which measures and costs, and in which order; all that were measured, Fréchet distances too, without it.
    """
    known = {**MEASURES, **FRECHET, **COSTS}
    rows = {
        name: {**(row["styles"][style] if style else row["overall"]), **{k: row[k] for k in COSTS if k in row}}
        for name, row in measured["rows"].items()
    }
    keys = list(keys or (key for key in known if any(key in numbers for numbers in rows.values())))
    lines = [[name, *(cell(numbers.get(key)) for key in keys)] for name, numbers in rows.items()]
    return ["", *(known[key] for key in keys)], lines


def cell(value: Sequence[float] | Mapping[str, Sequence[int]] | float | None) -> str:
    """A number with its interval, a number, networks with their passes, or a dash where there is nothing.

    >>> cell((0.85, 0.8, 0.9)), cell(0.85), cell({"UNet": (50, 25)}), cell(None)
    ('0.85 (0.80 to 0.90)', '0.85', 'UNet 50 + 25', '-')
    """
    if value is None or value == {}:
        return "-"
    if isinstance(value, int | float):
        return f"{value:.2f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{network} {n} + {back}" for network, (n, back) in value.items())
    mean, low, high = value
    return f"{mean:.2f} ({low:.2f} to {high:.2f})"


def save(measured: Mapping[str, Any], path: Path) -> Path:
    """Write the numbers as JSON, one measure a line; the file appears whole or not at all."""
    text = re.sub(r"\[\s+([^][{}]*?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", json.dumps(measured, indent=1))
    return write(path, text + "\n")
