"""The training scripts: a few seconds of each, interrupted and resumed."""

import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from zecon_lite import load_models, lookalikes
from zecon_lite.tiny import data, train, world
from zecon_lite.tiny.networks import VGGClassifier, build_clip, build_unet


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    data.main(["--shards", "1", "--folder", str(folder)])
    return folder


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(train, "CHECKPOINTS", tmp_path / "checkpoints")
    return tmp_path


def test_shards_hold_training_scenes_only_and_no_held_out_pair(shards):
    found = data.Shards(shards)
    style, objects, backgrounds = found.labels
    names = list(world.STYLES)
    pairs = {
        (names[s - 1], world.OBJECTS[o]) for s, o in zip(style.tolist(), objects.tolist(), strict=True) if s and o >= 0
    }
    assert pairs and not pairs & world.HELD_OUT_PAIRS
    assert set(style.tolist()) == set(range(len(names) + 1)) and backgrounds.max() < len(world.BACKGROUNDS)
    assert (objects == data.UNNAMED).sum() == data.PHOTO_CROPS_PER_SHARD * (1 + data.STYLED_PER_SCENE)


def test_a_shard_is_rendered_once_and_is_the_same_again(shards):
    before = (shards / "shard_0000.npz").stat().st_mtime_ns
    data.main(["--shards", "1", "--folder", str(shards)])
    assert (shards / "shard_0000.npz").stat().st_mtime_ns == before
    assert (data.shard(0)["images"] == data.Shards(shards).images.numpy()).all()


def test_a_batch_is_drawn_from_its_generator_alone(shards):
    found = data.Shards(shards)
    first, second = (found.batch(8, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert first[0].shape == (8, 3, 64, 64) and first[0].abs().max() <= 1
    assert (found.batch(64, torch.Generator(), photos=1.0)[1][0] == 0).all()


def test_no_shards_says_how_to_make_some(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"python -m zecon_lite\.tiny\.data"):
        data.Shards(tmp_path)


@pytest.mark.parametrize("name", ["unet", "clip", "vgg"])
def test_every_network_trains_publishes_and_resumes(shards, places, monkeypatch, name):
    held_out = train.held_out
    monkeypatch.setattr(train, "held_out", lambda n: held_out(n // 20))    # scoring is not what is tested
    arguments = [name, "--data", str(shards), "--batch", "16", "--device", "cpu", "--samples"]
    train.main([*arguments, "64"])
    card = json.loads((places / "weights" / f"{name}.json").read_text())
    assert card["samples_seen"] == 64 and card["seed"] == 0 and card["scores"] and card["licence"]
    checkpoint = torch.load(places / "checkpoints" / f"{name}.pt", weights_only=True)
    train.main([*arguments, "96"])
    resumed = torch.load(places / "checkpoints" / f"{name}.pt", weights_only=True)
    assert resumed["seen"] == 96 and resumed["log"][: len(checkpoint["log"])] == checkpoint["log"]
    weights = load_file(places / "weights" / f"{name}.safetensors")
    network = {"unet": build_unet, "clip": lambda: build_clip(len(card["vocabulary"]) + 4), "vgg": VGGClassifier}[
        name
    ]()
    network.load_state_dict(weights)
    assert all(v.dtype == torch.float16 for v in weights.values() if v.is_floating_point())


def test_training_goes_on_from_committed_weights_when_no_checkpoint_is_left(shards, places):
    arguments = ["vgg", "--data", str(shards), "--batch", "16", "--device", "cpu", "--samples"]
    train.main([*arguments, "64"])
    before = load_file(places / "weights" / "vgg.safetensors")
    (places / "checkpoints" / "vgg.pt").unlink()
    train.main([*arguments, "65", "--rate", "0"])  # one step at rate 0: the weights must come back
    after = torch.load(places / "checkpoints" / "vgg.pt", weights_only=True)
    assert after["seen"] == 80 and after["begun"] == 64, "the average follows what this run adds"
    torch.testing.assert_close(after["network"]["head.weight"].half(), before["head.weight"], rtol=2e-3, atol=1e-4)


def test_a_budget_that_is_used_up_is_said_and_a_run_from_nothing_begins_at_nothing(shards, places, capsys):
    arguments = ["vgg", "--data", str(shards), "--batch", "16", "--device", "cpu", "--samples"]
    train.main([*arguments, "64"])
    (places / "checkpoints" / "vgg.pt").unlink()
    with pytest.raises(SystemExit) as told:
        train.main([*arguments, "64"])
    assert told.value.code == 2 and "vgg has seen 64 samples, and 64 are asked for" in capsys.readouterr().err
    train.main([*arguments, "32", "--anew", "--seed", "3"])
    after = torch.load(places / "checkpoints" / "vgg.pt", weights_only=True)
    assert (after["seen"], after["begun"]) == (32, 0)
    assert after["runs"] == [{"samples_seen": 32, "seed": 3, "batch": 16, "device": "CPU"}]


def test_a_card_tells_every_run(shards, places):
    arguments = ["vgg", "--data", str(shards), "--device", "cpu", "--batch"]
    train.main([*arguments, "16", "--samples", "64"])
    path = places / "weights" / "vgg.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps({**card, "scores": {"mean": -1.0}}))    # anything is better
    (places / "checkpoints" / "vgg.pt").unlink()
    train.main([*arguments, "8", "--samples", "80", "--seed", "5"])
    told = json.loads(path.read_text())
    assert [(run["samples_seen"], run["batch"], run["seed"]) for run in told["runs"]] == [(64, 16, 0), (80, 8, 5)]
    assert (told["samples_seen"], told["seed"]) == (80, 5) and told["loss_log"][:1] == card["loss_log"][:1]


def test_weights_that_score_worse_are_not_kept(shards, places, capsys):
    arguments = ["vgg", "--data", str(shards), "--batch", "16", "--device", "cpu", "--samples"]
    train.main([*arguments, "64"])
    card = places / "weights" / "vgg.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "scores": {"mean": 2.0}}))
    before = (places / "weights" / "vgg.safetensors").read_bytes()
    train.main([*arguments, "80"])
    assert "does not beat" in capsys.readouterr().out
    assert (places / "weights" / "vgg.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", ["unet", "clip", "vgg"])
def test_the_bundled_weights_have_a_card_and_are_small(name):
    path = train.WEIGHTS / f"{name}.safetensors"
    card = json.loads(path.with_suffix(".json").read_text())
    assert {"data", "samples_seen", "seconds", "seed", "scores", "licence", "objective", "parameters"} <= set(card)
    assert card["scores"] and card["samples_seen"] > 100_000
    assert path.stat().st_size < 16 * 2**20
    assert sum(v.numel() for v in load_file(path).values()) >= card["parameters"]


def test_what_the_split_hides_is_no_evidence_against_an_object():
    draws = torch.Generator().manual_seed(0)
    outputs = [torch.randn(6, n, generator=draws, requires_grad=True) for n in (13, 12, 6)]
    photos = torch.tensor([[0, 0, 0, 0, 0, 0], [0, 1, 3, 4, 5, -1], [0, 1, 2, 3, 4, -1]])
    for smoothing in (0.0, 0.05):
        plain = sum(
            F.cross_entropy(out, wanted, ignore_index=-1, label_smoothing=smoothing)
            for out, wanted in zip(outputs, photos, strict=True)
        )
        torch.testing.assert_close(train.naming_loss(outputs, photos, smoothing), plain)
    styled = photos.clone()
    styled[0] = torch.arange(1, 7)
    hidden = world.unseen(styled[0])
    assert (hidden.sum(1) == 2).all() and not world.unseen(photos[0]).any()
    train.naming_loss(outputs, styled, 0.05).backward()
    named = styled[1] >= 0
    denied = hidden & (styled[1][:, None] != torch.arange(12))
    assert (outputs[1].grad[denied] == 0).all() and (outputs[1].grad[named][~denied[named]] != 0).all()


def test_lookalikes_are_what_clip_was_shown_on_the_way_and_at_the_end(tmp_path, monkeypatch, models):
    monkeypatch.setattr(lookalikes, "WAYS", (("zecon", {}),))
    lookalikes.main(["--parts", "1", "--first", "3", "--scenes", "2", "--folder", str(tmp_path)])
    before = (tmp_path / "part_0003.npz").stat().st_mtime_ns
    lookalikes.main(["--parts", "1", "--first", "3", "--scenes", "2", "--folder", str(tmp_path)])
    assert (tmp_path / "part_0003.npz").stat().st_mtime_ns == before, "what is there is not made again"
    found = data.Lookalikes(tmp_path)
    assert found.images.shape == (2 * (len(lookalikes.KEPT) + 1), 3, 64, 64) and found.images.dtype == torch.int8
    scenes = world.render(range(lookalikes.FIRST_SEED + 6, lookalikes.FIRST_SEED + 8))
    assert lookalikes.FIRST_SEED >= 160 * data.SCENES_PER_SHARD, "scenes that no shard holds"
    first, last = (found.images[at].float() * data.REACH / 127 for at in (slice(0, 2), slice(-2, None)))
    assert last.abs().max() <= 1.01 and 0.1 < (last - scenes.image).square().mean().sqrt() < 1.5
    assert (first - last).square().mean() > 0.01, "earlier views hold noise"
    drawn, again = (found.batch(5, torch.Generator().manual_seed(2)) for _ in range(2))
    assert torch.equal(drawn, again) and drawn.shape == (5, 3, 64, 64) and drawn.abs().max() <= data.REACH


def test_lookalikes_can_follow_the_clip_that_is_being_trained(places):
    networks = load_models("tiny", device="cpu")
    before = networks.clip.text(["a mosaic"])
    lookalikes.follow(networks)
    assert torch.equal(networks.clip.text(["a mosaic"]), before), "no checkpoint yet"
    (places / "checkpoints").mkdir()
    averaged = {k: 2 * v if k == "text_projection" else v for k, v in networks.clip.model.state_dict().items()}
    torch.save({"ema": averaged}, places / "checkpoints" / "clip.pt")
    lookalikes.follow(networks)
    torch.testing.assert_close(networks.clip.text(["a mosaic"]), 2 * before)


def test_the_clip_learns_from_lookalikes_where_there_are_some(shards, places, request):
    arguments = ["clip", "--data", str(shards), "--batch", "16", "--device", "cpu", "--samples", "32"]
    learnt, folder = [], shards.with_name("lookalikes")
    request.addfinalizer(lambda: shutil.rmtree(folder, ignore_errors=True))    # the shards are everybody's
    for found in (False, True):
        if found:
            folder.mkdir()
            np.savez(folder / "part_0000.npz", images=np.full((8, 3, 64, 64), 90, np.int8))
        train.main(arguments)
        card = places / "weights" / "clip.json"
        assert json.loads(card.read_text())["lookalikes"] == 8 * found
        learnt.append(load_file(card.with_suffix(".safetensors"))["visual.trunk.stem.conv.weight"].float())
        for file in (card, card.with_suffix(".safetensors"), places / "checkpoints" / "clip.pt"):
            file.unlink()
    assert not torch.allclose(*learnt)


def test_a_run_may_be_given_minutes_instead_of_samples(shards, places):
    train.main(["vgg", "--data", str(shards), "--batch", "16", "--device", "cpu", "--minutes", "0.02"])
    card = json.loads((places / "weights" / "vgg.json").read_text())
    assert 16 <= card["samples_seen"] < 200_000 and card["samples_seen"] % 16 == 0
    assert torch.load(places / "checkpoints" / "vgg.pt", weights_only=True)["seen"] == card["samples_seen"]


def test_the_rate_rises_holds_and_falls():
    rates = [train._schedule(done, steps) for done, steps in ((0, 0), (0.1, 199), (0.5, 900), (0.75, 1500), (1, 2000))]
    assert rates[0] == 1 / 200 and rates[1] == rates[2] == 1
    assert rates[3] == pytest.approx(0.51) and rates[4] == pytest.approx(0.02)


def test_recoloured_pictures_keep_outlines_and_get_captions_without_a_style(shards):
    generator = torch.Generator().manual_seed(0)
    images, _ = data.Shards(shards).batch(16, generator)
    done = train._recoloured(images, generator)
    assert done.shape == images.shape and done.abs().max() <= 1
    assert ((done - images).square().mean((1, 2, 3)) > 0.01).all()
    flat = train._recoloured(torch.full((4, 3, 64, 64), 0.3), generator)
    assert (flat.std((2, 3)) < 1e-5).all(), "no outlines come from nowhere"
    said = [train._caption(data.UNNAMED, 3, 2, False, generator) for _ in range(30)]
    assert not any(claims[0] for _, claims in said) and any(claims[1] for _, claims in said)
