"""Train the bundled latent diffusion model: `python -m zecon_lite.tiny.train autoencoder`, then `... latent`.

The autoencoder comes first: it fixes what a latent is. The UNet then learns to predict v there from captions, read by
the text tower of the bundled CLIP as it is at that time; the tower's weights travel with the UNet's, so that a CLIP
trained anew does not change what the UNet reads.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from .. import weights
from ..denoiser import Prediction
from ..models.clip import Clip
from ..models.latent import Latent, eps_from_v
from ..samplers import ddim_step, randn_like, sample
from ..schedule import Schedule
from . import train, world
from .data import Shards
from .judges import build_judge_a, build_judge_b
from .networks import SIZE, WordTokenizer, build_autoencoder, build_latent_unet, build_text_tower
from .train import Training, _caption, held_out

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from open_clip import CLIP

KL = 1e-6  # weight of the posterior's divergence: just enough to keep latents from drifting (Rombach et al. 2022)
DROPPED = 0.1  # share of captions left empty, for classifier-free guidance (Ho & Salimans 2022)
JUDGED = 208  # samples that score the latent model
GUIDANCE, STEPS = 4.0, 25  # with which those are drawn


# ------------------------------------------------------------------------------------------------------ autoencoder


def train_autoencoder(args: argparse.Namespace, device: torch.device) -> None:
    """Absolute plus squared error, and a trace of the divergence; no discriminator."""
    network = build_autoencoder()
    run = Training.of(
        args, "autoencoder", network, Shards(args.data), device, samples=200_000, batch=32, rate=1e-3
    )

    def loss_of(images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=args.bf16):
            posterior = network.encode(images).latent_dist
            mean, logvar = posterior.mean.float(), posterior.logvar.float()
            z = mean + (0.5 * logvar).exp() * randn_like(mean, generator)
            again = network.decode(z).sample.float()
        divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum((1, 2, 3)).mean()
        return F.l1_loss(again, images) + F.mse_loss(again, images) + KL * divergence

    @torch.no_grad()
    def score() -> tuple[dict[str, float], float]:
        images, _ = held_out(130)
        averaged, images = run.averaged(), images.to(device)
        z = averaged.encode(images).latent_dist.mode()
        mse = F.mse_loss(averaged.decode(z).sample.clamp(-1, 1), images)
        return {"mse": mse.item(), "psnr": (10 * (4 / mse).log10()).item()}, 1 / z.std().item()

    run.train(loss_of)
    scores, scaling_factor = score()
    run.publish(
        scores,
        "mse",
        higher=False,
        scaling_factor=scaling_factor,
        objective=f"L1 + MSE + {KL:g} KL, averaged weights; PSNR over the range [-1, 1]",
    )


# ----------------------------------------------------------------------------------------------------- latent model


class ReadAndPredict(nn.Module):
    """The latent UNet with the text tower it reads, so that both are saved together; the tower is not trained."""

    def __init__(self, tower: CLIP):
        super().__init__()
        self.unet, self.text = build_latent_unet(), tower.requires_grad_(False)


@dataclass(frozen=True)
class Prompted:
    """A latent model under fixed prompts, as the samplers want a denoiser. text, null: token states (B, L, D)."""

    latent: Latent
    schedule: Schedule
    text: Tensor
    null: Tensor

    def __call__(self, x: Tensor, i: int) -> Prediction:
        t = int(self.schedule.timesteps[i])
        both, _ = self.latent.predict(torch.cat([x, x]), t, torch.cat([self.null, self.text]))
        eps_null, eps_text = both.chunk(2)
        eps = eps_null + GUIDANCE * (eps_text - eps_null)
        log_variance = self.schedule.posterior_log_variance[i].to(x).expand_as(x)
        return Prediction(self.schedule.x0_from_eps(x, i, eps), eps, log_variance)


def train_latent(args: argparse.Namespace, device: torch.device) -> None:
    """v-prediction on the scaled-linear schedule from captions, a tenth dropped. Needs autoencoder, CLIP and judges."""
    schedule = Schedule.scaled_linear()
    autoencoder, tokenizer, tower = _autoencoder(), *_text_tower()
    run = Training.of(
        args, "latent", ReadAndPredict(tower), Shards(args.data), device, samples=600_000, batch=64, rate=6e-4
    )
    reader = Clip(run.network.text, tokenizer, SIZE)
    latent = Latent(
        autoencoder, run.network.unet, run.network.text, reader.token_states, schedule.alphas_cumprod, eps_from_v
    ).to(device)
    run.network.unet.requires_grad_(True).train()
    a = schedule.alphas_cumprod.float().to(device)

    def loss_of(images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        captions = [_caption(style, thing, place, False, generator)[0] for style, thing, place in labels.T.tolist()]
        dropped = torch.rand(len(images), generator=generator) < DROPPED
        text = latent.text(["" if drop else caption for caption, drop in zip(captions, dropped, strict=True)])
        # Timesteps are spread evenly over each batch: the same expectation with less scatter.
        u = (torch.rand(1, generator=generator) + torch.arange(len(images)) / len(images)) % 1
        t = (u * len(schedule)).long().to(device)
        signal, rest = a[t].sqrt()[:, None, None, None], (1 - a[t]).sqrt()[:, None, None, None]
        with torch.autocast(device.type, torch.bfloat16, enabled=args.bf16):
            z = latent.encode(images)
            noise = randn_like(z, generator)
            v = run.network.unet(signal * z + rest * noise, t, encoder_hidden_states=text).sample
        return F.mse_loss(v.float(), signal * noise - rest * z)

    @torch.no_grad()
    def score() -> dict[str, float]:
        images, labels = (x.to(device) for x in held_out(65))
        run.averaged()
        losses = [loss_of(images, labels, torch.Generator().manual_seed(k)).item() for k in range(4)]
        return {"v_mse": sum(losses) / len(losses), **_judged(latent, schedule, device)}

    run.train(loss_of)
    run.publish(
        score(),
        "v_mse",
        higher=False,
        vocabulary=tokenizer.words,
        autoencoder=weights.sha256(train.WEIGHTS / "autoencoder.safetensors"),    # whose latents these are
        objective="v-prediction from captions, scaled-linear schedule, T = 1000, averaged weights; style and object: "
        f"how often judge A or B finds what the caption says in {JUDGED} samples ({STEPS} DDIM steps, guidance "
        f"{GUIDANCE:g})",
    )


def _autoencoder() -> AutoencoderKL:
    path = train.WEIGHTS / "autoencoder.safetensors"
    if not path.exists():
        raise FileNotFoundError(
            f"{path.name} is not in {path.parent}: train it first with python -m zecon_lite.tiny.train autoencoder"
        )
    network = build_autoencoder(json.loads(path.with_suffix(".json").read_text())["scaling_factor"])
    return weights.load_into(network, load_file(path), "the bundled autoencoder")


def _text_tower() -> tuple[WordTokenizer, CLIP]:
    """The text tower that committed latent weights were trained with, else the bundled CLIP's as it is now."""
    name, part = ("latent", "text.") if (train.WEIGHTS / "latent.safetensors").exists() else ("clip", "")
    path = train.WEIGHTS / f"{name}.safetensors"
    tokenizer = WordTokenizer(json.loads(path.with_suffix(".json").read_text())["vocabulary"])
    tower, tensors = build_text_tower(len(tokenizer)), load_file(path)
    tower.load_state_dict({k: tensors[part + k].float() for k in tower.state_dict()})
    return tokenizer, tower


@torch.no_grad()
def _judged(latent: Latent, schedule: Schedule, device: torch.device) -> dict[str, float]:
    """How often each judge names the style and the object that a sample's caption asked for."""
    looks = ("photo", *world.STYLES)
    style, thing = torch.arange(JUDGED) % len(looks), torch.arange(JUDGED) % len(world.OBJECTS)
    captions = [
        f"a {world.STYLE_WORDS[looks[s]][0]} of a {world.OBJECT_WORDS[world.OBJECTS[o]][0]}"
        for s, o in zip(style.tolist(), thing.tolist(), strict=True)
    ]
    short, generator, drawn = schedule.respace(STEPS), torch.Generator().manual_seed(0), []
    side = latent.unet.config.sample_size
    for first in range(0, JUDGED, 52):
        these = captions[first : first + 52]
        text, null = latent.text(these), latent.text([""]).expand(len(these), -1, -1)
        x = torch.randn(len(these), latent.unet.config.in_channels, side, side, generator=generator).to(device)
        prompted = Prompted(latent, short, text, null)
        *_, last = sample(prompted, x, range(STEPS - 1, -1, -1), step=ddim_step)  # type: ignore[arg-type]  # no features
        drawn.append(latent.decode(last.x).clamp(-1, 1).cpu())
    pictures, found = torch.cat(drawn), {}
    for letter, judge in (("a", build_judge_a()), ("b", build_judge_b())):
        weights.load_into(judge, load_file(train.WEIGHTS / f"judge_{letter}.safetensors"), f"judge {letter}")
        styles, objects, *_ = judge(pictures)
        found[f"style_{letter}"] = (styles.argmax(1) == style).float().mean().item()
        found[f"object_{letter}"] = (objects.argmax(1) == thing).float().mean().item()
    return found
