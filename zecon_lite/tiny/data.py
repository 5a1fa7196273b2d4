"""Training pictures of the style world, rendered once into shards on disk.

`python -m zecon_lite.tiny.data` renders; training reads whatever shards are there, so both can run side by side. A
shard is one .npz file of uint8 pictures with labels; it is written whole or not at all, and a shard that exists is
not rendered again, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..files import replacing
from ..progress import bar
from . import world
from .networks import SIZE

FOLDER, LOOKALIKES = Path("training/style_world"), Path("training/lookalikes")
REACH = 1.2  # lookalikes are seen as guidance showed them, mixed with noise, and leave [-1, 1]
SCENES_PER_SHARD = 400
STYLED_PER_SCENE = 2  # each scene once as a photo and in this many styles
PHOTO_CROPS_PER_SHARD = 16  # so that real photographs are not wholly foreign; labels: style only
# scikit-image's pictures that no chapter shows: the four it does show are never trained on.
TRAINING_PHOTOGRAPHS = ("motorcycle_left.png", "motorcycle_right.png", "hubble_deep_field.jpg", "retina.jpg", "ihc.png")
UNNAMED = -1  # the object and background of a photograph's crop


def shard(number: int) -> dict[str, np.ndarray]:
    """Shard `number`: images (n, 3, 64, 64) uint8, style (0 = photo), object and background (n,) int8.

    Training scenes only (see `world`), and never a held-out pair of style and object.
    """
    rng = np.random.default_rng([number, 2303])
    seeds = np.arange(number * SCENES_PER_SHARD, (number + 1) * SCENES_PER_SHARD)
    scenes = world.render(seeds.tolist(), size=SIZE)
    objects, backgrounds = scenes.object.numpy(), scenes.background.numpy()
    crops = torch.from_numpy(_photograph_crops(rng)).float().div(127.5).sub(1)
    images = torch.cat([scenes.image, crops])
    objects = np.concatenate([objects, np.full(len(crops), UNNAMED)])
    backgrounds = np.concatenate([backgrounds, np.full(len(crops), UNNAMED)])
    seeds = np.concatenate([seeds, seeds[: len(crops)]])

    parts = {
        "images": [_to_uint8(images)],
        "style": [np.zeros(len(images))],
        "object": [objects],
        "background": [backgrounds],
    }
    for _ in range(STYLED_PER_SCENE):
        chosen = np.array([_allowed_style(rng, k) for k in objects])
        for style, name in enumerate(world.STYLES):
            which = np.flatnonzero(chosen == style)
            if len(which):
                styled = world.apply_style(name, images[which], (seeds[which] + int(rng.integers(1 << 30))).tolist())
                parts["images"].append(_to_uint8(styled))
                parts["style"].append(np.full(len(which), style + 1))
                parts["object"].append(objects[which])
                parts["background"].append(backgrounds[which])
    return {k: np.concatenate(v).astype(np.uint8 if k == "images" else np.int8) for k, v in parts.items()}


def _allowed_style(rng: np.random.Generator, object_index: int) -> int:
    while True:
        style = int(rng.integers(len(world.STYLES)))
        if object_index == UNNAMED or not world.is_held_out(list(world.STYLES)[style], world.OBJECTS[object_index]):
            return style


def _photograph_crops(rng: np.random.Generator) -> np.ndarray:
    """(n, 3, 64, 64) uint8 random square crops of the training photographs, mirrored at random."""
    import skimage
    from PIL import Image

    crops = []
    for _ in range(PHOTO_CROPS_PER_SHARD):
        name = TRAINING_PHOTOGRAPHS[rng.integers(len(TRAINING_PHOTOGRAPHS))]
        picture = Image.open(Path(skimage.__file__).parent / "data" / name).convert("RGB")
        side = int(rng.uniform(0.3, 1) * min(picture.size))
        x, y = (int(rng.integers(0, n - side + 1)) for n in picture.size)
        crop = np.asarray(picture.crop((x, y, x + side, y + side)).resize((SIZE, SIZE), Image.Resampling.LANCZOS))
        crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    return np.stack(crops).transpose(0, 3, 1, 2)


def _to_uint8(images: Tensor) -> np.ndarray:
    return images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).numpy()


class Shards:
    """Every shard found in a folder, as one array that grows when `refresh` finds more.

    pattern: which files count, so that two networks can be trained on different halves.
    Raises FileNotFoundError when there is none, saying how to render some.
    """

    def __init__(self, folder: Path = FOLDER, pattern: str = "shard_*.npz"):
        self.folder, self.pattern = folder, pattern
        self.files: list[Path] = []
        self.images, self.labels = (
            torch.empty(0, 3, SIZE, SIZE, dtype=torch.uint8),
            torch.empty(3, 0, dtype=torch.int64),
        )
        self.refresh()
        if not self.files:
            raise FileNotFoundError(
                f"no training pictures in {folder}: render some with python -m zecon_lite.tiny.data"
            )

    def refresh(self) -> None:
        """Read the shards that have appeared since."""
        new = sorted(set(self.folder.glob(self.pattern)) - set(self.files))
        if new:
            loaded = [np.load(f) for f in new]
            self.images = torch.cat([self.images, *(torch.from_numpy(z["images"]) for z in loaded)])
            labels = [
                torch.from_numpy(np.stack([z[k] for k in ("style", "object", "background")]).astype(np.int64))
                for z in loaded
            ]
            self.labels = torch.cat([self.labels, *labels], dim=1)
            self.files += new
            self.photos = (self.labels[0] == 0).nonzero()[:, 0]
            self.styled = (self.labels[0] > 0).nonzero()[:, 0]

    def batch(self, n: int, generator: torch.Generator, photos: float = 0.5) -> tuple[Tensor, Tensor]:
        """(n, 3, 64, 64) pictures in [-1, 1], some of them photos, half mirrored; (3, n) style, object, background."""
        from_photos = torch.rand(n, generator=generator) < photos
        pick = torch.where(
            from_photos,
            self.photos[torch.randint(len(self.photos), (n,), generator=generator)],
            self.styled[torch.randint(len(self.styled), (n,), generator=generator)],
        )
        images = self.images[pick].float().div(127.5).sub(1)
        flip = torch.rand(n, generator=generator) < 0.5
        images[flip] = images[flip].flip(-1)
        return images, self.labels[:, pick]


class Lookalikes:
    """The parts of `zecon_lite.lookalikes` found in a folder, and those that appear later; there may be none.

    Of very many only the last pictures are kept: what an older CLIP fell for is no longer a test of this one.
    """

    RECENT = 24_000

    def __init__(self, folder: Path = LOOKALIKES):
        self.folder, self.files = folder, list[Path]()
        self.images = torch.empty(0, 3, SIZE, SIZE, dtype=torch.int8)
        self.refresh()

    def refresh(self) -> None:
        """Read the parts that have appeared since."""
        new = sorted(set(self.folder.glob("part_*.npz")) - set(self.files))
        if new:
            self.images = torch.cat([self.images, *(torch.from_numpy(np.load(file)["images"]) for file in new)])
            self.images = self.images[-self.RECENT :]
            self.files += new

    def batch(self, n: int, generator: torch.Generator) -> Tensor:
        """(n, 3, 64, 64) pictures, about [-1, 1], half of them mirrored; (0, 3, 64, 64) while there are none."""
        n = n if self.files else 0
        images = self.images[torch.randint(max(1, len(self.images)), (n,), generator=generator)].float()
        flip = torch.rand(n, generator=generator) < 0.5
        images[flip] = images[flip].flip(-1)
        return images * (REACH / 127)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m zecon_lite.tiny.data", description="Render training pictures of the style world."
    )
    parser.add_argument(
        "--shards", type=int, default=80, help=f"how many, of {SCENES_PER_SHARD} scenes each (default 80)"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER)
    args = parser.parse_args(argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    with bar(args.shards, "rendering the style world") as progress:
        for number in range(args.shards):
            path = args.folder / f"shard_{number:04d}.npz"
            if not path.exists():
                arrays: dict[str, Any] = shard(number)
                with replacing(path) as partial, open(partial, "wb") as file:
                    np.savez(file, **arrays)
            progress.update()


if __name__ == "__main__":
    main()
