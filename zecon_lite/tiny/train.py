"""Train a bundled network: `python -m zecon_lite.tiny.train NAME`, NAME one of the keys of `TRAINERS` (see --help).

Each run renders nothing itself: it reads the shards that `python -m zecon_lite.tiny.data` writes, and picks up those
that appear while it trains. It resumes from `training/checkpoints/NAME.pt` when there is one, else from the committed
weights; writes weights and a model card side by side; and keeps new weights only when they beat the old held-out score.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from safetensors.torch import save as serialise
from torch import Tensor, nn

from ..denoiser import VPrediction
from ..files import replacing, write
from ..progress import bar
from ..samplers import ddim_step, invert, sample
from ..schedule import Schedule
from ..weights import BUNDLED, load_into
from . import world
from .data import FOLDER, LOOKALIKES, UNNAMED, Lookalikes, Shards
from .networks import SIZE, VGGClassifier, WordTokenizer, build_clip, build_unet

if TYPE_CHECKING:
    from open_clip import CLIP

WEIGHTS = BUNDLED
CHECKPOINTS = Path("training/checkpoints")
RECOLOURED = 0.3  # share of the pictures with a CLIP's caption that names no style
LICENCE = "MIT; trained on the project's own procedural pictures and crops of scikit-image's sample photographs"


class Supply(Protocol):
    """What a run learns from: `data.Shards`, or a class in its place."""

    @property
    def images(self) -> Sized:
        """As many as there are to draw from."""
        ...

    def refresh(self) -> None:
        """Look whether there are more by now."""
        ...

    def batch(self, n: int, generator: torch.Generator, photos: float) -> tuple[Tensor, Tensor]:
        """Pictures (n, C, H, W) and their labels."""
        ...


@dataclass
class Training:
    """One training run: where it stands, and how it goes on after an interruption."""

    name: str
    network: Any  # an nn.Module; each trainer knows its own
    shards: Supply
    device: torch.device
    samples: float  # the budget, counted over all resumed runs
    minutes: float  # the same for this run alone; whichever is used up first ends it
    batch: int
    rate: float  # peak learning rate
    seed: int
    seen: int = 0
    seconds: float = 0.0
    begun: int = 0  # how many had been seen when the run went on from weights that were published
    anew: bool = False  # from random weights, whatever was published
    runs: list[dict[str, Any]] = field(default_factory=list)  # how far each earlier run went, and with what
    log: list[tuple[int, float]] = field(default_factory=list)

    @classmethod
    def of(
        cls, args: argparse.Namespace, name: str, network: nn.Module, shards: Supply, device: torch.device,
        samples: int, batch: int, rate: float,
    ) -> Training:
        """The run that the command line asks for; samples, batch and rate are for what it leaves open."""
        budget = args.samples or (math.inf if args.minutes else samples)
        return cls(
            name, network, shards, device, budget, args.minutes or math.inf, args.batch or batch, args.rate or rate,
            args.seed, anew=args.anew,
        )

    def __post_init__(self) -> None:
        self.network.to(self.device, memory_format=torch.channels_last)
        self.ema = {k: v.detach().clone().float() for k, v in self.network.state_dict().items()}
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=self.rate, weight_decay=0.01, betas=(0.9, 0.99)
        )
        self.checkpoint = CHECKPOINTS / f"{self.name}.pt"
        committed = WEIGHTS / f"{self.name}.safetensors"
        saved = {}
        if self.checkpoint.exists():
            saved = torch.load(self.checkpoint, weights_only=True, map_location=self.device)
        if saved and not (self.anew and saved.get("begun", 0)):    # from nothing, or nobody minds
            self.network.load_state_dict(saved["network"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.ema, self.seen, self.seconds = saved["ema"], saved["seen"], saved["seconds"]
            self.begun, self.runs = saved.get("begun", 0), saved.get("runs", [])
            self.log = [tuple(entry) for entry in saved["log"]]
        elif committed.exists() and not self.anew:
            weights = load_file(committed)
            kept = {
                k.removeprefix("network."): v.float()
                for k, v in weights.items()
                if k.removeprefix("network.") in self.ema
            }
            self.network.load_state_dict(kept, strict=False)
            self.ema.update({k: v.to(self.device) for k, v in kept.items()})
            card = json.loads(committed.with_suffix(".json").read_text())
            self.seen, self.seconds = card["samples_seen"], card["seconds"]
            self.begun, self.log = self.seen, [tuple(entry) for entry in card["loss_log"]]
            known = {key: card[key] for key in ("seed", "batch", "device")}
            self.runs = card.get("runs", [{"samples_seen": self.seen, **known}])

    def train(self, loss_of: Callable[[Tensor, Tensor, torch.Generator], Tensor], photos: float = 0.5) -> None:
        """Take optimiser steps until the budget is used. loss_of(images, labels, generator) -> scalar."""
        begun, before, steps = time.monotonic(), self.seconds, 0
        recent: list[Tensor] = []

        def used() -> float:
            """How much of the budget, 0 to 1."""
            return min(1.0, max(self.seen / self.samples, (time.monotonic() - begun) / (60 * self.minutes)))

        if used() >= 1:
            raise ValueError(
                f"{self.name} has seen {self.seen} samples, and {self.samples:.0f} are asked for: ask for more with "
                "--samples, for some --minutes, or begin from nothing with --anew"
            )

        def note() -> None:
            self.log.append((self.seen, torch.stack(recent).mean().item()))
            self.seconds = before + time.monotonic() - begun
            print(
                f"{self.name}: {self.seen} samples, loss {self.log[-1][1]:.4f}, {self.seconds:.0f} s", flush=True
            )
            recent.clear()
            self.save()

        with bar(1000, f"training {self.name}") as progress:
            while (done := used()) < 1:
                generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.seen)
                images, labels = self.shards.batch(self.batch, generator, photos)
                for group in self.optimizer.param_groups:
                    group["lr"] = self.rate * _schedule(done, steps)
                loss = loss_of(
                    images.to(self.device, memory_format=torch.channels_last), labels.to(self.device), generator
                )
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
                self.optimizer.step()
                self.seen, steps = self.seen + self.batch, steps + 1
                self._average()
                recent.append(loss.detach())    # read later: reading waits for a GPU
                if steps % 100 == 0:
                    note()
                    self.shards.refresh()
                progress.update(round(1000 * used()) - progress.n)
        if recent:
            note()

    def _average(self) -> None:
        """Follow the weights with a window of a twentieth of what this run has added, and closely at the very start."""
        window = max(20.0, 0.05 * (self.seen - self.begun) / self.batch)
        decay = min(1 - 1 / window, self.seen / (self.seen + 10 * self.batch))
        state = self.network.state_dict()
        floating = [k for k, v in state.items() if v.is_floating_point()]
        with torch.no_grad():
            torch._foreach_lerp_([self.ema[k] for k in floating], [state[k].float() for k in floating], 1 - decay)
            self.ema |= {k: state[k].clone() for k in state.keys() - set(floating)}

    def save(self) -> None:
        """Write the checkpoint that an interrupted run goes on from, whole or not at all."""
        CHECKPOINTS.mkdir(parents=True, exist_ok=True)
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema,
            "seen": self.seen,
            "seconds": self.seconds,
            "begun": self.begun,
            "runs": self.history(),
            "log": [list(entry) for entry in self.log],
        }
        with replacing(self.checkpoint) as partial:
            torch.save(state, partial)

    def history(self) -> list[dict[str, Any]]:
        """How far each run went, in samples seen, and with what seed, batch and device; this one last."""
        device = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"
        this = {"seed": self.seed, "batch": self.batch, "device": device}
        same = self.runs and this.items() <= self.runs[-1].items()    # the same run goes on
        return [*(self.runs[:-1] if same else self.runs), {"samples_seen": self.seen, **this}]

    def averaged(self) -> Any:
        """The network with its averaged weights, in evaluation mode."""
        self.network.load_state_dict({k: v.to(self.network.state_dict()[k].dtype) for k, v in self.ema.items()})
        return self.network.eval()

    def publish(self, scores: dict[str, float], decides: str, higher: bool = True, **card: object) -> None:
        """Write averaged weights (float16) and their card, unless the committed ones score better on `decides`."""
        WEIGHTS.mkdir(exist_ok=True)
        path = WEIGHTS / f"{self.name}.safetensors"
        card_path = path.with_suffix(".json")
        old = json.loads(card_path.read_text())["scores"].get(decides) if card_path.exists() else None
        new = round(scores[decides], 5)    # as the card tells it
        if old is not None and (new == old or (old > new) == higher):
            print(f"{self.name}: {decides} {scores[decides]:.4f} does not beat {old:.4f}; the old weights stay")
            return
        tensors = {k: v.half() if v.is_floating_point() else v for k, v in self.averaged().state_dict().items()}
        tensors = {k: v.contiguous().cpu() for k, v in tensors.items()}
        runs = self.history()
        text = json.dumps(
            {
                "name": self.name,
                "parameters": sum(p.numel() for p in self.network.parameters()),
                "data": f"style world, {len(self.shards.images)} pictures of {SIZE} px",
                "seconds": round(self.seconds),
                **runs[-1],    # the last run's seed, batch and device
                "runs": runs,
                "scores": {k: round(v, 5) for k, v in scores.items()},
                "licence": LICENCE,
                **card,
                "loss_log": [[n, round(loss, 5)] for n, loss in self.log],
            },
            indent=1,
        )
        write(path, serialise(tensors))
        write(card_path, text + "\n")
        print(f"{self.name}: wrote {path.name}, {path.stat().st_size / 2**20:.1f} MiB, {scores}")


def _schedule(done: float, steps: int) -> float:
    """Warm up over 200 steps, also of a resumed run, hold, and fall along a cosine over the last half of the budget."""
    tail = max(0.0, (done - 0.5) / 0.5)
    return min(1.0, (steps + 1) / 200) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * tail)))


def held_out(n: int) -> tuple[Tensor, Tensor]:
    """(n, 3, 64, 64) held-out scenes, every 13th left a photo, the others styled in turn; (3, n) labels."""
    scenes = world.render(world.held_out_seeds(n), size=SIZE)
    images, style = scenes.image.clone(), torch.arange(n) % (len(world.STYLES) + 1)
    for k, name in enumerate(world.STYLES, start=1):
        which = (style == k).nonzero()[:, 0]
        if len(which):
            images[which] = world.apply_style(name, images[which], which)
    return images, torch.stack([style, scenes.object, scenes.background])


# ------------------------------------------------------------------------------------------------------------- UNet


def train_unet(args: argparse.Namespace, device: torch.device) -> None:
    """v-prediction on the cosine schedule, timesteps uniform (Salimans & Ho 2022; Nichol & Dhariwal 2021)."""
    schedule = Schedule.cosine()
    run = Training.of(
        args, "unet", build_unet(), Shards(args.data), device, samples=400_000, batch=32, rate=6e-4
    )
    a = schedule.alphas_cumprod.float().to(device)
    network = torch.compile(run.network) if args.compile else run.network

    def loss_of(
        x0: Tensor, labels: Tensor, generator: torch.Generator, forward: Callable[..., Tensor] = network
    ) -> Tensor:
        # Timesteps are spread evenly over each batch: the same expectation with less scatter.
        u = (torch.rand(1, generator=generator) + torch.arange(len(x0)) / len(x0)) % 1
        t = (u * len(schedule)).long().to(device)
        noise = torch.randn(x0.shape, generator=generator).to(device)
        signal, rest = a[t].sqrt()[:, None, None, None], (1 - a[t]).sqrt()[:, None, None, None]
        with torch.autocast(device.type, torch.bfloat16, enabled=args.bf16):
            v = forward(signal * x0 + rest * noise, t)
        return F.mse_loss(v.float(), signal * noise - rest * x0)

    def score() -> dict[str, float]:
        images, labels = (z.to(device) for z in held_out(130))
        network = run.averaged()
        with torch.no_grad():
            losses = [
                loss_of(images, labels, torch.Generator().manual_seed(k), forward=network).item() for k in range(4)
            ]
        denoiser = VPrediction(network, schedule).respace(50)
        x = invert(denoiser, images[:26], 25)
        *_, last = sample(denoiser, x, range(25, -1, -1), step=ddim_step)
        return {"v_mse": sum(losses) / len(losses), "inversion_mse": F.mse_loss(last.x, images[:26]).item()}

    run.train(loss_of)
    run.publish(
        score(),
        "v_mse",
        higher=False,
        objective="v-prediction, cosine schedule, T = 1000, uniform timesteps, averaged weights",
    )


# ------------------------------------------------------------------------------------------------------------- CLIP


def train_clip(args: argparse.Namespace, device: torch.device) -> None:
    """Contrastive language-image training with multi-positive targets, on pictures made hard in the ways guidance does.

    A picture is a positive of every caption whose claims it meets: with 13 looks and 12 objects a batch is full of
    duplicates. Some are recoloured at random: what they show, they show in no style that has a name, so that what an
    object is called does not hang on the styles it was seen in. Pictures are noised, blurred by a denoiser's estimate,
    and moved against the loss (L2-bounded): a CLIP trained on clean pictures only gives gradients that look like dirt,
    not like pictures. Where `zecon_lite.lookalikes` has collected some, what guidance made stands against every caption
    that names a style.
    """
    tokenizer = WordTokenizer(sorted({part for word in world.vocabulary() for part in WordTokenizer.split(word)}))
    run = Training.of(
        args, "clip", build_clip(len(tokenizer)), Shards(args.data), device, samples=300_000, batch=96, rate=1e-3
    )
    damage, lookalikes = _Damage(device, args.seed), Lookalikes(args.data.with_name(LOOKALIKES.name))

    def loss_of(images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        n = len(images)
        lookalikes.refresh()
        images = torch.cat([images, lookalikes.batch(n // 2, generator).to(device)])
        cropped = torch.rand(len(images), generator=generator) < 0.5
        odd = (torch.rand(n, generator=generator) < RECOLOURED) & ~cropped[:n] & (labels[1] != UNNAMED).cpu()
        images[:n] = torch.where(
            odd.to(device)[:, None, None, None], _recoloured(images[:n], generator), images[:n]
        )
        was, labels = labels[0], torch.cat([labels[:1].masked_fill(odd.to(device), UNNAMED), labels[1:]])
        images = torch.where(cropped.to(device)[:, None, None, None], _crops(images, generator), images)
        images = damage(images, generator)
        said = [
            _caption(style, object_, background, bool(cropped[k]), generator)
            for k, (style, object_, background) in enumerate(labels.T.tolist())
        ]
        captions, named = zip(*said, strict=True)
        claims = torch.tensor(named, device=device)  # (n, 3) which labels a caption names
        # agrees[picture, caption]: every label that the caption names is the picture's
        agrees = ((labels.T[:, None] == labels.T[None]) | ~claims[None]).all(-1)
        # A small crop need not show the object: it is no evidence for or against captions that name one.
        unknown = (cropped[:n].to(device)[:, None] & claims[None, :, 1:].any(-1)) & ~torch.eye(
            n, dtype=torch.bool, device=device
        )
        unknown |= claims[None, :, 1] & world.unseen(labels[0].clamp_min(0))[:, labels[1].clamp_min(0)]
        # Whether a recoloured picture is still in the style that it was in is anybody's guess.
        unknown |= odd.to(device)[:, None] & claims[None, :, 0] & (was[:, None] == was[None])
        # A lookalike may well show what a caption names, but not in the style that it names.
        unknown = torch.cat([unknown, (~claims[None, :, 0]).expand(len(images) - n, -1)])
        positive = (agrees & ~unknown[:n]).float()
        texts = run.network.encode_text(tokenizer(list(captions)).to(device), normalize=True)

        def contrastive(pictures: Tensor) -> Tensor:
            with torch.autocast(device.type, torch.bfloat16, enabled=args.bf16):
                embedded = run.network.encode_image(pictures)
            logits = run.network.logit_scale.exp().clamp(max=50) * F.normalize(embedded.float(), dim=-1) @ texts.T
            logits = logits.masked_fill(unknown, -30.0)
            by_picture = -(positive * logits[:n].log_softmax(1)).sum(1) / positive.sum(1)
            by_caption = -(positive * logits.log_softmax(0)[:n]).sum(0) / positive.sum(0).clamp_min(1)
            return (by_picture.mean() + by_caption.mean()) / 2

        return (
            contrastive(_against(images, contrastive, generator))
            if run.seen > run.batch * 100
            else contrastive(images)
        )

    def score() -> dict[str, float]:
        found = _zero_shot(run.averaged(), tokenizer, device)
        return found | {"held_out_pairs": (found["style_held_out_pairs"] + found["object_held_out_pairs"]) / 2}

    run.network.train()
    run.train(loss_of, photos=0.3)
    run.publish(
        score(),
        "held_out_pairs",
        vocabulary=tokenizer.words,
        lookalikes=len(lookalikes.images),
        objective="multi-positive InfoNCE, three adversarial steps (L2 <= 14), lookalikes as negatives, some pictures "
        "recoloured",
    )


def _caption(
    style: int, object_: int, background: int, cropped: bool, generator: torch.Generator
) -> tuple[str, tuple[bool, ...]]:
    """A caption and which of (style, object, background) it names; crops and photographs' crops get the style only.

    A picture whose style has no name gets a caption without one.
    """
    if style == UNNAMED:
        while (said := world.caption("photo", world.OBJECTS[object_], world.BACKGROUNDS[background], generator))[1][0]:
            pass
        return said
    name = ("photo", *world.STYLES)[style]
    if cropped or object_ == UNNAMED:
        words = world.STYLE_WORDS[name]
        text = words[int(torch.randint(len(words), (1,), generator=generator))]
        return (f"a {text}" if torch.rand(1, generator=generator) < 0.5 else text), (True, False, False)
    return world.caption(name, world.OBJECTS[object_], world.BACKGROUNDS[background], generator)


def _recoloured(images: Tensor, generator: torch.Generator) -> Tensor:
    """The pictures in colours of nobody's: channels mixed and turned over at random; half of them outlines alone."""
    n = len(images)
    mix = torch.randn(n, 3, 3, generator=generator) + 0.5 * torch.randn(n, 1, 3, generator=generator)
    mix = F.normalize(mix, dim=2) * (0.5 + 0.6 * torch.rand(n, 1, 1, generator=generator))
    shift = 0.3 * torch.randn(n, 3, 1, 1, generator=generator)
    outlined = torch.rand(n, 1, 1, 1, generator=generator) < 0.5
    side = int(torch.randint(3, 8, (1,), generator=generator)) | 1
    around = F.avg_pool2d(F.pad(images, (side // 2,) * 4, mode="replicate"), side, stride=1)
    images = torch.where(outlined.to(images.device), 2.5 * (images - around), images)
    return (torch.einsum("nij,njhw->nihw", mix.to(images), images) + shift.to(images)).clamp(-1, 1)


def _crops(images: Tensor, generator: torch.Generator) -> Tensor:
    """One square crop of each picture, a quarter of the side to all of it, slightly turned, back at full size."""
    n = len(images)
    side = 0.25 + 0.75 * torch.rand(n, generator=generator)
    angle = 0.15 * torch.randn(n, generator=generator)
    centre = (torch.rand(n, 2, generator=generator) * 2 - 1) * (1 - side)[:, None]
    cos, sin = angle.cos() * side, angle.sin() * side
    theta = torch.stack([torch.stack([cos, -sin, centre[:, 0]], 1), torch.stack([sin, cos, centre[:, 1]], 1)], 1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False).to(images)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


class _Damage:
    """What guidance shows a CLIP: noise up to sigma 0.6, and the blurred estimates of a denoiser from noisy pictures.

    Uses the bundled UNet when it has been trained, else noise alone.
    """

    def __init__(self, device: torch.device, seed: int):
        self.device, self.denoiser = device, None
        path = WEIGHTS / "unet.safetensors"
        if path.exists():
            unet = load_into(build_unet(), load_file(path), "the bundled UNet").to(device)
            self.denoiser = VPrediction(unet.to(memory_format=torch.channels_last), Schedule.cosine())

    @torch.no_grad()
    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        n = len(images)
        images = images.clone()
        if self.denoiser is not None:  # every sixth: the network is dear
            few, schedule = torch.arange(0, n, 6), self.denoiser.schedule
            i = int(torch.randint(50, 950, (1,), generator=generator))
            noise = torch.randn(images[few].shape, generator=generator).to(self.device)
            x = schedule.noised(images[few], i, noise).to(images.dtype)
            with torch.autocast(self.device.type, torch.bfloat16):
                estimate = self.denoiser(x, i).x0.float().clamp(-1.2, 1.2)
            # Half of them as the losses see a step: the estimate mixed with x_t (`State.view`).
            share = (1 - schedule.alphas_cumprod[i]).sqrt().to(images.dtype)
            estimate[::2] = share * estimate[::2] + (1 - share) * x[::2]
            images[few] = estimate
        sigma = 0.6 * torch.rand(n, 1, 1, 1, generator=generator) * (torch.rand(n, 1, 1, 1, generator=generator) < 0.4)
        return images + (sigma * torch.randn(images.shape, generator=generator)).to(self.device)


def _against(
    images: Tensor, loss_of: Callable[[Tensor], Tensor], generator: torch.Generator, steps: int = 3, reach: float = 14
) -> Tensor:
    """The pictures moved uphill in the loss, by an L2 length drawn from 0 to `reach` (14: RMS 0.126 at 64 px).

    The gradients of networks trained so resemble what they recognise (Santurkar et al. 2019), which is what guidance
    wants of them. The length is shared by the steps, each along the gradient where the last one ended.
    """
    length = reach * torch.rand(len(images), 1, 1, 1, generator=generator).to(images)
    x = images.detach()
    for _ in range(steps):
        x.requires_grad_(True)
        (grad,) = torch.autograd.grad(loss_of(x), x, retain_graph=True)
        norm = grad.flatten(1).norm(dim=1)[:, None, None, None].clamp_min(1e-12)
        x = (x + length / steps * grad / norm).detach()
    return x


@torch.no_grad()
def _zero_shot(network: CLIP, tokenizer: WordTokenizer, device: torch.device) -> dict[str, float]:
    """Accuracy of naming style and object by the nearest caption, on held-out scenes and on held-out pairs."""

    def text(words: list[str]) -> Tensor:
        return F.normalize(network.encode_text(tokenizer(words).to(device), normalize=True).mean(0), dim=0)

    styles = torch.stack([text(list(world.STYLE_WORDS[s])) for s in ("photo", *world.STYLES)])
    objects = torch.stack([text([f"a {w}" for w in world.OBJECT_WORDS[o]]) for o in world.OBJECTS])
    images, labels = (z.to(device) for z in held_out(650))
    embedded = network.encode_image(images.contiguous(memory_format=torch.channels_last), normalize=True)
    style_right = (embedded @ styles.T).argmax(1) == labels[0]
    object_right = (embedded @ objects.T).argmax(1) == labels[1]
    names = list(world.STYLES)
    pairs = torch.tensor(
        [s > 0 and world.is_held_out(names[s - 1], world.OBJECTS[o]) for s, o in labels[:2].T.tolist()]
    )
    return {
        "style": style_right.float().mean().item(),
        "object": object_right.float().mean().item(),
        "style_held_out_pairs": style_right[pairs].float().mean().item(),
        "object_held_out_pairs": object_right[pairs].float().mean().item(),
    }


# -------------------------------------------------------------------------------------------------------------- VGG


def train_vgg(args: argparse.Namespace, device: torch.device) -> None:
    """A VGG classifier of style, object and background; its layers serve content losses, its style head as a judge."""
    run = Training.of(
        args, "vgg", VGGClassifier(), Shards(args.data), device, samples=200_000, batch=96, rate=1e-3
    )

    def loss_of(images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=args.bf16):
            outputs = run.network(images)
        return naming_loss(outputs, labels)

    def score() -> dict[str, float]:
        images, labels = (z.to(device) for z in held_out(650))
        with torch.no_grad():
            outputs = run.averaged()(images)
        return naming_accuracy(outputs, labels)

    run.train(loss_of, photos=0.2)
    run.publish(score(), "mean", objective="cross-entropy of style, object and background")


def naming_loss(outputs: Sequence[Tensor], labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """The cross-entropies of style, object and background, added up; what is not named does not count.

    smoothing: the share of each target that is spread evenly. An object that is held out from a picture's style is not
    among the answers (see `world.unseen`).
    """
    total: Any = 0.0
    for kind, (out, wanted) in enumerate(zip(outputs, labels, strict=True)):
        never = world.unseen(labels[0]) if kind == 1 else torch.zeros_like(out, dtype=torch.bool)
        never = never & (wanted[:, None] != torch.arange(out.shape[1], device=wanted.device))
        log_p = out.float().masked_fill(never, -math.inf).log_softmax(1)
        even = -(log_p.masked_fill(never, 0).sum(1) / (~never).sum(1))[wanted != UNNAMED].mean()
        total += (1 - smoothing) * F.nll_loss(log_p, wanted, ignore_index=UNNAMED) + smoothing * even
    return total


def naming_accuracy(outputs: Sequence[Tensor], labels: Tensor) -> dict[str, float]:
    """The shares of right styles, objects and backgrounds, and their mean."""
    right = [(out.argmax(1) == wanted).float().mean().item() for out, wanted in zip(outputs, labels, strict=True)]
    return dict(zip(("style", "object", "background"), right, strict=True)) | {"mean": sum(right) / 3}


def _later(module: str, trainer: str) -> Callable[[argparse.Namespace, torch.device], None]:
    """A trainer from a module that builds on this one, imported when it is called."""
    return lambda args, device: getattr(import_module(f".{module}", __package__), trainer)(args, device)


Trainer = Callable[[argparse.Namespace, torch.device], None]
TRAINERS: dict[str, Trainer] = {"unet": train_unet, "clip": train_clip, "vgg": train_vgg}
TRAINERS |= {name: _later("train_judges", f"train_{name}") for name in ("judge_a", "judge_b", "segmenter")}

TRAINERS |= {"vit": _later("train_vit", "train_vit")}
TRAINERS |= {name: _later("train_latent", f"train_{name}") for name in ("autoencoder", "latent")}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m zecon_lite.tiny.train", description="Train a bundled network; resumes by itself."
    )
    parser.add_argument("name", choices=TRAINERS)
    parser.add_argument("--samples", type=int, help="how many pictures to see in all, resumed runs included")
    parser.add_argument("--minutes", type=float, help="how long this run may take, in place of --samples or beside it")
    parser.add_argument("--anew", action="store_true", help="from random weights, whatever was trained before")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rate", type=float, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=FOLDER, help="folder of shards")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 convolutions where the processor has them")
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile the UNet (a minute to start, then quicker)"
    )
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)  # initial weights only; every draw after that has its own generator
    try:
        TRAINERS[args.name](args, torch.device(args.device))
    except (FileNotFoundError, ValueError) as error:    # what a sentence can mend
        parser.error(str(error))


if __name__ == "__main__":
    main()
