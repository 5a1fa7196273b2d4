"""`zecon-lite evaluate`: recipes and other people's methods, scored on held-out scenes of the style world."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from .. import weights
from ..benchmark import Benchmark, Photographs
from ..evaluate import compare, rows_of, save, table
from ..memory import LOW_MEMORY, Saving
from ..profiles import load_models
from ..tiny import world
from .common import LOW_MEMORY_HELP, METHOD, MODELS, RESULT, may_write, plain_messages

RECIPES = ("sdedit", "clip_guided", "zecon")    # what is scored when nothing is named

RECIPE_HELP = (
    "A recipe, or a method of `zecon-lite edit`, to score; may be repeated. Without it, --method and --adapter: "
    "sdedit, clip_guided and zecon."
)
METHOD_HELP = (
    "A function of (source, prompts, seed) to score; may be repeated. Its pictures are kept with --cache alone, and "
    "found again by its own file: after a change elsewhere, name another folder."
)
CURVE_HELP = "The recipe zecon with one loss at several weights; may be repeated."
ADAPTER_HELP = "What `zecon-lite finetune` learnt for one style; repeated for others, all together are one row."
PHOTOGRAPHS_HELP = "Score photographs, at most four, in place of scenes; nothing is known of their objects."
COSTS_HELP = "Make one more picture of each, to count network passes and memory."
STYLES_HELP = "all, or names with commas: pencil,comic."
BATCH_HELP = (
    "Pictures at once; fewer need less memory. Another number draws other noise: compare runs with the same number and "
    "styles."
)
CACHE_HELP = "Where finished pictures are kept, so that an interrupted run goes on; without it, beside fetched weights."


def evaluate(
    recipe: Annotated[list[str] | None, METHOD("--recipe", "-r", metavar="NAME", help=RECIPE_HELP)] = None,
    method: Annotated[
        list[str] | None, METHOD("--method", "-m", metavar="MODULE:FUNCTION", help=METHOD_HELP)
    ] = None,
    curve: Annotated[list[str] | None, METHOD("--curve", metavar="LOSS=W,W,...", help=CURVE_HELP)] = None,
    adapter: Annotated[list[Path] | None, METHOD("--adapter", metavar="FILE", help=ADAPTER_HELP)] = None,
    scenes: Annotated[
        int | None, METHOD(metavar="N", help="How many held-out scenes; 20, or all four photographs, without it.")
    ] = None,
    seeds: Annotated[int, METHOD(metavar="N", help="How often each scene is restyled in each style.")] = 3,
    styles: Annotated[str, METHOD(metavar="NAMES", help=STYLES_HELP)] = "all",
    photographs: Annotated[bool, METHOD("--photographs", help=PHOTOGRAPHS_HELP)] = False,
    costs: Annotated[bool, RESULT("--costs", help=COSTS_HELP)] = False,
    output: Annotated[Path, RESULT("--output", "-o", metavar="FILE", help="Where the JSON goes.")] = Path(
        "evaluation.json"
    ),
    cache: Annotated[Path | None, RESULT(metavar="FOLDER", help=CACHE_HELP)] = None,
    batch: Annotated[int | None, MODELS(metavar="N", help=BATCH_HELP)] = None,
    profile: Annotated[str, MODELS(metavar="NAME", help="Which networks; tiny ships with the package.")] = "tiny",
    device: Annotated[str, MODELS(metavar="NAME", help="cpu or cuda; auto takes cuda where there is one.")] = "auto",
    low_memory: Annotated[bool, MODELS("--low-memory", help=LOW_MEMORY_HELP)] = False,
) -> None:
    """Score methods on scenes whose true look in every style is known; writes a JSON and prints a table.

    The first two rows bound what can be had: the untouched source, and the scene truly redrawn.
    Style and object: how often a judge names the wanted ones; judges guide nothing. Intervals: 95 %, over scenes.
    Seconds: the row that comes first also loads the networks.

    [bold]Examples[/]

    zecon-lite evaluate --scenes 2 --seeds 1 --styles pencil,comic

    zecon-lite evaluate --recipe zecon --curve zecon=0.005,0.02,0.1 -o curve.json

    zecon-lite evaluate --method my_method:restyle --recipe zecon

    zecon-lite evaluate --recipe zecon --adapter pencil.safetensors --styles pencil --costs
    """
    with plain_messages():
        if not output.parent.is_dir() or output.is_dir():
            raise ValueError(f"{output} must be a file in a folder that exists: make the folder, or write elsewhere")
        kept = cache or weights.home() / "evaluation"
        for folder, door in ((output.parent, "--output"), (kept, "--cache")):
            if not may_write(folder):
                raise PermissionError(f"the folder {folder} may not be written: name another with {door}")
        models = load_models(profile, device, saving=LOW_MEMORY if low_memory else Saving())    # read at first use
        wanted = tuple(world.STYLES) if styles == "all" else tuple(name.strip() for name in styles.split(","))
        number = {} if scenes is None else {"scenes": scenes}
        asked = (Photographs if photographs else Benchmark)(
            styles=wanted, seeds=seeds, size=models.size, batch=batch, **number
        )
        recipes = recipe or ([] if method or curve or adapter else RECIPES)
        rows = rows_of(models, recipes, method or [], curve or [], adapter or [])
        if cache is None:
            rows |= {name: replace(rows[name], settings="") for name in method or []}
        measured = compare(rows, asked, kept, costs)
        save(measured, output)
        _print(measured, asked)
        typer.echo(f"saved {output}")


def _print(measured: dict[str, Any], asked: Benchmark) -> None:
    """A column for each row of the JSON: its measures over all styles, then its style accuracy in each."""
    console, (headings, lines) = Console(), table(measured)
    names, *measures = zip(*lines, strict=True)
    roomy = console.width >= 30 + 20 * len(names)    # intervals, where there is room; the JSON has them anyway
    what = "held-out scenes" if asked.pictures.mask is not None else "photographs"
    title = f"{asked.scenes} {what} x {len(asked.styles)} styles x {asked.seeds} seeds"
    shown = Table("", *names, title=title, box=SIMPLE)
    for heading, cells in zip(headings[1:], measures, strict=True):
        shown.add_row(heading, *(text if roomy else text.split(" (")[0] for text in cells))
    shown.add_section()
    for style in asked.styles:
        rows = [row["styles"][style] for row in measured["rows"].values()]
        means = [sum(row[f"style_accuracy_{x}"][0] for x in "ab") / 2 for row in rows]
        shown.add_row(f"{style}, mean of both judges", *(f"{mean:.2f}" for mean in means))
    console.print(shown)
