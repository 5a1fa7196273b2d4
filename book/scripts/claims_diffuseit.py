"""Measures what DiffuseIT's paper claims: python book/scripts/claims_diffuseit.py

Into book/assets go every picture's scores (claims_diffuseit.json), the tables and verdicts made from them
(claims_diffuseit.md), a figure of the differences and one of the pictures (claims_diffuseit*.png). Finished pictures
are kept in build/evaluation: an interrupted run goes on there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import fmean

import torch
from matplotlib.figure import Figure
from measure import (
    ASSETS,
    CACHE,
    VERDICTS,
    draw,
    elsewhere,
    hashes,
    markdown,
    place,
    side_of_zero,
    student,
    with_seconds,
    without_seconds,
    write,
)
from torch import Tensor

from zecon_lite import images, load_models, metrics, show
from zecon_lite.benchmark import SOURCE, TRUTH, Benchmark, Row, of_recipe
from zecon_lite.evaluate import cell, made, save, scores
from zecon_lite.profiles import Models
from zecon_lite.progress import bar
from zecon_lite.recipes import RECIPES, Recipe
from zecon_lite.tiny import world
from zecon_lite.ways import Early, estimated

STYLES = tuple(world.STYLES)[::3]                   # every third of the list: nothing is chosen
PIXELS = (0.3, 1.0, 3.0)                            # weights of the pixel term that stands in for the keys
DIVERGENCE = (0.05, 0.5)                            # the released share of the style term's weight, and ten times that
LIKE = "pixels, in style like "                      # a row's name after it: pixels weighted to the same style
NETWORKS = ("unet", "clip", "vit")
MEASURES = {
    "style": "p(style), mean of two judges",
    "content": "mask IoU",
    "edges": "edge F1 to the source",
    "palette": "palette's distance to the style picture",
}


# ---------------------------------------------------------------------------------------------------------- the claims


@dataclass(frozen=True)
class Claim:
    """What is claimed, and the comparison that decides: `one` minus `other` in a measure, and which sign it claims.

    fair: another measure in which `one` must not be shown to be behind.
    """

    says: str
    one: str
    other: str
    measure: str
    sign: int = 1
    fair: str | None = None


def claims(measured: Mapping) -> list[Claim]:
    """Every claim."""
    div, bold = (f"divergence {w:g}" for w in DIVERGENCE)
    return [
        Claim("keys hold the content", "image", "no keys", "content"),
        Claim("keys hold it better than pixels do at equal style", "image", f"{LIKE}image", "content"),
        Claim("keys four times as heavy hold the content", "keys x 4", "no keys", "content"),
        Claim("they hold it better than pixels do at equal style", "keys x 4", f"{LIKE}keys x 4", "content"),
        Claim("contrast of keys holds more than self-similarity alone", "image", "no contrast", "content"),
        Claim("[CLS] brings the style picture's look", "image", "no [CLS]", "style"),
        Claim("a sentence brings a look through CLIP", "text", "source", "style"),
        Claim("divergence speeds up the change, by picture", div, "image", "style"),
        Claim("divergence ten times as heavy does", bold, "image", "style"),
        Claim("divergence speeds up the change, by text", f"text, {div}", "text", "style"),
        Claim("resampling ten times speeds up the change", "repeated", "image", "style"),
        Claim("resampling costs no content", "repeated", "image", "content"),
        Claim("resampling is better than as many ordinary steps", "repeated", "more steps", "style"),
        Claim("colour matching brings the palette nearer", "image", "not matched", "palette", -1, "style"),
    ]


def judged(claim: Claim, measured: Mapping) -> tuple[tuple[float, float, float], str]:
    """The difference with its 95 % interval over scenes, and "true", "false" or "not shown"."""
    found = difference(claim.one, claim.other, claim.measure, measured)
    low, high = sorted(claim.sign * end for end in found[1:])
    side = side_of_zero(low, high)
    if claim.fair is not None and side_of_zero(*difference(claim.one, claim.other, claim.fair, measured)[1:]) < 0:
        side = min(side, 0)
    return found, VERDICTS[side]


def difference(one: str, other: str, measure: str, measured: Mapping) -> tuple[float, float, float]:
    """Picture by picture `one` minus `other`: mean, low, high."""
    a, b = (torch.tensor(row_of(name, measured)[measure]) for name in (one, other))
    return student(a - b, _scenes(measured))


def row_of(name: str, measured: Mapping) -> Mapping[str, list[float]]:
    """A row by its name; after LIKE, the two rows of pixels around a row's style, mixed to the same mean style.

    Where no row of pixels lies beyond that style, it is the nearest one alone.
    """
    rows = measured["rows"]
    if not name.startswith(LIKE):
        return rows[name]
    wanted = fmean(rows[name.removeprefix(LIKE)]["style"])
    pixels = sorted((row for n, row in rows.items() if n.startswith("pixels ")), key=lambda row: fmean(row["style"]))
    low = next((row for row in reversed(pixels) if fmean(row["style"]) <= wanted), pixels[0])
    high = next((row for row in pixels if fmean(row["style"]) >= wanted), pixels[-1])
    gap = fmean(high["style"]) - fmean(low["style"])
    share = (wanted - fmean(low["style"])) / gap if gap else 0.0
    return {m: [(1 - share) * x + share * y for x, y in zip(low[m], high[m], strict=True)] for m in MEASURES}


def _scenes(measured: Mapping) -> Tensor:
    """(n,): the scene of each picture; styles run fastest, then scenes, then seeds."""
    return torch.arange(measured["scenes"]).repeat_interleave(len(measured["styles"])).repeat(measured["seeds"])


# ---------------------------------------------------------------------------------------------------------- the tables


def fragment(measured: Mapping) -> str:
    """The page's section, all of it made from the numbers."""
    return "\n".join([setup(measured), verdicts(measured), count(measured), rows_table(measured)])


def setup(measured: Mapping) -> str:
    """What was run."""
    return (
        f"{measured['scenes']} held-out scenes in {len(measured['styles'])} styles ({', '.join(measured['styles'])}), "
        f"{measured['seeds']} seed, {measured['guided']} guided steps of the bundled networks: "
        f"{len(measured['rows']['image']['style'])} pictures a row. The style picture is another scene in the wanted "
        "style. Differences are taken picture by picture; intervals are 95 %, over scenes, of the "
        f"differences by Student's t. They do not cover other seeds, weights or networks.{place(measured)}\n"
    )


def verdicts(measured: Mapping) -> str:
    """The claims, each with its comparison and what came out."""
    lines = []
    for claim in claims(measured):
        found, verdict = judged(claim, measured)
        compared = f"`{claim.one}` minus `{claim.other}`, {MEASURES[claim.measure]}"
        lines.append([claim.says, compared, cell(found), verdict])
    return markdown(["claimed", "measured as", "difference", "here"], lines) + (
        f"\n`{LIKE}image` are the two rows of pixels around that row in style, mixed picture by picture to the same "
        "mean style. The mixture is fitted to these scenes, which the intervals do not cover.\n"
    )


def count(measured: Mapping) -> str:
    """How many claims came out how."""
    found = [judged(claim, measured)[1] for claim in claims(measured)]
    told = ", ".join(f"{found.count(word)} {word}" for word in ("true", "not shown", "false"))
    return f"Of {len(found)} claims: {told}. \"Not shown\" is no refutation: the interval holds both signs.\n"


def rows_table(measured: Mapping) -> str:
    """Every row's scores."""
    lines = []
    for name, row in measured["rows"].items():
        each = (cell(metrics.interval(torch.tensor(row[key]), _scenes(measured))) for key in MEASURES)
        lines.append([f"`{name}`", *each, cell(row["cpu_seconds_per_picture"])])
    return markdown(["", *MEASURES.values(), "CPU seconds a picture"], lines)


# --------------------------------------------------------------------------------------------------------- the figures


def forest(measured: Mapping) -> Figure:
    """Each claim's difference with its interval; to the right is as claimed."""
    import matplotlib.pyplot as plt

    asked = claims(measured)
    figure, ax = plt.subplots(figsize=(8.0, 0.36 * len(asked) + 0.9), dpi=show.DPI, facecolor="white",
                              layout="constrained")
    plt.close(figure)
    looks = {"true": ("o", show.COLOURS[2]), "not shown": ("D", show.COLOURS[6]), "false": ("X", show.COLOURS[1])}
    for y, claim in enumerate(asked):
        found, verdict = judged(claim, measured)
        middle, (low, high) = claim.sign * found[0], sorted(claim.sign * end for end in found[1:])
        marker, colour = looks[verdict]
        ax.plot([low, high], [y, y], color=colour)
        ax.plot(middle, y, marker, color=colour, mfc="white" if verdict == "not shown" else colour)
        ax.annotate(verdict, (high, y), (6, 0), textcoords="offset points", va="center", fontsize=8, color=colour,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set(yticks=range(len(asked)), xlabel="difference, with the sign that is claimed to the right")
    ax.set_yticklabels([claim.says for claim in asked], fontsize=9)
    ax.invert_yaxis()
    ax.margins(x=0.12)
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def gallery(asked: Benchmark, pictures: Mapping[str, Tensor]) -> Figure:
    """The first scene in every style, the first seed: nothing is chosen."""
    at, want = slice(len(asked.styles)), asked.pictures
    columns = {"source": want.source, "style picture": want.example, "truth": want.truth}
    columns |= {name: images.from_unit(p[0].float() / 255) for name, p in pictures.items()}
    rows = [[column[at][k] for column in columns.values()] for k in range(len(asked.styles))]
    return show.grid(rows, asked.styles, list(columns), height=0.6)


# -------------------------------------------------------------------------------------------------------------- the run


def variants(models: Models, steps: int) -> dict[str, Recipe]:
    """What is compared, by name; `image` and `text` are the recipes as they are fitted to the bundled networks."""
    image, text = (
        RECIPES[f"diffuseit_{kind}"].fitted_to(models).changed(steps=steps, skip=2) for kind in ("image", "text")
    )
    keys = ("key_self_similarity", "key_contrast")
    no_keys = dict.fromkeys(keys, 0.0)
    return {
        "image": image,
        "no keys": image.changed(weights=no_keys),
        "keys x 4": image.changed(weights={name: 4 * image.weights[name] for name in keys}),
        **{f"pixels {w:g}": image.changed(weights={**no_keys, "mse": w}) for w in PIXELS},
        "no contrast": image.changed(weights={"key_contrast": 0.0}),
        "no [CLS]": image.changed(weights={"cls_style": 0.0}),
        **{f"divergence {w:g}": image.changed(weights={"cls_divergence": Early(w)}) for w in DIVERGENCE},
        "repeated": replace(image, resample_first=10),
        "more steps": image.changed(steps=steps + 10, skip=image.skip + 1),    # nine more, as `repeated`
        "not matched": replace(image, finish=estimated),
        "text": text,
        f"text, divergence {DIVERGENCE[0]:g}": text.changed(weights={"cls_divergence": Early(DIVERGENCE[0])}),
    }


def scored(pictures: Tensor, asked: Benchmark) -> dict[str, list[float]]:
    """Each of MEASURES for each picture of uint8 (seeds, n, 3, H, W)."""
    each = [images.from_unit(p.float() / 255) for p in pictures]
    found = [scores(p, asked.pictures) for p in each]
    told = {
        "style": torch.cat([(s["style_probability_a"] + s["style_probability_b"]) / 2 for s in found]),
        "content": torch.cat([s["mask_iou"] for s in found]),
        "edges": torch.cat([s["edge_f1"] for s in found]),
        "palette": torch.cat([palette_distance(p, asked.pictures.example) for p in each]),
    }
    return {name: [round(x, 4) for x in told[name].tolist()] for name in MEASURES}


def palette_distance(a: Tensor, b: Tensor) -> Tensor:
    """How far the colours of a are from those of b wherever they stand, (B,) in [0, 2]: the Wasserstein distance of
    their values, mean over the channels."""
    a, b = (z.flatten(2).sort(dim=2).values for z in (a, b))
    return (a - b).abs().mean((1, 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=16, help="of the schedule")
    elsewhere(parser)
    args = parser.parse_args()
    models = load_models("tiny", device=args.device)
    asked = Benchmark(args.scenes, STYLES, args.seeds, models.size, args.batch)
    recipes = variants(models, args.steps)
    rows: dict[str, Row] = {"source": SOURCE, "truth": TRUTH}
    rows |= {name: of_recipe(recipe, models) for name, recipe in recipes.items()}
    if args.seconds:
        measured = json.loads((ASSETS / "claims_diffuseit.json").read_text(encoding="utf-8"))
        with_seconds(measured, rows, asked)
        save(measured, ASSETS / "claims_diffuseit.json")
        write(ASSETS / "claims_diffuseit.md", fragment(measured))
        return
    found, pictures = {}, {}
    with bar(len(rows) * asked.seeds * len(asked.parts), "claims of DiffuseIT") as progress:
        for name, row in rows.items():
            progress.set_description(name)
            pictures[name], seconds = made(row, asked, CACHE, progress.update)
            found[name] = {"cpu_seconds_per_picture": round(seconds, 3), **scored(pictures[name], asked)}
    measured = {
        "scenes": asked.scenes,
        "seeds": asked.seeds,
        "styles": list(asked.styles),
        "guided": len(recipes["image"].positions),
        "networks": hashes(NETWORKS),
        "rows": found,
    }
    path = save(without_seconds(measured, models), ASSETS / "claims_diffuseit.json")
    write(ASSETS / "claims_diffuseit.md", fragment(json.loads(path.read_text(encoding="utf-8"))))
    draw(forest(measured), "claims_diffuseit.png")
    shown = ("image", "keys x 4", "no keys", "no [CLS]", "repeated", "not matched", "text")
    draw(gallery(asked, {name: pictures[name] for name in shown}), "claims_diffuseit_pictures.png")
    print(verdicts(measured))


if __name__ == "__main__":
    main()
