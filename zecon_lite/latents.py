"""Pictures to latents and back by DDIM, between any two timesteps: the two journeys of DiffusionCLIP.

A journey is a list of timesteps, [0, 100, 200, ...], climbed to find the latent of a picture and walked down again to
come home. Here the denoiser stands on its full training schedule, so a position `i` is a timestep `t`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from . import files, weights
from .denoiser import Denoiser, Prediction, UNetDenoiser
from .progress import bar
from .samplers import randn_like
from .schedule import Schedule
from .state import Step


def journey(t0: int, n: int) -> list[int]:
    """n timesteps from 0 to t0, evenly spaced, cut to whole numbers, both ends kept (DiffusionCLIP, Kim et al. 2022).

    Raises ValueError unless 2 <= n <= t0 + 1, so that no timestep comes twice.

    >>> journey(500, 6)
    [0, 100, 200, 300, 400, 500]
    """
    if not 2 <= n <= t0 + 1:
        raise ValueError(f"between timestep 0 and {t0} there are journeys of 2 to {t0 + 1} timesteps; got {n}")
    return [k * t0 // (n - 1) for k in range(n)]


def transition(s: Schedule, p: Prediction, t_next: int) -> Tensor:
    """x at timestep t_next, from what the network believes at another one (Song et al. 2021, eq. 12, sigma = 0).

    One formula for both ways: a later t_next climbs towards noise, an earlier one comes back, -1 is the clean picture.
    """
    a_next = s.alphas_cumprod[t_next] if t_next >= 0 else s.alphas_cumprod.new_ones(())
    return a_next.sqrt() * p.x0 + (1 - a_next).sqrt() * p.eps


@torch.no_grad()
def to_latent(
    denoiser: Denoiser, x0: Tensor, times: Sequence[int], on_step: Callable[[int], None] | None = None
) -> Tensor:
    """The latent at times[-1] from which deterministic steps lead back to x0, (B, 3, H, W).

    times: see `journey`. The clean picture is read as if it stood at times[0], and the noise believed before a climb is
    the noise climbed with, so n timesteps cost n - 1 network passes and the way back is almost, not quite, a mirror.
    on_step(t): called after each pass.
    """
    x = x0
    for t, t_next in pairwise(times):
        x = transition(denoiser.schedule, denoiser(x, t), t_next)
        if on_step is not None:
            on_step(t)
    return x


def descend(denoiser: Denoiser, x: Tensor, times: Sequence[int], *, recompute: bool = False) -> Iterator[Step]:
    """Walk a latent down from times[-1] to a clean picture, yielding a `Step` for each network pass; the last x is it.

    Gradients flow through all steps where the caller's grad mode lets them. recompute: keep no activations of the
    network; the backward pass runs it once more for each step (Chen et al. 2016). The gradient is the same, the memory
    that of one network call, the time about 4/3.
    """
    s = denoiser.schedule
    for t, t_next in pairwise([*reversed(times), -1]):

        def one(x: Tensor, t: int = t, t_next: int = t_next) -> tuple[Tensor, Tensor]:
            p = denoiser(x, t)
            return transition(s, p, t_next), p.x0

        x, x0 = checkpoint(one, x, use_reentrant=False, preserve_rng_state=False) if recompute else one(x)
        yield Step(t, int(s.timesteps[t]), x, x0)


@torch.no_grad()
def from_latent(
    denoiser: Denoiser, x: Tensor, times: Sequence[int], on_step: Callable[[int], None] | None = None
) -> Tensor:
    """The clean picture to which a latent at times[-1] leads, deterministically; (B, 3, H, W), not clamped.

    on_step(t): called after each network pass.
    """
    for step in descend(denoiser, x, times):
        x = step.x
        if on_step is not None:
            on_step(step.t)
    return x


@torch.no_grad()
def into_domain(
    denoiser: Denoiser,
    image: Tensor,
    t0: int,
    n: int = 6,
    rounds: int = 1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """What the network makes of a picture from outside its world, a painting or a few strokes (B, 3, H, W).

    Each round noises the picture to t0 and walks it down in n steps (SDEdit, Meng et al. 2022). The released
    DiffusionCLIP command asks for eight rounds or more, of six steps each.
    Differs from the released code, which adds the noise of timestep t0 - 1 and starts at t0.
    """
    s, times = denoiser.schedule, journey(t0, n)
    with bar(rounds * n, "redrawing") as progress:
        for _ in range(rounds):
            x = s.noised(image, t0, randn_like(image, generator))
            image = from_latent(denoiser, x, times, lambda _: progress.update())
    return image


# --------------------------------------------------------------------------------------------------- kept on disk


def latents(
    denoiser: UNetDenoiser, images: Tensor, t0: int, n: int, folder: Path | None = None, batch: int = 8
) -> Tensor:
    """`to_latent` of each picture (B, 3, H, W) along `journey(t0, n)`, inverted `batch` at a time.

    folder: where latents are kept, one file for each; the name depends on network, picture, t0 and n, so a latent is
    found again only where it would come out the same. None keeps nothing.
    """
    times, network = journey(t0, n), digest_of(denoiser)
    paths = [folder and Path(folder) / f"{digest(network, image, f'{t0} {n}')}.safetensors" for image in images]
    found = {k: weights.read(path)["latent"] for k, path in enumerate(paths) if path and path.exists()}
    missing = [k for k in range(len(images)) if k not in found]
    groups = [missing[start : start + batch] for start in range(0, len(missing), batch)]
    with bar(len(groups) * (n - 1), "inverting") as progress:
        for group in groups:
            made = to_latent(denoiser, images[group], times, lambda _: progress.update()).cpu()
            for k, latent in zip(group, made, strict=True):
                found[k] = latent
                if path := paths[k]:
                    write(path, {"latent": latent})
    return torch.stack([found[k] for k in range(len(images))]).to(images)


def digest_of(denoiser: UNetDenoiser) -> str:
    """A short name for these very weights, read in this way: it changes when any of them does."""
    named = sorted(denoiser.unet.state_dict().items())
    return digest(type(denoiser).__name__, denoiser.schedule.alphas_cumprod, *(part for pair in named for part in pair))


def digest(*parts: str | Tensor) -> str:
    """The first 16 hex digits of the sha256 of texts and tensors."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            total.update(str((part.dtype, tuple(part.shape))).encode())
            total.update(part.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        else:
            total.update(part.encode())
    return total.hexdigest()[:16]


def write(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str] | None = None) -> Path:
    """Tensors, and texts about them, as .safetensors; the file appears whole or not at all. Returns the path."""
    from safetensors.torch import save

    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    return files.write(path, save(kept, dict(about or {})))
