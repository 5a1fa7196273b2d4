"""What commands share: how messages are said, panels and words of the help, weights and file names of users."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import partial
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

from ..files import check_place
from ..images import read_metadata
from ..memory import ran_out

RESULT = partial(typer.Option, rich_help_panel="Result")
METHOD = partial(typer.Option, rich_help_panel="Method")
MODELS = partial(typer.Option, rich_help_panel="Size and models")

READABLE = {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}    # pictures in a folder
UNREADABLE = {".arw", ".cr2", ".cr3", ".dng", ".heic", ".heif", ".nef", ".raf", ".svg"}    # pictures all the same
LONGEST = 200  # bytes of a result's name, which a file system may limit to 255 with all that is added to it
FIT_HELP = "native keeps the shape, crop takes the centre square, pad works on the whole in a square."
SEED_HELP = "The same seed gives the same picture; on a GPU, up to what guidance makes of the last digits."
LOW_MEMORY_HELP = "Everything that saves memory, for more time; the picture is the same up to rounding."
OUTPUT_HELP = (
    "File (.png, .jpg, .webp) or folder, which is made for several results; without it, PHOTO_PROMPT.png in the "
    "current folder. An older file of that name is replaced."
)


class Fit(str, Enum):
    """How a photograph comes to the size that the network wants."""

    native = "native"
    crop = "crop"
    pad = "pad"


@contextmanager
def plain_messages() -> Iterator[None]:
    """Errors a user can mend, and warnings, become sentences on stderr."""
    def show_warning(message: Warning | str, *rest: object, **named: object) -> None:
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
    except ModuleNotFoundError as e:    # an optional library, whose message names the cure
        say(str(e))
        raise typer.Exit(2) from e
    except BrokenPipeError:    # the reader, such as head, has seen enough: typer ends quietly
        raise
    except (ValueError, OSError, FloatingPointError, MemoryError, RuntimeError) as e:
        if isinstance(e, RuntimeError) and not ran_out(e):
            raise
        short = isinstance(e, RuntimeError) or not str(e)
        say("there is not enough memory: take a smaller picture, or fewer at once" if short else str(e))
        raise typer.Exit(2) from e


def say(message: str, kind: str = "error", style: str = "red") -> None:
    # Text, not markup: a file may be called [b].png. Soft wrap, so that a path can be copied whole.
    Console(stderr=True).print(Text.assemble((f"{kind}: ", f"bold {style}"), message), soft_wrap=True)


def weights_of(given: list[str]) -> dict[str, float]:
    """The weights that --weight gave.

    >>> weights_of(["zecon=500", "mse = 0.1"])
    {'zecon': 500.0, 'mse': 0.1}
    """
    weights = {}
    for entry in given:
        name, _, number = entry.partition("=")
        try:
            weights[name.strip()] = float(number)
        except ValueError:
            raise ValueError(f"a weight must be NAME=VALUE, as in zecon=500; got {entry!r}") from None
        if not math.isfinite(weights[name.strip()]):
            raise ValueError(f"a weight must be a finite number; got {entry!r}")
    return weights


def prompts_in(file: Path) -> list[str]:
    """The prompts in a text file, one a line; empty lines and those that begin with # are left out."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not a text in UTF-8: write one prompt a line") from None
    except IsADirectoryError:
        raise ValueError(f"{file} is a folder: name a text file with one prompt a line") from None
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {file}: check the spelling and the folder") from None
    prompts = [line for line in lines if line and not line.startswith("#")]
    if not prompts:
        raise ValueError(f"{file} holds no prompts: write one a line")
    return prompts


def make_folder(output: Path | None, several: bool) -> None:
    """Make the folder that several results go to, where it is not there yet and `output` names no picture.

    Raises ValueError for a file of another kind, and as `check_place` does where no folder can be made.
    """
    if several and output is not None and not output.is_dir() and output.suffix.lower() not in READABLE:
        if output.exists():
            raise ValueError(f"{output} is a file, and there are several results: name a folder, such as results/")
        check_place(output).mkdir()


def keep_apart(targets: Sequence[Path], inputs: Sequence[Path | None]) -> None:
    """Raises ValueError where a result would be written over a picture that it is made from."""
    for target in targets:
        for path in filter(None, inputs):
            if target.exists() and path.exists() and target.samefile(path):
                raise ValueError(f"{target} is a picture that the result is made from: write the result elsewhere")


def may_write(folder: Path) -> bool:
    """Whether files can be put into a folder, which may still have to be made."""
    there = next((path for path in (folder, *folder.absolute().parents) if path.exists()), folder)
    return there.is_dir() and os.access(there, os.W_OK)


def photos_in(given: Sequence[Path]) -> list[Path]:
    """Files as they are, and for a folder the pictures in it, but for results, which may lie there from before.

    Raises ValueError for a folder without pictures.
    """
    photos = []
    for path in given:
        found = [path]
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if p.is_file())
            there = [p for p in files if p.suffix.lower() in READABLE]
            found = [p for p in there if not _is_result(p)]
            if strange := [p.name for p in files if p.suffix.lower() in UNREADABLE]:
                formats = f"{len(strange)} of the files in {path} are in formats that are not read: {strange[0]}, ..."
                say(f"{formats}: export them as JPEG or PNG", "note", "yellow")
            if len(found) < len(there):
                left_out = f"{len(there) - len(found)} of the pictures in {path} are results of zecon-lite"
                say(f"{left_out}, and are left out: name them one by one to restyle them again", "note", "yellow")
        if not found:
            raise ValueError(f"the folder {path} holds no pictures: looked for {', '.join(sorted(READABLE))}")
        photos += found
    return photos


def _is_result(path: Path) -> bool:
    """Whether the picture carries our settings; what cannot be read does not, and is told of when it is its turn."""
    try:
        return read_metadata(path).get("software", "").startswith("zecon_lite")
    except (ValueError, OSError):
        return False


def names_of(photos: Sequence[Path]) -> list[str]:
    """A name for the results of each photograph; cat.jpg and cat.png must not become the same file."""
    stems = Counter(path.stem for path in photos)
    names = [path.stem if stems[path.stem] == 1 else path.name.replace(".", "_") for path in photos]
    again: Counter[str] = Counter()    # a/cat.jpg and b/cat.jpg
    for k, name in enumerate(names):
        again[name] += 1
        names[k] = name if again[name] == 1 else f"{name}_{again[name]}"
    return names


def targets_of(name: str, prompt: str, output: Path | None, count: int) -> list[Path]:
    """cat, "a pencil sketch" -> cat_a-pencil-sketch.png; with a number at the end when there are several."""
    slug = re.sub(r"\W+", "-", prompt.lower()).strip("-")[:60].strip("-") or "result"
    name = name.encode()[: LONGEST - len(slug.encode())].decode(errors="ignore")
    if output is None or output.is_dir():
        output = (output or Path()) / f"{name}_{slug}.png"
    return [output] if count == 1 else [output.with_stem(f"{output.stem}_{k}") for k in range(count)]
