"""Stable Diffusion 1.5 at full size, as the manifest lists it, with made-up numbers for weights.

The small files are the published ones to the byte: their configurations are short, and CLIP's vocabulary comes with
open_clip. The large ones have the published names, shapes, precision and length. (`fabricate.stable_diffusion` writes a
small one with the same blocks.)

    python tests/stable_diffusion.py FOLDER    # 2.1 GB
"""

from __future__ import annotations

import gzip
import json
import sys
from importlib.resources import files
from pathlib import Path

import torch

_WRITTEN_BY = {"_diffusers_version": "0.6.0"}
UNET = {
    "_class_name": "UNet2DConditionModel", **_WRITTEN_BY, "act_fn": "silu", "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280], "center_input_sample": False, "cross_attention_dim": 768,
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"], "downsample_padding": 1,
    "flip_sin_to_cos": True, "freq_shift": 0, "in_channels": 4, "layers_per_block": 2, "mid_block_scale_factor": 1,
    "norm_eps": 1e-05, "norm_num_groups": 32, "out_channels": 4, "sample_size": 64,
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
}  # fmt: skip
VAE = {
    "_class_name": "AutoencoderKL", **_WRITTEN_BY, "act_fn": "silu", "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4, "in_channels": 3, "latent_channels": 4, "layers_per_block": 2,
    "norm_num_groups": 32, "out_channels": 3, "sample_size": 512, "up_block_types": ["UpDecoderBlock2D"] * 4,
}  # fmt: skip
TEXT = {
    "_name_or_path": "openai/clip-vit-large-patch14", "architectures": ["CLIPTextModel"], "attention_dropout": 0.0,
    "bos_token_id": 0, "dropout": 0.0, "eos_token_id": 2, "hidden_act": "quick_gelu", "hidden_size": 768,
    "initializer_factor": 1.0, "initializer_range": 0.02, "intermediate_size": 3072, "layer_norm_eps": 1e-05,
    "max_position_embeddings": 77, "model_type": "clip_text_model", "num_attention_heads": 12, "num_hidden_layers": 12,
    "pad_token_id": 1, "projection_dim": 768, "torch_dtype": "float32", "transformers_version": "4.22.0.dev0",
    "vocab_size": 49408,
}  # fmt: skip
SCHEDULER = {
    "_class_name": "PNDMScheduler", **_WRITTEN_BY, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "beta_start": 0.00085, "num_train_timesteps": 1000, "set_alpha_to_one": False, "skip_prk_steps": True,
    "steps_offset": 1, "trained_betas": None, "clip_sample": False,
}  # fmt: skip
PIPELINE = {
    "_class_name": "StableDiffusionPipeline", **_WRITTEN_BY,
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"], "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
}  # fmt: skip
PICTURES = {
    "crop_size": 224, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True, "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "size": 224,
}  # fmt: skip


def _token(text, **more):
    return {**more, "content": text, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}


START, END = "<|startoftext|>", "<|endoftext|>"
MARKS = {"bos_token": _token(START), "eos_token": _token(END), "pad_token": END, "unk_token": _token(END)}
TOKENIZER = {
    "add_prefix_space": False, "bos_token": _token(START, __type="AddedToken"), "do_lower_case": True,
    "eos_token": _token(END, __type="AddedToken"), "errors": "replace", "model_max_length": 77,
    "name_or_path": "openai/clip-vit-large-patch14", "pad_token": END,
    "special_tokens_map_file": "./special_tokens_map.json", "tokenizer_class": "CLIPTokenizer",
    "unk_token": _token(END, __type="AddedToken"),
}  # fmt: skip
CONFIGS = {
    "model_index.json": PIPELINE,
    "feature_extractor/preprocessor_config.json": PICTURES,
    "scheduler/scheduler_config.json": SCHEDULER,
    "text_encoder/config.json": TEXT,
    "tokenizer/special_tokens_map.json": MARKS,
    "tokenizer/tokenizer_config.json": TOKENIZER,
    "unet/config.json": UNET,
    "vae/config.json": VAE,
}


def write_small_files(folder):
    """The configurations, and CLIP's tokenizer."""
    from open_clip.tokenizer import bytes_to_unicode

    for name in CONFIGS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        _write_json(folder / name, CONFIGS[name])
    table = gzip.decompress(files("open_clip").joinpath("bpe_simple_vocab_16e6.txt.gz").read_bytes()).decode()
    merges = table.split("\n")[1 : 49408 - 512 - 2 + 1]    # below a title, one for each token that is not a letter
    (folder / "tokenizer/merges.txt").write_bytes("\n".join(["#version: 0.2", *merges, ""]).encode())
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{c}</w>" for c in letters), *("".join(pair.split()) for pair in merges), START, END]
    _write_json(folder / "tokenizer/vocab.json", {word: k for k, word in enumerate(words)}, sort_keys=True)


def _write_json(path, content, **options):
    path.write_bytes((json.dumps(content, indent=2, ensure_ascii=False, **options) + "\n").encode())


def write(folder):
    """All that `Latent.pretrained` reads, in the folder, which need not exist."""
    import diffusers
    from safetensors.torch import save_file
    from transformers import CLIPTextConfig, CLIPTextModel

    folder = Path(folder)
    write_small_files(folder)
    with torch.device("meta"):
        networks = {
            "unet/diffusion_pytorch_model": diffusers.UNet2DConditionModel.from_config(UNET),
            "vae/diffusion_pytorch_model": diffusers.AutoencoderKL.from_config(VAE),
            "text_encoder/model": CLIPTextModel(CLIPTextConfig(**TEXT)),
        }
    for name, network in networks.items():
        tensors = patterned(network)
        if name.startswith("text_encoder"):    # later libraries shortened its names and count positions themselves
            tensors = {f"text_model.{k.removeprefix('text_model.')}": v for k, v in tensors.items()}
            tensors["text_model.embeddings.position_ids"] = torch.arange(77)[None]
        save_file(tensors, folder / f"{name}.safetensors", {"format": "pt"})


def patterned(network):
    """The names of a network's tensors, in half precision: one short row of random numbers, repeated, which is much
    faster than a billion of them. Each tensor begins elsewhere in the row; scales of norms are near one."""
    def values(k, name, like):
        begin = 7919 * k % len(row)
        some = torch.cat([row[begin:], row[:begin]]).repeat(-(-like.numel() // len(row)))[: like.numel()]
        return (some + (like.ndim == 1 and name.endswith("weight"))).view(like.shape)

    row = (torch.randn(2**20 - 3, generator=torch.Generator().manual_seed(0)) / 50).half()
    return {name: values(k, name, like) for k, (name, like) in enumerate(network.state_dict().items())}


if __name__ == "__main__":
    write(sys.argv[1])
