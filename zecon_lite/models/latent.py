"""A latent diffusion model behind one small interface. The networks are diffusers'.

A picture becomes a latent z, smaller and with more channels, and the noise is predicted there, from a text (Rombach et
al. 2022). Latents are float32 (B, C, h, w); texts are token states (B, L, D).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel

STABLE_DIFFUSION = "stable-diffusion-v1-5/stable-diffusion-v1-5"


def eps_from_eps(z: Tensor, a: Tensor, output: Tensor) -> Tensor:
    """The predicted noise, where the network predicts noise."""
    return output


def eps_from_v(z: Tensor, a: Tensor, output: Tensor) -> Tensor:
    """The predicted noise, sqrt(a) v + sqrt(1 - a) z, where the network predicts v (Salimans & Ho 2022, section 4).

    z: the noisy latent. a: alphas_cumprod there.
    """
    return a.sqrt() * output + (1 - a).sqrt() * z


PREDICTIONS = {"epsilon": eps_from_eps, "v_prediction": eps_from_v}
"""diffusers' name for what a network predicts -> how the noise follows from it."""


@dataclass(eq=False)
class Latent:
    """An autoencoder, a text-conditional UNet, and how a prompt is read.

    autoencoder: a diffusers AutoencoderKL. unet: a UNet2DConditionModel. text_encoder: the network behind read(texts),
    which gives token states (B, L, D). alphas_cumprod: (N,) float64, of the training schedule. eps: one of PREDICTIONS.
    autocast: a precision, such as torch.bfloat16, for the UNet's inside; latents and features stay float32, since half
    precision would lose most of an edit's small steps. tiles: pictures larger than the native side are encoded and
    decoded in overlapping tiles (diffusers' tiling), with the memory of one; each tile is normalised by itself, so
    colours may differ a little. The UNet sees the whole latent.
    """

    autoencoder: AutoencoderKL
    unet: UNet2DConditionModel
    text_encoder: nn.Module
    read: Callable[[list[str]], Tensor]
    alphas_cumprod: Tensor
    eps: Callable[[Tensor, Tensor, Tensor], Tensor] = eps_from_eps
    name: str = "latent"
    autocast: torch.dtype | None = None
    tiles: bool = False

    def __post_init__(self) -> None:
        for network in (self.autoencoder, self.unet, self.text_encoder):
            network.eval().requires_grad_(False)

    @classmethod
    def from_pipeline(cls, pipeline: StableDiffusionPipeline) -> Latent:
        """The networks of a Stable Diffusion 1 or 2 pipeline, where they are; from here on nothing in it requires grad.

        Raises ValueError for a pipeline of another kind.
        """
        unet: Any = getattr(pipeline, "unet", None)
        vae: Any = getattr(pipeline, "vae", None)
        plain = getattr(unet, "config", {}).get("addition_embed_type", "no UNet") is None
        if not plain or vae is None or getattr(pipeline, "text_encoder", None) is None:
            raise ValueError(
                f"a Stable Diffusion 1 or 2 pipeline is wanted, with a text encoder, an autoencoder and a UNet that "
                f"reads text alone; got {type(pipeline).__name__}: load one with diffusers.StableDiffusionPipeline"
            )
        kind = pipeline.scheduler.config.get("prediction_type")
        if kind not in PREDICTIONS:
            raise ValueError(f"the UNet predicts {kind!r}; known are {', '.join(PREDICTIONS)}: use another checkpoint")

        def read(texts: list[str]) -> Tensor:
            return pipeline.encode_prompt(texts, unet.device, 1, False)[0]

        name = getattr(unet.config, "_name_or_path", "") or type(pipeline).__name__
        table = pipeline.scheduler.alphas_cumprod.double().cpu()
        return cls(vae, unet, pipeline.text_encoder, read, table, PREDICTIONS[kind], name)

    @classmethod
    def pretrained(cls, name: str | Path = STABLE_DIFFUSION) -> Latent:
        """A Stable Diffusion 1 or 2 from a folder that `save_pretrained` wrote, or by its name on the Hugging Face hub.

        A name's weights are downloaded on first use; only safetensors are read. Raises OSError where there is none.
        """
        library = diffusers()
        try:
            pipeline = library.StableDiffusionPipeline.from_pretrained(
                str(name), safety_checker=None, requires_safety_checker=False, use_safetensors=True
            )
        except (OSError, ValueError) as error:
            raise OSError(
                f"no latent diffusion model could be loaded from {str(name)!r} ({str(error).splitlines()[0]}): give a "
                f"folder that save_pretrained wrote, or a name on the Hugging Face hub, such as {STABLE_DIFFUSION}"
            ) from error
        pipeline.set_progress_bar_config(disable=True)
        latent = cls.from_pipeline(pipeline)
        latent.name = str(name)
        return latent

    @property
    def device(self) -> torch.device:
        return next(self.unet.parameters()).device

    def to(self, device: torch.device | str) -> Latent:
        """Move the networks; returns self."""
        for network in (self.autoencoder, self.unet, self.text_encoder):
            network.to(device)
        return self

    @property
    def size(self) -> int:
        """The native side of pictures, in pixels."""
        return self.unet.config.sample_size * self._shrink

    @property
    def multiple(self) -> int:
        """What picture sides must be a multiple of: every map of the UNet then divides evenly."""
        return self._shrink * 2 ** (len(self.unet.config.block_out_channels) - 1)

    @property
    def _shrink(self) -> int:
        """Pixels to a latent's side."""
        return 2 ** (len(self.autoencoder.config.block_out_channels) - 1)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> z (B, C, h, w): the posterior's mean, scaled to about unit variance."""
        self.autoencoder.use_tiling = self.tiles
        posterior = self.autoencoder.encode(images.to(self.device, self.autoencoder.dtype)).latent_dist
        return posterior.mode().float() * self.autoencoder.config.scaling_factor

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """z (B, C, h, w) -> (B, 3, H, W), about in [-1, 1]."""
        self.autoencoder.use_tiling = self.tiles
        z = (z / self.autoencoder.config.scaling_factor).to(self.autoencoder.dtype)
        return self.autoencoder.decode(z).sample.float()

    @torch.no_grad()
    def text(self, texts: str | Sequence[str]) -> Tensor:
        """Texts -> token states (B, L, D), what the UNet's cross-attention reads; "" is the empty prompt."""
        return self.read([texts] if isinstance(texts, str) else list(texts)).float()

    def layers(self, parts: str | Sequence[str] = ("up_blocks",), kind: str = "attn1") -> list[str]:
        """Names of the attention layers whose name holds one of `parts`, in the order of the network.

        kind: "attn1" for self-attention, "attn2" for attention to the text. Raises ValueError where there is none.
        """
        parts = (parts,) if isinstance(parts, str) else parts
        known = [name for name, _ in self.unet.named_modules() if name.endswith(kind)]
        found = [name for name in known if any(part in name for part in parts)]
        if not found:
            raise ValueError(
                f"no {kind} layer of this UNet has {' or '.join(map(repr, parts))} in its name; "
                f"there are {', '.join(known) or 'none at all'}"
            )
        return found

    def predict(self, z: Tensor, i: int, text: Tensor, layers: Sequence[str] = ()) -> tuple[Tensor, list[Tensor]]:
        """The noise in z (B, C, h, w) at position i of the training schedule, and what the named layers put out.

        The features are maps (B, C_k, h_k, w_k): an attention layer's output after its last linear layer, before it is
        added to what came in. Both are float32 and carry the gradient to z.
        """
        seen: dict[str, Tensor] = {}
        hooks = [self.unet.get_submodule(n).register_forward_hook(partial(_keep, seen, n)) for n in layers]
        try:
            with torch.autocast(z.device.type, self.autocast, enabled=self.autocast is not None):
                output = self.unet(z.to(self.unet.dtype), i, encoder_hidden_states=text.to(self.unet.dtype)).sample
        finally:
            for hook in hooks:
                hook.remove()
        eps = self.eps(z, self.alphas_cumprod[i], output.float())
        return eps, [_as_map(seen[name].float(), *z.shape[-2:]) for name in layers]


def _keep(seen: dict[str, Tensor], name: str, module: nn.Module, inputs: tuple[object, ...], output: Tensor) -> None:
    seen[name] = output


def _as_map(tokens: Tensor, height: int, width: int) -> Tensor:
    """(B, h * w, C) -> (B, C, h, w), a map of the same shape as height x width, a whole number of times smaller."""
    factor = round((height * width / tokens.shape[1]) ** 0.5)
    return tokens.mT.unflatten(2, (height // factor, width // factor))


def diffusers() -> ModuleType:
    """The library. Raises ModuleNotFoundError with the cure where it is not installed."""
    try:
        import diffusers
        import transformers  # noqa: F401  (the pipelines' text encoders)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'the latent diffusion model needs {error.name}: pip install "zecon-lite[latent]"', name=error.name
        ) from error
    return diffusers
