"""The noise levels of a diffusion process, and the algebra between x_0, x_t and eps.

Everything here is a closed formula of one number per position, `alphas_cumprod[i]`: how much of the picture's
variance is left. The tables are float64 on the CPU; an entry is a 0-dim tensor, so it multiplies a float32 image on
any device without promoting or moving it.

Legend used in every docstring: B batch, H W pixels, C channels, N schedule length. Images are float (B, 3, H, W) in
[-1, 1].
Two clocks: `i` is a position in the schedule, 0 = almost clean; `t` is the training timestep that stands there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Schedule:
    """The noise levels a reverse process visits, from almost clean (position 0) to almost noise (position N-1).

    alphas_cumprod: (N,) float64, strictly decreasing, each in (0, 1).
    timesteps:      (N,) int64, the training timestep each position stands for.
    Raises ValueError when the two tables disagree in length or the first does not fall from 1 towards 0.
    """

    alphas_cumprod: Tensor
    timesteps: Tensor

    def __post_init__(self) -> None:
        a = self.alphas_cumprod
        if a.ndim != 1 or a.shape != self.timesteps.shape:
            raise ValueError(
                f"alphas_cumprod and timesteps must be two tables of one length; got {tuple(a.shape)} and "
                f"{tuple(self.timesteps.shape)}"
            )
        if a.dtype != torch.float64:
            raise ValueError(
                f"alphas_cumprod must be float64 (late entries differ by 1e-9); got {a.dtype}: use .double()"
            )
        if len(a) == 0 or not (a[-1] > 0 and a[0] < 1 and bool((a[1:] < a[:-1]).all())):
            raise ValueError(
                "alphas_cumprod must fall strictly inside (0, 1), from almost 1 (clean) to almost 0 (noise)"
            )

    @classmethod
    def linear(cls, n: int = 1000) -> Schedule:
        """Betas from 1e-4 to 0.02 in a straight line (Ho et al. 2020, section 4), scaled when n is not 1000."""
        scale = 1000 / _positions(n)
        return cls._from_betas(torch.linspace(scale * 1e-4, scale * 0.02, n, dtype=torch.float64))

    @classmethod
    def scaled_linear(cls, n: int = 1000) -> Schedule:
        """Square roots of beta in a straight line, 0.00085 to 0.012 (latent diffusion, Rombach et al. 2022)."""
        scale = 1000 / _positions(n)
        return cls._from_betas(
            torch.linspace(math.sqrt(scale * 0.00085), math.sqrt(scale * 0.012), n, dtype=torch.float64) ** 2
        )

    @classmethod
    def cosine(cls, n: int = 1000) -> Schedule:
        """alphas_cumprod follows a squared cosine, betas capped at 0.999 (Nichol & Dhariwal 2021, eq. 17)."""
        u = torch.linspace(0, 1, _positions(n) + 1, dtype=torch.float64)
        f = torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
        return cls._from_betas((1 - f[1:] / f[:-1]).clamp(max=0.999))

    @classmethod
    def _from_betas(cls, betas: Tensor) -> Schedule:
        if not betas.max() < 1:
            raise ValueError(
                f"{len(betas)} positions are too few for these betas, which reach {betas.max():.2f} and leave nothing "
                f"of the picture: take Schedule.linear().respace({len(betas)}), or the like"
            )
        return cls((1 - betas).cumprod(0), torch.arange(len(betas)))

    def respace(self, n: int) -> Schedule:
        """The same process seen at n evenly spaced positions, both ends kept (Nichol & Dhariwal 2021, section 4).

        Raises ValueError unless 1 <= n <= N.

        >>> Schedule.linear().respace(5).timesteps.tolist()
        [0, 250, 500, 749, 999]
        """
        if not 1 <= n <= len(self):
            raise ValueError(f"a schedule of {len(self)} positions cannot be respaced to {n}: choose 1 to {len(self)}")
        stride = (len(self) - 1) / (n - 1) if n > 1 else 1.0
        # The stride is added up, as released code does: k * stride can round to the other neighbour.
        keep, at = [], 0.0
        for _ in range(n):
            keep.append(round(at))
            at += stride
        index = torch.tensor(keep)
        return Schedule(self.alphas_cumprod[index], self.timesteps[index])

    def __len__(self) -> int:
        return len(self.timesteps)

    @cached_property
    def alphas_cumprod_prev(self) -> Tensor:
        """(N,): alphas_cumprod one position nearer to the picture; 1 before position 0."""
        return torch.cat([self.alphas_cumprod.new_ones(1), self.alphas_cumprod[:-1]])

    @cached_property
    def alphas_cumprod_next(self) -> Tensor:
        """(N,): alphas_cumprod one position nearer to noise; 0 after the last."""
        return torch.cat([self.alphas_cumprod[1:], self.alphas_cumprod.new_zeros(1)])

    @cached_property
    def betas(self) -> Tensor:
        """(N,): the share of variance that one forward step replaces by noise (DDPM eq. 2)."""
        return 1 - self.alphas_cumprod / self.alphas_cumprod_prev

    @cached_property
    def posterior_log_variance(self) -> Tensor:
        """(N,): log variance of q(x_{t-1} | x_t, x_0) (DDPM eq. 7); entry 0 would be log 0 and borrows entry 1."""
        variance = self.betas * (1 - self.alphas_cumprod_prev) / (1 - self.alphas_cumprod)
        if len(variance) == 1:  # one position: nothing to borrow from, any finite number serves
            return self.betas.log()
        return torch.cat([variance[1:2], variance[1:]]).log()

    def noised(self, x0: Tensor, i: int, noise: Tensor) -> Tensor:
        """x_t given x_0, in one jump (DDPM eq. 4)."""
        a = self.alphas_cumprod[i]
        return a.sqrt() * x0 + (1 - a).sqrt() * noise

    def renoised(self, x: Tensor, i: int, noise: Tensor) -> Tensor:
        """x_t given x_{t-1}: one forward step up to position i (DDPM eq. 2)."""
        return (1 - self.betas[i]).sqrt() * x + self.betas[i].sqrt() * noise

    def x0_from_eps(self, x: Tensor, i: int, eps: Tensor) -> Tensor:
        """The clean picture that x_t and its noise imply (DDPM eq. 4 solved for x_0; Tweedie's formula).

        >>> s, x0, noise = Schedule.cosine(), torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
        >>> torch.allclose(s.x0_from_eps(s.noised(x0, 500, noise), 500, noise), x0, atol=1e-6)
        True
        """
        a = self.alphas_cumprod[i]
        return (1 / a).sqrt() * x - (1 / a - 1).sqrt() * eps

    def eps_from_x0(self, x: Tensor, i: int, x0: Tensor) -> Tensor:
        """The noise that x_t and a clean picture imply (DDPM eq. 4 solved for eps)."""
        a = self.alphas_cumprod[i]
        return ((1 / a).sqrt() * x - x0) / (1 / a - 1).sqrt()

    def posterior_mean(self, x: Tensor, i: int, x0: Tensor) -> Tensor:
        """Mean of q(x_{t-1} | x_t, x_0) (DDPM eq. 7)."""
        a, a_prev, beta = self.alphas_cumprod[i], self.alphas_cumprod_prev[i], self.betas[i]
        return (beta * a_prev.sqrt() / (1 - a)) * x0 + ((1 - a_prev) * (1 - beta).sqrt() / (1 - a)) * x


def _positions(n: int) -> int:
    if n < 1:
        raise ValueError(f"a schedule has at least one position; got {n}")
    return n
