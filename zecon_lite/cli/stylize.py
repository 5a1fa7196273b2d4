"""`zecon-lite stylize`: photographs in, restyled photographs out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import (
    FIT_HELP,
    METHOD,
    MODELS,
    OUTPUT_HELP,
    RESULT,
    SUFFIXES,
    Fit,
    plain_messages,
    say,
    targets_of,
    weights_of,
)

if TYPE_CHECKING:
    from torch import Tensor

PROMPT_HELP = 'What it shall look like: "a pencil sketch". Recipes that read a style picture do without.'
STYLE_HELP = "A picture to take the style from, for recipes that read one, such as gram_clip."
SKIP_HELP = "Steps left out at the noisy end: more of them keeps more of the photograph."
STRENGTH_HELP = "Fix how far each step is pushed, as a part of the predicted noise."
SIZE_HELP = "Short side of the result in pixels; without it, what the networks were trained on."


def stylize(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A photograph, or a folder of photographs.")],
    prompt: Annotated[str | None, typer.Argument(metavar="PROMPT", help=PROMPT_HELP)] = None,
    output: Annotated[Path | None, RESULT("--output", "-o", metavar="PATH", help=OUTPUT_HELP)] = None,
    compare: Annotated[bool, RESULT("--compare", help="Put the source beside the result.")] = False,
    batch: Annotated[int, RESULT(min=1, metavar="N", help="How many results, each from its own noise.")] = 1,
    seed: Annotated[int, RESULT(metavar="N", help="The same seed gives the same picture again.")] = 0,
    style: Annotated[Path | None, METHOD("--style", "-s", metavar="PICTURE", help=STYLE_HELP)] = None,
    recipe: Annotated[str, METHOD("--recipe", "-r", metavar="NAME", help="One of `zecon-lite recipes`.")] = "zecon",
    weight: Annotated[
        list[str] | None, METHOD("--weight", "-w", metavar="NAME=VALUE", help="Weight of one loss; may be repeated.")
    ] = None,
    steps: Annotated[int | None, METHOD(min=1, metavar="N", help="Steps from pure noise to picture.")] = None,
    skip: Annotated[int | None, METHOD(min=0, metavar="N", help=SKIP_HELP)] = None,
    strength: Annotated[float | None, METHOD(min=0, metavar="X", help=STRENGTH_HELP)] = None,
    source_prompt: Annotated[
        str, METHOD(metavar="TEXT", help="What the photograph is: CLIP goes from here to PROMPT.")
    ] = "photo",
    fit: Annotated[Fit, MODELS(help=FIT_HELP)] = Fit.native,
    size: Annotated[int | None, MODELS(min=8, metavar="N", help=SIZE_HELP)] = None,
    profile: Annotated[str, MODELS(metavar="NAME", help="Which networks; tiny ships with the package.")] = "tiny",
    device: Annotated[str, MODELS(metavar="NAME", help="cpu or cuda; auto takes cuda where there is one.")] = "auto",
) -> None:
    """Restyle a photograph, or each in a folder, so that it looks like PROMPT; what it shows stays.

    Every result carries its settings: read them with `zecon-lite info FILE`.

    [bold]Examples[/]

    zecon-lite stylize cat.jpg "a pencil sketch"

    zecon-lite stylize cat.jpg "an oil painting" --compare -o cat_oil.png

    zecon-lite stylize cat.jpg "a mosaic" --weight zecon=200 --skip 5 --batch 4

    zecon-lite stylize photos/ "a watercolour painting" -o results/

    zecon-lite stylize cat.jpg --style starry_night.jpg --recipe gram_clip
    """
    with plain_messages():
        from .. import images
        from ..profiles import load_models, nearest
        from ..recipes import RECIPES, Task, check
        from ..stylize import stylize as restyle

        if prompt is not None and not prompt.strip():
            raise ValueError('the prompt is empty: say what the photograph shall look like, as in "a pencil sketch"')
        if recipe not in RECIPES:
            raise ValueError(f"there is no recipe {recipe!r}; {nearest(recipe, RECIPES)}")
        models = load_models(profile, device)    # the networks themselves are read at first use
        chosen = RECIPES[recipe].fitted_to(models)
        chosen = chosen.changed(weights=weights_of(weight or []), steps=steps, skip=skip, strength=strength)
        painting = None if style is None else images.load(style)
        check(chosen, Task(None, prompt, source_prompt, painting))    # before anything is loaded or written
        jobs = _jobs(photo, prompt or (style.stem if style else chosen.name), output, batch if not compare else 1)
        for _, targets in jobs:
            for target in targets:
                images.check_destination(target)

        failed = 0
        for path, targets in jobs:
            try:
                source = images.load(path)
                fitted = images.fit(source, size or models.size, fit.value, models.multiple)
                result = restyle(
                    fitted,
                    prompt,
                    style=painting,
                    source_prompt=source_prompt,
                    recipe=chosen,
                    models=models,
                    seed=seed,
                    batch=batch,
                )
                pictures = [fitted[:1], *result.image.cpu().split(1)]
                if fit is Fit.pad:
                    pictures = [images.unpad(picture, source) for picture in pictures]
                settings = {**result.metadata(), "photograph": path.name, "fit": fit.value}
                settings |= {} if style is None else {"style": style.name}
                _save([images.side_by_side(pictures)] if compare else pictures[1:], targets, settings)
            except (ValueError, OSError, FloatingPointError) as e:
                if not photo.is_dir():
                    raise
                failed += 1
                say(f"{path.name}: {e}")
        if failed:
            raise ValueError(f"{failed} of {len(jobs)} photographs failed")


def _jobs(photo: Path, prompt: str, output: Path | None, count: int) -> list[tuple[Path, list[Path]]]:
    """Each photograph with the `count` files for its results. Raises ValueError for a folder without pictures."""
    if not photo.is_dir():
        return [(photo, targets_of(photo.stem, prompt, output, count))]
    if output is not None and not output.is_dir():
        raise FileNotFoundError(f"there is no folder {output}: the results of a folder need one, so make it first")
    photos = sorted(path for path in photo.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not photos:
        raise ValueError(f"the folder {photo} holds no pictures: looked for {', '.join(sorted(SUFFIXES))}")
    stems = Counter(path.stem for path in photos)    # cat.jpg and cat.png must not become the same file
    names = [path.stem if stems[path.stem] == 1 else path.name.replace(".", "_") for path in photos]
    return [(path, targets_of(name, prompt, output, count)) for path, name in zip(photos, names, strict=True)]


def _save(pictures: Sequence[Tensor], targets: list[Path], settings: dict[str, str]) -> None:
    """Write each picture with its settings to its file, and say so."""
    from .. import images

    for k, (picture, target) in enumerate(zip(pictures, targets, strict=True)):
        images.save(picture, target, {**settings, "number": str(k)})
        typer.echo(f"saved {target}")
