"""CLIP losses: formulas against algebra and recorded results, objects with a CLIP that is one matrix."""

from math import cos, pi, sin

import pytest
import torch
import torch.nn.functional as F
from golden import load
from torch.testing import assert_close

from zecon_lite.augment import Views
from zecon_lite.losses import (
    ClipDirection,
    ClipDistance,
    TemplateDirection,
    clip_direction,
    clip_direction_log,
    clip_distance,
    imagenet_templates,
    text_direction,
)
from zecon_lite.models.resize import bicubic_centre
from zecon_lite.state import State

RECORDED = {name: torch.from_numpy(array) for name, array in load("zecon/losses.npz").items()}
DIFFUSIONCLIP = {name: torch.from_numpy(array) for name, array in load("diffusionclip/cliploss.npz").items()}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(seed, *shape):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


class ToyClip:
    """Embeds a picture by one matrix on its pixels, a text by the number of its letters."""

    size = 8

    def __init__(self):
        self.matrix, self.shown, self.read = rows(0, 3 * 8 * 8, 6), [], []

    def image(self, images):
        self.shown.append(images)
        return F.adaptive_avg_pool2d(images, self.size).tanh().flatten(1) @ self.matrix

    def text(self, texts):
        self.read.append(list(texts))
        return torch.stack([rows(len(text), 6) for text in texts])


def state(view, source):
    return State(i=3, t=60, x0=view, view=view, source=source, source_view=source)


LOSSES = {
    "distance": lambda clip, views, g: ClipDistance(clip, "a sketch", views, g),
    "direction": lambda clip, views, g: ClipDirection(clip, "a sketch", "photo", views, generator=g),
    "same views": lambda clip, views, g: ClipDirection(clip, "a sketch", "photo", views, same_views=True, generator=g),
}


# ------------------------------------------------------------------------------------------------------- formulas

def test_clip_distance_agrees_with_the_released_loss_and_gradient():
    image = RECORDED["clip_a"].clone().requires_grad_()
    loss = clip_distance(image, RECORDED["clip_tx"])
    assert_close(loss, RECORDED["d_clip_loss"], atol=2e-6, rtol=0)
    assert_close(torch.autograd.grad(loss.mean(), image)[0], RECORDED["d_clip_grad_of_mean"], atol=2e-6, rtol=0)


def test_clip_direction_agrees_with_the_released_loss_and_gradient():
    image = RECORDED["clip_a"].clone().requires_grad_()
    loss = clip_direction(image, RECORDED["clip_b"], RECORDED["clip_tx"], RECORDED["clip_ty"])
    assert_close(loss, RECORDED["d_clip_dir_loss"], atol=2e-6, rtol=0)
    assert_close(torch.autograd.grad(loss.mean(), image)[0], RECORDED["d_clip_dir_grad_of_mean"], atol=2e-6, rtol=0)


def test_clip_distance_orders_pictures_as_the_recorded_cosine_does():
    distance = clip_distance(RECORDED["clip_a"], RECORDED["clip_tx"])
    assert torch.equal(distance.argsort(), RECORDED["d_clip_loss_cosine"].argsort())


@pytest.mark.parametrize("angle", [0.1, 1.0, pi / 2, 3.0])
def test_clip_distance_is_half_the_squared_angle(angle):
    a = torch.tensor([2.0, 0.0], dtype=torch.float64)
    b = 3 * torch.tensor([cos(angle), sin(angle)], dtype=torch.float64)
    assert_close(clip_distance(a, b).item(), angle**2 / 2)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_gradient_of_clip_distance_is_finite_at_equal_and_opposite_vectors(sign):
    text = rows(1, 5, 6).float()
    image = (sign * text).requires_grad_()
    loss = clip_distance(image, text)
    assert_close(loss, torch.full((5,), 0.0 if sign > 0 else pi**2 / 2), atol=0.02, rtol=0)
    assert torch.autograd.grad(loss.sum(), image)[0].abs().max() < 1e-3


def test_clip_direction_is_zero_along_and_two_against_the_texts():
    source, text, source_text = rows(1, 6), rows(2, 6), rows(3, 6)
    change = text - source_text
    assert_close(clip_direction(source + 0.3 * change, source, text, source_text).item(), 0.0, atol=1e-12, rtol=0)
    assert_close(clip_direction(source - 0.3 * change, source, text, source_text).item(), 2.0)


def test_normalised_clip_direction_forgets_the_length_of_embeddings():
    e = rows(1, 4, 6)
    longer = [e[0] * 5, e[1] / 3, e[2], e[3] * 2]
    assert_close(clip_direction(*longer, normalize=True), clip_direction(*e, normalize=True))
    assert (clip_direction(*longer) - clip_direction(*e)).abs() > 1e-3
    unit = F.normalize(e, dim=-1)
    assert_close(clip_direction(*e, normalize=True), clip_direction(*unit))


def test_a_picture_that_has_not_changed_has_loss_one_and_no_gradient():
    source = rows(1, 3, 6)
    image = source.clone().requires_grad_()
    loss = clip_direction(image, source, rows(2, 6), rows(3, 6))
    assert_close(loss, torch.ones(3, dtype=torch.float64))
    assert torch.equal(torch.autograd.grad(loss.sum(), image)[0], torch.zeros_like(image))


@pytest.mark.parametrize("normalize", [False, True])
def test_gradients_of_the_formulas_agree_with_finite_differences(normalize):
    image, rest = rows(1, 4, 6).requires_grad_(), rows(2, 3, 6)
    assert torch.autograd.gradcheck(lambda e: clip_direction(e, *rest, normalize=normalize), image)
    assert torch.autograd.gradcheck(lambda e: clip_distance(e, rest[0]), image)


# -------------------------------------------------------------------------------------------------------- objects

@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("views", [Views(3), Views(3, area=None)], ids=["patches", "whole"])
def test_a_batch_is_the_sum_of_its_pictures(make, views):
    clip, view, source = ToyClip(), rows(1, 3, 3, 16, 16), rows(2, 3, 3, 16, 16)
    alone = sum(make(clip, views, seeded())(state(view[k : k + 1], source[k : k + 1])) for k in range(3))
    assert_close(make(clip, views, seeded())(state(view, source)), alone)


@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
def test_gradients_of_the_objects_agree_with_finite_differences(make):
    clip, view, source = ToyClip(), rows(1, 1, 3, 5, 5).requires_grad_(), rows(2, 1, 3, 5, 5)
    assert torch.autograd.gradcheck(lambda v: make(clip, Views(2), seeded())(state(v, source)), view)


@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
def test_the_same_seed_gives_the_same_loss_and_each_call_draws_new_views(make):
    before, s = torch.get_rng_state(), state(rows(1, 1, 3, 16, 16), rows(2, 1, 3, 16, 16))
    loss = make(ToyClip(), Views(3), seeded(4))
    first, second = loss(s), loss(s)
    assert first != second and first == make(ToyClip(), Views(3), seeded(4))(s)
    assert torch.equal(torch.get_rng_state(), before)


def test_clip_distance_object_is_the_mean_of_the_formula_over_views():
    clip, view = ToyClip(), rows(1, 1, 3, 16, 16)
    looks = Views(4)(view, clip.size, seeded())
    want = clip_distance(clip.image(looks), clip.text(["a sketch"])).mean()
    assert_close(ClipDistance(clip, "a sketch", Views(4), seeded())(state(view, view)), want)


def test_beside_patches_the_source_is_shown_whole_and_once():
    clip, view, source = ToyClip(), rows(1, 2, 3, 16, 16), rows(2, 2, 3, 16, 16)
    loss = ClipDirection(clip, "a sketch", "photo", Views(3), generator=seeded())(state(view, source))
    looks, whole = clip.shown
    assert torch.equal(whole, source) and looks.shape == (6, 3, 8, 8)
    image, source_image = clip.image(looks).view(2, 3, -1), clip.image(source).view(2, 1, -1)
    text, source_text = clip.text(["a sketch", "photo"])
    assert_close(loss, clip_direction(image, source_image, text, source_text).mean(1).sum())


def test_for_whole_pictures_the_source_gets_views_of_its_own():
    clip, picture = ToyClip(), rows(1, 1, 3, 16, 16)
    ClipDirection(clip, "a sketch", "photo", Views(3, area=None), generator=seeded())(state(picture, picture))
    looks, source_looks = clip.shown
    assert looks.shape == source_looks.shape and not torch.allclose(looks, source_looks)


def test_same_views_shows_both_through_the_same_windows():
    clip, picture = ToyClip(), rows(1, 2, 3, 16, 16)
    loss = ClipDirection(clip, "a sketch", "photo", Views(3), same_views=True, generator=seeded())
    assert_close(loss(state(picture, picture)).item(), 2.0)                 # nothing changed: 1 for each picture
    looks, source_looks = clip.shown
    assert torch.equal(looks, source_looks)


def test_no_gradient_flows_to_the_source():
    view, source = (rows(k, 1, 3, 16, 16).requires_grad_() for k in (1, 2))
    for make in LOSSES.values():
        for views in (Views(3), Views(3, area=None)):
            make(ToyClip(), views, seeded())(state(view, source)).backward()
    assert view.grad.abs().sum() > 0 and source.grad is None


def test_texts_are_embedded_once():
    clip, s = ToyClip(), state(rows(1, 1, 3, 16, 16), rows(2, 1, 3, 16, 16))
    direction = ClipDirection(clip, "a sketch", "photo", Views(2), generator=seeded())
    distance = ClipDistance(clip, "an oil painting", Views(2), seeded())
    for loss in (direction, distance) * 3:
        loss(s)
    assert clip.read == [["a sketch"], ["photo"], ["an oil painting"]]


def test_each_picture_of_a_batch_may_have_its_own_prompt():
    clip, view = ToyClip(), rows(1, 2, 3, 16, 16)
    alone = sum(
        ClipDistance(clip, prompt, Views(3), seeded())(state(v[None], v[None]))
        for prompt, v in zip(["oil", "mosaic"], view, strict=True)
    )
    assert_close(ClipDistance(clip, ["oil", "mosaic"], Views(3), seeded())(state(view, view)), alone)


def test_an_embedding_may_stand_for_the_prompt():
    clip, view = ToyClip(), rows(1, 2, 3, 16, 16)
    by_text, by_embedding = (
        ClipDistance(clip, p, Views(3), seeded())(state(view, view)) for p in ("oil", clip.text(["oil"]))
    )
    assert by_text == by_embedding


@pytest.mark.parametrize("prompt", ["photo", ["a sketch", "photo"]])
def test_a_prompt_that_says_what_the_source_is_already_is_refused(prompt):
    view = rows(1, 2, 3, 16, 16)
    with pytest.raises(ValueError, match="no direction from one to the other: say what the source is"):
        ClipDirection(ToyClip(), prompt, "photo")(state(view, view))


def test_prompts_that_do_not_match_the_batch_are_refused():
    view = rows(1, 3, 3, 16, 16)
    with pytest.raises(ValueError, match="there are 2 prompts for 3 images: give one prompt for all, or one for each"):
        ClipDistance(ToyClip(), ["oil", "mosaic"])(state(view, view))


# -------------------------------------------------------------------------------------- DiffusionCLIP's text term

def near(ours, recorded):
    assert_close(ours, recorded, atol=1e-5, rtol=0)


def recorded_direction(image):
    unit = F.normalize(image, dim=-1)
    text = DIFFUSIONCLIP["text_direction"]
    return clip_direction(unit, F.normalize(DIFFUSIONCLIP["src_img"], dim=-1), text, torch.zeros_like(text))


def test_the_recorded_directions_and_gradients_are_reproduced():
    assert len(imagenet_templates()) == DIFFUSIONCLIP["n_templates"]
    near(text_direction(DIFFUSIONCLIP["trg_txt"], DIFFUSIONCLIP["src_txt"])[None], DIFFUSIONCLIP["text_direction"])
    image = DIFFUSIONCLIP["trg_img"].clone().requires_grad_()
    direction = recorded_direction(image).mean()
    near(direction, DIFFUSIONCLIP["dir_loss"])
    near(torch.autograd.grad(direction, image, retain_graph=True)[0], DIFFUSIONCLIP["d_dirloss_d_trg"])
    log = clip_direction_log(direction)
    near(log, DIFFUSIONCLIP["neg_log"])
    near(torch.autograd.grad(log, image)[0], DIFFUSIONCLIP["d_neglog_d_trg"])
    near(recorded_direction(DIFFUSIONCLIP["src_img"]).mean(), DIFFUSIONCLIP["dir_loss_identical_images"])
    near((1 - DIFFUSIONCLIP["global_logits"] / 100).mean(), DIFFUSIONCLIP["global_loss"])
    near(clip_direction_log(DIFFUSIONCLIP["global_loss"]), DIFFUSIONCLIP["global_neg_log"])


def test_the_log_is_zero_along_grows_without_end_and_is_steeper_the_more_wrong():
    direction = torch.tensor([0.0, 1.0, 1.9, 2.0], requires_grad=True)
    loss = clip_direction_log(direction)
    (slope,) = torch.autograd.grad(loss.sum(), direction)
    assert loss[0] == 0 and loss[3].isfinite() and (loss.diff() > 0).all()
    assert_close(slope[:3], 1 / (2 - direction.detach()[:3]))


def test_a_floor_bounds_the_gradient_and_leaves_a_direction_at_the_source_itself():
    source, text = F.normalize(rows(0, 6), dim=0), F.normalize(rows(1, 6), dim=0)

    def slope(distance, floor):
        image = (source + distance * F.normalize(rows(2, 6), dim=0)).requires_grad_()
        loss = clip_direction(image, source, text, torch.zeros(6).double(), floor=floor)
        return torch.autograd.grad(loss, image)[0]

    assert slope(1e-6, 0.0).norm() > 1e5 and slope(1e-6, 0.05).norm() <= 20.001
    assert_close(slope(0.0, 0.05), -text / 0.05)
    assert_close(slope(0.3, 0.05), slope(0.3, 0.0))


@pytest.mark.parametrize("views", [None, Views(3), Views(3, area=None)], ids=["whole", "patches", "tilted"])
def test_a_batch_is_the_sum_of_its_pictures_whatever_the_views(views):
    clip, view, source = ToyClip(), rows(1, 3, 3, 16, 16), rows(2, 3, 3, 16, 16)

    def loss(k):
        generator = seeded()
        term = TemplateDirection(clip, "a sketch", "photo", ("a {}", "my own {}"), views, generator=generator)
        return term(state(view[k], source[k]))

    assert_close(loss(slice(3)), sum(loss(slice(k, k + 1)) for k in range(3)))


def test_of_a_whole_picture_clip_is_shown_the_square_in_the_middle_as_released():
    clip, view, source = ToyClip(), rows(1, 1, 3, 8, 12).tanh(), rows(2, 1, 3, 8, 12).tanh()
    TemplateDirection(clip, "a sketch", "photo")(state(view, source))
    assert_close(torch.cat(clip.shown), torch.cat([view, source])[..., 2:10], atol=1e-5, rtol=0)


def test_a_whole_picture_is_shrunk_as_released_without_antialiasing():
    clip, view, source = ToyClip(), rows(1, 1, 3, 32, 32).tanh(), rows(2, 1, 3, 32, 32).tanh()
    TemplateDirection(clip, "a sketch", "photo")(state(view, source))
    skipped, smooth = (bicubic_centre(torch.cat([view, source]), 8, antialias) for antialias in (False, True))
    assert_close(torch.cat(clip.shown), skipped)
    assert not torch.allclose(skipped, smooth, atol=0.1)


def test_prompts_that_mean_the_same_are_refused():
    with pytest.raises(ValueError, match="no direction from one to the other: say what the source is"):
        TemplateDirection(ToyClip(), "photo", "photo")(state(rows(1, 1, 3, 8, 8), rows(2, 1, 3, 8, 8)))


@pytest.mark.parametrize("floor", [0.05, 5.0])    # shorter, and longer, than every change
def test_the_template_term_is_its_formula_and_leads_from_the_source_prompt_to_the_prompt(floor):
    clip, view, source = ToyClip(), rows(1, 2, 3, 8, 8).tanh(), rows(2, 2, 3, 8, 8).tanh()
    found = TemplateDirection(clip, "a sketch", "photo", ("a {}", "my own {}"), floor=floor)(state(view, source))
    wanted, known = (F.normalize(clip.text([f"a {w}", f"my own {w}"]), dim=1) for w in ("a sketch", "photo"))
    moved = F.normalize(clip.image(view), dim=1) - F.normalize(clip.image(source), dim=1)
    cosine = moved / moved.norm(dim=1, keepdim=True).clamp_min(floor) @ F.normalize((wanted - known).mean(0), dim=0)
    assert_close(found, -((1 + cosine) / 2).log().sum(), atol=1e-5, rtol=1e-5)
