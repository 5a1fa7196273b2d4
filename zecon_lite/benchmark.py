"""The style world as a benchmark: what is asked of a method, and what may answer.

Every held-out scene exists in every style, and the mask of its object is known, so an answer can be held against the
truth. What answers is a `Row`: the untouched source, the truth itself, a recipe, or any function of (source, prompts,
seed): pictures (B, 3, H, W) in [-1, 1], one prompt for each, an integer; it returns pictures of the same shape and
range. So methods that know nothing of this package can be scored too.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import images, metrics
from .adapters import Adapter, tuned
from .distill import edit
from .finetune import FINETUNE, journeys_of, translate
from .latents import digest
from .profiles import PROFILES, Models, nearest, pick
from .recipes import RECIPES, Recipe
from .scores import METHODS
from .stylize import stylize
from .terms import LOSSES
from .tiny import world
from .tiny.networks import SIZE

Restyle = Callable[[Tensor, Sequence[str], int], Tensor]

FIRST_SCENE = 2000  # where the evaluation's held-out scenes begin; training's own scores use those from 0
_UNCOUNTED = ("glass", "pointillism", "neon", "pixel")  # styles whose words take no article
PROMPTS = {
    style: words[0] if style in _UNCOUNTED else f"{'an' if words[0][0] in 'aeiou' else 'a'} {words[0]}"
    for style, words in world.STYLE_WORDS.items()
    if style != "photo"
}
"""What a method is asked for: "a pencil sketch", "an oil painting", "stained glass", ..., one for each style."""

# What surely makes no picture: everything else of the package counts when stored pictures are looked up.
_BESIDE = (
    "cli/", "exercises/", "widgets/", "show.py", "progress.py", "metrics.py", "cost.py", "evaluate.py", "lookalikes.py",
    "tiny/train", "tiny/data",
)
_JUDGES = ("tiny/judges.py", *(f"tiny/weights/{name}." for name in (*metrics.JUDGES, "segmenter")))


# ------------------------------------------------------------------------------------------------------ what is asked


@dataclass(frozen=True)
class Pictures:
    """Scenes and what they should become. source, truth: (n, 3, H, W) in [-1, 1]; mask: (n, 1, H, W) in [0, 1].

    object: (n,) positions in `world.OBJECTS`; scene: (n,) the seed each was rendered from; styles: n names. example:
    (n, 3, H, W), another scene in the wanted style, for methods that take the style from a picture. Of photographs,
    `scene` is a number, and mask and object are None: nobody knows them.
    """

    source: Tensor
    truth: Tensor
    example: Tensor
    mask: Tensor | None
    object: Tensor | None
    scene: Tensor
    styles: tuple[str, ...]

    @property
    def prompts(self) -> list[str]:
        """One prompt for each picture."""
        return [PROMPTS[style] for style in self.styles]

    def part(self, at: slice) -> Pictures:
        """Some of them."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        some: dict[str, Any] = {name: value if value is None else value[at] for name, value in values}
        return Pictures(**some)


@dataclass(frozen=True)
class Benchmark:
    """Which scenes, in which styles, how often: every scene in every style, once for each seed.

    size: side in pixels. batch: pictures at once; without it 12 at 64 px and as many pixels at other sizes.
    Raises ValueError for an unknown style and for numbers below 1.
    """

    scenes: int = 20
    styles: tuple[str, ...] = tuple(world.STYLES)
    seeds: int = 3
    size: int = SIZE
    batch: int | None = None
    start: int = FIRST_SCENE

    def __post_init__(self) -> None:
        for style in self.styles:
            pick("style", style, world.STYLES)
        for name in ("scenes", "seeds", "size", "batch"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        if twice := [style for style in dict.fromkeys(self.styles) if self.styles.count(style) > 1]:
            raise ValueError(f"{', '.join(twice)} is named more than once: each style counts once")
        if not self.styles:
            raise ValueError(f"name at least one style; there are {', '.join(world.STYLES)}")

    @cached_property
    def pictures(self) -> Pictures:
        """The n = scenes x styles pictures asked for, styles running fastest."""
        scenes = world.render(world.held_out_seeds(self.scenes, start=self.start), size=self.size)
        return self._asked(scenes.image, scenes.mask, scenes.object, scenes.seeds)

    @property
    def parts(self) -> list[slice]:
        """The pictures in portions that are made at once."""
        batch, n = self.batch or max(1, 12 * SIZE**2 // self.size**2), self.scenes * len(self.styles)
        return [slice(k, min(k + batch, n)) for k in range(0, n, batch)]

    def _asked(self, image: Tensor, mask: Tensor | None, object: Tensor | None, seeds: Tensor) -> Pictures:
        """Every picture in every style, with what is known of it."""
        each = torch.arange(len(image)).repeat_interleave(len(self.styles))
        source, styles = image[each], self.styles * len(image)
        mask, object = (value if value is None else value[each] for value in (mask, object))
        seeds = seeds[each]
        other = world.render(world.held_out_seeds(1, start=self.start - 1), size=self.size)
        example = _styled(other.image.expand_as(source), styles, other.seeds.expand_as(seeds))
        return Pictures(source, _styled(source, styles, seeds), example, mask, object, seeds, styles)


@dataclass(frozen=True)
class Photographs(Benchmark):
    """The same of real photographs, those of `images.PHOTOGRAPHS` in their order, cropped to squares.

    Their truth is what the style world's filters make of them. Raises ValueError for more photographs than there are.
    """

    scenes: int = len(images.PHOTOGRAPHS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scenes > len(images.PHOTOGRAPHS):
            raise ValueError(f"there are {len(images.PHOTOGRAPHS)} photographs; got {self.scenes}")

    @cached_property
    def pictures(self) -> Pictures:
        """The n = photographs x styles pictures asked for, styles running fastest."""
        names = list(images.PHOTOGRAPHS)[: self.scenes]
        squares = torch.cat([images.fit(images.photograph(name), self.size, mode="crop") for name in names])
        return self._asked(squares, None, None, torch.arange(len(names)))


def _styled(source: Tensor, styles: Sequence[str], seeds: Tensor) -> Tensor:
    """Each picture truly redrawn in its style, its pattern placed by its seed."""
    done = torch.empty_like(source)
    for style, which in _by_style(styles):
        done[which] = world.apply_style(style, source[which], seeds[which])
    return done


def _by_style(styles: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
    """Each style that occurs, and where."""
    for style in dict.fromkeys(styles):
        yield style, torch.tensor([k for k, name in enumerate(styles) if name == style])


# -------------------------------------------------------------------------------------------------------------- rows


@dataclass(frozen=True)
class Row:
    """Something to be scored. make: (pictures asked for, seed) -> (B, 3, H, W) in [-1, 1], on any device.

    settings: all that its pictures depend on, as text. Stored pictures are looked up by it; empty: never stored.
    loss, weight: the point on a curve, for rows that are one.
    """

    make: Callable[[Pictures, int], Tensor]
    settings: str = ""
    loss: str | None = None
    weight: float | None = None


SOURCE = Row(lambda asked, seed: asked.source)
"""The lower bound of style: the picture untouched."""
TRUTH = Row(lambda asked, seed: _styled(asked.source, asked.styles, asked.scene + 1_000_003 * (seed + 1)))
"""The upper bound: the scene truly redrawn, its pattern placed anew."""


def of_recipe(recipe: str | Recipe, models: Models, loss: str | None = None, weight: float | None = None) -> Row:
    """A recipe as a row, given the prompt or the example as it reads them; with `loss`, that loss gets another weight.

    Raises ValueError for a recipe or a loss that there is not.
    """
    recipe = (pick("recipe", recipe, RECIPES) if isinstance(recipe, str) else recipe).fitted_to(models)
    if loss is not None and weight is not None:
        recipe = recipe.changed(weights={loss: weight})

    def make(asked: Pictures, seed: int) -> Tensor:
        prompts = asked.prompts if "prompt" in recipe.reads else None
        style = asked.example if "style" in recipe.reads else None
        return stylize(asked.source, prompts, style=style, recipe=recipe, models=models, seed=seed).image

    values = {field.name: getattr(recipe, field.name) for field in fields(recipe) if field.name != "paper"}
    for name in ("weights", "course"):
        values[name] = {k: getattr(v, "__qualname__", v) for k, v in values[name].items()}
    told = ", ".join(f"{k}={getattr(v, '__qualname__', v)}" for k, v in values.items())
    told = f"{told}; profile={models.profile.name}, dtype={models.dtype}, {_made_by(models)}"
    # Two functions of somebody's own may have one name: what they make is not stored.
    parts = [*values.values(), *recipe.weights.values(), *recipe.course.values(), *map(LOSSES.get, recipe.weights)]
    # Nor what changed networks make that still go by the name of ours.
    named = PROFILES.get(models.profile.name, models.profile) is models.profile
    return Row(make, told if named and all(map(_is_told, parts)) else "", loss, weight)


def _is_told(value: object) -> bool:
    """Whether a setting's name says all: of a function, if the package defines it, or another module at its top."""
    home = getattr(value, "__module__", "").split(".")[0]
    named = home != "__main__" and "<" not in getattr(value, "__qualname__", "")
    return not callable(value) or home == __package__ or named


def of_edit(method: str, models: Models) -> Row:
    """A way to edit with scores as gradients (see `distill.edit`), from "photo" to the prompt, as a row.

    Raises ValueError for a method that there is not, FileNotFoundError where no latent model is.
    """
    chosen = pick("method", method, METHODS)
    latent = models.latent

    def make(asked: Pictures, seed: int) -> Tensor:
        done = torch.empty_like(asked.source)
        for style, which in _by_style(asked.styles):
            found = edit(asked.source[which], PROMPTS[style], "photo", method=method, latent=latent, seed=seed)
            done[which] = found.image.to(done)
        return done

    told = re.sub(r"<function (\w+) at 0x[0-9a-f]+>", r"\1", str(chosen))    # addresses differ from process to process
    told += f"; latent={latent.name}, {_made_by(models)}, autocast {latent.autocast}, tiles {latent.tiles}"
    return Row(make, told)


def of_adapters(adapters: Sequence[Adapter], models: Models) -> Row:
    """DiffusionCLIP as a row: the pictures of each style by the adapter that was trained for its prompt.

    Raises ValueError for two adapters of one prompt; making pictures does for a style whose prompt no adapter was
    trained for.
    """
    known = {adapter.about.get("prompt"): adapter for adapter in adapters}
    if len(known) < len(adapters):
        raise ValueError("two adapters were trained for the same prompt: give one for each style")

    def make(asked: Pictures, seed: int) -> Tensor:
        done = torch.empty_like(asked.source)
        for style, which in _by_style(asked.styles):
            if PROMPTS[style] not in known:
                raise ValueError(
                    f"no adapter was trained for {PROMPTS[style]!r}, only for {', '.join(map(repr, known))}: train one "
                    "with `zecon-lite finetune`, or leave the style out"
                )
            adapter = known[PROMPTS[style]]
            pupil, settings = tuned(models.denoiser, [adapter]), journeys_of([adapter], FINETUNE.fitted_to(models))
            done[which] = translate(asked.source[which], pupil, models=models, settings=settings).to(done)
        return done

    learnt = [
        (sorted(adapter.about.items()), digest(*(part for pair in sorted(adapter.tensors.items()) for part in pair)))
        for adapter in adapters
    ]
    return Row(make, f"{sorted(learnt)}; {_made_by(models)}")


def of_function(function: Restyle, name: str = "the method", settings: str = "") -> Row:
    """Any function of (source, prompts, seed) as a row.

    Raises ValueError when it cannot be called so, or returns anything but finite pictures of the source's shape in
    [-1, 1].
    """
    if not callable(function):
        raise ValueError(f"{name} must be a function of (source, prompts, seed); got {function!r}")
    wanted = "a method is called as f(source, prompts, seed)"
    try:
        takes = signature(function)
    except ValueError as error:    # written in C
        raise ValueError(f"{name} does not say what it takes: wrap it in a function of your own; {wanted}") from error
    try:
        takes.bind(None, None, 0)
    except TypeError as error:
        raise ValueError(f"{name} takes {takes}; {wanted}: {error}") from error

    def make(asked: Pictures, seed: int) -> Tensor:
        try:
            pictures = function(asked.source.clone(), asked.prompts, seed)
        except (ValueError, OSError) as error:    # not a sentence of ours: its traceback says where
            raise RuntimeError(f"{name} failed on {len(asked.prompts)} pictures with the seed {seed}") from error
        return _checked(pictures, asked, name)

    return Row(make, settings)


def of_method(spec: str) -> Row:
    """The function "package.module:function", looked for in the current folder too, as a row.

    Its stored pictures are looked up by the module's own file: after a change elsewhere, name another cache folder.
    Raises ValueError, saying what is missing, when there is no such module or function, and as `of_function` does.
    """
    module_name, _, function_name = spec.partition(":")
    if not module_name or not function_name:
        raise ValueError(f"a method must be package.module:function, as in my_method:restyle; got {spec!r}")
    if not _importable(module_name):
        raise ValueError(
            f"there is no module {module_name!r} here: run in its folder, or install it, and give its name as Python "
            "imports it, such as my_method:restyle"
        )
    try:
        module = import_module(module_name)
    except Exception as error:    # whatever a module of somebody's raises, a syntax error included
        kind = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
        raise ValueError(f"the module {module_name!r} cannot be imported: {kind}{error}") from error
    if not hasattr(module, function_name):
        raise ValueError(f"the module {module_name!r} has no {function_name!r}; {nearest(function_name, vars(module))}")
    source = getattr(module, "__file__", None)
    digest = hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""
    return of_function(getattr(module, function_name), spec, f"{spec} {digest}")


def _importable(module: str) -> bool:
    """Whether there is such a module, the current folder included (a console script does not look there by itself)."""
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _checked(made: Tensor, asked: Pictures, name: str) -> Tensor:
    """What a method returned, if it is what was asked for."""
    wanted = f"{name} must return pictures {tuple(asked.source.shape)} in [-1, 1]"
    if not isinstance(made, Tensor):
        raise ValueError(f"{wanted}; got {type(made).__name__}: make it a torch tensor")
    if made.shape != asked.source.shape:
        raise ValueError(f"{wanted}; got the shape {tuple(made.shape)}: one picture for each prompt, of the same size")
    made = made.detach().float()
    if not torch.isfinite(made).all():
        raise ValueError(f"{wanted}; got NaN or infinity: look at the step that made it")
    if made.abs().max() > 1.001:
        raise ValueError(f"{wanted}; got [{made.min():.3g}, {made.max():.3g}]: scale it, or clamp it to the range")
    return made


def _made_by(models: Models) -> str:
    """What a picture, and its seconds, depend on besides its settings: code and weights, device and precision."""
    return f"package {_fingerprint()} on {models.device.type} in {models.dtype}"


def _fingerprint() -> str:
    """A hash of the code and weights that make pictures, so that no stored picture outlives a change of them."""
    package, digest = Path(__file__).parent, hashlib.sha256()
    for path in sorted(p for p in package.rglob("*") if p.suffix in (".py", ".safetensors", ".json")):
        name = path.relative_to(package).as_posix()
        if not name.startswith(_BESIDE + _JUDGES):
            digest.update(name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
