"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` at the end, and goes when something was raised."""
    part = path.with_name(f".{path.name[:60]}.{os.getpid()}.part")    # the longest name that is allowed leaves no room
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
