"""CLIP behind one small interface: pictures and texts to embeddings. The network is open_clip's."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(eq=False)
class Clip:
    """An open_clip model with its tokenizer and the input statistics it was trained with.

    size: the side, in pixels, of the square pictures it reads. mean, std: of pictures in [0, 1], per channel.
    """

    model: nn.Module
    tokenizer: Callable[[list[str]], Tensor]
    size: int = 224
    mean: Sequence[float] = OPENAI_MEAN
    std: Sequence[float] = OPENAI_STD
    _known: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.model.eval().requires_grad_(False)

    @classmethod
    def pretrained(cls, name: str = "ViT-B-16-quickgelu", tag: str = "openai") -> Clip:
        """A released CLIP by open_clip's names; its weights are downloaded on first use.

        OpenAI's weights need the `-quickgelu` configurations: with plain GELU they load and quietly embed worse.
        """
        import open_clip

        model = open_clip.create_model(name, pretrained=tag)
        size = model.visual.image_size
        return cls(model, open_clip.get_tokenizer(name), size[0] if isinstance(size, tuple) else size)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def to(self, device: torch.device | str) -> Clip:
        """Move the network; returns self."""
        self.model.to(device)
        self._known.clear()
        return self

    def image(self, images: Tensor) -> Tensor:
        """(B, 3, h, w) in [-1, 1] -> (B, D), differentiable, not normalised to unit length.

        Shrinks by area and enlarges bilinearly to `size`. Values outside [-1, 1] are let through: the gradient there
        is what pulls them back.
        """
        if images.shape[-2:] != (self.size, self.size):
            shrink = min(images.shape[-2:]) >= self.size
            images = (
                F.adaptive_avg_pool2d(images, self.size)
                if shrink
                else F.interpolate(images, size=(self.size, self.size), mode="bilinear", align_corners=False)
            )
        mean, std = (images.new_tensor(s)[:, None, None] for s in (self.mean, self.std))
        return self.model.encode_image(((images + 1) / 2 - mean) / std)

    @torch.no_grad()
    def text(self, texts: Sequence[str]) -> Tensor:
        """Texts -> (B, D), not normalised; each text is embedded once and remembered.

        Raises ValueError for an empty text. Warns of words that a small vocabulary does not have, and of the nearest.
        """
        for text in texts:
            if not text.strip():
                raise ValueError(
                    'the prompt is empty: say what the picture should look like, such as "a pencil sketch"'
                )
            if text not in self._known:
                self._warn_of_unknown(text)
                self._known[text] = self.model.encode_text(self.tokenizer([text]).to(self.device))[0].float()
        return torch.stack([self._known[text] for text in texts])

    def _warn_of_unknown(self, text: str) -> None:
        unknown_words = getattr(self.tokenizer, "unknown_words", None)
        for word in unknown_words(text) if unknown_words else ():
            near = difflib.get_close_matches(word, self.tokenizer.words, n=3, cutoff=0.5)
            hint = f"the nearest it knows: {', '.join(near)}" if near else "it has no word like it"
            warnings.warn(
                f"the bundled CLIP does not know the word {word!r} ({hint}); it is read as an unknown word",
                UserWarning,
                stacklevel=3,
            )
