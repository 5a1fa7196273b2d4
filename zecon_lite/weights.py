"""Weights on disk: where they are, how they get there, and how they are read without running anything in them.

A checkpoint from outside is data: safetensors, or `torch.load(weights_only=True)`, and only after its sha256 has been
checked where the hash is known. Nothing here opens a connection unless `fetch` is called.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from .progress import bar

BUNDLED = Path(__file__).parent / "tiny" / "weights"
CHUNK = 1 << 20


@dataclass(frozen=True)
class WeightFile:
    """A published checkpoint. url None: there is no address to fetch it from; `where` says how to come by it."""

    name: str
    url: str | None = None
    sha256: str | None = None
    size: int | None = None  # bytes
    licence: str = ""
    where: str = ""


IMAGENET256 = WeightFile(
    "256x256_diffusion_uncond.pt",
    "https://openaipublic.blob.core.windows.net/diffusion/jul-2021/256x256_diffusion_uncond.pt",
    "a37c32fffd316cd494cf3f35b339936debdc1576dad13fe57c42399a5dbc78b1",
    2_211_383_297,
    "MIT (OpenAI guided-diffusion)",
)
FFHQ256 = WeightFile(
    "ffhq_10m.pt",
    licence="see the ILVR repository",
    where="follow the link to ffhq_10m.pt in the README of the repository jychoi118/ilvr_adm",
)


def home() -> Path:
    """The folder of fetched weights: $ZECON_LITE_HOME, or ~/.cache/zecon_lite."""
    return Path(os.environ.get("ZECON_LITE_HOME") or Path.home() / ".cache" / "zecon_lite")


def find(file: WeightFile, fetch_missing: bool = True) -> Path:
    """The path of a checkpoint, fetched if need be and allowed.

    Raises FileNotFoundError, saying where to get it and where to put it, when it is not there and cannot be fetched.
    """
    path = home() / file.name
    if path.exists():
        return path
    if file.url is None or not fetch_missing:
        source = file.url or file.where
        raise FileNotFoundError(
            f"{file.name} is not in {home()}: get it ({source}) and put it there, or set ZECON_LITE_HOME"
        )
    return fetch(file)


def fetch(file: WeightFile) -> Path:
    """Download a checkpoint into `home()`, going on where an earlier download stopped; returns its path.

    The sha256 is checked before the file gets its name, so a file with its name is whole.
    Raises ConnectionError when the address does not answer, ValueError when the hash is wrong (the partial file goes).
    """
    path, partial = home() / file.name, home() / f"{file.name}.partial"
    path.parent.mkdir(parents=True, exist_ok=True)
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(file.url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            resumed = answer.status == 206  # a server without ranges answers 200 and sends everything
            left = int(answer.headers.get("Content-Length") or 0)
            with (
                open(partial, "ab" if resumed else "wb") as out,
                bar(max(1, left // CHUNK), f"fetching {file.name} (MiB)") as progress,
            ):
                while chunk := answer.read(CHUNK):
                    out.write(chunk)
                    left -= len(chunk)
                    progress.update()
        if left > 0:  # the connection closed early: urllib does not say so
            raise ConnectionError(f"the connection ended {left} bytes early")
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416: nothing is left to send; the hash decides
            raise ConnectionError(
                f"{file.url} answered {error.code}: try later, or put {file.name} into {home()} by hand"
            ) from error
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise ConnectionError(
            f"could not fetch {file.name} ({error}): run again to go on, or put it into {home()} by hand"
        ) from error
    if file.sha256 is not None and (got := sha256(partial)) != file.sha256:
        partial.unlink()
        raise ValueError(
            f"{file.name} came with sha256 {got[:12]}..., wanted {file.sha256[:12]}...: it was deleted; fetch it again"
        )
    os.replace(partial, path)
    return path


def sha256(path: Path) -> str:
    """The file's sha256, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def read(path: Path | str) -> dict[str, Tensor]:
    """The tensors in a checkpoint, .safetensors or torch's own format, on the CPU.

    Raises FileNotFoundError, or ValueError for a file that is damaged or holds more than tensors: no code in it runs.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there are no weights at {path}: check the path, or fetch them again")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ValueError(
            f"{path.name} is damaged, or holds more than tensors, and was not loaded: fetch it again from its source"
        ) from error
    except Exception as error:
        if type(error).__name__ != "SafetensorError":
            raise
        raise ValueError(f"{path.name} is damaged and was not loaded: fetch it again from its source") from error
    state = state.get("state_dict", state) if isinstance(state, Mapping) else state
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path.name} does not hold a table of tensors: is it a checkpoint of this network?")
    return dict(state)


def load_into(network: nn.Module, tensors: Mapping[str, Tensor], name: str) -> nn.Module:
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


def build(make: Callable[[], nn.Module]) -> nn.Module:
    """A network made without spending time on random initial values, to be filled by `load_into`."""
    with torch.device("meta"):
        network = make()
    return network.to_empty(device="cpu")
