"""The networks that judge, and how they are trained."""

import json

import pytest
import torch
from safetensors.torch import load_file

from zecon_lite.tiny import data, train, train_judges, world
from zecon_lite.tiny.judges import Segmenter, build_judge_a, build_judge_b, overlap

BUILDERS = {"judge_a": build_judge_a, "judge_b": build_judge_b, "segmenter": Segmenter}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """One even and one odd shard, small."""
    folder = tmp_path_factory.mktemp("shards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "SCENES_PER_SHARD", 40)
        data.main(["--shards", "2", "--folder", str(folder)])
    return folder


def test_overlap_counts_pixels():
    a = torch.zeros(3, 1, 4, 4)
    a[:, :, :2] = 1.0
    b = torch.zeros(3, 1, 4, 4)
    b[0, :, :2], b[1, :, 1:3] = 1.0, 1.0
    torch.testing.assert_close(overlap(a, b), torch.tensor([1.0, 4 / 12, 0.0]))
    assert overlap(b[2:], b[2:]).item() == 0, "two empty masks share nothing"


@pytest.mark.parametrize("build", [build_judge_a, build_judge_b])
def test_a_judge_answers_for_style_object_and_background(build):
    judge = build().eval()
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    assert [len(z[0]) for z in judge(images)] == [13, 12, 6]
    features = judge.features(images)
    torch.testing.assert_close(torch.cat(judge(images), 1), judge.head(features))


def test_the_judges_are_of_different_kinds():
    kinds = [{type(m) for m in build().body.modules()} for build in (build_judge_a, build_judge_b)]
    assert torch.nn.BatchNorm2d in kinds[0] - kinds[1] and torch.nn.AvgPool2d in kinds[0] - kinds[1]
    assert torch.nn.Linear in kinds[1] - kinds[0]


def test_a_mask_has_the_size_of_its_picture():
    assert Segmenter().eval()(torch.zeros(1, 3, 64, 72)).shape == (1, 1, 64, 72)


def test_the_judges_share_no_training_picture(shards):
    even, odd = data.Shards(shards, train_judges.EVEN), data.Shards(shards, train_judges.ODD)
    assert len(even.files) == len(odd.files) == 1 and not set(even.files) & set(odd.files)


def test_segmented_scenes_are_training_scenes_and_come_from_the_generator_alone():
    scenes = train_judges.MaskedScenes()
    (images, masks), again = (scenes.batch(8, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(images, again[0]) and torch.equal(masks, again[1])
    assert images.shape == (8, 3, 64, 64) and masks.shape == (8, 1, 64, 64) and masks.min() >= 0 and masks.max() <= 1
    assert 80 * data.SCENES_PER_SHARD <= train_judges.FIRST_SEGMENTED_SEED < world.FIRST_HELD_OUT_SEED


def test_spoiling_is_mild_and_moves_masks_with_their_pictures():
    scenes = world.render(range(32))
    mask = scenes.mask
    both = train_judges.spoiled(torch.cat([mask.expand(-1, 3, -1, -1), mask], 1), torch.Generator().manual_seed(0))
    picture, moved = both[:, :3].mean(1, keepdim=True), both[:, 3:]
    assert (overlap(picture, moved) > 0.75).float().mean() > 0.9, "picture and mask must stay on each other"
    assert (moved != mask).flatten(1).any(1).float().mean() > 0.3 and ((moved >= 0) & (moved <= 1)).all()
    change = (train_judges.spoiled(scenes.image, torch.Generator().manual_seed(0)) - scenes.image).square().mean()
    assert 0.001 < change < 0.1


@pytest.mark.parametrize("name", BUILDERS)
def test_every_judge_trains_publishes_and_resumes(shards, tmp_path, monkeypatch, name):
    monkeypatch.setattr(train, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(train, "CHECKPOINTS", tmp_path / "checkpoints")
    monkeypatch.setattr(train_judges, "SCORED", 13)
    arguments = [name, "--data", str(shards), "--batch", "8", "--device", "cpu", "--samples"]
    train.main([*arguments, "8"])
    train.main([*arguments, "16"])
    card = json.loads((tmp_path / "weights" / f"{name}.json").read_text())
    assert card["samples_seen"] in (8, 16) and card["scores"] and "guides nothing" in card["objective"]
    assert torch.load(tmp_path / "checkpoints" / f"{name}.pt", weights_only=True)["seen"] == 16
    BUILDERS[name]().load_state_dict(load_file(tmp_path / "weights" / f"{name}.safetensors"))


@pytest.mark.parametrize("name", BUILDERS)
def test_the_bundled_judges_have_a_card_and_are_small(name):
    path = train.WEIGHTS / f"{name}.safetensors"
    card = json.loads(path.with_suffix(".json").read_text())
    assert {"data", "samples_seen", "seconds", "seed", "scores", "licence", "objective", "parameters"} <= set(card)
    assert path.stat().st_size < 2**20
    BUILDERS[name]().load_state_dict(load_file(path))
