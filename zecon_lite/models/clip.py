"""CLIP behind one small interface: pictures and texts to embeddings. The network is open_clip's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .resize import Resize, by_area

if TYPE_CHECKING:
    from open_clip import CLIP

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(eq=False)
class Clip:
    """An open_clip model with its tokenizer and the input statistics it was trained with.

    size: the side, in pixels, of the square pictures it reads. mean, std: of pictures in [0, 1], per channel.
    resize: how pictures of another size come to it; the released ZeCon code averages areas, DiffuseIT's is bilinear.
    chunk: with a gradient, so many pictures at once go through the image tower, and again for the gradient: the same
    numbers with less memory; None: all at once. autocast: a precision, such as torch.bfloat16, for its matrix products;
    embeddings stay float32.
    """

    model: CLIP
    tokenizer: Callable[[list[str]], Tensor]
    size: int = 224
    mean: Sequence[float] = OPENAI_MEAN
    std: Sequence[float] = OPENAI_STD
    resize: Resize = by_area
    chunk: int | None = None
    autocast: torch.dtype | None = None
    _known: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.model.eval().requires_grad_(False)

    @classmethod
    def unfilled(cls, name: str = "ViT-B-16-quickgelu", resize: Resize = by_area) -> Clip:
        """A CLIP by open_clip's names whose weights are still random: for files that are already on disk."""
        import open_clip

        model = open_clip.CLIP(**open_clip.get_model_config(name))
        size = model.visual.image_size
        return cls(model, open_clip.get_tokenizer(name), size[0] if isinstance(size, tuple) else size, resize=resize)

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

        Values outside [-1, 1] are let through: the gradient there is what pulls them back.
        """
        images = self._as_trained(images)
        if self.chunk is None or not torch.is_grad_enabled():
            return self._encode(images)
        parts = images.split(self.chunk)
        return torch.cat(
            [checkpoint(self._encode, part, use_reentrant=False, preserve_rng_state=False) for part in parts]
        )

    def patches(self, images: Tensor) -> Tensor:
        """(B, 3, h, w) in [-1, 1] -> (B, C, h', w'): what the image tower says of each place, before it pools.

        Of a convolutional tower the last feature map; of a transformer the patches as they leave its last norm, laid
        out as a grid. [CLS], or attention pooling, turns these into the embedding.
        """
        found = self.model.visual.forward_intermediates(
            self._as_trained(images), indices=1, normalize_intermediates=True, intermediates_only=True
        )
        return found["image_intermediates"][-1]

    @torch.no_grad()
    def text(self, texts: str | Sequence[str]) -> Tensor:
        """Texts -> (B, D), not normalised; each text is embedded once, by itself, and remembered.

        By itself, since its last bits depend on the texts beside it, and guidance makes another picture of them.
        Raises ValueError for an empty text, and for one without any word that the tokenizer reads. Warns of words that
        a small vocabulary does not have, and of the nearest.
        """
        texts = [texts] if isinstance(texts, str) else texts
        if any(not text.strip() for text in texts):
            raise ValueError('the prompt is empty: say what the picture should look like, such as "a pencil sketch"')
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        for text in new:
            self._check_words(text)
            self._known[text] = self.model.encode_text(self.tokenizer([text]).to(self.device)).float()[0]
        return torch.stack([self._known[text] for text in texts])

    @torch.no_grad()
    def token_states(self, texts: str | Sequence[str]) -> Tensor:
        """Texts -> (B, L, width): the text tower's state at each token, after its last norm; "" is allowed.

        What a text-conditional diffusion model reads. Raises and warns otherwise as `text` does.
        """
        texts = [texts] if isinstance(texts, str) else texts
        for text in filter(str.strip, texts):
            self._check_words(text)
        seen = []
        hook = self.model.ln_final.register_forward_hook(lambda module, inputs, output: seen.append(output))
        try:
            self.model.encode_text(self.tokenizer(list(texts)).to(self.device))
        finally:
            hook.remove()
        return seen[0].float()

    def _encode(self, images: Tensor) -> Tensor:
        if self.autocast is None:
            return self.model.encode_image(images)
        with torch.autocast(images.device.type, self.autocast):
            return self.model.encode_image(images).float()

    def _as_trained(self, images: Tensor) -> Tensor:
        """(B, 3, h, w) in [-1, 1] -> the square pictures, with the statistics, that the tower was trained with."""
        images = self.resize(images, self.size)
        mean, std = (images.new_tensor(s)[:, None, None] for s in (self.mean, self.std))
        return ((images + 1) / 2 - mean) / std

    def _check_words(self, text: str) -> None:
        if check := getattr(self.tokenizer, "check", None):    # a small vocabulary's
            check(text)
