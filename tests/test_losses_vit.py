"""Losses on keys and [CLS]: formulas against algebra and recorded results, objects with a transformer that is small."""

from functools import partial

import pytest
import torch
from golden import load
from torch import nn
from torch.testing import assert_close

from zecon_lite.losses import (
    ClsDivergence,
    ClsStyle,
    KeyContrast,
    KeySelfSimilarity,
    ViTFeatures,
    cls_distance,
    key_contrast,
    key_self_similarity,
    patch_nce,
    self_similarity,
)
from zecon_lite.models.resize import bilinear
from zecon_lite.models.vit import ViT
from zecon_lite.state import State, Step

KEYS, VIT, LOSSES = (
    {name: torch.from_numpy(array) for name, array in load(f"diffuseit/{file}.npz").items()}
    for file in ("keys_losses", "vit", "vit_losses")
)


def rows(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def state(view, source, previous=None):
    step = None if previous is None else Step(4, 70, previous, previous, previous)
    return State(i=3, t=60, x0=view, view=view, source=source, source_view=source, previous=step)


class ToyViT:
    """Four tokens of a picture of 4 x 4 pixels: keys and [CLS] are matrices on its pixels. Counts its calls."""

    def __init__(self):
        self.keys, self.cls, self.calls = rows(0, 48, 4 * 6), rows(1, 48, 5), 0

    def keys_and_cls(self, images):
        self.calls += 1
        pixels = images.flatten(1).tanh()
        return (pixels @ self.keys).view(len(images), 4, 6), pixels @ self.cls


@pytest.fixture(scope="module")
def recorded_vit():
    """The transformer of the record: 12 blocks of width 24, 6 heads, patches of 8 pixels in pictures of 32."""
    return partial(ViT, _recorded_network(), 32)


def _recorded_network():
    from timm.models.vision_transformer import VisionTransformer

    network = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=12, num_heads=6, mlp_ratio=2, num_classes=0,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    )  # fmt: skip
    network.load_state_dict({name[3:]: array for name, array in VIT.items() if name.startswith("w__")})
    return network


MAKE = {
    "structure": lambda features, style: KeySelfSimilarity(features),
    "contrast": lambda features, style: KeyContrast(features),
    "factor": lambda features, style: KeyContrast(features, factor=lambda s: 1 + s.view.flatten(1).mean(1).abs()),
    "divergence": lambda features, style: ClsDivergence(features),
    "style": lambda features, style: ClsStyle(features, style),
}


# ------------------------------------------------------------------------------------------------------- formulas


def test_self_similarity_is_a_table_of_cosines():
    assert_close(self_similarity(KEYS["q"])[None], KEYS["self_sim_q"], atol=2e-6, rtol=0)
    assert_close(self_similarity(KEYS["k"])[None], KEYS["self_sim_k"], atol=2e-6, rtol=0)
    assert_close(self_similarity(KEYS["q"] * 7), self_similarity(KEYS["q"]))


@pytest.mark.parametrize(("formula", "name"), [(key_self_similarity, "ssim"), (key_contrast, "contra")])
def test_key_losses_agree_with_the_released_loss_and_gradient(formula, name):
    keys = KEYS["q"].clone().requires_grad_()
    loss = formula(keys, KEYS["k"])
    want = KEYS["ssim_loss"] if name == "ssim" else KEYS["contra_mean"]
    assert_close(loss, want, atol=2e-6, rtol=2e-6)
    assert_close(torch.autograd.grad(loss, keys)[0], KEYS[f"{name}_grad_q"], atol=2e-6, rtol=2e-6)


def test_key_contrast_is_the_mean_over_tokens():
    assert_close(key_contrast(KEYS["q"], KEYS["k"], float(KEYS["tau"])), KEYS["contra_per_token"].mean())


def test_key_contrast_is_patch_nce_image_by_image():
    keys, source = rows(1, 3, 9, 5), rows(2, 3, 9, 5)
    each = key_contrast(keys, source)
    assert each.shape == (3,)
    for k in range(3):
        assert_close(each[k], patch_nce(keys[k], source[k]), rtol=1e-5, atol=0)


def test_structure_does_not_change_when_all_keys_turn_together():
    keys, (turn, _) = rows(1, 9, 5), torch.linalg.qr(rows(2, 5, 5))
    assert_close(key_self_similarity(keys @ turn, keys).item(), 0.0, atol=1e-12, rtol=0)
    assert key_self_similarity(keys.flip(0), keys) > 0.01


def test_formulas_leave_the_leading_dimensions():
    keys, source = rows(1, 3, 9, 5), rows(2, 3, 9, 5)
    assert key_self_similarity(keys, source).shape == cls_distance(keys[:, 0], source[:, 0]).shape == (3,)
    assert_close(key_self_similarity(keys, source)[1], key_self_similarity(keys[1], source[1]))


def test_gradients_of_the_formulas_agree_with_finite_differences():
    keys, source = rows(1, 6, 4).requires_grad_(), rows(2, 6, 4)
    for formula in (key_self_similarity, partial(key_contrast, tau=0.5), cls_distance):
        assert torch.autograd.gradcheck(lambda k, formula=formula: formula(k, source), keys)


# ---------------------------------------------------------------------------------------------------- the transformer


def test_keys_and_cls_are_those_of_the_released_extractor(recorded_vit):
    keys, cls = recorded_vit().keys_and_cls(VIT["image"])
    assert_close(keys[0], VIT["keys_concat"], atol=4e-6, rtol=2e-6)
    assert_close(cls[0], VIT["cls_block11_prenorm"], atol=4e-6, rtol=2e-6)
    assert_close(keys[0], VIT["keys_htd"].transpose(0, 1).flatten(1), atol=4e-6, rtol=2e-6)    # the heads side by side
    assert_close(keys, VIT["qkv_layer11"][..., 24:48], atol=4e-6, rtol=2e-6)
    assert_close(self_similarity(keys), VIT["self_sim"], atol=4e-6, rtol=0)


def test_cls_is_read_before_the_final_norm(recorded_vit):
    vit = recorded_vit()
    _, cls = vit.keys_and_cls(VIT["image"])
    assert_close(cls, VIT["block11_out"][:, 0], atol=4e-6, rtol=2e-6)
    assert_close(vit.model.norm(cls)[0], VIT["cls_after_final_norm"], atol=4e-6, rtol=2e-6)
    assert (cls[0] - VIT["cls_after_final_norm"]).abs().max() > 1


@pytest.mark.parametrize(("antialias", "name"), [(False, "net_input"), (True, "net_input_antialias_true")])
def test_pictures_reach_the_transformer_as_in_the_released_code(recorded_vit, antialias, name):
    vit, seen = recorded_vit(antialias=antialias), []
    hook = vit.model.patch_embed.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    vit.keys_and_cls(VIT["image"])
    hook.remove()
    assert_close(seen[0], VIT[name], atol=2e-6, rtol=2e-6)


def test_the_transformer_keeps_no_hooks_and_asks_for_no_gradient(recorded_vit):
    vit, image = recorded_vit(), VIT["image"].clone().requires_grad_()
    keys, cls = vit.keys_and_cls(image)
    (keys.sum() + cls.sum()).backward()
    assert image.grad.abs().sum() > 0 and all(p.grad is None for p in vit.model.parameters())
    assert not vit.model.blocks[-1]._forward_hooks and not vit.model.blocks[-1].attn.qkv._forward_hooks


def test_a_transformer_without_cls_is_refused_with_a_cure():
    with pytest.raises(ValueError, match=r"Linear has no \[CLS\] token.* such as vit_base_patch8_224\.dino"):
        ViT(nn.Linear(1, 1))


def test_resizing_to_the_same_size_changes_nothing():
    assert bilinear(VIT["image"], 40) is VIT["image"]


# -------------------------------------------------------------------------------------------------------- objects


def objects(vit, style=None):
    features = ViTFeatures(vit)
    return {name: make(features, style) for name, make in MAKE.items()}


@pytest.mark.parametrize(("name", "loss"), [
    ("ssim", "structure"), ("contra", "contrast"), ("cls_style", "style"), ("sem_div", "divergence"),
])  # fmt: skip
def test_each_loss_agrees_with_the_released_one_through_the_whole_network(recorded_vit, name, loss):
    view = LOSSES["cur"].clone().requires_grad_()
    value = objects(recorded_vit(), LOSSES["trg"])[loss](state(view, LOSSES["src"], LOSSES["prev"]))
    assert_close(value, LOSSES[name], rtol=1e-5, atol=2e-6)
    assert_close(torch.autograd.grad(value, view)[0], LOSSES[f"{name}_grad"], rtol=1e-4, atol=5e-6)


@pytest.mark.parametrize(("name", "style", "divergence", "factor"), [
    ("total_text_dir", False, True, 1), ("total_text_nodir", False, False, 1), ("total_text_frac2", False, False, 2),
    ("total_image_dir", True, True, 1), ("total_image_dir_antialias_true", True, True, 1),
])  # fmt: skip
def test_the_weighted_sums_agree_with_the_released_ones(recorded_vit, name, style, divergence, factor):
    vit = recorded_vit(antialias=name.endswith("antialias_true"))
    view, terms = LOSSES["cur"].clone().requires_grad_(), objects(vit, LOSSES["trg"])
    s = state(view, LOSSES["src"], LOSSES["prev"])
    total = LOSSES["lambda_ssim"] * terms["structure"](s) + factor * LOSSES["lambda_contra_ssim"] * terms["contrast"](s)
    total = total + divergence * LOSSES["lambda_dir_cls"] * terms["divergence"](s)
    total = total + style * LOSSES["lambda_trg"] * terms["style"](s)
    assert_close(total.float(), LOSSES[name], rtol=1e-5, atol=1e-2)
    if f"{name}_grad" in LOSSES:
        grad, want = torch.autograd.grad(total, view)[0], LOSSES[f"{name}_grad"]
        assert (grad - want).abs().max() < 1e-4 * want.abs().max()


def test_a_batch_is_summed_where_the_released_code_averages_contrast(recorded_vit):
    """Recorded: the pairs (cur, src) and (prev, trg) together, and the second alone."""
    view, source = torch.cat([LOSSES["cur"], LOSSES["prev"]]), torch.cat([LOSSES["src"], LOSSES["trg"]])
    both = objects(recorded_vit())
    assert_close(both["structure"](state(view, source)), LOSSES["ssim_batch2"], rtol=1e-5, atol=0)
    assert_close(both["contrast"](state(view, source)) / 2, LOSSES["contra_batch2"], rtol=1e-5, atol=0)
    second = objects(recorded_vit())
    assert_close(second["structure"](state(view[1:], source[1:])), LOSSES["ssim_second"], rtol=1e-5, atol=0)
    assert_close(second["contrast"](state(view[1:], source[1:])), LOSSES["contra_second"], rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", MAKE)
def test_a_batch_of_three_is_three_runs_of_one(name):
    view, source, previous, style = (rows(k, 3, 3, 4, 4) for k in range(4))
    together = objects(ToyViT(), style)[name](state(view, source, previous))
    alone = sum(
        objects(ToyViT(), style[k : k + 1])[name](state(*(z[k : k + 1] for z in (view, source, previous))))
        for k in range(3)
    )
    assert_close(together, alone)


@pytest.mark.parametrize("name", MAKE)
def test_gradients_of_the_objects_agree_with_finite_differences(name):
    view, source, previous, style = (rows(k, 1, 3, 4, 4) for k in range(4))
    assert torch.autograd.gradcheck(
        lambda v: objects(ToyViT(), style)[name](state(v, source, previous)), view.requires_grad_()
    )


def test_one_pass_per_step_serves_all_losses_and_the_constants_are_found_once():
    vit, source, style = ToyViT(), rows(1, 2, 3, 4, 4), rows(2, 1, 3, 4, 4)
    terms, previous = objects(vit, style), None
    for k in range(5):
        view = rows(10 + k, 2, 3, 4, 4)
        now = State(4 - k, 0, view, view, source, source, previous)
        sum(loss(now) for loss in terms.values())
        previous = Step(4 - k, 0, view, view.detach(), view.detach())
    assert vit.calls == 5 + 1 + 1                                           # steps, source, style


def test_divergence_leaves_the_step_before_and_at_first_the_source():
    source, first, second = rows(1, 1, 3, 4, 4), rows(2, 1, 3, 4, 4), rows(3, 1, 3, 4, 4)
    loss, vit = ClsDivergence(ViTFeatures(ToyViT())), ToyViT()

    def want(a, b):
        return -cls_distance(vit.keys_and_cls(a)[1], vit.keys_and_cls(b)[1]).sum()

    assert_close(loss(state(first, source)), want(first, source))
    assert_close(loss(state(second, source, first)), want(second, first))
    assert_close(loss(state(first, source, second)), want(first, second))
    assert_close(loss(state(first, source)), want(first, source))           # a new run begins with the source again


def test_a_picture_never_seen_before_can_be_the_step_before():
    source, seen, other = rows(1, 1, 3, 4, 4), rows(2, 1, 3, 4, 4), rows(3, 1, 3, 4, 4)
    fresh, used = (ClsDivergence(ViTFeatures(ToyViT())) for _ in range(2))
    used(state(rows(5, 1, 3, 4, 4), source))
    assert_close(used(state(seen, source, other)), fresh(state(seen, source, other)))


def test_no_gradient_flows_to_source_style_or_the_step_before():
    view, source, previous, style = (rows(k, 1, 3, 4, 4).requires_grad_() for k in range(4))
    sum(loss(state(view, source, previous)) for loss in objects(ToyViT(), style).values()).backward()
    assert view.grad.abs().sum() > 0 and source.grad is previous.grad is style.grad is None


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match="tau, the temperature, must be above 0; got 0"):
        KeyContrast(ViTFeatures(ToyViT()), tau=0)


def test_the_contrast_of_keys_is_taken_at_its_own_temperature():
    view, source, vit = rows(1, 1, 3, 4, 4), rows(2, 1, 3, 4, 4), ToyViT()
    keys, source_keys = (vit.keys_and_cls(picture)[0] for picture in (view, source))
    found = KeyContrast(ViTFeatures(vit), tau=0.5)(state(view, source))
    assert_close(found, key_contrast(keys, source_keys, 0.5).sum())
