"""What a method costs besides seconds: how many pictures go through each network, and how much memory that takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from .models import VGG, Clip, Latent, UNet, ViT

DOORS: dict[str, tuple[type, str]] = {
    "UNet": (UNet, "forward"),
    "UNet encoder": (UNet, "encode"),
    "CLIP": (Clip, "image"),
    "ViT": (ViT, "keys_and_cls"),
    "VGG": (VGG, "__call__"),
    "latent UNet": (Latent, "predict"),
}
"""Where pictures enter a network, name -> (class, method); the first argument is (B, ...), B pictures."""


@contextmanager
def counted() -> Iterator[dict[str, list[int]]]:
    """While the block runs, how many pictures go through each network: name -> [forward, backward].

    A batch of three counts as three, and so do three views of one picture: the numbers do not depend on how the work is
    cut into calls. Backward: a gradient came back to the network's input. What goes through DOORS
    is counted, whoever asks, copies of networks too; so a method of your own is counted as far as it uses them.
    `Clip.patches`, the network of faces and the autoencoder are not among them.
    """
    found = {name: [0, 0] for name in DOORS}
    originals = {name: getattr(owner, method) for name, (owner, method) in DOORS.items()}
    try:
        for name, (owner, method) in DOORS.items():
            setattr(owner, method, _counting(originals[name], found[name]))
        yield found
    finally:
        for name, (owner, method) in DOORS.items():
            setattr(owner, method, originals[name])


def _counting(door: Callable[..., object], count: list[int]) -> Callable[..., object]:
    """The method, counting the pictures of its first argument as they go in and as their gradients come out."""

    def returned(gradient: Tensor) -> None:
        count[1] += len(gradient)

    name = list(signature(door).parameters)[1]

    @wraps(door)
    def through(network: object, *given: Any, **named: Any) -> object:
        if not given and name not in named:
            return door(network, **named)    # which says what is missing
        pictures, rest = (given[0], given[1:]) if given else (named.pop(name), ())
        count[0] += len(pictures)
        if pictures.requires_grad and torch.is_grad_enabled():
            pictures = pictures.view_as(pictures)    # another name for it, so that no other network's gradient counts
            pictures.register_hook(returned)
        return door(network, pictures, *rest, **named)

    return through


def peak_memory(run: Callable[[], object]) -> float:
    """The megabytes (10^6 bytes) that tensors hold at most while `run` runs, beyond what they held before.

    The weights of networks that are already loaded are not in it, but those that rest on the CPU are (`LOW_MEMORY`).
    With CUDA in use it is what its allocator counts; else what PyTorch's profiler sees on the CPU, which is the same on
    any machine, but knows nothing of memory outside tensors.
    """
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")    # else the profiler complains aloud that there is no GPU
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak / 1e6
