"""Train the bundled vision transformer: `python -m zecon_lite.tiny.train vit`.

It stands where DiffuseIT has DINO's ViT, and is read the same way (`zecon_lite.models.vit`): the last block's keys say
what is where, its [CLS] says how the picture looks. DINO learns both from unlabelled photographs in GPU-days. Here the
style world knows both, so they are taught outright, by pairs; no self-distillation is involved.

* keys: of two versions of one scene (photo and style, or two styles), the keys of the same place attract each other and
  repel those of all other places of all scenes in the batch (InfoNCE, van den Oord et al. 2018). Often the second
  version is shifted by whole patches, so that knowing a patch's number is not enough. A linear head also reads from
  each key which object or background the patch shows.
* [CLS]: close to one learned centre per look, in the mean squared distance that DiffuseIT takes, far from the others.

The second version is what guidance will show: noisy, a denoiser's blurred estimate, or moved a step against the loss.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import images
from ..models.vit import read_last_block
from . import world
from .data import UNNAMED, Shards
from .networks import SIZE, VIT, build_vit
from .train import Training, _against, _Damage

TAU = 0.07  # of the keys' InfoNCE, as in DiffuseIT's contrastive loss
SHARPNESS = 10.0  # logits of a look per unit of mean squared distance to its centre
CROPS_FROM = "shard_00[01]?.npz"  # the shards whose crops of photographs are used: twenty hold enough
LOOKS = ("photo", *world.STYLES)
PATCH = VIT["patch_size"]
GRID = SIZE // PATCH  # patches a side
RENDERED = (SIZE, SIZE, SIZE + PATCH, SIZE + 2 * PATCH)  # sides of the scenes that a pair of pictures is cut from
OBJECTIVE = (
    "supervised by pairs, not DINO: InfoNCE between the keys of the same place in two versions of a scene (tau 0.07, "
    "shifted by up to two patches), what each patch shows from its key, style by squared distance of [CLS] to a "
    "centre per look; second version noised, blurred or one adversarial step (L2 <= 8)"
)


class ViTWithHeads(nn.Module):
    """The bundled ViT with what it is taught by: a centre per look and a linear reading of each patch."""

    def __init__(self) -> None:
        super().__init__()
        width = VIT["embed_dim"]
        self.vit = build_vit()
        self.centres = nn.Parameter(torch.randn(len(LOOKS), width))
        self.shows = nn.Linear(width, len(world.OBJECTS) + len(world.BACKGROUNDS))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, 64, 64) in [-1, 1] -> keys (B, 65, D), that of [CLS] first, and [CLS] before the last norm (B, D)."""
        keys, cls = read_last_block(self.vit, images)
        return keys.float(), cls.float()

    def looks(self, cls: Tensor) -> Tensor:
        """[CLS] (B, D) -> logits of the looks (B, 13), photo first."""
        return -SHARPNESS * (cls[:, None] - self.centres).square().mean(-1)


class Pairs:
    """Scenes rendered when they are asked for, an eighth of a batch crops of photographs. In the place of `Shards`."""

    images = range(world.FIRST_HELD_OUT_SEED)  # the training scenes there are

    def __init__(self, folder: Path):
        shards = Shards(folder, CROPS_FROM)
        crops = (shards.labels[0] == 0) & (shards.labels[1] == UNNAMED)
        self.crops = shards.images[crops].clone()

    def refresh(self) -> None:
        """Nothing to wait for: every scene is there already."""

    def batch(self, n: int, generator: torch.Generator, photos: float) -> tuple[Tensor, Tensor]:
        """(n, 7, 64, 64): two versions of n scenes and the object's mask in the first; (6, n) labels.

        The labels: look of the first, look of the second, object, background, and by how many patches down and right
        the second lies (the same for the whole batch). photos: the share of first versions that are left photos.
        """
        side = RENDERED[int(torch.randint(len(RENDERED), (1,), generator=generator))]
        seeds = torch.randint(world.FIRST_HELD_OUT_SEED, (n,), generator=generator)
        scenes = world.render(seeds, size=side)
        image, objects, backgrounds = scenes.image, scenes.object.clone(), scenes.background.clone()
        few = n // 8
        chosen = self.crops[torch.randint(len(self.crops), (few,), generator=generator)].float().div(127.5).sub(1)
        image[:few] = F.interpolate(chosen, (side, side), mode="bicubic", antialias=True).clamp(-1, 1)
        objects[:few], backgrounds[:few] = UNNAMED, UNNAMED

        room = (side - SIZE) // PATCH
        corners = torch.randint(room + 1, (2, 2), generator=generator)  # (first or second, down and right) in patches
        looks = torch.stack([_looks(objects, share, generator) for share in (photos, 0.1)])
        versions = [_cut(image, corner) for corner in corners]
        versions = [_restyled(v, look, seeds + k) for k, (v, look) in enumerate(zip(versions, looks, strict=True))]
        moved = (corners[1] - corners[0])[:, None].expand(2, n)
        together = torch.cat([*versions, _cut(scenes.mask, corners[0])], dim=1)
        return together, torch.cat([looks, objects[None], backgrounds[None], moved])


def _cut(images: Tensor, corner: Tensor) -> Tensor:
    y, x = (corner * PATCH).tolist()
    return images[..., y : y + SIZE, x : x + SIZE]


def _looks(objects: Tensor, photos: float, generator: torch.Generator) -> Tensor:
    """(n,) positions in LOOKS, a share of them photos, no pair of style and object that is held out."""
    styles = 1 + torch.randint(len(world.STYLES), (len(objects),), generator=generator)
    for k, object_ in enumerate(objects.tolist()):
        while object_ != UNNAMED and world.is_held_out(LOOKS[styles[k]], object_):
            styles[k] = 1 + torch.randint(len(world.STYLES), (1,), generator=generator)
    return styles * (torch.rand(len(objects), generator=generator) >= photos)


def _restyled(images: Tensor, looks: Tensor, seeds: Tensor) -> Tensor:
    """The pictures, each in its look; 0 leaves a photo."""
    images = images.clone()
    for k, name in enumerate(world.STYLES, start=1):
        which = (looks == k).nonzero()[:, 0]
        if len(which):
            images[which] = world.apply_style(name, images[which], seeds[which])
    return images


def overlapping(keys: Tensor, moved: Sequence[int]) -> Tensor:
    """Keys (B, 65, D) -> (B, 1 + p, D): that of [CLS], and of the patches shared with a picture `moved` patches away.

    moved: by how many patches the other picture lies further down and right in the scene.
    """
    grid = keys[:, 1:].unflatten(1, (GRID, GRID))
    down, right = ((max(k, 0), GRID + min(k, 0)) for k in moved)
    return torch.cat([keys[:, :1], grid[:, down[0] : down[1], right[0] : right[1]].flatten(1, 2)], dim=1)


def same_place(query: Tensor, key: Tensor, tau: float = TAU) -> Tensor:
    """InfoNCE both ways between keys (B, p, D) of the same places, scalar: negatives are all other places and scenes.

    van den Oord et al. (2018), eq. 4, on cosines.
    """
    query, key = (F.normalize(z.flatten(0, 1), dim=-1) for z in (query, key))
    logits, right = query @ key.T / tau, torch.arange(len(query), device=query.device)
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2


def patch_labels(mask: Tensor, objects: Tensor, backgrounds: Tensor) -> Tensor:
    """What the patches show, int64 (B, 64): an object, or 12 + a background, by which covers more; else UNNAMED."""
    covered = F.avg_pool2d(mask, PATCH).flatten(1) > 0.5
    return torch.where(covered, objects[:, None], backgrounds[:, None] + len(world.OBJECTS)).where(
        objects[:, None] != UNNAMED, UNNAMED
    )


def train_vit(args: argparse.Namespace, device: torch.device) -> None:
    """Style-invariant keys and a [CLS] that carries the look, from pairs of versions of the same scenes."""
    run = Training.of(
        args, "vit", ViTWithHeads(), Pairs(args.data), device, samples=60_000, batch=32, rate=1e-3
    )
    damage, network = _Damage(device, args.seed), run.network

    def encoded(images: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(device.type, torch.bfloat16, enabled=args.bf16):
            return network(images)

    def loss_of(together: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        first, second, mask = together.split((3, 3, 1), dim=1)
        half, moved = len(second) // 2, labels[4:, 0].tolist()
        second = torch.cat([second[:half], damage(second[half:], generator)])
        shown = patch_labels(mask, labels[2], labels[3])

        def of_second(second: Tensor, keys: Tensor) -> Tensor:
            others, cls = encoded(second)
            contrast = same_place(overlapping(others, [-k for k in moved]), overlapping(keys, moved))
            return contrast + F.cross_entropy(network.looks(cls), labels[1])

        keys, cls = encoded(first)
        if run.seen > run.batch * 100:
            second = _against(second, lambda x: of_second(x, keys.detach()), generator, steps=1, reach=8)
        dense = F.cross_entropy(network.shows(keys[:, 1:]).flatten(0, 1), shown.flatten(), ignore_index=UNNAMED)
        return of_second(second, keys) + F.cross_entropy(network.looks(cls), labels[0]) + 0.3 * dense

    run.train(loss_of, photos=0.6)
    run.publish(
        scores(run.averaged(), device),
        "keys",
        data="style world, scenes rendered when asked for, and crops of scikit-image's sample photographs",
        objective=OBJECTIVE,
    )


# ------------------------------------------------------------------------------------------------------------ scores


def nearest_is_same(first: Tensor, second: Tensor, moved: Sequence[int] = (0, 0)) -> Tensor:
    """(B, p) bool: for the keys of `second`, whether the nearest of the keys of `first` is that of the same place.

    first, second: (B, 65, D), of which [CLS] takes no part; chance is 1/64. moved: as in `overlapping`.
    """
    places = torch.arange(-1, GRID * GRID, device=first.device)[None, :, None]
    wanted = overlapping(places, moved)[:, 1:, 0]
    query = F.normalize(overlapping(second, [-k for k in moved])[:, 1:], dim=-1)
    return (query @ F.normalize(first[:, 1:], dim=-1).mT).argmax(-1) == wanted


@torch.no_grad()
def scores(network: ViTWithHeads, device: torch.device | str = "cpu", n: int = 130) -> dict[str, float]:
    """What the card reports, on n held-out scenes in every style and on scikit-image's photographs.

    keys: the share of places in the styled pictures whose nearest key in the photo is that of the same place (chance
    0.016). keys_shifted: the same where the styled picture lies a patch down and right, so that place is no help.
    keys_between_styles: from each style to the next. cls: the share of styled pictures whose [CLS] is nearest the
    centre of their own look. On photographs likewise; those are never trained on.
    """
    seeds = torch.tensor(world.held_out_seeds(n))
    wide = world.render(seeds, size=SIZE + PATCH)
    photos, objects = wide.image[..., :SIZE, :SIZE], wide.object
    real = torch.cat([images.fit(images.photograph(name), SIZE, "crop") for name in images.PHOTOGRAPHS])

    def encoded(name: str, photos: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        return network((photos if name == "photo" else world.apply_style(name, photos, seeds)).to(device))

    keys, found, held_out, cls_right = {}, {}, [], {}
    for k, name in enumerate(LOOKS):
        keys[name], cls = encoded(name, photos, seeds)
        cls_right[name] = network.looks(cls).argmax(1).cpu() == k
        if k:
            pair = torch.tensor([world.is_held_out(name, o) for o in objects.tolist()])
            held_out.append(cls_right[name][pair])
            found[name] = nearest_is_same(keys["photo"], keys[name]).float().mean().item()
    moved = [encoded(s, wide.image[..., PATCH:, PATCH:], seeds)[0] for s in world.STYLES]
    shifted = torch.stack([nearest_is_same(keys["photo"], other, (1, 1)) for other in moved])
    between = torch.stack([nearest_is_same(keys[a], keys[b]) for a, b in pairwise(world.STYLES)])
    real_seeds = torch.arange(len(real))
    real_keys, real_cls = zip(*(encoded(name, real, real_seeds) for name in LOOKS), strict=True)
    right = [network.looks(cls).argmax(1) == k for k, cls in enumerate(real_cls)]
    return {
        "keys": sum(found.values()) / len(found),
        "keys_shifted": shifted.float().mean().item(),
        "keys_between_styles": between.float().mean().item(),
        "keys_photographs": _share(nearest_is_same(real_keys[0], other) for other in real_keys[1:]),
        "cls": _share(cls_right.values()),
        "cls_held_out_pairs": _share(held_out),
        "cls_photographs": _share(right),
        **{f"keys_{name}": share for name, share in found.items()},
    }


def _share(parts: Iterable[Tensor]) -> float:
    return torch.cat([part.flatten() for part in parts]).float().mean().item()
