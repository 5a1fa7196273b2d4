"""Colour matching: the closed form against the package that the released code calls, and where that one breaks."""

import numpy as np
import pytest
import torch
from golden import load
from torch.testing import assert_close

from zecon_lite import images
from zecon_lite.colour import colour_statistics, match_colours, to_span, transfer_matrix

RECORDED = load("diffuseit/mkl.npz")


def recorded(name):
    """(H, W, 3) -> (1, 3, H, W), float64."""
    return torch.from_numpy(RECORDED[name].astype(np.float64)).permute(2, 0, 1)[None]


def picture(seed, b=1, side=12):
    return torch.rand(b, 3, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 1.2 - 0.6


def test_each_part_agrees_with_color_matcher():
    for name in ("src", "ref"):
        assert_close(to_span(recorded(f"{name}_uint8")), recorded(f"{name}_norm"), atol=1e-15, rtol=0)
        mean, covariance = colour_statistics(recorded(f"{name}_norm"))
        assert_close(mean[0], torch.from_numpy(RECORDED[f"mu_{name}"]), atol=1e-14, rtol=0)
        assert_close(covariance[0], torch.from_numpy(RECORDED[f"cov_{name}"]), atol=1e-14, rtol=0)
    s, r = (torch.from_numpy(RECORDED[f"cov_{name}"])[None] for name in ("src", "ref"))
    assert_close(transfer_matrix(s, r)[0], torch.from_numpy(RECORDED["transfer_matrix"]), atol=1e-10, rtol=0)


def test_stretched_matching_is_the_released_one():
    source, reference = (images.from_unit(recorded(f"{name}_uint8") / 255) for name in ("src", "ref"))
    ours = (match_colours(source, reference, stretch=True) + 1) / 2
    assert_close(ours, to_span(recorded("mkl_float")), atol=1e-9, rtol=0)
    assert ((ours * 255) - recorded("final_uint8")).abs().max() < 1          # which rounds or cuts to whole numbers


def test_the_colours_before_clipping_are_those_of_the_reference():
    image, reference = picture(1) * 0.3, picture(2, side=9) * 0.5 + 0.1
    matched = match_colours(image, reference)
    for ours, want in zip(colour_statistics(matched), colour_statistics(reference), strict=True):
        assert_close(ours, want, atol=1e-9, rtol=0)


def test_a_picture_with_the_right_colours_stays_as_it_is():
    assert_close(match_colours(picture(1), picture(1)), picture(1), atol=1e-9, rtol=0)
    shuffled = picture(1).flatten(2)[..., torch.randperm(144, generator=torch.Generator().manual_seed(0))]
    assert_close(match_colours(picture(1), shuffled.view(1, 3, 12, 12)), picture(1), atol=1e-9, rtol=0)


def test_the_map_is_symmetric_and_takes_one_covariance_to_the_other():
    s, r = (colour_statistics(picture(k))[1] for k in (1, 2))
    a = transfer_matrix(s, r)
    assert_close(a, a.mT)
    assert_close(a @ s @ a, r)


def test_results_stay_in_range_and_contrast_is_not_stretched():
    image, reference = picture(1) * 1.6, picture(2) * 1.6
    assert match_colours(image, reference).abs().max() <= 1
    pale = match_colours(image, picture(2) * 0.1)
    assert pale.abs().max() < 0.3 and match_colours(image, picture(2) * 0.1, stretch=True).abs().max() == 1


@pytest.mark.parametrize("stretch", [False, True])
def test_a_picture_of_one_colour_is_no_danger(stretch):
    grey = torch.full((1, 3, 6, 6), 0.2)
    assert match_colours(grey, picture(2).float(), stretch).abs().max() <= 1
    assert torch.isfinite(match_colours(picture(2).float(), grey, stretch)).all()


def test_one_colour_becomes_the_mean_colour():
    matched = match_colours(torch.full((1, 3, 6, 6), 0.2), picture(2).float())
    assert_close(matched[0, :, 0, 0], picture(2).float().mean((0, 2, 3)), atol=1e-4, rtol=0)


def test_each_picture_of_a_batch_is_matched_by_itself_and_keeps_its_type():
    three = match_colours(picture(1, b=3).float(), picture(2))
    assert three.dtype == torch.float32
    for k in range(3):
        assert_close(three[k : k + 1], match_colours(picture(1, b=3)[k : k + 1].float(), picture(2)))
