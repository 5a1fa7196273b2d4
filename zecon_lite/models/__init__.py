"""The networks: our UNet, and thin adapters over open_clip, timm, torchvision and diffusers."""

from .clip import Clip
from .latent import Latent
from .unet import UNet, UNetConfig
from .vgg import VGG
from .vit import ViT

__all__ = ["VGG", "Clip", "Latent", "UNet", "UNetConfig", "ViT"]
