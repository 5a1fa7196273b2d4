"""Pictures that pass for a style with the bundled CLIP, and are none: what guidance itself made.

A CLIP knows the pictures it was trained on. Guidance looks for pictures anywhere, and finds some that please the CLIP
and nobody else. `python -m zecon_lite.lookalikes` restyles training scenes with the bundled networks, and
`python -m zecon_lite.tiny.train clip` then shows the results to the CLIP: whatever a caption says of a style, they are
not it. That is hard-negative mining, with one's own mistakes for negatives. They are soon learnt, and new ones wanted:
`--follow`, beside the training, guides with the CLIP as it has become.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .files import replacing
from .profiles import Models, load_models
from .progress import bar
from .state import Step
from .stylize import stylize
from .tiny import train, world
from .tiny.data import LOOKALIKES, REACH

FIRST_SEED = 300_000  # training scenes that no shard holds
KEPT = (8, 4, 1)  # the positions at which CLIP's view of a run is kept, beside the finished picture
WAYS: tuple[tuple[str, Mapping[str, float]], ...] = (("zecon", {}), ("clip_guided", {}), ("zecon", {"zecon": 0.005}))


def lookalikes(number: int, models: Models, count: int) -> np.ndarray:
    """Part `number`, of `count` scenes: what CLIP was shown while it guided, (n, 3, 64, 64) int8.

    -127 to 127 stand for -REACH to REACH.
    Prompts in the words of the captions, never a held-out pair of style and object; the recipes take turns.
    """
    draws = random.Random(number)
    first = FIRST_SEED + number * count
    scenes = world.render(range(first, first + count), size=models.size)
    prompts, kept = [], list[Tensor]()
    for object_ in scenes.object.tolist():
        styles = [name for name in world.STYLES if not world.is_held_out(name, object_)]
        prompts.append(f"a {draws.choice(world.STYLE_WORDS[draws.choice(styles)])}")

    def keep(step: Step) -> None:
        if step.i in KEPT:
            kept.append(step.shown.cpu())

    recipe, weights = WAYS[number % len(WAYS)]
    done = stylize(
        scenes.image, prompts, recipe=recipe, weights=weights, models=models, seed=number, on_step=keep
    )
    seen = torch.cat([*kept, done.image.cpu()])
    return seen.clamp(-REACH, REACH).mul(127 / REACH).round().to(torch.int8).numpy()


def follow(models: Models) -> None:
    """Give the CLIP the averaged weights of the training that runs beside; until its first checkpoint, leave it."""
    path = train.CHECKPOINTS / "clip.pt"
    if path.exists():
        models.clip.model.load_state_dict(torch.load(path, weights_only=True, map_location=models.device)["ema"])
        models.clip.to(models.device)    # which forgets the texts that it had embedded


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m zecon_lite.lookalikes", description="Restyle training scenes, for the CLIP to learn from."
    )
    parser.add_argument("--parts", type=int, default=24, help="how many (default 24)")
    parser.add_argument("--scenes", type=int, default=12, help="in each, restyled together (default 12)")
    parser.add_argument("--first", type=int, default=0, help="number of the first; a new round wants new scenes")
    parser.add_argument("--folder", type=Path, default=LOOKALIKES)
    parser.add_argument("--follow", action="store_true", help="guide with the CLIP that is being trained")
    args = parser.parse_args(argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    models = load_models("tiny")
    with bar(args.parts, "collecting lookalikes") as progress:
        for number in range(args.first, args.first + args.parts):
            path = args.folder / f"part_{number:04d}.npz"
            if not path.exists():
                if args.follow:
                    follow(models)
                images = lookalikes(number, models, args.scenes)
                with replacing(path) as partial, open(partial, "wb") as file:
                    np.savez(file, images=images)
            progress.update()


if __name__ == "__main__":
    main()
