"""`zecon-lite stylize`: photographs in, restyled photographs out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from torch import Tensor
from tqdm import tqdm

from .. import images
from ..memory import LOW_MEMORY, Saving
from ..presets import PRESETS, as_released
from ..profiles import PRECISIONS, load_models, pick
from ..progress import only_bar
from ..provenance import Framing, file_of, telling
from ..recipes import RECIPES, Task, check
from ..state import Step
from ..stylize import stylize as restyle
from .common import (
    FIT_HELP,
    LOW_MEMORY_HELP,
    METHOD,
    MODELS,
    OUTPUT_HELP,
    READABLE,
    RESULT,
    SEED_HELP,
    UNREADABLE,
    Fit,
    keep_apart,
    make_folder,
    names_of,
    photos_in,
    plain_messages,
    prompts_in,
    say,
    targets_of,
    weights_of,
)

ASKED_HELP = (
    'Photographs, or folders of them; then what they shall look like, as in "a pencil sketch". Recipes that read a '
    "style picture do without."
)
ALSO_HELP = "Another PROMPT for the same photographs; may be repeated."
PROMPTS_HELP = "A text with prompts, one a line, each for every photograph."
STYLE_HELP = "A picture to take the style from, for recipes that read one, such as gram_clip."
SKIP_HELP = "Steps left out at the noisy end: more of them keeps more of the photograph."
STRENGTH_HELP = "Fix how far each step is pushed, as a part of the predicted noise."
RETURNS_HELP = "How often the run goes back up into noise and comes down again, the last time unguided: cleaner."
SOURCE_HELP = "What the photograph is: CLIP goes from here to PROMPT. Without it, photo, or what the preset says."
RECIPE_HELP = "One of `zecon-lite recipes`; without it, zecon."
PRESET_HELP = "One of `zecon-lite presets`: published settings of a recipe, and a prompt where you give none."
RELEASED_HELP = "With the quirks of the released program that are off otherwise."
PRECISION_HELP = "In which numbers most is computed; without it float32, or half of it for published networks on a GPU."


class Precision(str, Enum):
    """What `torch` calls them."""

    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"
SIZE_HELP = "Short side of the result in pixels; without it, what the networks were trained on."


def stylize(
    asked: Annotated[list[str], typer.Argument(metavar="PHOTO... [PROMPT]", help=ASKED_HELP, show_default=False)],
    output: Annotated[Path | None, RESULT("--output", "-o", metavar="PATH", help=OUTPUT_HELP)] = None,
    also: Annotated[list[str] | None, RESULT(metavar="TEXT", help=ALSO_HELP)] = None,
    prompt_file: Annotated[Path | None, RESULT(metavar="FILE", help=PROMPTS_HELP)] = None,
    compare: Annotated[bool, RESULT("--compare", help="Put the source beside the result.")] = False,
    batch: Annotated[int, RESULT(min=1, max=10_000, metavar="N", help="How many results, each of its own noise.")] = 1,
    seed: Annotated[int, RESULT(metavar="N", help=SEED_HELP)] = 0,
    style: Annotated[Path | None, METHOD("--style", "-s", metavar="PICTURE", help=STYLE_HELP)] = None,
    recipe: Annotated[str | None, METHOD("--recipe", "-r", metavar="NAME", help=RECIPE_HELP)] = None,
    preset: Annotated[str | None, METHOD("--preset", "-p", metavar="NAME", help=PRESET_HELP)] = None,
    released: Annotated[bool, METHOD("--as-released", help=RELEASED_HELP)] = False,
    weight: Annotated[
        list[str] | None, METHOD("--weight", "-w", metavar="NAME=VALUE", help="Weight of one loss; may be repeated.")
    ] = None,
    steps: Annotated[int | None, METHOD(min=1, metavar="N", help="Steps from pure noise to picture.")] = None,
    skip: Annotated[int | None, METHOD(min=0, metavar="N", help=SKIP_HELP)] = None,
    strength: Annotated[float | None, METHOD(min=0, metavar="X", help=STRENGTH_HELP)] = None,
    returns: Annotated[int | None, METHOD(min=0, max=1000, metavar="N", help=RETURNS_HELP)] = None,
    source_prompt: Annotated[str | None, METHOD(metavar="TEXT", help=SOURCE_HELP)] = None,
    fit: Annotated[Fit, MODELS(help=FIT_HELP)] = Fit.native,
    size: Annotated[int | None, MODELS(min=8, max=10**8, metavar="N", help=SIZE_HELP)] = None,
    profile: Annotated[str, MODELS(metavar="NAME", help="Which networks; tiny ships with the package.")] = "tiny",
    device: Annotated[str, MODELS(metavar="NAME", help="cpu or cuda; auto takes cuda where there is one.")] = "auto",
    precision: Annotated[Precision | None, MODELS(help=PRECISION_HELP)] = None,
    low_memory: Annotated[bool, MODELS("--low-memory", help=LOW_MEMORY_HELP)] = False,
) -> None:
    """Restyle photographs, or each in a folder, so that they look like PROMPT; what they show stays.

    Every result carries its settings: `zecon-lite info FILE` shows them, `zecon-lite rerun FILE` makes it again.
    Where one of several results fails, the others are made.

    [bold]Examples[/]

    zecon-lite stylize cat.jpg "a pencil sketch"

    zecon-lite stylize cat.jpg "an oil painting" --compare -o cat_oil.png

    zecon-lite stylize cat.jpg "a mosaic" --weight zecon=200 --skip 5 --batch 4

    zecon-lite stylize photos/ "a watercolour painting" -o results/

    zecon-lite stylize cat.jpg dog.jpg "a mosaic" --also "a pencil sketch" -o results/

    zecon-lite stylize cat.jpg --preset zecon-mosaic --profile imagenet256 --low-memory

    zecon-lite stylize cat.jpg --style starry_night.jpg --recipe gram_clip
    """
    with plain_messages():
        photos, prompts = _photos_and_prompts(asked, also or [], prompt_file, style is not None)
        if any(not prompt.strip() for prompt in prompts):
            raise ValueError('the prompt is empty: say what the photograph shall look like, as in "a pencil sketch"')
        dtype = None if precision is None else PRECISIONS[precision.value]
        models = load_models(profile, device, dtype, LOW_MEMORY if low_memory else Saving())    # read at first use
        known = None if preset is None else pick("preset", preset, PRESETS)
        chosen = pick("recipe", recipe or "zecon", RECIPES) if known is None else known.fitted_to(models)
        if known is not None and recipe is not None:
            raise ValueError(f"the preset {preset!r} says which recipe: leave --recipe {recipe} out")
        if known is not None and known.prompt is not None:
            prompts = prompts or [known.prompt]
        if source_prompt is None:
            source_prompt = "photo" if known is None else known.source_prompt
        chosen = (as_released(chosen) if released else chosen).fitted_to(models)
        given = weights_of(weight or [])
        chosen = chosen.changed(weights=given, steps=steps, skip=skip, strength=strength, returns=returns)
        painting = None if style is None else images.load(style)
        wanted: list[str | None] = [*prompts] or [None]
        for text in wanted:    # before anything is loaded or written
            check(chosen, Task(None, text, source_prompt, painting))  # type: ignore[arg-type]  # no source yet
        count, instead = batch if not compare else 1, style.stem if style else chosen.name
        jobs = _jobs(photos, wanted, instead, output, count)
        for target in (target for job in jobs for target in job.targets):
            images.check_destination(target)
        keep_apart([target for job in jobs for target in job.targets], [*(job.photo for job in jobs), style])

        framing = Framing(size or models.size, models.multiple, fit.value, compare)

        def work(job: _Job, on_step: Callable[[Step], None]) -> None:
            source = images.load(job.photo)
            fitted = framing.fitted(source)
            result = restyle(
                fitted,
                job.prompt,
                style=painting,
                source_prompt=source_prompt,
                recipe=chosen,
                models=models,
                seed=seed,
                batch=batch,
                on_step=on_step,
            )
            settings = {**result.metadata(), "photograph": job.photo.name, "fit": fit.value}
            settings |= {} if style is None else {"style": style.name}
            _save(framing.finished(result.image, fitted, source), job, settings, framing, style)

        steps_each = len(chosen.positions)
        with only_bar(len(jobs) * steps_each, jobs[0].name) as progress:
            _all_of(jobs, work, steps_each, progress)


@dataclass(frozen=True)
class _Job:
    """One photograph and one prompt, with the files for their results."""

    photo: Path
    prompt: str | None
    targets: list[Path]

    @property
    def name(self) -> str:
        """How the bar and the messages call it."""
        return self.photo.name if self.prompt is None else f"{self.photo.name}, {self.prompt}"


def _all_of(
    jobs: Sequence[_Job], work: Callable[[_Job, Callable[[Step], None]], None], steps_each: int, progress: tqdm
) -> None:
    """Do every job; where one of several fails, say so and go on. Raises ValueError at the end, naming them."""
    failed = []
    for k, job in enumerate(jobs):
        progress.set_description(job.name, refresh=False)
        try:
            work(job, lambda step: progress.update())
        except (ValueError, OSError, FloatingPointError, MemoryError) as e:
            if len(jobs) == 1:
                raise
            failed.append(job.name)
            say(f"{job.name}: {e}")
        progress.update((k + 1) * steps_each - progress.n)
    if failed:
        raise ValueError(f"{len(failed)} of {len(jobs)} failed, the others are saved: {'; '.join(failed)}")


def _photos_and_prompts(
    asked: list[str], also: list[str], prompt_file: Path | None, styled: bool
) -> tuple[list[Path], list[str]]:
    """PHOTO... and PROMPT apart: the last of several words is a prompt, unless it names a picture.

    Where there are prompts already, or a style picture stands for one, it may name a folder, too.
    """
    *photos, last = asked
    prompts = [*also, *(prompts_in(prompt_file) if prompt_file else [])]
    if Path(last).suffix.lower() in UNREADABLE:
        raise ValueError(f"{last} is a picture in a format that is not read: export it as JPEG or PNG")
    names_photo = Path(last).suffix.lower() in READABLE or ((prompts or styled) and os.path.exists(last))
    if names_photo and not Path(asked[0]).suffix and not os.path.exists(asked[0]):
        raise ValueError(f"there is no file {asked[0]!r}; if that is the prompt, it comes last: photo.jpg \"a sketch\"")
    if photos and not names_photo:
        for word in photos:
            if not Path(word).suffix and not os.path.exists(word):
                raise FileNotFoundError(
                    f"there is no file {word!r}: put a prompt of several words in quotes, as in photo.jpg \"a sketch\""
                )
        return [Path(photo) for photo in photos], [last, *prompts]
    return [Path(photo) for photo in asked], prompts


def _jobs(
    given: list[Path], prompts: Sequence[str | None], instead: str, output: Path | None, count: int
) -> list[_Job]:
    """Every photograph, those in folders too, with every prompt, and `count` files for each.

    instead: names files where there is no prompt.

    Several results go into a folder, which is made where it is not there yet. Raises ValueError where a file is named
    for them, FileNotFoundError where the folder would lie in none.
    """
    photos = photos_in(given)
    several = len(photos) * len(prompts) > 1 or any(path.is_dir() for path in given)
    make_folder(output, several or count > 1)
    if several and output is not None and not output.is_dir():
        raise ValueError(f"{output} is one file, and there are several results: name a folder, such as results/")
    jobs: list[_Job] = []
    taken: set[Path] = set()
    for photo, name in zip(photos, names_of(photos), strict=True):
        for prompt in prompts:
            targets = targets_of(name, prompt or instead, output, count)
            first, number = targets, len(jobs)
            while taken & set(targets):    # prompts that differ in what no name of a file can hold
                targets = [target.with_stem(f"{target.stem}_{number}") for target in first]
                number += 1
            taken |= set(targets)
            jobs.append(_Job(photo, prompt, targets))
    return jobs


def _save(
    pictures: Sequence[Tensor], job: _Job, settings: dict[str, str], framing: Framing, style: Path | None
) -> None:
    """Write each picture with its settings to its file, and say so."""
    files = {"source_file": job.photo} | ({} if style is None else {"style_file": style})
    frame = {"fit": framing.fit, "size": framing.size, "compare": framing.compare}
    for k, (picture, target) in enumerate(zip(pictures, job.targets, strict=True)):
        found = {name: file_of(path, target) for name, path in files.items()}
        images.save(picture, target, telling({**settings, "number": str(k)}, picture, **found, **frame))
        typer.echo(f"saved {target}")
