"""The bundled networks: small configurations of the very classes that the full profile uses.

Only numbers stand here. The UNet is `zecon_lite.models.unet.UNet` (guided-diffusion names), the CLIP is
`open_clip.CLIP` with a `timm` convolutional image tower, the VGG is torchvision's layer list.
"""

from __future__ import annotations

import difflib
import re
import warnings
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..models.latent import diffusers
from ..models.unet import UNet, UNetConfig
from . import world

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from open_clip import CLIP
    from timm.models.vision_transformer import VisionTransformer

SIZE = 64  # side of the pictures that the networks are trained on

UNET = UNetConfig(
    image_size=SIZE,
    out_channels=3,
    model_channels=48,
    num_res_blocks=1,
    attention_resolutions=(2, 4),
    channel_mult=(1, 2, 3),
    num_head_channels=48,
    resblock_updown=False,
    norm_groups=8,
    patch_size=2,
)
FEATURE_BLOCKS = (1, 3, 5)  # the encoder blocks that ZeCon compares: 32, 16 and 8 positions a side

CLIP_EMBED = 128
CLIP_VISION = {"timm_model_name": "zecon_tiny_resnet", "timm_pool": "avg", "timm_proj": "linear", "image_size": SIZE}
CLIP_TEXT = {"context_length": 18, "width": 96, "heads": 4, "layers": 2}

# Like torchvision's VGG-19, two convolutions before each of the first two poolings: the same layers mean the same.
VGG_LAYERS = (16, 16, "M", 32, 32, "M", 64, 64, "M", 128, 128)

AUTOENCODER = {
    "sample_size": SIZE,
    "block_out_channels": (16, 32, 80),
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 8,
    "mid_block_add_attention": False,
}
# diffusers reads attention_head_dim as the number of heads here; one at 16 x 16, where attention takes most time.
LATENT_UNET = {
    "sample_size": SIZE // 4,
    "block_out_channels": (48, 96, 96),
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "cross_attention_dim": CLIP_TEXT["width"],
    "attention_head_dim": (1, 2, 2),
    "norm_num_groups": 16,
}

VIT = {"img_size": SIZE, "patch_size": 8, "embed_dim": 128, "depth": 6, "num_heads": 4, "qkv_bias": True}


class WordTokenizer:
    """Words to numbers: 0 pads, then the vocabulary in order, then unknown, start and end (the highest, as CLIP needs).

    Called with texts, returns (B, context_length) int64. Case and punctuation do not matter; longer texts are cut.
    """

    def __init__(self, words: list[str], context_length: int = CLIP_TEXT["context_length"]):
        self.words = list(words)
        self.context_length = context_length
        self.index = {word: k for k, word in enumerate(self.words, start=1)}
        self.unknown = len(self.words) + 1
        self.start, self.end = self.unknown + 1, self.unknown + 2

    def __len__(self) -> int:
        return self.end + 1

    @staticmethod
    def split(text: str) -> list[str]:
        """The words of a text: lower case, letters and digits only."""
        return re.findall(r"[a-z0-9]+", text.lower())

    def check(self, text: str) -> None:
        """Warns of words that there is no room for or that the vocabulary does not have, naming the nearest it has.

        Raises ValueError where the text has no word at all, known or not, as in other scripts and in "!!!".
        """
        said = self.split(text)
        if not said:
            raise ValueError(
                f"the bundled CLIP finds no word in {text!r}: it reads English, in the letters a to z, such as "
                '"a pencil sketch"'
            )
        if rest := said[self.context_length - 2 :]:
            warnings.warn(
                f"the bundled CLIP has no room for so many words, and does not read {' '.join(rest)!r}: make the "
                "prompt shorter",
                stacklevel=5,
            )
        for word in said:
            if word not in self.index:
                near = difflib.get_close_matches(word, self.words, n=3, cutoff=0.5)
                hint = f"the nearest it knows: {', '.join(near)}" if near else "it has no word like it"
                warnings.warn(
                    f"the bundled CLIP does not know the word {word!r} ({hint}); it is read as an unknown word "
                    '(in the book: "Setting up")',
                    stacklevel=5,
                )

    def __call__(self, texts: list[str]) -> Tensor:
        tokens = torch.zeros(len(texts), self.context_length, dtype=torch.int64)
        for row, text in zip(tokens, texts, strict=True):
            body = [self.index.get(word, self.unknown) for word in self.split(text)][: self.context_length - 2]
            ids = torch.tensor([self.start, *body, self.end])
            row[: len(ids)] = ids
        return tokens


def build_unet() -> UNet:
    """The bundled UNet, untrained."""
    return UNet(UNET)


def build_clip(vocabulary_size: int) -> CLIP:
    """The bundled CLIP, untrained: `open_clip.CLIP` with a convolutional, mean-pooled image tower."""
    import open_clip

    from . import image_tower  # noqa: F401  (registers the tower with timm)

    text = {**CLIP_TEXT, "vocab_size": vocabulary_size}
    return open_clip.CLIP(embed_dim=CLIP_EMBED, vision_cfg=dict(CLIP_VISION), text_cfg=text)


def build_vgg() -> nn.Sequential:
    """The bundled VGG's feature layers, untrained, numbered as torchvision numbers them."""
    from torchvision.models.vgg import make_layers

    return make_layers(list(VGG_LAYERS))


def build_vit() -> VisionTransformer:
    """The bundled vision transformer, untrained: timm's class with DINO's choices (exact GELU, LayerNorm eps 1e-6)."""
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(**VIT, num_classes=0, norm_layer=partial(nn.LayerNorm, eps=1e-6))


def build_autoencoder(scaling_factor: float = 1.0) -> AutoencoderKL:
    """The bundled autoencoder, untrained: diffusers' class; 64 px to a latent of 4 x 16 x 16.

    scaling_factor: what brings latents to about unit variance; the trained one's stands on its card.
    """
    return diffusers().AutoencoderKL(**AUTOENCODER, scaling_factor=scaling_factor)


def build_latent_unet() -> UNet2DConditionModel:
    """The bundled text-conditional UNet, untrained: diffusers' class; it reads `Clip.token_states`."""
    return diffusers().UNet2DConditionModel(**LATENT_UNET)


def build_text_tower(vocabulary_size: int) -> CLIP:
    """The bundled CLIP without its image tower, untrained."""
    clip = build_clip(vocabulary_size)
    del clip.visual
    return clip


class VGGClassifier(nn.Module):
    """The bundled VGG with average pooling and one linear head over styles (photo first), objects and backgrounds.

    (B, 3, H, W) in [-1, 1] -> three tables of logits. Trained on the style world, it is also the book's style judge.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = build_vgg()
        self.split = (len(world.STYLES) + 1, len(world.OBJECTS), len(world.BACKGROUNDS))
        self.head = nn.Linear(VGG_LAYERS[-1], sum(self.split))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.head(self.features(images).mean((2, 3))).split(self.split, dim=1)
