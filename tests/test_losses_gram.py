"""Gram matrices: what they keep and what they forget."""

import pytest
import torch
from torch.testing import assert_close

from zecon_lite.losses import GramDistance, gram, gram_distance
from zecon_lite.state import State


def maps(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def state(view):
    return State(i=3, t=60, x0=view, view=view, source=view, source_view=view)


class ToyVGG:
    """Two layers of maps: the picture itself, and its rectified, coarser self. Counts its calls."""

    calls = 0

    def __call__(self, images):
        self.calls += 1
        return [images.clone(), (torch.nn.functional.avg_pool2d(images, 2) + 0.1).relu()]


def test_gram_is_the_mean_product_of_two_features():
    f = maps(1, 4, 3, 5)
    want = torch.stack([torch.stack([(a * b).sum() for b in f]) for a in f]) / (4 * 3 * 5)
    assert_close(gram(f), want)
    assert_close(gram(f[None])[0], gram(f))


def test_gram_forgets_where_things_are():
    f = maps(1, 4, 3, 5)
    places = torch.randperm(15, generator=torch.Generator().manual_seed(0))
    assert_close(gram(f.flatten(1)[:, places].view_as(f)), gram(f))


def test_gram_of_a_tiled_picture_is_that_of_one_tile():
    f = maps(1, 2, 4, 3, 5)
    assert_close(gram(f.repeat(1, 1, 2, 3)), gram(f))


@pytest.mark.parametrize("normalized", [False, True])
def test_gram_distance_is_zero_between_pictures_of_one_style_and_symmetric(normalized):
    a, b = maps(1, 4, 3, 5), maps(2, 4, 6, 2)
    assert_close(gram_distance(a, a.flip(-1), normalized).item(), 0.0, atol=1e-12, rtol=0)
    assert_close(gram_distance(a, b, normalized), gram_distance(b, a, normalized))
    assert gram_distance(a, b, normalized) > 1e-3


def test_only_the_difference_sees_how_strong_the_features_are():
    a = maps(1, 4, 3, 5)
    assert_close(gram_distance(2 * a, a, normalized=True).item(), 0.0, atol=1e-12, rtol=0)
    assert_close(gram_distance(2 * a, a), (3 * gram(a)).square().mean())


@pytest.mark.parametrize("normalized", [False, True])
def test_gradients_agree_with_finite_differences(normalized):
    style = maps(2, 1, 3, 6, 6)
    loss = GramDistance(ToyVGG(), style, normalized)
    assert torch.autograd.gradcheck(lambda v: loss(state(v)), maps(1, 2, 3, 4, 4).requires_grad_())


@pytest.mark.parametrize("styles", [1, 3])
def test_a_batch_of_three_is_three_runs_of_one(styles):
    view, style = maps(1, 3, 3, 4, 4), maps(2, styles, 3, 6, 8)
    alone = sum(
        GramDistance(ToyVGG(), style[k % styles][None])(state(view[k : k + 1])) for k in range(3)
    )
    assert_close(GramDistance(ToyVGG(), style)(state(view)), alone)


def test_the_object_averages_layers():
    view, style = maps(1, 1, 3, 4, 4), maps(2, 1, 3, 4, 4)
    want = torch.stack([gram_distance(a, b) for a, b in zip(ToyVGG()(view), ToyVGG()(style), strict=True)]).mean()
    assert_close(GramDistance(ToyVGG(), style)(state(view)), want)


def test_the_style_picture_is_looked_at_once_and_gets_no_gradient():
    vgg, style = ToyVGG(), maps(2, 1, 3, 4, 4).requires_grad_()
    loss, view = GramDistance(vgg, style), maps(1, 1, 3, 4, 4).requires_grad_()
    for _ in range(3):
        loss(state(view)).backward()
    assert vgg.calls == 3 + 1 and style.grad is None and view.grad.abs().sum() > 0
