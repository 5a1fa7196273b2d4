"""One seed, one picture: what was recorded comes out again, the noise bit for bit, the picture to the last digits.

Networks in closed form stand in for trained ones, so that the record outlives every training. Where a machine adds
numbers in another order the last digits differ; `test_rerun.py` holds real runs to the bit on one machine.
"""

from __future__ import annotations

import hashlib
import os

import torch
from golden import draw
from toys import GaussianDenoiser

from zecon_lite import Schedule
from zecon_lite.guidance import Guidance
from zecon_lite.samplers import sample

NOISE = "65e9935fb3f818c952a828876d3689e3bdbd873ec4770c6023198a22045ad9bf"
PICTURE = "c6f59c31d3ce6317fef32a0abef124d0513fa140686e15f5812c66ac3f3a32da"
CORNER = [0.6204767293632129, 0.32195069382128355, -0.012947688831522863]


def run():
    """A guided run in double precision: the first noise (1, 3, 8, 8), and the result."""
    generator, source = torch.Generator().manual_seed(2024), torch.from_numpy(draw(1, 1, 3, 8, 8, scale=0.5)).double()
    denoiser = GaussianDenoiser(Schedule.linear().respace(20))
    noise = torch.randn(source.shape, generator=generator)
    x = denoiser.schedule.noised(source, 12, noise.double())
    guidance = Guidance({"mse": lambda s: (s.view - s.source_view).square().sum()}, {"mse": 3.0})
    steps = list(sample(denoiser, x, range(12, -1, -1), guidance=guidance, source=source, generator=generator))
    return noise, steps[-1].x


def sha256(tensor):
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


def test_the_noise_of_a_seed_is_the_same_on_every_machine():
    noise, _ = run()
    assert sha256(noise) == NOISE


def test_the_picture_of_a_seed_is_the_recorded_one():
    _, picture = run()
    torch.testing.assert_close(picture[0, :, 0, 0], torch.tensor(CORNER, dtype=picture.dtype), rtol=0, atol=1e-9)
    # Rounded to six digits its hash is the same wherever sums differ by rounding alone.
    assert sha256((picture * 1e6).round().long()) == PICTURE


def test_the_number_of_threads_changes_nothing():
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, max(2, os.cpu_count() or 1)):
            torch.set_num_threads(count)
            results.append(run()[1])
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)
