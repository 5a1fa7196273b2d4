"""Measures what each notebook takes to run: python book/scripts/costs.py [notebook ...]   (on a machine that rests)

One notebook at a time, from a fresh kernel, with all cores. The numbers go into book/assets/notebook_costs.json, the
table made from them into notebook_costs.md beside it; the book shows each chapter's line under its title.
`--from-build` takes the last runs of `make book` instead: their processor time and memory, but not their seconds, since
several ran at once. `--fragment` writes the table alone.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from datetime import date
from pathlib import Path

import nbformat
import torch
from execute import COSTS, EXECUTED, ROOT, papermill

from zecon_lite import __version__
from zecon_lite.files import replacing
from zecon_lite.memory import in_gib
from zecon_lite.weights import MANIFEST, WeightFile, needed_by

# What some chapters ask for beside the files that a profile cannot do without: (a word of their code, entry).
# What code says when it asks for networks beyond those of every recipe: a loop over all recipes asks for DiffuseIT's.
SOME_ASK_FOR = (
    (r"\.vit\b|diffuseit|RECIPES\.items", ("dino-vit-b-8",)),
    (r"\.clips\b|RECIPES\.items", ("clip-vit-b-32", "clip-rn50", "clip-rn50x4", "clip-rn50x16")),
    (r"\.latent\b", ("stable-diffusion-v1-5",)),
)


def machine() -> dict[str, str | int]:
    """Where the numbers come from."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": platform.machine(), "cores": cores, "system": platform.system(),
            "python": platform.python_version(), "torch": torch.__version__}


def recorded() -> dict:
    """What has been measured so far."""
    return json.loads(COSTS.read_text(encoding="utf-8")) if COSTS.is_file() else {"notebooks": {}}


def measure(notebook: Path) -> dict[str, str | float | int | None]:
    """Runs one notebook; exits when it fails."""
    raw = EXECUTED / f"{notebook.stem}.measured.ipynb"
    failure, cost = papermill(notebook, raw, "tiny", machine()["cores"])
    raw.unlink(missing_ok=True)
    if failure:
        sys.exit(failure)
    return record(round(cost.seconds, 1), cost.cpu, cost.memory, date.today())


def built(notebook: Path) -> dict[str, str | float | int | None]:
    """What the last run for the book took."""
    path = EXECUTED / f"{notebook.stem}.cost.json"
    cost = json.loads(path.read_text(encoding="utf-8"))
    return record(None, cost["cpu"], cost["memory"], date.fromtimestamp(path.stat().st_mtime))


def record(seconds: float | None, cpu: float, memory: int, day: date) -> dict[str, str | float | int | None]:
    return {"seconds": seconds, "cpu": round(cpu, 1), "memory": memory, "zecon_lite": __version__,
            "date": day.isoformat()}


def downloads(notebook: Path, profile: str = "imagenet256") -> str:
    """How much the published networks of a notebook weigh, as the manifest has it."""
    code = "\n".join(c.source for c in nbformat.read(notebook, as_version=4).cells if c.cell_type == "code")
    files: list[WeightFile] = list(needed_by(profile))
    for word, entries in SOME_ASK_FOR:
        files += [file for entry in entries for file in MANIFEST[entry]] if re.search(word, code) else []
    least = "" if all(file.size for file in files) else "more than "
    return f"{least}{sum(file.size or 0 for file in files) / 1e9:.1f} GB"


def line(notebook: Path, known: dict) -> str:
    """A chapter's costs in one sentence, Markdown."""
    if notebook.stem not in known["notebooks"]:
        return "What this chapter takes to run has not been measured yet."
    cost, where = known["notebooks"][notebook.stem], known["machine"]
    clock = "" if cost["seconds"] is None else f"{cost['seconds']:.0f} s on {where['cores']} cores, "
    return (f"To run, this chapter took {clock}{cost['cpu']:.0f} s of processor time and {in_gib(cost['memory'])} of "
            f"memory ({where['processor']}, {cost['date']}); on a GPU it has not been measured. It downloads nothing; "
            f"with the profile `imagenet256`, {downloads(notebook)} once.")


def fragment(known: dict) -> str:
    """All of it as a table, Markdown."""
    if not known["notebooks"]:
        return "Not measured yet: run `make costs`.\n"
    where = known["machine"]
    heads = ("Chapter", "Processor seconds", "Most memory", "Downloads with `imagenet256`")
    rows = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for path in (p for p in sorted((ROOT / "notebooks").glob("*.ipynb")) if p.stem in known["notebooks"]):
        cost, title = known["notebooks"][path.stem], nbformat.read(path, as_version=4).cells[0].source.splitlines()[0]
        chapter = f"[{int(path.stem[:2])}. {title.removeprefix('# ')}](../notebooks/{path.name})"
        took = f"{cost['cpu']:.0f} | {in_gib(cost['memory'])}"
        rows.append(f"| {chapter} | {took} | {downloads(path)} |")
    days = " and ".join(sorted({cost["date"] for cost in known["notebooks"].values()}))
    return ("\n".join(rows) + f"\n\nMeasured on {days}, with the bundled networks, which download nothing; on "
            f"{where['cores']} {where['processor']} cores, {where['system']}, Python {where['python']}, torch "
            f"{where['torch']}. On a GPU, nothing has been measured yet.\n")


def write(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def main(names: list[str]) -> None:
    known = recorded()
    EXECUTED.mkdir(parents=True, exist_ok=True)
    everything = sorted((ROOT / "notebooks").glob("*.ipynb"))
    run = built if names == ["--from-build"] else measure
    chosen = [Path(name).resolve() for name in names if not name.startswith("--")]
    for path in [] if names == ["--fragment"] else chosen or everything:
        known["notebooks"][path.stem] = run(path)
        known["machine"] = machine()
        print(f"  {path.name}: {known['notebooks'][path.stem]}", flush=True)
        write(COSTS, json.dumps(known, indent=1, sort_keys=True) + "\n")
    write(COSTS.with_suffix(".md"), fragment(known))


if __name__ == "__main__":
    main(sys.argv[1:])
