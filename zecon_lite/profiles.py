"""Which networks to use: a profile is a set of numbers and addresses; the code that runs is the same for all.

`tiny` is bundled and runs offline on a CPU in seconds; the others are the papers' published checkpoints.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from textwrap import shorten
from typing import Any, TypeVar

import torch
from torch import Tensor

from . import weights
from .denoiser import LearnedVariance, UNetDenoiser, VPrediction
from .memory import (
    LOW_MEMORY,
    Memory,
    Network,
    Saving,
    bytes_of,
    half_precision,
    moved,
    naming_the_knob,
    peak,
    restart_peak,
)
from .models.arcface import ArcFace
from .models.clip import Clip
from .models.latent import STABLE_DIFFUSION, Latent
from .models.resize import Resize, bilinear, by_area
from .models.unet import UNet, UNetConfig
from .models.vgg import VGG
from .models.vit import ViT
from .schedule import Schedule
from .tiny import bundled

Value = TypeVar("Value")


@dataclass(frozen=True)
class Profile:
    """Numbers and addresses of one set of networks.

    size: native side in pixels. denoiser: how the UNet's output is read. small: whether recipes should use the
    settings tuned for the bundled networks (`Recipe.small`). style_layers: the ReLUs of the VGG whose Gram matrices are
    style. clips: the ensemble that DiffuseIT asks; None: `clip` alone. face: faces (B, 3, 112, 112) in [-1, 1] to
    embeddings (B, D), a network or any function; the bundled networks have none.
    """

    name: str
    size: int
    unet: UNetConfig
    unet_weights: Callable[[], dict[str, Tensor]]
    denoiser: Callable[[UNet, Schedule, Sequence[int]], UNetDenoiser]
    schedule: Callable[[], Schedule]
    feature_blocks: tuple[int, ...]
    clip: Callable[[], Clip]
    vgg: Callable[[], VGG]
    vit: Callable[[], ViT]
    latent: Callable[[], Latent] = Latent.pretrained
    clips: Callable[[], Sequence[Clip]] | None = None
    style_layers: tuple[int, ...] = (1, 6, 11, 20, 29)    # relu1_1 to relu5_1 of VGG-19
    face: Callable[[], Callable[[Tensor], Tensor]] | None = None
    small: bool = False


class Models:
    """The networks of a profile on one device; each is loaded when it is first used, and never requires grad.

    dtype: of the UNet's convolutions, and of the matrix products of CLIP and the ViT. saving: see `Saving`.
    """

    NETWORKS = ("denoiser", "clip", "vgg", "vit", "latent", "clips", "face")

    def __init__(
        self,
        profile: Profile,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        saving: Saving = Saving(),    # noqa: B008  (frozen)
    ):
        self.profile, self.device, self.dtype, self.saving = profile, device, dtype, saving
        self._resting: dict[str, Any] = {}
        self._working = 0    # runs that are open, one inside the other

    @property
    def size(self) -> int:
        """The native side of pictures, in pixels."""
        return self.profile.size

    @property
    def multiple(self) -> int:
        """What picture sides must be a multiple of."""
        return self.profile.unet.stride

    @cached_property
    def denoiser(self) -> UNetDenoiser:
        """The diffusion model on its full training schedule; `.respace(50)` for fifty steps."""
        return self._here("denoiser", self._load_denoiser)

    def _load_denoiser(self) -> UNetDenoiser:
        unet = weights.build(lambda: UNet(self.profile.unet))
        unet = weights.load_into(unet, self.profile.unet_weights(), f"the UNet of profile {self.profile.name!r}")
        unet.torso_to(self.dtype).checkpointed = self.saving.checkpoint
        return self.profile.denoiser(unet, self.profile.schedule(), self.profile.feature_blocks)

    @cached_property
    def clip(self) -> Clip:
        """The picture-and-text model that reads prompts."""
        return self._here("clip", lambda: self._as_asked(self.profile.clip()))

    @cached_property
    def vgg(self) -> VGG:
        """The network whose early layers judge whether content stayed."""
        return self._here("vgg", self.profile.vgg)

    @cached_property
    def style_vgg(self) -> VGG:
        """The same network, read where Gram matrices are taken."""
        return replace(self.vgg, layers=self.profile.style_layers)

    @cached_property
    def vit(self) -> ViT:
        """The transformer whose keys say how a picture is laid out."""
        vit = self._here("vit", self.profile.vit)
        vit.autocast = self._half
        return vit

    @cached_property
    def latent(self) -> Latent:
        """The text-conditional latent diffusion model that SDS, DDS and CDS ask."""
        return self._here("latent", self.profile.latent)

    @cached_property
    def clips(self) -> tuple[Clip, ...]:
        """The CLIPs that DiffuseIT asks together."""
        clips = self.profile.clips
        if clips is None:
            return (self.clip,)
        return self._here("clips", lambda: tuple(self._as_asked(clip) for clip in clips()))

    @cached_property
    def face(self) -> Callable[[Tensor], Tensor]:
        """The network that tells faces apart. Raises ValueError where the profile has none."""
        if self.profile.face is None:
            raise ValueError(
                f"the profile {self.profile.name!r} has no face network: give it one with "
                "dataclasses.replace(profile, face=...), such as ArcFace's IR-SE50"
            )
        return self._here("face", self.profile.face)

    def memory(self) -> Memory:
        """What the networks that are loaded take, and the most that was held at once."""
        return Memory({name: bytes_of(network) for name, network in self.loaded.items()}, *peak(self.device))

    @property
    def loaded(self) -> dict[str, object]:
        """The networks that have been read so far, name -> network, at work or at rest."""
        both = {**self._resting, **vars(self)}
        own = [name for name in self.NETWORKS if name in both]
        if self.profile.clips is None and "clips" in own:    # that is the one CLIP again
            own.remove("clips")
        return {name: both[name] for name in own}

    @contextmanager
    def at_work(
        self, shape: tuple[int, ...], knobs: Mapping[str, bool] | None = None, guided: bool = True
    ) -> Iterator[None]:
        """A run on pictures of this shape: `memory` counts its peak; what it may rest afterwards, rests.

        knobs: what else can be turned to need less -> whether it is still unturned; without it, the number of pictures.
        guided: whether there are gradients; else no saving helps.
        Raises MemoryError, saying what would need less, when there is not enough.
        """
        if knobs is None:
            knobs = {f"batch=1 or --batch 1, instead of {shape[0]} pictures at once": shape[0] > 1}
        knobs = {**knobs, "load_models(..., saving=LOW_MEMORY) or --low-memory": guided and self.saving != LOW_MEMORY}
        restart_peak(self.device)
        self._working += 1
        try:
            with naming_the_knob(self.device, shape, knobs):
                yield
        finally:
            self._working -= 1
            if self.saving.offload and not self._working:    # a run around this one, a training, has need of them
                self.rest()

    def rest(self) -> None:
        """Move the networks to the CPU; each comes back when it is next asked for."""
        for name in self.NETWORKS:
            network = vars(self).pop(name, None)
            if network is not None:
                self._resting[name] = moved(network, "cpu")
        vars(self).pop("style_vgg", None)    # a part of vgg

    def _here(self, name: str, load: Callable[[], Network]) -> Network:
        # Libraries fill a network with random numbers before its weights are read; a caller's own draws stay the same.
        # What is loaded in inference mode could never be guided through again.
        with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
            return moved(self._resting.pop(name, None) or load(), self.device)

    @property
    def _half(self) -> torch.dtype | None:
        return None if self.dtype == torch.float32 else self.dtype

    def _as_asked(self, clip: Clip) -> Clip:
        clip.chunk, clip.autocast = self.saving.chunk, self._half
        return clip


PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def load_models(
    profile: str = "tiny",
    device: str | torch.device = "auto",
    dtype: torch.dtype | None = None,
    saving: Saving = Saving(),    # noqa: B008  (frozen)
) -> Models:
    """The networks of a profile.

    device: "auto" takes CUDA where there is one, else the CPU. dtype: of the UNet's convolutions (norms stay float32),
    and of the matrix products of CLIP and the ViT. None: float32 on the CPU and for the bundled networks; for the
    published ones on a GPU bfloat16, or float16 on a card that has none, which needs weights as large as the papers'
    to lose nothing of the gradient. saving: memory for time, such as `memory.LOW_MEMORY`.
    Raises ValueError for an unknown profile, offering the nearest, a device that is not there, or another dtype.
    """
    chosen = pick("profile", profile, PROFILES)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device).sum().item()    # torch's "meta" has no values
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"the device {str(device)!r} is not there ({shorten(str(error), 120)}): use device='cpu' or 'auto' "
            '(in the book: "Setting up")'
        ) from error
    device = torch.device(device)
    if dtype is None:
        dtype = half_precision(device) if device.type == "cuda" and not chosen.small else torch.float32
    if dtype not in PRECISIONS.values():
        raise ValueError(f"dtype must be None or one of {', '.join(map(str, PRECISIONS.values()))}; got {dtype!r}")
    return Models(chosen, device, dtype, saving)


def warn_of_overruled(given: Any, own: Any, models: Models, what: str, start: str) -> None:
    """Warns where the bundled networks' `small` takes the place of settings that differ from the package's own.

    given, own: a recipe, or settings of a training, and the package's. what: how they are called, with the verb. start:
    the package's, as one writes it. The warning points at the caller of the function that calls this one's caller.
    """
    lost = [n for n, value in given.small.items() if getattr(given, n) not in (getattr(own, n), value)]
    if lost and models.profile.small:
        warnings.warn(
            f"the bundled networks take their own {', '.join(lost)}, and not what the given {what}: start from "
            f"{start}.fitted_to(models)",
            stacklevel=4,
        )


def pick(what: str, name: str, known: Mapping[str, Value]) -> Value:
    """known[name]. Raises ValueError for a name that is not there, offering the nearest.

    >>> pick("colour", "blu", {"blue": 1, "red": 2})
    Traceback (most recent call last):
    ValueError: there is no colour 'blu'; did you mean 'blue'?
    """
    if name not in known:
        raise ValueError(f"there is no {what} {name!r}; {nearest(name, known)}")
    return known[name]


def nearest(word: str, known: Collection[str]) -> str:
    """The tail of a message about a wrong name: the likeliest right one, or all of them.

    >>> nearest("imagenet", ["tiny", "imagenet256"]), nearest("?", ["tiny", "imagenet256"])
    ("did you mean 'imagenet256'?", 'there are imagenet256, tiny')
    """
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.4)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(known))}"


# ------------------------------------------------------------------------------------------------ the bundled networks


def _tiny() -> Profile:
    from .tiny.networks import FEATURE_BLOCKS, SIZE, UNET

    return Profile(
        "tiny",
        SIZE,
        UNET,
        lambda: bundled.tensors_of("unet"),
        VPrediction,
        Schedule.cosine,
        FEATURE_BLOCKS,
        bundled.load_clip,
        bundled.load_vgg,
        vit=bundled.load_vit,
        latent=bundled.load_latent,
        style_layers=(1, 6, 11, 16),
        small=True,
    )


# --------------------------------------------------------------------------------------------- the papers' checkpoints

# OpenAI's five, in DiffuseIT's order: their names in the manifest, and open_clip's for the networks. OpenAI's weights
# need the `-quickgelu` configurations: with plain GELU they load and quietly embed worse.
_ENSEMBLE = {
    "clip-rn50": "RN50-quickgelu",
    "clip-rn50x4": "RN50x4-quickgelu",
    "clip-vit-b-32": "ViT-B-32-quickgelu",
    "clip-rn50x16": "RN50x16-quickgelu",
    "clip-vit-b-16": "ViT-B-16-quickgelu",
}


def _published(name: str) -> dict[str, Tensor]:
    """The tensors of a published file, by its name in the manifest; fetched if it is not there."""
    (file,) = weights.MANIFEST[name]
    return weights.read(weights.find(file))


def _clip(name: str = "clip-vit-b-16", resize: Resize = by_area) -> Clip:
    clip = Clip.unfilled(_ENSEMBLE[name], resize)
    wanted, tensors = clip.model.state_dict(), _published(name)
    # OpenAI's archives also carry numbers of their program, such as the length of a text.
    weights.load_into(clip.model, {k: v for k, v in tensors.items() if k in wanted}, name)
    return clip


def _ensemble() -> list[Clip]:
    return [_clip(name, bilinear) for name in _ENSEMBLE]


def _vgg() -> VGG:
    vgg = VGG.unfilled()
    tensors = {k.removeprefix("features."): v for k, v in _published("vgg19").items() if k.startswith("features.")}
    weights.load_into(vgg.features, tensors, "vgg19")
    return vgg


def _vit() -> ViT:
    vit = ViT.unfilled("vit_base_patch8_224.dino")
    weights.load_into(vit.model, _published("dino-vit-b-8"), "dino-vit-b-8")
    return vit


def latent_named(name: str) -> Latent:
    """The latent model of a folder, or of a name on the hub: Stable Diffusion 1.5 from the files that were fetched."""
    fetched = all(weights.path_of(file).is_file() for file in weights.MANIFEST["stable-diffusion-v1-5"])
    return _latent() if name == STABLE_DIFFUSION and fetched else Latent.pretrained(name)


def _latent() -> Latent:
    for file in weights.MANIFEST["stable-diffusion-v1-5"]:
        weights.find(file)
    latent = Latent.pretrained(weights.home() / "stable-diffusion-v1-5")
    latent.name = STABLE_DIFFUSION    # not the folder: results carry the name, and `rerun` knows it
    return latent


def _face() -> ArcFace:
    face = weights.build(ArcFace)
    # The file is of a time when batch norm did not count its batches; nothing that is computed here reads the counters.
    counters = {k: v.new_zeros(()) for k, v in face.state_dict().items() if k.endswith("num_batches_tracked")}
    return weights.load_into(face, counters | _published("arcface-ir-se50"), "arcface-ir-se50")


_FFHQ = UNetConfig(model_channels=128, num_res_blocks=1, attention_resolutions=(16,))

PROFILES: dict[str, Profile] = {
    "tiny": _tiny(),
    "imagenet256": Profile(
        "imagenet256",
        256,
        UNetConfig(),
        lambda: _published("256x256_diffusion_uncond"),
        LearnedVariance,
        Schedule.linear,
        (0, 2, 5, 8, 11),
        _clip,
        _vgg,
        vit=_vit,
        latent=_latent,
        clips=_ensemble,
        face=_face,
    ),
}
# The same networks, but for a UNet that was trained on faces.
PROFILES["ffhq256"] = replace(
    PROFILES["imagenet256"], name="ffhq256", unet=_FFHQ, unet_weights=lambda: _published("ffhq_10m")
)
# The same UNet in another training: the file that the released ZeCon code asks for.
PROFILES["ffhq256_baseline"] = replace(
    PROFILES["ffhq256"], name="ffhq256_baseline", unet_weights=lambda: _published("ffhq_baseline")
)
