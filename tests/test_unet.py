"""The UNet: the released parameter names, and the released outputs."""

import pytest
import torch
from golden import FOLDER, draw, load, load_json
from safetensors.torch import load_file

from zecon_lite.models.unet import Downsample, UNet, UNetConfig, timestep_embedding
from zecon_lite.profiles import PROFILES
from zecon_lite.weights import load_into


@pytest.fixture(scope="module")
def released_small():
    """The small recorded network, with its recorded weights."""
    config = UNetConfig(**load_json("zecon/unetA_keys.json")["config"])
    return load_into(UNet(config), load_file(FOLDER / "zecon/unetA_fp16.safetensors"), "unetA")


def test_timestep_embedding_has_cosines_first_and_falling_frequencies():
    embedding = timestep_embedding(torch.tensor([0, 3]), 8)
    torch.testing.assert_close(embedding[0], torch.tensor([1.0, 1, 1, 1, 0, 0, 0, 0]))
    angles = 3 * torch.tensor([1.0, 0.1, 0.01, 0.001])
    torch.testing.assert_close(embedding[1], torch.cat([angles.cos(), angles.sin()]))


def test_output_and_gradient_equal_the_released_ones(released_small):
    golden = load("zecon/unetA.npz")
    x = torch.from_numpy(golden["x"]).requires_grad_(True)
    y = released_small(x, torch.tensor([37]))
    torch.testing.assert_close(y, torch.from_numpy(golden["y"]), rtol=2e-6, atol=1e-5)
    (grad,) = torch.autograd.grad((y * torch.from_numpy(golden["w"])).sum(), x)
    torch.testing.assert_close(grad, torch.from_numpy(golden["grad_x_of_sum_yw"]), rtol=2e-6, atol=2e-5)
    with torch.no_grad():
        y = released_small(x, torch.tensor([489]))
    torch.testing.assert_close(y, torch.from_numpy(golden["y_t489"]), rtol=2e-6, atol=1e-5)


def test_encoder_features_equal_the_released_ones(released_small):
    golden = load("zecon/unetA.npz")
    features = released_small.encode(torch.from_numpy(golden["x"]), torch.zeros(1, dtype=torch.int64), range(4))
    for k, ours in enumerate(features):
        ours = ours[:, ::16] if k < 2 else ours  # the record keeps every 16th channel of the large maps
        torch.testing.assert_close(ours, torch.from_numpy(golden[f"enc{k}_t0"]), rtol=2e-6, atol=1e-5)


@pytest.mark.parametrize(("profile", "record"), [("imagenet256", "keys_imagenet256_uncond"), ("ffhq256", "keys_ffhq")])
def test_parameter_names_and_shapes_are_the_published_checkpoints(profile, record):
    golden = load_json(f"zecon/{record}.json")
    with torch.device("meta"):
        unet = UNet(PROFILES[profile].unet)
    assert {k: list(v.shape) for k, v in unet.state_dict().items()} == golden["keys"]
    assert list(unet.state_dict()) == list(golden["keys"])
    assert sum(p.numel() for p in unet.parameters()) == golden["num_params"]


@pytest.mark.parametrize(("profile", "record"), [("imagenet256", "imagenet256_uncond"), ("ffhq256", "ffhq")])
def test_features_have_the_shapes_that_zecon_compares(profile, record):
    chosen = PROFILES[profile]
    with torch.device("meta"):
        unet, picture = UNet(chosen.unet), torch.empty(1, 3, 256, 256)
        features = unet.encode(picture, torch.zeros(1, dtype=torch.int64), chosen.feature_blocks)
    assert [list(f.shape) for f in features] == load_json("zecon/flops.json")[record]["nce_feature_shapes"]


def test_without_scale_and_shift_the_embedding_is_added_before_the_norm():
    block = small(use_scale_shift_norm=False).middle_block[0]
    h, emb = torch.randn(2, 16, 8, 8), torch.randn(2, 32)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    wanted = block.in_layers(h) + block.emb_layers(emb)[:, :, None, None]
    torch.testing.assert_close(block(h, emb), block.skip_connection(h) + block.out_layers(wanted))


def small(**changes):
    torch.manual_seed(0)
    numbers = {
        "image_size": 16,
        "model_channels": 8,
        "num_res_blocks": 1,
        "attention_resolutions": (2,),
        "channel_mult": (1, 2),
        "num_head_channels": 8,
        "norm_groups": 4,
    }
    return UNet(UNetConfig(**{**numbers, **changes})).eval()


@pytest.mark.parametrize(
    "changes", [{}, {"resblock_updown": False}, {"patch_size": 2}, {"use_scale_shift_norm": False}, {"out_channels": 3}]
)
def test_every_field_gives_a_network_of_the_right_output(changes):
    unet = small(**changes)
    y = unet(torch.randn(2, 3, 16, 24), torch.tensor([0, 999]))
    assert y.shape == (2, changes.get("out_channels", 6), 16, 24)


def test_pictures_of_a_batch_do_not_see_each_other():
    unet, x, t = small(), torch.randn(3, 3, 16, 16), torch.tensor([1, 500, 999])
    torch.testing.assert_close(unet(x, t)[1:2], unet(x[1:2], t[1:2]), rtol=1e-5, atol=1e-5)


def test_features_are_those_of_the_forward_pass():
    """Asked in any order; and no later block is run than the last one asked for."""
    unet, x, t = small(), torch.randn(1, 3, 16, 16), torch.tensor([5])
    seen = []
    hooks = [
        block.register_forward_hook(lambda m, a, out, k=k: seen.append((k, out)))
        for k, block in enumerate(unet.input_blocks)
    ]
    late, early = unet.encode(x, t, (2, 0))
    assert [k for k, _ in seen] == [0, 1, 2]
    torch.testing.assert_close(late, seen[2][1], rtol=0, atol=0)
    torch.testing.assert_close(early, seen[0][1], rtol=0, atol=0)
    for hook in hooks:
        hook.remove()


def test_in_double_precision_the_network_says_the_same():
    torch.manual_seed(0)
    unet, x = UNet(PROFILES["tiny"].unet), torch.from_numpy(draw(1, 1, 3, 64, 64))
    with torch.no_grad():
        once, twice = unet(x.float(), torch.tensor([400])), unet.double()(x.double(), torch.tensor([400]))
    assert twice.dtype == torch.float64
    torch.testing.assert_close(once.double(), twice, rtol=1e-4, atol=1e-5)


def test_half_precision_touches_convolutions_only():
    unet = small().torso_to(torch.bfloat16)
    assert unet.input_blocks[0][0].weight.dtype == torch.bfloat16
    assert unet.input_blocks[1][0].in_layers[0].weight.dtype == torch.float32
    assert unet.out[2].weight.dtype == unet.time_embed[0].weight.dtype == torch.float32
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([5])
    assert unet(x, t).dtype == torch.float32
    torch.testing.assert_close(unet(x, t), small()(x, t), rtol=0.1, atol=0.1)


def test_downsampling_by_convolution_is_named_as_released():
    assert list(Downsample(4, True).state_dict()) == ["op.weight", "op.bias"]


def test_a_side_that_does_not_divide_says_what_would():
    with pytest.raises(ValueError, match=r"multiples of 2 .* use images\.fit"):
        small()(torch.randn(1, 3, 15, 16), torch.tensor([0]))


def test_a_block_that_is_not_there_says_which_are():
    with pytest.raises(IndexError, match="input blocks 0 to 3"):
        small().encode(torch.randn(1, 3, 16, 16), torch.tensor([0]), (4,))
