"""The noise levels and the algebra between x_0, x_t and eps."""

import numpy as np
import pytest
import torch
from golden import draw, load

from zecon_lite.schedule import Schedule

SCHEDULES = [
    Schedule.linear(),
    Schedule.scaled_linear(),
    Schedule.cosine(),
    Schedule.linear().respace(50),
    Schedule.cosine().respace(10),
]


def random(seed, *shape):
    return torch.from_numpy(draw(seed, *shape))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_alphas_cumprod_fall_from_almost_one_to_almost_zero(schedule):
    a = schedule.alphas_cumprod
    assert a.dtype == torch.float64 and bool((a[1:] < a[:-1]).all())
    assert a[0] > 0.98 and 0 < a[-1] < 0.01


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_x0_and_eps_are_two_views_of_the_same_picture(schedule):
    x0, eps = random(0, 2, 3, 4, 4).double(), random(1, 2, 3, 4, 4).double()
    for i in (0, len(schedule) // 2, len(schedule) - 1):
        x = schedule.noised(x0, i, eps)
        torch.testing.assert_close(schedule.eps_from_x0(x, i, x0), eps, rtol=1e-6, atol=1e-6)
        if schedule.alphas_cumprod[i] > 1e-6:
            torch.testing.assert_close(schedule.x0_from_eps(x, i, eps), x0, rtol=1e-6, atol=1e-6)


def test_one_jump_has_the_distribution_of_many_single_steps():
    """Signal and variance after k forward steps equal those of the closed form."""
    schedule = Schedule.linear().respace(20)
    signal, variance = 1.0, 0.0
    for i in range(20):
        signal = signal * (1 - schedule.betas[i]).sqrt()
        variance = variance * (1 - schedule.betas[i]) + schedule.betas[i]
        torch.testing.assert_close(signal, schedule.alphas_cumprod[i].sqrt())
        torch.testing.assert_close(variance, 1 - schedule.alphas_cumprod[i])


def test_posterior_mean_of_the_true_noise_is_bayes_rule():
    """q(x_{t-1} | x_t, x_0) by completing the square of the two Gaussians it comes from."""
    schedule = Schedule.linear().respace(10)
    x, x0 = random(2, 1, 3, 2, 2).double(), random(3, 1, 3, 2, 2).double()
    for i in range(1, 10):
        a_prev, beta = schedule.alphas_cumprod_prev[i], schedule.betas[i]
        precision = (1 - beta) / beta + 1 / (1 - a_prev)
        mean = ((1 - beta).sqrt() / beta * x + a_prev.sqrt() / (1 - a_prev) * x0) / precision
        torch.testing.assert_close(schedule.posterior_mean(x, i, x0), mean)
        torch.testing.assert_close(schedule.posterior_log_variance[i], (1 / precision).log())


def test_respacing_keeps_both_ends_and_the_noise_levels_between():
    full = Schedule.linear()
    short = full.respace(50)
    assert short.timesteps[0] == 0 and short.timesteps[-1] == 999 and len(short) == 50
    torch.testing.assert_close(short.alphas_cumprod, full.alphas_cumprod[short.timesteps], rtol=0, atol=0)


def test_respacing_to_every_step_changes_nothing():
    full = Schedule.cosine()
    assert torch.equal(full.respace(1000).timesteps, full.timesteps)


def test_tables_equal_the_released_ones():
    golden = load("zecon/schedule.npz")
    full = Schedule.linear()
    np.testing.assert_allclose(full.betas, golden["betas_1000"], rtol=1e-9)
    np.testing.assert_allclose(full.alphas_cumprod, golden["alphas_cumprod_1000"], rtol=1e-12)
    for n in (10, 25, 50, 100):
        short = full.respace(n)
        np.testing.assert_array_equal(short.timesteps, golden[f"map_{n}"])
        for ours, theirs in (
            (short.betas, "betas"),
            (short.alphas_cumprod, "alphas_cumprod"),
            (short.alphas_cumprod_next, "alphas_cumprod_next"),
            (short.posterior_log_variance, "posterior_log_variance_clipped"),
            ((1 - short.alphas_cumprod).sqrt(), "fac"),
        ):
            np.testing.assert_allclose(ours, golden[f"{theirs}_{n}"], rtol=2e-6, atol=1e-9, err_msg=f"{theirs}_{n}")


def test_posterior_mean_has_the_released_coefficients():
    golden = load("zecon/schedule.npz")
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for n in (10, 25, 50, 100):
        short = Schedule.linear().respace(n)
        first = torch.cat([short.posterior_mean(zero, i, one) for i in range(n)])
        second = torch.cat([short.posterior_mean(one, i, zero) for i in range(n)])
        np.testing.assert_allclose(first, golden[f"posterior_mean_coef1_{n}"], rtol=2e-6)
        np.testing.assert_allclose(second, golden[f"posterior_mean_coef2_{n}"], rtol=2e-6, atol=1e-12)


def test_other_ways_of_choosing_timesteps_are_schedules_too():
    """A strided choice ("ddim50" on the released command line) needs no class of its own."""
    golden = load("zecon/schedule.npz")
    full = Schedule.linear()
    for name in ("ddim50", "10_15_25"):
        keep = torch.from_numpy(golden[f"map_{name}"]).long()
        chosen = Schedule(full.alphas_cumprod[keep], full.timesteps[keep])
        np.testing.assert_allclose(chosen.betas, golden[f"betas_{name}"], rtol=2e-6)
        np.testing.assert_allclose(
            chosen.posterior_log_variance, golden[f"posterior_log_variance_clipped_{name}"], rtol=2e-6
        )


@pytest.mark.parametrize("n", [0, 1001, -3])
def test_respacing_out_of_range_says_what_is_possible(n):
    with pytest.raises(ValueError, match="cannot be respaced"):
        Schedule.linear().respace(n)


@pytest.mark.parametrize("make", [Schedule.linear, Schedule.scaled_linear])
def test_too_few_positions_for_the_betas_name_the_cure(make):
    with pytest.raises(ValueError, match=r"12 positions are too few for these betas, .* take Schedule.*respace\(12\)"):
        make(12)


@pytest.mark.parametrize("make", [Schedule.linear, Schedule.scaled_linear, Schedule.cosine])
@pytest.mark.parametrize("n", [0, -3])
def test_a_schedule_has_a_position(make, n):
    with pytest.raises(ValueError, match=f"at least one position; got {n}"):
        make(n)


def test_a_table_that_rises_is_refused():
    with pytest.raises(ValueError, match="must fall"):
        Schedule(torch.tensor([0.5, 0.9], dtype=torch.float64), torch.arange(2))


def test_tables_of_two_lengths_are_refused():
    with pytest.raises(ValueError, match="one length"):
        Schedule(torch.tensor([0.5], dtype=torch.float64), torch.arange(2))


def test_a_single_precision_table_is_refused():
    with pytest.raises(ValueError, match=r"use \.double\(\)"):
        Schedule(torch.tensor([0.9, 0.5]), torch.arange(2))
