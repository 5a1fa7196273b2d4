"""`zecon-lite finetune` and `zecon-lite apply`: teach the network a style once, and give it to any photograph."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from .. import __version__, images, weights
from ..adapters import Adapter, degree_of_change, tuned
from ..denoiser import Denoiser
from ..files import check_place
from ..finetune import FINETUNE, journeys_of, step_by_step, translate
from ..finetune import finetune as learn
from ..latents import into_domain
from ..memory import LOW_MEMORY, Saving
from ..profiles import load_models
from ..provenance import Framing, check_seed
from .common import (
    FIT_HELP,
    LOW_MEMORY_HELP,
    METHOD,
    MODELS,
    RESULT,
    Fit,
    keep_apart,
    may_write,
    photos_in,
    plain_messages,
    say,
)

RANK_HELP = "Rank of the learnt changes (LoRA); the library peft is needed. Without it, all weights learn."
PER_STEP_HELP = "Update after each step, with a gradient through that step alone: rougher, and more updates."
SIDE_HELP = "Side of the squares in pixels; without it, that of the networks."
DEGREE_HELP = "How much of each adapter, 0 to 1; once for all, or once for each."
MIX_HELP = "Mix what the networks believe, as in the paper, not their weights: a network pass for each adapter."
UNSEEN_HELP = "First redraw a picture from outside the network's world, such as a few strokes, N times from noise."


def finetune(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Photographs to learn from; a few dozen do.")],
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help='What they shall become: "a pencil sketch".')],
    output: Annotated[
        Path, RESULT("--output", "-o", metavar="FILE", help="The adapter that is written, a .safetensors file.")
    ],
    seed: Annotated[int, RESULT(metavar="N", help="The same seed learns the same again.")] = 0,
    source_prompt: Annotated[str, METHOD(metavar="TEXT", help="What the photographs are.")] = "photo",
    epochs: Annotated[int | None, METHOD(min=1, metavar="N", help="How often each photograph is seen.")] = None,
    lr: Annotated[float | None, METHOD(metavar="X", help="Learning rate.")] = None,
    t0: Annotated[int | None, METHOD(min=1, metavar="N", help="How far towards noise, in timesteps.")] = None,
    batch: Annotated[int | None, METHOD(min=1, metavar="N", help="Photographs for each update.")] = None,
    rank: Annotated[int | None, METHOD(min=1, max=1024, metavar="N", help=RANK_HELP)] = None,
    per_step: Annotated[bool, METHOD("--per-step", help=PER_STEP_HELP)] = False,
    size: Annotated[int | None, MODELS(min=8, max=10**8, metavar="N", help=SIDE_HELP)] = None,
    profile: Annotated[str, MODELS(metavar="NAME", help="Which networks; tiny ships with the package.")] = "tiny",
    device: Annotated[str, MODELS(metavar="NAME", help="cpu or cuda; auto takes cuda where there is one.")] = "auto",
    low_memory: Annotated[bool, MODELS("--low-memory", help=LOW_MEMORY_HELP)] = False,
) -> None:
    """Teach the network to turn photographs into PROMPT (DiffusionCLIP), and keep what it learnt as a small file.

    A run that was stopped goes on where it was when the same command is given again.

    [bold]Examples[/]

    zecon-lite finetune photos/ "a pencil sketch" -o pencil.safetensors

    zecon-lite finetune photos/ "an oil painting" --epochs 12 --rank 8 -o oil.safetensors
    """
    with plain_messages():
        if output.suffix != ".safetensors":
            raise ValueError(f"the name {output.name!r} must end in .safetensors: try {output.stem}.safetensors")
        check_place(output)
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}: give one that holds photographs to learn from")
        if not may_write(weights.home()):
            raise PermissionError(f"{weights.home()}, where latents are kept, cannot be written: set ZECON_LITE_HOME")
        models = load_models(profile, device, saving=LOW_MEMORY if low_memory else Saving())
        given: dict[str, Any] = {"epochs": epochs, "lr": lr, "t0": t0, "batch": batch, "rank": rank}
        given |= {"looks": step_by_step} if per_step else {}
        settings = FINETUNE.fitted_to(models)
        settings = replace(settings, **{k: v for k, v in given.items() if v is not None})
        unfinished = output.with_name(f"{output.name}.unfinished")
        photographs = _pictures(photos_in([folder]), size or models.size, models.multiple)
        run = learn(
            photographs,
            prompt,
            source_prompt=source_prompt,
            models=models,
            settings=settings,
            seed=seed,
            checkpoint=unfinished,
            cache=weights.home() / "latents",
        )
        try:
            last = deque(run, maxlen=1).pop()    # each step holds pictures, some an adapter: keep one
        except KeyboardInterrupt:
            if unfinished.exists():
                say(f"{unfinished} keeps what was learnt: the same command goes on from there", "note", "yellow")
            raise
        last.adapter.save(output)  # type: ignore[union-attr]  # the last one always has it
        unfinished.unlink(missing_ok=True)
        typer.echo(f"saved {output} ({output.stat().st_size / 1e6:.1f} MB, from {len(photographs)} photographs)")


def apply(
    adapters: Annotated[
        list[Path], typer.Argument(metavar="ADAPTER...", help="Files that `zecon-lite finetune` wrote.")
    ],
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A photograph.")],
    output: Annotated[Path, RESULT("--output", "-o", metavar="FILE", help="The picture (.png, .jpg, .webp).")],
    seed: Annotated[int, RESULT(metavar="N", help="Of the noise that --unseen adds.")] = 0,
    degree: Annotated[list[float] | None, METHOD(metavar="X", help=DEGREE_HELP)] = None,
    mix: Annotated[bool, METHOD("--mix", help=MIX_HELP)] = False,
    unseen: Annotated[int, METHOD(min=0, metavar="N", help=UNSEEN_HELP)] = 0,
    fit: Annotated[Fit, MODELS(help=FIT_HELP)] = Fit.native,
    size: Annotated[int | None, MODELS(min=8, max=10**8, metavar="N", help="Short side of the result, pixels.")] = None,
    device: Annotated[str, MODELS(metavar="NAME", help="cpu or cuda; auto takes cuda where there is one.")] = "auto",
) -> None:
    """Give a photograph what one or several adapters have learnt.

    [bold]Examples[/]

    zecon-lite apply pencil.safetensors cat.jpg -o out.png --degree 0.7

    zecon-lite apply pencil.safetensors neon.safetensors cat.jpg -o out.png --degree 0.8 --degree 0.4
    """
    with plain_messages():
        images.check_destination(output)
        keep_apart([output], [photo])
        loaded = [Adapter.load(path) for path in adapters]
        degrees = degree or [1.0]
        degrees = degrees * len(loaded) if len(degrees) == 1 else degrees
        if not all(0 <= d <= 1 for d in degrees):
            raise ValueError(f"a degree must be 0 to 1; got {' '.join(f'{d:g}' for d in degrees)}")
        profiles = sorted({adapter.about.get("profile", "tiny") for adapter in loaded})
        if len(profiles) > 1:
            raise ValueError(f"adapters must be of one profile to be used together; got {' and '.join(profiles)}")
        models = load_models(profiles[0], device)
        settings = journeys_of(loaded, FINETUNE.fitted_to(models))
        generator = torch.Generator().manual_seed(check_seed(seed))
        framing, photograph = Framing(size or models.size, models.multiple, fit.value), images.load(photo)
        fitted = framing.fitted(photograph)
        source = fitted.to(models.device)
        if unseen:
            with models.at_work(source.shape):
                source = into_domain(models.denoiser, source, settings.t0, rounds=unseen, generator=generator)
            source = source.clamp(-1, 1)
        if mix:
            each = [tuned(models.denoiser, [adapter]) for adapter in loaded]
            pupil: Denoiser = degree_of_change(models.denoiser, each, degrees)
        else:
            pupil = tuned(models.denoiser, loaded, degrees)
        result = translate(source, pupil, models=models, settings=settings)
        about = {
            "software": f"zecon_lite {__version__}",
            "method": "DiffusionCLIP (Kim et al., CVPR 2022)",
            "prompt": " | ".join(adapter.about.get("prompt", "") for adapter in loaded),
            "degree": " ".join(f"{d:g}" for d in degrees),
            "adapters": " | ".join(f"{path.name} {weights.sha256(path)[:12]}" for path in adapters),
            "mix": "yes" if mix else "no",
            "unseen": str(unseen),
            "seed": str(seed),
            "size": str(framing.size),
            "fit": fit.value,
            "profile": profiles[0],
            "photograph": photo.name,
        }
        (picture,) = framing.finished(result, fitted, photograph)
        images.save(picture, output, about)
        typer.echo(f"saved {output}")


def _pictures(photos: list[Path], size: int, multiple: int) -> Tensor:
    """The photographs as squares, (B, 3, size, size); those that cannot be read are named."""
    if size % multiple:
        raise ValueError(f"--size must be a multiple of {multiple}, the network's stride; got {size}")
    read = []
    for path in photos:
        try:
            read.append(images.fit(images.load(path), size, "crop", multiple))
        except (ValueError, OSError) as error:
            say(f"{path.name} is left out: {error}", "warning", "yellow")
    if not read:
        raise ValueError(f"none of the {len(photos)} pictures could be read")
    return torch.cat(read)
