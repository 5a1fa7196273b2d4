"""Weights on disk: where they are, how they get there, and how they are read without running anything in them.

`manifest` is the table of published files, `store` finds, fetches and checks them, `reading` reads them. A checkpoint
from outside is data: safetensors, or `torch.load(weights_only=True)`, and only after its sha256 has been checked.
Nothing here opens a connection unless `fetch`, or `find` for a file that is not there, is called.
"""

from .manifest import MANIFEST, WeightFile, needed_by
from .reading import build, load_into, read
from .store import BUNDLED, adopt, fetch, find, home, path_of, sha256, verify

__all__ = [
    "BUNDLED",
    "MANIFEST",
    "WeightFile",
    "adopt",
    "build",
    "fetch",
    "find",
    "home",
    "load_into",
    "needed_by",
    "path_of",
    "read",
    "sha256",
    "verify",
]
