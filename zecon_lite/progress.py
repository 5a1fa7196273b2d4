"""One progress bar for everything that takes time."""

from __future__ import annotations

import os
import sys

from tqdm.auto import tqdm


def bar(total: int, desc: str) -> tqdm:
    """A tqdm bar over `total` steps with the time left: a context manager; call `.update()` once per step.

    It appears only once the work has taken two seconds, vanishes when done, and stays quiet where nobody watches: when
    the CI environment variable is set, or stderr is neither a terminal nor a notebook.
    """
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    return tqdm(total=total, desc=desc, delay=2, leave=False, disable=bool(os.environ.get("CI")) or not watched)
