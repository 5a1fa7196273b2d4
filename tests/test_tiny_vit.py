"""The bundled vision transformer: the pairs it learns from, what its card claims, and that guidance can use it."""

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from zecon_lite import load_models
from zecon_lite.losses.vit import cls_distance, key_contrast, key_self_similarity
from zecon_lite.tiny import data, train, train_vit, world
from zecon_lite.tiny.networks import VIT, build_vit
from zecon_lite.tiny.train_vit import GRID, PATCH, ViTWithHeads, nearest_is_same, overlapping, patch_labels, same_place

BUNDLED = train.WEIGHTS / "vit.safetensors"


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "SCENES_PER_SHARD", 16)
        data.main(["--shards", "1", "--folder", str(folder)])
    return folder


@pytest.fixture(scope="module")
def bundled():
    """The network with its heads, as trained."""
    network = ViTWithHeads().requires_grad_(False).eval()
    network.load_state_dict({k: v.float() for k, v in load_file(BUNDLED).items()})
    return network


def places(n=1):
    """Keys (n, 65, 1) that are their own numbers: -1 for [CLS], then the patches row by row."""
    return torch.arange(-1.0, GRID * GRID)[None, :, None].expand(n, -1, -1)


# -------------------------------------------------------------------------------------------------------------- algebra


def test_the_overlap_holds_the_same_places_in_the_same_order():
    scene = torch.arange((GRID + 2) ** 2).view(GRID + 2, GRID + 2)
    for corner in [(0, 0), (2, 0), (1, 2), (0, 1)]:
        first, second = (
            torch.cat([torch.tensor([-1]), scene[y : y + GRID, x : x + GRID].flatten()])[None, :, None]
            for y, x in [(1, 1), corner]
        )
        moved = [corner[0] - 1, corner[1] - 1]
        here, there = overlapping(first, moved), overlapping(second, [-k for k in moved])
        assert torch.equal(here, there) and here.shape[1] == 1 + (GRID - abs(moved[0])) * (GRID - abs(moved[1]))


def test_the_contrast_is_the_log_of_the_choices_when_all_keys_are_alike():
    keys = torch.ones(2, 5, 8)
    torch.testing.assert_close(same_place(keys, keys), torch.tensor(10.0).log())


def test_the_contrast_is_least_when_same_places_match():
    query = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))
    assert same_place(query, query) < same_place(query, query.roll(1, dims=1))
    assert same_place(query, query) < same_place(query, query.flip(0)), "another scene's key is a negative too"


def test_the_nearest_key_is_found_where_it_went():
    keys = torch.randn(2, 1 + GRID * GRID, 16, generator=torch.Generator().manual_seed(0))
    assert nearest_is_same(keys, keys).all()
    swapped = keys.clone()
    swapped[:, [1, 2]] = keys[:, [2, 1]]
    assert nearest_is_same(keys, swapped).sum() == 2 * (GRID * GRID - 2)
    grid = keys[:, 1:].unflatten(1, (GRID, GRID)).roll((-1, -1), (1, 2)).flatten(1, 2)
    moved = torch.cat([keys[:, :1], grid], dim=1)
    assert nearest_is_same(keys, moved, (1, 1)).all() and not nearest_is_same(keys, moved).any()


def test_a_patch_shows_what_covers_more_of_it():
    mask = torch.zeros(2, 1, 64, 64)
    mask[:, :, :PATCH, : PATCH - 2], mask[:, :, :PATCH, PATCH : PATCH + 2] = 1.0, 1.0
    shown = patch_labels(mask, torch.tensor([4, data.UNNAMED]), torch.tensor([1, data.UNNAMED]))
    assert shown[0, :3].tolist() == [4, len(world.OBJECTS) + 1, len(world.OBJECTS) + 1]
    assert (shown[1] == data.UNNAMED).all(), "nobody has said what a photograph shows"


def test_a_look_is_told_by_the_distance_to_its_centre():
    network = ViTWithHeads()
    assert network.looks(network.centres.detach() + 0.01).argmax(1).tolist() == list(range(len(train_vit.LOOKS)))


# -------------------------------------------------------------------------------------------------------------- pairs


def test_pairs_come_from_the_generator_alone_and_from_training_scenes(shards):
    pairs = train_vit.Pairs(shards)
    first, second = (pairs.batch(16, torch.Generator().manual_seed(3), 0.6) for _ in range(2))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert first[0].shape == (16, 7, 64, 64) and first[0].abs().max() <= 1
    assert max(pairs.images) < world.FIRST_HELD_OUT_SEED


def test_no_pair_shows_a_held_out_style_and_object(shards):
    labels = [train_vit.Pairs(shards).batch(64, torch.Generator().manual_seed(k), 0.3)[1] for k in range(3)]
    looks, objects = torch.cat([z[:2] for z in labels], 1), torch.cat([z[2] for z in labels])
    assert (objects == data.UNNAMED).sum() == 3 * 8 and len(looks.unique()) == len(train_vit.LOOKS)
    for look in looks:
        for k, o in zip(look.tolist(), objects.tolist(), strict=True):
            assert o == data.UNNAMED or not world.is_held_out(train_vit.LOOKS[k], o)


def test_the_second_version_lies_where_the_labels_say(shards):
    pairs, found = train_vit.Pairs(shards), 0
    for seed in range(12):
        together, labels = pairs.batch(16, torch.Generator().manual_seed(seed), 1.0)
        (down, right), plain = (labels[4:, 0] * PATCH).tolist(), (labels[:2] == 0).all(0)
        first, second = (z[plain] for z in together[:, :6].split(3, dim=1))  # both left photos: the pixels agree
        here = first[..., max(down, 0) : 64 + min(down, 0), max(right, 0) : 64 + min(right, 0)]
        there = second[..., max(-down, 0) : 64 + min(-down, 0), max(-right, 0) : 64 + min(-right, 0)]
        torch.testing.assert_close(here, there)
        found += len(first) * bool(down or right)
    assert found, "no shifted pair of photos was drawn: draw more"


# ----------------------------------------------------------------------------------------------------------- training


def test_the_network_trains_publishes_and_resumes(shards, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(train, "CHECKPOINTS", tmp_path / "checkpoints")
    monkeypatch.setattr(train_vit, "scores", lambda network, device: {"keys": 0.5})
    arguments = ["vit", "--data", str(shards), "--batch", "8", "--device", "cpu", "--samples"]
    train.main([*arguments, "16"])
    card = json.loads((tmp_path / "weights" / "vit.json").read_text())
    assert card["samples_seen"] == 16 and "not DINO" in card["objective"]
    train.main([*arguments, "24"])
    assert torch.load(tmp_path / "checkpoints" / "vit.pt", weights_only=True)["seen"] == 24
    ViTWithHeads().load_state_dict(load_file(tmp_path / "weights" / "vit.safetensors"))


def test_it_is_dinos_kind_of_network():
    vit = build_vit()
    assert vit.blocks[0].attn.qkv.bias is not None and vit.norm.eps == 1e-6
    assert isinstance(vit.blocks[0].mlp.act, torch.nn.GELU) and vit.blocks[0].mlp.act.approximate == "none"
    assert vit.forward_features(torch.zeros(1, 3, 64, 64)).shape == (1, 1 + GRID * GRID, VIT["embed_dim"])


# -------------------------------------------------------------------------------------------------- the bundled weights


def test_the_bundled_weights_have_a_card_and_are_small():
    card = json.loads(BUNDLED.with_suffix(".json").read_text())
    assert {"data", "samples_seen", "seconds", "seed", "scores", "licence", "objective", "parameters"} <= set(card)
    assert BUNDLED.stat().st_size < 4 * 2**20
    assert all(v.dtype == torch.float16 for v in load_file(BUNDLED).values())


def test_the_card_says_what_a_measurement_finds(bundled):
    claimed = json.loads(BUNDLED.with_suffix(".json").read_text())["scores"]
    measured = train_vit.scores(bundled, n=26)  # the first of the held-out scenes that the card's come from
    for name, slack in {"keys": 0.05, "keys_shifted": 0.05, "keys_between_styles": 0.05, "cls": 0.05}.items():
        assert measured[name] == pytest.approx(claimed[name], abs=slack), name
    assert measured["keys_photographs"] == pytest.approx(claimed["keys_photographs"], abs=0.01)


def test_the_adapter_reads_what_was_trained(bundled):
    photo = world.render(world.held_out_seeds(2)).image
    for ours, theirs in zip(load_models("tiny").vit.keys_and_cls(photo), bundled(photo), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_guidance_by_its_losses_makes_a_picture_more_alike():
    """A few steps down each gradient lower each loss, and no gradient is zero or not a number."""
    vit, scenes = load_models("tiny").vit, world.render(world.held_out_seeds(2))
    styled = world.apply_style("mosaic", scenes.image, scenes.seeds)
    keys, _ = vit.keys_and_cls(scenes.image)
    _, look = vit.keys_and_cls(styled)
    losses = (
        lambda k, c: key_self_similarity(k, keys).sum(),
        lambda k, c: key_contrast(k, keys).sum(),
        lambda k, c: cls_distance(c, look).sum(),
    )
    for number, loss_of in enumerate(losses):
        start = scenes.image if number == 2 else styled
        x, before = start.clone(), loss_of(*vit.keys_and_cls(start))
        for _ in range(3):
            x.requires_grad_(True)
            (grad,) = torch.autograd.grad(loss_of(*vit.keys_and_cls(x)), x)
            assert grad.isfinite().all() and (grad.flatten(1).norm(dim=1) > 0).all()
            x = (x - 0.5 * F.normalize(grad.flatten(1), dim=1).view_as(grad)).detach()
        assert loss_of(*vit.keys_and_cls(x)) < before
