"""What a run takes of memory, how to take less, and what to say when there is not enough."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network")    # an adapter such as `Clip`, a denoiser, or several of them


@dataclass(frozen=True)
class Saving:
    """What a run pays with time to need less memory; the picture is the same, up to rounding.

    checkpoint: the UNet remembers less for the gradient (see `UNet.checkpointed`). chunk: so many views go through CLIP
    at once (see `Clip.chunk`). offload: what has done its work waits on the CPU: a run's networks, until they are next
    used, and the pictures of each step.
    """

    checkpoint: bool = False
    chunk: int | None = None
    offload: bool = False

    def __post_init__(self) -> None:
        if self.chunk is not None and self.chunk < 1:
            raise ValueError(f"chunk is how many views go through CLIP at once, at least 1, or None; got {self.chunk}")


LOW_MEMORY = Saving(checkpoint=True, chunk=8, offload=True)
"""Everything that saves memory, at once."""


@dataclass(frozen=True)
class Memory:
    """What a run took. networks: name -> bytes of its parameters and buffers, for those loaded so far.

    peak: the most bytes held at once; None where that is not measured. how: what `peak` counts, in words.
    """

    networks: Mapping[str, int]
    peak: int | None
    how: str

    def __str__(self) -> str:
        lines = [(name, in_gib(size)) for name, size in self.networks.items()]
        lines.append(("peak", self.how if self.peak is None else f"{in_gib(self.peak)} ({self.how})"))
        width = max(len(name) for name, _ in lines)
        return "\n".join(f"{name:<{width}}  {size}" for name, size in lines)


def in_gib(size: int) -> str:
    """Bytes as people read them.

    >>> in_gib(1610612736)
    '1.50 GiB'
    """
    return f"{size / 2**30:.2f} GiB"


def half_precision(device: torch.device) -> torch.dtype:
    """bfloat16, whose range is that of float32, where the card computes with it (from compute capability 8.0 on);
    float16 on older cards."""
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16


def modules_of(network: object) -> list[nn.Module]:
    """The modules of an adapter such as `Clip`, of a denoiser, or of several of them; a plain function has none."""
    if isinstance(network, nn.Module):
        return [network]
    if isinstance(network, tuple):
        return [module for one in network for module in modules_of(one)]
    return [value for value in getattr(network, "__dict__", {}).values() if isinstance(value, nn.Module)]


def moved(network: Network, device: torch.device | str) -> Network:
    """The network, on the device."""
    for module in modules_of(network):
        module.to(device)
    return network


def bytes_of(network: object) -> int:
    """Bytes of the parameters and buffers of a network; what several of its parts share counts once."""
    tensors = {id(t): t for m in modules_of(network) for t in (*m.parameters(), *m.buffers())}
    return sum(t.numel() * t.element_size() for t in tensors.values())


# ---------------------------------------------------------------------------------------------------- the peak of a run


def restart_peak(device: torch.device) -> None:
    """From here on `peak` counts anew; without a GPU it cannot."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: torch.device) -> tuple[int | None, str]:
    """The most bytes held at once, or None, and what that number counts."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device), "most allocated on the GPU during the run"
    if sys.platform == "win32":
        return None, "not measured"
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most * (1 if sys.platform == "darwin" else 1024), "most resident in the whole process since it began"


# ---------------------------------------------------------------------------------------------------------- not enough


def ran_out(error: BaseException) -> bool:
    """Whether an allocator says that there is no more memory: torch's, or CUDA's own, which cuBLAS asks."""
    said = ("DefaultCPUAllocator", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, torch.cuda.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in said)
    )


@contextmanager
def naming_the_knob(device: torch.device, shape: tuple[int, ...], knobs: Mapping[str, bool]) -> Iterator[None]:
    """Raises MemoryError where torch ran out of memory inside, saying what would need less.

    shape: (B, 3, H, W) of the pictures that are worked on. knobs: what can be turned -> whether it is still unturned;
    a smaller picture always helps.
    """
    try:
        yield
    except RuntimeError as error:
        if not ran_out(error):
            raise
        height, width = shape[-2:]
        cures = [knob for knob, helps in knobs.items() if helps]
        cures.append(f"a smaller picture than {height} x {width}, such as --size {min(height, width) * 3 // 4}")
        traceback.clear_frames(error.__traceback__)    # they hold the graph, a notebook holds the error: no second try
        raise MemoryError(
            f"not enough memory on {device} ({str(error).splitlines()[0][:200]}): take {', or '.join(cures)} "
            '(in the book: "Setting up")'
        ) from error
