"""Train the networks that judge: `python -m zecon_lite.tiny.train judge_a|judge_b|segmenter`.

The judges see the true pictures of the style world, mildly spoiled: noised, blurred, resampled, cropped. A judge of
clean pictures only would know a style by its finest pixels, and call every slightly soft picture a stranger.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import world
from .data import Shards
from .judges import Judge, Segmenter, build_judge_a, build_judge_b, overlap
from .networks import SIZE
from .train import Training, held_out, naming_accuracy, naming_loss

EVEN, ODD = "shard_*[02468].npz", "shard_*[13579].npz"  # the judges share no training picture
FIRST_SEGMENTED_SEED = 500_000  # training scenes that no shard holds
SCORED = 650  # held-out scenes that a score is taken over, fifty of each style


class MaskedScenes:
    """Scenes with the main object's mask, rendered when asked for: no picture is ever seen twice.

    Gives batches as `Shards` does, with masks in place of labels.
    """

    images: Sequence[Tensor] = ()  # nothing is stored

    def refresh(self) -> None:
        """There is nothing to look for."""

    def batch(self, n: int, generator: torch.Generator, photos: float = 0.5) -> tuple[Tensor, Tensor]:
        """(n, 3, 64, 64) pictures in [-1, 1], some of them photos, the rest in one random style; masks (n, 1, 64, 64).

        One style a batch, as styles are quickest on many pictures; never a held-out pair.
        """
        seeds = torch.randint(FIRST_SEGMENTED_SEED, world.FIRST_HELD_OUT_SEED, (n,), generator=generator)
        scenes = world.render(seeds, size=SIZE)
        style = list(world.STYLES)[int(torch.randint(len(world.STYLES), (1,), generator=generator))]
        allowed = torch.tensor([not world.is_held_out(style, k) for k in scenes.object.tolist()])
        which = (allowed & (torch.rand(n, generator=generator) >= photos)).nonzero()[:, 0]
        if len(which):
            scenes.image[which] = world.apply_style(style, scenes.image[which], seeds[which])
        return scenes.image, scenes.mask


def train_judge_a(args: argparse.Namespace, device: torch.device) -> None:
    """The plain judge, on the even shards."""
    _train_judge("judge_a", build_judge_a(), EVEN, args, device)


def train_judge_b(args: argparse.Namespace, device: torch.device) -> None:
    """The ConvNeXt judge, on the odd shards."""
    _train_judge("judge_b", build_judge_b(), ODD, args, device)


def _train_judge(name: str, judge: Judge, half: str, args: argparse.Namespace, device: torch.device) -> None:
    run = Training.of(
        args, name, judge, Shards(args.data, half), device, samples=240_000, batch=128, rate=2e-3
    )

    def loss_of(images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        seen = spoiled(images, generator)
        with torch.autocast(device.type, torch.bfloat16, enabled=args.bf16):
            outputs = run.network(seen)
        return naming_loss(outputs, labels, smoothing=0.05)

    run.train(loss_of, photos=0.2)
    run.publish(
        _accuracies(run.averaged(), device),
        "mean",
        objective="cross-entropy of style, object and background on spoiled pictures; guides nothing",
        shards=half,
    )


@torch.no_grad()
def _accuracies(judge: nn.Module, device: torch.device) -> dict[str, float]:
    """Held-out accuracy of style, object and background, also of style on blurred pictures."""
    images, labels = (z.to(device) for z in held_out(SCORED))
    blurred = (judge(_blurred(images))[0].argmax(1) == labels[0]).float().mean().item()
    return naming_accuracy(judge(images), labels) | {"style_blurred": blurred}


def train_segmenter(args: argparse.Namespace, device: torch.device) -> None:
    """Where the main object is, in photos and in every style: cross-entropy plus soft Dice (Milletari et al. 2016)."""
    run = Training.of(
        args, "segmenter", Segmenter(), MaskedScenes(), device, samples=160_000, batch=64, rate=2e-3
    )

    def loss_of(images: Tensor, masks: Tensor, generator: torch.Generator) -> Tensor:
        seen = spoiled(torch.cat([images, masks], dim=1), generator)
        with torch.autocast(device.type, torch.bfloat16, enabled=args.bf16):
            logits = run.network(seen[:, :3]).float()
        wanted = seen[:, 3:].clamp(0, 1)
        common = 2 * (logits.sigmoid() * wanted).sum((1, 2, 3)) + 1
        dice = common / (logits.sigmoid().sum((1, 2, 3)) + wanted.sum((1, 2, 3)) + 1)
        return F.binary_cross_entropy_with_logits(logits, wanted) + (1 - dice).mean()

    run.train(loss_of, photos=0.2)
    run.publish(
        _overlaps(run.averaged(), device), "iou",
        data=f"style world, a new scene of {SIZE} px for every sample",
        objective="cross-entropy and Dice of the main object's mask on spoiled pictures; guides nothing",
    )  # fmt: skip


@torch.no_grad()
def _overlaps(segmenter: nn.Module, device: torch.device) -> dict[str, float]:
    """Mean intersection over union with the renderer's masks on held-out scenes, of photos, styles, and both."""
    images, labels = held_out(SCORED)
    masks = world.render(world.held_out_seeds(SCORED), size=SIZE).mask
    iou = overlap(segmenter(images.to(device)).sigmoid().cpu(), masks)
    photo = labels[0] == 0
    return {"iou": iou.mean().item(), "iou_photo": iou[photo].mean().item(), "iou_styled": iou[~photo].mean().item()}


# ------------------------------------------------------------------------------------------------------------ spoiling


def spoiled(images: Tensor, generator: torch.Generator) -> Tensor:
    """The pictures with mild noise, blur, resampling and cropping, each on a random part of the batch.

    (B, C, H, W); channels after the third are masks, which are cropped along and otherwise left alone.
    """
    n = len(images)
    images = _cropped(images, generator)
    pictures, masks = images[:, :3], images[:, 3:]

    def some(share: float) -> Tensor:
        return (torch.rand(n, 1, 1, 1, generator=generator) < share).to(images)

    side = int(torch.randint(SIZE // 2, SIZE, (1,), generator=generator))
    coarse = F.interpolate(F.interpolate(pictures, side, mode="area"), images.shape[-2:], mode="bilinear")
    pictures = torch.lerp(pictures, coarse, some(0.15))
    strength = torch.rand(n, 1, 1, 1, generator=generator).to(images)
    pictures = torch.lerp(pictures, _blurred(pictures), some(0.3) * strength)
    sigma = 0.15 * torch.rand(n, 1, 1, 1, generator=generator).to(images) * some(0.5)
    noise = torch.randn(pictures.shape, generator=generator).to(images)
    return torch.cat([pictures + sigma * noise, masks], dim=1)


def _cropped(images: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the pictures cropped to 0.8 to 1 of their side, back at full size."""
    n = len(images)
    side = 1 - 0.2 * torch.rand(n, generator=generator) * (torch.rand(n, generator=generator) < 0.5)
    shift = (torch.rand(n, 2, generator=generator) * 2 - 1) * (1 - side)[:, None]
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = side
    theta[:, :, 2] = shift
    grid = F.affine_grid(theta, list(images.shape), align_corners=False).to(images)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _blurred(images: Tensor) -> Tensor:
    """A 3 x 3 binomial blur, edges repeated."""
    kernel = images.new_tensor([1.0, 2.0, 1.0]) / 4
    kernel = (kernel[:, None] * kernel).expand(images.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), kernel, groups=images.shape[1])
