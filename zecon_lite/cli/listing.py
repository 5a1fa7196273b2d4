"""`zecon-lite recipes` and `zecon-lite info`: what there is, and what a result carries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .common import plain_messages


def recipes(
    profile: Annotated[str, typer.Option(metavar="NAME", help="The networks whose settings are shown.")] = "tiny",
) -> None:
    """List the recipes: each a paper's method, with its steps and the weights of its losses."""
    with plain_messages():
        from ..profiles import load_models
        from ..recipes import RECIPES

        models = load_models(profile, "cpu")
        table = Table("recipe", "paper", "steps", "skip", "weights")
        for recipe in (recipe.fitted_to(models) for recipe in RECIPES.values()):
            weights = [f"{name}={w:g}" if isinstance(w, (int, float)) else f"{name}=varies"
                       for name, w in recipe.weights.items()]
            table.add_row(recipe.name, recipe.paper, str(recipe.steps), str(recipe.skip), "\n".join(weights) or "none")
        Console().print(table)


def info(file: Annotated[Path, typer.Argument(metavar="FILE", help="A picture that zecon-lite saved.")]) -> None:
    """Show the settings that a result carries."""
    with plain_messages():
        from .. import images

        settings = images.read_metadata(file)
        if not settings:
            raise ValueError(f"{file} carries no settings: it was not saved by zecon-lite, or was edited since")
        table = Table(show_header=False, box=None)
        for key, value in settings.items():
            table.add_row(Text(key, "bold"), Text(value))
        Console().print(table)
