"""`zecon-lite recipes`, `zecon-lite presets` and `zecon-lite info`: what there is, and what a result carries."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from .. import images
from ..presets import PRESETS
from ..profiles import load_models
from ..provenance import KEY
from ..recipes import RECIPES, Recipe
from ..rerun import record_in
from .common import plain_messages


def recipes(
    profile: Annotated[str, typer.Option(metavar="NAME", help="The networks whose settings are shown.")] = "tiny",
) -> None:
    """List the recipes: each a paper's method, with its steps and the weights of its losses."""
    with plain_messages():
        models = load_models(profile, "cpu")
        table = Table("recipe", "paper", "steps", "skip", "weights")
        for recipe in (recipe.fitted_to(models) for recipe in RECIPES.values()):
            table.add_row(recipe.name, recipe.paper, str(recipe.steps), str(recipe.skip), _weights(recipe))
        Console().print(table)


def presets() -> None:
    """List the presets: published settings of a recipe for a prompt, and for which networks they are."""
    with plain_messages():
        table = Table(Column("preset", no_wrap=True), Column("what it sets", overflow="fold"), show_lines=True)
        for p in PRESETS.values():
            prompt = f'"{p.prompt}"' if p.prompt else "your prompt or style picture"
            numbers = f"skip {p.recipe.skip}; {_weights(p.recipe, ', ')}"
            table.add_row(p.name, f"{p.recipe.name} for {p.profile}: {prompt}\n{numbers}\nfrom {p.source}")
        Console().print(table)


def _weights(recipe: Recipe, between: str = "\n") -> str:
    return between.join(f"{name}={told}" for name, told in recipe.told.items()) or "none"


def info(file: Annotated[Path, typer.Argument(metavar="FILE", help="A picture that zecon-lite saved.")]) -> None:
    """Show the settings that a result carries."""
    with plain_messages():
        settings = images.read_metadata(file)
        if not settings:
            raise ValueError(f"{file} carries no settings: it was not saved by zecon-lite, or was edited since")
        table = Table(show_header=False, box=None)
        for key, value in settings.items():
            table.add_row(Text(key, "bold"), Text(value if key != KEY else _again(file, settings)))
        Console().print(table)


def _again(file: Path, settings: Mapping[str, str]) -> str:
    """What `rerun` needs to make a result again; or why it cannot."""
    try:
        record = record_in(settings, file)
    except ValueError as error:
        return str(error)
    missing = [name for name in ("source", "style") if record.get(name) is not None and f"{name}_file" not in record]
    asked = "".join(f" --{name} FILE" for name in missing)
    return f"zecon-lite rerun {shlex.quote(str(file))}{asked} makes it again"
