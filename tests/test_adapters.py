"""Adapters and mixtures: algebra on toys, what is kept in files, messages."""

import builtins
import copy
from dataclasses import replace

import pytest
import torch
from golden import draw
from safetensors.torch import save_file
from toys import EpsStub, GaussianDenoiser, TinyUNet

from zecon_lite.adapters import FORMAT, Adapter, Mixture, bands, degree_of_change, low_rank, name_of, tuned, whole
from zecon_lite.denoiser import LearnedVariance
from zecon_lite.latents import digest_of
from zecon_lite.schedule import Schedule

LINEAR = Schedule.linear()
X = torch.from_numpy(draw(1, 2, 3, 8, 8, scale=0.5))


def network(seed=0):
    return LearnedVariance(TinyUNet(seed), LINEAR)


def trained(denoiser, trainable):
    """An adapter of a few steps of Adam towards nothing in particular."""
    optimizer = torch.optim.Adam(trainable.parameters.values(), lr=0.02)
    for _ in range(3):
        optimizer.zero_grad()
        trainable.denoiser(X, 300).x0.square().mean().backward()
        optimizer.step()
    return Adapter(trainable.learnt(), {"network": name_of(denoiser), "prompt": "a sketch", "profile": "tiny"})


WAYS = {"whole": whole, "low rank": lambda denoiser: low_rank(denoiser, 2, seed=3)}


@pytest.fixture(scope="module", params=WAYS)
def learnt(request):
    denoiser = network()
    trainable = WAYS[request.param](denoiser)
    return denoiser, trainable, trained(denoiser, trainable)


# -------------------------------------------------------------------------------------------------------- adapters

def test_an_adapter_makes_the_network_that_learnt_it(learnt):
    denoiser, trainable, adapter = learnt
    with torch.no_grad():
        torch.testing.assert_close(tuned(denoiser, [adapter])(X, 300).eps, trainable.denoiser(X, 300).eps)
        assert (denoiser(X, 300).eps - trainable.denoiser(X, 300).eps).abs().max() > 0.01


def test_degree_zero_is_the_network_as_it_is_and_half_is_half_the_change_of_each_weight(learnt):
    denoiser, _, adapter = learnt
    before, after, half = (dict(tuned(denoiser, [adapter], [d]).unet.named_parameters()) for d in (0.0, 1.0, 0.5))
    for name, weight in denoiser.unet.named_parameters():
        assert torch.equal(before[name], weight)
        torch.testing.assert_close(half[name], (weight + after[name]) / 2)


def test_two_adapters_add_their_changes(learnt):
    denoiser, _, adapter = learnt
    twice = tuned(denoiser, [adapter, adapter], [0.3, 0.7]).unet.state_dict()
    torch.testing.assert_close(twice, tuned(denoiser, [adapter]).unet.state_dict())


def test_the_network_is_left_alone_and_never_requires_grad(learnt):
    denoiser, trainable, adapter = learnt
    assert digest_of(denoiser) == digest_of(network())
    made = tuned(denoiser, [adapter])
    assert not any(p.requires_grad or p.grad is not None for d in (denoiser, made) for p in d.unet.parameters())
    assert all(p.requires_grad for p in trainable.parameters.values())


def test_a_file_gives_back_the_adapter_in_half_the_bytes(learnt, tmp_path):
    _, _, adapter = learnt
    path = adapter.save(tmp_path / "a.safetensors")
    again = Adapter.load(path)
    assert again.about == dict(adapter.about)
    torch.testing.assert_close(again.changes(), adapter.changes(), atol=1e-4, rtol=2e-3)
    assert all(tensor.dtype == torch.float16 for tensor in again.tensors.values())
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_low_rank_starts_at_the_network_is_small_and_leaves_random_numbers_alone():
    denoiser, before = network(), torch.get_rng_state()
    trainable = low_rank(denoiser, 2, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.no_grad():
        assert torch.equal(trainable.denoiser(X, 300).eps, denoiser(X, 300).eps)
    again, other = (low_rank(denoiser, 2, seed=s).learnt() for s in (3, 4))
    assert all(torch.equal(again[name], tensor) for name, tensor in trainable.learnt().items())
    assert any(not torch.equal(other[name], tensor) for name, tensor in trainable.learnt().items())
    for name, change in trained(denoiser, trainable).changes().items():
        assert torch.linalg.matrix_rank(change) <= 2, name


# --------------------------------------------------------------------------------------------------------- mixtures

def test_degree_zero_of_a_mixture_is_the_original_bit_for_bit_and_runs_nothing_else():
    original, pupil = (LearnedVariance(EpsStub(k), LINEAR) for k in (0, 1))
    mixed = degree_of_change(original, [pupil], [0.0])(X, 400)
    assert torch.equal(mixed.x0, original(X, 400).x0) and pupil.unet.asked == []


def test_a_mixture_is_the_mean_of_what_is_believed_in_x0_and_in_eps():
    one, two = (GaussianDenoiser(LINEAR, mean=m) for m in (-0.5, 0.5))
    mixed, x = Mixture((one, two), (1, 3))(X, 400), X
    for part in ("x0", "eps", "log_variance"):
        torch.testing.assert_close(
            getattr(mixed, part), 0.25 * getattr(one(x, 400), part) + 0.75 * getattr(two(x, 400), part)
        )
    torch.testing.assert_close(mixed.eps, LINEAR.eps_from_x0(x, 400, mixed.x0))


def test_bands_hold_from_their_start_up_and_follow_the_timestep_of_a_shorter_schedule():
    shares = bands({0: (0, 1), 300: (1, 1), 600: (1, 0)})
    assert [shares(t) for t in (0, 299, 300, 599, 600, 999)] == [(0, 1)] * 2 + [(1, 1)] * 2 + [(1, 0)] * 2
    one, two = (GaussianDenoiser(LINEAR, mean=m) for m in (-0.5, 0.5))
    short = Mixture((one, two), shares).respace(10)                        # position 8 is timestep 888
    assert torch.equal(short(X, 8).x0, one.respace(10)(X, 8).x0)
    assert torch.equal(short(X, 1).x0, two.respace(10)(X, 1).x0)


def test_a_mixture_s_features_are_those_of_the_first():
    one, two = (LearnedVariance(TinyUNet(), LINEAR, (0, 1)) for _ in range(2))
    assert Mixture((one, two), (1, 1)).feature_blocks == (0, 1)


def test_degrees_that_fill_one_leave_the_original_out():
    original, *pupils = (LearnedVariance(EpsStub(k), LINEAR) for k in range(3))
    degree_of_change(original, pupils, [0.5, 0.5])(X, 400)
    assert original.unet.asked == [] and pupils[0].unet.asked == pupils[1].unet.asked == [[400, 400]]


# --------------------------------------------------------------------------------------------------------- messages

def test_an_adapter_of_another_network_is_refused(learnt):
    _, _, adapter = learnt
    with pytest.raises(ValueError, match=r"'a sketch' was trained on another network \(profile 'tiny'\): load the"):
        tuned(network(seed=1), [adapter])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_an_adapter_fits_its_network_in_every_precision(learnt, dtype):
    denoiser, _, adapter = learnt
    half = replace(denoiser, unet=copy.deepcopy(denoiser.unet).torso_to(dtype))
    changed = dict(tuned(half, [adapter]).unet.named_parameters())
    change, weight = adapter.changes()["1.weight"], half.unet[1].weight
    assert weight.dtype == dtype and torch.equal(changed["1.weight"], weight.float() + change.view_as(weight))
    untouched = dict(tuned(half, [adapter], [0.0]).unet.named_parameters())["1.weight"]
    assert untouched.dtype == dtype and torch.equal(untouched, weight)


def test_degrees_that_do_not_match_are_refused(learnt):
    denoiser, _, adapter = learnt
    with pytest.raises(ValueError, match="one degree for each adapter; got 2 for 1"):
        tuned(denoiser, [adapter], [0.5, 0.5])


def test_an_adapter_is_not_saved_where_it_could_not_be_loaded_from(learnt, tmp_path):
    with pytest.raises(ValueError, match=r"\.safetensors file; got .*it\.pt: name it it\.safetensors"):
        learnt[2].save(tmp_path / "it.pt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "message"), [
    ("none.safetensors", "there are no weights at"), ("a.png", "an adapter is a .safetensors file; got a.png"),
    ("text.safetensors", "is damaged"), ("other.safetensors", "holds tensors but is no adapter: make one with"),
    ("half.safetensors", "half.safetensors lacks one of the two factors of out.weight: make it again"),
])
def test_what_is_no_adapter_is_refused_with_the_cure(tmp_path, name, message):
    (tmp_path / "text.safetensors").write_bytes(b"hello")
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    save_file({"out.weight:A": torch.zeros(2, 2)}, tmp_path / "half.safetensors", {"format": FORMAT})
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        Adapter.load(tmp_path / name)


@pytest.mark.parametrize("shares", [(1, 2, 3), (0, 0), (1, -1)])
def test_shares_that_cannot_be_normalised_are_refused(shares):
    with pytest.raises(ValueError, match="give each of the 2 denoisers a share, with a sum above 0"):
        Mixture([GaussianDenoiser(LINEAR)] * 2, shares)(X, 400)


def test_bands_with_a_gap_below_are_refused():
    with pytest.raises(ValueError, match=r"reach down to timestep 0; got bands from \[300\]"):
        bands({300: (1, 0)})


def test_without_peft_low_rank_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **options):
        if name.split(".")[0] == "peft":
            raise ModuleNotFoundError("no peft", name="peft")
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match=r'need peft: pip install "zecon-lite\[finetune\]", or train without'):
        low_rank(network(), 2)
    with pytest.raises(ValueError, match="rank must be at least 1; got 0: 8 is a good start"):
        low_rank(network(), 0)


def test_an_adapter_that_is_not_finite_is_not_saved(tmp_path):
    path = tmp_path / "burst.safetensors"
    with pytest.raises(FloatingPointError, match="holds NaN or infinity, so it was not saved: lower the learning rate"):
        Adapter({"a": torch.tensor([1.0, 1e6])}, {}).save(path)    # more than half precision holds
    assert not path.exists()


def test_an_adapter_of_other_weights_is_refused(learnt):
    denoiser, *_ = learnt
    first, _ = next(denoiser.unet.named_parameters())
    for tensors in ({"foo.weight": torch.zeros(2)}, {first: torch.zeros(1)}):
        with pytest.raises(ValueError, match=r"the adapter changes \S+, \(\d,\), which this network has not"):
            tuned(denoiser, [Adapter(tensors, {})])
