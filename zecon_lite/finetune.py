"""DiffusionCLIP (Kim et al., CVPR 2022): teach the network itself a style, once, and apply it to any picture.

Invert each training picture with the network as it is; generate from the latents with a copy, and train the copy so
that CLIP sees the picture change as the text changes. What is learnt is kept as an `Adapter`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import images
from .adapters import Adapter, Trainable, low_rank, name_of, whole
from .augment import Views
from .denoiser import Denoiser
from .files import check_place, replacing
from .guidance import Guidance, Loss
from .latents import descend, digest, from_latent, journey, latents, to_latent, transition
from .losses import Identity, TemplateDirection, l1
from .losses.ensemble import imagenet_templates
from .profiles import Models, load_models, pick, warn_of_overruled
from .progress import bar
from .provenance import check_count, check_seed
from .state import State, Step

# ------------------------------------------------------------------------------ from a latent to what the losses see

Looks = Callable[[Denoiser, Tensor, Sequence[int]], Iterator[Step]]


def through_all_steps(denoiser: Denoiser, latent: Tensor, times: Sequence[int]) -> Iterator[Step]:
    """One look, at the finished picture, with the exact gradient through every step, as the paper trains.

    Activations are computed again in the backward pass, so the memory is that of one network call.
    """
    *_, last = descend(denoiser, latent, times, recompute=True)
    yield last


def step_by_step(denoiser: Denoiser, latent: Tensor, times: Sequence[int]) -> Iterator[Step]:
    """A look at the clean estimate of each step, with a gradient through that step alone ("GPU-efficient").

    One update for each step instead of one for each picture, so it wants a lower learning rate or fewer epochs. No
    less memory than `through_all_steps`, which computes activations again.
    """
    x = latent
    for t, t_next in pairwise([*reversed(times), -1]):
        p = denoiser(x, t)
        x = transition(denoiser.schedule, p, t_next).detach()
        yield Step(t, int(denoiser.schedule.timesteps[t]), x, p.x0)


# ------------------------------------------------------------------------------------------------------- settings


@dataclass(frozen=True)
class FineTune:
    """How to fine-tune, as values; the defaults are the paper's README command.

    weights: loss name -> weight (see LOSSES). t0: how far pictures are inverted; more lets shapes change.
    invert_steps, train_steps, test_steps: timesteps of the three journeys (see `latents.journey`). epochs: passes over
    the pictures; lr is multiplied by `growth` after each. batch: pictures per update. looks: through all steps, or one
    by one. rank: of the learnt changes (see `adapters.low_rank`); None trains all weights, as in the paper.
    templates, views, floor: see `TemplateDirection`. small: fields that differ for the bundled networks.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: {"clip_direction": 3.0, "l1": 1.0})
    t0: int = 500
    invert_steps: int = 40
    train_steps: int = 6
    test_steps: int = 40
    epochs: int = 5
    batch: int = 1
    lr: float = 8e-6
    growth: float = 1.3
    looks: Looks = through_all_steps
    rank: int | None = None
    templates: Callable[[], Sequence[str]] = imagenet_templates
    views: Views | None = None
    floor: float = 0.05
    small: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.weights:
            pick("loss", name, LOSSES)
        for name in ("epochs", "batch"):
            check_count(name, getattr(self, name))
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr, the learning rate, must be above 0 and finite; got {self.lr}: the paper uses 8e-6")
        if not any(self.weights.values()):
            raise ValueError("every weight is 0, so there is nothing to learn: give at least clip_direction one")
        if not 0 < self.growth < math.inf:
            raise ValueError(f"growth, by which lr is multiplied, must be above 0 and finite; got {self.growth}")
        for n in (self.invert_steps, self.train_steps, self.test_steps):
            journey(self.t0, n)

    def fitted_to(self, models: Models) -> FineTune:
        """The settings as these networks want them. Warns of those that the bundled networks overrule."""
        warn_of_overruled(self, FINETUNE, models, "settings say", "FINETUNE")
        return replace(self, **self.small, small={}) if models.profile.small else self

    def summary(self) -> dict[str, str]:
        """Every setting as text, functions by their names."""
        values = {k: v for k, v in vars(self).items() if k != "small"}
        return {k: getattr(v, "__name__", None) or str(v) for k, v in values.items()}


@dataclass(frozen=True)
class Wish:
    """What is to be learnt, with all that the losses need for it."""

    prompt: str
    source_prompt: str
    models: Models
    face: Callable[[Tensor], Tensor] | None
    generator: torch.Generator


LOSSES: dict[str, Callable[[FineTune, Wish], Loss]] = {
    "clip_direction": lambda s, w: TemplateDirection(
        w.models.clip, w.prompt, w.source_prompt, s.templates(), s.views, s.floor, w.generator
    ),
    "l1": lambda s, w: l1,
    "identity": lambda s, w: Identity(w.face or w.models.face),
}

# The bundled network wants more noise than the papers' do, so that palettes can change, and a freer hand with colours.
FINETUNE = FineTune(
    small={
        "weights": {"clip_direction": 3.0, "l1": 0.5},
        "t0": 700,
        "invert_steps": 12,
        "train_steps": 3,
        "test_steps": 12,
        "epochs": 8,
        "batch": 4,
        "lr": 3e-4,
        "growth": 1.0,
        "templates": lambda: ("{}",),
        "views": Views(5, area=(0.09, 0.3), stratified=True, jitter=0.3),
    }
)
"""The paper's README command; `small` has the numbers of the bundled networks."""


# ------------------------------------------------------------------------------------------------------- training


@dataclass(frozen=True)
class TrainStep:
    """One update. Pictures are (B, 3, H, W)."""

    epoch: int  # from 0
    number: int  # of updates before this one, over all epochs
    t: int  # the timestep whose estimate the losses saw; 0 for the finished picture
    x0: Tensor  # what they saw
    source: Tensor  # the pictures it came from
    losses: Mapping[str, float]  # each term, weight included, averaged over the pictures
    adapter: Adapter | None = None  # all that has been learnt so far, after the last update of an epoch


def finetune(
    sources: Tensor,
    prompt: str,
    *,
    source_prompt: str = "photo",
    models: Models | None = None,
    settings: FineTune = FINETUNE,
    face: Callable[[Tensor], Tensor] | None = None,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    cache: str | Path | None = None,
) -> Iterator[TrainStep]:
    """Learn to turn pictures like `sources` into the prompt, yielding each update; the last one has the adapter.

    sources: training pictures (B, 3, H, W) in [-1, 1]; a few dozen do. face: for the loss "identity", see `Identity`;
    without it, the profile's. settings: of the full networks are fitted to the models; to change some,
    `replace(FINETUNE.fitted_to(models), ...)`. checkpoint: a file written after each epoch but the last; where it
    exists the run goes on from it, to the very result of a run that was never stopped. It is yours to delete. cache: a
    folder for latents, shared by all runs.
    The models are left as they are: a copy learns.
    Differs from the released code: one update may see several pictures; pictures are shuffled anew each epoch; the
    identity term of `step_by_step` has a gradient.
    Raises ValueError for bad pictures, prompts or settings, or another run's checkpoint; FloatingPointError when a loss
    stops being finite; MemoryError, with what would need less, when there is not enough.
    """
    models = models or load_models()
    seed = check_seed(seed)
    settings = settings.fitted_to(models)
    images.check(sources, "sources")
    for name, text in (("prompt", prompt), ("source_prompt", source_prompt)):
        if not text.strip():
            raise ValueError(f'the {name} is empty: say what pictures are ("photo") and what they shall become')
    if settings.weights.get("identity") and face is None and models.profile.face is None:
        raise ValueError("the loss 'identity' needs a face network: give finetune(..., face=...), or leave it out")
    _check_start(settings, models)
    wish = Wish(prompt, source_prompt, models, face, torch.Generator())
    sources = sources.to(models.device, torch.float32)
    kept, shared = (Path(path) if path else None for path in (checkpoint, cache))
    if kept is not None:
        check_place(kept)
    return _at_work(sources, wish, settings, seed, kept, shared)


def _check_start(settings: FineTune, models: Models) -> None:
    if settings.t0 >= len(models.denoiser.schedule):
        raise ValueError(f"t0 must be a timestep, 1 to {len(models.denoiser.schedule) - 1}; got {settings.t0}")


def _at_work(
    sources: Tensor, wish: Wish, settings: FineTune, seed: int, checkpoint: Path | None, cache: Path | None
) -> Iterator[TrainStep]:
    """The training, which says what would need less memory when there is not enough."""
    knobs = {
        f"FineTune(batch=1) or --batch 1, instead of {settings.batch} pictures at once": settings.batch > 1,
        "rank=8 or --rank 8": settings.rank is None,
    }
    with wish.models.at_work(sources.shape, knobs):
        yield from _train(sources, wish, settings, seed, checkpoint, cache)


@torch.inference_mode(False)    # as `stylize`
def _train(
    sources: Tensor, wish: Wish, settings: FineTune, seed: int, checkpoint: Path | None, cache: Path | None
) -> Iterator[TrainStep]:
    original, times = wish.models.denoiser, journey(settings.t0, settings.train_steps)
    pupil = whole(original) if settings.rank is None else low_rank(original, settings.rank, seed)
    optimizer = torch.optim.Adam(pupil.parameters.values(), lr=settings.lr)
    guidance = Guidance(
        {name: LOSSES[name](settings, wish) for name, w in settings.weights.items() if w},
        {name: w for name, w in settings.weights.items() if w},
    )
    about = _about(wish, settings, seed)
    run = digest(json.dumps(about), *settings.templates(), sources)
    first, number = _resume(checkpoint, run, pupil, optimizer)
    starts = latents(original, sources, settings.t0, settings.invert_steps, cache)
    with bar((settings.epochs - first) * len(sources), f"learning {wish.prompt!r}") as progress:
        for epoch in range(first, settings.epochs):
            # A stream of its own for each epoch, so that a run can resume.
            wish.generator.manual_seed((seed + 1_000_003 * epoch) % 2**64)
            batches = torch.randperm(len(sources), generator=wish.generator).split(settings.batch)
            for k, chosen in enumerate(batches):
                with torch.enable_grad():                                  # never across a yield: it is the caller's
                    looks = settings.looks(pupil.denoiser, starts[chosen], times)
                    updates = [_update(optimizer, guidance, step, sources[chosen]) for step in looks]
                done = [TrainStep(epoch, number + n, *u) for n, u in enumerate(updates)]
                number += len(done)
                progress.update(len(chosen))
                if k == len(batches) - 1:
                    for group in optimizer.param_groups:
                        group["lr"] *= settings.growth
                    if checkpoint and epoch + 1 < settings.epochs:         # the last epoch leaves an adapter instead
                        _keep(checkpoint, run, pupil, optimizer, epoch + 1, number)
                    done[-1] = replace(done[-1], adapter=Adapter(pupil.learnt(), about))
                yield from done


def _about(wish: Wish, settings: FineTune, seed: int) -> dict[str, str]:
    """What an adapter says of itself."""
    return {
        "prompt": wish.prompt,
        "source_prompt": wish.source_prompt,
        "profile": wish.models.profile.name,
        "network": name_of(wish.models.denoiser),
        "seed": str(seed),
        **settings.summary(),
    }


def _update(
    optimizer: torch.optim.Optimizer, guidance: Guidance, step: Step, source: Tensor
) -> tuple[int, Tensor, Tensor, dict[str, float]]:
    """One step of the optimiser on what `step` shows: (t, x0, source, losses) of a `TrainStep`."""
    terms = guidance.terms(State(step.i, step.t, step.x0, step.x0, source, source))
    optimizer.zero_grad()
    total: Any = sum(terms.values())    # a sum begins with the number 0
    total.backward()
    optimizer.step()
    losses = {name: value.item() / len(source) for name, value in terms.items()}
    return step.t, step.x0.detach(), source, losses


def _keep(
    path: Path, run: str, pupil: Trainable, optimizer: torch.optim.Optimizer, epoch: int, number: int
) -> None:
    """Write all that a later run needs to go on; whole or not at all."""
    parameters = {name: p.detach() for name, p in pupil.parameters.items()}
    state = {"run": run, "epoch": epoch, "number": number, "parameters": parameters, "adam": optimizer.state_dict()}
    with replacing(path) as part:
        torch.save(state, part)


def _resume(path: Path | None, run: str, pupil: Trainable, optimizer: torch.optim.Optimizer) -> tuple[int, int]:
    """Epochs and updates already done, after putting pupil and optimiser where they were."""
    if path is None or not path.exists():
        return 0, 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        same = state["run"] == run
    except Exception as error:    # whatever a damaged file makes torch say
        raise ValueError(f"{path.name} is no checkpoint that can be read: delete it to start again") from error
    if not same:
        raise ValueError(
            f"{path.name} is the checkpoint of another run (other pictures, prompts, settings or networks): delete it "
            "to start again, or name another file"
        )
    with torch.no_grad():
        for name, p in pupil.parameters.items():
            p.copy_(state["parameters"][name])
    optimizer.load_state_dict(state["adam"])
    return state["epoch"], state["number"]


# ------------------------------------------------------------------------------------------------------- applying


def translate(
    sources: Tensor, pupil: Denoiser, *, models: Models | None = None, settings: FineTune = FINETUNE
) -> Tensor:
    """Pictures (B, 3, H, W) in [-1, 1] as the pupil paints them, clamped to [-1, 1].

    Inverts with the network as it is and generates with `pupil`: `adapters.tuned` for one or several adapters in one
    network, a `Mixture` to mix networks. Raises ValueError for pictures of the wrong kind, MemoryError, with what would
    need less, when there is not enough.
    """
    models = models or load_models()
    settings = settings.fitted_to(models)
    images.check(sources, "sources")
    _check_start(settings, models)
    sources = sources.to(models.device, torch.float32)
    up, down = journey(settings.t0, settings.invert_steps), journey(settings.t0, settings.test_steps)
    with models.at_work(sources.shape, guided=False), bar(len(up) + len(down) - 1, "translating") as progress:
        latent = to_latent(models.denoiser, sources, up, lambda _: progress.update())
        return from_latent(pupil, latent, down, lambda _: progress.update()).clamp(-1, 1)


def journeys_of(adapters: Sequence[Adapter], settings: FineTune) -> FineTune:
    """The settings with t0 and the numbers of steps that the adapters were trained with, the largest of each."""
    names = ("t0", "invert_steps", "test_steps")
    known = {n: [int(adapter.about[n]) for adapter in adapters if n in adapter.about] for n in names}
    largest: dict[str, Any] = {name: max(values) for name, values in known.items() if values}
    return replace(settings, **largest)
