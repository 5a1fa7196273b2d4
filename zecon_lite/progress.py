"""One progress bar for everything that takes time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tqdm.auto import tqdm

_quiet = ContextVar("quiet", default=False)


def bar(total: int, desc: str) -> tqdm:
    """A tqdm bar over `total` steps with the time left: a context manager; call `.update()` once per step.

    It appears only once the work has taken two seconds, vanishes when done, and stays quiet where nobody watches: when
    the CI environment variable is set, stderr is neither a terminal nor a notebook, or `only_bar` shows one already.
    """
    watched = (sys.stderr.isatty() or "ipykernel" in sys.modules) and not _quiet.get()
    return tqdm(total=total, desc=desc, delay=2, leave=False, disable=bool(os.environ.get("CI")) or not watched)


@contextmanager
def only_bar(total: int, desc: str) -> Iterator[tqdm]:
    """A `bar` over work that has bars of its own; those stay quiet meanwhile."""
    with bar(total, desc) as progress, quiet():
        yield progress


@contextmanager
def quiet() -> Iterator[None]:
    """No bars meanwhile, in this thread: somebody else shows how far the work has come."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)
