"""The measures of style and content."""

import pytest
import torch

from zecon_lite.metrics import colour_distance, luminance, ssim, style_probability
from zecon_lite.tiny import world


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


def test_the_judge_knows_true_styles_from_photographs():
    held_out = scenes(12)
    truth = torch.cat(
        [world.apply_style(s, held_out.image[k : k + 1], held_out.seeds[k : k + 1]) for k, s in enumerate(world.STYLES)]
    )
    assert style_probability(truth, list(world.STYLES)).mean() > 0.8
    assert style_probability(held_out.image, list(world.STYLES)).mean() < 0.1
    assert style_probability(held_out.image, "photo").mean() > 0.8


def test_an_unknown_style_is_refused():
    with pytest.raises(ValueError, match="no style 'cubism'; there are photo, pencil"):
        style_probability(scenes(1).image, "cubism")
