"""Measures the recipes: python book/scripts/measure.py writes all that the page book/how_good.md shows.

Into book/assets go the numbers (measured.json, see `zecon_lite.evaluate`), the tables made from them (measured_*.md)
and the pictures (measured_*.png). Finished pictures are kept in build/evaluation: an interrupted run goes on there, and
a run that finds them all only scores and draws. `--rows zecon` measures that recipe alone; others keep their numbers.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import time
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image
from scipy.stats import t
from torch import Tensor

from zecon_lite import Models, images, load_models, metrics, show, weights
from zecon_lite.benchmark import Benchmark, Pictures, Row
from zecon_lite.evaluate import MEASURES, cell, compare, made, rows_of, save, scores, table
from zecon_lite.files import replacing, write
from zecon_lite.tiny import world

ROOT = Path(__file__).resolve().parents[2]
ASSETS, CACHE = ROOT / "book/assets", ROOT / "build/evaluation"
RECIPES = ("sdedit", "clip_guided", "zecon")
GUIDING = ("unet", "clip", "vgg")
STYLE = ("style_accuracy_a", "style_accuracy_b", "style_probability_a", "style_probability_b", "frechet_a", "frechet_b")
CURVE = ("style_accuracy_a", "style_accuracy_b", "ssim_to_source", "edge_f1", "mask_iou")
SAMPLE = 2    # pictures on which seconds are measured, where the others were made on a GPU
FADED, AIM = "truth, faded", 0.62    # of SSIM to the source
CONTENT = ("ssim_to_source", "edge_f1", "mask_iou", "object_accuracy_a", "object_accuracy_b", "colour_distance")


# ---------------------------------------------------------------------------------------------------------- the tables


def fragments(measured: Mapping) -> dict[str, str]:
    """Every table and every sentence with a number in it, by the name of its file."""
    return {
        "measured_setup.md": setup(measured),
        "measured_judges.md": judges(measured),
        "measured_style.md": markdown(*table(measured, STYLE)),
        "measured_content.md": markdown(*table(measured, (*CONTENT, "cpu_seconds_per_picture"))),
        "measured_goals.md": goals(measured),
        "measured_faded.md": excluded(measured["curve"]),
        "measured_difference.md": difference(measured),
        "measured_curve.md": curve_setup(measured["curve"]) + "\n" + markdown(*table(measured["curve"], CURVE)),
        "measured_equal_style.md": equal_style(measured["curve"]),
        "measured_by_style.md": by_style(measured),
    }


def markdown(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; an interval stands under its mean, so that a row stays two lines high."""
    rows = [headings, ["---"] * len(headings), *lines]
    text = "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"
    return re.sub(r" \(([-\d.]+) to ([-\d.]+)\)", r"<br>\1 to \2", text)


def setup(measured: Mapping) -> str:
    """What was run."""
    return (
        f"{measured['scenes']} held-out scenes, each in {len(measured['styles'])} styles with {_seeds(measured)}: "
        f"{measured['pictures']} pictures a row, {measured['size']} pixels a side.{place(measured)}\n"
    )


def place(measured: Mapping) -> str:
    """Where the pictures were made, if not where the seconds were measured."""
    machine = measured.get("made_on", "CPU")
    own = {name: row.get("made_on", machine) for name, row in measured.get("rows", {}).items()}
    others = "".join(f"; `{name}` on: {there}" for name, there in own.items() if there != machine)
    if machine == "CPU" and not others:
        return ""
    return f" Made on: {machine}{others}; the seconds were measured on a CPU, on the first {SAMPLE} pictures."


def curve_setup(curve: Mapping) -> str:
    """What was run for the curve."""
    return f"Each point: the same scenes and styles with {_seeds(curve)}, {curve['pictures']} pictures.\n"


def _seeds(measured: Mapping) -> str:
    return f"{measured['seeds']} {'seed' if measured['seeds'] == 1 else 'seeds'}"


def judges(measured: Mapping) -> str:
    """How good the judges themselves are on true pictures that they have not seen."""
    keys = ("style", "style_blurred", "object", "background")
    lines = [[name, *(f"{100 * card[k]:.1f} %" for k in keys)] for name, card in measured["judges"].items()]
    iou = measured["segmenter"]
    text = markdown(["", "style", "style, blurred", "object", "background"], lines)
    return f"{text}\nSegmenter: IoU {iou['iou_photo']:.2f} on photos, {iou['iou_styled']:.2f} on styled pictures.\n"


def goals(measured: Mapping) -> str:
    """What was aimed for with `zecon`, what came out, and whether that is enough."""
    rows, aims = measured["rows"], []
    zecon, truth = rows["zecon"], rows["truth"]["overall"]
    for letter in "ab":
        key = f"style_accuracy_{letter}"
        share = zecon["overall"][key][0] / max(truth[key][0], 1e-9)
        aims.append((f"style accuracy by judge {letter.upper()}, as a share of the truth's", share, 0.85))
    weakest = {s: min(row[f"style_accuracy_{x}"][0] for x in "ab") for s, row in zecon["styles"].items()}
    worst = min(weakest, key=weakest.get)
    aims.append((f"style accuracy of the weakest style ({worst}), by the stricter judge", weakest[worst], 0.6))
    aims.append(("SSIM to the source", zecon["overall"]["ssim_to_source"][0], AIM))
    aims.append(("mask IoU", zecon["overall"]["mask_iou"][0], 0.75))
    lines = [[what, f"{aim:.2f}", f"{got:.2f}", "yes" if got >= aim else "no"] for what, got, aim in aims]
    return markdown(["`zecon`, default settings", "at least", "measured", "reached"], lines)


def excluded(curve: Mapping) -> str:
    """What is left of the true style where the aim for SSIM is met."""
    truth, there = (curve["rows"][name]["overall"] for name in ("truth", FADED))
    return (
        f"The truth's own SSIM to the source is {truth['ssim_to_source'][0]:.2f}. Faded towards the source, picture by "
        f"picture, until it is {there['ssim_to_source'][0]:.2f}, its style is named by judge A in "
        f"{there['style_accuracy_a'][0]:.2f} and by judge B in {there['style_accuracy_b'][0]:.2f} of the pictures.\n"
    )


def difference(measured: Mapping) -> str:
    """`zecon` minus `clip_guided`, scene by scene, with an interval of the difference itself."""
    lines = []
    for key in CURVE:
        found = minus(measured["rows"], "zecon", "clip_guided", key)
        lines.append([MEASURES[key], cell(found), yes_or_no(found)])
    return markdown(["`zecon` minus `clip_guided`", "difference", "0 is outside"], lines)


def equal_style(curve: Mapping) -> str:
    """What `zecon` keeps at the heaviest weight whose style is not below that of `clip_guided`, for each judge.

    Not below: the interval of the difference, scene by scene, reaches 0.
    """
    rows, lines = curve["rows"], []
    points = sorted((row["weight"], name) for name, row in rows.items() if "loss" in row)
    for letter in "ab":
        key = f"style_accuracy_{letter}"
        equal = [(w, name) for w, name in points if minus(rows, name, "clip_guided", key)[2] >= 0]
        if not equal:
            lines.append([MEASURES[key], "none is as high", *["-"] * 4])
            continue
        weight, name = equal[-1]
        style, *kept = (minus(rows, name, "clip_guided", k) for k in (key, "ssim_to_source", "mask_iou"))
        outside = "yes" if all(side_of_zero(*found[1:]) > 0 for found in kept) else "no"
        lines.append([MEASURES[key], f"{weight:g}", cell(style), *map(cell, kept), outside])
    headings = ["at equal", "weight", "style, difference", "SSIM, difference", "mask IoU, difference", "both above 0"]
    return markdown(headings, lines)


def faded(asked: Pictures, seed: int) -> Tensor:
    """The truth, faded towards the source until its SSIM to it is the one that was aimed for; twelve halvings."""
    low, high = (torch.full((len(asked.styles), 1, 1, 1), end) for end in (0.0, 1.0))
    for _ in range(12):
        middle = (low + high) / 2
        like = metrics.ssim(torch.lerp(asked.source, asked.truth, middle), asked.source)[:, None, None, None] >= AIM
        low, high = torch.where(like, middle, low), torch.where(like, high, middle)
    return torch.lerp(asked.source, asked.truth, low)


def apart(rows: Mapping, one: str, other: str, key: str) -> Tensor:
    """The difference of two rows in a measure, a number for each scene."""
    return torch.tensor(rows[one]["by_scene"][key]) - torch.tensor(rows[other]["by_scene"][key])


def minus(rows: Mapping, one: str, other: str, key: str) -> tuple[float, float, float]:
    """The difference of two rows, scene by scene: its mean, and both ends of its interval."""
    return student(apart(rows, one, other, key))


def student(change: Tensor, scenes: Tensor | None = None) -> tuple[float, float, float]:
    """Mean, low and high end of the 95 % interval of Student's t for differences (n,), one number a scene.

    scenes: (n,), the scene of each, where there are several of one; they are averaged first. Of few scenes a bootstrap
    interval is too narrow to judge a claim by (see `metrics.interval`).
    """
    scenes = torch.arange(len(change)) if scenes is None else scenes
    each = torch.stack([change[scenes == scene].double().mean() for scene in scenes.unique()])
    mean, half = each.mean().item(), float(t.ppf(0.975, len(each) - 1)) * each.std().item() / len(each) ** 0.5
    return mean, mean - half, mean + half


def yes_or_no(found: tuple[float, float, float]) -> str:
    """Whether an interval leaves 0 outside, in words."""
    return "yes" if side_of_zero(*found[1:]) else "no"


def side_of_zero(low: float, high: float) -> int:
    """1 where the whole interval is above 0, -1 where it is below, else 0; scores are kept in four digits only."""
    return (round(low, 3) > 0) - (round(high, 3) < 0)


VERDICTS = {1: "true", -1: "false", 0: "not shown"}
"""What is said of a claim by the side of zero on which its interval lies."""


def by_style(measured: Mapping) -> str:
    """`zecon` in each style, beside what the truth gets."""
    keys = ("style_accuracy_a", "style_accuracy_b", "ssim_to_source", "mask_iou")
    lines = []
    for style in measured["styles"]:
        zecon, truth = (measured["rows"][name]["styles"][style] for name in ("zecon", "truth"))
        lines.append([style, *(f"{zecon[k][0]:.2f} ({truth[k][0]:.2f})" for k in keys)])
    return markdown(["`zecon` (truth)", *(MEASURES[k] for k in keys)], lines)


# -------------------------------------------------------------------------------------------------------- the pictures


def curve(measured: Mapping) -> Figure:
    """Style against content: `zecon` at several weights of its contrastive term, and other rows as points."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(7.0, 4.2), dpi=show.DPI, facecolor="white", layout="constrained")
    plt.close(figure)
    rows = measured["rows"]
    line = sorted((row["weight"], name) for name, row in rows.items() if row.get("loss") == "zecon")
    for letter, colour, dashes in zip("ab", show.COLOURS, show.LINES, strict=False):
        key = f"style_accuracy_{letter}"
        x, y, (left, right, down, up) = _points([rows[name]["overall"] for _, name in line], key)
        label = f"zecon, judge {letter.upper()}"
        ax.errorbar(x, y, xerr=(left, right), yerr=(down, up), fmt=f"{dashes}o", color=colour, capsize=2, label=label)
        for marker, name in zip("sD^vP", ("source", "sdedit", "clip_guided", "truth", FADED), strict=True):
            at = rows[name]["overall"]
            ax.plot(at["ssim_to_source"][0], at[key][0], marker, color=colour, mfc="white")
            if letter == "a":
                beside = (-22, -15) if name == "clip_guided" else (6, 6)    # to its right stands the truth
                ax.annotate(name, (at["ssim_to_source"][0], at[key][0]), beside, textcoords="offset points", fontsize=8)
    for weight, name in line:
        at = rows[name]["overall"]
        place = (at["ssim_to_source"][0], max(at[f"style_accuracy_{letter}"][0] for letter in "ab"))
        ax.annotate(f"{weight:g}", place, (4, 8), textcoords="offset points", fontsize=8, weight="bold")
    ax.set(xlabel="SSIM to the source (content)", ylabel="style accuracy", xlim=(0, 1.08), ylim=(-0.05, 1.1))
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3, linewidth=0.6)
    ax.legend(frameon=False, fontsize=9, loc="upper right")
    return figure


def _points(rows: Sequence[Mapping], key: str) -> tuple[list[float], list[float], tuple[list[float], ...]]:
    """Where the rows stand, content to the right and style up, and how far their intervals reach each way."""
    x, y = ([row[k] for row in rows] for k in ("ssim_to_source", key))
    reach = tuple([abs(value[end] - value[0]) for value in axis] for axis in (x, y) for end in (1, 2))
    return [value[0] for value in x], [value[0] for value in y], reach


def unselected(asked: Benchmark, pictures: Mapping[str, Tensor]) -> Figure:
    """Every scene in every style, the first seed: nothing is chosen."""
    columns, titles = [], []
    for scene in range(asked.scenes):
        at = slice(scene * len(asked.styles), (scene + 1) * len(asked.styles))
        columns += [asked.pictures.source[at], asked.pictures.truth[at], *(p[0, at] for p in pictures.values())]
        titles += ["source", "truth", *(name.replace("_", " ") for name in pictures)]
    rows = [[column[k] for column in columns] for k in range(len(asked.styles))]
    return show.grid(rows, row_titles=asked.styles, column_titles=titles, height=0.9)


def extremes(asked: Benchmark, zecon: Tensor) -> Figure:
    """Of every style the picture that both judges believe least, and the one that they believe most."""
    found = [scores(p, asked.pictures) for p in zecon]
    belief = torch.stack([s["style_probability_a"] + s["style_probability_b"] for s in found])  # (seeds, n)
    rows = []
    for k in range(len(asked.styles)):
        row = []
        for extreme in (torch.argmin, torch.argmax):
            seed, scene = divmod(int(extreme(belief[:, k :: len(asked.styles)])), asked.scenes)
            n = scene * len(asked.styles) + k
            row += [asked.pictures.source[n], zecon[seed, n], asked.pictures.truth[n]]
        rows.append(row)
    titles = [f"{word}: {what}" for word in ("worst", "best") for what in ("source", "zecon", "truth")]
    return show.grid(rows, row_titles=asked.styles, column_titles=titles, height=0.9)


# ------------------------------------------------------------------------------------- pictures made on another machine


def elsewhere(parser: argparse.ArgumentParser) -> None:
    """The options for a machine with a GPU, whose seconds are not those that readers will wait."""
    parser.add_argument("--device", default="cpu", help="where pictures are made; cuda leaves seconds out")
    parser.add_argument("--batch", type=int, help="pictures at once")
    parser.add_argument("--seconds", action="store_true", help="measure the seconds alone, for the numbers there")


def without_seconds(measured: dict, models: Models) -> dict:
    """The numbers, saying where their pictures were made; without seconds where that was no CPU."""
    measured["made_on"] = "CPU" if models.device.type == "cpu" else torch.cuda.get_device_name(models.device)
    if models.device.type != "cpu":
        for row in measured["rows"].values():
            row["cpu_seconds_per_picture"] = None
    return measured


def timed(rows: Mapping[str, Row], asked: Benchmark) -> dict[str, float]:
    """The CPU seconds of a picture of every row, measured on the first SAMPLE of them."""
    found = {}
    for name, row in rows.items():
        row.make(asked.pictures.part(slice(0, 1)), 0)    # networks are loaded, prompts embedded
        begun = time.process_time()
        row.make(asked.pictures.part(slice(0, SAMPLE)), 0)
        found[name] = round((time.process_time() - begun) / SAMPLE, 3)
        print(f"{name}: {found[name]} CPU seconds a picture", flush=True)
    return found


def merged(old: dict, new: Mapping) -> dict:
    """The old numbers with the new rows in their places, each of which says where it was made.

    Exits where they are not of the same pictures.
    """
    for key in ("scenes", "first_scene", "seeds", "styles", "size"):
        if old[key] != new[key]:
            raise SystemExit(f"the numbers there are of other {key}: {old[key]}, now {new[key]}; measure all rows anew")
    fresh = {name: {**row, "made_on": new["made_on"]} for name, row in new["rows"].items()}
    return {**old, "rows": {name: fresh.get(name, row) for name, row in old["rows"].items()}}


def with_seconds(measured: dict, rows: Mapping[str, Row], asked: Benchmark) -> dict:
    """The numbers, with the seconds that their rows take here."""
    for name, seconds in timed(rows, asked).items():
        measured["rows"][name]["cpu_seconds_per_picture"] = seconds
    return measured


# ------------------------------------------------------------------------------------------------------------ the run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--curve", default="zecon=0.005,0.02,0.1", help="LOSS=WEIGHT,WEIGHT,...")
    parser.add_argument("--curve-seeds", type=int, default=1)
    parser.add_argument("--rows", help="measure these recipes alone, with commas, and keep the others' numbers")
    elsewhere(parser)
    args = parser.parse_args()
    models = load_models("tiny", device=args.device)
    asked = Benchmark(args.scenes, tuple(world.STYLES), args.seeds, models.size, args.batch)
    rows = rows_of(models, RECIPES)
    points = rows_of(models, ("sdedit", "clip_guided"), (), [args.curve]) | {FADED: Row(faded)}
    fewer = Benchmark(args.scenes, asked.styles, args.curve_seeds, models.size, args.batch)
    if args.seconds or args.rows:
        measured = json.loads((ASSETS / "measured.json").read_text(encoding="utf-8"))
    if args.seconds:
        with_seconds(measured, rows, asked)
    elif args.rows:
        names = args.rows.split(",")
        if unknown := sorted(set(names) - set(rows)):
            raise SystemExit(f"no row named {', '.join(unknown)}; there are {', '.join(rows)}")
        some, curved = ({n: r for n, r in of.items() if n.split(",")[0] in names} for of in (rows, points))
        curve_of = merged(measured["curve"], without_seconds(compare(curved, fewer, CACHE), models))
        measured = merged(measured, without_seconds(compare(some, asked, CACHE), models)) | {"curve": curve_of}
        with_seconds(measured, rows, asked)    # of all rows: those there may be of a faster machine, or a slower one
    else:
        measured = without_seconds(compare(rows, asked, CACHE), models)
        measured["curve"] = without_seconds(compare(points, fewer, CACHE), models)
        measured["weights"] = hashes()
    save(measured, ASSETS / "measured.json")
    for name, text in fragments(measured).items():
        write(ASSETS / name, text)
    if args.seconds:
        return
    two = Benchmark(min(2, args.scenes), asked.styles, 1, models.size, args.batch)
    draw(curve(measured["curve"]), "measured_curve.png")
    draw(unselected(two, {name: _pictures(rows[name], two) for name in reversed(RECIPES)}), "measured_unselected.png")
    draw(extremes(asked, _pictures(rows["zecon"], asked)), "measured_extremes.png")
    for line in table(measured, ("style_accuracy_a", "ssim_to_source", "mask_iou", "cpu_seconds_per_picture"))[1]:
        print(*line, sep="  ")


def hashes(names: Sequence[str] = GUIDING) -> dict[str, str]:
    """Which networks guided: the beginning of each file's sha256."""
    return {name: weights.sha256(weights.BUNDLED / f"{name}.safetensors")[:12] for name in names}


def _pictures(row: Row, asked: Benchmark) -> Tensor:
    """The row's pictures in [-1, 1], (seeds, n, 3, H, W), which by now are all stored."""
    return images.from_unit(made(row, asked, CACHE)[0].float() / 255)


def draw(figure: Figure, name: str) -> None:
    """The figure as a file of ASSETS, whole or not at all; 256 colours are enough, and a third of the size."""
    # Without the date and version that matplotlib writes, the same numbers give the same file.
    drawn = BytesIO()
    figure.savefig(drawn, format="png")
    with replacing(ASSETS / name) as partial:
        Image.open(drawn).convert("RGB").quantize(256).save(partial, format="png", optimize=True)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The lines of a file, by the names in its first one."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def as_csv(lines: Sequence[Mapping[str, str]]) -> str:
    """Lines of the same names as the text of a file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


if __name__ == "__main__":
    main()
