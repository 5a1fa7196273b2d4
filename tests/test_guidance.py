"""From losses on the picture to a gradient on x_t."""

import pytest
import torch
from golden import draw
from toys import GaussianDenoiser

from zecon_lite.guidance import REACH, Guidance
from zecon_lite.samplers import ddim_step, look
from zecon_lite.schedule import Schedule
from zecon_lite.state import State

DENOISER = GaussianDenoiser(Schedule.linear())


def picture(seed, b=2):
    return torch.from_numpy(draw(seed, b, 3, 4, 4, scale=0.5)).double()


def gradient(guidance, x, source, i=400, denoiser=DENOISER):
    x = x.detach().requires_grad_(True)
    state = look(denoiser.schedule, x, i, denoiser(x, i), source, None, torch.Generator().manual_seed(0))
    return guidance.gradient(guidance.terms(state), x, denoiser.schedule, i)


def curved(state):
    return (state.view - state.source_view).pow(4).sum() + state.x0.sin().sum()


def test_the_gradient_through_the_denoiser_equals_finite_differences():
    guidance, x, source = Guidance({"curved": curved}, {"curved": 3.0}), picture(1), picture(2)
    ours, direction, step = gradient(guidance, x, source), picture(3), 1e-5

    def value(at):
        s = DENOISER.schedule
        state = look(s, at, 400, DENOISER(at, 400), source, None, torch.Generator().manual_seed(0))
        return sum(guidance.terms(state).values())

    slope = (value(x + step * direction) - value(x - step * direction)) / (2 * step)
    torch.testing.assert_close((ours * direction).sum(), slope, rtol=1e-7, atol=1e-9)


def test_weights_multiply_and_add():
    x, source = picture(1), picture(2)
    losses = {"a": curved, "b": lambda s: s.view.square().sum()}
    both = gradient(Guidance(losses, {"a": 2.0, "b": 0.5}), x, source)
    a, b = gradient(Guidance(losses, {"a": 1.0}), x, source), gradient(Guidance(losses, {"b": 1.0}), x, source)
    torch.testing.assert_close(both, 2 * a + 0.5 * b)


def test_a_picture_is_guided_alike_whatever_its_neighbours_are():
    guidance = Guidance({"b": lambda s: s.view.pow(4).sum()}, {"b": 1.0})
    for strength in (None, 0.7):
        guidance = Guidance(guidance.losses, guidance.weights, strength)
        x, source = picture(1), picture(2)
        torch.testing.assert_close(gradient(guidance, x, source)[:1], gradient(guidance, x[:1], source[:1]))


@pytest.mark.parametrize(("loss", "message"), [
    (lambda s: s.view.square().sum((1, 2, 3)), r"'mine' must return a tensor.*got a tensor \(2,\): end it"),
    (lambda s: s.view.square().sum().item(), r"'mine' must return a tensor of one.*got a float: return the tensor"),
    (lambda s: None, r"'mine' must return a tensor of one number.*got nothing: say what the function returns"),
    (lambda s: s.source.square().sum(), r"mine does not depend on the picture: a loss must compute with state.x0 or"),
])
def test_a_loss_of_one_s_own_that_cannot_guide_is_named(loss, message):
    with pytest.raises(ValueError, match=message):
        gradient(Guidance({"mine": loss}, {"mine": 1.0}), picture(1), picture(2))


def test_strength_is_the_rms_of_the_shift_of_eps_and_keeps_the_direction():
    x, source = picture(1), picture(2)
    plain = gradient(Guidance({"a": curved}, {"a": 123.0}), x, source)
    fixed = gradient(Guidance({"a": curved}, {"a": 123.0}, strength=0.7), x, source)
    shift = (1 - DENOISER.schedule.alphas_cumprod[400]).sqrt() * fixed
    torch.testing.assert_close(shift.square().mean((1, 2, 3)).sqrt(), torch.full((2,), 0.7, dtype=torch.float64))
    torch.testing.assert_close(
        torch.cosine_similarity(plain.flatten(1), fixed.flatten(1)), torch.ones(2, dtype=torch.float64)
    )


@pytest.mark.parametrize(("steps", "i", "shortened"), [(50, 40, False), (5, 3, True), (50, 49, True)])
def test_a_push_moves_the_next_picture_no_farther_than_its_reach(steps, i, shortened):
    schedule, x, strength = Schedule.cosine().respace(steps), picture(1), 0.7
    denoiser, nothing = GaussianDenoiser(schedule), torch.zeros_like(x)

    def moved(grad):
        p = denoiser(x, i)
        with_push, without = (ddim_step(schedule, x, i, p, g, nothing) for g in (grad, None))
        return (with_push - without).square().mean((1, 2, 3)).sqrt()

    plain = moved(torch.ones_like(x) * strength / (1 - schedule.alphas_cumprod[i]).sqrt())
    found = moved(gradient(Guidance({"a": curved}, {"a": 1.0}, strength), x, picture(2), i, denoiser))
    assert (plain > strength * REACH).all() == shortened
    torch.testing.assert_close(found, torch.full_like(found, strength * REACH) if shortened else plain)


def test_a_weight_may_depend_on_where_we_are():
    def late_only(state):
        return 1.0 if state.i < 100 else 0.0

    guidance, source = Guidance({"a": curved}, {"a": late_only}), picture(2)
    assert gradient(guidance, picture(1), source, i=400) is None
    assert gradient(guidance, picture(1), source, i=50).abs().max() > 0


def test_a_zero_weight_is_not_even_evaluated():
    def expensive(state):
        raise AssertionError("evaluated")

    state = State(0, 0, picture(1), picture(1), picture(1), picture(1))
    assert Guidance({"a": expensive}, {"a": 0.0}).terms(state) == {}


def test_each_loss_may_be_shown_a_source_view_of_its_own():
    shown, drawn = [], iter((picture(5), picture(6)))
    losses = {name: lambda s: shown.append(s.source_view) or s.view.sum() for name in ("a", "b", "off")}
    state = State(7, 0, picture(1), picture(1), picture(2), picture(3))
    Guidance(losses, {"a": 1.0, "off": 0.0, "b": 1.0}).terms(state)
    assert shown[0] is shown[1] is state.source_view
    Guidance(losses, {"a": 1.0, "off": 0.0, "b": 1.0}, source_view=lambda s: next(drawn)).terms(state)
    assert torch.equal(shown[2], picture(5)) and torch.equal(shown[3], picture(6)) and len(shown) == 4


def test_nothing_to_descend_means_no_gradient_and_no_division_by_zero():
    guidance = Guidance({"flat": lambda s: 0 * s.view.sum()}, {"flat": 1.0}, strength=1.0)
    assert torch.equal(gradient(guidance, picture(1), picture(2)), torch.zeros(2, 3, 4, 4, dtype=torch.float64))


def test_a_weight_without_a_loss_is_refused():
    with pytest.raises(ValueError, match="no loss named zekon; there are zecon"):
        Guidance({"zecon": curved}, {"zekon": 1.0})


def test_a_loss_that_is_not_finite_is_named_with_a_cure():
    guidance = Guidance({"fine": curved, "broken": lambda s: s.view.sum() * float("nan")}, {"fine": 1.0, "broken": 1.0})
    with pytest.raises(FloatingPointError, match=r"'broken' became nan at position 400 .* lower its weight"):
        gradient(guidance, picture(1), picture(2))


def test_a_gradient_that_is_not_finite_is_caught_too():
    guidance = Guidance({"root": lambda s: (s.view * 0).sqrt().sum()}, {"root": 1.0})
    with pytest.raises(FloatingPointError, match="gradient of root is not finite at position 400"):
        gradient(guidance, picture(1), picture(2))
