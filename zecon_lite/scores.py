"""Scores as gradients, as formulas and values: what SDS, DDS and CDS subtract from what, and with which numbers.

`distill` runs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from .losses import AttentionContrast, result_anchored
from .profiles import nearest
from .provenance import check_count, plain_numbers

# -------------------------------------------------------------------------------------------------------- formulas


def classifier_free_guidance(eps_null: Tensor, eps_text: Tensor, guidance: float) -> Tensor:
    """eps_null + guidance (eps_text - eps_null), any shape (Ho & Salimans 2022, eq. 6, with guidance = 1 + their w).

    >>> import torch
    >>> classifier_free_guidance(torch.tensor(1.0), torch.tensor(2.0), guidance=7.5)
    tensor(8.5000)
    """
    return eps_null + guidance * (eps_text - eps_null)


def sds_gradient(eps: Tensor, noise: Tensor) -> Tensor:
    """eps - noise: score distillation (Poole et al. 2023, eq. 3), the UNet's Jacobian left out, w(t) = 1 as released.

    eps: the guided prediction for the noised result. Much of the difference is the model's own error, which has nothing
    to do with the edit and blurs the picture.
    """
    return eps - noise


def dds_gradient(eps: Tensor, eps_source: Tensor) -> Tensor:
    """eps - eps_source: the delta denoising score (Hertz et al. 2023, eq. 3), w(t) = 1 as released.

    eps, eps_source: guided predictions for result and source, noised alike, each under its own prompt. The model's
    error is nearly the same in both and drops out; where pictures and prompts agree, the gradient is zero.
    """
    return eps - eps_source


# --------------------------------------------------------------------------------------------------------- methods


WEIGHTS = ("score", "contrast")


@dataclass(frozen=True)
class Method:
    """A way to edit, as values.

    weights: of "score" and "contrast"; a contrast of weight 0 is not evaluated. delta: True subtracts the source's
    score (DDS), False the noise itself (SDS). guidance: see `classifier_free_guidance`. timesteps: drawn from the first
    to below the second. The new latent is z - rate (weights["score"] score_scale g + weights["contrast"] dL/dz); rate
    0.1 and score_scale 2000 / 64^2 make the papers' step of 0.0488 g.

    Differs from the released code, whose surrogate loss is 2000 / (h w) times sum(z g), so that the step changes with
    the picture's size: ours is that of 512-px pictures (64 x 64 latents) at every size; score_scale=2000 / (h * w) is
    theirs. Theirs ignores the weights that its command line takes; these work. Its default is Stable Diffusion 1.4;
    ours is 1.5, its `--v5`.
    """

    name: str
    paper: str
    weights: Mapping[str, float]
    delta: bool = True
    contrast: AttentionContrast = field(default_factory=AttentionContrast)
    iterations: int = 200
    guidance: float = 7.5
    rate: float = 0.1
    score_scale: float = 2000 / 64**2
    timesteps: tuple[int, int] = (50, 949)

    def __post_init__(self) -> None:
        for name in self.weights:
            if name not in WEIGHTS:
                raise ValueError(f"there is no weight {name!r}; {nearest(name, WEIGHTS)}")
        check_count("iterations", self.iterations)
        if not 0 <= self.timesteps[0] < self.timesteps[1]:
            raise ValueError(f"timesteps must be (first, end), 0 <= first < end; got {self.timesteps}")

    @property
    def contrasts(self) -> bool:
        """Whether self-attention features are compared."""
        return self.weights.get("contrast", 0) != 0

    @property
    def needs_source_prompt(self) -> bool:
        """Whether the model is asked about the source."""
        return self.delta or self.contrasts

    def changed(
        self,
        *,
        weights: Mapping[str, float] | None = None,
        iterations: int | None = None,
        guidance: float | None = None,
        rate: float | None = None,
    ) -> Method:
        """The method with some numbers replaced; weights are merged into its own."""
        given = plain_numbers({"iterations": iterations, "guidance": guidance, "rate": rate})
        return replace(self, weights={**self.weights, **plain_numbers(weights or {})}, **given)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("sds", "Poole et al., ICLR 2023, arXiv 2209.14988", {"score": 1.0, "contrast": 0.0}, delta=False),
        Method("dds", "Hertz et al., ICCV 2023, arXiv 2304.07090", {"score": 1.0, "contrast": 0.0}),
        Method("cds", "Nam et al., CVPR 2024, arXiv 2311.18608", {"score": 1.0, "contrast": 3.0}),
        Method(
            "cds_cut_roles",
            "CDS with the roles of CUT, Park et al., ECCV 2020, arXiv 2007.15651",
            {"score": 1.0, "contrast": 3.0},
            contrast=AttentionContrast(roles=result_anchored),
        ),
    )
}
"""name -> method. The numbers are those of the released code."""
