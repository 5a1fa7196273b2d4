"""SDS, DDS, CDS: formulas and steps against recorded results, then the descent with a network that is one line."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden import load, load_json
from torch.testing import assert_close

from zecon_lite import distill as module
from zecon_lite import load_models
from zecon_lite.distill import distill, edit
from zecon_lite.losses import AttentionContrast, contrast, place_nce, result_anchored, source_anchored
from zecon_lite.models.latent import eps_from_eps, eps_from_v
from zecon_lite.scores import METHODS, Method, classifier_free_guidance, dds_gradient, sds_gradient

DDS, CDS_CUT, CUT = (
    {name: torch.from_numpy(array) for name, array in load(f"cds/{file}.npz").items()}
    for file in ("dds", "cds_cut", "cut")
)
RECORDED = {"atol": 1e-5, "rtol": 1e-5}    # the README's tolerance
A = DDS["acp"][DDS["t"].item()].double()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def latents(seed, *shape):
    return torch.randn(shape, generator=seeded(seed))


class Stub:
    """The recorded stand-in for a UNet, tanh(0.8 z) (1 + mean of the text) + 1e-4 t, with two maps of z itself."""

    alphas_cumprod = DDS["acp"].double()

    def __init__(self, eps=eps_from_eps):
        self.eps, self.asked = eps, []

    def text(self, texts):
        return torch.stack([latents(sum(map(ord, text)), 5, 6) for text in texts])

    def layers(self, parts, kind):
        return ["near", "far"]

    def predict(self, z, i, text, layers):
        self.asked.append((z.detach(), i, text))
        output = (0.8 * z).tanh() * (1 + text.mean((1, 2)))[:, None, None, None] + 1e-4 * i
        maps = [torch.cat([z, z.square()], dim=1), F.avg_pool2d(z, 2)]
        return self.eps(z, self.alphas_cumprod[i], output), maps[: len(layers)]


def last(*arguments, **options):
    *_, step = distill(*arguments, **options)
    return step


FEW = {name: method.changed(iterations=3) for name, method in METHODS.items()}


# ---------------------------------------------------------------------------------- contrast, against the recorded one


def recorded_order(tag):
    """The recorded permutations of one map, by the number of places they are of."""
    side = int(CDS_CUT[f"{tag}_ref"].shape[1] ** 0.5)
    sizes = [p for p in (1, 2, 4) if f"{tag}_ids_ps{p}" in CDS_CUT]
    return tuple(sizes), lambda n, generator: CDS_CUT[f"{tag}_ids_ps{side // round(n**0.5)}"].long()


@pytest.mark.parametrize("tag", ["res16_n256", "res32_n256", "res9_n16", "res8_n1000"])
def test_the_contrast_agrees_with_the_released_loss_and_gradient(tag, monkeypatch):
    sizes, order = recorded_order(tag)
    monkeypatch.setattr(torch, "randperm", order)
    tokens = CDS_CUT[f"{tag}_trg"].clone().requires_grad_()
    source = CDS_CUT[f"{tag}_ref"].clone().requires_grad_()
    side = int(tokens.shape[1] ** 0.5)
    result_map, source_map = (x.mT.unflatten(2, (side, side)) for x in (tokens, source))
    term = AttentionContrast(patch_sizes=sizes, patches=int(tag.split("_n")[1]))
    loss = term([result_map], [source_map])
    assert_close(loss, CDS_CUT[f"{tag}_loss"], **RECORDED)
    loss.backward()
    assert_close(tokens.grad, CDS_CUT[f"{tag}_dtrg"], **RECORDED)
    assert source.grad is None and load_json("cds/behaviours.json")[f"cds ref gets grad {tag}"] is False


def test_the_cross_entropy_of_cds_agrees_with_the_released_one():
    result = CDS_CUT["nce_trg"].clone().requires_grad_()
    each = source_anchored(result, CDS_CUT["nce_ref"])
    assert_close(each, CDS_CUT["nce_per_patch"], **RECORDED)
    assert_close(torch.autograd.grad(each.mean(), result)[0], CDS_CUT["nce_dtrg_of_mean"], **RECORDED)


@pytest.mark.parametrize(("tag", "pictures"), [("b1", 1), ("b2", 2), ("b2_allneg", 1)])
def test_the_cross_entropy_of_cut_agrees_with_the_released_one(tag, pictures):
    query, key = (CUT[f"{tag}_{name}"].clone().requires_grad_() for name in "qk")
    each = result_anchored(query.unflatten(0, (pictures, -1)), key.unflatten(0, (pictures, -1))).flatten()
    assert_close(each, CUT[f"{tag}_loss"], **RECORDED)
    each.mean().backward()
    assert_close(query.grad, CUT[f"{tag}_dq"], **RECORDED)
    assert key.grad is None and load_json("cds/behaviours.json")[f"CUT k gets grad {tag}"] is False


@pytest.mark.parametrize("kind", ["nomlp", "mlp"])
@pytest.mark.parametrize("layer", [0, 1])
def test_the_rows_at_drawn_places_agree_with_cut_s_sampler(kind, layer):
    rows = contrast._rows(CUT[f"ps_{kind}_feat{layer}"], CUT[f"ps_{kind}_ids{layer}"]).flatten(0, 1)
    if kind == "mlp":    # CUT's learned head: two linear layers
        w = {name: CUT[f"ps_mlp_w_mlp_{layer}.{name}"] for name in ("0.weight", "0.bias", "2.weight", "2.bias")}
        rows = F.linear(F.linear(rows, w["0.weight"], w["0.bias"]).relu(), w["2.weight"], w["2.bias"])
    assert_close(contrast._unit_rows(rows), CUT[f"ps_{kind}_out{layer}"], **RECORDED)


def test_rows_are_scaled_as_cut_s_are():
    assert_close(contrast._unit_rows(CUT["norm_in"]), CUT["norm_out"], **RECORDED)


def test_in_cut_s_roles_a_place_moves_alone_and_in_cds_s_all_move():
    result, source = (F.normalize(latents(k, 6, 5), dim=-1) for k in (1, 2))
    for roles, moved in ((result_anchored, 1), (source_anchored, 6)):
        rows = result.clone().requires_grad_()
        (grad,) = torch.autograd.grad(roles(rows, source)[0], rows)
        assert (grad.abs().sum(1) > 0).sum() == moved


def test_both_roles_are_the_same_table_read_by_rows_and_by_columns():
    result, source = (F.normalize(latents(k, 2, 6, 5), dim=-1) for k in (1, 2))
    table = result @ source.mT / 0.07
    columns, rows = (-table.log_softmax(d).diagonal(dim1=1, dim2=2) for d in (1, 2))
    assert_close(source_anchored(result, source), columns)
    assert_close(result_anchored(result, source), rows)
    assert_close(place_nce(result, source, 1e6), torch.full((2, 6), 6.0).log())    # nothing looks alike at tau = inf


def test_gradients_of_the_contrast_agree_with_finite_differences():
    result, source = latents(1, 2, 3, 4, 6).double().requires_grad_(), latents(2, 2, 3, 4, 6).double()
    for roles in (source_anchored, result_anchored):
        term = AttentionContrast(patches=5, roles=roles, tau=0.5)
        assert torch.autograd.gradcheck(lambda m, term=term: term([m], [source], seeded()), result)


def test_the_contrast_of_a_batch_is_the_sum_of_its_pictures():
    result, source = latents(1, 3, 5, 4, 6), latents(2, 3, 5, 4, 6)
    term = AttentionContrast(patches=7)
    alone = sum(term([result[k : k + 1]], [source[k : k + 1]], seeded()) for k in range(3))
    assert_close(term([result], [source], seeded()), alone)


def test_a_contrast_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="4 x 6, smaller than a patch of 5: leave that layer or that patch size out"):
        AttentionContrast(patch_sizes=(1, 5))([latents(1, 1, 3, 4, 6)], [latents(2, 1, 3, 4, 6)])
    for wrong, message in (
        ({"patches": 1}, "patches must be at least 2"),
        ({"tau": 0}, "tau, the temperature, must be above 0"),
        ({"patch_sizes": (0,)}, "patch_sizes must be whole numbers from 1"),
    ):
        with pytest.raises(ValueError, match=message):
            AttentionContrast(**wrong)


# ------------------------------------------------------------------------------------ scores, against the recorded ones


def test_guided_predictions_agree_with_the_released_ones():
    for who in ("src", "trg"):
        z_t = A.sqrt() * DDS[f"z_{who}"] + (1 - A).sqrt() * DDS["eps"]
        assert_close(z_t, DDS[f"zt_{who}"], **RECORDED)
        null, text = (Stub().predict(z_t, 417, DDS[f"emb_{e}"], ())[0] for e in ("null", who))
        assert_close(classifier_free_guidance(null, text, 7.5), DDS[f"eps_{who}_cfg"], **RECORDED)


def test_the_gradients_agree_with_the_released_ones():
    eps, eps_source, n = DDS["eps_trg_cfg"], DDS["eps_src_cfg"], 8 * 8
    assert_close(dds_gradient(eps, eps_source) / n, DDS["dds_dz"], **RECORDED)
    assert_close(sds_gradient(eps, DDS["eps"]) / n, DDS["sds_dz"], **RECORDED)
    assert_close(2000 / n * dds_gradient(eps, eps_source), DDS["dds_zgrad_2000"], **RECORDED)
    for name, g in (("dds", dds_gradient(eps, eps_source)), ("sds", sds_gradient(eps, DDS["eps"]))):
        assert_close((DDS["z_trg"] * g).sum() / n, DDS[f"{name}_loss"], **RECORDED)
        assert_close(g.square().mean(), DDS[f"{name}_log"], **RECORDED)
    assert_close(DDS["dds_term"], DDS["dds_loss"], **RECORDED)


def recorded_step(monkeypatch, latent, method):
    """One iteration with the recorded timestep, noise and text, at the released code's step for 8 x 8 latents."""
    monkeypatch.setattr(module, "randn_like", lambda x, generator: DDS["eps"])
    method = replace(method, timesteps=(417, 418), score_scale=2000 / 64, iterations=1)
    null, source, prompt = (DDS[f"emb_{e}"] for e in ("null", "src", "trg"))
    return last(
        latent, DDS["z_src"], prompt, source, method=method, negative_prompt=null, start=DDS["z_trg"]
    )


def test_a_whole_step_agrees_with_the_released_one_and_asks_the_same(monkeypatch):
    latent = Stub()
    step = recorded_step(monkeypatch, latent, METHODS["dds"])
    assert_close(step.z, DDS["z_after_sgd_lr0.1"], **RECORDED)
    assert_close(step.losses["score"], DDS["dds_log"].item(), **RECORDED)
    z, text = (torch.cat([asked[k] for asked in latent.asked]) for k in (0, 2))
    ours = [0, 2, 1, 3]    # [src|null, src|src, trg|null, trg|trg] in the order of the released batch
    assert_close(z[ours], DDS["unet_batch_z"], **RECORDED)
    assert_close(text[ours], DDS["unet_batch_emb"], **RECORDED)
    assert {asked[1] for asked in latent.asked} == set(DDS["unet_batch_t"].tolist())


def test_v_predictions_are_turned_into_noise_before_they_are_guided(monkeypatch):
    step = recorded_step(monkeypatch, Stub(eps_from_v), METHODS["dds"])
    assert_close(step.score / 64, DDS["dds_vpred_dz"], **RECORDED)
    assert_close(step.losses["score"], DDS["dds_vpred_log"].item(), **RECORDED)
    assert_close((DDS["z_trg"] * step.score).sum() / 64, DDS["dds_vpred_loss"], **RECORDED)


def test_sds_steps_as_recorded(monkeypatch):
    assert_close(recorded_step(monkeypatch, Stub(), METHODS["sds"]).score / 64, DDS["sds_dz"], **RECORDED)


def test_the_schedule_is_the_recorded_one():
    from zecon_lite import Schedule

    schedule = Schedule.scaled_linear()
    assert_close(schedule.betas.float(), DDS["betas"], **RECORDED)
    assert_close(schedule.alphas_cumprod.float(), DDS["acp"], **RECORDED)


def test_timestep_then_noise_are_drawn_as_in_the_released_code():
    method = METHODS["dds"].changed(iterations=16)
    steps = distill(Stub(), DDS["z_src"], "a pig", "a cat", method=method, generator=seeded(0))
    assert [step.t for step in steps] == DDS["t_seq_seed0_first16"].tolist()
    low, high = load_json("cds/behaviours.json")["cds sampled t min/max over 4000"]
    assert all(m.timesteps == (low, high + 1) for m in METHODS.values())


def test_patches_are_drawn_after_the_noise_layer_by_layer():
    sizes, generator = (96, 24, 24, 6), seeded(3)    # of near and far, patches of 1 and of 2
    method = replace(FEW["cds"], iterations=1)
    step = last(Stub(), latents(1, 1, 4, 8, 12), "a pig", "a cat", method=method, generator=generator)
    again = seeded(3)
    assert step.t == torch.randint(50, 949, (1,), generator=again).item()
    torch.randn(1, 4, 8, 12, generator=again)
    for n in sizes:
        torch.randperm(n, generator=again)
    assert torch.equal(again.get_state(), generator.get_state())


# ------------------------------------------------------------------------------------------------------- the descent


@pytest.mark.parametrize("name", METHODS)
def test_every_picture_and_prompt_comes_out_as_it_would_alone(name):
    source, prompts, sources = latents(1, 3, 4, 8, 12), ["a pig", "a tiger"], ["a cat", "a kitten", "a lion cub"]
    together = last(Stub(), source, prompts, sources, method=FEW[name], generator=seeded(5))
    alone = [
        last(Stub(), source[k : k + 1], prompt, sources[k], method=FEW[name], generator=seeded(5))
        for k in range(3)
        for prompt in prompts
    ]
    assert_close(together.z, torch.cat([step.z for step in alone]))
    for term in together.losses:
        assert_close(together.losses[term], sum(step.losses[term] for step in alone))


def test_several_prompts_share_the_work_on_the_source():
    asked = []
    for prompts in (["a pig"], ["a pig", "a tiger", "a dog"]):
        latent = Stub()
        last(latent, latents(1, 1, 4, 8, 8), prompts, "a cat", method=METHODS["cds"].changed(iterations=1))
        asked.append(sum(len(z) for z, _, _ in latent.asked))
    assert asked == [4, 8]    # two for the source, two for each prompt


def test_the_same_seed_gives_the_same_latent_and_no_global_number_is_drawn():
    before, source = torch.get_rng_state(), latents(1, 1, 4, 8, 8)
    first, second, other = (
        last(Stub(), source, "a pig", "a cat", method=FEW["cds"], generator=seeded(s)).z for s in (1, 1, 2)
    )
    assert torch.equal(first, second) and not torch.allclose(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("side", [8, 16])
def test_a_dds_step_is_0_0488_g_at_every_size(side):
    source = latents(1, 1, 4, side, side)
    step = next(distill(Stub(), source, "a pig", "a cat", method=METHODS["dds"], generator=seeded()))
    assert_close(source - step.z, 0.0488 * step.score, atol=1e-4, rtol=1e-2)
    assert step.score.abs().max() > 0.1


def test_a_cds_step_adds_the_weighted_gradient_of_the_contrast():
    source, start = latents(1, 1, 4, 8, 8), latents(2, 1, 4, 8, 8)
    for weight in (3.0, 0.5):
        method = METHODS["cds"].changed(weights={"contrast": weight})
        step = next(distill(Stub(), source, "a pig", "a cat", method=method, start=start, generator=seeded()))
        assert step.contrast.abs().max() > 1e-4
        assert_close(start - step.z, 0.1 * (2000 / 4096 * step.score + weight * step.contrast), atol=1e-6, rtol=1e-4)


def test_cds_without_its_contrast_is_dds():
    source, cds = latents(1, 1, 4, 8, 8), METHODS["cds"].changed(weights={"contrast": 0}, iterations=3)
    a, b = (
        last(Stub(), source, "a pig", "a cat", method=method, generator=seeded(1)) for method in (cds, FEW["dds"])
    )
    assert torch.equal(a.z, b.z) and a.contrast is None and "contrast" not in a.losses


def test_where_pictures_and_prompts_agree_dds_stays_and_sds_does_not():
    source = latents(1, 1, 4, 8, 8)
    stays, moves = (
        last(Stub(), source, "a cat", "a cat", method=FEW[name], generator=seeded()).z for name in ("dds", "sds")
    )
    assert torch.equal(stays, source) and (moves - source).abs().max() > 0.01


def test_sds_asks_nothing_of_the_source():
    latent = Stub()
    last(latent, latents(1, 2, 4, 8, 8), "a pig", method=METHODS["sds"].changed(iterations=1))
    assert [len(z) for z, _, _ in latent.asked] == [2, 2]


def test_sds_may_have_a_contrast_too():
    source, sds = latents(1, 1, 4, 8, 8), METHODS["sds"].changed(weights={"contrast": 2.0}, iterations=1)
    plain = last(Stub(), source, "a pig", method=FEW["sds"].changed(iterations=1), generator=seeded())
    step = last(Stub(), source, "a pig", "a cat", method=sds, generator=seeded())
    assert torch.equal(step.score, plain.score) and set(step.losses) == {"score", "contrast"}
    with pytest.raises(ValueError, match="sds compares with the source and needs source_prompt"):
        distill(Stub(), source, "a pig", method=sds)


def test_the_caller_s_grad_mode_and_kind_of_number_do_not_matter():
    def last(**changes):
        method = METHODS["cds"].changed(**changes)
        *_, step = distill(Stub(), latents(1, 1, 4, 8, 8), "b", "a", method=method, generator=seeded())
        return step.z

    plain = last(iterations=2, weights={"contrast": 2.0}, guidance=5.0)
    with torch.no_grad():
        assert torch.equal(plain, last(iterations=2, weights={"contrast": 2.0}, guidance=5.0))
    ours = {"iterations": np.int64(2), "weights": {"contrast": np.float64(2)}, "guidance": torch.tensor(5.0)}
    assert torch.equal(plain, last(**ours)) and METHODS["cds"].changed(**ours).guidance == 5.0


def test_the_contrast_holds_the_result_to_the_source():
    source, distance = latents(1, 1, 4, 8, 8), {}
    for weight in (0.0, 3.0):
        method = METHODS["cds"].changed(weights={"contrast": weight}, iterations=40)
        z = last(Stub(), source, "a pig", "a cat", method=method, generator=seeded()).z
        maps = ([F.avg_pool2d(x, 1)] for x in (z, source))
        distance[weight] = AttentionContrast(patch_sizes=(1,))(*maps, seeded()).item()
    assert distance[3.0] < distance[0.0]


# ---------------------------------------------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source_prompt": None}, "cds compares with the source and needs source_prompt: say what the picture shows"),
        ({"source_prompt": ["a", "b", "c"]}, "3 source prompts for 2 pictures: give one for all, or one each"),
        ({"prompt": " "}, "prompt is empty: say what the picture shows"),
        ({"prompt": []}, "prompt is empty"),
        ({"source_prompt": ""}, "source_prompt is empty"),
        ({"source": torch.zeros(4, 8, 8)}, r"must be latents \(B, C, h, w\); got \(4, 8, 8\): use latent.encode"),
        ({"start": torch.zeros(1, 4, 8, 8)}, r"start must have one latent for each picture and prompt, \(2, 4, 8, 8\)"),
        ({"method": replace(METHODS["cds"], timesteps=(0, 2000))}, "trained on 1000 timesteps, and the method draws"),
    ],
)
def test_what_cannot_be_edited_is_said_before_the_first_step(arguments, message):
    given = {"source": torch.zeros(2, 4, 8, 8), "prompt": "a pig", "source_prompt": "a cat", **arguments}
    with pytest.raises(ValueError, match=message):
        distill(Stub(), **given)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"weights": {"contrats": 1.0}}, "there is no weight 'contrats'; did you mean 'contrast'"),
        ({"iterations": 0}, "iterations must be a whole number, at least 1; got 0"),
        ({"timesteps": (900, 50)}, r"timesteps must be \(first, end\)"),
    ],
)
def test_a_method_with_wrong_numbers_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Method(**{"name": "mine", "paper": "", "weights": {"score": 1.0}, **wrong})


def test_a_latent_that_stops_being_finite_is_said():
    method = METHODS["dds"].changed(weights={"score": float("inf")})
    with pytest.raises(FloatingPointError, match="not finite after iteration 0: lower the weights or the rate"):
        next(distill(Stub(), latents(1, 1, 4, 8, 8), "a pig", "a cat", method=method))


def test_the_front_door_refuses_what_it_cannot_use():
    picture = torch.zeros(1, 3, 64, 64)
    with pytest.raises(ValueError, match="there is no method 'cdss'; did you mean 'cds'"):
        edit(picture, "a pig", "a cat", method="cdss")
    with pytest.raises(ValueError, match=r"source must be \(B, 3, H, W\) in \[-1, 1\].*use images.load"):
        edit("cat.jpg", "a pig", "a cat")
    with pytest.raises(ValueError, match=r"a Stable Diffusion 1 or 2 pipeline is wanted.*got Linear"):
        edit(picture, "a pig", "a cat", latent=torch.nn.Linear(1, 1))


def test_without_the_bundled_latent_model_the_message_says_how_to_train_it(tmp_path, monkeypatch):
    monkeypatch.setattr("zecon_lite.weights.BUNDLED", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"python -m zecon_lite\.tiny\.train autoencoder, then python -m"):
        load_models("tiny", "cpu").latent    # noqa: B018  (networks load when they are named)


def test_the_rate_is_how_far_a_step_goes():
    source = latents(1, 1, 4, 8, 8)
    near, far = (
        next(distill(Stub(), source, "a pig", "a cat", method=METHODS["dds"].changed(rate=rate), generator=seeded())).z
        for rate in (0.1, 0.3)
    )
    assert_close(far - source, 3 * (near - source))


def test_the_published_numbers_stand_in_the_methods():
    for method in METHODS.values():
        assert (method.iterations, method.guidance, method.rate, method.timesteps) == (200, 7.5, 0.1, (50, 949))
        contrast = method.contrast
        assert (contrast.patches, contrast.patch_sizes, contrast.tau) == (256, (1, 2), 0.07)
    weights = {name: method.weights["contrast"] for name, method in METHODS.items()}
    assert weights == {"sds": 0, "dds": 0, "cds": 3, "cds_cut_roles": 3}
