"""The ways into a run and out of it: towards noise, when to begin again, and what is made of the last step.

Each is a value that a `Recipe` names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .colour import match_colours
from .denoiser import Denoiser
from .samplers import invert, randn_like
from .state import State, Step

# ----------------------------------------------------------------------------------------------- the ways towards noise

Forward = Callable[[Denoiser, Tensor, int, torch.Generator | None], Tensor]


def noised(denoiser: Denoiser, source: Tensor, i: int, generator: torch.Generator | None) -> Tensor:
    """The source at position i with fresh noise: the stochastic way in (SDEdit, Meng et al. 2022)."""
    return denoiser.schedule.noised(source, i, randn_like(source, generator))


def inverted(denoiser: Denoiser, source: Tensor, i: int, generator: torch.Generator | None) -> Tensor:
    """The source at position i by DDIM inversion: the deterministic way in (Song et al. 2021; DiffusionCLIP)."""
    return invert(denoiser, source, i)


def inverted_as_released(denoiser: Denoiser, source: Tensor, i: int, generator: torch.Generator | None) -> Tensor:
    """`inverted`, one position too far: the latent of position i + 1, read as if it stood at i (ZeCon's ddim_ddim)."""
    return invert(denoiser, source, i + 1)


def inverted_as_noise(denoiser: Denoiser, source: Tensor, i: int, generator: torch.Generator | None) -> Tensor:
    """The released ZeCon way in: the source noised to position i with its own inverted latent in place of noise.

    That latent stands one position higher and still contains the picture, so the picture enters twice, with much more
    contrast. The released code does so whenever DDIM goes forward and DDPM comes back.
    """
    return denoiser.schedule.noised(source, i, invert(denoiser, source, i + 1))


# ------------------------------------------------------------------------------------ on the way, and at the end of it


@dataclass(frozen=True)
class Early:
    """A weight, or a factor of one, that holds while the training timestep is above `t`, and is `after` from there on.

    The released DiffuseIT code counts positions (above 50 of 100, or 100 of 200); both mean t > 505.
    """

    weight: float = 1.0
    t: int = 505
    after: float = 0.0

    def __call__(self, state: State) -> float:
        return self.weight if state.t > self.t else self.after


@dataclass(frozen=True)
class Overflow:
    """Whether any picture's clean estimate is out of [-1, 1] by more than `limit`, as a mean square.

    DiffuseIT's `--use_range_restart`: 0.01 over the weight 200; for faces it allows ten times as much.
    """

    limit: float = 5e-5

    def __call__(self, step: Step) -> bool:
        return bool(((step.x0 - step.x0.clamp(-1, 1)).square().mean((1, 2, 3)) > self.limit).any())


Finish = Callable[[Step, Any], Tensor]    # the last step, the style picture: a Tensor, or None for recipes without


def stepped(step: Step, style: Tensor | None) -> Tensor:
    """Where the last step led, guidance included."""
    return step.x


def estimated(step: Step, style: Tensor | None) -> Tensor:
    """The clean picture the network believed in at the last step, before guidance: what released code saves."""
    return step.x0


def colours_matched(step: Step, style: Tensor) -> Tensor:
    """`estimated`, with the colours of the style picture (DiffuseIT's `--use_colormatch`).

    Differs from the released code, which stretches what is out of range into it before and after: here the statistics
    are those of the estimate as it is, and the result is clipped.
    """
    return match_colours(step.x0, style)


def colours_stretched(step: Step, style: Tensor) -> Tensor:
    """`estimated`, with the style picture's colours as released: stretched before and after (see `match_colours`)."""
    return match_colours(step.x0.clamp(-1, 1), style, stretch=True)
