"""From losses on the picture to a gradient on x_t."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .schedule import Schedule
from .state import State

Loss = Callable[[State], Tensor]  # -> scalar: the sum over the batch of per-image losses
REACH = 0.55  # how far, in strengths, a push of fixed strength may move the next picture
Weight = float | Callable[[State], float]  # a number, or a number that depends on where we are


@dataclass(frozen=True)
class Guidance:
    """Named losses and their weights.

    strength: None uses the gradient as it is, as in the papers (Dhariwal & Nichol 2021), so that the weights also say
    how hard to push. A number fixes the push instead: the gradient of each image is scaled so that it moves the
    predicted noise, whose own RMS is about 1, by `strength` RMS; the weights then only say how the terms share it. Long
    steps and those next to pure noise get less, since they would carry it too far (see REACH). So it is with
    `ddim_step`; `ddpm_step` pushes by its variance, which is less in the last steps.
    source_view: draws what each loss is shown of the source, state -> (B, 3, H, W), one for each loss in turn; None
    shows all of them the one of the state.
    Raises ValueError when a weight names no loss.
    """

    losses: Mapping[str, Loss]
    weights: Mapping[str, Weight]
    strength: float | None = None
    source_view: Callable[[State], Tensor] | None = None

    def __post_init__(self) -> None:
        unknown = sorted(set(self.weights) - set(self.losses))
        if unknown:
            raise ValueError(f"no loss named {', '.join(unknown)}; there are {', '.join(sorted(self.losses))}")

    def terms(self, state: State) -> dict[str, Tensor]:
        """Each loss times its weight, name -> scalar; a loss whose weight is zero is not evaluated.

        Raises FloatingPointError when a term is not finite, naming it: a sum would hide which loss broke; ValueError
        when it is not one number.
        """
        weights = {name: w(state) if callable(w) else w for name, w in self.weights.items()}
        terms = {name: w * _number(name, self.losses[name](self._shown(state))) for name, w in weights.items() if w}
        for name, value in terms.items():
            if not torch.isfinite(value.detach()).all():
                raise FloatingPointError(
                    f"the loss {name!r} became {value.item()} at position {state.i} (timestep {state.t}): lower its "
                    'weight or the guidance strength, or compute in float32 (in the book: "Setting up")'
                )
        return terms

    def _shown(self, state: State) -> State:
        return state if self.source_view is None else replace(state, source_view=self.source_view(state))

    def gradient(self, terms: Mapping[str, Tensor], x: Tensor, schedule: Schedule, i: int) -> Tensor | None:
        """d(sum of terms) / dx, (B, 3, H, W), scaled to `strength` where one is set; None when every weight is zero.

        A gradient whose RMS is below 1e-12 is too faint to be scaled, and pushes less.

        Raises ValueError when no term depends on x, FloatingPointError when the gradient is not finite.
        """
        if not terms:
            return None
        total: Any = sum(terms.values())    # a sum begins with the number 0
        if not total.requires_grad:
            raise ValueError(
                f"{' + '.join(terms)} does not depend on the picture: a loss must compute with state.x0 or state.view, "
                "and not detach them"
            )
        (grad,) = torch.autograd.grad(total, x)
        if not torch.isfinite(grad).all():
            raise FloatingPointError(
                f"the gradient of {' + '.join(terms)} is not finite at position {i}: leave terms out one by one to "
                'find which, then lower its weight, or compute in float32 (in the book: "Setting up")'
            )
        if self.strength is None:
            return grad
        rms = grad.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-12)
        # ddim_step adds sqrt(1-a) * grad to eps; divided by that factor, strength is the shift's RMS. A shift of 1
        # moves the next picture by `carried`, which grows with the step's length, and towards pure noise without limit.
        a, a_prev = schedule.alphas_cumprod[i], schedule.alphas_cumprod_prev[i]
        carried = a_prev.sqrt() * ((1 - a) / a).sqrt() - (1 - a_prev).sqrt()
        strength = self.strength * (REACH / carried).clamp(max=1)
        return grad * (strength / (1 - a).sqrt()) / rms


def _number(name: str, value: object) -> Tensor:
    """What a loss returned, if it is one number. Raises ValueError, with the cure, where it is not."""
    if isinstance(value, Tensor) and not value.ndim:
        return value
    if isinstance(value, Tensor):
        came, cure = f"a tensor {tuple(value.shape)}", "end it with .sum()"
    elif value is None:
        came, cure = "nothing", "say what the function returns"
    else:
        came, cure = f"a {type(value).__name__}", "return the tensor itself, without .item() or float()"
    raise ValueError(
        f"the loss {name!r} must return a tensor of one number and no dimensions, the sum over the batch; got {came}: "
        f"{cure}"
    )
