"""Published settings by name: a recipe with its numbers, a prompt, and the networks that they were found for.

ZeCon's weights differ from prompt to prompt, some of them tenfold. Its README prints one command and refers to Table 5
of the paper for the others; the numbers below are those that a benchmark of others (`mac-mvak/ZeCon`) carries, which
evidently typed that table. They were transcribed by a third party and not checked against the paper. Where that
source says 15 for t_0, its program leaves 15 of 50 steps out, and so do we; 15 steps taken would be `skip` 35.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .augment import Views
from .profiles import Models
from .recipes import RECIPES, Recipe
from .samplers import ddpm_step
from .ways import Finish, Overflow, colours_matched, colours_stretched, estimated, stepped

AS_TYPED = "mac-mvak/ZeCon, a third party's transcription of the paper's Table 5; not checked"
README = "the README of YSerin/ZeCon"
DIFFUSEIT = "the README of anon294384/DiffuseIT"
FACES = "anon294384/DiffuseIT, what its --use_ffhq sets; no prompt is published with it"


@dataclass(frozen=True)
class Preset:
    """Settings that somebody published. profile: the networks that they were found for; source: who says so.

        p = PRESETS["zecon-mosaic"]
        stylize(picture, p.prompt, source_prompt=p.source_prompt, recipe=p.recipe, models=load_models(p.profile))

    The bundled networks keep their own numbers (`Recipe.small`): of a preset they take the recipe and the prompts.
    """

    name: str
    recipe: Recipe
    prompt: str | None
    source_prompt: str
    profile: str
    source: str

    def fitted_to(self, models: Models) -> Recipe:
        """The recipe as these networks want it. Warns where they are not those that the numbers were found for."""
        if models.profile.name != self.profile:
            kept = "take its recipe and its prompts, and keep their own numbers" if models.profile.small else "differ"
            warnings.warn(
                f"the numbers of the preset {self.name!r} are for the networks of {self.profile!r}; those of "
                f"{models.profile.name!r} {kept}",
                UserWarning,
                stacklevel=2,
            )
        return self.recipe.fitted_to(models)


def as_released(recipe: Recipe) -> Recipe:
    """The recipe with those quirks of the released programs that are off by default, for comparing pictures.

    Fresh noise for the source in each loss; as result the estimate before the last push, where the recipe itself leads
    back by DDPM (with DDIM the push is in the released one); and colours that are stretched before and after they are
    matched. What the recipes hold already stays. Not reproduced: how views and cuts are resampled, restarts without
    limit, squashed pictures.

    >>> as_released(RECIPES["zecon"]).finish.__name__, as_released(RECIPES["diffuseit_image"]).finish.__name__
    ('estimated', 'colours_stretched')
    """
    ends: dict[Finish, Finish] = {colours_matched: colours_stretched}
    ends |= {stepped: estimated} if recipe.step is ddpm_step else {}
    changes: dict[str, Any] = {"fresh_source_noise": True, "finish": ends.get(recipe.finish, recipe.finish)}
    return replace(recipe, **changes, small={**recipe.small, **changes})


def _zecon(name: str, prompt: str, numbers: str, profile: str = "imagenet256", source: str = AS_TYPED) -> Preset:
    """numbers: clip_global_patch, clip_direction_patch, zecon, mse, vgg; the largest view's part of the area; skip."""
    *weights, largest, skip = map(float, numbers.split())
    names = ("clip_global_patch", "clip_direction_patch", "zecon", "mse", "vgg")
    recipe = RECIPES["zecon"].changed(weights=dict(zip(names, weights, strict=True)), skip=int(skip))
    recipe = replace(recipe, views=Views(count=32, area=(0.01, largest)))
    return Preset(name, recipe, prompt, "Photo", profile, source)


def _faces(name: str, prompt: str, numbers: str) -> Preset:
    return _zecon(f"zecon-face-{name}", prompt, numbers, "ffhq256_baseline")


def _diffuseit_faces(recipe: str) -> Recipe:
    """What `--use_ffhq` changes: people stay who they are, and estimates may overflow ten times as much."""
    return replace(RECIPES[recipe].changed(weights={"identity": 100}), restart_when=Overflow(5e-4))


PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        _zecon("zecon-crayon", "a sketch with crayon", "10000 20000 500 5000 100 .3 25", source=README),
        _zecon("zecon-mosaic", "mosaic", "20000 20000 500 1000 100 .3 25"),
        _zecon("zecon-golden", "golden", "5000 5000 100 5000 10 .05 15"),
        _zecon("zecon-watercolor", "watercolor art", "5000 10000 300 0 100 .3 25"),
        _zecon("zecon-stained-glass", "stained glasses", "15000 15000 200 1000 10 .05 25"),
        _zecon("zecon-oil-flowers", "oil painting of flowers", "20000 20000 1500 10000 10 .05 25"),
        _zecon("zecon-red-bricks", "red bricks", "20000 40000 1000 1000 10 .05 25"),
        _zecon("zecon-wooden", "wooden", "20000 50000 1000 1000 10 .05 25"),
        _zecon("zecon-leather", "leather", "20000 30000 2000 20000 200 .3 25"),
        _zecon("zecon-marbling", "marbling", "20000 30000 2000 20000 200 .3 25"),
        _zecon("zecon-autumn", "autumn", "20000 20000 700 10000 100 .05 25"),
        _zecon("zecon-snow", "snow", "20000 20000 700 10000 100 .05 25"),
        _faces("pop-art", "pop art", "10000 20000 50 1000 50 .3 25"),
        _faces("stone-wall", "stone wall", "2000 50000 500 5000 10 .1 25"),
        _faces("tanned", "tanned face", "15000 15000 1000 10000 100 .3 25"),
        _faces("clay", "clay", "40000 40000 1000 10000 0 .05 25"),
        _faces("gogh", "portrait by Gogh", "10000 7000 10 3000 50 .3 25"),
        _faces("crayon", "a sketch with crayon", "10000 20000 500 10000 100 .3 25"),
        _faces("pixar", "3d render in the style of Pixar", "5000 5000 500 10000 100 .3 25"),
        _faces("golden", "golden", "7000 7000 200 0 50 .05 15"),
        _faces("ukiyo-e", "ukiyo-e", "8000 20000 1000 5000 100 .3 25"),
        _faces("marbling", "marbling", "20000 40000 1000 10000 10 .3 25"),
        Preset("diffuseit-text", RECIPES["diffuseit_text"], "Black Leopard", "Lion", "imagenet256", DIFFUSEIT),
        Preset("diffuseit-image", RECIPES["diffuseit_image"], None, "photo", "imagenet256", DIFFUSEIT),
        Preset("diffuseit-face-text", _diffuseit_faces("diffuseit_text"), None, "photo", "ffhq256", FACES),
        Preset("diffuseit-face-image", _diffuseit_faces("diffuseit_image"), None, "photo", "ffhq256", FACES),
    )
}
"""name -> preset. DiffuseIT's two commands are its two recipes with the prompts of the README; the style picture of
the second is yours, and so are pictures and prompts for faces."""
