"""Checkpoints to tensors, and tensors into networks, without running anything that a file brings along."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from .torchscript import is_torchscript, read_torchscript

Network = TypeVar("Network", bound=nn.Module)


def read(path: Path | str) -> dict[str, Tensor]:
    """The tensors in a checkpoint, on the CPU: .safetensors, torch's own format, or a TorchScript archive.

    Raises FileNotFoundError, or ValueError for a file that is damaged or holds more than tensors: no code in it runs.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there are no weights at {path}: check the path, or fetch them again")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        if is_torchscript(path):
            return read_torchscript(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:    # a damaged file may raise anything in the libraries that read it
        raise ValueError(
            f"{path.name} is damaged, or holds more than tensors, and was not loaded: delete it, and fetch it again"
        ) from error
    state = state.get("state_dict", state) if isinstance(state, Mapping) else state
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path.name} does not hold a table of tensors: is it a checkpoint of this network?")
    return dict(state)


def load_into(network: Network, tensors: Mapping[str, Tensor], name: str) -> Network:
    """The network with these weights, as float32, in evaluation mode, nothing requiring grad.

    Raises ValueError in three lines when names or shapes differ, naming one of each kind.
    """
    want = network.state_dict()
    missing, extra = [k for k in want if k not in tensors], [k for k in tensors if k not in want]
    wrong = [k for k in want if k in tensors and tensors[k].shape != want[k].shape]
    if missing or extra or wrong:

        def line(what: str, keys: list[str]) -> str:
            return f"{len(keys)} {what}" + (f" (such as {keys[0]})" if keys else "")

        raise ValueError(
            f"{name} does not fit this network of {len(want)} tensors: is the profile the one it was trained for?\n"
            f"{line('missing', missing)}; {line('unknown', extra)};\n{line('of another shape', wrong)}"
        )
    network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in tensors.items()})
    return network.eval().requires_grad_(False)


def build(make: Callable[[], Network]) -> Network:
    """A network made without spending time on random initial values, to be filled by `load_into`."""
    with torch.device("meta"):
        network = make()
    return network.to_empty(device="cpu")
