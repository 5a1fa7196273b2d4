"""Checkpoints of the published layouts with random numbers in them: the keys, shapes, precision and file formats of the
real files, at full size or, with the networks shrunk by `shrink`, at a width that a test can afford.

    python tests/fabricate.py FOLDER vgg19 clip-rn50      # full size
"""

from __future__ import annotations

import dataclasses
import json
import sys
import warnings
from functools import partial
from pathlib import Path

import torch
from torch import nn

from zecon_lite import profiles, weights
from zecon_lite.models.clip import Clip
from zecon_lite.models.unet import UNet
from zecon_lite.models.vgg import VGG
from zecon_lite.models.vit import ViT

OPENAI_NUMBERS = {"input_resolution": 224, "context_length": 77, "vocab_size": 49408}


def random_like(network):
    """The names of a network's tensors, with new values: small and random; variances are one, counters zero."""
    def values(name, like):
        if not like.is_floating_point():
            return torch.zeros(like.shape, dtype=like.dtype)
        if name.endswith("running_var"):
            return torch.ones(like.shape)
        return torch.randn(like.shape, generator=generator) / 50

    generator = torch.Generator().manual_seed(0)
    return {name: values(name, like) for name, like in network.state_dict().items()}


# --------------------------------------------------------------------------------------------------- one for each kind


def unet(name, path):
    """guided-diffusion: float32, saved by torch.save."""
    (profile,) = weights.MANIFEST[name][0].profiles
    with torch.device("meta"):
        network = UNet(profiles.PROFILES[profile].unet)
    torch.save(random_like(network), path)


def clip(name, path):
    """OpenAI's CLIP: half precision, a TorchScript archive, with three numbers beside the weights."""
    tensors = random_like(Clip.unfilled(profiles._ENSEMBLE[name]).model)
    tensors = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
    save_torchscript(tensors | {k: torch.tensor(v) for k, v in OPENAI_NUMBERS.items()}, path)


def vgg(name, path):
    """torchvision's VGG: the features, and the classifier that nothing here reads (of its true size it is most)."""
    tensors = {f"features.{k}": v for k, v in random_like(VGG.unfilled().features).items()}
    width = len(tensors["features.34.bias"])
    shapes = [(8 * width, 49 * width), (8 * width, 8 * width), (1000, 8 * width)]
    for k, shape in zip((0, 3, 6), shapes, strict=True):
        tensors |= {f"classifier.{k}.weight": torch.zeros(shape), f"classifier.{k}.bias": torch.zeros(shape[0])}
    torch.save(tensors, path)


def dino(name, path):
    """timm's conversion of DINO: float32 safetensors."""
    from safetensors.torch import save_file

    save_file(random_like(ViT.unfilled(Path(weights.MANIFEST[name][0].name).stem).model), path)


def arcface(name, path):
    """TreB1eN's ArcFace: float32, in the format of torch 0.4.0, in whose time batch norm did not count its batches."""
    with torch.device("meta"):
        network = profiles.ArcFace()
    tensors, state = random_like(network), network.state_dict()    # which knows the versions of its modules
    for key in list(state):
        if key.endswith("num_batches_tracked"):
            del state[key]
        else:
            state[key] = tensors[key]
    torch.save(state, path, _use_new_zipfile_serialization=False)


def stable_diffusion(folder):
    """Stable Diffusion 1 as a folder for diffusers: its blocks and names, with widths of 32 and 64, for 64 px."""
    import diffusers
    from transformers import CLIPImageProcessor, CLIPTextConfig, CLIPTextModel

    read, words = letters(folder / "tokenizer")
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, block_out_channels=(32, 32, 64, 64), cross_attention_dim=32, attention_head_dim=2
    )
    vae = diffusers.AutoencoderKL(
        sample_size=64, block_out_channels=(32,) * 4, layers_per_block=2, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=words, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=10, bos_token_id=words - 2, eos_token_id=words - 1, pad_token_id=words - 1,
        )
    )  # fmt: skip
    scheduler = diffusers.PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )
    diffusers.StableDiffusionPipeline(
        vae=vae, text_encoder=text, tokenizer=read, unet=unet, scheduler=scheduler, safety_checker=None,
        feature_extractor=CLIPImageProcessor(), requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip
    marks = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    (folder / "tokenizer/special_tokens_map.json").write_text(json.dumps(marks))    # newer libraries write none


def letters(folder):
    """CLIP's tokenizer with letters for a vocabulary and nothing to merge, and how many tokens it knows."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True)
    alphabet = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    words = [*alphabet, *(f"{c}</w>" for c in alphabet), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: k for k, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 10})
    )
    return CLIPTokenizer.from_pretrained(folder), len(words)


KINDS = {
    "256x256_diffusion_uncond": unet,
    "ffhq_10m": unet,
    "ffhq_baseline": unet,
    **dict.fromkeys(profiles._ENSEMBLE, clip),
    "dino-vit-b-8": dino,
    "vgg19": vgg,
    "arcface-ir-se50": arcface,
}


def fabricate(name, folder):
    """Write a stand-in for an entry of the manifest into a folder; returns the entry with the stand-in's own hash."""
    (file,) = weights.MANIFEST[name]
    path = Path(folder) / file.name
    KINDS[name](name, path)
    return (dataclasses.replace(file, sha256=weights.sha256(path), size=path.stat().st_size),)


def own_hashes(monkeypatch):
    """Let the manifest name, for each file that lies in `home()`, its own size and hash: what stand-ins need."""
    for name, files in weights.MANIFEST.items():
        if all(weights.path_of(file).is_file() for file in files):
            paths = [(file, weights.path_of(file)) for file in files]
            own = [dataclasses.replace(f, sha256=weights.sha256(p), size=p.stat().st_size) for f, p in paths]
            monkeypatch.setitem(weights.MANIFEST, name, tuple(own))


def save_torchscript(tensors, path):
    """Tensors as a TorchScript archive whose modules are named as the tensors are."""
    root = nn.Module()
    for name, tensor in tensors.items():
        *modules, last = name.split(".")
        node = root
        for module in modules:
            if module not in dict(node.named_children()):
                node.add_module(module, nn.Module())
            node = node.get_submodule(module)
        node.register_buffer(last, tensor)
    root.forward = lambda x: x
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")    # torch is about to drop the format; OpenAI's files stay
        torch.jit.trace(root, torch.zeros(1)).save(path)


def shrink(monkeypatch, size=None):
    """Make every published network narrow and shallow for a test; names and file formats stay.

    size: the side of the pictures that UNet, CLIP and ViT are for; without it, that of the published ones.
    """
    import open_clip
    import timm
    from torchvision.models import vgg

    width = 16 if size is None else 8
    config, create = open_clip.get_model_config, timm.create_model
    for name, profile in profiles.PROFILES.items():
        if name != "tiny":
            small = dataclasses.replace(profile.unet, model_channels=width, num_head_channels=width, norm_groups=width)
            small = dataclasses.replace(profile, unet=small, size=size or profile.size)
            monkeypatch.setitem(profiles.PROFILES, name, small)
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: _small_clip(config(name), size))
    narrow = {"embed_dim": 48, "depth": 2, "num_heads": 2} | ({} if size is None else {"img_size": size})
    monkeypatch.setattr(timm, "create_model", partial(create, **narrow))
    widths = [width if width == "M" else width // 32 for width in vgg.cfgs["E"]]
    monkeypatch.setitem(vgg.cfgs, "E", widths)
    stages = ((16, 1), (16, 1), (32, 1), (32, 1))
    monkeypatch.setattr(profiles, "ArcFace", partial(profiles.ArcFace, stages, embedding=32))


def _small_clip(config, size):
    vision = {**config["vision_cfg"], "width": 64, "layers": 2}
    vision |= {} if size is None else {"image_size": size}
    if not isinstance(config["vision_cfg"]["layers"], int):    # a ResNet, with four stages
        vision |= {"width": 8, "layers": [1, 1, 1, 1]}
    return {**config, "embed_dim": 32, "vision_cfg": vision,
            "text_cfg": {**config["text_cfg"], "width": 32, "heads": 2, "layers": 1}}


if __name__ == "__main__":
    for wanted in sys.argv[2:]:
        fabricate(wanted, sys.argv[1])
