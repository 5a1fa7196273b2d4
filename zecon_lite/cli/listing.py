"""`zecon-lite recipes`, `zecon-lite presets` and `zecon-lite info`: what there is, and what a result carries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import images
from ..presets import PRESETS
from ..profiles import load_models
from ..provenance import KEY
from ..recipes import RECIPES, Recipe
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
        table = Table("preset", "recipe", "prompt", "skip", "weights", "networks", "source")
        for p in PRESETS.values():
            numbers = (str(p.recipe.skip), _weights(p.recipe))
            table.add_row(p.name, p.recipe.name, p.prompt or "yours", *numbers, p.profile, p.source)
        Console().print(table)


def _weights(recipe: Recipe) -> str:
    return "\n".join(f"{name}={told}" for name, told in recipe.told.items()) or "none"


def info(file: Annotated[Path, typer.Argument(metavar="FILE", help="A picture that zecon-lite saved.")]) -> None:
    """Show the settings that a result carries."""
    with plain_messages():
        settings = images.read_metadata(file)
        if not settings:
            raise ValueError(f"{file} carries no settings: it was not saved by zecon-lite, or was edited since")
        table = Table(show_header=False, box=None)
        for key, value in settings.items():
            table.add_row(Text(key, "bold"), Text(value if key != KEY else f"zecon-lite rerun {file} makes it again"))
        Console().print(table)
