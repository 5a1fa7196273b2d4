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


class EpsStub(torch.nn.Module):
    """The stub network of golden/diffusionclip: eps_k times a trainable theta, and the channels of a variance."""

    def __init__(self, k):
        super().__init__()
        self.k, self.asked = k, []
        self.theta = torch.nn.Parameter(torch.tensor(1.0))
        self.register_buffer("number", torch.tensor(k))

    def forward(self, x, t):
        self.asked.append(t.tolist())
        wave = 0.2 * torch.sin(0.01 * (self.k + 1) * t.float()).to(x)[:, None, None, None]
        eps = (0.7 + 0.1 * self.k) * torch.tanh((1.3 - 0.2 * self.k) * x) + wave
        return torch.cat([self.theta * eps, 0.3 * x - 4], dim=1)


class TinyUNet(torch.nn.Sequential):
    """A network of one layer of each kind that adapters change: a plane convolution, a row convolution, a linear."""

    def __init__(self, seed=0):
        super().__init__(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Conv1d(8, 8, 1), torch.nn.Linear(8, 6))
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
        self.requires_grad_(False)

    time_embed, out = property(lambda self: self[0]), property(lambda self: self[2])

    def torso_to(self, dtype):
        self[1].to(dtype)
        return self

    def forward(self, x, t):
        convolution, rows, linear = self
        h = (convolution(x) + 0.001 * t.to(x)[:, None, None, None]).tanh()
        h = rows(h.flatten(2)).tanh()
        return linear(h.mT).mT.unflatten(2, x.shape[2:])
