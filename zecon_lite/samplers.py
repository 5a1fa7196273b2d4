"""The reverse process, one `Step` at a time: DDPM, DDIM, inversion, and plans of positions.

`sample` is a generator: the caller owns the loop, so a notebook plots each step, a widget stops early, a progress bar
wraps it. Which positions are visited is a plain list: [24, 23, ..., 0] is ordinary sampling, [24, 24, 24, 23, ..., 0]
takes the first step three times (DiffuseIT's resampling), longer climbs are RePaint's jumps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from .denoiser import Denoiser, Prediction
from .guidance import Guidance
from .schedule import Schedule
from .state import State, Step

StepRule = Callable[[Schedule, Tensor, int, Prediction, Tensor | None, Tensor], Tensor]
ClimbRule = Callable[[Schedule, Tensor, int, Tensor], Tensor]    # x_{t-1}, the position to climb to, noise -> x_t


def ddpm_step(
    schedule: Schedule, x: Tensor, i: int, prediction: Prediction, grad: Tensor | None, noise: Tensor
) -> Tensor:
    """x_{t-1} by ancestral sampling (DDPM alg. 2); guidance shifts the mean (Dhariwal & Nichol 2021, alg. 1)."""
    mean, log_variance = schedule.posterior_mean(x, i, prediction.x0), prediction.log_variance
    if grad is not None:
        mean = mean - log_variance.exp() * grad
    return mean + (0.5 * log_variance).exp() * noise if i > 0 else mean


def ddim_step(
    schedule: Schedule,
    x: Tensor,
    i: int,
    prediction: Prediction,
    grad: Tensor | None,
    noise: Tensor,
    eta: float = 0.0,
) -> Tensor:
    """x_{t-1} by DDIM (Song et al. 2021, eq. 12); guidance shifts eps (Dhariwal & Nichol 2021, alg. 2).

    eta: 0 is deterministic, 1 has DDPM's variance.

    >>> s, x0, eps = Schedule.cosine(10), torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    >>> belief = Prediction(x0, eps, log_variance=eps)
    >>> torch.allclose(ddim_step(s, s.noised(x0, 5, eps), 5, belief, None, eps), s.noised(x0, 4, eps))
    True
    """
    a, a_prev = schedule.alphas_cumprod[i], schedule.alphas_cumprod_prev[i]
    eps = schedule.eps_from_x0(x, i, prediction.x0)
    if grad is not None:
        eps = eps + (1 - a).sqrt() * grad
    x0 = schedule.x0_from_eps(x, i, eps)
    sigma = eta * ((1 - a_prev) / (1 - a)).sqrt() * (1 - a / a_prev).sqrt()
    return a_prev.sqrt() * x0 + (1 - a_prev - sigma**2).sqrt() * eps + (sigma * noise if i > 0 else 0)


def renoised_as_released(s: Schedule, x: Tensor, i: int, noise: Tensor) -> Tensor:
    """x_t given x_{t-1} with the beta of one position lower, as DiffuseIT's paper and code resample.

    The exact kernel is `Schedule.renoised`. At the released settings alphas_cumprod after it is 0.02722, not 0.02716.
    """
    return s.renoised(x, max(i - 1, 0), noise)


def sample(
    denoiser: Denoiser,
    x: Tensor,
    positions: Sequence[int],
    *,
    guidance: Guidance | None = None,
    source: Tensor | None = None,
    step: StepRule = ddpm_step,
    climb: ClimbRule = Schedule.renoised,
    previous: Step | None = None,
    guided: int | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Step]:
    """Walk the reverse process, yielding one `Step` per entry of `positions`.

    x: (B, 3, H, W), a noisy picture that stands at positions[0]. Where the plan climbs, the picture is noised up again
    one forward step at a time by `climb`. With guidance, `source` (B, 3, H, W) is what the losses compare with.
    previous: the step before the first one, where the walk goes on from another; for losses that compare with it.
    guided: how many of the first steps guidance has a say in; all without it.
    Draws per step, in this order, each through `randn_like`: climbing noise, step noise, then the source's noise.
    Raises ValueError for positions outside the schedule or left out on the way down, guidance without a source, or
    shapes that differ.
    """
    _check_plan(denoiser, x, positions, guidance, source)
    return _walk(denoiser, x, positions, guidance, source, step, climb, previous, guided, generator)


def _walk(
    denoiser: Denoiser,
    x: Tensor,
    positions: Sequence[int],
    guidance: Guidance | None,
    source: Tensor | None,
    step: StepRule,
    climb: ClimbRule,
    done: Step | None,
    guided: int | None,
    generator: torch.Generator | None,
) -> Iterator[Step]:
    s, at = denoiser.schedule, positions[0]
    for number, i in enumerate(positions):
        if number == guided:
            guidance = None
        for to in range(at + 1, i + 1):  # the plan climbs: forget a little
            x = climb(s, x, to, randn_like(x, generator))
        noise = randn_like(x, generator)
        x = x.detach().requires_grad_(guidance is not None)
        grad: Tensor | None = None
        state, terms = None, {}
        with torch.set_grad_enabled(guidance is not None):
            p = denoiser(x, i)  # one pass: x0, eps, variance
            if guidance is not None and source is not None:
                state = look(s, x, i, p, source, done, generator)
                terms = guidance.terms(state)
                grad = guidance.gradient(terms, x, s, i)
        with torch.no_grad():
            x = step(s, x, i, p, grad, noise)
        at = i - 1
        done = Step(
            i,
            int(s.timesteps[i]),
            x,
            p.x0.detach(),
            None if state is None else state.view.detach(),
            {name: value.item() for name, value in terms.items()},
            grad,
        )
        yield done


def look(
    s: Schedule,
    x: Tensor,
    i: int,
    p: Prediction,
    source: Tensor,
    previous: Step | None,
    generator: torch.Generator | None,
) -> State:
    """What the losses see at position i: prediction and source, each mixed with its noisy self.

    The mix (f x0 + (1-f) x_t, f = sqrt(1 - alphas_cumprod)) is that of CLIP-guided diffusion's notebooks (2021) and of
    Blended Diffusion (Avrahami et al. 2022): early the clean estimate, late the picture itself. Differs from the
    released ZeCon code: the source's noise is drawn once per step and shared by every loss, not anew for each term.
    """
    f = (1 - s.alphas_cumprod[i]).sqrt()
    shown = view_of_source(s, source, i, generator)
    return State(i, int(s.timesteps[i]), p.x0, f * p.x0 + (1 - f) * x, source, shown, previous)


def view_of_source(s: Schedule, source: Tensor, i: int, generator: torch.Generator | None) -> Tensor:
    """The source, (B, 3, H, W), mixed with its noisy self at position i as `look` mixes the picture; draws noise."""
    f = (1 - s.alphas_cumprod[i]).sqrt()
    noisy = s.noised(source, i, randn_like(source, generator))
    return f * source + (1 - f) * noisy


@torch.no_grad()
def invert(denoiser: Denoiser, x0: Tensor, upto: int, on_step: Callable[[int], None] | None = None) -> Tensor:
    """The noisy picture at position `upto` from which deterministic DDIM leads back to x0 (Song et al. 2021, eq. 14).

    x0: (B, 3, H, W) in [-1, 1]. The clean picture is read as if it stood at position 0 and each step climbs one
    position, with the noise believed before the climb. `on_step(i)` is called after each of the `upto` network passes.
    Raises ValueError unless 0 <= upto <= N; `upto` = N ends at alphas_cumprod 0, pure predicted noise.
    """
    s = denoiser.schedule
    if not 0 <= upto <= len(s):
        raise ValueError(f"upto must be a position of the schedule, 0 to {len(s)}; got {upto}")
    x = x0
    for i in range(upto):
        p, a_next = denoiser(x, i), s.alphas_cumprod_next[i]
        x = a_next.sqrt() * p.x0 + (1 - a_next).sqrt() * p.eps
        if on_step is not None:
            on_step(i)
    return x


def randn_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal noise of x's shape, drawn on the CPU, so that a seed means the same picture on every device."""
    return torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)


def _check_plan(
    denoiser: Denoiser, x: Tensor, positions: Sequence[int], guidance: Guidance | None, source: Tensor | None
) -> None:
    n = len(denoiser.schedule)
    if x.ndim != 4:
        raise ValueError(f"x must be (B, 3, H, W); got {tuple(x.shape)}: add a batch dimension with x[None]")
    if not len(positions) or min(positions) < 0 or max(positions) >= n:
        raise ValueError(
            f"positions must be entries of the schedule, 0 to {n - 1}; got {list(positions)[:8]}: "
            "for the last 25 steps use list(range(24, -1, -1))"
        )
    for i, to in pairwise(positions):
        if to < i - 1:
            raise ValueError(
                f"a plan goes down by one position at a time; got {to} after {i}: for fewer steps use "
                "denoiser.respace(n), whose positions are farther apart"
            )
    if guidance is not None and (source is None or source.shape != x.shape):
        came = "none" if source is None else tuple(source.shape)
        raise ValueError(f"guidance compares with the source, which must have x's shape {tuple(x.shape)}; got {came}")
