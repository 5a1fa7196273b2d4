"""What a result says about how it was made, so that it can be made again: one line of JSON beside those for people.

The line holds what differs from the package's own recipe or method, hashes of what went in, of the networks and of the
picture, and where its files lay. `rerun` reads it.
"""

from __future__ import annotations

import hashlib
import json
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import images, weights
from .memory import modules_of, naming_the_knob

KEY = "rerun"    # of the line among a picture's settings
FUNCTION = "function"    # before a function's name in it


# --------------------------------------------------------------------------------------------------- settings as JSON


Functions = Mapping[str, Callable[..., object]]    # by the names under which they are written down


def changes(value: Any, base: Any, functions: Functions) -> dict[str, object]:
    """What differs in a dataclass from another of its kind, field -> new value, as JSON can hold it.

    `changed` puts it back.
    Raises ValueError for a field that is new and neither number, text, one of `functions` nor made of those.
    """
    both = ((field.name, getattr(value, field.name), getattr(base, field.name)) for field in fields(base))
    return {name: _as_json(new, old, name, functions) for name, new, old in both if new != old}


def changed(base: Any, found: Mapping[str, Any], functions: Functions) -> Any:
    """The dataclass with what `changes` found. Raises ValueError for a field or function that is not known."""
    values = {}
    known = {field.name for field in fields(base)}
    for name, new in found.items():
        if name not in known:
            raise ValueError(f"there is no setting {name!r}: take the version of zecon_lite that made the picture")
        old = getattr(base, name)
        if isinstance(new, Mapping) and set(new) == {FUNCTION}:
            if new[FUNCTION] not in functions:
                raise ValueError(f"there is no {name} {new[FUNCTION]!r}: take the version that made the picture")
            new = functions[new[FUNCTION]]
        elif isinstance(new, Mapping) and is_dataclass(old):
            new = changed(old, new, functions)
        values[name] = tuple(new) if isinstance(new, list) else new
    return replace(base, **values)


def _as_json(new: Any, old: object, name: str, functions: Functions) -> object:
    if is_dataclass(new) and type(new) is type(old):
        return changes(new, old, functions)
    known_as = getattr(new, "__name__", "")
    if callable(new) and functions.get(known_as) is new:
        return {FUNCTION: known_as}
    if isinstance(new, Mapping):
        return {k: _as_json(v, None, f"{name}[{k!r}]", {}) for k, v in new.items()}
    if isinstance(new, tuple | list):
        return [_as_json(one, None, name, {}) for one in new]
    if new is None or isinstance(new, bool | int | float | str):
        return new
    raise ValueError(f"its {name} is a function or an object of its own, which a file cannot hold: keep the script")


def settings_of(value: Any, base: Any | None, functions: Functions) -> dict[str, object]:
    """{"changes": what a recipe or method differs in from the package's own of that name}, or {"refused": why not}."""
    if base is None:
        return {"refused": f"{value.name!r} is not one of the package's own: keep the script that made it"}
    try:
        return {"changes": changes(value, base, functions)}
    except ValueError as error:
        return {"refused": str(error)}


# ------------------------------------------------------------------------------------------------------------- hashes


def hash_of(picture: Tensor) -> str:
    """The sha256 of a tensor's values, wherever it lies."""
    return hashlib.sha256(picture.detach().cpu().contiguous().numpy().tobytes()).hexdigest()


def fingerprint(network: object) -> str:
    """A hash over up to 64 values of each tensor of a network or of several; another training has another."""
    digest = hashlib.sha256()
    for module in modules_of(network):
        for name, tensor in module.state_dict().items():
            some = tensor.flatten()[:: max(1, tensor.numel() // 64)][:64]
            some = some.cpu().double()    # in this order: Apple's GPUs have no float64
            digest.update(f"{name} {tuple(tensor.shape)}".encode() + some.numpy().tobytes())
    return digest.hexdigest()[:16]


def plain_numbers(given: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that are not None, numbers of NumPy and torch as Python's, which a file can hold.

    Functions stay: a weight may be one. Raises ValueError for anything else.
    """
    plain = {k: v.item() if hasattr(v, "item") else v for k, v in given.items() if v is not None}
    for name, value in plain.items():
        if not callable(value) and not isinstance(value, int | float):
            raise ValueError(f"{name} must be a number; got {value!r}")
    return plain


def check_count(name: str, value: object) -> None:
    """Raises ValueError for what is no whole number from 1."""
    if not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be a whole number, at least 1; got {value!r}")


def check_seed(seed: object) -> int:
    """The seed as an int. Raises ValueError for what is no whole number, or more than 64 bits can hold."""
    try:
        number = operator.index(seed)  # type: ignore[arg-type]  # that is what is found out here
    except TypeError:
        number = -1 << 63
    if not -1 << 63 < number < 1 << 64:
        raise ValueError(f"a seed must be a whole number of at most 64 bits; got {seed!r}")
    return number


def machine(device: torch.device) -> dict[str, str]:
    """What may change the last bits of a picture: the versions, the device, the threads."""
    from . import __version__

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return {
        "zecon_lite": __version__,
        "torch": torch.__version__,
        "device": name,
        "threads": str(torch.get_num_threads()),
    }


# -------------------------------------------------------------------------------------------------------------- files


def file_of(path: Path, result: Path) -> dict[str, str]:
    """Where a file lies, as seen from the folder of the result, and its sha256."""
    try:
        seen = os.path.relpath(os.path.realpath(path), os.path.realpath(result.parent))
    except ValueError:    # Windows: on another drive
        seen = str(path.resolve())
    return {"path": Path(seen).as_posix(), "sha256": weights.sha256(path)}


def telling(settings: Mapping[str, str], picture: Tensor | None = None, **more: object) -> dict[str, str]:
    """The settings of a result with more in its line for `rerun`, and the hash of the picture as it is written.

    Settings without that line are given back as they are.
    """
    if KEY not in settings:
        return dict(settings)
    record = {**json.loads(settings[KEY]), **more}
    if picture is not None:
        record["pixels"] = hash_of(images.to_uint8(picture))
    return {**settings, KEY: json.dumps(record, ensure_ascii=False)}


@dataclass(frozen=True)
class Framing:
    """How a photograph comes to the networks' size, and how a result is framed when it is written.

    fit, size, multiple: see `images.fit`. compare: whether the source stands beside the results.
    """

    size: int
    multiple: int
    fit: str = "native"
    compare: bool = False

    def fitted(self, photograph: Tensor) -> Tensor:
        """(1, 3, h, w) -> (1, 3, H, W), what the networks work on. Raises MemoryError where that is too much."""
        with naming_the_knob(photograph.device, (1, 3, self.size, self.size), {}):
            return images.fit(photograph, self.size, self.fit, self.multiple)

    def finished(self, results: Tensor, fitted: Tensor, photograph: Tensor) -> Sequence[Tensor]:
        """Results (B, 3, H, W) as they are written: without padding, side by side when they are compared."""
        pictures = [fitted, *results.cpu().split(1)]
        if self.fit == "pad":
            pictures = [images.unpad(picture, photograph) for picture in pictures]
        return [images.side_by_side(pictures)] if self.compare else pictures[1:]
