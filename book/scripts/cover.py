"""Draws the picture of the README: python book/scripts/cover.py writes book/assets/stylized.png.

Each row is a photograph or a held-out scene, restyled by the `zecon` recipe with the bundled networks at seed 0. The
prompts are chosen for variety; the settings are the recipe's own.
"""

from __future__ import annotations

from pathlib import Path

import torch

from zecon_lite import images, load_models, stylize
from zecon_lite.tiny import world

PROMPTS = ["a pencil sketch", "stained glass", "a woodcut", "a mosaic", "a crayon drawing", "a comic book"]
SCALE, GAP = 3, 2


def main() -> None:
    models = load_models("tiny", device="cpu")
    photographs = [
        images.fit(images.photograph(name), models.size, "crop", models.multiple)
        for name in ("cat", "coffee", "astronaut")
    ]
    rows = [*photographs, world.render(world.held_out_seeds(1, start=103), size=models.size).image]
    columns = [torch.cat(rows)]
    columns += [stylize(columns[0], prompt, models=models, seed=0).image for prompt in PROMPTS]
    picture = torch.cat([_row([c[k : k + 1] for c in columns]) for k in range(len(rows))], dim=2)
    picture = picture.repeat_interleave(SCALE, 2).repeat_interleave(SCALE, 3)
    images.save(picture, Path(__file__).parents[1] / "assets" / "stylized.png", {"prompts": " | ".join(PROMPTS)})


def _row(pictures: list[torch.Tensor]) -> torch.Tensor:
    row = images.side_by_side(pictures, GAP)
    return torch.cat([row, torch.ones_like(row[..., :GAP, :])], dim=2)


if __name__ == "__main__":
    main()
