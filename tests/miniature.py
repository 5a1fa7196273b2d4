"""The full profile with published networks in miniature: what stands where a reader of the book has gigabytes.

`python tests/miniature.py FOLDER` writes stand-ins for all that the profile `imagenet256` reads, laid out as published
but narrow, shallow and random. A notebook kernel that starts with the file `START` among IPython's startup files, with
this folder on its path and ZECON_LITE_HOME naming that folder, then loads them by the very lines that load the real
files, and reaches no network; pictures are 64 px. A file named by the variable FOUND gets the names of what was read.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import fabricate
import pytest

import zecon_lite
from zecon_lite import weights
from zecon_lite.finetune import FINETUNE
from zecon_lite.recipes import RECIPES

SIZE = 64
NAMES = ("256x256_diffusion_uncond", *fabricate.profiles._ENSEMBLE, "dino-vit-b-8", "vgg19", "arcface-ir-se50")
NO_NETWORK = Path(__file__).with_name("offline") / "profile_default/startup/00-no-network.py"
START = NO_NETWORK.read_text(encoding="utf-8") + "\nimport miniature; miniature.start()\n"


def start():
    """Shrink the published networks in this process, and trust the stand-ins in `weights.home()`.

    Recipes look at few views, never begin again, and push with a fixed strength: random networks lead nowhere, and so
    the pictures stay finite. ZeCon and training take few steps; chapter 9 counts those of DiffuseIT.
    """
    patch = pytest.MonkeyPatch()    # for as long as the process lives
    if "FOUND" in os.environ:
        patch.setattr(weights, "find", partial(_noting, weights.find, Path(os.environ["FOUND"])))
    fabricate.shrink(patch, SIZE)
    fabricate.own_hashes(patch)
    for name, recipe in RECIPES.items():
        few = {"views": replace(recipe.views, count=2), "cuts": replace(recipe.cuts, count=2), "attempts": 1}
        few |= {} if name.startswith("diffuseit") else {"steps": 10, "skip": 4}
        patch.setitem(RECIPES, name, replace(recipe, strength=1.0, **few))
    few = {"epochs": 2, "invert_steps": 3, "train_steps": 2, "test_steps": 3}
    module = sys.modules["zecon_lite.finetune"]
    for owner in (zecon_lite, module):
        patch.setattr(owner, "FINETUNE", replace(FINETUNE, **few))
    for function in (module.finetune, module.translate):    # their default is older than this
        patch.setitem(function.__kwdefaults__, "settings", module.FINETUNE)


def _noting(find, log, file, *options):
    """What `weights.find` finds; the file's name goes into a log."""
    with log.open("a") as lines:
        lines.write(f"{file.name}\n")
    return find(file, *options)


def write(folder):
    """The stand-ins, into an empty folder; the networks have been shrunk."""
    for name in NAMES:
        fabricate.fabricate(name, folder)
    fabricate.stable_diffusion(folder / "stable-diffusion-v1-5")


if __name__ == "__main__":
    fabricate.shrink(pytest.MonkeyPatch(), SIZE)
    write(Path(sys.argv[1]))
