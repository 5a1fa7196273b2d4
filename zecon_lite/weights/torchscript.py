"""TorchScript archives, the format of OpenAI's CLIPs, read as data.

Such an archive is a zip of a program, a pickle of its objects, and their numbers. `torch.jit.load`, which is going
away, would set the program up; here every object becomes an inert holder of its fields, and nothing else is allowed.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive and not a checkpoint, which is a zip too but has no program in it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """All tensors in an archive, by the names that its modules' state_dict would give them, on the CPU.

    Raises UnpicklingError for an archive that asks for anything but modules and tensors.
    """
    with zipfile.ZipFile(path) as archive:
        (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        with archive.open(pickled) as file:
            root = _Unpickler(file, archive, pickled.removesuffix(".pkl")).load()
    return dict(_tensors(root, ""))


class _Object:
    """Stands for an object of the program: it has fields, and runs nothing."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], archive: zipfile.ZipFile, folder: str):
        super().__init__(file)
        self.archive, self.folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "__torch__":
            return _Object
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if module == "torch.jit._pickle":  # typed lists and dictionaries: their type does not matter here
            return _untyped
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(f"the archive asks for {module}.{name}")

    def persistent_load(self, identity: tuple[Any, ...]) -> Tensor:
        _, dtype, key, _, _ = identity
        data = bytearray(self.archive.read(f"{self.folder}/{key}"))
        return torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)


def _untyped(value: object, *_: object) -> object:
    return value


def _rebuild(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    return storage.as_strided(size, stride, offset)


def _tensors(module: _Object, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, _Object):
            yield from _tensors(value, f"{prefix}{name}.")
