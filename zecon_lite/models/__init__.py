"""The networks: our UNet, ArcFace, and thin adapters over open_clip, timm, torchvision and diffusers."""

from .arcface import ArcFace
from .clip import Clip
from .latent import Latent
from .unet import UNet, UNetConfig
from .vgg import VGG
from .vit import ViT

__all__ = ["VGG", "ArcFace", "Clip", "Latent", "UNet", "UNetConfig", "ViT"]
