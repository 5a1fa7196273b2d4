"""Several CLIPs asked at once, and a target that knows the source: DiffuseIT's text term (Kwon & Ye 2023)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from ..augment import Cuts
from ..models.clip import Clip
from ..state import State
from .clip import _embed, _one_each

Look = Callable[[Tensor, int, torch.Generator | None], Tensor]    # (B, 3, H, W), side -> (B * V, 3, side, side)


def input_aware_target(
    text: Tensor, source_text: Tensor, source_image: Tensor, lambda_s: float = 0.4, lambda_i: float = 0.2
) -> Tensor:
    """Where the picture's embedding shall go: the text, less the source's text, plus the source itself.

    All are embeddings (..., D) of any length, the result has unit length. The numbers are the released code's; the
    source's own picture keeps the target within reach of it.
    """
    text, source_text, source_image = (F.normalize(e, dim=-1) for e in (text, source_text, source_image))
    return F.normalize(text - lambda_s * source_text + lambda_i * source_image, dim=-1)


def ensemble_similarity(cuts: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """The mean cosine between the cuts of a picture and their target, over cuts and then over networks: (...).

    cuts: for each network embeddings (..., V, D_k) of V cuts. targets: (..., D_k) each.
    Differs from the paper, which speaks of concatenated embeddings: the released code averages, and so do we.
    """
    each = [torch.cosine_similarity(c, t[..., None, :], dim=-1).mean(-1) for c, t in zip(cuts, targets, strict=True)]
    return torch.stack(each).mean(0)


def imagenet_templates() -> list[str]:
    """OpenAI's ImageNet sentences, "a bad photo of a {}." and so on, but for "a photo of many {}.": 79 of them."""
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    return [template for template in (t("{}") for t in OPENAI_IMAGENET_TEMPLATES) if "many" not in template]


@dataclass(eq=False)
class ClipEnsemble:
    """Minus `ensemble_similarity` between random cuts of the picture and the input-aware target, summed over the batch.

    clips: each with its own input size; each is shown cuts of its own. prompt, source_prompt: one text for the whole
    batch, or one for each image. templates: sentences with {} for a text to stand in; their embeddings are averaged.
    The source's and the texts' embeddings are found once. What was measured is kept for `ContentFactor`.
    """

    clips: Sequence[Clip]
    prompt: str | Sequence[str]
    source_prompt: str | Sequence[str]
    cuts: Look = field(default_factory=Cuts)
    templates: Sequence[str] = ("{}",)
    generator: torch.Generator | None = None
    _targets: tuple[Tensor, list[Tensor]] | None = field(default=None, init=False, repr=False)         # source, each
    _measured: list[tuple[Tensor, Tensor]] = field(default_factory=list, init=False, repr=False)       # view, (B,)

    def __call__(self, state: State) -> Tensor:
        """A scalar, -B to B. Raises ValueError when there are neither one nor B prompts."""
        view = state.view
        looks = [_embed(clip, self.cuts(view, clip.size, self.generator), view) for clip in self.clips]
        each = ensemble_similarity(looks, self.targets(state))
        self._measured = [*self._measured[-1:], (view.detach(), each.detach())]
        return -each.sum()

    def targets(self, state: State) -> list[Tensor]:
        """For each CLIP where the embedding shall go, (B, D_k)."""
        if self._targets is None or self._targets[0] is not state.source:
            with torch.no_grad():
                self._targets = state.source, [self._target(clip, state.source) for clip in self.clips]
        return self._targets[1]

    def similarity_before(self, state: State) -> Tensor:
        """(B,): what was measured on the step before; at the first step, on the whole source."""
        picture = state.source if state.previous is None else state.previous.shown
        for view, each in self._measured:
            if view.data_ptr() == picture.data_ptr():
                return each
        with torch.no_grad():
            whole = [_embed(clip, picture, picture) for clip in self.clips]
            return ensemble_similarity(whole, self.targets(state))

    def _target(self, clip: Clip, source: Tensor) -> Tensor:
        text, source_text = (self._text(clip, prompt, source) for prompt in (self.prompt, self.source_prompt))
        return input_aware_target(text, source_text, clip.image(source).to(source.dtype))

    def _text(self, clip: Clip, prompt: str | Sequence[str], images: Tensor) -> Tensor:
        """(B, D): for each prompt the mean over the templates."""
        texts = [prompt] if isinstance(prompt, str) else list(prompt)
        said = clip.text([template.format(text) for text in texts for template in self.templates])
        return _one_each(said.unflatten(0, (len(texts), -1)).mean(1), images)[:, 0].expand(len(images), -1)


@dataclass(frozen=True, eq=False)
class ContentFactor:
    """How much more content counts once the text is reached: (B,), for `vit.KeyContrast`.

    `above` where the similarity of the step before was over `threshold`, else `below`. The released
    `--regularize_content` is (2, 1), `--use_prog_contrast` (1, 0.5).
    """

    ensemble: ClipEnsemble
    threshold: float = 0.5
    above: float = 2.0
    below: float = 1.0

    def __call__(self, state: State) -> Tensor:
        similarity = self.ensemble.similarity_before(state)
        return torch.where(similarity > self.threshold, self.above, self.below).to(similarity)
