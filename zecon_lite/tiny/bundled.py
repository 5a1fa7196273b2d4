"""The bundled networks with their weights, as the adapters that the package works with."""

from __future__ import annotations

import json

from torch import Tensor, nn

from .. import weights
from ..models.clip import Clip
from ..models.latent import Latent, eps_from_v
from ..models.vgg import VGG
from ..models.vit import ViT
from ..schedule import Schedule


def tensors_of(name: str) -> dict[str, Tensor]:
    """The tensors of a bundled file, by its name without suffix."""
    return weights.read(weights.BUNDLED / f"{name}.safetensors")


def load_clip() -> Clip:
    """The CLIP of the style world, which knows its few words."""
    from .networks import SIZE, WordTokenizer, build_clip

    tokenizer = WordTokenizer(json.loads((weights.BUNDLED / "clip.json").read_text())["vocabulary"])
    model = weights.load_into(build_clip(len(tokenizer)), tensors_of("clip"), "the bundled CLIP")
    return Clip(model, tokenizer, SIZE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def load_vgg() -> VGG:
    """The features of the classifier of styles and objects; trained on pictures in [-1, 1]."""
    from .networks import build_vgg

    tensors = {k.removeprefix("features."): v for k, v in tensors_of("vgg").items() if k.startswith("features.")}
    features: nn.Sequential = weights.load_into(build_vgg(), tensors, "the bundled VGG")
    return VGG(features, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def load_vit() -> ViT:
    """The vision transformer of the style world."""
    from .networks import SIZE, build_vit

    tensors = {k.removeprefix("vit."): v for k, v in tensors_of("vit").items() if k.startswith("vit.")}
    model = weights.load_into(build_vit(), tensors, "the bundled ViT")
    return ViT(model, SIZE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def load_latent() -> Latent:
    """The latent diffusion model.

    Raises FileNotFoundError where it is not trained, ValueError where it was trained on another autoencoder's latents,
    each with the cure.
    """
    from .networks import SIZE, WordTokenizer, build_autoencoder, build_latent_unet, build_text_tower

    for name in ("autoencoder", "latent"):
        if not (weights.BUNDLED / f"{name}.safetensors").exists():
            raise FileNotFoundError(
                f"the bundled latent diffusion model is not trained: {name}.safetensors is not in {weights.BUNDLED}; "
                "train it with python -m zecon_lite.tiny.train autoencoder, then python -m zecon_lite.tiny.train "
                "latent, or use Stable Diffusion: --model FOLDER at the command line, latent=Latent.pretrained() in "
                "Python"
            )
    cards = {name: json.loads((weights.BUNDLED / f"{name}.json").read_text()) for name in ("autoencoder", "latent")}
    if weights.sha256(weights.BUNDLED / "autoencoder.safetensors") != cards["latent"]["autoencoder"]:
        raise ValueError(
            "the bundled latent diffusion model knows the latents of another autoencoder: train it anew with python -m "
            "zecon_lite.tiny.train latent --anew, or put the autoencoder back that it was trained with"
        )
    autoencoder = weights.load_into(
        build_autoencoder(cards["autoencoder"]["scaling_factor"]), tensors_of("autoencoder"), "the bundled autoencoder"
    )
    tensors, tokenizer = tensors_of("latent"), WordTokenizer(cards["latent"]["vocabulary"])
    unet, tower = (
        weights.load_into(network, {k.removeprefix(part): v for k, v in tensors.items() if k.startswith(part)}, name)
        for network, part, name in (
            (build_latent_unet(), "unet.", "the bundled latent UNet"),
            (build_text_tower(len(tokenizer)), "text.", "the bundled latent model's text tower"),
        )
    )
    reader = Clip(tower, tokenizer, SIZE)
    table = Schedule.scaled_linear().alphas_cumprod
    return Latent(autoencoder, unet, tower, reader.token_states, table, eps_from_v, "tiny")
