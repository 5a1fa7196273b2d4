"""`zecon-lite rerun`: a result made again from the settings that it carries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import images
from ..rerun import Rerun
from ..rerun import rerun as again
from .common import LOW_MEMORY_HELP, MODELS, RESULT, keep_apart, plain_messages

SOURCE_HELP = "The photograph, where it has moved; another one gets the same treatment."
STYLE_HELP = "The style picture, where it has moved."
MODEL_HELP = "The latent model of an edit, where it is neither the bundled one nor Stable Diffusion 1.5."


def rerun(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A picture that stylize or edit saved.")],
    output: Annotated[
        Path | None, RESULT("--output", "-o", metavar="FILE", help="Keep the new picture (.png, .jpg, .webp).")
    ] = None,
    source: Annotated[Path | None, RESULT(metavar="FILE", help=SOURCE_HELP)] = None,
    style: Annotated[Path | None, RESULT(metavar="FILE", help=STYLE_HELP)] = None,
    device: Annotated[str, MODELS(metavar="NAME", help="cpu or cuda; auto takes cuda where there is one.")] = "auto",
    model: Annotated[str | None, MODELS(metavar="FOLDER or NAME", help=MODEL_HELP)] = None,
    low_memory: Annotated[bool, MODELS("--low-memory", help=LOW_MEMORY_HELP)] = False,
) -> None:
    """Make a result again and say whether every pixel is the same; exit code 1 when one is not.

    [bold]Examples[/]

    zecon-lite rerun cat_a-pencil-sketch.png

    zecon-lite rerun cat_a-mosaic.png --source dog.jpg -o dog_a-mosaic.png
    """
    with plain_messages():
        if output is not None:
            images.check_destination(output)
            keep_apart([output], [file])
        made = again(file, source, style, device, model, low_memory)
        if output is not None:
            keep_apart([output], list(made.files.values()))
            typer.echo(f"saved {made.save(output)}")
        typer.echo("the same picture, bit for bit" if made.same else f"another picture: {_distance(made, file)}")
        for sentence in made.differences:
            typer.echo(f"  {sentence}")
    if not made.same:
        raise typer.Exit(1)


def _distance(made: Rerun, file: Path) -> str:
    """How far the new picture is from that in the file."""
    first = images.to_uint8(images.load(file)).int()
    second = images.to_uint8(made.image).int()
    if first.shape != second.shape:
        return f"{second.shape[3]} x {second.shape[2]} pixels, and {first.shape[3]} x {first.shape[2]} in {file}"
    apart = (first - second).abs()
    return f"{int((apart > 0).sum())} of {apart.numel()} values differ, by up to {int(apart.max())} of 255"
