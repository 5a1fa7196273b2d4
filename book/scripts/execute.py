"""Runs notebooks with papermill, several at once, and keeps the results in build/executed.

A notebook is run again only when it, the package or the profile has changed since its last run.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]
EXECUTED = ROOT / "build/executed"
CELL_TIMEOUT = 600          # seconds; a whole notebook should need less than sixty


def fingerprint(notebook: Path, profile: str) -> str:
    """One hash of everything that a run depends on: the cells, the package with its weights, the profile."""
    cells = [(c.cell_type, c.source, c.metadata) for c in nbformat.read(notebook, as_version=4).cells]
    return package(json.dumps([profile, cells]).encode())


def package(more: bytes) -> str:
    """One hash of something and of the package with its weights."""
    digest = hashlib.sha256(more)
    for path in sorted((ROOT / "zecon_lite").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The executed notebook without papermill's marks; the cell it injected stays out of the page."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags:
            cell.metadata.tags = [*tags, "remove-cell"]
        elif not tags:
            cell.metadata.pop("tags", None)
    return notebook


def execute(notebook: Path, profile: str, threads: int) -> str | None:
    """Runs one notebook; the end of its error output when it failed, else None."""
    target, stamp = EXECUTED / notebook.name, EXECUTED / f"{notebook.stem}.sha256"
    wanted = fingerprint(notebook, profile)
    if target.is_file() and stamp.is_file() and stamp.read_text() == wanted:
        print(f"  {notebook.name}: nothing has changed since its last run", flush=True)
        return None
    start, raw = time.monotonic(), EXECUTED / f"{notebook.stem}.running.ipynb"
    command = [sys.executable, "-m", "papermill", str(notebook), str(raw), "--cwd", str(notebook.parent)]
    command += ["-k", "python3", "-p", "profile", profile, "--execution-timeout", str(CELL_TIMEOUT)]
    command += ["--no-progress-bar", "--log-level", "WARNING"]
    env = {**os.environ, "CI": "1", "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        return f"{notebook.name} failed:\n{(done.stdout + done.stderr)[-4000:]}"
    nbformat.write(clean(nbformat.read(raw, as_version=4)), target)
    raw.unlink()
    stamp.write_text(wanted)
    print(f"  {notebook.name}: {time.monotonic() - start:.1f} s", flush=True)
    return None


def execute_all(notebooks: list[Path], profile: str = "tiny") -> None:
    """Runs every notebook, as many at once as there are cores (at most four); exits with the errors if any failed."""
    EXECUTED.mkdir(parents=True, exist_ok=True)
    cores = os.cpu_count() or 1
    jobs = max(1, min(cores, len(notebooks), 4))
    print(f"Running {len(notebooks)} notebooks, {jobs} at a time, with the {profile!r} profile:", flush=True)
    with ThreadPoolExecutor(jobs) as pool:
        failures = [f for f in pool.map(lambda n: execute(n, profile, max(1, cores // jobs)), notebooks) if f]
    if failures:
        sys.exit("\n\n".join(failures))
