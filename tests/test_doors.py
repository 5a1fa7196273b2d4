"""What comes through a door that nobody meant: inference mode, whole numbers, letters of one text, other things."""

import json

import pytest
import torch
from PIL.PngImagePlugin import PngInfo

from zecon_lite import FINETUNE, colour, edit, images, load_models, metrics, rerun, stylize
from zecon_lite.cost import counted
from zecon_lite.finetune import finetune
from zecon_lite.losses import AttentionContrast
from zecon_lite.tiny import world

SHORT = {"steps": 4, "skip": 1}


@pytest.fixture(scope="module")
def scene():
    return world.render([3]).image


def test_a_page_in_inference_mode_can_guide_and_spoils_nothing(scene):
    models = load_models("tiny", "cpu")
    with torch.inference_mode():
        models.clip.image(scene)
        inside = stylize(scene * 1, "a mosaic", models=models, **SHORT).image
        edited = edit(scene * 1, "a car", "a house", models=models, iterations=2).image
    assert torch.equal(inside, stylize(scene, "a mosaic", models=models, **SHORT).image)
    assert torch.equal(edited, edit(scene, "a car", "a house", models=models, iterations=2).image)


def test_pictures_of_whole_numbers_are_refused_where_they_would_be_read_as_white(scene):
    whole = images.to_uint8(scene)
    for read in (images.to_uint8, images.to_pil, metrics.luminance, lambda x: metrics.style_accuracy(x, "mosaic")):
        with pytest.raises(ValueError, match=r"pictures are float in \[-1, 1\]; got torch.uint8: use images.from_unit"):
            read(whole)
    torch.testing.assert_close(images.from_unit(whole / 255), scene, atol=1 / 255, rtol=0)    # the cure that is named


def test_each_picture_has_one_style_and_one_object(scene):
    three = scene.expand(3, -1, -1, -1)
    for styles in (["pencil"], ["pencil", "oil"]):
        with pytest.raises(ValueError, match=rf"one style for all, or one for each: {len(styles)} styles for 3 pict"):
            metrics.style_probability(three, styles)
    with pytest.raises(ValueError, match=r"objects must be \(3,\), one for each picture; got \(1,\)"):
        metrics.object_accuracy(three, torch.tensor([1]))


def test_a_distance_of_nothing_is_not_the_best_one():
    with pytest.raises(ValueError, match="the features hold NaN or infinity"):
        metrics.frechet_distance(torch.full((5, 2), float("nan")), torch.randn(6, 2))
    a, b = (torch.randn(n, 1, generator=torch.Generator().manual_seed(n)) for n in (5, 6))
    wanted = (a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2    # of two Gaussians on a line
    assert metrics.frechet_distance(a, b) == pytest.approx(wanted.item(), rel=1e-5)


def test_colours_come_from_a_single_pixel_too(scene):
    matched = colour.match_colours(scene, torch.tensor([0.5, -0.5, 0.0]).view(1, 3, 1, 1))
    torch.testing.assert_close(matched.mean((2, 3)), torch.tensor([[0.5, -0.5, 0.0]]), atol=1e-2, rtol=0)


def test_one_text_is_one_text_and_no_row_of_letters():
    models = load_models("tiny", "cpu")
    assert torch.equal(models.clip.text("sea"), models.clip.text(["sea"]))
    assert torch.equal(models.clip.token_states("sea"), models.clip.token_states(["sea"]))
    assert torch.equal(models.latent.text("cat"), models.latent.text(["cat"]))
    assert models.latent.layers("up_blocks.1") == models.latent.layers(("up_blocks.1",))
    with pytest.raises(ValueError, match=r"layers must be a tuple of names; got 'up_blocks.1': write \("):
        AttentionContrast(layers="up_blocks.1")


@pytest.mark.parametrize(("asked", "said"), [
    ({"weights": {"zecon": "high"}}, "zecon must be a number; got 'high'"),
    ({"strength": "1"}, "strength must be a number; got '1'"),
    ({"batch": 2.0}, "batch must be a whole number, at least 1; got 2.0"),
    ({"prompt": 5}, "prompt must be a text such as"),
    ({"prompt": [5]}, r"prompt must be a text such as .* got \[5\]"),
    ({"prompt": ["a mosaic", None]}, "prompt must be a text such as"),
])
def test_stylize_says_what_it_wanted(scene, models, asked, said):
    with pytest.raises(ValueError, match=said):
        stylize(scene, **{"prompt": "a mosaic", "models": models, **asked})


def test_so_do_edit_and_finetune(scene, models, tmp_path):
    with pytest.raises(ValueError, match=r"iterations must be a whole number, at least 1; got 1\.5"):
        edit(scene, "a car", "a house", models=models, iterations=1.5)
    with pytest.raises(ValueError, match="score must be a number; got 'x'"):
        edit(scene, "a car", "a house", models=models, weights={"score": "x"})
    for name in ("epochs", "batch"):
        with pytest.raises(ValueError, match=f"{name} must be a whole number, at least 1; got 1.5"):
            type(FINETUNE)(**{name: 1.5})
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*: make it first"):    # not after an epoch
        finetune(scene, "a mosaic", models=models, checkpoint=tmp_path / "none" / "run.pt")
    with pytest.raises(ValueError, match="is a folder: give the name of a file"):           # which nobody shall delete
        finetune(scene, "a mosaic", models=models, checkpoint=tmp_path)


def test_a_picture_that_is_not_finite_says_so_before_its_colours_are_matched(scene, models):
    with pytest.raises(FloatingPointError, match="is not finite"):
        stylize(scene, None, style=scene.flip(3), recipe="diffuseit_image", models=models, steps=1, skip=0, returns=1,
                strength=1e39)


def test_a_network_is_counted_however_its_pictures_are_named(scene, models):
    with counted() as found:
        models.clip.image(images=scene)
    assert found["CLIP"] == [1, 0]
    with counted(), pytest.raises(TypeError, match="missing 1 required positional argument"):
        models.clip.image()


def test_settings_that_are_nested_without_end_are_damaged_settings(scene, tmp_path):
    settings = PngInfo()
    settings.add_text("software", "zecon_lite 0.1.0")
    settings.add_text("rerun", "[" * 200_000)
    images.to_pil(scene).save(tmp_path / "deep.png", pnginfo=settings)
    with pytest.raises(ValueError, match="are damaged: its line 'rerun' cannot be read"):
        rerun(tmp_path / "deep.png")


def test_a_rerun_is_given_pictures_and_no_more_than_it_reads(scene, models, tmp_path):
    (path,) = stylize(scene, "a mosaic", models=models, **SHORT).save(tmp_path / "made.png")
    assert json.loads(images.read_metadata(path)["rerun"])["by"] == "stylize"
    with pytest.raises(ValueError, match=r"source must be \(B, 3, H, W\) in \[-1, 1\]; got"):
        rerun(path, source=scene.numpy())
    with pytest.raises(ValueError, match="was made without a style picture: leave --style out"):
        rerun(path, source=scene, style=scene)
