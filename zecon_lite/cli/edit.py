"""`zecon-lite edit`: a photograph in, the same with something else in it out (SDS, DDS, CDS)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import images
from ..distill import edit as change
from ..profiles import latent_named, load_models, pick
from ..provenance import Framing, file_of, telling
from ..scores import METHODS
from .common import (
    FIT_HELP,
    METHOD,
    MODELS,
    OUTPUT_HELP,
    RESULT,
    SEED_HELP,
    Fit,
    keep_apart,
    make_folder,
    plain_messages,
    targets_of,
    weights_of,
)

ALSO_HELP = "Another PROMPT for the same photograph; may be repeated. The work on the source is shared."
SOURCE_HELP = "What the photograph shows now, as in PROMPT's words."
WEIGHT_HELP = "score or contrast; may be repeated. More contrast keeps more structure."
LAYERS_HELP = 'Attention layers to compare, by a part of their names: "up_blocks.1"; may be repeated.'
PATCH_HELP = "Side of the patches that are compared; may be repeated."
TILES_HELP = (
    "Encode and decode what is larger than the model's size in tiles, for less memory. The recipes of stylize work on "
    "pixels: there is nothing to decode."
)
MODEL_HELP = (
    "A Stable Diffusion: a folder, or a name on the Hugging Face hub; without it, the bundled model. "
    "stable-diffusion-v1-5/stable-diffusion-v1-5 is taken from what `zecon-lite weights fetch stable-diffusion-v1-5` "
    "brought, if it did."
)
SIZE_HELP = "Short side of the result in pixels; without it, what the model was trained on."


def edit(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A photograph.")],
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help='What it shall show: "a photo of a tiger".')],
    output: Annotated[Path | None, RESULT("--output", "-o", metavar="PATH", help=OUTPUT_HELP)] = None,
    also: Annotated[list[str] | None, RESULT(metavar="TEXT", help=ALSO_HELP)] = None,
    seed: Annotated[int, RESULT(metavar="N", help=SEED_HELP)] = 0,
    source_prompt: Annotated[str | None, METHOD("--source-prompt", "-s", metavar="TEXT", help=SOURCE_HELP)] = None,
    method: Annotated[str, METHOD("--method", "-m", metavar="NAME", help="sds, dds, cds or cds_cut_roles.")] = "cds",
    iterations: Annotated[int | None, METHOD(min=1, metavar="N", help="Steps of the descent.")] = None,
    weight: Annotated[
        list[str] | None, METHOD("--weight", "-w", metavar="NAME=VALUE", help=WEIGHT_HELP)
    ] = None,
    guidance: Annotated[float | None, METHOD(metavar="X", help="How far the prompt leads away from no prompt.")] = None,
    layers: Annotated[list[str] | None, METHOD(metavar="PART", help=LAYERS_HELP)] = None,
    patch_size: Annotated[list[int] | None, METHOD(min=1, metavar="N", help=PATCH_HELP)] = None,
    fit: Annotated[Fit, MODELS(help=FIT_HELP)] = Fit.native,
    size: Annotated[int | None, MODELS(min=8, max=10**8, metavar="N", help=SIZE_HELP)] = None,
    tiles: Annotated[bool, MODELS("--tiles", "--low-memory", help=TILES_HELP)] = False,
    model: Annotated[str | None, MODELS(metavar="PATH|NAME", help=MODEL_HELP)] = None,
    device: Annotated[str, MODELS(metavar="NAME", help="cpu or cuda; auto takes cuda where there is one.")] = "auto",
) -> None:
    """Edit a photograph so that it shows PROMPT where it shows the source prompt now; the rest stays.

    Every result carries its settings: `zecon-lite info FILE` shows them, `zecon-lite rerun FILE` makes it again.

    [bold]Examples[/]

    zecon-lite edit cat.jpg "a photo of a tiger" --source-prompt "a photo of a cat"

    zecon-lite edit cat.jpg "a pig" --also "a dog" -s "a cat" --weight contrast=5 --iterations 300

    zecon-lite edit cat.jpg "a tiger" -s "a cat" --method dds --model ~/stable-diffusion
    """
    with plain_messages():
        chosen = pick("method", method, METHODS)
        chosen = chosen.changed(weights=weights_of(weight or []), iterations=iterations, guidance=guidance)
        given: dict[str, Any] = {"layers": tuple(layers or ()), "patch_sizes": tuple(patch_size or ())}
        chosen = replace(chosen, contrast=replace(chosen.contrast, **{k: v for k, v in given.items() if v}))
        if source_prompt is None and chosen.needs_source_prompt:
            raise ValueError(f'{method} compares with the source: say what it shows, as in --source-prompt "a cat"')
        prompts = [prompt, *(also or [])]
        make_folder(output, len(prompts) > 1)
        targets = [t for text in prompts for t in targets_of(photo.stem, text, output, 1)]
        if len(targets) > len(set(targets)):    # one file named for several prompts
            targets = [t.with_stem(f"{t.stem}_{k}") for k, t in enumerate(targets)]
        for target in targets:
            images.check_destination(target)
        keep_apart(targets, [photo])
        source, models = images.load(photo), load_models("tiny", device)
        latent = models.latent if model is None else latent_named(model).to(models.device)

        framing = Framing(size or latent.size, latent.multiple, fit.value)
        fitted = framing.fitted(source)
        result = change(fitted, prompts, source_prompt, method=chosen, latent=replace(latent, tiles=tiles), seed=seed)
        pictures = framing.finished(result.image, fitted, source)
        for k, (picture, target) in enumerate(zip(pictures, targets, strict=True)):
            settings = {**result.metadata(k), "photograph": photo.name, "fit": fit.value}
            known = {"source_file": file_of(photo, target), "fit": fit.value, "size": framing.size}
            images.save(picture, target, telling(settings, picture, **known))
            typer.echo(f"saved {target}")
