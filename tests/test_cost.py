"""How many pictures go through each network, and how much memory a run takes."""

import copy

import pytest
import torch

from zecon_lite import load_models, stylize
from zecon_lite.cost import DOORS, counted, peak_memory
from zecon_lite.denoiser import VPrediction
from zecon_lite.models import UNet


@pytest.fixture(scope="module")
def models():
    return load_models("tiny", device="cpu")


def pictures(b=1):
    return torch.rand(b, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_picture_counts_once_forward_and_once_backward(models):
    x = pictures(3).requires_grad_()
    with counted() as found:
        models.denoiser.unet(x, torch.zeros(3)).sum().backward()
    assert found == {name: [3, 3] if name == "UNet" else [0, 0] for name in DOORS}


def test_without_gradients_nothing_comes_back(models):
    with counted() as found, torch.no_grad():
        models.clip.image(pictures(2).requires_grad_())
    assert found["CLIP"] == [2, 0]


def test_a_gradient_counts_for_the_network_that_it_came_through(models):
    x = pictures().requires_grad_()
    with counted() as found:
        models.vgg(x)                                                       # looked at, and not used
        _, cls = models.vit.keys_and_cls(x)
        torch.autograd.grad(cls.sum(), x)
    assert (found["VGG"], found["ViT"]) == ([1, 0], [1, 1])


def test_counting_changes_no_gradient(models):
    x = pictures().requires_grad_()

    def gradient():
        return torch.autograd.grad(models.clip.image(x).square().sum() + models.vgg(x)[0].sum(), x)[0]

    with counted():
        counting = gradient()
    assert torch.equal(counting, gradient())


def test_copies_count_and_afterwards_nothing_does(models):
    with counted() as found:
        copy.deepcopy(models.denoiser.unet)(pictures(), torch.zeros(1))
    models.denoiser.unet(pictures(), torch.zeros(1))
    assert found["UNet"] == [1, 0] and UNet.forward.__qualname__ == "UNet.forward"
    with pytest.raises(RuntimeError), counted():
        raise RuntimeError
    assert not hasattr(UNet.forward, "__wrapped__")


def test_a_guided_run_asks_each_network_as_often_as_the_recipe_says(models):
    with counted() as found:
        stylize(pictures(2), "a pencil sketch", models=models, steps=4, skip=1)
    steps = 3                                                               # after two of inversion
    assert found["UNet"] == [2 * (2 + steps), 2 * steps]
    assert found["UNet encoder"] == [2 * 2 * steps, 2 * steps]              # the picture's features and the source's
    assert found["CLIP"] == [2 * 15 * steps, 2 * 10 * steps]                # five views, for two losses and the source
    assert found["VGG"] == [2 * 2 * steps, 2 * steps] and found["ViT"] == [0, 0]


def test_memory_is_what_is_held_at_once():
    def hold(n):
        return [torch.zeros(1_000_000) for _ in range(n)]

    def one_after_another():
        for _ in range(5):
            hold(1)

    assert peak_memory(lambda: hold(5)) == pytest.approx(20, rel=0.05)
    assert peak_memory(one_after_another) == pytest.approx(4, rel=0.05)


def test_a_denoiser_s_features_are_the_encoder_s(models):
    assert isinstance(models.denoiser, VPrediction)
    with counted() as found:
        models.denoiser.features(pictures(2), 0, (0, 2))
    assert found["UNet encoder"] == [2, 0] and found["UNet"] == [0, 0]
