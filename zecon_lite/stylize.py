"""The front door: a picture and a prompt go in, the restyled picture comes out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import images, ways
from .memory import Memory
from .profiles import Models, load_models, pick, warn_of_overruled
from .progress import bar
from .provenance import KEY, check_count, check_seed, fingerprint, hash_of, machine, settings_of, telling
from .recipes import RECIPES, Recipe, Task, check, warn
from .samplers import ddim_step, ddpm_step, sample
from .state import Step

_STARTS = (ways.noised, ways.inverted, ways.inverted_as_noise, ways.inverted_as_released)
_ENDS = (ways.stepped, ways.estimated, ways.colours_matched, ways.colours_stretched)
FUNCTIONS = {function.__name__: function for function in (*_STARTS, ddpm_step, ddim_step, *_ENDS)}
"""What recipes choose from, by the names under which results write them down."""


@dataclass(frozen=True)
class Result:
    """A restyled picture and how it came about. image: (B, 3, H, W) in [-1, 1]. record: what `rerun` needs to know.

    memory: what the networks take, and the most that was held at once.
    """

    image: Tensor
    steps: tuple[Step, ...]
    recipe: Recipe
    seed: int
    task: Task
    profile: str
    record: Mapping[str, object] = field(default_factory=dict)
    memory: Memory | None = None

    def metadata(self) -> dict[str, str]:
        """Everything needed to make the picture again, as text."""
        from . import __version__

        prompt = self.task.prompt if isinstance(self.task.prompt, str | None) else " | ".join(self.task.prompt)
        known = {
            "software": f"zecon_lite {__version__}",
            "recipe": self.recipe.name,
            "paper": self.recipe.paper,
            "profile": self.profile,
            "prompt": prompt or "",
            "source_prompt": self.task.source_prompt,
            "seed": str(self.seed),
            "weights": " ".join(f"{name}={told}" for name, told in self.recipe.told.items()),
            "steps": str(self.recipe.steps),
            "skip": str(self.recipe.skip),
            "batch": str(len(self.image)),
            "strength": "none" if self.recipe.strength is None else f"{self.recipe.strength:g}",
            "returns": str(self.recipe.returns),
        }
        return {**known, **({KEY: json.dumps(self.record)} if self.record else {})}

    def save(self, path: str | Path) -> list[Path]:
        """Write each picture of the batch with its settings in the file's metadata; returns the paths.

        One picture gets the path itself, several get _0, _1, ... before the suffix.
        """
        path = Path(path)
        if len(self.image) == 1:
            return [images.save(self.image, path, telling(self.metadata(), self.image))]
        return [
            images.save(
                picture, path.with_stem(f"{path.stem}_{k}"), telling({**self.metadata(), "number": str(k)}, picture)
            )
            for k, picture in enumerate(self.image)
        ]


def stylize(
    source: Tensor,
    prompt: str | Sequence[str] | None = None,
    *,
    style: Tensor | None = None,
    source_prompt: str = "photo",
    recipe: str | Recipe = "zecon",
    models: Models | None = None,
    seed: int = 0,
    batch: int = 1,
    on_step: Callable[[Step], None] | None = None,
    weights: Mapping[str, float] | None = None,
    steps: int | None = None,
    skip: int | None = None,
    strength: float | None = None,
    returns: int | None = None,
) -> Result:
    """The source restyled by a recipe.

    source: (B, 3, H, W) in [-1, 1], sides multiples of `models.multiple` (see `images.load` and `images.fit`). The
    UNet and VGG work on its own shape; CLIP is shown square views, the ViT the whole resized to a square.
    prompt: what it should look like, one for all or one per picture. source_prompt: what it looks like now.
    style: a picture to take the style from, for recipes that read one, or one per source; (1 or B, 3, h, w) in [-1, 1]
    of any size: its centre is fitted to the source. batch: how often each source is restyled. on_step: called with
    every `Step`; raise in it to stop early. weights, steps, skip, strength, returns: changes to the recipe (see
    `Recipe.changed`). The same seed gives the same picture; with another batch size it may differ.
    recipe: a name or a `Recipe` of your own. With the bundled networks a recipe's `small` has its way: start from
    `RECIPES[...].fitted_to(models)` to have yours.
    Raises ValueError for a bad picture, recipe, weight, prompt or seed, FloatingPointError when a loss stops being
    finite, MemoryError, saying what would need less, when there is not enough memory.
    """
    models = models or load_models()
    seed = check_seed(seed)
    recipe = _recipe(recipe, models).changed(
        weights=weights, steps=steps, skip=skip, strength=strength, returns=returns
    )
    images.check(source, "source")
    check_count("batch", batch)
    # A page that calls this may be in inference mode, where nothing has a gradient.
    with torch.inference_mode(False), models.at_work((len(source) * batch, *source.shape[1:])):
        task = _task(source, prompt, source_prompt, style, batch, models)
        check(recipe, task)
        warn(recipe, task)
        done = _walk(recipe, task, models, torch.Generator().manual_seed(seed), on_step)
        record = _record(recipe, task, models, seed)
    last = done[-1].to(models.device)
    image = recipe.finish(last, task.style).clamp(-1, 1) if torch.isfinite(last.x0).all() else last.x0
    if not torch.isfinite(image).all():
        raise FloatingPointError("the picture is not finite: lower the weights or the strength, or use more steps")
    return Result(image, done, recipe, seed, task, models.profile.name, record=record, memory=models.memory())


def _record(recipe: Recipe, task: Task, models: Models, seed: int) -> dict[str, object]:
    """What `rerun` needs to make the pictures again, as JSON can hold it."""
    known = RECIPES.get(recipe.name)
    return {
        "by": "stylize",
        "recipe": recipe.name,
        **settings_of(recipe, known and known.fitted_to(models), FUNCTIONS),
        "prompt": task.prompt,
        "source_prompt": task.source_prompt,
        "seed": seed,
        "source": {"shape": task.source.shape, "sha256": hash_of(task.source)},
        "style": None if task.style is None else hash_of(task.style),
        "profile": models.profile.name,
        "dtype": str(models.dtype).removeprefix("torch."),
        "saving": asdict(models.saving),
        "networks": {name: fingerprint(network) for name, network in models.loaded.items()},
        **machine(models.device),
    }


def _walk(
    recipe: Recipe, task: Task, models: Models, generator: torch.Generator, on_step: Callable[[Step], None] | None
) -> tuple[Step, ...]:
    """The steps of the run that was kept; where the recipe says so it begins again, a limited number of times."""
    denoiser = models.denoiser.respace(recipe.steps)
    guidance = recipe.guidance(task, models, denoiser, generator)
    parts: dict[str, Any] = {"guidance": guidance, "source": task.source, "step": recipe.step, "climb": recipe.climb}
    parts |= {"guided": recipe.guided, "generator": generator}
    plan, last = recipe.positions, None
    with bar(len(plan), recipe.name if task.prompt is None else f"{recipe.name}: {task.prompt}") as progress:
        for left in range(recipe.attempts - 1, -1, -1):
            done = []
            with torch.no_grad():
                x = recipe.forward(denoiser, task.source, plan[0], generator)
            # After a failed attempt the first step is compared with its last one, as in the released code.
            for step in sample(denoiser, x, plan, **parts, previous=last):
                done.append(step.to("cpu") if models.saving.offload else step)
                progress.update()
                if on_step is not None:
                    on_step(step)
                if left and recipe.restarts(step):
                    break
            else:
                break
            last = step
            progress.reset()
    return tuple(done)


def _recipe(recipe: str | Recipe, models: Models) -> Recipe:
    recipe = pick("recipe", recipe, RECIPES) if isinstance(recipe, str) else recipe
    by_small = (known for known in RECIPES.values() if known.small is recipe.small)    # renamed, but one of ours
    own = RECIPES.get(recipe.name) or next(by_small, recipe)
    warn_of_overruled(recipe, own, models, "recipe says", f"RECIPES[{own.name!r}]")
    return recipe.fitted_to(models)


def _task(
    source: Tensor,
    prompt: str | Sequence[str] | None,
    source_prompt: str,
    style: Tensor | None,
    batch: int,
    models: Models,
) -> Task:
    images.check_sides(source, models.multiple)
    texts = [prompt] if isinstance(prompt, str) else [] if prompt is None else prompt
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f'prompt must be a text such as "a pencil sketch", or one for each picture; got {prompt!r}')
    if any(not text.strip() for text in texts):
        raise ValueError('the prompt is empty: say what the picture should look like, such as "a pencil sketch"')
    if len(texts) > 1 and len(texts) != len(source):
        raise ValueError(f"give one prompt, or one per picture: {len(texts)} prompts for {len(source)} pictures")
    repeated = tuple(text for text in texts for _ in range(batch)) if len(texts) > 1 else (texts[0] if texts else None)
    if style is not None:
        style = _fitted(style, source).to(models.device, torch.float32)
        style = style if len(style) == 1 else style.repeat_interleave(batch, dim=0)
    source = source.to(models.device, torch.float32).repeat_interleave(batch, dim=0)
    return Task(source, repeated, source_prompt, style)


def _fitted(style: Tensor, source: Tensor) -> Tensor:
    """The style picture's centre at the source's size."""
    images.check(style, "style")
    if len(style) not in (1, len(source)):
        raise ValueError(
            f"give one style picture, or one per source: {len(style)} style pictures for {len(source)} pictures"
        )
    return images.cover(style, *source.shape[-2:])
