"""One download over HTTP: resumed where it stopped, counted, and never taken for whole when it is not."""

from __future__ import annotations

import errno
import http.client
import shutil
import ssl
import urllib.error
import urllib.request
from io import FileIO
from pathlib import Path

from ..progress import bar

CHUNK = 1 << 20


def download(url: str, partial: Path, what: str, timeout: float = 60.0) -> None:
    """Bring `partial` to the length of the file at `url`, going on from what is there already.

    A server that does not know ranges sends everything again. timeout: seconds without a byte.
    Raises ConnectionError when the address does not answer, answers with a page or ends early, and OSError when the
    disk is full; what came is kept in both cases, and the next call goes on from it.
    """
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"User-Agent": "zecon-lite", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout) as answer:
            if answer.headers.get_content_type() == "text/html":
                raise ConnectionError("a web page came, not the file")
            if answer.status != 206:
                have = 0
            left = _receive(answer, partial, have, what)
        if left > 0:  # the connection closed early: urllib does not say so
            raise ConnectionError(f"the connection ended {left} bytes early")
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:  # 416: nothing is left to send; the hash decides
            raise ConnectionError(f"{url} answered {error.code}") from error
    except TimeoutError as error:
        raise ConnectionError(f"{url} sent nothing for {timeout:g} s") from error
    except (urllib.error.URLError, ConnectionError, http.client.HTTPException, ssl.SSLError) as error:
        raise ConnectionError(f"{url}: {getattr(error, 'reason', error)}") from error


def _receive(answer: http.client.HTTPResponse, partial: Path, have: int, what: str) -> int:
    """Write what comes behind the first `have` bytes; returns how many of the announced bytes are missing."""
    left = int(answer.headers.get("Content-Length") or 0)
    require_space(partial.parent, left, what)
    # Unbuffered, so that after a full disk the file holds exactly what was written.
    with open(partial, "ab" if have else "wb", buffering=0) as out, bar(have + left, f"fetching {what}") as progress:
        progress.unit, progress.unit_scale = "B", True
        progress.initial = progress.n = have
        while chunk := answer.read(CHUNK):
            write_all(out, chunk, what)
            left -= len(chunk)
            progress.update(len(chunk))
    return left


def write_all(out: FileIO, data: bytes, what: str) -> None:
    """Write to an unbuffered file, which may take less than it is given. Raises OSError when the disk is full."""
    view = memoryview(data)
    try:
        while view:
            view = view[out.write(view) :]
    except OSError as error:
        if error.errno not in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):  # Windows has no quotas
            raise
        raise OSError(
            f"the disk became full while {what} came: make room and run again to go on, or set ZECON_LITE_HOME to a "
            "folder on a larger disk"
        ) from error


def require_space(folder: Path, size: int, what: str) -> None:
    """Raises OSError when `size` more bytes do not fit on the disk of a folder."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise OSError(
            f"{what} needs {readable(size)} more and the disk of {folder} has {readable(free)} left: make room, or set "
            "ZECON_LITE_HOME to a folder on a larger disk"
        )


def readable(size: float | None) -> str:
    """Bytes as people write them; ? when unknown.

    >>> readable(2_211_383_297), readable(541), readable(None)
    ('2.21 GB', '541 B', '?')
    """
    if size is None:
        return "?"
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
