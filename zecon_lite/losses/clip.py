"""CLIP losses: does the picture fit the text, and did it change in the direction in which the text changed?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from ..augment import Views
from ..models.clip import Clip
from ..models.resize import bicubic_centre
from ..state import State

_NO_DIRECTION = (
    "prompt and source_prompt are the same to CLIP, so there is no direction from one to the other: say what the "
    'source is, such as "photo", and what it should become'
)


def clip_distance(image: Tensor, text: Tensor) -> Tensor:
    """2 arcsin(|a - b| / 2)^2 for the unit vectors a, b along image and text: half their squared angle.

    image, text: embeddings (..., D), of any length; returns (...). From CLIP-guided diffusion (Crowson 2021). Unlike
    1 - cosine, its slope keeps growing with the angle up to 180 degrees. The gradient is 0 at equal and at opposite
    vectors.

    >>> clip_distance(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0]))    # (pi / 2)^2 / 2
    tensor(1.2337)
    """
    chord = (F.normalize(image, dim=-1) - F.normalize(text, dim=-1)).norm(dim=-1)
    return 2 * (chord / 2).clamp(max=1 - 1e-6).asin().square()             # arcsin has no slope at 1


def clip_direction(
    image: Tensor,
    source_image: Tensor,
    text: Tensor,
    source_text: Tensor,
    normalize: bool = False,
    floor: float = 0.0,
) -> Tensor:
    """1 - cos(image - source_image, text - source_text): 0 where picture and text changed alike, 2 where oppositely.

    All are embeddings (..., D); returns (...). From StyleGAN-NADA (Gal et al. 2022), whose code scales the
    embeddings to unit length before subtracting: normalize=True. The released ZeCon code does not. Where the picture
    has not changed there is no direction: the loss is 1 and its gradient 0.
    floor: a picture's change shorter than this counts as if it were so long. Without a floor the gradient grows like
    1 / length, to 1e15 just beside the source; with one it is at most 1 / floor, and at the source itself it points
    along the texts.

    >>> image, source_image = torch.tensor([[3.0, 1.0], [1.0, 1.0], [0.0, 1.0]]), torch.tensor([1.0, 1.0])
    >>> clip_direction(image, source_image, text=torch.tensor([5.0, 0.0]), source_text=torch.tensor([4.0, 0.0]))
    tensor([0., 1., 2.])
    """
    if normalize:
        image, source_image, text, source_text = (
            F.normalize(e, dim=-1) for e in (image, source_image, text, source_text)
        )
    return 1 - (_unit(image - source_image, floor) * _unit(text - source_text)).sum(-1)


def clip_direction_log(direction: Tensor) -> Tensor:
    """-log((2 - L) / 2) of a `clip_direction` L: 0 to infinity, the steeper the more wrong the direction is.

    The released loss of DiffusionCLIP (Kim et al. 2022). L = 2 is cut just below, to stay finite.
    """
    return -torch.log((2 - direction).clamp_min(1e-6) / 2)


def text_direction(text: Tensor, source_text: Tensor) -> Tensor:
    """The mean way (D,) from source_text to text, embeddings (T, D) of T sentences each, at unit length.

    All are scaled to unit length before. Averaging over sentences such as "a bad photo of a ..." leaves what they share
    (StyleGAN-NADA; DiffusionCLIP uses 79 of OpenAI's ImageNet sentences).
    """
    return F.normalize((F.normalize(text, dim=-1) - F.normalize(source_text, dim=-1)).mean(0), dim=-1)


@dataclass(frozen=True, eq=False)
class ClipDistance:
    """The mean `clip_distance` between random views of the picture and the prompt, summed over the batch.

    prompt: one text for the whole batch, one for each image, or embeddings (1 or B, D), such as a style picture's.
    """

    clip: Clip
    prompt: str | Sequence[str] | Tensor
    views: Views = field(default_factory=Views)
    generator: torch.Generator | None = None

    def __call__(self, state: State) -> Tensor:
        """A scalar. Raises ValueError when there are neither one nor B prompts."""
        text = _one_each(self._text, state.view)
        image = _embed(self.clip, self.views(state.view, self.clip.size, self.generator), state.view)
        return clip_distance(image, text).mean(1).sum()

    @cached_property
    def _text(self) -> Tensor:
        return _embed_prompt(self.clip, self.prompt)


@dataclass(frozen=True, eq=False)
class ClipDirection:
    """The mean `clip_direction` from source to random views of the picture, summed over the batch.

    prompt, source_prompt: one text for the whole batch, one for each image, or embeddings (1 or B, D).
    The source is shown as in the released code: whole and once where the views are patches, through views of its own
    where they show the whole picture (`views.area` None).
    same_views: True shows the source through the very views of the picture instead, so that only what was painted
    differs between the two, and not where one looked; meant for few views and small models.
    normalize: see `clip_direction`.
    """

    clip: Clip
    prompt: str | Sequence[str] | Tensor
    source_prompt: str | Sequence[str] | Tensor
    views: Views = field(default_factory=Views)
    same_views: bool = False
    normalize: bool = False
    generator: torch.Generator | None = None

    def __call__(self, state: State) -> Tensor:
        """A scalar. Raises ValueError when there are neither one nor B prompts, or two that mean the same to CLIP."""
        text, source_text = (_one_each(t, state.view) for t in (self._text, self._source_text))
        if (text == source_text).all(-1).any():
            raise ValueError(_NO_DIRECTION)
        looks, source_looks = self._looks(state.view, state.source_view)
        image = _embed(self.clip, looks, state.view)
        with torch.no_grad():                                              # the source is not what is being changed
            source_image = _embed(self.clip, source_looks, state.view)
        return clip_direction(image, source_image, text, source_text, self.normalize).mean(1).sum()

    def _looks(self, view: Tensor, source_view: Tensor) -> tuple[Tensor, Tensor]:
        """What CLIP is shown of each: (B * count, 3, h, w), and as many or B of the source."""
        size = self.clip.size
        if self.same_views:
            looks, source_looks = self.views(torch.cat([view, source_view.detach()]), size, self.generator).chunk(2)
            return looks, source_looks
        looks = self.views(view, size, self.generator)
        patches = self.views.area is not None
        return looks, source_view if patches else self.views(source_view, size, self.generator)

    @cached_property
    def _text(self) -> Tensor:
        return _embed_prompt(self.clip, self.prompt)

    @cached_property
    def _source_text(self) -> Tensor:
        return _embed_prompt(self.clip, self.source_prompt)


@dataclass(frozen=True, eq=False)
class TemplateDirection:
    """DiffusionCLIP's text term: the mean `clip_direction_log` between source and picture, summed over the batch.

    prompt, source_prompt: the words that take the place of {} in each of `templates`; both directions are between
    embeddings of unit length. views: None shows CLIP the square in the middle, shrunk without antialiasing, as
    released; else both through the same views.
    floor: see `clip_direction`. The released code has none and relies on its reconstruction being imperfect.
    """

    clip: Clip
    prompt: str
    source_prompt: str
    templates: Sequence[str] = ("{}",)
    views: Views | None = None
    floor: float = 0.05
    generator: torch.Generator | None = None

    def __call__(self, state: State) -> Tensor:
        """A scalar. Raises ValueError when the two prompts mean the same to CLIP."""
        looks = torch.cat([state.view, state.source_view.detach()])
        size = self.clip.size
        looks = self.views(looks, size, self.generator) if self.views else bicubic_centre(looks, size, antialias=False)
        looks, source_looks = looks.chunk(2)
        image = F.normalize(_embed(self.clip, looks, state.view), dim=-1)
        with torch.no_grad():
            source_image = F.normalize(_embed(self.clip, source_looks, state.view), dim=-1)
        text = self._direction.to(image)
        direction = clip_direction(image, source_image, text, torch.zeros_like(text), floor=self.floor)
        return clip_direction_log(direction).mean(1).sum()

    @cached_property
    def _direction(self) -> Tensor:
        text, source_text = (
            _embed_prompt(self.clip, [template.format(words) for template in self.templates])
            for words in (self.prompt, self.source_prompt)
        )
        if torch.equal(text, source_text):
            raise ValueError(_NO_DIRECTION)
        return text_direction(text, source_text)


def _unit(change: Tensor, floor: float = 0.0) -> Tensor:
    """The change at unit length, or divided by `floor` where it is shorter; zero where there is none."""
    length = change.norm(dim=-1, keepdim=True)
    if floor:
        return change / length.clamp_min(floor)
    return change / length.masked_fill(length == 0, torch.inf)


def _embed(clip: Clip, looks: Tensor, images: Tensor) -> Tensor:
    """Embeddings (B, V, D) of (B * V, 3, h, w), V views of each of the B images."""
    return clip.image(looks).unflatten(0, (len(images), -1)).to(images.dtype)


def _embed_prompt(clip: Clip, prompt: str | Sequence[str] | Tensor) -> Tensor:
    if isinstance(prompt, Tensor):
        return prompt.detach()
    return clip.text([prompt] if isinstance(prompt, str) else list(prompt)).detach()


def _one_each(text: Tensor, images: Tensor) -> Tensor:
    """Text embeddings (1 or B, 1, D), ready to compare with (B, V, D)."""
    if len(text) not in (1, len(images)):
        raise ValueError(
            f"there are {len(text)} prompts for {len(images)} images: give one prompt for all, or one for each"
        )
    return text[:, None].to(images)
