"""The command line: `zecon-lite stylize PHOTO "PROMPT"`, `zecon-lite recipes`, `zecon-lite info FILE`.

Everything heavy is imported inside the commands, so that `--help` answers at once. What a user can get wrong ends with
a sentence on stderr and exit code 2; an interruption ends with 130.
"""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from .profiles import Models
    from .stylize import Result

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SUFFIXES = {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}    # pictures in a folder


class Fit(str, Enum):
    """How a photograph comes to the size that the network wants."""

    native = "native"
    crop = "crop"
    pad = "pad"


def main() -> None:
    """The console script `zecon-lite`."""
    app()


@app.callback()
def about(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    """Restyle photographs by text, without training: [bold]ZeCon[/] and its relatives, from first principles."""
    if show_version:
        typer.echo(f"zecon-lite {version('zecon-lite')}")
        raise typer.Exit


@app.command()
def stylize(
    photo: Annotated[Path, typer.Argument(help="A photograph, or a folder of photographs.", show_default=False)],
    prompt: Annotated[str, typer.Argument(help='What it shall look like: "a pencil sketch".', show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", show_default=False, rich_help_panel="Result",
            help="File (.png, .jpg, .webp) or existing folder; without it, PHOTO_PROMPT.png in the current folder.",
        ),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Put the source beside the result.", rich_help_panel="Result")
    ] = False,
    batch: Annotated[
        int, typer.Option(min=1, help="How many results, each from its own noise.", rich_help_panel="Result")
    ] = 1,
    seed: Annotated[
        int, typer.Option(help="The same seed gives the same picture again.", rich_help_panel="Result")
    ] = 0,
    recipe: Annotated[
        str, typer.Option("--recipe", "-r", help="One of `zecon-lite recipes`.", rich_help_panel="Method")
    ] = "zecon",
    weight: Annotated[
        list[str] | None,
        typer.Option(
            "--weight", "-w", metavar="NAME=VALUE", show_default=False, rich_help_panel="Method",
            help="Weight of one loss; may be given again for another.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Steps of the schedule, from noise to picture.", rich_help_panel="Method"),
    ] = None,
    skip: Annotated[
        int | None,
        typer.Option(
            min=0, help="Steps left out at the noisy end: more keeps more of the photograph.", rich_help_panel="Method"
        ),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(min=0, help="How hard the losses push, against predicted noise of 1.", rich_help_panel="Method"),
    ] = None,
    source_prompt: Annotated[
        str, typer.Option(help="What the photograph is: CLIP goes from here to PROMPT.", rich_help_panel="Method")
    ] = "photo",
    fit: Annotated[
        Fit,
        typer.Option(
            help="native keeps the shape, crop takes the centre square, pad works on the whole in a square.",
            rich_help_panel="Size and models",
        ),
    ] = Fit.native,
    size: Annotated[
        int | None,
        typer.Option(
            min=8, show_default=False, rich_help_panel="Size and models",
            help="Short side of the result in pixels; without it, what the networks were trained on.",
        ),
    ] = None,
    profile: Annotated[
        str, typer.Option(help="Which networks; tiny ships with the package.", rich_help_panel="Size and models")
    ] = "tiny",
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, mps.", rich_help_panel="Size and models")
    ] = "auto",
) -> None:
    """Restyle a photograph, or each in a folder, so that it looks like PROMPT; what it shows stays.

    Every result carries its settings: read them with `zecon-lite info FILE`.

    [bold]Examples[/]

    zecon-lite stylize cat.jpg "a pencil sketch"

    zecon-lite stylize cat.jpg "an oil painting" --compare -o cat_oil.png

    zecon-lite stylize cat.jpg "a mosaic" --weight zecon=200 --skip 5 --batch 4

    zecon-lite stylize photos/ "a watercolour painting" -o results/
    """
    with _plain_messages():
        from . import images
        from .profiles import PROFILES, load_models
        from .recipes import RECIPES
        from .stylize import stylize as restyle

        if not prompt.strip():
            raise ValueError('the prompt is empty: say what the photograph shall look like, as in "a pencil sketch"')
        _known(recipe, RECIPES, "recipe")
        _known(profile, PROFILES, "profile")
        weights = _weights(weight or [], RECIPES[recipe].weights)
        jobs = _jobs(photo, prompt, output, batch if not compare else 1)
        for _, targets in jobs:
            for target in targets:
                images.check_destination(target)

        models: Models | None = None
        failed = 0
        for path, targets in jobs:
            try:
                source = images.load(path)
                models = models or load_models(profile, device)
                fitted = images.fit(source, size or models.size, fit.value, models.multiple)
                result = restyle(
                    fitted, prompt, source_prompt=source_prompt, recipe=recipe, models=models, seed=seed, batch=batch,
                    weights=weights, steps=steps, skip=skip, strength=strength,
                )
                pictures = [fitted[:1], *result.image.split(1)]
                if fit is Fit.pad:
                    pictures = [images.unpad(picture, source) for picture in pictures]
                _save(pictures, targets, result, path, compare)
            except (ValueError, OSError, FloatingPointError) as e:
                if photo.is_file():
                    raise
                failed += 1
                _say(f"{path.name}: {e}")
        if failed:
            raise ValueError(f"{failed} of {len(jobs)} photographs failed")


@app.command()
def recipes() -> None:
    """List the recipes: each a paper's method, with the weights of its losses."""
    with _plain_messages():
        from .recipes import RECIPES

        table = Table("recipe", "paper", "steps", "skip", "weights")
        for recipe in RECIPES.values():
            weights = ", ".join(f"{name} {w:g}" if isinstance(w, (int, float)) else f"{name} varies"
                                for name, w in recipe.weights.items())
            table.add_row(recipe.name, recipe.paper, str(recipe.steps), str(recipe.skip), weights or "none")
        Console().print(table)


@app.command()
def info(file: Annotated[Path, typer.Argument(help="A picture that zecon-lite saved.", show_default=False)]) -> None:
    """Show the settings that a result carries."""
    with _plain_messages():
        from . import images

        settings = images.read_metadata(file)
        if not settings:
            raise ValueError(f"{file} carries no settings: it was not saved by zecon-lite, or was edited since")
        table = Table(show_header=False, box=None)
        for key, value in settings.items():
            table.add_row(Text(key, "bold"), Text(value))
        Console().print(table)


@contextmanager
def _plain_messages() -> Iterator[None]:
    """Errors a user can mend, and warnings, become sentences on stderr."""
    def show_warning(message, category, filename, lineno, file=None, line=None) -> None:
        _say(str(message), "warning", "yellow")

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("default", category=UserWarning)
            warnings.showwarning = show_warning
            yield
    except KeyboardInterrupt:
        _say("interrupted: no half-written file is left behind")
        raise typer.Exit(130) from None
    except (ValueError, OSError, FloatingPointError) as e:
        _say(str(e))
        raise typer.Exit(2) from e


def _say(message: str, kind: str = "error", style: str = "red") -> None:
    # Text, not markup: a file may be called [b].png. Soft wrap, so that a path can be copied whole.
    Console(stderr=True).print(Text.assemble((f"{kind}: ", f"bold {style}"), message), soft_wrap=True)


def _known(name: str, names: Iterable[str], what: str) -> None:
    """ValueError with the nearest name unless `name` is one of `names`."""
    names = list(names)
    if name not in names:
        nearest = get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]}? " if nearest else ""
        raise ValueError(f"there is no {what} {name!r}: {hint}There are {', '.join(names)}")


def _weights(given: list[str], names: Iterable[str]) -> dict[str, float] | None:
    """["zecon=500"] -> {"zecon": 500.0}; None when nothing is given."""
    weights = {}
    for entry in given:
        name, _, number = entry.partition("=")
        try:
            weights[name.strip()] = float(number)
        except ValueError:
            raise ValueError(f"a weight must be NAME=VALUE, as in zecon=500; got {entry!r}") from None
        _known(name.strip(), names, "weight")
        if not math.isfinite(weights[name.strip()]):
            raise ValueError(f"a weight must be a finite number; got {entry!r}")
    return weights or None


def _jobs(photo: Path, prompt: str, output: Path | None, count: int) -> list[tuple[Path, list[Path]]]:
    """Each photograph with the `count` files that its results go to. Raises ValueError for a folder without pictures."""
    if not photo.is_dir():
        return [(photo, _targets(photo.stem, prompt, output, count))]
    if output is not None and not output.is_dir():
        raise FileNotFoundError(f"there is no folder {output}: for a folder of photographs make one for the results first")
    photos = sorted(path for path in photo.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not photos:
        raise ValueError(f"the folder {photo} holds no pictures: looked for {', '.join(sorted(SUFFIXES))}")
    stems = Counter(path.stem for path in photos)    # cat.jpg and cat.png must not become the same file
    names = [path.stem if stems[path.stem] == 1 else path.name.replace(".", "_") for path in photos]
    return [(path, _targets(name, prompt, output, count)) for path, name in zip(photos, names, strict=True)]


def _targets(name: str, prompt: str, output: Path | None, count: int) -> list[Path]:
    """cat, "a pencil sketch" -> cat_a-pencil-sketch.png; with a number at the end when there are several."""
    slug = re.sub(r"\W+", "-", prompt.lower()).strip("-")[:60].strip("-") or "result"
    if output is None or output.is_dir():
        output = (output or Path()) / f"{name}_{slug}.png"
    return [output] if count == 1 else [output.with_stem(f"{output.stem}_{k}") for k in range(count)]


def _save(pictures: list, targets: list[Path], result: Result, photo: Path, compare: bool) -> None:
    """Write the source and its results, pictures[0] and the rest, side by side in one file or each result in its own."""
    from . import images

    shown = [images.side_by_side(pictures)] if compare else pictures[1:]
    for k, (picture, target) in enumerate(zip(shown, targets, strict=True)):
        images.save(picture, target, {**result.metadata(), "photograph": photo.name, "number": str(k)})
        typer.echo(f"saved {target}")
