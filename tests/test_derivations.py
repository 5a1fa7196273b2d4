"""The page of derivations: each equation is checked with numbers, by a way that is not the function's own formula."""

from __future__ import annotations

import math
import re
import sys
from importlib import import_module

import nbformat
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
from zecon_lite.samplers import look
from zecon_lite.scores import dds_gradient, sds_gradient

sys.path.insert(0, str(ROOT / "book/_ext"))
import zecon_chapters

PAGE = (ROOT / "book/derivations.md").read_text(encoding="utf-8")
STATED = re.findall(
    r"\$\$ \((eq-[\w-]+)\)(?:(?!\$\$).)*?Computed by \{py:(func|meth)\}`([\w.]+)`;\s+checked\s+by\s+`(\w+)`", PAGE, re.S
)
ROW = re.compile(
    r"^\| \[(\d+)\]\(\.\./notebooks/([\w.]+)\) \| \{eq\}`(eq-[\d-]+)` \| \$(.+)\$ "
    r"\| \{py:(\w+)\}`~([\w.]+)` \| \{test\}`(tests/\w+\.py)::(\w+)` \|$", re.M
)
ROWS = ROW.findall(PAGE)
NOTEBOOKS = {path.name: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
WITHOUT_ROW = {"14_your_own_recipe.ipynb": "its loss is the reader's own, built in the chapter and not in the package"}


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(params=[5, 300, 900])
def at(request):
    """A schedule and a position in it."""
    return Schedule.linear(), request.param


# ---------------------------------------------------------------------------------------------------------- the page


def named(kind, path):
    """What a role of Sphinx's Python domain names."""
    module, *names = path.rsplit(".", 2 if kind in ("meth", "attr") else 1)
    found = import_module(module)
    for name in names:
        found = getattr(found, name)
    return found


def texts(name):
    """A chapter's texts as the book shows them."""
    cells = nbformat.read(NOTEBOOKS[name], as_version=4).cells
    return zecon_chapters.chapter([c.source for c in cells if c.cell_type == "markdown"], name[:2], [])


def equations(name):
    """{label: formula} of a chapter in the book."""
    return {label: tex for tex, label in re.findall(r"\$\$([^$]+)\$\$ \((eq-[\w-]+)\)$", "\n".join(texts(name)), re.M)}


def bare(tex):
    """A formula without what only lays it out."""
    return re.sub(r"\\(?:begin|end)\{(?:aligned|gathered)\}|\\[,;!]|\{\}|[\s&]|\\dots", "", tex)


def test_every_equation_names_its_function_and_its_test():
    labels = re.findall(r"\$\$ \((eq-[\w-]+)\)", PAGE)
    assert len(labels) >= 12 and [label for label, *_ in STATED] == labels
    for label, kind, path, test in STATED:
        assert test in globals(), f"{label}: there is no {test} here"
        assert named(kind, path)
        row = f"| {{eq}}`{label}` | {{py:{kind}}}`~{path}` | {{test}}`tests/test_derivations.py::{test}` |"
        assert row in PAGE, f"{label} is not in the list"


def test_the_table_of_the_chapters_formulas_is_read_whole():
    table = PAGE[PAGE.index("(chapters-formulas)=") :]
    assert len(ROWS) == table.count("{eq}`") >= 20
    assert len({label for _, _, label, *_ in ROWS}) == len(ROWS), "an equation stands there twice"


@pytest.mark.parametrize("row", ROWS, ids=[row[2] for row in ROWS])
def test_a_formula_of_a_chapter_is_the_one_meant_and_its_function_and_its_test_exist(row):
    number, chapter, label, begins, kind, path, file, test = row
    assert int(number) == int(chapter[:2]) == int(label[3:5])
    ends = "" if "=" in begins else r"(?:=|\\[lg]e)"
    formula = equations(chapter)[label]
    assert re.match(re.escape(bare(begins)) + ends, bare(formula)), f"{label} is {formula}"
    assert named(kind, path)
    assert f"\ndef {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file} has no {test}"


def test_every_chapter_that_shows_an_equation_is_in_the_table_or_says_why_not():
    shown = {name for name in NOTEBOOKS if equations(name)}
    assert shown == {row[1] for row in ROWS} | set(WITHOUT_ROW)
    assert not {row[1] for row in ROWS} & set(WITHOUT_ROW)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_display_equation_of_a_chapter_has_its_number_and_the_chapter_leads_to_the_derivations(name, html):
    page = (html / "notebooks" / name).with_suffix(".html").read_text(encoding="utf-8")
    typed = sum(cell.source.count("$$") for cell in nbformat.read(NOTEBOOKS[name], as_version=4).cells
                if cell.cell_type == "markdown")
    assert typed == 2 * page.count('<div class="math notranslate')
    assert page.count('<span class="eqno">') == page.count('<div class="math notranslate') == len(equations(name))
    assert ("derivations.html#chapters-formulas" in page) == bool(typed)
    numbers = re.findall(r'<span class="eqno">\(([\d.]+)\)', page)
    assert numbers == [f"{int(name[:2])}.{k + 1}" for k in range(len(numbers))]


def test_a_display_gets_its_label_wherever_it_stands_and_code_gets_none():
    text = """$$a$$

* in a list

  $$
  b
  $$

> $$c$$

```tex
$$d$$
```
and `$$e$$` and <b>f</b>

<details><summary>$$g$$</summary>

$$h$$
</details>"""
    labels = []
    found = zecon_chapters.labelled(text, "07", labels)
    assert re.findall(r"(\w)\s*\$\$ \((eq-07-\d)\)$", found, re.M) == [
        ("a", "eq-07-1"), ("b", "eq-07-2"), ("c", "eq-07-3"), ("h", "eq-07-4"),
    ]
    assert re.sub(r" \(eq-07-\d\)", "", found) == text and len(labels) == 4
    assert zecon_chapters.labelled("$$i$$", "07", labels) == "$$i$$ (eq-07-5)", "numbers go on from cell to cell"


def test_a_chapter_without_equations_leads_to_no_formulas():
    assert zecon_chapters.chapter(["# A", "b"], "13", []) == ["# A", "b"]
    first, second = zecon_chapters.chapter(["# A", "$$b$$"], "13", [])
    assert (first, second) == (f"# A\n\n{zecon_chapters.FORMULAS}", "$$b$$ (eq-13-1)")


# ----------------------------------------------------------------------------------------------------------- diffusion


def test_a_walk_of_single_steps_is_the_jump(at):
    s, i = at
    one, none = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    picture, variance = one, none
    for k in range(i + 1):
        picture = s.renoised(picture, k, none)
        variance = s.renoised(one, k, none) ** 2 * variance + s.renoised(none, k, one) ** 2
    torch.testing.assert_close(s.noised(one, i, none), picture)
    torch.testing.assert_close(s.noised(none, i, one) ** 2, variance)


def test_the_estimates_share_of_the_view_squared_is_the_noise(at):
    s, i = at
    x0, x, source = (drawn(1, 3, 2, 2, seed=k) for k in range(3))
    view = look(s, x, i, Prediction(x0, x, x), source, None, torch.Generator().manual_seed(0)).view
    share = (view - x) / (x0 - x)
    torch.testing.assert_close(share**2, s.noised(torch.zeros_like(x), i, torch.ones_like(x)) ** 2)


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
