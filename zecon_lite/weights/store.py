"""The folder of fetched weights: finding, fetching, adopting and checking what is in it.

Beside each file lies NAME.sha256, in the format of `sha256sum`: the hash that the file had when it was last checked.
A file is checked before its first use and again whenever its time has changed. Where nobody has published a hash, the
record of the first download is what later ones are held against: trust on first use, of a file that is whole.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from ..files import replacing
from ..progress import bar
from .download import CHUNK, download, require_space
from .manifest import MANIFEST, WeightFile

PICKLE = b"\x80"  # how one begins
TORCH = (".pt", ".pth")
BUNDLED = Path(__file__).parents[1] / "tiny" / "weights"


def home() -> Path:
    """The folder of fetched weights: $ZECON_LITE_HOME, or ~/.cache/zecon_lite."""
    return Path(os.environ.get("ZECON_LITE_HOME") or "~/.cache/zecon_lite").expanduser()


def path_of(file: WeightFile) -> Path:
    """Where a file lies once it is there."""
    return home() / file.name


def partial_of(file: WeightFile) -> Path:
    """Where a file lies while it is being fetched."""
    path = path_of(file)
    return path.with_name(f"{path.name}.partial")


def find(file: WeightFile, fetch_missing: bool = True) -> Path:
    """The path of a checkpoint, checked, and fetched if need be and allowed.

    Raises FileNotFoundError, saying where to get it and where to put it, when it is not there and cannot be fetched,
    and ValueError when what is there is not the published file.
    """
    path = path_of(file)
    if path.exists():
        _check(file)
        return path
    if file.url is None or not fetch_missing:
        source = file.url or file.where
        entry = next((name for name, files in MANIFEST.items() if file in files), "NAME")
        raise FileNotFoundError(
            f"{file.name} is not in {home()}: run zecon-lite weights fetch {entry}, or get it ({source}) and put it "
            "there, or set ZECON_LITE_HOME"
        )
    return fetch(file)


def fetch(file: WeightFile, mirror: str | None = None, timeout: float = 60.0) -> Path:
    """Download a file into `home()`, going on where an earlier download stopped; returns its path.

    mirror: the address of a folder that holds files under their own names, asked first. Then come the file's own
    address and its mirrors. Of several processes one downloads; the others wait for it. The sha256 is checked before
    the file gets its name, so a file with its name is whole.
    Raises ConnectionError when no address answers, ValueError when a hash is wrong (that file is deleted), OSError
    when the disk is full, FileNotFoundError when there is no address.
    """
    path = path_of(file)
    addresses = [f"{mirror.rstrip('/')}/{file.name}"] if mirror else []
    addresses += [address for address in (file.url, *file.mirrors) if address]
    if not addresses:
        raise FileNotFoundError(f"there is no address for {file.name}: {file.where}, and put it into {home()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(file):
        if path.exists():
            try:
                _check(file)
                return path
            except ValueError:
                pass  # damaged, or never the right one: what comes takes its place
        return _fetch_from(addresses, file, timeout)


def _fetch_from(addresses: Sequence[str], file: WeightFile, timeout: float) -> Path:
    """The file from the first address that gives it whole; when none does, an error that says why each did not."""
    partial, failures = partial_of(file), []
    for address in addresses:
        try:
            download(address, partial, file.name, timeout)
            return _accept(file, partial)
        except (ConnectionError, ValueError) as error:
            failures.append(error)
            if file.sha256 is None and address != addresses[-1]:
                partial.unlink(missing_ok=True)  # halves from two sources would pass for a file
    reasons = "; ".join(str(failure) for failure in failures)
    raise type(failures[-1])(
        f"could not fetch {file.name} ({reasons}): run again to go on, or put it into {home()} by hand "
        '(in the book: "Setting up")'
    ) from failures[-1]


def adopt(file: WeightFile, source: Path) -> Path:
    """Take a file that is already on this computer: checked, then linked (or, from another disk, copied) into `home()`.

    source: the file, or a folder that holds it under its own name or that at its address. Returns its path in `home()`.
    Raises FileNotFoundError when it is not there, ValueError when it is not the published file.
    """
    below = file.name.partition("/")[2] or file.name  # a folder of several files may be given itself
    # First by the name at its address: beside Stable Diffusion's halves lie their larger originals, by the plain name.
    choices = [source / file.name, (source / below).with_name(PurePosixPath(file.url or below).name), source / below]
    choices = choices if source.is_dir() else [source]
    found = next((choice.resolve() for choice in choices if choice.is_file()), None)
    if found is None:
        raise FileNotFoundError(f"there is no file {choices[0]}: give {file.name}, or the folder that holds it")
    source, path = found, path_of(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.adopted")  # not .partial: a download must never go on in a linked file
    with _locked(file):
        if path.exists() and path.samefile(source):
            _check(file)
            return path
        got = sha256(source)
        if refused := _refused(file, source, got):
            raise ValueError(f"{source} {refused}; it was left where it is")
        fresh.unlink(missing_ok=True)
        try:
            os.link(source, fresh)
        except OSError:  # another disk, or one without links
            require_space(home(), source.stat().st_size, file.name)
            shutil.copyfile(source, fresh)
        os.replace(fresh, path)
        _record(file, got)
    return path


def verify(file: WeightFile) -> str | None:
    """What is wrong with the file in `home()`, in words; None when its hash is right, or the first one seen.

    Reads the whole file, whatever its record says. Raises FileNotFoundError when it is not there.
    """
    path = path_of(file)
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}: fetch it first")
    got = sha256(path)
    return _refused(file, path, got) or _changed(file, got)


def sha256(path: Path) -> str:
    """The file's sha256, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file, bar(path.stat().st_size, f"checking {path.name}") as progress:
        progress.unit, progress.unit_scale = "B", True
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            progress.update(len(chunk))
    return digest.hexdigest()


# ------------------------------------------------------------------------------------------------ checking, recording


def _check(file: WeightFile) -> None:
    """Check a file that is in place, unless it was checked since it last changed.

    Raises ValueError when it is not the published file; warns when no hash is published and it changed.
    """
    path, recorded = path_of(file), _recorded(file)
    unchanged = recorded is not None and _record_of(file).stat().st_mtime_ns == path.stat().st_mtime_ns
    if unchanged and file.sha256 in (None, recorded):
        return
    got = sha256(path)
    if refused := _refused(file, path, got):
        raise ValueError(f"{path} {refused}; fetch it again, or take it out of that folder")
    _record(file, got)


def _accept(file: WeightFile, partial: Path) -> Path:
    """Check what came, give it its name, record its hash. Raises ValueError, and deletes it, when it is wrong."""
    got = sha256(partial)
    if refused := _refused(file, partial, got):
        partial.unlink()
        raise ValueError(f"what came {refused}; it was deleted")
    os.replace(partial, path_of(file))
    _record(file, got)
    return path_of(file)


def _refused(file: WeightFile, path: Path, got: str) -> str | None:
    """Why this is not the file, in words: another hash than the published one, or, where there is none, no checkpoint.

    A page that says "quota exceeded" has a hash, too: once recorded, it would be trusted.
    """
    if file.sha256 is not None:
        return _unlike("is not the published file", got, file.sha256)
    with open(path, "rb") as opened:
        old = opened.read(1) == PICKLE    # torch wrote no archives before version 1.6
    if old or zipfile.is_zipfile(path) or not file.name.endswith(TORCH):
        return None
    return "is no checkpoint, or only the beginning of one"


def _changed(file: WeightFile, got: str) -> str | None:
    """How a hash that nobody publishes differs from the first one seen, in words; None when it does not."""
    return _unlike("is not the file that came first", got, _recorded(file)) if file.sha256 is None else None


def _unlike(what: str, got: str, wanted: str | None) -> str | None:
    return None if wanted in (None, got) else f"{what}: its sha256 is {got[:12]}..., wanted {str(wanted)[:12]}..."


def _record_of(file: WeightFile) -> Path:
    path = path_of(file)
    return path.with_name(f"{path.name}.sha256")


def _recorded(file: WeightFile) -> str | None:
    """The hash in a file's record."""
    record = _record_of(file)
    words = record.read_text(errors="replace").split() if record.exists() else []
    return words[0] if words else None


def _record(file: WeightFile, got: str) -> None:
    """Record a hash, with the time of its file; or warn, when nobody publishes it and it is not the first one seen."""
    path, record = path_of(file), _record_of(file)
    if complaint := _changed(file, got):
        warnings.warn(
            f"{path} {complaint}. Nobody publishes its hash, so find out why before you use it; to trust it from now "
            f"on, delete {record.name}",
            UserWarning,
            stacklevel=4,
        )
        return
    time = path.stat().st_mtime_ns
    with suppress(OSError), replacing(record) as part:  # in a folder that may only be read, files are checked each time
        part.write_text(f"{got}  {path.name}\n")
        os.utime(part, ns=(time, time))


@contextmanager
def _locked(file: WeightFile) -> Iterator[None]:
    """Hold the file's lock, so that two processes or notebooks do not fetch it twice."""
    from filelock import FileLock, Timeout

    folder = home() / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{file.name.replace('/', '--')}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        warnings.warn(f"another process is fetching {file.name}: waiting for it", UserWarning, stacklevel=4)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
