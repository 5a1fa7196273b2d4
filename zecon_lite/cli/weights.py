"""`zecon-lite weights`: the published files, listed, fetched, checked and found."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from ..profiles import nearest
from ..weights import MANIFEST, WeightFile, adopt, find, home, needed_by, path_of
from ..weights import fetch as download
from ..weights import verify as complaint
from ..weights.download import readable
from ..weights.store import partial_of
from .common import plain_messages, say

app = typer.Typer(no_args_is_help=True, help="List, fetch and check the published weights.")
Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="As in `weights list`; or a profile's, for all.")]
FROM_HELP = "Take a file, or a folder of files, that is already on this computer; nothing is downloaded."


@app.command("list")
def list_files() -> None:
    """List the published files: their size, whether they are here, their licence, and what loads them."""
    with plain_messages():
        whole = partial(Column, no_wrap=True)
        table = Table(whole("name"), whole("size"), "here", "licence", Column("used by", overflow="fold"))
        for name, files in MANIFEST.items():
            sizes = [file.size for file in files if file.size is not None]
            size = sum(sizes) if len(sizes) == len(files) else None
            user = ", ".join(files[0].profiles) or files[0].loaded_by
            table.add_row(*map(Text, (name, readable(size), _state(files), files[0].licence, user)))
        Console().print(table)
        typer.echo(f"in {home()}; ? where the size is not known exactly")


@app.command()
def fetch(
    names: Names,
    mirror: Annotated[
        str | None, typer.Option(metavar="URL", help="A folder on the web that holds the files; it is asked first.")
    ] = None,
    source: Annotated[Path | None, typer.Option("--from", metavar="PATH", help=FROM_HELP)] = None,
) -> None:
    """Download files, going on where an earlier download stopped; each is checked before it is used.

    [bold]Examples[/]

    zecon-lite weights fetch imagenet256

    zecon-lite weights fetch ffhq_10m --from ~/Downloads/ffhq_10m.pt
    """
    with plain_messages():
        for file in _chosen(names):
            path = download(file, mirror) if source is None else adopt(file, source.expanduser())
            typer.echo(f"checked {path}" if file.sha256 else f"{path}: its sha256 was recorded, nobody publishes one")


@app.command()
def verify(names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...")] = None) -> None:
    """Check the sha256 of the files that are here, of all of them without a NAME; exit code 2 when one is wrong."""
    with plain_messages():
        every = [file for files in MANIFEST.values() for file in files if path_of(file).is_file()]
        wrong = 0
        for file in _chosen(names) if names else every:
            if found := complaint(file):
                wrong += 1
                say(f"{path_of(file)} {found}")
            else:
                typer.echo(f"good {path_of(file)}")
        if wrong:
            raise ValueError(f"{wrong} of the files must not be used: fetch again, or find out why")


@app.command()
def where(names: Names) -> None:
    """Print where files are, one path a line; for weights of several files, their folder."""
    with plain_messages():
        for name in names:
            paths = [find(file, fetch_missing=False) for file in _chosen([name])]
            for path in [home() / name] if name in MANIFEST and len(paths) > 1 else paths:
                typer.echo(path)


def _chosen(names: list[str]) -> list[WeightFile]:
    """The files of entries and profiles by name. Raises ValueError for an unknown one, offering the nearest."""
    chosen: dict[str, WeightFile] = {}
    for name in names:
        files = MANIFEST.get(name) or needed_by(name)
        if not files:
            known = {*MANIFEST, *(profile for all_of in MANIFEST.values() for profile in all_of[0].profiles)}
            raise ValueError(f"there are no published weights {name!r}; {nearest(name, known)}")
        chosen |= {file.name: file for file in files}
    return list(chosen.values())


def _state(files: tuple[WeightFile, ...]) -> str:
    """yes; no; or partly, when a download was interrupted or some of several files are here."""
    here = [path_of(file).is_file() for file in files]
    if all(here):
        return "yes"
    return "partly" if any(here) or any(partial_of(file).is_file() for file in files) else "no"
