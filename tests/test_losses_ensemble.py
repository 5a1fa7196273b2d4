"""DiffuseIT's text term: against the released ensemble's recorded numbers, and with CLIPs that are one matrix."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from golden import load
from torch import nn
from torch.testing import assert_close

from zecon_lite.augment import Cuts
from zecon_lite.losses import (
    ClipEnsemble,
    ContentFactor,
    Identity,
    ensemble_similarity,
    identity_distance,
    imagenet_templates,
    input_aware_target,
    out_of_range,
)
from zecon_lite.losses.identity import face_crop
from zecon_lite.models.clip import Clip
from zecon_lite.models.resize import bilinear
from zecon_lite.state import State, Step

RECORDED, MISC = (
    {name: torch.from_numpy(array) for name, array in load(f"diffuseit/{file}.npz").items()}
    for file in ("clip", "misc")
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(seed, *shape):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def state(view, source, previous=None):
    step = None if previous is None else Step(4, 70, previous, previous, previous)
    return State(i=3, t=60, x0=view, view=view, source=source, source_view=source, previous=step)


class RecordedClip:
    """Answers as the k-th network of the record did: 8 cuts, the whole source, and two texts in 79 sentences."""

    size = 4

    def __init__(self, k):
        self.k = k

    def image(self, images):
        return RECORDED[f"cuts_{self.k}" if len(images) == 8 else f"srcimg_{self.k}"]

    def text(self, texts):
        return RECORDED[f"tmpl{'T' if 'target' in texts[0] else 'S'}_{self.k}"]


class ToyClip:
    """Embeds a picture by one matrix on its pixels, a text by the number of its letters."""

    def __init__(self, size):
        self.size, self.matrix, self.shown, self.read = size, rows(size, 3 * size * size, 6), [], []

    def image(self, images):
        self.shown.append(len(images))
        return bilinear(images, self.size).tanh().flatten(1) @ self.matrix

    def text(self, texts):
        self.read.append(list(texts))
        return torch.stack([rows(len(text), 6) for text in texts])


def ensemble(clips=None, prompt="a sketch", seed=0, **changes):
    return ClipEnsemble(clips or [ToyClip(6), ToyClip(8)], prompt, "photo", generator=seeded(seed), **changes)


# ------------------------------------------------------------------------------------------------ the released record


def test_the_templates_are_openais_but_for_one():
    templates = imagenet_templates()
    assert len(templates) == len(set(templates)) == RECORDED["n_templates"]
    assert all(t.count("{}") == 1 for t in templates) and "a photo of many {}." not in templates


@pytest.mark.parametrize("k", range(3))
def test_the_target_and_the_similarity_of_each_network_agree(k):
    text, source_text = (RECORDED[f"tmpl{c}_{k}"].mean(0) for c in "TS")
    for found, name in ((text, "E_T"), (source_text, "E_S"), (RECORDED[f"srcimg_{k}"][0], "E_I0")):
        assert_close(F.normalize(found, dim=-1), RECORDED[f"{name}_{k}"].flatten(), atol=2e-6, rtol=0)
    target = input_aware_target(text, source_text, RECORDED[f"srcimg_{k}"][0])
    assert_close(target, RECORDED[f"tgt_{k}"][0], atol=2e-6, rtol=0)
    assert_close(F.normalize(RECORDED[f"cuts_{k}"], dim=1).mean(0), RECORDED[f"pred_{k}"], atol=2e-6, rtol=0)
    assert_close(ensemble_similarity([RECORDED[f"cuts_{k}"]], [target])[None], RECORDED[f"sim_{k}"], atol=2e-6, rtol=0)


def test_the_ensemble_s_loss_agrees():
    loss = ClipEnsemble([RecordedClip(k) for k in range(3)], "a target", "a source", templates=imagenet_templates())
    picture = torch.zeros(1, 3, 8, 8)
    assert_close(loss(state(picture, picture))[None], RECORDED["clip_loss"], atol=2e-6, rtol=0)


@pytest.mark.parametrize("antialias", [False, True])
def test_the_source_reaches_clip_as_in_the_released_code(antialias):
    class Pixels(nn.Module):
        def encode_image(self, images):
            return images

    clip = Clip(Pixels(), None, size=28, resize=partial(bilinear, antialias=antialias))
    picture = 2 * RECORDED["prep_in"] - 1                                   # recorded in [0, 1]
    assert_close(clip.image(picture)[0], RECORDED[f"prep_antialias_{antialias}"], atol=4e-6, rtol=0)


def test_the_range_loss_agrees():
    x = MISC["range_x"].clone().requires_grad_()
    loss = out_of_range(State(0, 0, x, x, x, x))
    assert_close(loss, MISC["range_loss"].sum(), atol=2e-6, rtol=0)
    assert_close(torch.autograd.grad(200 * loss, x)[0], MISC["range_grad_x200"], atol=2e-5, rtol=2e-6)


# -------------------------------------------------------------------------------------------------------- formulas


def test_the_target_leaves_the_source_s_text_and_keeps_some_of_its_picture():
    text, source_text, image = rows(1, 3, 6)
    target = input_aware_target(text, source_text, image)
    assert_close(target.norm().item(), 1.0)
    assert_close(input_aware_target(5 * text, source_text / 3, image), target)
    plain = input_aware_target(text, source_text, image, lambda_s=0, lambda_i=0)
    assert_close(plain, F.normalize(text, dim=-1))
    assert target @ F.normalize(source_text, dim=-1) < plain @ F.normalize(source_text, dim=-1)


def test_similarity_is_one_where_every_cut_points_to_the_target():
    targets = [rows(1, 2, 6), rows(2, 2, 4)]
    cuts = [3 * t[:, None].expand(-1, 5, -1) for t in targets]
    assert_close(ensemble_similarity(cuts, targets), torch.ones(2, dtype=torch.float64))


# -------------------------------------------------------------------------------------------------------- objects


def test_a_batch_of_three_is_three_runs_of_one():
    view, source = rows(1, 3, 3, 16, 16), rows(2, 3, 3, 16, 16)
    prompts = ["oil", "a mosaic", "neon lights"]
    alone = sum(
        ensemble(prompt=prompts[k])(state(view[k : k + 1], source[k : k + 1])) for k in range(3)
    )
    assert_close(ensemble(prompt=prompts)(state(view, source)), alone)


def test_gradients_of_the_object_agree_with_finite_differences():
    view, source = rows(1, 1, 3, 5, 5).requires_grad_(), rows(2, 1, 3, 5, 5)
    assert torch.autograd.gradcheck(lambda v: ensemble(cuts=Cuts(2))(state(v, source)), view)


def test_texts_and_source_are_embedded_once_and_every_network_sees_its_own_cuts():
    clips, source = [ToyClip(6), ToyClip(8)], rows(2, 1, 3, 16, 16)
    loss = ensemble(clips, cuts=Cuts(3), templates=("a {}.", "the {}."))
    for k in range(4):
        loss(state(rows(10 + k, 1, 3, 16, 16), source))
    for clip in clips:
        assert clip.read == [["a a sketch.", "the a sketch."], ["a photo.", "the photo."]]
        assert sorted(clip.shown) == [1, 3, 3, 3, 3]


def test_the_same_seed_gives_the_same_loss_and_each_call_draws_new_cuts():
    before, s = torch.get_rng_state(), state(rows(1, 1, 3, 16, 16), rows(2, 1, 3, 16, 16))
    loss = ensemble(seed=4)
    first, second = loss(s), loss(s)
    assert first != second and first == ensemble(seed=4)(s)
    assert torch.equal(torch.get_rng_state(), before)


def test_prompts_that_do_not_match_the_batch_are_refused():
    view = rows(1, 3, 3, 16, 16)
    with pytest.raises(ValueError, match="there are 2 prompts for 3 images: give one prompt for all, or one for each"):
        ensemble(prompt=["oil", "mosaic"])(state(view, view))


def test_content_counts_more_once_the_step_before_was_near_the_target():
    source, first, second = (rows(k, 2, 3, 16, 16) for k in range(3))
    loss = ensemble()
    at_first = loss.similarity_before(state(first, source))
    whole = [clip.image(source)[:, None] for clip in loss.clips]
    assert_close(at_first, ensemble_similarity(whole, loss.targets(state(first, source))))
    measured = loss(state(first, source))
    now = state(second, source, first)
    for _ in range(2):                                                      # whatever was measured since, and how often
        assert_close(-loss.similarity_before(now).sum(), measured)
        loss(now)
    between = loss.similarity_before(now).mean().item()
    high, low = (int(k) for k in loss.similarity_before(now).argsort(descending=True))
    factor = ContentFactor(loss, threshold=between, above=2.0, below=0.5)(now)
    assert (factor[high], factor[low]) == (2.0, 0.5)


# ------------------------------------------------------------------------------------------------------------ cuts


def test_an_unturned_whole_cut_is_the_picture_or_its_mirror_image():
    picture = rows(1, 1, 3, 9, 9)
    cuts = Cuts(8, area=(1.0, 1.0), ratio=(1.0, 1.0), angle=0.0)(picture, 9, seeded())
    mirrored = torch.tensor([torch.allclose(cut, picture[0].flip(-1)) for cut in cuts])
    assert all(torch.allclose(cut, picture[0]) for cut in cuts[~mirrored])
    assert 0 < mirrored.sum() < 8


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 96), (128, 64)])
def test_cuts_are_pieces_of_a_picture_of_any_shape(height, width):
    """Of a picture that is dark on the left and bright on the right most cuts lack a part of the dark or the bright."""
    ramp = torch.linspace(-1, 1, width, dtype=torch.float64).expand(1, 3, height, width)
    cuts = Cuts(200, angle=0.0)(ramp, 32, seeded())
    shown = cuts.amax((1, 2, 3)) - cuts.amin((1, 2, 3))    # 2 where a cut is as wide as the picture
    assert (shown < 1.95).double().mean() > 0.5


def test_cuts_are_the_same_for_every_picture_and_black_beyond_the_edge():
    pictures = torch.cat([torch.ones(1, 3, 12, 20), rows(1, 1, 3, 12, 20).float()])
    cuts = Cuts(16, angle=30.0)(pictures, 10, seeded()).unflatten(0, (2, 16))
    assert_close(cuts[1], Cuts(16, angle=30.0)(pictures[1:], 10, seeded()))
    assert cuts[0].min() == -1 and cuts[0, :, :, 5, 5].min() > 0.999
    assert Cuts()(pictures, 10, seeded()).shape == (16, 3, 10, 10)


@pytest.mark.parametrize("side, averaged", [(256, False), (512, True)])
def test_cuts_are_as_sharp_as_the_picture_until_they_would_miss_pixels_of_it(side, averaged):
    checks = ((torch.arange(side)[:, None] + torch.arange(side)) % 2 * 2.0 - 1).expand(1, 3, side, side)
    contrast = Cuts(8, angle=0.0)(checks, 224, seeded()).std()
    assert contrast < 0.15 if averaged else contrast > 0.3


# -------------------------------------------------------------------------------------------------------- identity


def portrait(name):
    return MISC[name].repeat_interleave(16, 2).repeat_interleave(16, 3)


def stub_face(faces):
    return F.normalize(F.adaptive_avg_pool2d(faces, 4).flatten(1), dim=1)


def test_the_face_is_cut_out_as_in_the_released_code():
    face = face_crop(portrait("id_yhat_16"))
    assert face.shape[-2:] == (112, 112)
    assert_close(face.mean((2, 3)), MISC["id_pool_mean"], atol=2e-6, rtol=0)
    assert_close(face[..., :12, :12], MISC["id_pool_corner"], atol=2e-6, rtol=0)
    assert_close(stub_face(face), MISC["id_stub_feat_yhat"], atol=2e-6, rtol=0)
    assert face_crop(torch.zeros(1, 3, 64, 64), side=47).shape[-2:] == (47, 47)


def test_identity_agrees_with_the_released_loss():
    view, source = portrait("id_yhat_16"), portrait("id_y_16")
    assert_close(Identity(stub_face)(state(view, source)).double(), MISC["id_loss_stub"], atol=2e-6, rtol=0)
    assert_close(identity_distance(rows(1, 4), 3 * rows(1, 4)).item(), 0.0, atol=1e-12, rtol=0)


def test_identity_looks_at_the_source_once_and_is_a_sum():
    calls, view, source = [], rows(1, 3, 3, 32, 32), rows(2, 3, 3, 32, 32)
    loss = Identity(lambda faces: calls.append(len(faces)) or stub_face(faces))
    first, second = (loss(state(v, source)) for v in (view, view.flip(-1)))
    assert len(calls) == 3 and first != second
    alone = sum(Identity(stub_face)(state(view[k : k + 1], source[k : k + 1])) for k in range(3))
    assert_close(first, alone)


def test_a_turn_keeps_lengths_and_goes_both_ways():
    place = torch.linspace(-1, 1, 33, dtype=torch.float64)
    y, x = torch.meshgrid(place, place, indexing="ij")
    where = torch.stack([x, y, 0 * x])[None]                                # each pixel says where it stands
    cuts = Cuts(32, area=(1.0, 1.0), ratio=(1.0, 1.0), angle=60.0)(where, 33, seeded())[:, :2]
    steps = [cuts[:, :, 16, 17] - cuts[:, :, 16, 16], cuts[:, :, 17, 16] - cuts[:, :, 16, 16]]    # across, down
    turn = 16 * torch.stack(steps, dim=-1)
    assert_close(turn @ turn.mT, torch.eye(2, dtype=torch.float64).expand(32, 2, 2))
    angle = torch.atan2(turn[:, 0, 1], turn[:, 1, 1]).rad2deg()             # of the way down: no mirror changes it
    assert -60 <= angle.min() < -30 and 30 < angle.max() <= 60
