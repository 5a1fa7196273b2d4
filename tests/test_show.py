"""Figures: what is drawn, how large, and that nothing global changes."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from zecon_lite import images, show


def png(figure):
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()


def drawn(figure):
    """The pictures of a figure, in reading order."""
    return [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_a_strip_shows_every_picture_with_its_title():
    batch = noise(3, 3, 8, 12)
    figure = show.strip(batch, ["a", "b", "c"])
    assert [ax.get_title() for ax in figure.axes] == ["a", "b", "c"]
    for array, picture in zip(drawn(figure), batch, strict=True):
        assert np.array_equal(array, images.to_uint8(picture).permute(1, 2, 0).numpy())


def test_a_strip_takes_a_list_of_single_pictures_of_different_sizes():
    figure = show.strip([noise(1, 3, 8, 8), noise(3, 16, 24)])
    assert [array.shape for array in drawn(figure)] == [(8, 8, 3), (16, 24, 3)]


def test_enlarged_pixels_stay_blocks():
    checks = torch.tensor([[-1.0, 1.0], [1.0, -1.0]]).expand(3, 2, 2)
    pixels = np.asarray(Image.open(io.BytesIO(png(show.strip([checks])))).convert("L"))
    assert np.isin(pixels, [0, 255]).mean() > 0.97    # no grey between black and white


def test_a_grid_has_row_and_column_titles_and_leaves_gaps_empty():
    figure = show.grid([noise(3, 3, 8, 8), noise(2, 3, 8, 8)], ["first", "second"], ["x", "y", "z"])
    assert len(figure.axes) == 6 and len(drawn(figure)) == 5
    assert [ax.get_title() for ax in figure.axes[:3]] == ["x", "y", "z"]
    assert [figure.axes[k].get_ylabel() for k in (0, 3)] == ["first", "second"]


def test_a_row_never_grows_wider_than_the_page_and_long_titles_break():
    figure = show.strip(noise(12, 3, 8, 8), ["a watercolour painting of a cat on a mat"] * 12)
    assert figure.get_figwidth() <= show.WIDTH + 1e-6
    assert "\n" in figure.axes[0].get_title()


def test_compare_puts_source_and_result_at_one_height():
    figure = show.compare(noise(1, 3, 30, 45), noise(1, 3, 8, 12))
    figure.draw_without_rendering()
    heights = [ax.get_window_extent().height for ax in figure.axes]
    assert [ax.get_title() for ax in figure.axes] == ["source", "result"]
    assert abs(heights[0] - heights[1]) < 1


def test_curves_differ_in_colour_and_dashes_and_have_a_legend():
    figure = show.curves({f"term {k}": torch.arange(5.0) + k for k in range(6)}, "step", "loss", log=True)
    (ax,) = figure.axes
    looks = {(line.get_color(), line.get_linestyle()) for line in ax.lines}
    assert len(looks) == 6 and len({colour for colour, _ in looks}) == 6
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [f"term {k}" for k in range(6)]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("step", "loss", "log")
    assert list(ax.lines[2].get_ydata()) == [2, 3, 4, 5, 6]


def test_one_curve_needs_no_legend_and_stands_where_x_says():
    (ax,) = show.curves({"loss": [3.0, 2.0]}, "step", "loss", x=[10, 20]).axes
    assert ax.get_legend() is None and list(ax.lines[0].get_xdata()) == [10, 20]


def test_pca_finds_the_directions_in_which_features_vary():
    colours = noise(3, 6, 5, seed=1) * torch.tensor([3.0, 2.0, 1.0])[:, None, None]
    colours = colours - colours.mean((1, 2), keepdim=True)
    mixed = torch.linalg.qr(noise(16, 16, seed=2))[0][:, :3]
    picture = show.pca(torch.einsum("ck,khw->chw", mixed, colours))
    assert picture.shape == (1, 3, 6, 5)
    torch.testing.assert_close(picture.abs().amax((2, 3)), torch.ones(1, 3))    # each colour uses its whole range
    basis = torch.linalg.svd(colours.flatten(1), full_matrices=False)[2]    # (3, 30): the same three components
    found = picture.flatten(2)[0]
    found = found / found.norm(dim=1, keepdim=True)
    torch.testing.assert_close((found @ basis.T).abs(), torch.eye(3), atol=1e-4, rtol=0)


def test_equal_features_get_equal_colours_and_the_same_map_the_same_picture():
    halves = torch.zeros(8, 4, 4)
    halves[:, :, 2:] = noise(8, seed=3)[:, None, None]
    picture = show.pca(halves[None])
    assert picture[..., :2].reshape(3, -1).std(1).max() < 1e-6 and picture[..., 2:].reshape(3, -1).std(1).max() < 1e-6
    assert (picture[..., 0] - picture[..., 3]).abs().max() > 0.5
    assert show.pca(halves).equal(picture)


def test_features_draws_one_picture_per_map():
    assert len(drawn(show.features([noise(8, 4, 4), noise(1, 16, 2, 2)], ["block 1", "block 2"]))) == 2
    assert len(drawn(show.features(noise(8, 4, 4)))) == 1


def test_figures_change_no_global_setting_and_stay_out_of_pyplot():
    import matplotlib
    import matplotlib.pyplot as plt

    before = dict(matplotlib.rcParams)
    show.strip(noise(2, 3, 8, 8))
    show.curves({"a": [1.0]}, "x", "y")
    assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == []    # or a notebook would show each figure twice


def test_figures_are_small_files_that_are_equal_each_time():
    small = [images.fit(images.photograph(name), 64) for name in images.PHOTOGRAPHS]
    first, second = (png(show.strip(small, list(images.PHOTOGRAPHS))) for _ in range(2))
    assert first == second and len(first) < 150_000
    assert len(png(show.compare(images.photograph("cat"), small[0]))) < 150_000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: show.strip([]), r"no picture to show: give a batch"),
        (lambda: show.strip(noise(2, 3, 8, 8), ["one"]), r"1 column titles for 2 columns: give one title for each"),
        (lambda: show.grid([noise(1, 3, 8, 8)], ["a", "b"]), r"2 row titles for 1 rows"),
        (lambda: show.strip([noise(2, 3, 8, 8)]), r"one picture must be .*; got \(2, 3, 8, 8\)"),
        (lambda: show.curves({}, "x", "y"), r"no curve to show: give \{name: values\}"),
        (lambda: show.pca(noise(2, 4, 4)), r"must be \(C, H, W\) with at least 3 channels; got \(2, 4, 4\)"),
        (lambda: show.pca(noise(2, 8, 4, 4)), r"must be \(C, H, W\).* got \(2, 8, 4, 4\)"),
    ],
)
def test_nothing_to_show_is_said_plainly(call, message):
    with pytest.raises(ValueError, match=message):
        call()
