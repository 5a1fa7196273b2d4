"""The page of derivations: each equation is checked with numbers, by a way that is not the function's own formula."""

from __future__ import annotations

import math
import re
from importlib import import_module

import pytest
import torch
from conftest import ROOT
from torch.distributions import Normal, VonMises, kl_divergence

from zecon_lite import Prediction, Schedule, ddim_step, ddpm_step
from zecon_lite.losses import (
    clip_direction,
    gram_distance,
    place_nce,
    result_anchored,
    self_similarity,
    source_anchored,
)
from zecon_lite.scores import dds_gradient, sds_gradient

PAGE = (ROOT / "book/derivations.md").read_text(encoding="utf-8")
STATED = re.findall(
    r"\$\$ \((eq-[\w-]+)\)(?:(?!\$\$).)*?Computed by \{py:(func|meth)\}`([\w.]+)`;\s+checked\s+by\s+`(\w+)`", PAGE, re.S
)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(params=[5, 300, 900])
def at(request):
    """A schedule and a position in it."""
    return Schedule.linear(), request.param


# ---------------------------------------------------------------------------------------------------------- the page


def test_every_equation_names_its_function_and_its_test():
    labels = re.findall(r"\$\$ \((eq-[\w-]+)\)", PAGE)
    assert len(labels) >= 12 and [label for label, *_ in STATED] == labels
    for label, kind, path, test in STATED:
        assert test in globals(), f"{label}: there is no {test} here"
        module, *names = path.rsplit(".", 2 if kind == "meth" else 1)
        found = import_module(module)
        for name in names:
            found = getattr(found, name)
        assert f"| {{eq}}`{label}` | {{py:{kind}}}`~{path}` | `{test}` |" in PAGE, f"{label} is not in the list"


# ----------------------------------------------------------------------------------------------------------- diffusion


def test_the_posterior_is_the_product_of_two_gaussians(at):
    s, i = at
    x0, x, a_prev, beta = drawn(4), drawn(4, seed=1), s.alphas_cumprod_prev[i], s.betas[i]
    # q(x_t | x_{t-1}) as a function of x_{t-1}: a Gaussian around x_t / sqrt(1 - beta)
    precisions = 1 / (1 - a_prev), (1 - beta) / beta
    mean = (precisions[0] * a_prev.sqrt() * x0 + precisions[1] * x / (1 - beta).sqrt()) / sum(precisions)
    torch.testing.assert_close(s.posterior_mean(x, i, x0), mean)
    torch.testing.assert_close(s.posterior_log_variance[i].exp(), 1 / sum(precisions))


def test_the_bound_is_a_weighted_error_of_the_noise(at):
    s, i = at
    x0, eps, wrong = drawn(4), drawn(4, seed=1), drawn(4, seed=2)
    x, variance = s.noised(x0, i, eps), s.posterior_log_variance[i].exp()
    true, believed = (s.posterior_mean(x, i, s.x0_from_eps(x, i, e)) for e in (eps, wrong))
    divergence = kl_divergence(Normal(true, variance.sqrt()), Normal(believed, variance.sqrt())).sum()
    factor = s.betas[i] ** 2 / (2 * variance * (1 - s.betas[i]) * (1 - s.alphas_cumprod[i]))
    torch.testing.assert_close(divergence, factor * (eps - wrong).square().sum())


def test_tweedie_gives_the_mean_of_a_mixture(at):
    s, i = at
    a, values = s.alphas_cumprod[i], torch.tensor([-0.8, 0.1, 0.9], dtype=torch.float64)  # three possible pictures
    x = drawn(5).requires_grad_()
    likelihood = Normal(a.sqrt() * values, (1 - a).sqrt()).log_prob(x[:, None])
    weights = likelihood.softmax(1)
    (score,) = torch.autograd.grad(likelihood.logsumexp(1).sum(), x)
    x0 = s.x0_from_eps(x.detach(), i, -(1 - a).sqrt() * score)
    torch.testing.assert_close(x0, weights.detach() @ values)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_every_eta_passes_through_the_same_distribution(at, eta):
    s, i = at
    # The step is linear in (x0, eps, z): unit vectors read off what each is multiplied by.
    x0, eps, z = torch.eye(3, dtype=torch.float64).view(3, 1, 1, 3)
    x = s.noised(x0, i, eps)
    after = ddim_step(s, x, i, Prediction(x0, eps, torch.zeros_like(x)), None, z, eta).flatten()
    torch.testing.assert_close(after[0], s.alphas_cumprod_prev[i].sqrt())
    torch.testing.assert_close(after[1] ** 2 + after[2] ** 2, 1 - s.alphas_cumprod_prev[i])
    if eta == 1:
        torch.testing.assert_close(after[2] ** 2, s.posterior_log_variance[i].exp())


def test_starts_differ_by_half_the_signal_to_noise_ratio(at):
    s, i = at
    one, other, a = drawn(6), drawn(6, seed=1), s.alphas_cumprod[i]
    starts = [Normal(s.noised(y, i, torch.zeros_like(y)), (1 - a).sqrt()) for y in (one, other)]
    torch.testing.assert_close(kl_divergence(*starts).sum(), a / (2 * (1 - a)) * (one - other).square().sum())


# ------------------------------------------------------------------------------------------------------------ guidance


def test_a_tilted_gaussian_is_a_shifted_one(at):
    s, i = at
    x0, x, grad = drawn(1, 1, 1, 1), drawn(1, 1, 1, 1, seed=1), drawn(1, 1, 1, 1, seed=2)
    log_variance = s.posterior_log_variance[i].expand_as(x)
    p, still = Prediction(x0, torch.zeros_like(x), log_variance), torch.zeros_like(x)
    plain, guided = (ddpm_step(s, x, i, p, g, still).item() for g in (None, grad))
    sigma = log_variance.exp().sqrt().item()
    line = torch.linspace(plain - 12 * sigma, plain + 12 * sigma, 20001, dtype=torch.float64)
    tilt = 0.5 / (sigma * grad.abs().item())  # a tilt of order one
    density = (Normal(plain, sigma).log_prob(line) - tilt * grad.item() * (line - plain)).softmax(0)
    torch.testing.assert_close((density * line).sum().item() - plain, tilt * (guided - plain), rtol=1e-4, atol=0)


def test_a_deterministic_step_shifts_the_score(at):
    s, i = at
    x0, eps, grad, a = drawn(1, 1, 2, 2), drawn(1, 1, 2, 2, seed=1), drawn(1, 1, 2, 2, seed=2), s.alphas_cumprod[i]
    x = s.noised(x0, i, eps)
    score = -eps / (1 - a).sqrt() - grad  # of p(x) exp(-loss)
    moved = s.x0_from_eps(x, i, -(1 - a).sqrt() * score)
    guided = ddim_step(s, x, i, Prediction(x0, eps, torch.zeros_like(x)), grad, torch.zeros_like(x))
    unguided = ddim_step(s, x, i, Prediction(moved, eps, torch.zeros_like(x)), None, torch.zeros_like(x))
    torch.testing.assert_close(guided, unguided)


def test_the_directional_slope_is_at_right_angles_to_the_change():
    change, text = drawn(7).requires_grad_(), drawn(7, seed=1)
    (slope,) = torch.autograd.grad(clip_direction(change, torch.zeros(7), text, torch.zeros(7)), change)
    d, t = (v / v.norm() for v in (change.detach(), text))
    torch.testing.assert_close(slope, -(t - (t @ d) * d) / change.detach().norm())
    assert abs((slope @ d).item()) < 1e-12


# ------------------------------------------------------------------------------------------------- content and style


def test_contrast_stays_below_the_information():
    kappa = torch.tensor(6.0, dtype=torch.float64)
    bessel = [torch.special.i0(kappa), torch.special.i1(kappa)]
    information = (kappa * bessel[1] / bessel[0] - bessel[0].log()).item()
    known = []
    with torch.random.fork_rng():
        torch.manual_seed(0)  # torch's von Mises draws from the global generator
        for places in (4, 32, 256):
            angle = 2 * math.pi * torch.rand(400, places, dtype=torch.float64)
            key = angle + VonMises(torch.zeros((), dtype=torch.float64), kappa).sample((400, places))
            query, key = (torch.stack([v.cos(), v.sin()], dim=-1) for v in (angle, key))
            known.append(math.log(places) - place_nce(query, key, 1 / kappa.item()).mean().item())
    assert known[0] < known[1] < known[2] < information + 0.01
    assert known[2] > information - 0.05 and known[0] < math.log(4)


def test_self_similarity_ignores_rotations_and_not_moves():
    keys = drawn(9, 5)
    rotation, _ = torch.linalg.qr(drawn(5, 5, seed=1))
    lengths = drawn(9, 1, seed=2).exp()
    torch.testing.assert_close(self_similarity(lengths * keys @ rotation), self_similarity(keys))
    order = torch.randperm(9, generator=torch.Generator().manual_seed(3))
    moved = self_similarity(keys[order])
    torch.testing.assert_close(moved, self_similarity(keys)[order][:, order])
    assert (moved - self_similarity(keys)).abs().max() > 0.1


def test_the_gram_distance_is_a_kernel_mean_distance():
    a, b = drawn(3, 4, 5), drawn(3, 2, 7, seed=1)
    one, other = a.flatten(1).T, b.flatten(1).T  # one row of features for each place
    kernel = [(x @ y.T).square().mean() for x, y in ((one, one), (other, other), (one, other))]
    torch.testing.assert_close(gram_distance(a, b), (kernel[0] + kernel[1] - 2 * kernel[2]) / 3**4)


# -------------------------------------------------------------------------------------------------------------- scores


def test_a_delta_is_a_difference_of_two_errors():
    answer, of_source, noise = drawn(2, 3), drawn(2, 3, seed=1), drawn(2, 3, seed=2)
    apart = sds_gradient(answer, noise) - sds_gradient(of_source, noise)
    torch.testing.assert_close(dds_gradient(answer, of_source), apart)
    assert not dds_gradient(answer, answer).any() and sds_gradient(answer, noise).any()


def test_one_term_of_cds_moves_every_place():
    source, result = (torch.nn.functional.normalize(drawn(6, 4, seed=k), dim=1) for k in (0, 1))
    result.requires_grad_()
    i, tau = 2, 0.3
    (slope,) = torch.autograd.grad(source_anchored(result, source, tau)[i], result)
    share = (source[i] @ result.detach().T / tau).softmax(0)
    torch.testing.assert_close(slope, (share - torch.eye(6, dtype=torch.float64)[i])[:, None] * source[i] / tau)
    (alone,) = torch.autograd.grad(result_anchored(result, source, tau)[i], result)
    assert (slope.norm(dim=1) > 0).all() and (alone.norm(dim=1) > 0).tolist() == [k == i for k in range(6)]
