"""The measures of style and content."""

import re

import pytest
import torch
from conftest import ROOT

from zecon_lite.metrics import (
    JUDGES,
    as_judged,
    colour_distance,
    edge_f1,
    edges,
    frechet_distance,
    interval,
    judge,
    luminance,
    mask_iou,
    object_accuracy,
    ssim,
    style_accuracy,
    style_probability,
)
from zecon_lite.tiny import world

GLOSSARY = (ROOT / "book/glossary.md").read_text(encoding="utf-8")


def scenes(n=4):
    return world.render(world.held_out_seeds(n, start=7000), size=64)


def test_luminance_of_white_black_and_green():
    pictures = torch.tensor([[1.0, 1, 1], [-1, -1, -1], [-1, 1, -1]])[:, :, None, None].expand(3, 3, 2, 2)
    torch.testing.assert_close(luminance(pictures)[:, 0, 0, 0], torch.tensor([1.0, 0.0, 0.587]))


def test_ssim_equals_scikit_images():
    from skimage.metrics import structural_similarity

    a = scenes(2).image
    b = (a + 0.2 * torch.randn(a.shape, generator=torch.Generator().manual_seed(0))).clamp(-1, 1)
    for k in range(2):
        reference = structural_similarity(
            luminance(a)[k, 0].double().numpy(), luminance(b)[k, 0].double().numpy(), data_range=1.0
        )
        assert abs(ssim(a, b)[k].item() - reference) < 1e-4


def test_a_picture_is_wholly_like_itself():
    image = scenes().image
    torch.testing.assert_close(ssim(image, image), torch.ones(4))
    assert colour_distance(image, image).abs().max() == 0


def test_colour_distance_ignores_where_a_texture_falls():
    image = scenes().image
    shifted = image.roll(1, dims=3)
    assert (colour_distance(image, shifted) < 0.5 * (image - shifted).square().mean((1, 2, 3)).sqrt()).all()
    torch.testing.assert_close(colour_distance(image, image + 0.3), torch.full((4,), 0.3))


def test_the_strongest_tenth_of_a_picture_are_its_edges_and_a_flat_one_has_none():
    image = scenes().image
    assert ((edges(image).float().mean((1, 2, 3)) - 0.1).abs() < 0.01).all()
    assert torch.equal(edges(image), edges(0.2 * image - 0.5)), "a pale drawing has the same edges"
    assert not edges(torch.zeros(1, 3, 64, 64)).any()


def test_edges_may_lie_a_pixel_beside_and_not_ten():
    image = scenes().image
    torch.testing.assert_close(edge_f1(image, image), torch.ones(4))
    inner = torch.nn.functional.pad(image[..., 12:-12, 12:-12], (12, 12, 12, 12), value=-1.0)
    assert (edge_f1(inner, inner.roll(1, dims=2)) > 0.99).all()
    assert (edge_f1(inner, inner.roll(10, dims=2)) < 0.8).all()
    assert edge_f1(image, torch.zeros_like(image)).abs().max() == 0


def test_frechet_distance_of_gaussians_in_closed_form():
    a = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)).double()
    assert frechet_distance(a, a) < 1e-9
    shift = torch.arange(6.0)
    assert abs(frechet_distance(a, a + shift) - shift.square().sum().item()) < 1e-9
    wanted = 4 * a.var(0).sum() + (2 * a.mean(0)).square().sum()          # (1 - 3)^2 tr A, means a and 3 a
    assert abs(frechet_distance(a, 3 * a) - wanted.item()) < 1e-9


def test_frechet_distance_equals_the_unsymmetric_form():
    g = torch.Generator().manual_seed(1)
    a, b = torch.randn(80, 5, generator=g).double(), torch.randn(60, 5, generator=g).double() @ torch.rand(
        5, 5, generator=g
    ).double()
    cross = torch.linalg.eigvals(a.T.cov() @ b.T.cov()).real.clamp_min(0).sqrt().sum()
    wanted = (a.mean(0) - b.mean(0)).square().sum() + a.T.cov().trace() + b.T.cov().trace() - 2 * cross
    assert abs(frechet_distance(a, b) - wanted.item()) < 1e-8
    assert abs(frechet_distance(a, b) - frechet_distance(b, a)) < 1e-8


def test_a_covariance_needs_two_pictures():
    with pytest.raises(ValueError, match="at least two pictures; got 1 and 3"):
        frechet_distance(torch.zeros(1, 4), torch.zeros(3, 4))


def test_an_interval_holds_the_mean_and_shrinks_with_more_scenes():
    values = torch.rand(400, generator=torch.Generator().manual_seed(0))
    mean, low, high = interval(values, torch.arange(400))
    assert low < mean < high and abs(mean - values.mean().item()) < 1e-6
    standard_error = values.std().item() / 20
    assert abs((high - low) / (2 * 1.96 * standard_error) - 1) < 0.1
    assert interval(values, torch.arange(400)) == (mean, low, high), "the same numbers, the same interval"


def test_the_glossary_says_how_often_an_interval_of_few_scenes_holds_the_mean():
    told = re.search(r"about (\d+) in 100 \D+five\D+(\d+)\D+eight\D+(\d+)\D+twenty", GLOSSARY)
    generator = torch.Generator().manual_seed(0)
    for n, said in zip((5, 8, 20), told.groups(), strict=True):
        drawn = torch.randn(500, n, generator=generator)
        held = [low < 0 < high for _, low, high in (interval(row, torch.arange(n), 500) for row in drawn)]
        assert abs(100 * sum(held) / 500 - int(said)) < 5, n


def test_pictures_of_one_scene_do_not_count_as_independent():
    values, scene = torch.tensor([0.0, 1.0, 0.2, 0.7, 0.9]), torch.arange(5)
    assert interval(values, scene) == pytest.approx(interval(values.repeat(30), scene.repeat(30)))
    mean, low, high = interval(torch.rand(9), torch.zeros(9))
    assert low == mean == high


def truths(held_out):
    """The k-th scene in the k-th style."""
    return torch.cat(
        [world.apply_style(s, held_out.image[k : k + 1], held_out.seeds[k : k + 1]) for k, s in enumerate(world.STYLES)]
    )


@pytest.mark.parametrize("name", JUDGES)
def test_a_judge_that_guides_nothing_knows_styles_and_objects(name):
    held_out = scenes(12)
    assert style_accuracy(truths(held_out), list(world.STYLES), judge(name)).mean() >= 0.75
    assert style_accuracy(held_out.image, "photo", judge(name)).mean() >= 0.75
    assert object_accuracy(held_out.image, held_out.object, judge(name)).mean() > 2 / len(world.OBJECTS)
    assert object_accuracy(held_out.image, (held_out.object + 1) % 12, judge(name)).mean() < 0.5


def test_accuracy_is_whether_the_probability_is_the_largest():
    held_out = scenes(12)
    every = torch.stack([style_probability(held_out.image, s, judge("judge_a")) for s in ("photo", *world.STYLES)])
    torch.testing.assert_close(every.sum(0), torch.ones(12))
    first = style_accuracy(held_out.image, "photo", judge("judge_a"))
    assert torch.equal(first, (every.argmax(0) == 0).float())


def test_the_segmenter_finds_the_object_in_every_style_and_not_in_another_scene():
    held_out = scenes(12)
    found = mask_iou(truths(held_out), held_out.mask)
    assert found.mean() > 0.5 and found.mean() > 2 * mask_iou(truths(held_out), 1 - held_out.mask).mean()


def test_an_unknown_judge_is_refused():
    with pytest.raises(ValueError, match="no judge 'clip'; there are vgg, judge_a, judge_b"):
        judge("clip")


def test_the_judge_knows_true_styles_from_photographs():
    held_out = scenes(12)
    truth = truths(held_out)
    assert style_probability(truth, list(world.STYLES)).mean() > 0.8
    assert style_probability(held_out.image, list(world.STYLES)).mean() < 0.1
    assert style_probability(held_out.image, "photo").mean() > 0.8


def test_an_unknown_style_is_refused():
    with pytest.raises(ValueError, match="no style 'cubism'; there are photo, pencil"):
        style_probability(scenes(1).image, "cubism")


def test_a_judge_is_shown_a_large_picture_at_the_size_that_it_knows():
    scene = world.render(world.held_out_seeds(4, start=7000), size=256)
    truth = world.apply_style("pencil", scene.image, scene.seeds)
    small, mask = (torch.nn.functional.avg_pool2d(z, 4) for z in (truth, scene.mask))
    for name in JUDGES:
        said = style_probability(truth, "pencil", judge(name))
        torch.testing.assert_close(said, style_probability(small, "pencil", judge(name)))
        assert said.mean() > 0.8, "one of them finds half of this in the large pictures themselves"
    torch.testing.assert_close(mask_iou(truth, scene.mask), mask_iou(small, mask))
    assert as_judged(torch.zeros(1, 3, 128, 192)).shape == (1, 3, 64, 96)
    assert as_judged(torch.zeros(1, 3, 32, 48)).shape == (1, 3, 32, 48)


def boxes(*places):
    """White squares of 12 pixels on black."""
    picture = torch.full((1, 3, 64, 64), -1.0)
    for at in places:
        picture[..., at : at + 12, at : at + 12] = 1
    return picture


def test_an_edge_is_looked_for_both_ways_and_counts_within_one_pixel():
    assert edge_f1(boxes(8), boxes(8, 40)).item() == pytest.approx(2 / 3)    # precision 1, recall 1/2
    assert edge_f1(boxes(8, 40), boxes(8)).item() == pytest.approx(2 / 3)
    half = torch.full((3, 3, 64, 64), -1.0)
    for k in range(3):
        half[k, :, :, 21 + k :] = 1                                         # its edge is two pixels wide
    first = torch.full_like(half, -1.0)
    first[..., 20:] = 1
    assert edge_f1(first, half).tolist() == pytest.approx([1, 0.5, 0])      # moved by 1, 2 and 3 pixels


def test_colours_are_compared_in_eight_by_eight_cells():
    stripes = (torch.arange(64) // 8 % 2 * 2.0 - 1).expand(1, 3, 64, 64)
    assert colour_distance(stripes, -stripes).item() == pytest.approx(2)
    fine = (torch.arange(64) // 4 % 2 * 2.0 - 1).expand(1, 3, 64, 64)
    assert colour_distance(fine, -fine).item() == pytest.approx(0)
