"""Pixel losses against recorded results of the released code, and their algebra."""

import pytest
import torch
from golden import draw, load
from torch.testing import assert_close

from zecon_lite.losses import mse, out_of_range, total_variation
from zecon_lite.state import State

RECORDED = {name: torch.from_numpy(array) for name, array in load("zecon/losses.npz").items()}


def state(view, source=None):
    source = torch.zeros_like(view) if source is None else source
    return State(i=3, t=60, x0=view, view=view, source=source, source_view=source)


def pictures(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_out_of_range_agrees_with_the_released_loss_and_gradient():
    x0 = RECORDED["range_in"].clone().requires_grad_()
    loss = out_of_range(state(x0))
    assert_close(loss, RECORDED["range_loss"].sum(), atol=2e-6, rtol=0)
    assert_close(torch.autograd.grad(loss, x0)[0], RECORDED["range_grad_of_sum"], atol=2e-6, rtol=0)


def test_mse_agrees_with_the_released_loss():
    other = torch.from_numpy(draw(66, 2, 3, 8, 8))
    loss = mse(state(RECORDED["range_in"], other))
    assert_close(loss / 2, RECORDED["mse"], atol=2e-6, rtol=0)             # theirs is the mean over the batch of two


def test_out_of_range_looks_at_x0_and_is_zero_inside():
    inside, outside = torch.full((1, 3, 4, 4), 0.9), torch.full((1, 3, 4, 4), 1.5)
    assert out_of_range(State(0, 0, inside, outside, outside, outside)).item() == 0
    assert_close(out_of_range(State(0, 0, outside, inside, inside, inside)).item(), 0.25)
    assert_close(out_of_range(State(0, 0, -outside, inside, inside, inside)).item(), 0.25)


def test_mse_compares_the_two_views():
    a, b = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.5)
    assert_close(mse(State(0, 0, x0=b, view=a, source=a, source_view=b)).item(), 0.5)


def test_total_variation_of_a_ramp_is_its_squared_slope():
    ramp = torch.arange(8.0).expand(2, 3, 8, 8) * 0.1
    assert_close(total_variation(state(ramp)).item(), 2 * 0.01, atol=1e-6, rtol=0)
    assert_close(total_variation(state(ramp.mT)).item(), 2 * 0.01, atol=1e-6, rtol=0)
    assert total_variation(state(torch.ones(1, 3, 8, 8))).item() == 0


@pytest.mark.parametrize("loss", [mse, out_of_range, total_variation])
def test_a_batch_is_the_sum_of_its_pictures(loss):
    view, source = pictures(1, 3, 3, 6, 5), pictures(2, 3, 3, 6, 5)
    alone = sum(loss(state(view[k : k + 1], source[k : k + 1])) for k in range(3))
    assert_close(loss(state(view, source)), alone)


@pytest.mark.parametrize("loss", [mse, out_of_range, total_variation])
def test_gradients_agree_with_finite_differences(loss):
    view, source = pictures(1, 1, 3, 4, 3).mul(1.5).requires_grad_(), pictures(2, 1, 3, 4, 3)
    assert torch.autograd.gradcheck(lambda v: loss(state(v, source)), view)
