"""Denoisers whose answer is known in closed form, and other stand-ins where a network would only blur the point."""

from dataclasses import dataclass

import torch

from zecon_lite.denoiser import Prediction
from zecon_lite.schedule import Schedule


@dataclass(frozen=True)
class GaussianDenoiser:
    """The exact denoiser of pictures whose pixels are independent N(mean, variance)."""

    schedule: Schedule
    mean: float = 0.2
    variance: float = 0.25
    feature_blocks: tuple = (0,)

    def __call__(self, x, i):
        s, a = self.schedule, self.schedule.alphas_cumprod[i]
        gain = a.sqrt() * self.variance / (a * self.variance + 1 - a)
        x0 = self.mean + gain * (x - a.sqrt() * self.mean)
        return Prediction(x0, s.eps_from_x0(x, i, x0), s.posterior_log_variance[i].to(x).expand_as(x))

    def features(self, x, t, blocks):
        return [torch.cat([x, x.square()], dim=1) for _ in blocks]

    def respace(self, n):
        return GaussianDenoiser(self.schedule.respace(n), self.mean, self.variance)


class StubUNet(torch.nn.Module):
    """Returns a recorded output whatever it is asked, and notes the timesteps it was asked at."""

    def __init__(self, output):
        super().__init__()
        self.output, self.asked = output, []

    def forward(self, x, t):
        self.asked.append(t.tolist())
        return self.output + 0 * x.sum()
