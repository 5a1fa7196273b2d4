"""Scores as gradients: a picture is edited by descending along what a text-to-image model says of it (SDS, DDS, CDS).

Nothing is sampled and nothing is trained: the latent z of the picture itself is optimised. Each iteration noises it,
asks the model for the noise under a prompt, and moves z against the difference to something that is known: the noise
that was added (SDS), or the model's answer for the source under the source's prompt (DDS). CDS adds a contrast between
self-attention features, which keeps the structure.

Latents are float32 (B, C, h, w). Every iteration draws, in this order and on the CPU: the timestep, the noise, then,
where there is a contrast, one permutation of places for each layer and patch size. All of them are shared by source and
result and by all pictures and prompts, so each picture of a batch comes out as it would alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from . import images
from .memory import naming_the_knob
from .models.latent import Latent
from .profiles import Models, load_models, pick
from .progress import bar
from .provenance import KEY, check_seed, fingerprint, hash_of, machine, settings_of, telling
from .samplers import randn_like
from .schedule import Schedule
from .scores import METHODS, Method, classifier_free_guidance, dds_gradient, sds_gradient

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

# ----------------------------------------------------------------------------------------------------- the descent


@dataclass(frozen=True, eq=False)
class EditStep:
    """What one iteration leaves, for R = B * K results (B pictures, K prompts; the prompts of one picture follow).

    k: the iteration, from 0. t: the timestep drawn. z: (R, C, h, w) after the step. score: the gradient g, not
    weighted, of z's shape. contrast: the gradient of the contrast in z, or None. losses: "score" is the mean square
    of g, "contrast" the contrast, both summed over the results.
    """

    k: int
    t: int
    z: Tensor
    score: Tensor
    contrast: Tensor | None
    losses: Mapping[str, float]


@dataclass(frozen=True)
class _Texts:
    """Token states: null (1, L, D), of the source (B, L, D) or None, of the results (R, L, D)."""

    null: Tensor
    source: Tensor | None
    result: Tensor


def distill(
    latent: Latent,
    source: Tensor,
    prompt: str | Sequence[str] | Tensor,
    source_prompt: str | Sequence[str] | Tensor | None = None,
    *,
    method: Method = METHODS["cds"],
    negative_prompt: str | Tensor = "",
    start: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[EditStep]:
    """Edit latents, yielding one `EditStep` per iteration; the caller owns the loop.

    source: (B, C, h, w), as `Latent.encode` gives it. prompt: K texts, each for every picture. source_prompt: what the
    pictures show, one text for all or one each. Texts may also be token states (K, L, D). start: (B * K, C, h, w) where
    the descent begins; without it, at the source. The order of draws is in the head of this module.
    Raises ValueError for empty or missing prompts, FloatingPointError when z stops being finite.
    """
    if source.ndim != 4:
        raise ValueError(f"source must be latents (B, C, h, w); got {tuple(source.shape)}: use latent.encode(picture)")
    if len(latent.alphas_cumprod) < method.timesteps[1]:
        raise ValueError(
            f"the model was trained on {len(latent.alphas_cumprod)} timesteps, and the method draws up to "
            f"{method.timesteps[1] - 1}: give the method timesteps=(first, end) within them"
        )
    texts = _texts(latent, source, prompt, source_prompt, negative_prompt, method)
    z = source.repeat_interleave(len(texts.result) // len(source), dim=0) if start is None else start
    if len(z) != len(texts.result) or z.shape[1:] != source.shape[1:]:
        raise ValueError(
            f"start must have one latent for each picture and prompt, {(len(texts.result), *source.shape[1:])}; "
            f"got {tuple(z.shape)}"
        )
    layers = latent.layers(method.contrast.layers, method.contrast.kind) if method.contrasts else []
    return _descend(latent, source.float(), z.detach().float(), texts, method, layers, generator)


def _descend(
    latent: Latent,
    source: Tensor,
    z: Tensor,
    texts: _Texts,
    method: Method,
    layers: Sequence[str],
    generator: torch.Generator | None,
) -> Iterator[EditStep]:
    s = Schedule(latent.alphas_cumprod, torch.arange(len(latent.alphas_cumprod)))
    for k in range(method.iterations):
        i = int(torch.randint(*method.timesteps, (1,), generator=generator))
        noise = randn_like(source[:1], generator)
        z = z.detach().requires_grad_(method.contrasts)
        with torch.set_grad_enabled(method.contrasts):    # never across a yield: it is the caller's
            z_t = s.noised(z, i, noise)
            eps_null, eps_source, source_maps = _constants(
                latent, s.noised(source, i, noise), z_t.detach(), i, texts, method, layers
            )
            eps_text, maps = latent.predict(z_t, i, texts.result, layers)
            loss = method.contrast(maps, source_maps, generator) if method.contrasts else None
        eps = classifier_free_guidance(eps_null, eps_text.detach(), method.guidance)
        g = dds_gradient(eps, cast(Tensor, eps_source)) if method.delta else sds_gradient(eps, noise)
        move, pull = method.weights.get("score", 0) * method.score_scale * g, None
        losses = {"score": g.square().mean((1, 2, 3)).sum().item()}
        if loss is not None:
            (pull,) = torch.autograd.grad(loss, z)
            move, losses["contrast"] = move + method.weights["contrast"] * pull, loss.item()

        z = z.detach() - method.rate * move
        if not torch.isfinite(z).all():
            raise FloatingPointError(f"the latent is not finite after iteration {k}: lower the weights or the rate")
        yield EditStep(k, i, z, g, pull, losses)


@torch.no_grad()
def _constants(
    latent: Latent,
    source_t: Tensor,
    z_t: Tensor,
    i: int,
    texts: _Texts,
    method: Method,
    layers: Sequence[str],
) -> tuple[Tensor, Tensor | None, list[Tensor]]:
    """What needs no gradient, in one batch of three: the source without and with its prompt, the result without.

    Returns the result's unguided prediction, the source's guided one and the source's maps under its prompt, each of R
    rows. Without a source prompt the source is not asked: None and no maps.
    """
    b, r = len(source_t), len(z_t)
    if texts.source is None:
        return latent.predict(z_t, i, texts.null.expand(r, -1, -1), ())[0], None, []
    text = torch.cat([texts.null.expand(b, -1, -1), texts.source, texts.null.expand(r, -1, -1)])
    eps, maps = latent.predict(torch.cat([source_t, source_t, z_t]), i, text, layers)
    source_null, source_text, eps_null = eps.split([b, b, r])
    eps_source = classifier_free_guidance(source_null, source_text, method.guidance)
    eps_source, *maps = (x.repeat_interleave(r // b, dim=0) for x in (eps_source, *(m[b : 2 * b] for m in maps)))
    return eps_null, eps_source, maps


def _texts(
    latent: Latent,
    source: Tensor,
    prompt: str | Sequence[str] | Tensor,
    source_prompt: str | Sequence[str] | Tensor | None,
    negative_prompt: str | Tensor,
    method: Method,
) -> _Texts:
    result = _states(latent, prompt, "prompt")
    null = negative_prompt if isinstance(negative_prompt, Tensor) else latent.text([negative_prompt])
    of_source = None
    if method.needs_source_prompt:
        if source_prompt is None:
            raise ValueError(
                f"{method.name} compares with the source and needs source_prompt: say what the picture shows, such as "
                '"a photo of a cat"'
            )
        of_source = _states(latent, source_prompt, "source_prompt")
        if len(of_source) not in (1, len(source)):
            raise ValueError(
                f"there are {len(of_source)} source prompts for {len(source)} pictures: give one for all, or one each"
            )
        of_source = of_source.expand(len(source), -1, -1)
    return _Texts(null, of_source, result.repeat(len(source), 1, 1))


def _states(latent: Latent, texts: str | Sequence[str] | Tensor, name: str) -> Tensor:
    if isinstance(texts, Tensor):
        return texts.detach()
    texts = [texts] if isinstance(texts, str) else list(texts)
    if not texts or any(not text.strip() for text in texts):
        raise ValueError(f'{name} is empty: say what the picture shows, such as "a photo of a cat"')
    return latent.text(texts)


# -------------------------------------------------------------------------------------------------- the front door


@dataclass(frozen=True)
class Edit:
    """Edited pictures and how they came about. image: (B * K, 3, H, W) in [-1, 1], K prompts for each picture.

    record: what `rerun` needs to know.
    """

    image: Tensor
    steps: tuple[EditStep, ...]
    method: Method
    seed: int
    prompts: tuple[str, ...]
    source_prompt: str
    model: str
    record: Mapping[str, object] = field(default_factory=dict)

    def metadata(self, number: int = 0) -> dict[str, str]:
        """Everything needed to make picture `number` again, as text."""
        from . import __version__

        m = self.method
        return {
            "software": f"zecon_lite {__version__}",
            "method": m.name,
            "paper": m.paper,
            "model": self.model,
            "prompt": self.prompts[number % len(self.prompts)],
            "source_prompt": self.source_prompt,
            "seed": str(self.seed),
            "weights": " ".join(f"{name}={w:g}" for name, w in m.weights.items()),
            "iterations": str(m.iterations),
            "guidance": f"{m.guidance:g}",
            "rate": f"{m.rate:g}",
            "layers": " ".join(m.contrast.layers),
            "patch_sizes": " ".join(map(str, m.contrast.patch_sizes)),
            "number": str(number),
            **({KEY: json.dumps(self.record)} if self.record else {}),
        }

    def save(self, path: str | Path) -> list[Path]:
        """Write each picture with its settings in the file's metadata; returns the paths.

        One picture gets the path itself, several get _0, _1, ... before the suffix.
        """
        path, many = Path(path), len(self.image) > 1
        paths = [path.with_stem(f"{path.stem}_{n}") if many else path for n in range(len(self.image))]
        pictures = enumerate(self.image.split(1))
        return [images.save(x, paths[n], telling(self.metadata(n), x)) for n, x in pictures]


def edit(
    source: Tensor,
    prompt: str | Sequence[str],
    source_prompt: str | Sequence[str] | None = None,
    *,
    method: str | Method = "cds",
    models: Models | None = None,
    latent: Latent | StableDiffusionPipeline | None = None,
    seed: int = 0,
    negative_prompt: str = "",
    on_step: Callable[[EditStep], None] | None = None,
    weights: Mapping[str, float] | None = None,
    iterations: int | None = None,
    guidance: float | None = None,
    rate: float | None = None,
) -> Edit:
    """The source edited so that it shows the prompt; what the prompt does not speak of stays.

    source: (B, 3, H, W) in [-1, 1], sides multiples of `latent.multiple`. prompt: what it should show, one text or
    several; each is done for every picture, and they share the work on the source. source_prompt: what it shows now.
    latent: the model, a `Latent` or a Stable Diffusion pipeline of diffusers; without it, `models.latent`, without that
    the bundled one. on_step: called with every `EditStep`; raise in it to stop early. weights, iterations, guidance,
    rate: changes to the method. The same seed gives the same picture, alone or in a batch, within rounding.
    Raises ValueError for a bad picture, method, weight or prompt; FloatingPointError when something is not finite;
    MemoryError, with what would need less, when there is not enough.
    """
    method = pick("method", method, METHODS) if isinstance(method, str) else method
    seed = check_seed(seed)
    method = method.changed(weights=weights, iterations=iterations, guidance=guidance, rate=rate)
    source = images.check(source, "source").float()
    if latent is None:
        latent = (models or load_models()).latent
    elif not isinstance(latent, Latent):
        latent = Latent.from_pipeline(latent)
    images.check_sides(source, latent.multiple)

    prompts = (prompt,) if isinstance(prompt, str) else tuple(prompt)
    if not prompts:
        raise ValueError('there is no prompt: say what the picture shall show, such as "a photo of a tiger"')
    if method.delta and prompts == (source_prompt,):
        raise ValueError("prompt and source_prompt are the same, so there is nothing to change: make them differ")
    generator, done = torch.Generator().manual_seed(seed), []
    knobs = {
        f"one prompt and picture at a time, instead of {len(prompts) * len(source)}": len(prompts) * len(source) > 1,
        "replace(latent, tiles=True) or --low-memory": not latent.tiles,
    }
    with (
        torch.inference_mode(False),    # as in `stylize`
        naming_the_knob(latent.device, source.shape, knobs),
        bar(method.iterations, f"{method.name}: {prompts[0]}") as progress,
    ):
        for step in distill(
            latent,
            latent.encode(source),
            prompts,
            source_prompt,
            method=method,
            negative_prompt=negative_prompt,
            generator=generator,
        ):
            done.append(step)
            progress.update()
            if on_step is not None:
                on_step(step)
        image = latent.decode(done[-1].z).clamp(-1, 1)
    if not torch.isfinite(image).all():
        raise FloatingPointError("the picture is not finite: lower the weights or the rate")
    told = source_prompt if isinstance(source_prompt, str | None) else " | ".join(source_prompt)
    texts = source_prompt if isinstance(source_prompt, str | None) else tuple(source_prompt)
    asked = {"prompts": prompts, "source_prompt": texts, "negative_prompt": negative_prompt, "seed": seed}
    record = {**_record(method, source, latent), **asked}
    return Edit(image, tuple(done), method, seed, prompts, told or "", latent.name, record)


def _record(method: Method, source: Tensor, latent: Latent) -> dict[str, object]:
    """What `rerun` needs to know of the method, the source and the model, as JSON can hold it."""
    return {
        "by": "edit",
        "method": method.name,
        **settings_of(method, METHODS.get(method.name), {}),
        "source": {"shape": source.shape, "sha256": hash_of(source)},
        "model": latent.name,
        "tiles": latent.tiles,
        "autocast": None if latent.autocast is None else str(latent.autocast).removeprefix("torch."),
        "networks": {"latent": fingerprint(latent)},
        **machine(latent.device),
    }
