"""The UNet of guided diffusion (Dhariwal & Nichol 2021), readable, with the released checkpoints' parameter names.

Attribute names (`in_layers`, `emb_layers`, `op`, ...) are dictated by those checkpoints: a state_dict loads strictly.
A small network is the same class with other numbers. Legend: B batch, H W pixels, C channels, E embedding width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True)
class UNetConfig:
    """The fields of guided diffusion's `UNetModel`, under their own names.

    attention_resolutions: downsampling factors at which blocks attend. (The released command line names picture
        sizes instead: "32,16,8" at 256 px are the factors 8, 16 and 32.)
    num_head_channels: width of one attention head.
    resblock_updown: resample inside residual blocks (the released models) or by plain (strided) convolutions.
    norm_groups: 32 in every released model; small networks need fewer.
    patch_size: 1 in every released model; p folds p x p pixels into channels first, so that a small network works on
        a p times coarser grid.
    """

    image_size: int = 256
    in_channels: int = 3
    out_channels: int = 6
    model_channels: int = 256
    num_res_blocks: int = 2
    attention_resolutions: Sequence[int] = (8, 16, 32)
    channel_mult: Sequence[int] = (1, 1, 2, 2, 4, 4)
    num_head_channels: int = 64
    use_scale_shift_norm: bool = True
    resblock_updown: bool = True
    norm_groups: int = 32
    patch_size: int = 1

    @property
    def stride(self) -> int:
        """Picture sides must be a multiple of this: one halving per level below the first, times the patch."""
        return self.patch_size * 2 ** (len(self.channel_mult) - 1)


def timestep_embedding(t: Tensor, dim: int) -> Tensor:
    """(B,) timesteps -> (B, dim): cosines, then sines, of t at geometrically spaced frequencies (cosines FIRST)."""
    half = dim // 2
    freqs = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32, device=t.device) / half)
    angles = t.float()[:, None] * freqs
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class GroupNorm32(nn.GroupNorm):
    """Group normalisation in its weights' precision, float32, whatever x is: halves overflow in the variance."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype)).to(x.dtype)


class Downsample(nn.Module):
    """Halve the resolution: a strided convolution, or the mean of 2 x 2."""

    def __init__(self, channels: int, use_conv: bool):
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1) if use_conv else nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    """Double the resolution by repeating pixels, with or without a convolution after it."""

    def __init__(self, channels: int, use_conv: bool):
        super().__init__()
        if use_conv:
            self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        return self.conv(x) if hasattr(self, "conv") else x


class ResBlock(nn.Module):
    """Two convolutions around a skip; the timestep scales and shifts the second normalisation (or is added before it).

    resample: None, "up" or "down", applied to both paths before the first convolution.
    """

    def __init__(self, config: UNetConfig, channels: int, out_channels: int, resample: str | None = None):
        super().__init__()
        g, emb = config.norm_groups, 4 * config.model_channels
        self.scale_shift = config.use_scale_shift_norm
        self.in_layers = nn.Sequential(
            GroupNorm32(g, channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb, out_channels * (2 if self.scale_shift else 1)))
        # Index 2 is the released model's dropout (0.0); it keeps the checkpoint's numbering.
        self.out_layers = nn.Sequential(
            GroupNorm32(g, out_channels), nn.SiLU(), nn.Identity(), nn.Conv2d(out_channels, out_channels, 3, padding=1)
        )
        self.skip_connection = nn.Identity() if channels == out_channels else nn.Conv2d(channels, out_channels, 1)
        kinds: dict[str | None, Callable[[], nn.Module]] = {
            None: nn.Identity,
            "up": lambda: Upsample(channels, False),
            "down": lambda: Downsample(channels, False),
        }
        self.resample = kinds[resample]()

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        norm, act, conv = self.in_layers
        h = conv(self.resample(act(norm(x))))
        emb = self.emb_layers(emb).to(h.dtype)[:, :, None, None]
        norm, *rest = self.out_layers
        if self.scale_shift:
            scale, shift = emb.chunk(2, dim=1)
            h = norm(h) * (1 + scale) + shift
        else:
            h = norm(h + emb)
        for layer in rest:
            h = layer(h)
        return self.skip_connection(self.resample(x)) + h


class AttentionBlock(nn.Module):
    """Self-attention over all positions, residual."""

    def __init__(self, config: UNetConfig, channels: int):
        super().__init__()
        self.heads = max(1, channels // config.num_head_channels)
        self.norm = GroupNorm32(config.norm_groups, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, *space = x.shape
        flat = x.reshape(b, c, -1)
        # Heads first, then q, k, v: the released models' older channel order, which their weights depend on.
        qkv = self.qkv(self.norm(flat)).reshape(b, self.heads, 3, c // self.heads, -1)
        qkv = qkv.transpose(-1, -2)
        # CUDA's fused attention, which keeps no HW x HW table, wants channels side by side in memory.
        q, k, v = (qkv.contiguous() if qkv.is_cuda else qkv).unbind(2)  # each (B, heads, HW, C/heads)
        h = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(b, c, -1)
        return (flat + self.proj_out(h)).reshape(b, c, *space)


class TimestepSequential(nn.Sequential):
    """A sequence that hands the timestep embedding to the residual blocks in it."""

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:  # type: ignore[override]  # a Sequential takes one argument
        for layer in self:
            x = layer(x, emb) if isinstance(layer, ResBlock) else layer(x)
        return x


class UNet(nn.Module):
    """The network. forward: (B, 3, H, W) in [-1, 1] and (B,) timesteps -> (B, out_channels, H, W).

    H and W may differ from `image_size`, but must be multiples of `config.stride`.
    checkpointed: True keeps, of each block, only what went in and came out, and runs it once more for the gradient:
    the same numbers with much less memory, for one more forward pass.
    """

    checkpointed = False

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config = c = config
        mc, p2 = c.model_channels, c.patch_size**2
        attend = set(c.attention_resolutions)
        self.time_embed = nn.Sequential(nn.Linear(mc, 4 * mc), nn.SiLU(), nn.Linear(4 * mc, 4 * mc))

        width, factor = c.channel_mult[0] * mc, 1
        self.input_blocks = nn.ModuleList([TimestepSequential(nn.Conv2d(c.in_channels * p2, width, 3, padding=1))])
        skips = [width]
        last = len(c.channel_mult) - 1
        for level, mult in enumerate(c.channel_mult):
            for _ in range(c.num_res_blocks):
                self.input_blocks.append(self._block(width, mult * mc, factor in attend))
                width = mult * mc
                skips.append(width)
            if level != last:
                down = ResBlock(c, width, width, "down") if c.resblock_updown else Downsample(width, True)
                self.input_blocks.append(TimestepSequential(down))
                skips.append(width)
                factor *= 2

        self.middle_block = TimestepSequential(
            ResBlock(c, width, width), AttentionBlock(c, width), ResBlock(c, width, width)
        )

        self.output_blocks = nn.ModuleList()
        for level, mult in reversed(list(enumerate(c.channel_mult))):
            for k in range(c.num_res_blocks + 1):
                block = self._block(width + skips.pop(), mult * mc, factor in attend)
                width = mult * mc
                if level and k == c.num_res_blocks:
                    block.append(ResBlock(c, width, width, "up") if c.resblock_updown else Upsample(width, True))
                    factor //= 2
                self.output_blocks.append(block)
        self.out = nn.Sequential(
            GroupNorm32(c.norm_groups, width), nn.SiLU(), nn.Conv2d(width, c.out_channels * p2, 3, padding=1)
        )

    def _block(self, channels: int, out_channels: int, attend: bool) -> TimestepSequential:
        layers: list[nn.Module] = [ResBlock(self.config, channels, out_channels)]
        if attend:
            layers.append(AttentionBlock(self.config, out_channels))
        return TimestepSequential(*layers)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        emb, h = self._start(x, t)
        skips = []
        for block in self.input_blocks:
            h = self._run(block, h, emb)
            skips.append(h)
        h = self._run(self.middle_block, h, emb)
        for block in self.output_blocks:
            h = self._run(block, torch.cat([h, skips.pop()], dim=1), emb)
        h = self.out(h.to(x.dtype))
        return F.pixel_shuffle(h, self.config.patch_size) if self.config.patch_size > 1 else h

    def encode(self, x: Tensor, t: Tensor, blocks: Sequence[int]) -> list[Tensor]:
        """The outputs of the chosen input blocks, [(B, C_k, H_k, W_k)], in the order asked for.

        Runs no further than the last one. Raises IndexError for a block that the network does not have.
        """
        n = len(self.input_blocks)
        if any(not 0 <= k < n for k in blocks):
            raise IndexError(f"this UNet has input blocks 0 to {n - 1}; got {list(blocks)}")
        emb, h = self._start(x, t)
        found = {}
        for k, block in enumerate(self.input_blocks[: max(blocks, default=-1) + 1]):
            h = found[k] = self._run(block, h, emb)
        return [found[k] for k in blocks]

    def _start(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        c = self.config
        if x.shape[-1] % c.stride or x.shape[-2] % c.stride:
            raise ValueError(
                f"picture sides must be multiples of {c.stride} for this UNet; got {tuple(x.shape[-2:])}: "
                f"use images.fit(picture, {c.image_size})"
            )
        emb = self.time_embed(timestep_embedding(t, c.model_channels).to(next(self.time_embed.parameters()).dtype))
        h = F.pixel_unshuffle(x, c.patch_size) if c.patch_size > 1 else x
        return emb, h.to(next(self.input_blocks.parameters()).dtype)

    def _run(self, block: nn.Module, h: Tensor, emb: Tensor) -> Tensor:
        if not self.checkpointed:
            return block(h, emb)
        return checkpoint(block, h, emb, use_reentrant=False, preserve_rng_state=False)

    def torso_to(self, dtype: torch.dtype) -> UNet:
        """Convolutions of the three block lists in `dtype`; norms, embeddings and output stay float32. Returns self."""
        for blocks in (self.input_blocks, self.middle_block, self.output_blocks):
            for module in blocks.modules():
                if isinstance(module, nn.Conv1d | nn.Conv2d):
                    module.to(dtype)
        return self
