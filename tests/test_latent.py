"""The latent diffusion model: diffusers' classes behind our interface, small and random; its training, in seconds."""

import json
import re
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from fabricate import letters
from golden import load, load_json
from torch.testing import assert_close
from typer.testing import CliRunner

from zecon_lite import cli, edit, images, load_models, weights
from zecon_lite.distill import distill
from zecon_lite.losses import AttentionContrast
from zecon_lite.models.latent import Latent, eps_from_v
from zecon_lite.scores import METHODS
from zecon_lite.tiny import bundled, train, train_latent

pytest.importorskip("diffusers")
ATTENTION = {name: torch.from_numpy(array) for name, array in load("cds/cds_attn.npz").items()}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def picture(seed, *shape):
    return torch.rand(shape, generator=seeded(seed)) * 2 - 1


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A random Stable Diffusion of a few thousand parameters, as `save_pretrained` writes it."""
    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModel

    place = tmp_path_factory.mktemp("stable")
    read, words = letters(place / "words")
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, cross_attention_dim=12,
        attention_head_dim=2, down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(
        block_out_channels=(4, 8), latent_channels=4, norm_num_groups=4, scaling_factor=0.5, layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=words, hidden_size=12, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=10, bos_token_id=words - 2, eos_token_id=words - 1, pad_token_id=words - 1,
        )
    )  # fmt: skip
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
    )
    diffusers.StableDiffusionPipeline(
        vae=vae, text_encoder=text, tokenizer=read, unet=unet, scheduler=scheduler, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(place / "model")  # fmt: skip
    return place / "model"


@pytest.fixture(scope="session")
def latent(folder):
    return Latent.pretrained(folder)


def run(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], env={"COLUMNS": "160"})


def plain(text):
    return re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;]*m", "", text))


# ----------------------------------------------------------------------------------------------------- the interface


def test_in_tiles_the_autoencoder_never_sees_more_than_its_own_size(latent):
    seen, tiled = [], replace(latent, tiles=True)
    side = latent.autoencoder.config.sample_size    # pixels; latents are half as wide
    hooks = [
        module.register_forward_hook(lambda module, inputs, output: seen.append(max(inputs[0].shape[-2:])))
        for module in (latent.autoencoder.encoder, latent.autoencoder.decoder)
    ]
    large = picture(3, 1, 3, side, 2 * side)
    z = tiled.encode(large)
    assert tiled.decode(z).shape == large.shape
    assert max(seen) == side and len(seen) > 2
    seen.clear()
    assert latent.decode(latent.encode(large)).shape == large.shape    # the option leaves others alone
    assert seen == [2 * side, side]
    for hook in hooks:
        hook.remove()
    small = large[..., :side]
    assert_close(tiled.decode(tiled.encode(small)), latent.decode(latent.encode(small)))


@pytest.mark.parametrize("batch", [4, 2])
def test_what_a_hook_sees_is_what_the_released_processor_stores(batch):
    from diffusers.models.attention_processor import Attention

    attention = Attention(query_dim=8, heads=2, dim_head=4)
    attention.load_state_dict({k.removeprefix("w_"): v for k, v in ATTENTION.items() if k.startswith("w_")})
    seen = []
    attention.register_forward_hook(lambda module, inputs, output: seen.append(output))
    attention(ATTENTION[f"in_b{batch}"])
    assert_close(seen[0], ATTENTION[f"out_b{batch}"], atol=1e-5, rtol=1e-5)
    conditional = {4: 2, 2: 1}[batch]    # the row that is stored: the source's, the result's
    assert_close(seen[0][conditional][None], ATTENTION[f"hs_b{batch}"], atol=1e-5, rtol=1e-5)


def test_a_saved_pipeline_loads_and_nothing_in_it_requires_grad(latent, folder):
    networks = (latent.autoencoder, latent.unet, latent.text_encoder)
    assert not any(p.requires_grad for network in networks for p in network.parameters())
    assert load_json("cds/behaviours.json")["prep_unet requires_grad"]["attn1.to_q.weight"]    # the released code's
    assert (latent.size, latent.multiple, latent.name) == (16, 4, str(folder))
    assert latent.alphas_cumprod.shape == (1000,) and latent.alphas_cumprod.dtype == torch.float64


def test_pictures_of_any_shape_become_latents_and_return(latent):
    source = picture(1, 2, 3, 16, 24)
    z = latent.encode(source)
    posterior = latent.autoencoder.encode(source).latent_dist
    assert_close(z, 0.5 * posterior.mean)
    assert_close(latent.decode(z), latent.autoencoder.decode(posterior.mean).sample)


def test_texts_are_read_as_the_pipeline_reads_them(latent):
    import diffusers

    states = latent.text(["a cat", ""])
    assert states.shape == (2, 10, 12) and not torch.allclose(states[0], states[1])
    assert isinstance(latent.unet, diffusers.UNet2DConditionModel)


def test_the_layers_are_the_decoder_s_self_attention_in_its_order(latent):
    layers = latent.layers()
    assert len(layers) == 4 and all("up_blocks" in name and name.endswith("attn1") for name in layers)
    assert latent.layers(("up_blocks.1",)) == layers[2:]
    assert all(name.endswith("attn2") for name in latent.layers(kind="attn2"))
    with pytest.raises(ValueError, match=r"no attn1 layer .* has 'up_blocks.7' in its name; there are down_blocks.0"):
        latent.layers(("up_blocks.7",))


def test_features_are_maps_that_carry_the_gradient_and_leave_no_hook(latent):
    z, text = picture(1, 1, 4, 8, 12).requires_grad_(), latent.text(["a cat"])
    eps, maps = latent.predict(z, 300, text, latent.layers())
    assert eps.shape == z.shape and [tuple(m.shape) for m in maps] == [(1, 16, 4, 6)] * 2 + [(1, 8, 8, 12)] * 2
    assert torch.autograd.grad(maps[0].square().sum(), z)[0].abs().max() > 0
    assert not any(module._forward_hooks for module in latent.unet.modules())
    assert_close(latent.predict(z, 300, text)[0], eps)
    seen = []
    hook = latent.unet.get_submodule(latent.layers()[3]).register_forward_hook(lambda m, i, output: seen.append(output))
    latent.predict(z, 300, text)
    hook.remove()
    assert_close(maps[3][0, :, 2, 5], seen[0][0, 2 * 12 + 5])    # row by row


def test_v_predictions_become_noise(latent):
    z, text, a = picture(1, 1, 4, 8, 8), latent.text(["a cat"]), latent.alphas_cumprod[300]
    v = latent.predict(z, 300, text)[0]
    assert_close(replace(latent, eps=eps_from_v).predict(z, 300, text)[0], a.sqrt() * v + (1 - a).sqrt() * z)


def test_inside_autocast_latents_and_features_stay_float32(latent):
    z, text = picture(1, 1, 4, 8, 8), latent.text(["a cat"])
    exact, half = (
        replace(latent, autocast=dtype).predict(z, 300, text, latent.layers()) for dtype in (None, torch.bfloat16)
    )
    assert half[0].dtype == half[1][0].dtype == torch.float32
    assert 0 < (half[0] - exact[0]).abs().max() < 0.1


def test_the_token_states_of_clip_are_what_it_projects_to_its_embedding():
    clip, texts = load_models("tiny", "cpu").clip, ["a pencil sketch of a cat"]
    end = clip.tokenizer(texts).argmax(1).item()
    states = clip.token_states(texts)
    assert_close(states[0, end] @ clip.model.text_projection, clip.text(texts)[0], atol=1e-5, rtol=1e-4)
    assert clip.token_states([""]).shape == states.shape == (1, 18, 96)
    with pytest.warns(UserWarning, match="does not know the word 'zebra'"):
        clip.token_states(["a zebra"])


def test_another_kind_of_prediction_or_no_model_is_refused(latent, folder, tmp_path):
    import diffusers

    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    pipeline.scheduler = diffusers.DDIMScheduler(prediction_type="sample", clip_sample=False, steps_offset=1)
    with pytest.raises(ValueError, match="the UNet predicts 'sample'; known are epsilon, v_prediction"):
        Latent.from_pipeline(pipeline)
    with pytest.raises(OSError, match=r"no latent diffusion model could be loaded from .*give a folder that save_pre"):
        Latent.pretrained(tmp_path)


def test_without_diffusers_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ModuleNotFoundError, match=r'needs diffusers: pip install "zecon-lite\[latent\]"'):
        Latent.pretrained("anything")


# ----------------------------------------------------------------------------------------------------------- editing


def test_the_front_door_takes_a_pipeline_as_it_takes_a_latent(latent, folder, tmp_path):
    import diffusers

    source, steps = picture(1, 1, 3, 16, 24), []
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    results = [
        edit(source, "a pig", "a cat", latent=model, iterations=3, seed=4, on_step=steps.append)
        for model in (latent, pipeline)
    ]
    assert_close(results[0].image, results[1].image)
    assert results[0].image.shape == source.shape and len(steps) == 6
    (path,) = results[0].save(tmp_path / "pig.png")
    settings = images.read_metadata(path)
    wanted = {"method": "cds", "prompt": "a pig", "source_prompt": "a cat", "seed": "4", "iterations": "3"}
    assert wanted.items() <= settings.items() and settings["weights"] == "score=1 contrast=3"


def test_a_batch_with_several_prompts_equals_runs_of_one(latent, tmp_path):
    source, prompts = picture(1, 2, 3, 16, 16), ["a pig", "a dog"]
    together = edit(source, prompts, "a cat", latent=latent, iterations=2, seed=1)
    alone = [
        edit(source[k : k + 1], prompt, "a cat", latent=latent, iterations=2, seed=1).image
        for k in range(2)
        for prompt in prompts
    ]
    assert_close(together.image, torch.cat(alone), atol=1e-4, rtol=1e-4)
    paths = together.save(tmp_path / "out.png")
    assert [images.read_metadata(path)["prompt"] for path in paths] == prompts * 2


def test_a_run_equals_the_released_order_of_work(latent):
    """The released loop: a batch of four, then a batch of two through which the contrast goes back; two calls of
    backward, one step of SGD, and a surrogate loss that is divided by the latent's size."""
    source, (h, w) = picture(1, 1, 4, 8, 8), (8, 8)
    term, layers, a = AttentionContrast(patches=9), latent.layers(), latent.alphas_cumprod.float()
    method = replace(METHODS["cds"], contrast=term, iterations=3, score_scale=2000 / (h * w))
    steps = list(distill(latent, source, "a pig", "a cat", method=method, generator=seeded(3)))

    z, generator = source.clone().requires_grad_(), seeded(3)
    sgd, (null, cat, pig) = torch.optim.SGD([z], lr=0.1), (latent.text([text]) for text in ("", "a cat", "a pig"))
    for step in steps:
        t = torch.randint(50, 949, (1,), generator=generator)
        noise = torch.randn(z.shape, generator=generator)
        noised = [a[t].sqrt() * x + (1 - a[t]).sqrt() * noise for x in (source, z)]
        with torch.no_grad():
            eps, maps = latent.predict(torch.cat(noised * 2), t.item(), torch.cat([null, null, cat, pig]), layers)
            guided = eps[:2] + 7.5 * (eps[2:] - eps[:2])
        _, ours = latent.predict(torch.cat([noised[1]] * 2), t.item(), torch.cat([null, pig]), layers)
        sgd.zero_grad()
        (2000 * (z * (guided[1:] - guided[:1])).sum() / (h * w)).backward()
        (3 * term([m[1:] for m in ours], [m[2:3] for m in maps], generator)).backward()
        sgd.step()
        assert step.t == t.item()
        assert (step.z - z).norm() < 1e-4 * (z - source).norm()    # guidance multiplies what rounding leaves
    assert min(steps[-1].contrast.abs().max(), steps[-1].score.abs().max()) > 1e-4


def test_sides_that_do_not_divide_are_refused_with_the_line_that_mends_it(latent):
    with pytest.raises(ValueError, match=r"16 x 18; sides must be multiples of 4: use images.fit\(source, 16, mult"):
        edit(picture(1, 1, 3, 16, 18), "a pig", "a cat", latent=latent)


def test_equal_prompts_are_refused(latent):
    with pytest.raises(ValueError, match="prompt and source_prompt are the same, so there is nothing to change"):
        edit(picture(1, 1, 3, 16, 16), "a cat", "a cat", latent=latent)


# -------------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def photo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images.save(picture(1, 1, 3, 20, 40), tmp_path / "cat.png")
    return tmp_path / "cat.png"


def test_the_command_edits_with_every_option(photo, folder):
    done = run(
        "edit", photo, "a pig", "--also", "a dog", "--source-prompt", "a cat", "--method", "cds", "--iterations", 2,
        "--weight", "contrast=1.5", "--seed", 3, "--model", folder, "--layers", "up_blocks.1", "--patch-size", 1,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert done.stdout.split() == ["saved", "cat_a-pig.png", "saved", "cat_a-dog.png"]
    settings = images.read_metadata("cat_a-dog.png")
    assert images.load("cat_a-dog.png").shape == (1, 3, 16, 32)
    wanted = {"prompt": "a dog", "weights": "score=1 contrast=1.5", "layers": "up_blocks.1", "patch_sizes": "1"}
    assert {**wanted, "seed": "3", "iterations": "2", "photograph": "cat.png"}.items() <= settings.items()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], 'cds compares with the source: say what it shows, as in --source-prompt "a cat"'),
        (["-s", "a cat", "-m", "ddss"], "there is no method 'ddss'; did you mean 'dds'"),
        (["-s", "a cat", "-w", "contrats=2"], "there is no weight 'contrats'; did you mean 'contrast'"),
        (["-s", "a cat", "-w", "contrast=much"], "a weight must be NAME=VALUE"),
        (["-s", "a cat", "-o", "out.gif"], "must end in one of"),
        (["-s", "a cat", "--model", "nowhere/at/all"], "no latent diffusion model could be loaded from"),
        (["-s", "a cat", "--layers", "up_blocks.9", "--model", "MODEL"], "no attn1 layer of this UNet has 'up_"),
        (["-s", "a pig", "--model", "MODEL"], "prompt and source_prompt are the same"),
    ],
)
def test_bad_input_ends_with_a_sentence_and_code_2(photo, folder, arguments, message):
    done = run("edit", photo, "a pig", *(folder if a == "MODEL" else a for a in arguments))
    assert done.exit_code == 2 and message in plain(done.stderr)
    assert [path.name for path in photo.parent.iterdir()] == ["cat.png"]


def test_without_bundled_weights_the_command_says_how_to_get_them(photo, monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "BUNDLED", tmp_path)
    done = run("edit", photo, "a pig", "-s", "a cat")
    assert done.exit_code == 2 and "python -m zecon_lite.tiny.train autoencoder" in plain(done.stderr)


def test_without_the_library_the_command_says_what_to_install(photo, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    done = run("edit", photo, "a pig", "-s", "a cat", "--model", "anything")
    assert done.exit_code == 2 and 'pip install "zecon-lite[latent]"' in plain(done.stderr)


# ---------------------------------------------------------------------------------------------------------- training


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """One shard of noise: what it shows does not matter here."""
    folder, rng = tmp_path_factory.mktemp("shards"), np.random.default_rng(0)
    labels = {"style": np.arange(48) % 13, "object": np.arange(48) % 12, "background": np.arange(48) % 6}
    pictures = rng.integers(0, 256, (48, 3, 64, 64)).astype(np.uint8)
    np.savez(folder / "shard_0000.npz", images=pictures, **{k: v.astype(np.int8) for k, v in labels.items()})
    return folder


def test_autoencoder_and_latent_model_train_resume_and_load(shards, tmp_path, monkeypatch, capsys):
    place, weights_of_the_package = tmp_path / "weights", train.WEIGHTS
    place.mkdir()
    for name in ("clip.json", "clip.safetensors", "judge_a.safetensors", "judge_b.safetensors"):
        shutil.copy(train.WEIGHTS / name, place)
    monkeypatch.setattr(train, "WEIGHTS", place)
    monkeypatch.setattr(train, "CHECKPOINTS", tmp_path / "checkpoints")
    monkeypatch.setattr(train_latent, "JUDGED", 3)
    monkeypatch.setattr(train_latent, "STEPS", 2)
    monkeypatch.setattr(weights, "BUNDLED", place)

    def cards(name, *samples):
        for n in samples:
            train.main([name, "--data", str(shards), "--batch", "8", "--device", "cpu", "--samples", str(n)])
            yield json.loads((place / f"{name}.json").read_text())

    with pytest.raises(SystemExit):
        next(cards("latent", 8))
    assert "train it first with python -m zecon_lite.tiny.train autoencoder" in capsys.readouterr().err
    (card,) = cards("autoencoder", 16)
    assert card["samples_seen"] == 16 and card["scores"]["psnr"] > 0 and card["scaling_factor"] > 0
    (card,) = cards("latent", 16)
    assert card["scores"].keys() == {"v_mse", "style_a", "object_a", "style_b", "object_b"} and card["vocabulary"]
    tower = weights.read(place / "clip.safetensors")["ln_final.weight"]
    train.main(["latent", "--data", str(shards), "--batch", "8", "--device", "cpu", "--samples", "24"])
    resumed = torch.load(tmp_path / "checkpoints" / "latent.pt", weights_only=True)
    assert resumed["seen"] == 24
    assert torch.equal(resumed["network"]["text.ln_final.weight"], tower.float())    # the tower is not trained

    latent = load_models("tiny", "cpu").latent
    assert (latent.size, latent.multiple) == (64, 16) and len(latent.layers()) == 4
    picture_ = picture(1, 1, 3, 64, 64)
    assert latent.encode(picture_).shape == (1, 4, 16, 16)
    assert edit(picture_, "a cat", "a house", latent=latent, iterations=1).image.shape == picture_.shape

    shutil.copy(weights_of_the_package / "autoencoder.safetensors", place)
    with pytest.raises(ValueError, match=r"knows the latents of another autoencoder: train it anew.* latent --anew"):
        bundled.load_latent()


def test_the_command_hands_the_guidance_on(photo, folder):
    done = run("edit", photo, "a pig", "-s", "a cat", "--iterations", 1, "--guidance", 3, "--model", folder)
    assert done.exit_code == 0 and images.read_metadata("cat_a-pig.png")["guidance"] == "3"


def test_the_front_door_hands_on_what_is_not_wanted(latent):
    asked = {"latent": latent, "method": "sds", "iterations": 2}
    plain, other = (edit(picture(1, 1, 3, 16, 16), "a pig", negative_prompt=n, **asked).image for n in ("", "a dog"))
    assert not torch.equal(plain, other)


def test_the_command_frames_the_photograph_as_asked(photo, folder):
    words = ["-s", "a cat", "--iterations", 1, "--model", folder, "--fit", "pad", "--size", 24]
    assert run("edit", photo, "a pig", *words).exit_code == 0
    assert images.load("cat_a-pig.png").shape == (1, 3, 12, 24)    # of 20 x 40
