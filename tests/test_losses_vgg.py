"""The VGG term against recorded results of the released code, with seeded weights in place of trained ones."""

import torch
from golden import draw, load
from torch import nn
from torch.testing import assert_close

from zecon_lite.losses import VGGContent
from zecon_lite.models.vgg import VGG
from zecon_lite.state import State

RECORDED = {name: torch.from_numpy(array) for name, array in load("zecon/vgg.npz").items()}


def recorded_vgg():
    """The first four convolutions of a VGG-19 with the weights that the recording used."""
    convolutions = [nn.Conv2d(*c, 3, padding=1) for c in ((3, 64), (64, 64), (64, 128), (128, 128))]
    for k, conv in enumerate(convolutions):
        scale = (2 / (9 * conv.in_channels)) ** 0.5
        conv.weight.data = torch.from_numpy(draw(71 + k, *conv.weight.shape, scale=scale))
        conv.bias.data = torch.from_numpy(draw(81 + k, *conv.bias.shape, scale=0.1))
    a, b, c, d = convolutions
    relu = lambda: nn.ReLU(inplace=True)  # noqa: E731
    return VGG(nn.Sequential(a, relu(), b, relu(), nn.MaxPool2d(2), c, relu(), d, relu()))


def state(view, source):
    return State(i=3, t=60, x0=view, view=view, source=source, source_view=source)


def test_the_maps_are_those_after_relu1_1_and_relu2_1():
    first, second = recorded_vgg()(RECORDED["x"])
    assert_close(first[:, :8], RECORDED["conv1_1"], atol=2e-6, rtol=0)
    assert_close(second[:, :8], RECORDED["conv2_1"], atol=5e-6, rtol=0)
    assert first.min() == RECORDED["conv1_1_min"] == 0


def test_vgg_content_agrees_with_the_released_loss_and_gradient():
    view = RECORDED["x"].clone().requires_grad_()
    loss = VGGContent(recorded_vgg())(state(view, RECORDED["y"]))
    assert_close(loss, RECORDED["loss"], atol=2e-6, rtol=2e-6)
    assert_close(torch.autograd.grad(loss, view)[0], RECORDED["grad"], atol=2e-6, rtol=0)


def test_the_range_that_was_meant_is_half_the_released_one_and_gives_other_maps():
    """What the released code would see of pictures in [0, 1]; `vgg_unit_range` shows them so."""
    released, meant = recorded_vgg(), recorded_vgg().on_unit_range()
    x = RECORDED["x"]
    for found, want in zip(meant(x), released((x + 1) / 2), strict=True):
        assert_close(found, want, atol=2e-5, rtol=1e-5)
    assert (meant(x)[0][:, :8] - RECORDED["conv1_1"]).abs().max() > 0.1


def test_vgg_content_is_zero_for_the_source_itself():
    assert VGGContent(recorded_vgg())(state(RECORDED["x"], RECORDED["x"])).item() == 0


def test_vgg_content_of_a_batch_is_the_sum_of_its_pictures_and_layers():
    x, y = RECORDED["x"].double(), RECORDED["y"].double()
    batch, sources = torch.cat([x, y, 0.5 * x]), torch.cat([y, x, x])
    vgg = lambda images: [images, 2 * images.mean(1, keepdim=True)]  # noqa: E731
    want = sum(
        (b - s).square().mean() + 4 * (b.mean(0) - s.mean(0)).square().mean()
        for b, s in zip(batch, sources, strict=True)
    )
    assert_close(VGGContent(vgg)(state(batch, sources)), want)


def test_the_gradient_flows_through_the_view_only():
    view, source = RECORDED["x"].clone().requires_grad_(), RECORDED["y"].clone().requires_grad_()
    VGGContent(recorded_vgg())(state(view, source)).backward()
    assert view.grad.abs().sum() > 0 and source.grad is None
