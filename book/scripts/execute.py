"""Runs notebooks with papermill, several at once, and keeps the results in build/executed.

A notebook is run again only when it, the package, the profile or what is installed has changed since its last run.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import distributions
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]
EXECUTED = ROOT / "build/executed"
COSTS = ROOT / "book/assets/notebook_costs.json"    # what costs.py has measured
OFFLINE = ROOT / "tests/offline"    # IPython's files for kernels without a network
CELL_TIMEOUT = 600          # seconds; a whole notebook should need less than sixty


def fingerprint(notebook: Path, profile: str) -> str:
    """One hash of all that a run depends on: cells, the package with its weights, the profile, what is installed."""
    cells = [(c.cell_type, c.source, c.metadata) for c in nbformat.read(notebook, as_version=4).cells]
    installed = sorted(f"{d.name} {d.version}" for d in distributions())
    return package(json.dumps([profile, cells, sys.version, installed]).encode())


def package(more: bytes) -> str:
    """One hash of something and of the package with its weights."""
    digest = hashlib.sha256(more)
    for path in sorted((ROOT / "zecon_lite").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()


def is_current(notebook: Path, wanted: str) -> bool:
    """Whether the run that is kept has this fingerprint."""
    stamp = EXECUTED / f"{notebook.stem}.sha256"
    return (EXECUTED / notebook.name).is_file() and stamp.is_file() and stamp.read_text() == wanted


def is_injected(cell: nbformat.NotebookNode) -> bool:
    """Whether papermill put this cell in, to set the profile."""
    return "injected-parameters" in cell.metadata.get("tags", [])


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The executed notebook without papermill's marks; the cell it injected stays out of the page."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        tags = cell.metadata.get("tags", [])
        if is_injected(cell):
            cell.metadata.tags = [*tags, "remove-cell"]
        elif not tags:
            cell.metadata.pop("tags", None)
    return notebook


def execute(notebook: Path, profile: str) -> str | None:
    """Runs one notebook; the end of its error output when it failed, else None."""
    wanted = fingerprint(notebook, profile)
    if is_current(notebook, wanted):
        print(f"  {notebook.name}: nothing has changed since its last run", flush=True)
        return None
    raw = EXECUTED / f"{notebook.stem}.running.ipynb"
    failure, cost = papermill(notebook, raw, profile)
    if failure:
        return failure
    stamp = EXECUTED / f"{notebook.stem}.sha256"
    stamp.unlink(missing_ok=True)    # whoever is interrupted from here on leaves nothing that a stamp vouches for
    nbformat.write(clean(nbformat.read(raw, as_version=4)), EXECUTED / notebook.name)
    raw.unlink()
    (EXECUTED / f"{notebook.stem}.cost.json").write_text(json.dumps(asdict(cost)))
    stamp.write_text(wanted)
    print(f"  {notebook.name}: {cost.seconds:.1f} s", flush=True)
    return None


@dataclass(frozen=True)
class Cost:
    """What a run took: seconds on the clock, seconds of processors, the most memory that one process held, in bytes."""

    seconds: float
    cpu: float
    memory: int


def papermill(notebook: Path, raw: Path, profile: str, threads: int = 1) -> tuple[str | None, Cost]:
    """Runs a notebook in a process of its own, into `raw`; the end of what it printed when it failed, and the cost.

    The bundled profile needs no connection, and its kernels get none.
    """
    command = [sys.executable, "-m", "papermill", str(notebook), str(raw), "--cwd", str(notebook.parent)]
    command += ["-k", "python3", "-p", "profile", profile, "--execution-timeout", str(CELL_TIMEOUT)]
    command += ["--no-progress-bar", "--log-level", "WARNING"]
    env = {**os.environ, "CI": "1", "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    if profile == "tiny":
        env["IPYTHONDIR"] = str(OFFLINE)
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        # The kernel is a child of this child; waiting in this way counts both.
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        said = log.read()
    unit = 1 if sys.platform == "darwin" else 1024
    cost = Cost(time.monotonic() - start, used.ru_utime + used.ru_stime, used.ru_maxrss * unit)
    code = process.returncode    # below 0: ended by that signal, by the system for want of memory or by somebody
    return (f"{notebook.name} failed (exit status {code}):\n{said[-4000:]}" if code else None), cost


def execute_all(notebooks: list[Path], profile: str = "tiny") -> None:
    """Runs every notebook, as many at once as there are cores (at most four); exits with the errors if any failed.

    Each has one thread, on every machine: the last digits of what it prints, which tests compare, hang on it.
    """
    EXECUTED.mkdir(parents=True, exist_ok=True)
    cores = os.cpu_count() or 1
    jobs = max(1, min(cores, len(notebooks), 4))
    print(f"Running {len(notebooks)} notebooks, {jobs} at a time, with the {profile!r} profile:", flush=True)
    # The longest first, so that none is left running alone at the end.
    known = json.loads(COSTS.read_text(encoding="utf-8"))["notebooks"] if COSTS.is_file() else {}
    longest_first = sorted(notebooks, key=lambda n: known.get(n.stem, {}).get("cpu", 0), reverse=True)
    with ThreadPoolExecutor(jobs) as pool:
        failures = [f for f in pool.map(lambda n: execute(n, profile), longest_first) if f]
    if failures:
        sys.exit("\n\n".join(failures))
