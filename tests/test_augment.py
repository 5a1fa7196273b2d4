"""Views: geometry, what was recorded from the released pipeline, and the distributions of its random numbers."""

import pytest
import torch
import torch.nn.functional as F
from golden import draw, load
from torch.testing import assert_close

from zecon_lite.augment import (
    Views,
    affine_matrices,
    coverage,
    crop_boxes,
    move,
    perspective_matrices,
    pixel_grid,
    quadrant_boxes,
    random_jitter,
    read,
)

RECORDED = {name: torch.from_numpy(array) for name, array in load("zecon/augment.npz").items()}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(*shape, seed=1):
    return torch.rand(shape, generator=seeded(seed), dtype=torch.float64) * 2 - 1


def ks_distance(a, b):
    """The largest distance between the empirical distribution functions of two samples (Kolmogorov-Smirnov)."""
    a, b = a.double().sort().values, b.double().sort().values
    both = torch.cat([a, b])
    below = [torch.searchsorted(s, both, right=True) / len(s) for s in (a, b)]
    return (below[0] - below[1]).abs().max().item()


# ------------------------------------------------------------------------------------------------------- geometry


def test_a_wide_picture_is_shrunk_by_averaging_too():
    wide = pictures(1, 3, 40, 96)
    assert_close(Views(1, area=None, jitter=0)(wide, 16), F.adaptive_avg_pool2d(wide, 16))


def test_reading_a_picture_at_its_own_pixels_gives_it_back():
    picture = pictures(2, 3, 16, 16)
    assert_close(read(picture, pixel_grid(16)[None])[:, 0], picture)


def test_points_are_x_then_y():
    picture = torch.arange(5.0)[None, None, :, None] * 10 + torch.arange(7.0)
    point = torch.tensor([[[[6.0, 2.0]]]])                                  # x = 6, y = 2
    assert_close(read(picture, point).item(), 26.0)


def test_points_beyond_the_picture_take_its_nearest_edge():
    picture = pictures(1, 3, 8, 8).float()
    points = torch.tensor([[[[-5.0, 3.0], [20.0, 20.0]]]])
    assert_close(read(picture, points)[0, 0, :, 0], torch.stack([picture[0, :, 3, 0], picture[0, :, 7, 7]], dim=1))


def test_a_quarter_turn_is_clockwise_and_exact():
    picture = pictures(1, 3, 9, 9)
    quarter = affine_matrices(torch.tensor([90.0], dtype=torch.float64), torch.zeros(1, dtype=torch.float64), 9)
    turned = read(picture, move(pixel_grid(9)[None], quarter))[:, 0]
    assert_close(turned, picture.rot90(-1, (2, 3)))                         # rot90 counts counter-clockwise


def test_a_shift_moves_the_picture_down():
    picture = pictures(1, 3, 9, 9)
    two_rows = torch.tensor([2.0 * 8 / 9], dtype=torch.float64)             # kornia stretches shifts by 9/8
    shifted = read(picture, move(pixel_grid(9)[None], affine_matrices(torch.zeros_like(two_rows), two_rows, 9)))[:, 0]
    assert_close(shifted[..., 2:, :], picture[..., :-2, :])


def test_a_perspective_brings_each_dragged_corner_back():
    corners = torch.tensor([[[3.0, 5.0], [28.0, 1.0], [30.0, 25.0], [2.0, 29.0]]], dtype=torch.float64)
    back = move(corners[:, None], perspective_matrices(corners, 32))[:, 0]
    original = torch.tensor([[[0, 0], [31, 0], [31, 31], [0, 31]]], dtype=torch.float64)
    assert_close(back, original * 32 / 31 - 0.5)                            # kornia's stretch and half pixel


def test_coverage_falls_from_one_to_zero_over_one_pixel():
    x = torch.tensor([-1.0, -0.5, 0.0, 3.0, 7.0, 7.75, 8.0])
    points = torch.stack([x, torch.full_like(x, 4)], dim=-1)[None, None]
    assert_close(coverage(points, 8)[0, 0], torch.tensor([0, 0.5, 1, 1, 1, 0.25, 0]))


# ------------------------------------------------------------------------------------------ the recorded transforms

def test_the_affine_agrees_with_the_released_one():
    matrix = affine_matrices(RECORDED["affine_angle"].double(), RECORDED["affine_translations"][:, 1].double(), 64)
    ours = read(RECORDED["x"].double(), move(pixel_grid(64)[None], matrix))[:, 0]
    assert_close(ours.float(), RECORDED["affine_out"], atol=3e-5, rtol=0)   # it was computed in float32


def test_the_perspective_agrees_with_the_released_one():
    points = move(pixel_grid(64)[None], perspective_matrices(RECORDED["persp_end"], 64))
    ours = read(RECORDED["affine_out"].double(), points)[:, 0] * coverage(points, 64)
    assert_close(ours.float(), RECORDED["persp_out"], atol=3e-5, rtol=0)
    assert (RECORDED["persp_out"] == 0).float().mean() > 0.3                # much of a tilted view is grey


def test_a_crop_agrees_with_the_released_one():
    low, high = RECORDED["crop_src_corners"][0, [0, 2]].double()
    points = low + pixel_grid(128)[None] * (high - low) / 127
    assert_close(read(RECORDED["x"].double(), points)[:, 0, :1].float(), RECORDED["crop_out"], atol=1e-5, rtol=0)


def test_a_whole_picture_is_shrunk_by_averaging_as_in_the_released_code():
    noise = torch.from_numpy(draw(132, 1, 1, 256, 256)).double()
    view = Views(1, area=None, jitter=0)(noise, 224)
    distance = (view[0, 0].float() - RECORDED["pool256_to_224_row"]).abs().amax(dim=1)    # one row was recorded
    assert distance.min() < 2e-6


def test_an_enlarged_view_lies_within_a_pixel_of_the_released_repetition():
    row = RECORDED["pool_in_1x1x128"].double()
    view = Views(1, area=None, jitter=0)(row.expand(1, 1, 128, 128), 224)[0, 0, 0]
    step = row.diff().abs().max().item()
    assert (view.float() - RECORDED["pool128_to_224_row"]).abs().max() <= step


def test_turn_and_tilt_are_drawn_from_the_released_distributions():
    side, n = 256, 4000
    turn, tilt = random_jitter(n, side, seeded())
    angle = torch.atan2(turn[:, 0, 1], turn[:, 0, 0]).rad2deg()
    centre = torch.full((n, 1, 1, 2), (side - 1) / 2, dtype=torch.float64)
    moved = (move(centre, turn) - centre)[:, 0, 0]                          # R^-1 (-shift)
    shift = -moved[:, 1] / angle.deg2rad().cos() * (side - 1) / side
    assert_close(moved[:, 0], moved[:, 1] * angle.deg2rad().tan())          # the shift is vertical only
    even = (torch.arange(n) + 0.5) / n
    assert ks_distance(angle, even * 30 - 15) < 0.025
    assert ks_distance(shift, (even * 0.2 - 0.1) * side) < 0.025
    assert ks_distance(shift, RECORDED["affine_translations_200_samples_256px"][:, 1]) < 0.1
    # Where did the corners go? Undo the tilt: its inverse carries the picture's corners to the view's.
    corners = torch.tensor([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=torch.float64) * (side - 1) * side / (side - 1) - 0.5
    went = move(corners.expand(n, 1, 4, 2), torch.linalg.inv(tilt))[:, 0]
    square = torch.tensor([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=torch.float64) * (side - 1)
    inward = (went - square).abs() / side
    assert ((went - square) * torch.tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]]) > -1e-6).all()
    for k in range(4):
        for axis in range(2):
            assert ks_distance(inward[:, k, axis], even * 0.35) < 0.03


def test_crop_sizes_are_drawn_from_the_released_distribution():
    boxes = crop_boxes(4000, 256, 256, (0.01, 0.3), seeded())
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    recorded = RECORDED["crop_wh_400_samples_256px"]
    for axis in range(2):
        assert ks_distance(sides[:, axis], recorded[:, axis]) < 0.07
    assert ks_distance(sides.log().diff(dim=1)[:, 0], recorded.log().diff(dim=1)[:, 0]) < 0.07    # the aspect ratio
    assert ks_distance(sides.prod(1), recorded.prod(1)) < 0.07                                    # the area


# ----------------------------------------------------------------------------------------------------------- boxes

@pytest.mark.parametrize("rule", [crop_boxes, quadrant_boxes])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 256), (200, 50), (8, 8)])
def test_boxes_lie_inside_the_picture(rule, height, width):
    x0, y0, x1, y1 = rule(500, height, width, (0.05, 0.9), seeded()).unbind(1)
    assert (x0 >= 0).all() and (y0 >= 0).all() and (x0 <= x1).all() and (y0 <= y1).all()
    assert (x1 <= width - 1).all() and (y1 <= height - 1).all()


def test_crops_reach_both_ends_of_the_picture():
    boxes = crop_boxes(2000, 32, 32, (0.2, 0.5), seeded())
    assert boxes.amin(0)[:2].tolist() == [0, 0] and boxes.amax(0)[2:].tolist() == [31, 31]
    assert (boxes == boxes.round()).all()


def test_crops_of_few_pixels_keep_their_area_on_average():
    boxes = crop_boxes(4000, 16, 16, (0.25, 0.25), seeded())               # 8 pixels a side, more or less
    assert_close((boxes[:, 2:] - boxes[:, :2] + 1).prod(1).mean().item(), 64.0, atol=1, rtol=0)


def test_a_crop_that_cannot_fit_becomes_the_whole_picture():
    boxes = crop_boxes(5, 8, 800, (0.9, 0.9), seeded())                     # never nearly square and this large
    assert_close(boxes, torch.tensor([0, 0, 799, 7]).double().expand(5, 4))


def test_quadrant_boxes_visit_each_quadrant_and_end_with_almost_everything():
    boxes = quadrant_boxes(5, 64, 64, (0.09, 0.3), seeded(3))
    x, y = (boxes[:4, :2] + boxes[:4, 2:]).T / 2
    assert (x < 31.5).tolist() == [True, False, True, False]
    assert (y < 31.5).tolist() == [True, True, False, False]
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    assert (sides[:4] >= 0.3 * 64).all() and (sides[:4] <= 0.3**0.5 * 64).all()
    assert (sides[4] >= 0.9 * 64).all()


def test_quadrant_boxes_cover_a_picture_more_evenly_than_random_ones():
    def unevenness(rule):
        seen = torch.zeros(64, 64)
        generator = seeded()
        for _ in range(40):
            for x0, y0, x1, y1 in rule(5, 64, 64, (0.09, 0.3), generator).round().int().tolist():
                seen[y0 : y1 + 1, x0 : x1 + 1] += 1
        return (seen.std() / seen.mean()).item()

    assert unevenness(quadrant_boxes) < 0.75 * unevenness(crop_boxes)


# ----------------------------------------------------------------------------------------------------------- views

ALL_VIEWS = [
    Views(4), Views(4, area=None), Views(4, stratified=True, jitter=0.3), Views(1, area=(0.01, 0.05), jitter=0),
]


@pytest.mark.parametrize("views", ALL_VIEWS, ids=str)
@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 96)])
def test_views_have_their_shape_and_stay_in_range(views, height, width):
    seen = views(pictures(2, 3, height, width), 32, seeded())
    assert seen.shape == (2 * views.count, 3, 32, 32)
    assert seen.abs().max() <= 1 + 1e-12


@pytest.mark.parametrize("views", ALL_VIEWS, ids=str)
def test_a_picture_gets_the_same_views_alone_and_in_a_batch(views):
    batch = pictures(3, 3, 40, 40)
    together = views(batch, 24, seeded())
    alone = torch.cat([views(picture[None], 24, seeded()) for picture in batch])
    assert_close(together, alone, atol=0, rtol=0)


def test_another_seed_gives_other_views_and_the_global_generator_is_left_alone():
    picture, before = pictures(1, 3, 40, 40), torch.get_rng_state()
    first, again, other = (Views(3)(picture, 24, seeded(s)) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.allclose(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_one_whole_view_without_jitter_is_the_picture():
    picture = pictures(1, 3, 32, 32)
    assert_close(Views(1, area=None, jitter=0)(picture, 32), picture)


def test_views_are_linear_in_the_picture_and_their_gradient_is_the_transpose():
    views = Views(3)
    a = pictures(1, 3, 20, 20).requires_grad_()
    b, weights = pictures(1, 3, 20, 20, seed=2), pictures(3, 3, 16, 16, seed=3)
    (grad,) = torch.autograd.grad((views(a, 16, seeded()) * weights).sum(), a)
    assert_close((grad * b).sum(), (views(b, 16, seeded()) * weights).sum())


def test_a_coarse_view_sees_every_pixel_of_a_large_picture():
    picture = pictures(1, 3, 200, 200).requires_grad_()
    (grad,) = torch.autograd.grad(Views(1, area=None, jitter=0)(picture, 16).sum(), picture)
    assert (grad != 0).all()


def test_composed_transforms_equal_the_separate_ones_up_to_resampling():
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    smooth = torch.stack([x * y, x.sin(), (2 * y).cos()])[None].double()    # resampling hardly changes it
    composed = Views(2, area=None)(smooth, 64, seeded(5))
    turn, tilt = random_jitter(2, 64, seeded(5))
    grid = pixel_grid(64).expand(2, 64, 64, 2)
    for k in range(2):
        turned = read(smooth, move(grid[:1], turn[k : k + 1]))[:, 0]
        points = move(grid[:1], tilt[k : k + 1])
        tilted = read(turned, points)[:, 0] * coverage(points, 64)
        apart = (composed[k : k + 1] - tilted).abs()
        assert (apart > 2e-3).float().mean() < 0.005 and apart.max() < 0.02    # the few lie where an edge is repeated


def test_what_a_tilted_view_does_not_show_is_grey():
    seen = Views(8, area=None)(torch.ones(1, 3, 32, 32), 32, seeded())
    assert (seen == 0).float().mean() > 0.2 and (seen.amax((1, 2, 3)) > 0.999).all()


def test_a_turned_crop_repeats_its_edge_and_shows_nothing_from_beyond():
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    picture = torch.stack([x, y, torch.ones_like(x)])[None].double()
    views, boxes = Views(16, area=(0.05, 0.1))(picture, 32, seeded(5)), crop_boxes(16, 64, 64, (0.05, 0.1), seeded(5))
    for view, box in zip(views, boxes, strict=True):
        places = view[:2, view[2] == 1]                                    # where the third channel is whole
        assert (places.amin(1) > box[:2] - 1e-9).all() and (places.amax(1) < box[2:] + 1e-9).all()


def test_less_jitter_is_nearer_to_the_crop():
    picture = pictures(1, 3, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    plain = Views(8, area=None, jitter=0)(picture, 32)
    distance = [(Views(8, area=None, jitter=j)(picture, 32, seeded()) - plain).abs().mean() for j in (0.05, 0.3, 1)]
    assert 0 < distance[0] < distance[1] < distance[2]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"count": 0}, "count is the number of views, at least 1; got 0"),
        ({"area": (0.5, 0.2)}, r"0 < from <= to <= 1, or None; got \(0.5, 0.2\)"),
        ({"area": (0.1, 30)}, r"area must be two parts of the picture"),
        ({"jitter": 15}, "jitter must be from 0 .* to 1 .*; got 15"),
    ],
)
def test_wrong_views_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Views(**wrong)
