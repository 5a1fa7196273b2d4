"""What every command shares: how messages are said, and the panels in which the help shows options."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import typer
from rich.console import Console
from rich.text import Text

RESULT = partial(typer.Option, rich_help_panel="Result")
METHOD = partial(typer.Option, rich_help_panel="Method")
MODELS = partial(typer.Option, rich_help_panel="Size and models")


@contextmanager
def plain_messages() -> Iterator[None]:
    """Errors a user can mend, and warnings, become sentences on stderr."""
    def show_warning(message, category, filename, lineno, file=None, line=None) -> None:
        say(str(message), "warning", "yellow")

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("default", category=UserWarning)
            warnings.showwarning = show_warning
            yield
    except KeyboardInterrupt:
        say("interrupted: no half-written file is left behind")
        raise typer.Exit(130) from None
    except (ValueError, OSError, FloatingPointError) as e:
        say(str(e))
        raise typer.Exit(2) from e


def say(message: str, kind: str = "error", style: str = "red") -> None:
    # Text, not markup: a file may be called [b].png. Soft wrap, so that a path can be copied whole.
    Console(stderr=True).print(Text.assemble((f"{kind}: ", f"bold {style}"), message), soft_wrap=True)
