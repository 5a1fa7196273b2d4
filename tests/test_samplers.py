"""The reverse process: against algebra, against recorded steps of the released code, and its messages."""

import re

import numpy as np
import pytest
import torch
from golden import draw, load
from toys import GaussianDenoiser, StubUNet

from zecon_lite import samplers
from zecon_lite.denoiser import LearnedVariance, VPrediction
from zecon_lite.guidance import Guidance
from zecon_lite.samplers import ddim_step, ddpm_step, invert, look, randn_like, sample, view_of_source
from zecon_lite.schedule import Schedule


def picture(seed=0, b=1, side=6, dtype=torch.float64):
    return torch.from_numpy(draw(seed, b, 3, side, side, scale=0.5)).to(dtype)


def recorded_steps():
    """(n, positions, prefix) of every step in the record: keys are r{n}_t{first}_{second}_..."""
    found = {re.match(r"r(\d+)_t(\d+)_(\d+)", key) for key in load("zecon/steps.npz")} - {None}
    return sorted({(int(m[1]), (int(m[2]), int(m[3])), m[0]) for m in found})


@pytest.mark.parametrize(("n", "positions", "prefix"), recorded_steps())
def test_every_recorded_step_is_reproduced(n, positions, prefix):
    """Each picture of the record stands at its own position, so each is taken alone."""
    golden = {k: torch.from_numpy(np.asarray(v)) for k, v in load("zecon/steps.npz").items()}
    s = Schedule.linear().respace(n)
    for row, i in enumerate(positions):
        x, noise, x0 = (golden[k][row : row + 1] for k in ("x", "noise", "x0"))
        grad = -golden["cond_grad"][row : row + 1]  # the record holds minus the loss gradient
        unet = StubUNet(golden["model_output"][row : row + 1])
        p = LearnedVariance(unet, s)(x, i)

        def check(ours, key, row=row):
            torch.testing.assert_close(
                ours, golden[f"{prefix}_{key}"][row : row + 1], rtol=2e-6, atol=4e-6, msg=lambda m: f"{key}: {m}"
            )

        check(p.x0, "pmv_pred_xstart")
        check(p.log_variance, "pmv_log_variance")
        check(s.posterior_mean(x, i, p.x0), "pmv_mean")
        assert unet.asked == [[int(golden[f"{prefix}_model_t"][row])]]
        check(s.noised(x0, i, noise), "q_sample")
        check(ddpm_step(s, x, i, p, None, noise), "p_sample")
        check(ddpm_step(s, x, i, p, grad, noise), "cond_p_sample")
        for eta in (0.0, 0.5):
            check(ddim_step(s, x, i, p, None, noise, eta=eta), f"ddim_eta{eta}")
            check(ddim_step(s, x, i, p, grad, noise, eta=eta), f"cond_ddim_eta{eta}")
        a_next = s.alphas_cumprod_next[i]
        check(a_next.sqrt() * p.x0 + (1 - a_next).sqrt() * s.eps_from_x0(x, i, p.x0), "ddim_reverse_sample")


def test_ddim_with_eta_one_has_ddpm_mean_and_the_posterior_variance():
    s = Schedule.linear().respace(20)
    denoiser, x, zero = GaussianDenoiser(s), picture(), torch.zeros(1, 3, 6, 6, dtype=torch.float64)
    for i in (1, 10, 19):
        p = denoiser(x, i)
        torch.testing.assert_close(ddim_step(s, x, i, p, None, zero, eta=1.0), ddpm_step(s, x, i, p, None, zero))
        moved = ddim_step(s, x, i, p, None, zero + 1, eta=1.0) - ddim_step(s, x, i, p, None, zero, eta=1.0)
        torch.testing.assert_close(moved, (0.5 * p.log_variance).exp())


def test_the_two_forms_of_guidance_agree_to_first_order():
    """Shifting DDPM's mean by variance * grad, or eps by sqrt(1-a) * grad: the same move for small steps."""
    s = Schedule.linear()
    x, grad, noise = picture(1), picture(2), picture(3)
    p = GaussianDenoiser(s)(x, 500)
    by_mean = ddpm_step(s, x, 500, p, grad, noise) - ddpm_step(s, x, 500, p, None, noise)
    by_eps = ddim_step(s, x, 500, p, grad, noise, eta=1.0) - ddim_step(s, x, 500, p, None, noise, eta=1.0)
    torch.testing.assert_close(by_mean, by_eps, rtol=0.02, atol=1e-8)


def test_sampling_an_exact_denoiser_gives_its_distribution():
    denoiser = GaussianDenoiser(Schedule.cosine().respace(200))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, 32, 32, generator=generator)
    *_, last = sample(denoiser, x, range(199, -1, -1), generator=generator)
    assert abs(last.x.mean().item() - 0.2) < 0.02 and abs(last.x.var().item() - 0.25) < 0.02


def test_inversion_leads_home():
    denoiser, x0 = GaussianDenoiser(Schedule.linear()), picture(4)
    x = invert(denoiser, x0, 600)
    *_, last = sample(denoiser, x, range(600, -1, -1), step=ddim_step)
    assert (last.x - x0).square().mean() < 1e-4 < (x - x0).square().mean()


def test_inversion_to_position_zero_is_the_picture_itself():
    x0 = picture()
    assert torch.equal(invert(GaussianDenoiser(Schedule.linear()), x0, 0), x0)


def test_inversion_reports_every_network_pass():
    seen = []
    invert(GaussianDenoiser(Schedule.linear().respace(10)), picture(), 4, on_step=seen.append)
    assert seen == [0, 1, 2, 3]


def test_a_plan_that_climbs_noises_up_again_one_step_at_a_time(monkeypatch):
    denoiser, drawn = GaussianDenoiser(Schedule.linear().respace(10)), []
    monkeypatch.setattr(samplers, "randn_like", lambda x, g: drawn.append(1) or torch.zeros_like(x))
    steps = list(sample(denoiser, picture(), [5, 5, 4, 6]))
    assert [step.i for step in steps] == [5, 5, 4, 6]
    # one draw per step, one to climb back from 4 to 5, three to climb from 3 to 6
    assert len(drawn) == 4 + 1 + 3


def test_resampling_starts_again_from_the_noised_result():
    denoiser, x = GaussianDenoiser(Schedule.linear().respace(10)), picture()
    plain, again = list(sample(denoiser, x, [5, 5], generator=torch.Generator().manual_seed(1)))
    generator = torch.Generator().manual_seed(1)
    first_noise = randn_like(x, generator)
    by_hand = ddpm_step(denoiser.schedule, x, 5, denoiser(x, 5), None, first_noise)
    torch.testing.assert_close(plain.x, by_hand)
    climbed = denoiser.schedule.renoised(by_hand, 5, randn_like(x, generator))
    by_hand = ddpm_step(denoiser.schedule, climbed, 5, denoiser(climbed, 5), None, randn_like(x, generator))
    torch.testing.assert_close(again.x, by_hand)


def test_noise_is_drawn_for_the_step_first_and_for_the_source_second(monkeypatch):
    denoiser, x, source = GaussianDenoiser(Schedule.linear().respace(10)), picture(1), picture(2)
    draws = [torch.full_like(x, 0.1), torch.full_like(x, 0.7)]
    monkeypatch.setattr(samplers, "randn_like", lambda like, g: draws.pop(0))
    seen = []
    guidance = Guidance({"watch": lambda state: seen.append(state) or state.view.sum() * 0}, {"watch": 1.0})
    (step,) = sample(denoiser, x, [5], guidance=guidance, source=source)
    s = denoiser.schedule
    f = (1 - s.alphas_cumprod[5]).sqrt()
    torch.testing.assert_close(seen[0].source_view, f * source + (1 - f) * s.noised(source, 5, torch.full_like(x, 0.7)))
    torch.testing.assert_close(step.x, ddpm_step(s, x, 5, denoiser(x, 5), None, torch.full_like(x, 0.1)))


def test_the_view_is_the_estimate_early_and_the_picture_late():
    s = Schedule.linear()
    denoiser, x, source = GaussianDenoiser(s), picture(1), picture(2)
    early, late = (look(s, x, i, denoiser(x, i), source, None, torch.Generator()) for i in (999, 0))
    assert (early.view - early.x0).abs().max() < 1e-3
    assert (late.view - x).abs().max() < 0.02 * x.abs().max()


def test_a_guided_step_keeps_the_gradient_that_it_stepped_against():
    denoiser, x, source = GaussianDenoiser(Schedule.linear().respace(10)), picture(2), picture(1)
    guidance = Guidance({"mse": lambda s: (s.view - s.source_view).square().sum()}, {"mse": 3.0}, strength=0.5)
    free, guided = (
        next(sample(denoiser, x, [5], guidance=g, source=source, generator=torch.Generator().manual_seed(1)))
        for g in (None, guidance)
    )
    variance = denoiser(x, 5).log_variance.exp()
    torch.testing.assert_close(guided.x, free.x - variance * guided.grad)
    assert free.grad is None and not guided.grad.requires_grad
    (idle,) = sample(denoiser, x, [5], guidance=Guidance(guidance.losses, {"mse": 0.0}), source=source)
    assert idle.grad is None


def test_one_guided_step_runs_the_network_forward_once():
    asked = []

    class Counting(GaussianDenoiser):
        def __call__(self, x, i):
            asked.append(i)
            return super().__call__(x, i)

    guidance = Guidance({"mse": lambda s: (s.view - s.source_view).square().sum()}, {"mse": 1.0})
    list(sample(Counting(Schedule.linear().respace(10)), picture(), [3, 2, 1], guidance=guidance, source=picture(1)))
    assert asked == [3, 2, 1]


def test_guidance_moves_the_picture_towards_what_it_asks_for():
    denoiser, source = GaussianDenoiser(Schedule.cosine().respace(50)), picture(7, dtype=torch.float32)
    x = torch.randn(1, 3, 6, 6, generator=torch.Generator().manual_seed(0))

    def end(weight):
        guidance = Guidance({"mse": lambda s: (s.view - s.source_view).square().sum()}, {"mse": weight})
        *_, last = sample(
            denoiser, x, range(49, -1, -1), guidance=guidance, source=source, generator=torch.Generator().manual_seed(1)
        )
        return (last.x - source).square().mean()

    assert end(5.0) < 0.5 * end(0.0)


def test_a_zero_weight_leaves_the_run_as_it_would_be_without_guidance():
    denoiser, x = GaussianDenoiser(Schedule.linear().respace(10)), picture()
    guidance = Guidance({"mse": lambda s: s.view.sum()}, {"mse": 0.0})
    (guided,) = sample(denoiser, x, [0], guidance=guidance, source=x, generator=torch.Generator().manual_seed(0))
    (free,) = sample(denoiser, x, [0], generator=torch.Generator().manual_seed(0))
    assert torch.equal(guided.x, free.x) and guided.losses == {}


def test_the_same_seed_gives_the_same_bits():
    denoiser, x = GaussianDenoiser(Schedule.linear().respace(10)), picture()
    first, second, third = (
        list(sample(denoiser, x, range(9, -1, -1), generator=torch.Generator().manual_seed(seed)))[-1].x
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, second) and not torch.equal(first, third)


def test_v_prediction_speaks_the_same_language_as_eps_prediction():
    s = Schedule.cosine().respace(20)
    x0, eps = picture(1), picture(2)
    for i in (0, 10, 19):
        a = s.alphas_cumprod[i]
        v = a.sqrt() * eps - (1 - a).sqrt() * x0
        p = VPrediction(StubUNet(v), s)(s.noised(x0, i, eps), i)
        torch.testing.assert_close(p.x0, x0)
        torch.testing.assert_close(p.eps, eps)
        torch.testing.assert_close(p.log_variance, s.posterior_log_variance[i].expand_as(x0))


@pytest.mark.parametrize("positions", [[], [10], [-1, 0]])
def test_positions_outside_the_schedule_are_refused_before_any_work(positions):
    with pytest.raises(ValueError, match="entries of the schedule, 0 to 9"):
        sample(GaussianDenoiser(Schedule.linear().respace(10)), picture(), positions)


def test_guidance_without_a_source_is_refused():
    with pytest.raises(ValueError, match="source, which must have x's shape"):
        sample(GaussianDenoiser(Schedule.linear()), picture(), [0], guidance=Guidance({}, {}))


def test_a_picture_without_batch_is_refused():
    with pytest.raises(ValueError, match=r"x\[None\]"):
        sample(GaussianDenoiser(Schedule.linear()), picture()[0], [0])


def test_inverting_beyond_the_schedule_is_refused():
    with pytest.raises(ValueError, match="0 to 10; got 11"):
        invert(GaussianDenoiser(Schedule.linear().respace(10)), picture(), 11)


def test_a_source_view_drawn_by_itself_is_the_one_that_look_draws():
    denoiser, source = GaussianDenoiser(Schedule.linear().respace(50)), picture(2)
    x, one, other = picture(1), torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    state = look(denoiser.schedule, x, 24, denoiser(x, 24), source, None, one)
    assert torch.equal(state.source_view, view_of_source(denoiser.schedule, source, 24, other))
    assert not torch.equal(state.source_view, view_of_source(denoiser.schedule, source, 24, other))


def test_a_plan_that_leaves_out_positions_on_the_way_down_is_refused():
    x = torch.zeros(1, 3, 4, 4)
    with pytest.raises(ValueError, match=r"one position at a time; got 5 after 7: .*respace\(n\)"):
        sample(GaussianDenoiser(Schedule.linear(50)), x, [8, 7, 5])


def test_inverted_noise_is_too_quiet_even_with_the_exact_denoiser_and_more_so_after_large_steps():
    x, spread = picture(side=64) / 2, []
    for n in (32, 1000):
        s = Schedule.cosine().respace(n)
        i = 3 * n // 4
        z, a = invert(GaussianDenoiser(s, mean=0.0, variance=0.0625), x, upto=i), s.alphas_cumprod[i]
        spread.append(((z - a.sqrt() * x) / (1 - a).sqrt()).std().item())
    # Without steps at all, the road keeps x0 / sigma: the noise is x0 times the rest of the way.
    exact = ((0.0625 * a + 1 - a).sqrt() / 0.25 - a.sqrt()) * x.std() / (1 - a).sqrt()
    assert spread[0] < spread[1] - 0.01 and spread[1] == pytest.approx(exact.item(), rel=0.01) and exact < 0.97
