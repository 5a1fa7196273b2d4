"""The two journeys of DiffusionCLIP: algebra, the released code's recorded steps and trajectories, what is kept."""

import re
from itertools import pairwise
from math import sqrt

import pytest
import torch
from golden import draw, load, load_json
from toys import EpsStub, GaussianDenoiser

from zecon_lite import load_models
from zecon_lite.adapters import Mixture, bands
from zecon_lite.denoiser import LearnedVariance, Prediction
from zecon_lite.latents import (
    descend,
    digest,
    digest_of,
    from_latent,
    into_domain,
    journey,
    latents,
    to_latent,
    transition,
)
from zecon_lite.samplers import ddim_step, ddpm_step
from zecon_lite.schedule import Schedule
from zecon_lite.tiny import world

RECORDED = {name: torch.from_numpy(array) for name, array in load("diffusionclip/denoising.npz").items()}
LINEAR = Schedule.linear()
STUBS = [LearnedVariance(EpsStub(k), LINEAR) for k in range(3)]
X, X_B2 = RECORDED["x"], RECORDED["x_b2"]


def close(ours, name, atol=1e-5):
    torch.testing.assert_close(ours, RECORDED[name], atol=atol, rtol=0)


def stepped(denoiser, t, t_next, x=X):
    p = denoiser(x, t)
    return transition(LINEAR, p, t_next), p.x0


def picture(seed=0, b=1, side=6):
    return torch.from_numpy(draw(seed, b, 3, side, side, scale=0.5)).double()


class LinearToy:
    """A network whose believed noise is a fixed part of x: each climb and each step back only scales the picture."""

    schedule = LINEAR

    def __call__(self, x, i):
        eps = 0.4 * x
        return Prediction(LINEAR.x0_from_eps(x, i, eps), eps, x)


# -------------------------------------------------------------------------------------------------------- algebra

def test_one_position_down_is_the_ddim_step():
    denoiser, x = GaussianDenoiser(LINEAR), picture()
    for i in (0, 1, 500):
        p = denoiser(x, i)
        torch.testing.assert_close(transition(LINEAR, p, i - 1), ddim_step(LINEAR, x, i, p, None, x))


def test_to_the_clean_picture_is_the_estimate_and_nowhere_is_no_change():
    denoiser, x = GaussianDenoiser(LINEAR), picture()
    p = denoiser(x, 300)
    assert torch.equal(transition(LINEAR, p, -1), p.x0)
    torch.testing.assert_close(transition(LINEAR, p, 300), x)


def test_up_and_down_are_mirror_images_for_a_linear_toy():
    """The factor of each climb, inverted, is that of the way back when the noise is believed at the same end."""
    x, times = picture(), journey(600, 7)
    up = to_latent(LinearToy(), x, times)

    def factor(t, t_next):
        a, b = (LINEAR.alphas_cumprod[k].item() if k >= 0 else 1.0 for k in (t, t_next))
        return sqrt(b / a) + 0.4 * (sqrt(1 - b) - sqrt(b / a) * sqrt(1 - a))

    scale = 1.0
    for low, high in pairwise(times):
        scale *= factor(low, high)
    torch.testing.assert_close(up, scale * x)
    for low, high in zip(times[:0:-1], times[-2::-1], strict=True):
        scale *= factor(low, high)
    torch.testing.assert_close(from_latent(LinearToy(), up, times), scale * factor(0, -1) * x)


def test_what_was_inverted_comes_home_and_nearer_with_more_steps():
    denoiser, x = GaussianDenoiser(LINEAR), picture(4)

    def missed(n):
        times = journey(600, n)
        return (from_latent(denoiser, to_latent(denoiser, x, times), times) - x).square().mean().sqrt()

    assert missed(601) < 0.02 < missed(6)


@pytest.mark.parametrize(("t0", "n"), [(500, 40), (301, 40), (601, 40), (400, 6), (500, 200)])
def test_journeys_are_the_released_ones(t0, n):
    times = journey(t0, n)
    assert times == RECORDED[f"seq_t{t0}_n{n}"].tolist()
    assert [-1, *times[:-1]] == RECORDED[f"seqnext_t{t0}_n{n}"].tolist()


# --------------------------------------------------------------------------------------- the released code's record

def test_the_released_tables_are_ours():
    close(LINEAR.betas.float(), "betas_f32", atol=1e-8)
    close(LINEAR.alphas_cumprod.float(), "alphas_cumprod_f32_as_used", atol=1e-6)
    ours = LINEAR.posterior_log_variance
    torch.testing.assert_close(ours[1:], RECORDED["logvar_fixedsmall_f64"][1:], atol=1e-5, rtol=0)
    assert RECORDED["logvar_fixedsmall_f64"][0] < -46                     # log 1e-20, where ours borrows its neighbour
    large = torch.cat([ours[1:2], LINEAR.betas[1:].log()])
    torch.testing.assert_close(large, RECORDED["logvar_fixedlarge_f64"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", sorted({k for k in RECORDED if re.fullmatch(r"ddim_(fwd|rev)_\d+_(\d+|m1)(_b2)?", k)}))
def test_every_recorded_transition_is_reproduced(name):
    t, t_next = (int(word.replace("m", "-")) for word in name.split("_")[2:4])
    x, x0 = stepped(STUBS[0], t, t_next, X_B2 if name.endswith("b2") else X)
    close(x, name)
    if f"{name}_x0" in RECORDED:
        close(x0, f"{name}_x0")


@pytest.mark.parametrize(("name", "t", "log_variance"), [
    ("ddpm_300", 300, RECORDED["logvar_fixedsmall_f64"][300]),
    ("ddpm_0", 0, RECORDED["logvar_fixedsmall_f64"][0]),
    ("ddpm_300_large", 300, RECORDED["logvar_fixedlarge_f64"][300]),
    ("ddpm_300_learnsigma", 300, 0.3 * X - 4),                             # the raw output read as log variance
])
def test_the_recorded_ancestral_steps_are_ours_with_their_variance(name, t, log_variance):
    p = STUBS[0](X, t)
    p = Prediction(p.x0, p.eps, torch.as_tensor(log_variance).float().expand_as(X))
    close(ddpm_step(LINEAR, X, t, p, None, RECORDED[f"{name}_noise"]), name)


def test_a_learned_variance_changes_nothing_in_ddim():
    x, x0 = stepped(STUBS[0], 500, 400)
    close(x, "ddim_ls_500_400")
    close(x0, "ddim_ls_500_400_x0")


@pytest.mark.parametrize("ratio", ["0", "0.3", "1.0"])
def test_recorded_degrees_of_change_are_reproduced(ratio):
    r = float(ratio)
    close(stepped(Mixture(STUBS[:2], (1 - r, r)), 500, 400)[0], f"ratio_{ratio}_500_400")


def test_recorded_bands_of_several_attributes_are_reproduced():
    hybrid = Mixture(STUBS[1:], bands({300: (1, 0), 0: (0.3, 0.7)}))
    for t in (500, 300, 200):
        close(stepped(hybrid, t, t - 100)[0], f"hybrid_{t}_{t - 100}")
    unnormalised = Mixture(STUBS[1:], bands({300: (2, 3), 0: (1, 1)}))
    close(stepped(unnormalised, 500, 400)[0], "hybrid_unnorm_500_400")


def test_recorded_trajectories_are_reproduced():
    x0, denoiser = RECORDED["traj_x0"], STUBS[0]
    times, six = journey(500, 40), journey(500, 6)
    close(stepped(denoiser, times[0], times[1], x0)[0], "traj_inv_step0")
    denoiser.unet.asked.clear()
    latent = to_latent(denoiser, x0, times)
    assert len(denoiser.unet.asked) == RECORDED["traj_inv_ncalls"]
    close(latent, "traj_lat_t500_n40", atol=1e-4)
    for n in (6, 40):
        steps = list(descend(denoiser, RECORDED["traj_lat_t500_n40"], journey(500, n)))
        close(steps[-1].x, f"traj_rec_ngen{n}", atol=1e-4)
        close(torch.cat([step.x0 for step in steps[:6]]), f"traj_rec_ngen{n}_x0s", atol=1e-4)
    half = Mixture(STUBS[:2], (0.5, 0.5))
    hybrid = Mixture(STUBS[1:], bands({300: (1, 0), 0: (0.3, 0.7)}))
    close(from_latent(half, RECORDED["traj_lat_t500_n40"], six), "traj_edit_ratio05_ngen6", atol=1e-4)
    close(from_latent(hybrid, RECORDED["traj_lat_t500_n40"], six), "traj_edit_hybrid_ngen6", atol=1e-4)


def test_the_recorded_way_from_outside_is_ours_but_for_the_first_timestep():
    """The released code noises to 499 and starts at 500."""
    noised = LINEAR.noised(RECORDED["traj_x0"], 499, RECORDED["stoch_fwd_noise"])
    close(noised, "stoch_fwd_t500")
    close(from_latent(STUBS[0], noised, journey(500, 6)), "u2u_one_round", atol=1e-4)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(X.shape, generator=torch.Generator().manual_seed(0))
    ours = into_domain(STUBS[0], X, 500, 6, generator=generator)
    torch.testing.assert_close(ours, from_latent(STUBS[0], LINEAR.noised(X, 500, noise), journey(500, 6)))


def test_where_the_released_code_fails_ours_works_or_says_why():
    released = load_json("diffusionclip/behaviours.json")
    assert all("Error" in said for said in released.values())
    hybrid = Mixture(STUBS[1:], bands({300: (1, 0), 0: (0.3, 0.7)}))
    both = stepped(hybrid, 200, 100, X_B2)[0]
    torch.testing.assert_close(both[1:], stepped(hybrid, 200, 100, X_B2[1:])[0])
    with pytest.raises(ValueError, match="each of the 2 denoisers a share"):
        stepped(Mixture(STUBS[1:], bands({0: (1, 0, 0)})), 500, 400)


# --------------------------------------------------------------------------------------------- gradients and rounds

def test_recomputing_gives_the_same_gradient_and_keeps_less():
    denoiser = LearnedVariance(EpsStub(0).double(), LINEAR)
    latent, theta = picture(2), denoiser.unet.theta

    def run(recompute):
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda z: kept.append(z.shape) or z, lambda z: z):
            *_, last = descend(denoiser, latent, journey(500, 6), recompute=recompute)
        (grad,) = torch.autograd.grad((last.x - 0.1).abs().mean(), theta)
        return grad, len(kept)

    (plain, many), (again, few) = run(False), run(True)
    torch.testing.assert_close(again, plain, atol=1e-14, rtol=0)
    assert few < many / 3


def test_more_rounds_lead_further_and_the_same_seed_to_the_same_picture():
    denoiser, x = GaussianDenoiser(LINEAR), picture(3) + 2.0

    def far(rounds, seed=0):
        return into_domain(denoiser, x, 400, 6, rounds, torch.Generator().manual_seed(seed))

    one, three = far(1), far(3)
    assert torch.equal(one, far(1)) and not torch.equal(one, far(1, seed=1))
    assert (three.mean() - denoiser.mean).abs() < (one.mean() - denoiser.mean).abs() < (x.mean() - denoiser.mean).abs()


# ------------------------------------------------------------------------------------------------------------ cache

def test_latents_are_kept_and_found_only_where_they_are_the_same(tmp_path):
    denoiser = LearnedVariance(EpsStub(0), LINEAR)
    pictures = torch.cat([X, X_B2])

    def passes(*arguments, denoiser=denoiser):
        denoiser.unet.asked.clear()
        found = latents(denoiser, *arguments, folder=tmp_path, batch=2)
        return found, len(denoiser.unet.asked)

    first, made = passes(pictures, 400, 5)
    torch.testing.assert_close(first, to_latent(denoiser, pictures, journey(400, 5)))
    assert made == 8 and len(list(tmp_path.iterdir())) == 3                # two batches of four climbs
    again, made = passes(pictures.flip(0), 400, 5)
    assert made == 0 and torch.equal(again, first.flip(0))
    assert passes(pictures + 1e-3, 400, 5)[1] == passes(pictures, 401, 5)[1] == 8
    assert passes(pictures, 400, 6)[1] == 10
    other = LearnedVariance(EpsStub(1), LINEAR)
    assert passes(pictures, 400, 5, denoiser=other)[1] == 8
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_fingerprint_changes_with_any_weight_and_with_the_schedule():
    stub = LearnedVariance(EpsStub(0), LINEAR)
    name = digest_of(stub)
    assert name == digest_of(LearnedVariance(EpsStub(0), Schedule.linear()))
    assert name != digest_of(stub.respace(50))
    stub.unet.theta.data += 1e-6
    assert name != digest_of(stub)
    assert digest("a", torch.zeros(2)) != digest("a", torch.zeros(2, 1)) != digest("a", torch.zeros(1, 2).double())


@pytest.mark.parametrize(("t0", "n"), [(500, 1), (5, 7), (0, 2)])
def test_journeys_that_stand_still_are_refused(t0, n):
    with pytest.raises(ValueError, match=f"between timestep 0 and {t0} there are journeys of 2 to {t0 + 1}"):
        journey(t0, n)


def test_a_photograph_comes_home_through_the_bundled_network():
    denoiser = load_models("tiny", "cpu").denoiser
    photo = world.render(world.held_out_seeds(1), size=64).image
    home = from_latent(denoiser, to_latent(denoiser, photo, journey(300, 8)), journey(300, 8))
    assert (home - photo).abs().mean() < 0.1
