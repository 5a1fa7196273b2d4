"""Which networks to use: a profile is a set of numbers and addresses; the code that runs is the same for all.

`tiny` is bundled and runs offline on a CPU in seconds; the others are the papers' published checkpoints.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from . import weights
from .denoiser import Denoiser, LearnedVariance, VPrediction
from .models.clip import Clip
from .models.unet import UNet, UNetConfig
from .models.vgg import VGG
from .schedule import Schedule


@dataclass(frozen=True)
class Profile:
    """Numbers and addresses of one set of networks.

    size: native side in pixels. denoiser: how the UNet's output is read. small: whether recipes should use the
    settings tuned for the bundled networks (`Recipe.small`).
    """

    name: str
    size: int
    unet: UNetConfig
    unet_weights: Callable[[], dict[str, Tensor]]
    denoiser: Callable[..., Denoiser]
    schedule: Callable[[], Schedule]
    feature_blocks: tuple[int, ...]
    clip: Callable[[], Clip]
    vgg: Callable[[], VGG]
    small: bool = False


class Models:
    """The networks of a profile on one device; each is loaded when it is first used, and never requires grad."""

    def __init__(self, profile: Profile, device: torch.device, dtype: torch.dtype = torch.float32):
        self.profile, self.device, self.dtype = profile, device, dtype

    @property
    def size(self) -> int:
        """The native side of pictures, in pixels."""
        return self.profile.size

    @property
    def multiple(self) -> int:
        """What picture sides must be a multiple of."""
        return self.profile.unet.stride

    @cached_property
    def denoiser(self) -> Denoiser:
        """The diffusion model on its full training schedule; `.respace(50)` for fifty steps."""
        unet = weights.build(lambda: UNet(self.profile.unet))
        unet = weights.load_into(unet, self.profile.unet_weights(), f"the UNet of profile {self.profile.name!r}")
        unet = unet.to(self.device).torso_to(self.dtype)
        return self.profile.denoiser(unet, self.profile.schedule(), self.profile.feature_blocks)

    @cached_property
    def clip(self) -> Clip:
        """The picture-and-text model that reads prompts."""
        return self.profile.clip().to(self.device)

    @cached_property
    def vgg(self) -> VGG:
        """The network whose early layers judge whether content stayed."""
        return self.profile.vgg().to(self.device)


def load_models(
    profile: str = "tiny", device: str | torch.device = "auto", dtype: torch.dtype = torch.float32
) -> Models:
    """The networks of a profile.

    device: "auto" takes CUDA where there is one, else the CPU. dtype: of the UNet's convolutions (norms stay float32).
    Raises ValueError for an unknown profile, offering the nearest, or a device that is not there.
    """
    if profile not in PROFILES:
        raise ValueError(f"there is no profile {profile!r}; {nearest(profile, PROFILES)}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"the device {str(device)!r} is not there ({str(error).splitlines()[0]}): use device='cpu' or 'auto'"
        ) from error
    return Models(PROFILES[profile], torch.device(device), dtype)


def nearest(word: str, known: object) -> str:
    """The tail of a message about a wrong name: the likeliest right one, or all of them."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.4)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(known))}"


# ------------------------------------------------------------------------------------------------ the bundled networks


def _bundled(name: str) -> dict[str, Tensor]:
    return weights.read(weights.BUNDLED / f"{name}.safetensors")


def _tiny_clip() -> Clip:
    from .tiny.networks import SIZE, WordTokenizer, build_clip

    tokenizer = WordTokenizer(json.loads((weights.BUNDLED / "clip.json").read_text())["vocabulary"])
    model = weights.load_into(build_clip(len(tokenizer)), _bundled("clip"), "the bundled CLIP")
    return Clip(model, tokenizer, SIZE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def _tiny_vgg() -> VGG:
    from .tiny.networks import build_vgg

    tensors = {k.removeprefix("features."): v for k, v in _bundled("vgg").items() if k.startswith("features.")}
    features: nn.Sequential = weights.load_into(build_vgg(), tensors, "the bundled VGG")
    return VGG(features, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def _tiny() -> Profile:
    from .tiny.networks import FEATURE_BLOCKS, SIZE, UNET

    return Profile(
        "tiny",
        SIZE,
        UNET,
        lambda: _bundled("unet"),
        VPrediction,
        Schedule.cosine,
        FEATURE_BLOCKS,
        _tiny_clip,
        _tiny_vgg,
        small=True,
    )


# --------------------------------------------------------------------------------------------- the papers' checkpoints

_FFHQ = UNetConfig(model_channels=128, num_res_blocks=1, attention_resolutions=(16,))

PROFILES: dict[str, Profile] = {
    "tiny": _tiny(),
    "imagenet256": Profile(
        "imagenet256",
        256,
        UNetConfig(),
        lambda: weights.read(weights.find(weights.IMAGENET256)),
        LearnedVariance,
        Schedule.linear,
        (0, 2, 5, 8, 11),
        Clip.pretrained,
        VGG.pretrained,
    ),
    "ffhq256": Profile(
        "ffhq256",
        256,
        _FFHQ,
        lambda: weights.read(weights.find(weights.FFHQ256)),
        LearnedVariance,
        Schedule.linear,
        (0, 2, 5, 8, 11),
        Clip.pretrained,
        VGG.pretrained,
    ),
}
