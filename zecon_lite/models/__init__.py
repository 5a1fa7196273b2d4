"""The networks: our UNet, and thin adapters over open_clip and torchvision."""

from .clip import Clip
from .unet import UNet, UNetConfig
from .vgg import VGG

__all__ = ["VGG", "Clip", "UNet", "UNetConfig"]
