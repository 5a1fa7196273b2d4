"""The style world: scenes from seeds, twelve styles, captions, and the split that keeps the evaluation honest."""

from __future__ import annotations

import pytest
import torch

from zecon_lite.tiny.world import (
    BACKGROUND_WORDS,
    BACKGROUNDS,
    HELD_OUT_PAIRS,
    OBJECT_WORDS,
    OBJECTS,
    STYLE_WORDS,
    STYLES,
    apply_style,
    caption,
    held_out_seeds,
    is_held_out,
    render,
    vocabulary,
)
from zecon_lite.tiny.world.captions import words

EVERY_OBJECT = list(range(len(OBJECTS)))
CLOSE = {"rtol": 0, "atol": 2e-5}  # batches of different sizes may round differently in the last bits


@pytest.fixture(scope="module")
def scenes():
    """Four scenes of every object, (48, 3, 64, 64)."""
    return render(range(48), objects=EVERY_OBJECT * 4)


@pytest.fixture(scope="module")
def styled(scenes):
    """The same scenes as photographs and in every style: name -> (48, 3, 64, 64)."""
    return {name: apply_style(name, scenes.image, scenes.seeds) for name in ("photo", *STYLES)}


# scenes


def test_the_same_seeds_give_the_same_pictures():
    first, second = render([3, 1_000_007], size=32), render([3, 1_000_007], size=32)
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.mask, second.mask)


def test_different_seeds_give_different_pictures(scenes):
    pictures = scenes.image.flatten(1)
    gaps = torch.cdist(pictures, pictures) / pictures.shape[1] ** 0.5
    assert gaps[~torch.eye(48, dtype=torch.bool)].min() > 0.05


def test_a_scene_does_not_depend_on_its_neighbours():
    together = render(range(20))
    for seed in (0, 7, 19):
        alone = render([seed])
        torch.testing.assert_close(alone.image[0], together.image[seed], **CLOSE)
        torch.testing.assert_close(alone.mask[0], together.mask[seed], **CLOSE)


def test_rendering_ignores_and_leaves_alone_the_global_random_state():
    torch.manual_seed(1)
    first, after_first = render([5], size=32).image, torch.get_rng_state()
    torch.manual_seed(2)
    torch.testing.assert_close(render([5], size=32).image, first)
    torch.manual_seed(1)
    assert torch.equal(after_first, torch.get_rng_state())


@pytest.mark.parametrize("size", [64, 96, 128])
def test_shapes_and_ranges_hold_at_every_size(size):
    scenes = render(range(6), size=size)
    assert scenes.image.shape == (6, 3, size, size) and scenes.mask.shape == (6, 1, size, size)
    assert scenes.image.min() >= -1 and scenes.image.max() <= 1 and scenes.image.std() > 0.2
    assert scenes.mask.min() >= 0 and scenes.mask.max() <= 1
    assert scenes.object.shape == scenes.background.shape == scenes.seeds.shape == (6,)
    assert len(scenes) == 6
    for name in STYLES:
        picture = apply_style(name, scenes.image[:2], [0, 1])
        assert picture.shape == (2, 3, size, size)
        assert picture.isfinite().all() and picture.min() >= -1 and picture.max() <= 1


def test_a_scene_is_the_same_at_every_size():
    small = render(range(12), size=64).image
    large = torch.nn.functional.avg_pool2d(render(range(12), size=128).image, 2)
    assert (small - large).abs().mean() < 0.02


def test_the_mask_covers_a_large_main_object(scenes):
    inside = scenes.mask > 0.5
    share = inside.float().mean((1, 2, 3))
    height = inside.any(3).sum(2).float().view(-1) / 64
    assert share.min() > 0.06 and share.max() < 0.65
    assert height.min() > 0.35 and height.max() < 0.95


def test_replacing_the_object_changes_the_picture_only_around_the_object():
    house, apple = render(range(8), objects=[0] * 8), render(range(8), objects=[11] * 8)
    changed = (house.image - apple.image).abs().amax(1, keepdim=True)
    either = torch.maximum(house.mask, apple.mask)
    far = torch.nn.functional.max_pool2d(either, 25, stride=1, padding=12) < 0.01  # contact shadows lie near the object
    assert far.any()
    assert changed[either > 0.9].mean() > 0.2 > 0.02 > changed[far].mean()


def test_every_object_and_every_background_occurs():
    scenes = render(range(300), size=16)
    assert set(scenes.object.tolist()) == set(range(len(OBJECTS)))
    assert set(scenes.background.tolist()) == set(range(len(BACKGROUNDS)))


def test_an_empty_batch_stays_empty():
    scenes = render([])
    assert scenes.image.shape == (0, 3, 64, 64)
    assert apply_style("oil", scenes.image, []).shape == (0, 3, 64, 64)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_renders_the_same_pictures():
    here, there = render(range(24)), render(range(24), device="cuda")
    torch.testing.assert_close(there.image.cpu(), here.image, rtol=0, atol=1e-3)
    for name in STYLES:  # a cell border may fall on the other side of a pixel, so compare means
        gap = apply_style(name, there.image, there.seeds).cpu() - apply_style(name, here.image, here.seeds)
        assert gap.abs().mean() < 2e-3, name


# styles


def test_photo_is_the_picture_itself(scenes):
    assert torch.equal(apply_style("photo", scenes.image, scenes.seeds), scenes.image)


@pytest.mark.parametrize("name", STYLES)
def test_a_styled_picture_does_not_depend_on_its_neighbours(name, scenes, styled):
    alone = apply_style(name, scenes.image[7:8], scenes.seeds[7:8])
    torch.testing.assert_close(alone[0], styled[name][7], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", STYLES)
def test_every_style_changes_the_picture_and_leaves_its_input_alone(name, scenes, styled):
    before = scenes.image.clone()
    apply_style(name, scenes.image, scenes.seeds)
    assert torch.equal(before, scenes.image)
    assert (styled[name] - scenes.image).abs().mean((1, 2, 3)).min() > 0.06


def test_the_seed_moves_the_pattern(scenes):
    for name in set(STYLES) - {"pixel"}:  # the blocks of pixel art are aligned with the picture
        first, second = apply_style(name, scenes.image[:4], 0), apply_style(name, scenes.image[:4], 1)
        assert (first - second).abs().mean() > 0.005, name


def test_styles_are_told_apart_by_simple_statistics(styled):
    """A nearest-mean classifier on colours and edges, fitted to every other scene, names the style of the rest."""
    names = list(styled)
    features = torch.stack([_statistics(styled[name]) for name in names])  # (styles, scenes, features)
    scale = features.flatten(0, 1).std(0)
    means = features[:, ::2].mean(1) / scale
    guess = torch.cdist(features[:, 1::2] / scale, means.expand(len(names), -1, -1)).argmin(-1)
    right = (guess == torch.arange(len(names)).view(-1, 1)).float().mean(1)
    assert right.mean() > 0.85, dict(zip(names, right.tolist(), strict=True))
    assert right.min() > 0.5, dict(zip(names, right.tolist(), strict=True))


@pytest.mark.parametrize("name", STYLES)
def test_the_object_shows_in_every_style(name, scenes, styled):
    """Another object in the same scene, with the same pattern, changes the styled picture where the objects are."""
    others = render(scenes.seeds, objects=(scenes.object + 5) % len(OBJECTS))
    changed = (apply_style(name, others.image, others.seeds) - styled[name]).abs().mean(1, keepdim=True)
    inside = torch.maximum(scenes.mask, others.mask) > 0.5
    assert changed[inside].mean() > 0.15
    assert changed[inside].mean() > 2 * changed[~inside].mean()


def test_an_unknown_style_is_answered_with_the_nearest_names():
    with pytest.raises(ValueError, match=r"unknown style 'mosiac': did you mean mosaic.*the styles are pencil"):
        apply_style("mosiac", torch.zeros(1, 3, 64, 64), 0)


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 64, 64, 3), (1, 1, 64, 64)])
def test_a_picture_of_the_wrong_shape_is_named_in_the_message(shape):
    with pytest.raises(ValueError, match=r"image must be float \(B, 3, H, W\) in \[-1, 1\]; got .*64"):
        apply_style("oil", torch.zeros(shape), 0)


def test_integer_pictures_and_missing_seeds_are_refused():
    with pytest.raises(ValueError, match=r"got torch.uint8"):
        apply_style("oil", torch.zeros(1, 3, 64, 64, dtype=torch.uint8), 0)
    with pytest.raises(ValueError, match=r"one integer >= 0 per picture; got 3 for 2"):
        apply_style("oil", torch.zeros(2, 3, 64, 64), [1, 2, 3])


def test_bad_seeds_sizes_and_objects_are_refused():
    with pytest.raises(ValueError, match=r"seeds must be integers >= 0; got -4"):
        render([1, -4])
    with pytest.raises(ValueError, match=r"size must be at least 16"):
        render([1], size=8)
    with pytest.raises(ValueError, match=r"objects must be 2 positions in 0..11"):
        render([1, 2], objects=[0])
    with pytest.raises(ValueError, match=r"objects must be 1 positions in 0..11.*got \[12\]"):
        render([1], objects=[12])


# the split


def test_held_out_seeds_never_meet_training_seeds():
    assert held_out_seeds(3) == [1_000_000, 1_000_001, 1_000_002]
    assert held_out_seeds(2, start=10) == [1_000_010, 1_000_011]
    assert min(held_out_seeds(500)) >= 1_000_000


def test_every_style_and_every_object_loses_two_partners_and_photos_none():
    assert len(HELD_OUT_PAIRS) == 24
    for style in STYLES:
        assert sum(is_held_out(style, name) for name in OBJECTS) == 2
    for index, name in enumerate(OBJECTS):
        assert sum(is_held_out(style, index) for style in STYLES) == 2
        assert not is_held_out("photo", name)


def test_a_pair_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"style 'neon', object 'dragon'; the styles are .* the objects are house"):
        is_held_out("neon", "dragon")


# captions


def test_captions_name_only_what_they_claim():
    generator = torch.Generator().manual_seed(0)
    attributes = ("crayon", "cat", "sea")
    phrases = (STYLE_WORDS["crayon"], OBJECT_WORDS["cat"], BACKGROUND_WORDS["sea"])
    for _ in range(500):
        text, names = caption(*attributes, generator)
        padded = f" {text.replace(',', '')} "
        said = tuple(any(f" {phrase} " in padded for phrase in group) for group in phrases)
        assert said == names, text
        assert any(names), text


def test_captions_keep_their_shares_and_come_from_the_generator_alone():
    series = [[caption("oil", "fish", "snow", g) for _ in range(2000)] for g in _generators(5, 5)]
    assert series[0] == series[1]
    style_only = sum(names == (True, False, False) for _, names in series[0]) / 2000
    content_only = sum(not names[0] for _, names in series[0]) / 2000
    assert abs(style_only - 0.25) < 0.03 and abs(content_only - 0.35) < 0.035


def test_every_caption_word_is_in_the_vocabulary():
    known, generator = set(vocabulary()), torch.Generator().manual_seed(1)
    for style in STYLE_WORDS:
        for k, name in enumerate(OBJECTS * 3):
            text, _ = caption(style, name, BACKGROUNDS[k % len(BACKGROUNDS)], generator)
            assert set(words(text)) <= known, text


@pytest.mark.parametrize(
    "prompt",
    [
        "a pencil sketch", "watercolor painting", "stained glass", "a sketch with crayon", "mosaic", "neon lights",
        "pixel art", "comic book", "oil painting of flowers", "portrait", "pop art", "a photo", "a blueprint drawing",
    ],
)  # fmt: skip
def test_the_prompts_of_the_book_are_made_of_known_words(prompt):
    assert set(words(prompt)) <= set(vocabulary())


def test_vocabulary_is_sorted_unique_and_small():
    known = vocabulary()
    assert known == sorted(set(known)) and len(known) < 256
    assert all(word == word.lower() and " " not in word for word in known)


def test_names_and_captions_speak_of_the_same_things():
    assert set(STYLE_WORDS) == {"photo", *STYLES} and len(STYLES) == len(OBJECTS) == 12
    assert tuple(OBJECT_WORDS) == OBJECTS and tuple(BACKGROUND_WORDS) == BACKGROUNDS
    for group in (STYLE_WORDS, OBJECT_WORDS):  # no phrase means two things
        phrases = [phrase for options in group.values() for phrase in options]
        assert len(phrases) == len(set(phrases))


def _statistics(picture: torch.Tensor) -> torch.Tensor:
    """Colour means and spreads, and how much changes along x, y and both diagonals over 1 and 2 pixels, (B, 15)."""
    steps = [(0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0), (2, 2), (2, -2)]
    changes = [(picture - picture.roll(step, (2, 3))).abs().mean((1, 2, 3)) for step in steps]
    colorful = (picture.amax(1) - picture.amin(1)).mean((1, 2))
    return torch.cat([picture.mean((2, 3)), picture.std((2, 3)), torch.stack([*changes, colorful], 1)], 1)


def _generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]
