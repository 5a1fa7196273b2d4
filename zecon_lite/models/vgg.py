"""VGG feature maps behind one small interface. The network is torchvision's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(eq=False)
class VGG:
    """The feature layers of a VGG, read after the ReLU of chosen convolutions.

    features: torchvision's `vgg.features` (or a smaller one numbered alike). layers: indices of ReLUs in it; 1 and 6
    are relu1_1 and relu2_1 of VGG-19. mean, std: subtracted and divided as they stand; the released ZeCon code applies
    ImageNet's, meant for [0, 1], to pictures in [-1, 1], and so do we: its weights were tuned with that.
    """

    features: nn.Sequential
    layers: Sequence[int] = (1, 6)
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD

    def __post_init__(self) -> None:
        self.features.eval().requires_grad_(False)
        for module in self.features:
            if isinstance(module, nn.ReLU):
                module.inplace = False  # an in-place ReLU would rewrite the map that was just read

    @classmethod
    def unfilled(cls) -> VGG:
        """The feature layers of VGG-19 with weights still random: for files that are already on disk."""
        from torchvision.models.vgg import cfgs, make_layers

        return cls(make_layers(cfgs["E"]))

    def on_unit_range(self) -> VGG:
        """The same network, but mean and std are applied to pictures in [0, 1], as torchvision's VGG was trained."""
        # ((x + 1) / 2 - m) / s = (x - (2 m - 1)) / (2 s)
        return replace(self, mean=[2 * m - 1 for m in self.mean], std=[2 * s for s in self.std])

    def __call__(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [-1, 1] -> the maps after `layers`, [(B, C_k, H_k, W_k)]; runs no deeper than the last."""
        mean, std = (images.new_tensor(s)[:, None, None] for s in (self.mean, self.std))
        h, found = (images - mean) / std, {}
        for k in range(max(self.layers) + 1):
            h = self.features[k](h)
            if k in self.layers:
                found[k] = h
        return [found[k] for k in self.layers]
