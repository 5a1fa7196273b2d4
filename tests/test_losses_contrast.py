"""The contrastive loss: algebra, recorded results of the released code, and ZeCon on a small encoder."""

from math import exp, log

import pytest
import torch
import torch.nn.functional as F
from golden import draw, load
from torch.testing import assert_close

from zecon_lite.losses import ZeCon, patch_nce
from zecon_lite.state import State

RECORDED = {name: torch.from_numpy(array) for name, array in load("zecon/losses.npz").items()}
# Stored for 64 places only; k_pos = q + R / 2 (see the README beside the file).
RECORDED["nce256_k_pos"] = RECORDED["nce256_q"] + 0.5 * torch.from_numpy(draw(52, 256, 32))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(seed, *shape):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


class ToyEncoder:
    """Three fixed convolutions, the deepest map smaller than the number of places asked for."""

    feature_blocks = (0, 2, 3)

    def __init__(self):
        self.kernels = [rows(k, 8, 3, 3, 3) for k in range(4)]
        self.asked = []

    def features(self, x, t, blocks):
        self.asked.append((t, tuple(blocks), torch.is_grad_enabled()))
        return [F.conv2d(x, self.kernels[k].to(x), stride=k + 1, padding=1).tanh() for k in blocks]


def state(view, source):
    return State(i=3, t=60, x0=view, view=view, source=source, source_view=source)


# ------------------------------------------------------------------------------------------------------ patch_nce

@pytest.mark.parametrize("places", [64, 256])
@pytest.mark.parametrize("pair", ["", "_pos"])
def test_patch_nce_agrees_with_the_released_loss_and_gradient(places, pair):
    query = RECORDED[f"nce{places}_q"].clone().requires_grad_()
    loss = patch_nce(query, RECORDED[f"nce{places}_k{pair}"])
    assert_close(loss, RECORDED[f"nce{places}_loss{pair}"].mean(), atol=2e-6, rtol=0)
    grad = RECORDED[f"nce{places}_grad{pair}_of_mean"]
    assert_close(torch.autograd.grad(loss, query)[0], grad, atol=2e-6, rtol=0)


def test_patch_nce_is_the_cross_entropy_of_finding_the_same_row():
    query, key = rows(1, 20, 6), rows(2, 20, 6)
    logits = F.normalize(query, dim=1) @ F.normalize(key, dim=1).T / 0.07
    assert_close(patch_nce(query, key), F.cross_entropy(logits, torch.arange(20)), atol=1e-5, rtol=0)


def test_patch_nce_is_smallest_where_orthogonal_rows_meet_themselves():
    key = torch.eye(5, dtype=torch.float64)
    at_home = patch_nce(key, key, tau=0.5)
    assert_close(at_home.item(), log(1 + 4 * exp(-2)), atol=1e-5, rtol=0)
    for seed in range(20):
        assert patch_nce(key + 0.3 * rows(seed, 5, 5), key, tau=0.5) > at_home


def test_patch_nce_of_rows_all_alike_is_the_log_of_their_number():
    alike = torch.ones(7, 3)
    assert_close(patch_nce(alike, alike).item(), log(7), atol=1e-5, rtol=0)


def test_patch_nce_does_not_mind_the_order_of_rows_nor_their_length():
    query, key, order = rows(1, 20, 6), rows(2, 20, 6), torch.randperm(20, generator=seeded())
    assert_close(patch_nce(query[order], key[order]), patch_nce(query, key))
    assert_close(patch_nce(3 * query, key / 5), patch_nce(query, key), atol=1e-5, rtol=0)
    assert patch_nce(query, key[order]) != patch_nce(query, key)


def test_a_smaller_temperature_tells_a_match_more_surely():
    query = rows(1, 20, 6)
    key = query + 0.1 * rows(2, 20, 6)
    assert patch_nce(query, key, tau=0.05) < patch_nce(query, key, tau=0.2) < patch_nce(query, key, tau=1)


def test_the_gradient_of_patch_nce_agrees_with_finite_differences_and_leaves_the_key_alone():
    query, key = rows(1, 6, 4).requires_grad_(), rows(2, 6, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda q: patch_nce(q, key.detach(), tau=0.3), query)
    patch_nce(query, key).backward()
    assert key.grad is None and query.grad is not None


def test_patch_nce_averages_over_leading_dimensions_without_mixing_them():
    query, key = rows(1, 3, 10, 4), rows(2, 3, 10, 4)
    alone = torch.stack([patch_nce(q, k) for q, k in zip(query, key, strict=True)])
    assert_close(patch_nce(query, key), alone.mean())


def test_half_precision_is_computed_in_float32():
    query = RECORDED["nce64_q"].half() * 400                               # squares of these overflow half precision
    loss = patch_nce(query, RECORDED["nce64_k"].half())
    assert loss.dtype == torch.float32
    assert_close(loss, RECORDED["nce64_loss"].mean(), atol=2e-2, rtol=0)


@pytest.mark.parametrize("shapes", [((5, 3), (4, 3)), ((5, 3), (5, 2)), ((5,), (5,))])
def test_patch_nce_refuses_rows_that_do_not_pair_up(shapes):
    with pytest.raises(ValueError, match=r"query and key must both be \(P, D\), row for row; got \(5,"):
        patch_nce(*(torch.ones(s) for s in shapes))


# ---------------------------------------------------------------------------------------------------------- ZeCon

def test_zecon_asks_for_the_features_of_both_views_at_timestep_zero():
    encoder = ToyEncoder()
    source = rows(5, 1, 3, 12, 12)
    view = rows(6, 1, 3, 12, 12).requires_grad_()
    ZeCon(encoder)(state(view, source))
    assert encoder.asked == [(0, (0, 2, 3), True), (0, (0, 2, 3), False)]


def test_zecon_with_every_place_is_the_sum_of_patch_nce_over_layers():
    encoder, view, source = ToyEncoder(), rows(1, 1, 3, 12, 12), rows(2, 1, 3, 12, 12)
    maps = [encoder.features(x, 0, encoder.feature_blocks) for x in (view, source)]
    want = sum(patch_nce(q[0].flatten(1).T, k[0].flatten(1).T, 0.1) for q, k in zip(*maps, strict=True))
    assert_close(ZeCon(encoder, patches=10**6, tau=0.1)(state(view, source)), want)


def test_zecon_is_smallest_for_the_source_itself():
    encoder, source = ToyEncoder(), rows(2, 1, 3, 12, 12)
    losses = [
        ZeCon(encoder, generator=seeded())(state(source + s * rows(3, 1, 3, 12, 12), source)) for s in (0, 0.1, 0.5, 2)
    ]
    assert losses == sorted(losses) and losses[0] < losses[1]


def test_zecon_draws_the_same_places_for_query_and_key_anew_at_each_call():
    encoder, view, source = ToyEncoder(), rows(1, 1, 3, 12, 12), rows(2, 1, 3, 12, 12)
    zecon, before = ZeCon(encoder, patches=20, generator=seeded(7)), torch.get_rng_state()
    first, second = zecon(state(view, source)), zecon(state(view, source))
    assert first != second
    assert first == ZeCon(encoder, 20, 0.07, seeded(7))(state(view, source))
    assert torch.equal(torch.get_rng_state(), before)
    places, want = seeded(7), 0
    for block in encoder.feature_blocks:                                   # one permutation for each layer
        query, key = (encoder.features(x, 0, [block])[0][0].flatten(1).T for x in (view, source))
        ids = torch.randperm(len(query), generator=places)[:20]
        want = want + patch_nce(query[ids], key[ids])
    assert_close(first, want)


def test_zecon_of_a_batch_is_the_sum_of_its_pictures():
    encoder, view, source = ToyEncoder(), rows(1, 3, 3, 12, 12), rows(2, 3, 3, 12, 12)
    alone = sum(
        ZeCon(encoder, 30, generator=seeded())(state(view[k : k + 1], source[k : k + 1])) for k in range(3)
    )
    assert_close(ZeCon(encoder, 30, generator=seeded())(state(view, source)), alone)


def test_the_gradient_of_zecon_agrees_with_finite_differences():
    encoder, view, source = ToyEncoder(), rows(1, 1, 3, 4, 4).requires_grad_(), rows(2, 1, 3, 4, 4)
    assert torch.autograd.gradcheck(lambda v: ZeCon(encoder, 9, 0.5, seeded())(state(v, source)), view)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"patches": 1}, "patches must be at least 2, a place and one to tell it from; got 1"),
        ({"tau": 0}, "tau, the temperature, must be above 0; got 0: the papers use 0.07"),
    ],
)
def test_zecon_refuses_settings_that_make_no_sense(wrong, message):
    with pytest.raises(ValueError, match=message):
        ZeCon(ToyEncoder(), **wrong)
