"""A vision transformer behind one small interface: pictures to keys and [CLS]. The network is timm's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .resize import bilinear
from .vgg import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer


@dataclass(eq=False)
class ViT:
    """A timm `VisionTransformer`, read at its last block (Tumanyan et al. 2022, "Splicing ViT features").

    size: the side, in pixels, of the square pictures it reads; others are resized to that, bilinearly, whatever their
    shape. antialias: False as in the released DiffuseIT code; True averages over what shrinking would skip.
    mean, std: of pictures in [0, 1], per channel. autocast: a precision, such as torch.bfloat16, for its matrix
    products; what is read stays float32.
    """

    model: VisionTransformer
    size: int = 224
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    antialias: bool = False
    autocast: torch.dtype | None = None

    def __post_init__(self) -> None:
        if not getattr(self.model, "has_class_token", False):
            raise ValueError(
                f"{type(self.model).__name__} has no [CLS] token, whose features are needed: take a timm "
                "VisionTransformer that has one, such as vit_base_patch8_224.dino"
            )
        self.model.eval().requires_grad_(False)

    @classmethod
    def unfilled(cls, name: str = "vit_base_patch8_224.dino") -> ViT:
        """A vision transformer by timm's name (DINO's ViT-B/8), weights still random: for files that are on disk."""
        import timm

        model = timm.create_model(name, pretrained=False, num_classes=0)
        return cls(model, model.patch_embed.img_size[-1])

    def keys_and_cls(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) in [-1, 1] -> the last block's keys (B, T, D) and [CLS] (B, D), from one forward pass.

        Row 0 of the keys is that of [CLS], then one row for each patch, the heads side by side. [CLS] is read where
        it leaves the last block: before the final LayerNorm, which would take its length away.
        """
        images = bilinear(images, self.size, self.antialias)
        mean, std = (images.new_tensor(s)[:, None, None] for s in (self.mean, self.std))
        with torch.autocast(images.device.type, self.autocast, enabled=self.autocast is not None):
            keys, cls = read_last_block(self.model, ((images + 1) / 2 - mean) / std)
        return keys.to(images.dtype), cls.to(images.dtype)

    def patches(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, D, h, w): the keys of the patches, without that of [CLS], as a grid."""
        keys, _ = self.keys_and_cls(images)
        grid = self.model.patch_embed.grid_size
        return keys[:, -grid[0] * grid[1] :].mT.unflatten(2, grid)


def read_last_block(model: VisionTransformer, images: Tensor) -> tuple[Tensor, Tensor]:
    """The keys (B, T, D) of the last block, and [CLS] (B, D) as it leaves that; images as the model was trained."""
    seen: dict[str, Tensor] = {}
    block = model.blocks[-1]
    hooks = [
        block.attn.qkv.register_forward_hook(lambda module, inputs, output: seen.update(qkv=output)),
        block.register_forward_hook(lambda module, inputs, output: seen.update(tokens=output)),
    ]
    try:
        model.forward_features(images)
    finally:
        for hook in hooks:
            hook.remove()
    return seen["qkv"].chunk(3, dim=-1)[1], seen["tokens"][:, 0]
