"""The command line: `zecon-lite stylize PHOTO "PROMPT"`, `zecon-lite recipes`, `zecon-lite presets`,
`zecon-lite info FILE`, `zecon-lite rerun FILE`, `zecon-lite edit`, `zecon-lite finetune`, `zecon-lite apply`,
`zecon-lite evaluate`, `zecon-lite weights`; each also as `python -m zecon_lite`.

One module a command. What a user can get wrong ends with a sentence on stderr and exit code 2; an interruption ends
with 130.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from .. import __version__
from .edit import edit
from .evaluate import evaluate
from .finetune import apply, finetune
from .listing import info, presets, recipes
from .rerun import rerun
from .stylize import stylize
from .weights import app as weights

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """The console script `zecon-lite`."""
    for stream in (sys.stdout, sys.stderr):    # a name that the terminal cannot show is no reason to fail
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    app()


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"zecon-lite {__version__}")
        raise typer.Exit


@app.callback()
def about(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Restyle photographs by text, without training: [bold]ZeCon[/] and its relatives, from first principles."""


# In the order in which --help lists them.
for command in (stylize, edit, finetune, apply, rerun, recipes, presets, info, evaluate):
    app.command()(command)
app.add_typer(weights, name="weights")
