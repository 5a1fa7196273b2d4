"""Pictures that pass for a style with the bundled CLIP, and are none: what guidance itself made.

A CLIP knows the pictures it was trained on; guidance looks for pictures anywhere, and finds some that please the CLIP
and nobody else. `python -m zecon_lite.tiny.lookalikes` restyles training scenes with the bundled networks, and
`python -m zecon_lite.tiny.train clip` then shows the results to the CLIP as negatives: whatever a caption says of a
style, they are not it. That is hard-negative mining, here of one's own mistakes. Written and read like `data`'s shards.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..files import replacing
from ..profiles import Models, load_models
from ..progress import bar
from ..state import Step
from ..stylize import stylize
from . import world

FOLDER = Path("training/lookalikes")
FIRST_SEED, SCENES = 300_000, 12  # training scenes that no shard holds; how many at once
KEPT = (8, 4, 1)  # the positions at which CLIP's view of a run is kept, beside the finished picture
REACH = 1.2  # views are mixed with noise and leave [-1, 1]
WAYS = (("zecon", {}), ("clip_guided", {}), ("zecon", {"zecon": 0.005}))  # in turn


def lookalikes(number: int, models: Models) -> np.ndarray:
    """Part `number`: (n, 3, 64, 64) int8, what CLIP was shown while it guided, -127 to 127 for -REACH to REACH.

    Prompts in the words of the captions, never a held-out pair of style and object.
    """
    draws = random.Random(number)
    first = FIRST_SEED + number * SCENES
    scenes = world.render(range(first, first + SCENES), size=models.size)
    prompts = []
    for object_ in scenes.object.tolist():
        styles = [name for name in world.STYLES if not world.is_held_out(name, object_)]
        prompts.append(f"a {draws.choice(world.STYLE_WORDS[draws.choice(styles)])}")
    recipe, weights = WAYS[number % len(WAYS)]
    kept: list[Tensor] = []

    def keep(step: Step) -> None:
        if step.i in KEPT:
            kept.append(step.shown)

    kept.append(stylize(scenes.image, prompts, recipe=recipe, weights=weights, models=models, seed=number, on_step=keep).image)
    return torch.cat(kept).clamp(-REACH, REACH).mul(127 / REACH).round().to(torch.int8).numpy()


class Lookalikes:
    """Every part found in a folder, and those that appear later. There may be none."""

    def __init__(self, folder: Path = FOLDER):
        self.folder, self.files = folder, list[Path]()
        self.images = torch.empty(0, 3, 0, 0, dtype=torch.int8)
        self.refresh()

    def refresh(self) -> None:
        """Read the parts that have appeared since."""
        new = sorted(set(self.folder.glob("part_*.npz")) - set(self.files))
        if new:
            parts = [torch.from_numpy(np.load(file)["images"]) for file in new]
            self.images = torch.cat([*([self.images] if self.files else []), *parts])
            self.files += new

    def batch(self, n: int, generator: torch.Generator) -> Tensor:
        """(n, 3, 64, 64) pictures, about [-1, 1], half of them mirrored; (0, ...) while there are none to draw from."""
        if not self.files:
            return torch.empty(0)
        images = self.images[torch.randint(len(self.images), (n,), generator=generator)].float().mul(REACH / 127)
        flip = torch.rand(n, generator=generator) < 0.5
        images[flip] = images[flip].flip(-1)
        return images


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m zecon_lite.tiny.lookalikes", description="Restyle training scenes, for the CLIP to learn from."
    )
    parser.add_argument("--parts", type=int, default=24, help=f"how many, of {SCENES} scenes each (default 24)")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    args = parser.parse_args(argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    models = load_models("tiny")
    with bar(args.parts, "collecting lookalikes") as progress:
        for number in range(args.parts):
            path = args.folder / f"part_{number:04d}.npz"
            if not path.exists():
                images = lookalikes(number, models)
                with replacing(path) as partial, open(partial, "wb") as file:
                    np.savez(file, images=images)
            progress.update()


if __name__ == "__main__":
    main()
