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
import sys
from datetime import date
from pathlib import Path

import nbformat
import torch
from execute import COSTS, EXECUTED, ROOT, papermill

from zecon_lite import __version__
from zecon_lite.files import write
from zecon_lite.memory import in_gib
from zecon_lite.weights import MANIFEST, WeightFile

UNET, CLIP, VGG, DINO = ("256x256_diffusion_uncond",), ("clip-vit-b-16",), ("vgg19",), ("dino-vit-b-8",)
CLIPS = (*CLIP, "clip-vit-b-32", "clip-rn50", "clip-rn50x4", "clip-rn50x16")
ASKED = {
    **dict.fromkeys((1, 2, 3, 4), UNET), 5: UNET + CLIP, 6: UNET + CLIP + VGG, 7: UNET + CLIP + VGG,
    8: UNET + CLIP + VGG + DINO, 9: UNET + CLIPS + DINO, 10: UNET + CLIP + VGG, 11: UNET + CLIP + VGG,
    12: (*DINO, "stable-diffusion-v1-5"), 13: UNET + CLIPS + VGG + DINO, 14: UNET + CLIP + VGG + DINO,
}  # fmt: skip
"""chapter -> the published networks that it loads, by their names in the manifest; the miniature runs hold it so."""


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


def files(notebook: Path) -> list[WeightFile]:
    """The published files that a chapter reads with the profile `imagenet256`."""
    return [file for name in ASKED[int(notebook.stem[:2])] for file in MANIFEST[name]]


def downloads(notebook: Path) -> str:
    """How much they weigh, as the manifest has it."""
    asked = files(notebook)
    least = "" if all(file.size for file in asked) else "more than "
    return f"{least}{sum(file.size or 0 for file in asked) / 1e9:.1f} GB"


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
