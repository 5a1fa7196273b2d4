"""What fine-tuning has learnt, apart from the network: small files that change a UNet by a chosen degree.

An attribute is a set of changes to weights, W + degree * dW, kept whole or as a product of two thin matrices (LoRA).
Adding changes costs nothing per step. `Mixture` is the papers' way instead: run each network and mix what they believe.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from . import weights
from .denoiser import Denoiser, Prediction, UNetDenoiser
from .latents import digest, write
from .schedule import Schedule

A, B = ":A", ":B"    # the two factors of a change of low rank, after the parameter's name
FORMAT = "zecon_lite adapter 1"


@dataclass(frozen=True, eq=False)
class Adapter:
    """The changes that one attribute makes to the weights of a UNet.

    tensors: parameter name -> its change; or name:A (R, ...) and name:B (C, R) whose product it is. about: what it was
    trained for, as texts; "network" names the weights that it belongs to (see `name_of`).
    """

    tensors: Mapping[str, Tensor]
    about: Mapping[str, str] = field(default_factory=dict)

    def changes(self) -> dict[str, Tensor]:
        """Parameter name -> dW, float32. For a change of low rank, B A (Hu et al. 2022), not yet in W's shape."""
        whole = {name: t.float() for name, t in self.tensors.items() if not name.endswith((A, B))}
        thin = [name.removesuffix(A) for name in self.tensors if name.endswith(A)]
        products = {
            name: self.tensors[name + B].float().flatten(1) @ self.tensors[name + A].float().flatten(1) for name in thin
        }
        return whole | products

    def save(self, path: str | Path) -> Path:
        """Write a .safetensors file in half precision; returns the path. It appears whole or not at all.

        Raises FloatingPointError for NaN, infinity, and what half precision cannot hold; ValueError for another suffix.
        """
        if Path(path).suffix != ".safetensors":
            raise ValueError(f"an adapter is a .safetensors file; got {path}: name it {Path(path).stem}.safetensors")
        halved = {name: t.half() for name, t in self.tensors.items()}
        if not all(t.isfinite().all() for t in halved.values()):
            raise FloatingPointError("the adapter holds NaN or infinity, so it was not saved: lower the learning rate")
        return write(Path(path), halved, {**self.about, "format": FORMAT})

    @classmethod
    def load(cls, path: str | Path) -> Adapter:
        """The adapter in a file. Raises FileNotFoundError or ValueError, with the cure, for anything else."""
        path = Path(path)
        if path.suffix != ".safetensors":
            raise ValueError(f"an adapter is a .safetensors file; got {path.name}: make one with `zecon-lite finetune`")
        tensors = weights.read(path)
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
        if about.pop("format", None) != FORMAT:
            raise ValueError(f"{path.name} holds tensors but is no adapter: make one with `zecon-lite finetune`")
        left, right = ({name[:-2] for name in tensors if name.endswith(end)} for end in (":A", ":B"))
        if left != right:
            raise ValueError(f"{path.name} lacks one of the two factors of {min(left ^ right)}: make it again")
        return cls(tensors, about)


def name_of(denoiser: UNetDenoiser) -> str:
    """A short name for the network that an adapter belongs to, the same in every precision.

    Made from the layers that stay float32 in all of them, see `UNet.torso_to`: what was learnt in half precision on a
    GPU also fits the same network in float32.
    """
    unet = denoiser.unet
    kept = [part for layer in (unet.time_embed, unet.out) for named in layer.state_dict().items() for part in named]
    return digest(type(denoiser).__name__, denoiser.schedule.alphas_cumprod, *kept)


def tuned(
    denoiser: UNetDenoiser, adapters: Sequence[Adapter], degrees: Sequence[float] | None = None
) -> UNetDenoiser:
    """The denoiser with each adapter's changes added, each by its degree: 0 leaves it as it is, 1 is as trained.

    One network, one pass, whatever the number of adapters; the given denoiser is left alone. Degrees beyond [0, 1]
    exaggerate or go the other way. The changed network computes in float32, as the pupil did: what is learnt is small
    beside the weights, and half precision would round much of it away.
    Raises ValueError when an adapter belongs to another network, or there are not as many degrees as adapters.
    """
    degrees = [1.0] * len(adapters) if degrees is None else list(degrees)
    if len(degrees) != len(adapters):
        raise ValueError(f"give one degree for each adapter; got {len(degrees)} for {len(adapters)}")
    network = name_of(denoiser)
    unet = copy.deepcopy(denoiser.unet)
    unet = unet.float() if any(degrees) else unet
    parameters = dict(unet.named_parameters())
    for adapter, degree in zip(adapters, degrees, strict=True):
        if adapter.about.get("network", network) != network:
            raise ValueError(
                f"the adapter for {adapter.about.get('prompt', 'an attribute')!r} was trained on another network "
                f"(profile {adapter.about.get('profile', 'unknown')!r}): load the models of that profile"
            )
        with torch.no_grad():
            for name, change in adapter.changes().items():
                if name not in parameters or change.numel() != parameters[name].numel():
                    raise ValueError(f"the adapter changes {name}, {tuple(change.shape)}, which this network has not")
                weight: Tensor = parameters[name]
                weight += degree * change.view_as(weight).to(weight.device)
    return replace(denoiser, unet=unet)


# -------------------------------------------------------------------------------------------- mixing what they believe

Shares = Callable[[int], Sequence[float]]    # timestep -> one number for each denoiser


@dataclass(frozen=True)
class Mixture:
    """Several denoisers as one: the weighted mean of what they believe (DiffusionCLIP, Kim et al. 2022).

    shares: one weight for each denoiser, or a function of the timestep that gives them (see `bands`). Only their ratio
    counts: they are divided by their sum. A denoiser whose share is 0 is not run.
    With (1 - degree, degree) for the original and a tuned network it is the degree of a change.
    Differs from the released code, which runs all denoisers, takes batches of one only, and leaves the original out.
    """

    denoisers: Sequence[Denoiser]
    shares: Sequence[float] | Shares

    @property
    def schedule(self) -> Schedule:
        """The one that all share."""
        return self.denoisers[0].schedule

    @property
    def feature_blocks(self) -> Sequence[int]:
        """The first denoiser's, as its `features` are."""
        return self.denoisers[0].feature_blocks  # type: ignore[attr-defined]  # where ZeCon asks, it has them

    def __call__(self, x: Tensor, i: int) -> Prediction:
        """See `Denoiser`. Raises ValueError for a number of shares that is not theirs, or a sum that is not above 0."""
        shares = list(self.shares(int(self.schedule.timesteps[i])) if callable(self.shares) else self.shares)
        if len(shares) != len(self.denoisers) or not sum(shares) > 0:
            raise ValueError(
                f"give each of the {len(self.denoisers)} denoisers a share, with a sum above 0; got {shares}"
            )
        active = [(share / sum(shares), d(x, i)) for share, d in zip(shares, self.denoisers, strict=True) if share]
        if len(active) == 1:                                               # bit for bit the one denoiser
            return active[0][1]
        return Prediction(*(
            sum(share * getattr(p, part) for share, p in active) for part in ("x0", "eps", "log_variance")
        ))

    def features(self, x: Tensor, t: int, blocks: Sequence[int]) -> list[Tensor]:
        """The first denoiser's."""
        return self.denoisers[0].features(x, t, blocks)

    def respace(self, n: int) -> Mixture:
        """The same mixture on n positions."""
        return replace(self, denoisers=tuple(d.respace(n) for d in self.denoisers))


def degree_of_change(original: Denoiser, pupils: Sequence[Denoiser], degrees: Sequence[float]) -> Mixture:
    """Each pupil by its degree and the original by what is left to 1; where nothing is left, the pupils alone."""
    return Mixture((original, *pupils), (max(0.0, 1 - sum(degrees)), *degrees))


def bands(shares: Mapping[int, Sequence[float]]) -> Shares:
    """Shares that change with time: {300: (1, 0), 0: (0.3, 0.7)} is (1, 0) from timestep 300 up and (0.3, 0.7) below.

    Early timesteps lay out shapes, late ones textures. Raises ValueError when no band begins at 0.

    >>> shares = bands({300: (1, 0), 0: (0.3, 0.7)})
    >>> shares(999), shares(300), shares(299)
    ((1, 0), (1, 0), (0.3, 0.7))
    """
    if 0 not in shares:
        raise ValueError(f"the bands must reach down to timestep 0; got bands from {sorted(shares)}: add one from 0")
    starts = sorted(shares, reverse=True)
    return lambda t: shares[next(start for start in starts if t >= start)]


# --------------------------------------------------------------------------------------------------- what is trained


@dataclass(frozen=True, eq=False)
class Trainable:
    """A copy of a denoiser that learns: the parameters that do, and how to read off what they have learnt."""

    denoiser: UNetDenoiser
    parameters: Mapping[str, nn.Parameter]
    learnt: Callable[[], dict[str, Tensor]]    # the tensors of an `Adapter`


def whole(denoiser: UNetDenoiser) -> Trainable:
    """A copy of which every parameter learns, as in the paper; an attribute is as large as the network, at 2 bytes."""
    start = {name: p.detach() for name, p in denoiser.unet.named_parameters()}
    unet = copy.deepcopy(denoiser.unet).float().requires_grad_(True)
    parameters = dict(unet.named_parameters())
    return Trainable(
        replace(denoiser, unet=unet),
        parameters,
        lambda: {name: (p.detach() - start[name]).cpu() for name, p in parameters.items()},
    )


def low_rank(denoiser: UNetDenoiser, rank: int, seed: int = 0) -> Trainable:
    """A copy whose convolutions and linear layers learn changes of low rank (LoRA, Hu et al. 2022), through `peft`.

    Starts as the denoiser itself: B is 0 and A is drawn from the seed. Raises ValueError for a rank below 1, and
    ModuleNotFoundError with the cure where peft is not installed.
    """
    if rank < 1:
        raise ValueError(f"rank must be at least 1; got {rank}: 8 is a good start, None trains all weights")
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'changes of low rank need {error.name}: pip install "zecon-lite[finetune]", or train without a rank',
            name=error.name,
        ) from error
    unet = copy.deepcopy(denoiser.unet).float()
    layers = [name for name, m in unet.named_modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d)]
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules="|".join(map(re.escape, layers)))
    with torch.random.fork_rng(devices=[]):    # peft draws from the global source, which is given back as it was
        torch.default_generator.manual_seed(seed)    # of the CPU alone, where peft draws
        unet = inject_adapter_in_model(config, unet)
    modules = {name: m for name, m in unet.named_modules() if hasattr(m, "lora_A")}

    def learnt() -> dict[str, Tensor]:
        factors = {A: "lora_A", B: "lora_B"}
        return {
            f"{name}.weight{end}": getattr(m, factor)["default"].weight.detach().cpu().clone()
            for name, m in modules.items()
            for end, factor in factors.items()
        }

    return Trainable(
        replace(denoiser, unet=unet), {name: p for name, p in unet.named_parameters() if p.requires_grad}, learnt
    )
