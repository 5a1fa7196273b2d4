"""What the panel is set to, as a value that needs no controls: the run it stands for, and that run as code."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from .. import images
from ..profiles import PROFILES, Models, load_models
from ..recipes import RECIPES, Recipe
from ..state import Step
from ..stylize import Result, stylize

SAVED = "restyled.png"    # what the code calls its result


@dataclass(frozen=True)
class Picture:
    """A picture, (1, 3, h, w) in [-1, 1], and how code gets it.

    python: an expression. file: its name at the command line; None where there is no file. first: the command that
    makes the file, where it must be made. given: whether it came from Python, and is taken as it is.
    """

    image: Tensor
    python: str
    file: str | None = None
    first: str | None = None
    given: bool = False

    @classmethod
    def bundled(cls, name: str) -> Picture:
        """One of `images.PHOTOGRAPHS`."""
        file = f"{name}.png"
        program = f'from zecon_lite import images; images.save(images.photograph("{name}"), "{file}")'
        command = shlex.join(["python", "-c", program])
        return cls(images.photograph(name), f'images.photograph("{name}")', file, command)

    @classmethod
    def uploaded(cls, name: str, content: bytes) -> Picture:
        """The content of a file. Raises ValueError as `images.load` does, naming the file as the reader knows it."""
        name = Path(name).name
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name)
            path.write_bytes(content)
            try:
                return cls(images.load(path), f"images.load({_quoted(name)})", name)
            except ValueError as error:
                raise ValueError(str(error).replace(str(path), name)) from error

    @classmethod
    def from_python(cls, image: Tensor, variable: str) -> Picture:
        """A picture that is called `variable` there. Raises ValueError as `images.check` does, and for a batch."""
        if len(images.check(image, variable)) != 1:
            raise ValueError(
                f"the panel works on one {variable}, (1, 3, H, W); got {tuple(image.shape)}: take {variable}[:1]"
            )
        return cls(image, variable, given=True)

    def fitted(self, models: Models) -> Tensor:
        """The picture at a size that these networks take."""
        return self.image if self.given else images.fit(self.image, models.size, multiple=models.multiple)


@dataclass(frozen=True)
class Settings:
    """A run that could be made. recipe: as it came; prompt, style: None where it reads none.

    weights: of those losses that have a number for one; other weights stay as the recipe has them.
    """

    models: Models
    source: Picture
    recipe: Recipe
    weights: Mapping[str, float]
    steps: int
    skip: int
    strength: float | None = None
    prompt: str | None = None
    source_prompt: str = "photo"
    style: Picture | None = None
    seed: int = 0

    def run(self, on_step: Callable[[Step], None] | None = None) -> Result:
        """Make the picture. Raises as `stylize` does."""
        return stylize(
            self.source.fitted(self.models),
            self.prompt,
            style=None if self.style is None else self.style.image,
            source_prompt=self.source_prompt,
            recipe=self.recipe,
            models=self.models,
            seed=self.seed,
            on_step=on_step,
            weights=self.weights,
            steps=self.steps,
            skip=self.skip,
            strength=self.strength,
        )

    @property
    def chosen(self) -> Recipe:
        """The recipe with its numbers as they are set. Raises ValueError as `Recipe` does."""
        own = self.recipe.fitted_to(self.models)
        return own.changed(weights=self.weights, steps=self.steps, skip=self.skip, strength=self.strength)

    @property
    def changed_weights(self) -> dict[str, float]:
        """The weights that are not the recipe's own."""
        own = self.recipe.fitted_to(self.models).weights
        return {name: weight for name, weight in self.weights.items() if weight != own[name]}

    @property
    def changed_numbers(self) -> dict[str, float]:
        """The other numbers that are not the recipe's own; steps and skip go together."""
        own = self.recipe.fitted_to(self.models)
        same = (self.steps, self.skip) == (own.steps, own.skip)
        found: dict[str, float] = {} if same else {"steps": self.steps, "skip": self.skip}
        if self.strength is not None and self.strength != own.strength:
            found["strength"] = self.strength
        return found

    # ------------------------------------------------------------------------------------------------------- as code

    def python(self) -> str:
        """The run as a program; what came from Python keeps its name there."""
        given = list(self._given())
        lines = [f"# {' and '.join(given)}: as given to the panel"] if given else []
        fetches = not all(picture.given for picture in self._pictures)
        names = ["images"] * fetches + ["load_models"] * ("models" not in given) + ["stylize"]
        lines += [f"from zecon_lite import {', '.join(names)}", ""]
        if "models" not in given:
            lines.append(f'models = load_models("{self.models.profile.name}", device="{self.models.device}")')
        if "source" not in given:
            lines.append(f"source = images.fit({self.source.python}, models.size, multiple=models.multiple)")
        lines += ["result = stylize(", *(f"    {argument}," for argument in self._arguments()), ")"]
        return "\n".join([*lines, f'result.save("{SAVED}")'])

    def command(self) -> str:
        """The run at the command line; where there is none, a comment that says why."""
        given = list(self._given())
        if given:
            return f"# {' and '.join(given)} came from Python: take the Python code"
        words = ["zecon-lite", "stylize", str(self.source.file), *([] if self.prompt is None else [self.prompt])]
        options = [("recipe", self.recipe.name), ("seed", self.seed)]
        options += [("style", self.style.file)] if self.style is not None else []
        options += [("source-prompt", self.source_prompt)] if self.source_prompt != "photo" else []
        options += [("weight", f"{name}={_number(w)}") for name, w in self.changed_weights.items()]
        options += [(name, _number(value)) for name, value in self.changed_numbers.items()]
        options += [("profile", self.models.profile.name), ("device", self.models.device), ("output", SAVED)]
        words += [word for name, value in options for word in (f"--{name}", str(value))]
        return "\n".join([*dict.fromkeys(p.first for p in self._pictures if p.first), shlex.join(words)])

    @property
    def _pictures(self) -> list[Picture]:
        return [self.source] if self.style is None else [self.source, self.style]

    def _given(self) -> Iterator[str]:
        """The names of what no code can fetch, because it came from Python."""
        if self.source.given:
            yield "source"
        if self.style is not None and self.style.given:
            yield "style"
        if RECIPES.get(self.recipe.name) is not self.recipe:
            yield self._recipe
        if not _is_stock(self.models):
            yield "models"

    @property
    def _recipe(self) -> str:
        """What code calls a recipe of the reader's own: by its name, if that can be one in Python."""
        return self.recipe.name if self.recipe.name.isidentifier() else "recipe"

    def _arguments(self) -> Iterator[str]:
        yield "source"
        if self.prompt is not None:
            yield _quoted(self.prompt)
        if self.style is not None:
            yield f"style={self.style.python}"
        if self.source_prompt != "photo":
            yield f"source_prompt={_quoted(self.source_prompt)}"
        own = RECIPES.get(self.recipe.name) is self.recipe
        yield f"recipe={_quoted(self.recipe.name) if own else self._recipe}"
        yield "models=models"
        yield f"seed={self.seed}"
        if self.changed_weights:
            weights = (f"{_quoted(name)}: {_number(weight)}" for name, weight in self.changed_weights.items())
            yield f"weights={{{', '.join(weights)}}}"
        for name, value in self.changed_numbers.items():
            yield f"{name}={_number(value)}"


def _is_stock(models: Models) -> bool:
    """Whether `load_models` would give these networks by the name of their profile and the device alone."""
    if PROFILES.get(models.profile.name) is not models.profile:
        return False
    stock = load_models(models.profile.name, models.device)
    return (stock.dtype, stock.saving) == (models.dtype, models.saving)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _number(value: float) -> str:
    """A number as code writes it, every digit kept."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))
