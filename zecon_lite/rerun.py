"""A result made again from what its file says: the same picture, or the reasons why it is another."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import images, weights
from .distill import edit
from .memory import LOW_MEMORY, Saving
from .models.latent import STABLE_DIFFUSION
from .profiles import PRECISIONS, latent_named, load_models
from .provenance import KEY, Framing, changed, file_of, hash_of, telling
from .recipes import RECIPES
from .scores import METHODS
from .stylize import FUNCTIONS, stylize

TINY = "tiny"    # the name of the bundled latent diffusion model, and of its profile


@dataclass(frozen=True)
class Rerun:
    """A picture made again, (1, 3, H, W) in [-1, 1], as it is written to a file.

    same: whether every pixel is that of the first picture. differences: what is not as it was then, in sentences.
    settings: those of the file, brought up to date. files: where its source, and its style picture, were found.
    """

    image: Tensor
    same: bool
    differences: tuple[str, ...]
    settings: Mapping[str, str]
    files: Mapping[str, Path]

    def save(self, path: str | Path) -> Path:
        """Write the picture with its settings, so that it can be made again in its turn; returns the path."""
        path = images.check_destination(path)
        found = {name: file_of(file, path) for name, file in self.files.items()}
        return images.save(self.image, path, telling(self.settings, self.image, **found))


@dataclass(frozen=True)
class _Made:
    """results: (B, 3, H, W). fitted: what the networks worked on. record: what is written down about them now."""

    results: Tensor
    fitted: Tensor
    framing: Framing
    record: Mapping[str, Any]


def rerun(
    path: str | Path,
    source: str | Path | Tensor | None = None,
    style: str | Path | Tensor | None = None,
    device: str | torch.device = "auto",
    model: str | Path | None = None,
    low_memory: bool = False,
) -> Rerun:
    """A result of `stylize` or `edit` made again; from its file alone, where its source still lies where it lay.

    source, style: the files, where they have moved, or the pictures (B, 3, H, W) that were given in Python. Another
    file than the first is warned of and gets the same treatment. model: the latent model of an edit, a folder or a
    name; needed where it is neither the bundled one nor Stable Diffusion 1.5, since a picture that somebody sent
    shall not decide what is downloaded. low_memory: with everything that saves memory, whatever the first run did; the
    same picture, up to rounding, but for colours where an edit is encoded in tiles.
    Raises FileNotFoundError when a file has moved, ValueError when it has changed, and for a result that does not say
    enough: one from elsewhere, or with a function among its settings.
    """
    path = Path(path)
    settings = images.read_metadata(path)
    record = record_in(settings, path)
    if "model" in record:
        record["model"] = _trusted(record["model"], model, path)
    elif model is not None:
        raise ValueError(f"{path} was made by {record['by']}, which asks no latent model: leave --model out")
    try:
        inputs = {"source": _input(record, "source", source, path)}
        if record.get("style") is not None:
            inputs["style"] = _input(record, "style", style, path)
        elif style is not None:
            raise ValueError(f"{path} was made without a style picture: leave --style out")
        pictures = {name: images.load(x) if isinstance(x, Path) else x for name, x in inputs.items()}
        wanted = record | ({"saving": asdict(LOW_MEMORY), "tiles": True} if low_memory else {})
        made = _MAKERS[record["by"]](wanted, pictures, isinstance(inputs["source"], Path), device)
        number = 0 if made.framing.compare else _number(settings)
        picture = made.framing.finished(made.results, made.fitted[:1], pictures["source"])[number]
        differences = tuple(_differences(record, made.record))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"the settings of {path} are not those that this version writes ({type(error).__name__}: {error}): take "
            "the version of zecon_lite that made the picture"
        ) from error

    same = hash_of(images.to_uint8(picture)) == record.get("pixels")
    if not (same or differences or made.record["device"] == "cpu"):
        differences = ("a graphics card adds in no fixed order: the last digits differ from run to run",)
    files = {f"{name}_file": x for name, x in inputs.items() if isinstance(x, Path)}
    names = {"source": "photograph", "style": "style"}
    settings |= {names[name]: x.name for name, x in inputs.items() if isinstance(x, Path)}
    return Rerun(picture, same, differences, telling(settings, **made.record), files)


def _number(settings: Mapping[str, str]) -> int:
    """Which picture of its run a result is, from 0. Raises TypeError for what is no number."""
    number = settings.get("number", "0")
    if not number.isdecimal():
        raise TypeError(f"its number is {number!r}")
    return int(number)


def record_in(settings: Mapping[str, str], path: Path) -> dict[str, Any]:
    """The line for `rerun` in a result's settings. Raises ValueError where it is missing, damaged, or says no."""
    if KEY not in settings:
        raise ValueError(
            f"{path} does not say enough to be made again: it is from before stylize and edit wrote that down, or "
            "from another command"
            if settings
            else f"{path} carries no settings: it was not saved by zecon-lite, or was edited since"
        )
    try:
        record = json.loads(settings[KEY])
        whole = record["by"] in _MAKERS and {"source", "seed", "networks"} <= set(record)
    except (json.JSONDecodeError, TypeError, KeyError, RecursionError):
        whole = False
    if not whole:
        raise ValueError(f"the settings of {path} are damaged: its line {KEY!r} cannot be read")
    if "refused" in record:
        raise ValueError(f"{path} cannot be made again: {record['refused']}")
    return record


# ------------------------------------------------------------------------------------------------- what it was made of


def _trusted(named: str, given: str | Path | None, result: Path) -> str:
    """The latent model to load: the given one, or the one that a result names where it is known."""
    if given is None and named not in (TINY, STABLE_DIFFUSION):
        raise ValueError(
            f"{result} was made with the model {named!r}, which is loaded only when you say so: if you trust it, give "
            f"--model {named}, or rerun(path, model=...)"
        )
    return named if given is None else str(given)


def _input(record: Mapping[str, Any], name: str, given: str | Path | Tensor | None, result: Path) -> Path | Tensor:
    """The file of a picture that went in, or the picture itself where it was given."""
    known = record.get(f"{name}_file")
    if given is not None and not isinstance(given, str | Path):
        return images.check(given, name)
    if given is None:
        if known is None:
            raise ValueError(
                f"{result} was made in Python, from a {name} that came from no file: give it, as in "
                f"rerun(path, {name}=picture), or a file with --{name} FILE"
            )
        return _found(known, name, result)
    if known is not None and weights.sha256(_existing(Path(given))) != known["sha256"]:
        warnings.warn(
            f"{given} is not the {name} that {result.name} was made from (its sha256 differs): the same settings are "
            "used on it",
            UserWarning,
            stacklevel=3,
        )
    return _existing(Path(given))


def _found(known: Mapping[str, str], name: str, result: Path) -> Path:
    """A file where it lay when the result was made, beside the result, or in the current folder."""
    recorded = result.parent / known["path"]
    there = [p for p in (recorded, result.with_name(recorded.name), Path(recorded.name)) if p.is_file()]
    for path in there:
        if weights.sha256(path) == known["sha256"]:
            return path
    if there:
        raise ValueError(
            f"the {name} {there[0]} has changed since {result.name} was made (its sha256 differs): give the old one "
            f"with --{name} FILE, or this one to use the same settings on it"
        )
    raise FileNotFoundError(
        f"there is no {recorded}, the {name} of {result.name}: say where it is now with --{name} FILE"
    )


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: check the spelling and the folder")
    return path


def _framing(record: Mapping[str, Any], multiple: int) -> Framing:
    side = min(record["source"]["shape"][-2:])
    return Framing(record.get("size", side), multiple, record.get("fit", "native"), record.get("compare", False))


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in ("zecon_lite", "torch", "device", "threads", "dtype"):
        if then.get(name) != now.get(name):
            yield f"{name} was {then.get(name)} and is {now.get(name)}"
    if then.get("autocast", now.get("autocast")) != now.get("autocast"):
        yield f"the latent model computed in {then['autocast'] or 'float32'}, and now in {now['autocast'] or 'float32'}"
    if then["source"]["sha256"] != now["source"]["sha256"]:
        yield "the source is another picture"
    if then.get("style") != now.get("style"):
        yield "the style picture is another one"
    for name, found in now["networks"].items():
        if then["networks"].get(name, found) != found:
            yield f"the {name} has other weights"
    if then.get("saving") != now.get("saving"):
        yield "memory was saved in another way, which may change the last digits"
    if then.get("tiles") != now.get("tiles"):
        yield "the picture was encoded in tiles once and whole once, which changes colours a little"


# ---------------------------------------------------------------------------------------------------------- made again


def _stylized(
    record: Mapping[str, Any], pictures: Mapping[str, Tensor], fit: bool, device: str | torch.device
) -> _Made:
    for what, known in (("dtype", PRECISIONS), ("recipe", RECIPES)):
        name = record[what]
        if name not in known:
            raise ValueError(f"there is no {what} {name!r}: take the version of zecon_lite that made the picture")
    models = load_models(record["profile"], device, PRECISIONS[record["dtype"]], saving=Saving(**record["saving"]))
    if models.device.type == "cpu" and record["device"] != "cpu":
        models.dtype = torch.float32    # half precision suits graphics cards; a processor takes minutes over a step
    framing = _framing(record, models.multiple)
    fitted = framing.fitted(pictures["source"]) if fit else pictures["source"]
    prompt, style = record["prompt"], pictures.get("style")
    times = record["source"]["shape"][0] // len(fitted)
    if times < 1:
        raise ValueError(
            f"the result was made of {record['source']['shape'][0]} pictures; got {len(fitted)}: give those alone"
        )
    if style is not None and len(style) > 1:    # one for each source
        style = style.repeat_interleave(times, dim=0)
    result = stylize(
        fitted.repeat_interleave(times, dim=0),
        prompt if isinstance(prompt, str | None) else tuple(prompt),
        style=style,
        source_prompt=record["source_prompt"],
        recipe=changed(RECIPES[record["recipe"]].fitted_to(models), record["changes"], FUNCTIONS),
        models=models,
        seed=record["seed"],
    )
    return _Made(result.image, fitted, framing, result.record)


def _edited(record: Mapping[str, Any], pictures: Mapping[str, Tensor], fit: bool, device: str | torch.device) -> _Made:
    if record["method"] not in METHODS:
        raise ValueError(
            f"there is no method {record['method']!r}: take the version of zecon_lite that made the picture"
        )
    models = load_models(TINY, device)
    latent = models.latent if record["model"] == TINY else latent_named(record["model"]).to(models.device)
    framing = _framing(record, latent.multiple)
    fitted = framing.fitted(pictures["source"]) if fit else pictures["source"]
    result = edit(
        fitted,
        record["prompts"],
        record["source_prompt"],
        method=changed(METHODS[record["method"]], record["changes"], {}),
        latent=replace(latent, tiles=record["tiles"], autocast=PRECISIONS.get(record.get("autocast") or "")),
        seed=record["seed"],
        negative_prompt=record["negative_prompt"],
    )
    return _Made(result.image, fitted, framing, result.record)


_MAKERS: dict[str, Callable[..., _Made]] = {"stylize": _stylized, "edit": _edited}
