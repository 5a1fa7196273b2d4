"""One run whose noise and picture are recorded, and what machines have made of it.

`python tests/reproduction.py` runs it here, notes the outcome in book/assets/reproduction.json, in place of an earlier
one of the same device and Python, and makes the table of the page book/limitations.md from what is noted;
`--device cuda` or `--device mps` notes what that device makes, `--table` only makes the table.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from golden import draw
from torch import Tensor
from toys import GaussianDenoiser

from zecon_lite import Schedule, files
from zecon_lite.guidance import Guidance
from zecon_lite.samplers import sample

ASSETS = Path(__file__).resolve().parents[1] / "book/assets"
NOTED = ASSETS / "reproduction.json"
NOISE = "65e9935fb3f818c952a828876d3689e3bdbd873ec4770c6023198a22045ad9bf"
PICTURE = "c6f59c31d3ce6317fef32a0abef124d0513fa140686e15f5812c66ac3f3a32da"
SINGLE = "64ed295ab4b42f2f65401c09175f45b74bd4a88d7a5f17fabe09a744490ff56b"
CORNER = (0.6204767293632129, 0.32195069382128355, -0.012947688831522863)
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
OTHERS = {"cuda": "CUDA", "mps": "MPS"}    # devices beside the CPU
NOT_MEASURED = "not measured"


def run(device: str = "cpu", dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """A guided run: the first noise and the result, each (1, 3, 8, 8) on the CPU.

    A network in closed form stands in for a trained one, so that the record outlives every training.
    """
    generator = torch.Generator().manual_seed(2024)
    source = torch.from_numpy(draw(1, 1, 3, 8, 8, scale=0.5)).to(device, dtype)
    denoiser = GaussianDenoiser(Schedule.linear().respace(20))
    noise = torch.randn(source.shape, generator=generator)
    x = denoiser.schedule.noised(source, 12, noise.to(device, dtype))
    guidance = Guidance({"mse": lambda s: (s.view - s.source_view).square().sum()}, {"mse": 3.0})
    steps = list(sample(denoiser, x, range(12, -1, -1), guidance=guidance, source=source, generator=generator))
    return noise, steps[-1].x.cpu()


def sha256(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


def rounded(picture: Tensor, digits: int = 6) -> str:
    """The hash of a picture rounded to so many digits, the same wherever sums differ by rounding alone."""
    return sha256((picture.double() * 10**digits).round().long())


# ----------------------------------------------------------------------------------------------------------- the table


def outcome(device: str) -> dict[str, object]:
    """What this machine makes of the run; double: None where the device knows no double precision.

    The two precisions draw other noise on the way, so each has its own record. apart: how far the device is from this
    machine's CPU, in single precision; None for the CPU itself.
    """
    single, here = run(device, torch.float32)[1], run(dtype=torch.float32)[1]
    return {
        "device": device,
        "machine": torch.cuda.get_device_name() if device == "cuda" else f"{platform.system()} {platform.machine()}",
        "python": ".".join(platform.python_version_tuple()[:2]),
        "torch": torch.__version__,
        "noise": sha256(run()[0]) == NOISE,
        "double": None if device == "mps" else rounded(run(device)[1]) == PICTURE,
        "single": rounded(single, 3) == SINGLE,
        "apart": None if device == "cpu" else float(f"{(single - here).abs().max():.1e}"),
    }


def fragment(noted: Sequence[Mapping]) -> str:
    """The table: a line for each supported Python on the CPU, and for each other device."""
    headings = (
        "", "Python", "torch", "noise, bit for bit", "in double precision, six digits", "in single, three digits",
        "apart from the CPU",
    )
    lines = [headings, ["---"] * len(headings)]
    for python in PYTHONS:
        found = [it for it in noted if it["device"] == "cpu" and it["python"] == python]
        lines += [cells(it, "CPU") for it in found] or [["CPU", python, *[NOT_MEASURED] * 5]]
    for device, name in OTHERS.items():
        found = [it for it in noted if it["device"] == device]
        lines += [cells(it, name) for it in found] or [[name, *[NOT_MEASURED] * 6]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cells(it: Mapping, device: str) -> list[str]:
    """A line of the table as text."""
    words = {True: "the same", False: "another", None: "-"}
    same = [words[it[key]] for key in ("noise", "double", "single")]
    apart = "-" if it["apart"] is None else f"{it['apart']:.0e}"
    return [f"{device}, {it['machine']}", it["python"], it["torch"], *same, apart]


def note(it: Mapping, noted: Sequence[Mapping]) -> list[Mapping]:
    """The outcomes with this one among them, in place of an earlier one of the same device and Python."""
    def key(one: Mapping) -> tuple:
        return one["device"], PYTHONS.index(one["python"]) if one["python"] in PYTHONS else -1, one["machine"]

    return sorted([*(one for one in noted if key(one) != key(it)), it], key=key)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", *OTHERS])
    parser.add_argument("--table", action="store_true", help="only make the table from what is noted")
    args = parser.parse_args()
    noted = json.loads(NOTED.read_text(encoding="utf-8")) if NOTED.is_file() else []
    if not args.table:
        noted = note(outcome(args.device), noted)
    for path, text in ((NOTED, json.dumps(noted, indent=1) + "\n"), (NOTED.with_suffix(".md"), fragment(noted))):
        files.write(path, text)


if __name__ == "__main__":
    main()
