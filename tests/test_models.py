"""The adapters over open_clip and torchvision, and the bundled networks behind them."""

import warnings

import pytest
import torch
from golden import load
from torch import nn

from zecon_lite import load_models
from zecon_lite.models.clip import OPENAI_MEAN, OPENAI_STD, Clip
from zecon_lite.models.resize import bicubic_centre
from zecon_lite.models.vgg import VGG
from zecon_lite.tiny import world
from zecon_lite.tiny.networks import VGG_LAYERS, WordTokenizer, build_vgg


@pytest.fixture(scope="module")
def models():
    return load_models("tiny", device="cpu")


class Pixels(nn.Module):
    """Stands in for CLIP: the embedding is the picture."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def encode_image(self, images):
        return (self.scale * images).flatten(1)

    def encode_text(self, tokens):
        return tokens.float()


def test_clip_normalises_with_its_own_statistics():
    clip = Clip(Pixels(), None, size=2, mean=(0.5, 0.25, 0.0), std=(0.5, 0.5, 2.0))
    out = clip.image(torch.ones(1, 3, 2, 2)).view(3, 4)
    torch.testing.assert_close(out, torch.tensor([[1.0], [1.5], [0.5]]).expand(3, 4))


@pytest.mark.parametrize("side", [4, 2, 1])
def test_clip_resizes_what_it_is_shown(side):
    clip = Clip(Pixels(), None, size=2, mean=(0, 0, 0), std=(1, 1, 1))
    assert clip.image(torch.full((1, 3, side, side), 0.4)).shape == (1, 12)
    torch.testing.assert_close(clip.image(torch.full((1, 3, side, side), 0.4)), torch.full((1, 12), 0.7))


def test_clip_passes_gradients_beyond_the_range_and_never_asks_for_its_own():
    clip = Clip(Pixels(), None, size=2)
    x = torch.full((1, 3, 2, 2), 1.5, requires_grad=True)
    clip.image(x).sum().backward()
    assert (x.grad > 0).all() and clip.model.scale.grad is None


def test_the_bundled_clips_embedding_is_the_mean_of_its_patches_under_its_head(models):
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    patches = models.clip.patches(pictures)
    assert patches.shape == (2, 192, 4, 4)
    torch.testing.assert_close(models.clip.model.visual.head(patches.mean((2, 3))), models.clip.image(pictures))


@pytest.mark.parametrize(
    ("vision", "shape"),
    [
        ({"layers": 1, "width": 64, "head_width": 32, "patch_size": 8, "image_size": 32}, (2, 64, 4, 4)),
        ({"layers": [1, 1, 1, 1], "width": 16, "image_size": 64}, (2, 512, 2, 2)),
    ],
    ids=["transformer", "residual network"],
)
def test_published_kinds_of_clip_give_patches_too(vision, shape):
    import open_clip

    torch.manual_seed(0)
    text = {"context_length": 8, "vocab_size": 20, "width": 16, "heads": 2, "layers": 1}
    clip = Clip(open_clip.CLIP(16, vision, text), None, vision["image_size"])
    pictures = torch.rand(2, 3, clip.size, clip.size) * 2 - 1
    patches, visual = clip.patches(pictures), clip.model.visual
    assert patches.shape == shape
    if hasattr(visual, "attnpool"):
        torch.testing.assert_close(visual.attnpool(patches), clip.image(pictures))
    else:
        visual.output_tokens = True  # open_clip's own way to the same tokens
        torch.testing.assert_close(patches.flatten(2).mT, visual(clip._as_trained(pictures))[1])


def test_the_vits_patches_are_its_keys_in_reading_order_without_that_of_cls(models):
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    keys, _ = models.vit.keys_and_cls(pictures)
    patches = models.vit.patches(pictures)
    assert patches.shape == (2, 128, 8, 8)
    assert torch.equal(patches[:, :, 3, 5], keys[:, 1 + 3 * 8 + 5])


def test_the_tokenizer_reads_words_whatever_their_case_and_punctuation():
    tokenizer = WordTokenizer(["a", "pencil", "sketch"], context_length=6)
    one, two = tokenizer(["A pencil-sketch!", "a pencil sketch"])
    assert torch.equal(one, two)
    assert one.tolist() == [tokenizer.start, 1, 2, 3, tokenizer.end, 0]


def test_the_end_token_is_the_highest_and_survives_cutting():
    tokenizer = WordTokenizer(["a"], context_length=4)
    (tokens,) = tokenizer(["a a a a a a"])
    assert tokens.argmax() == 3 and tokens[3] == tokenizer.end == len(tokenizer) - 1


def test_an_empty_prompt_is_refused_with_an_example(models):
    with pytest.raises(ValueError, match=r"the prompt is empty: .*a pencil sketch"):
        models.clip.text(["  "])


@pytest.mark.parametrize("text", ["!!!", "水墨画"])
def test_a_prompt_without_a_word_is_refused_where_an_empty_one_may_stand_too(models, text):
    for read in (models.clip.text, models.clip.token_states):
        with pytest.raises(ValueError, match=f"finds no word in '{text}': it reads English, .*a pencil sketch"):
            read([text])
    models.clip.token_states(["", " "])


def test_an_unknown_word_is_named_with_the_nearest_known(models):
    with pytest.warns(UserWarning, match=r"does not know the word 'pencl' \(the nearest it knows: pencil"):
        models.clip.text(["a pencl sketch"])


def test_known_prompts_pass_in_silence(models):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        models.clip.text([words[0] for words in world.STYLE_WORDS.values()])


def test_the_bundled_clip_names_most_styles_of_held_out_scenes(models):
    scenes = world.render(world.held_out_seeds(36, start=5000), size=models.size)
    styles = list(world.STYLES)
    pictures = torch.cat([world.apply_style(s, scenes.image[k::12], scenes.seeds[k::12]) for k, s in enumerate(styles)])
    with torch.no_grad():
        image = nn.functional.normalize(models.clip.image(pictures), dim=1)
        text = nn.functional.normalize(models.clip.text([world.STYLE_WORDS[s][0] for s in styles]), dim=1)
    right = (image @ text.T).argmax(1) == torch.arange(12).repeat_interleave(3)
    assert right.float().mean() > 0.8


def test_the_bundled_denoiser_inverts_a_photograph_and_leads_home(models):
    from zecon_lite import images
    from zecon_lite.samplers import ddim_step, invert, sample

    photo = images.fit(images.photograph("coffee"), models.size, mode="crop", multiple=models.multiple)
    denoiser = models.denoiser.respace(50)
    *_, last = sample(denoiser, invert(denoiser, photo, 25), range(25, -1, -1), step=ddim_step)
    assert (last.x - photo).square().mean() < 0.01


def test_no_network_of_the_profile_requires_grad(models):
    networks = (models.denoiser.unet, models.clip.model, models.vgg.features)
    assert not any(p.requires_grad for network in networks for p in network.parameters())
    assert not any(network.training for network in networks)


def test_networks_are_loaded_once_and_when_first_used():
    fresh = load_models("tiny", device="cpu")
    assert "clip" not in vars(fresh)
    assert fresh.clip is fresh.clip and "denoiser" not in vars(fresh)


def test_vgg_reads_after_the_relu_and_no_deeper():
    features = build_vgg()
    with torch.no_grad():
        for p in features[7:].parameters():
            p.fill_(float("nan"))  # would show if anything deeper ran
    first, second = VGG(features)(torch.randn(2, 3, 16, 16))
    assert first.shape == (2, VGG_LAYERS[0], 16, 16) and second.shape == (2, VGG_LAYERS[3], 8, 8)
    assert first.min() == 0 and second.min() == 0 and torch.isfinite(second).all()


def test_vgg_layers_are_numbered_as_in_torchvisions_vgg19():
    from torchvision.models import vgg19

    with torch.device("meta"):
        full = vgg19(weights=None).features
    for k in range(7):
        assert type(full[k]) is type(build_vgg()[k])


def test_diffusionclips_recorded_clip_input_is_reproduced_with_and_without_antialias():
    recorded = {name: torch.from_numpy(array) for name, array in load("diffusionclip/cliploss.npz").items()}
    mean, std = (torch.tensor(s)[:, None, None] for s in (OPENAI_MEAN, OPENAI_STD))
    for antialias, name in ((True, "torchvision_default_antialias"), (False, "no_antialias_as_torch1.7")):
        ours = (bicubic_centre((recorded["pre_in"] + 1) / 2, 28, antialias) - mean) / std
        torch.testing.assert_close(ours, recorded[f"pre_out_{name}"], atol=1e-5, rtol=0)


def test_words_of_a_prompt_for_which_there_is_no_room_are_named(models):
    with pytest.warns(UserWarning, match="no room for so many words, and does not read .pencil sketch.: make"):
        models.clip.text(["a photo of " * 5 + "a pencil sketch"])


def test_a_text_is_embedded_alike_whatever_was_embedded_with_it():
    texts = ["a pencil sketch", "a mosaic", "stained glass", "a photo of a cat by the sea"]
    together = load_models("tiny", "cpu").clip.text(texts)
    for k, text in enumerate(texts):
        assert torch.equal(load_models("tiny", "cpu").clip.text([text])[0], together[k])
