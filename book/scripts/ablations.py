"""Turns one knob of ZeCon at a time: python book/scripts/ablations.py writes all that what_each_knob_does.md shows.

The recipe `zecon` with the bundled networks, all settings its own but one. Into book/assets go the numbers
(ablations.csv, a line for each value of a knob and measure), the tables made from them (ablations_*.md) and the
pictures (ablations_*.png). Finished pictures are kept in build/evaluation, where measure.py's are too: an interrupted
run goes on there. `--fragments` writes the tables anew from the numbers that are there.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from matplotlib.figure import Figure
from measure import (
    ASSETS,
    CACHE,
    CURVE,
    GUIDING,
    _pictures,
    as_csv,
    draw,
    elsewhere,
    hashes,
    markdown,
    minus,
    place,
    read_csv,
    side_of_zero,
    timed,
    without_seconds,
    write,
)

from zecon_lite import RECIPES, Models, Recipe, load_models, metrics, show
from zecon_lite.benchmark import SOURCE, TRUTH, Benchmark, Row, of_recipe
from zecon_lite.evaluate import COSTS, FRECHET, MEASURES, cell, compare
from zecon_lite.tiny import world

TABLE = ASSETS / "ablations.csv"
COLUMNS = (
    "knob", "value", "own", "measure", "mean", "low", "high", "difference", "difference_low", "difference_high",
    "n", "scenes", "first_scene", "seeds", "styles", "made_on", "weights",
)
DRAWN = ("style_accuracy_a", "style_accuracy_b", "ssim_to_source", "mask_iou")
NETWORKS = (*GUIDING, *metrics.JUDGES, "segmenter")
SECONDS = "cpu_seconds_per_picture"
SHOWN = (*CURVE, SECONDS)
BOUNDS = {"source": SOURCE, "truth": TRUTH}
OWN = "zecon"    # the row of the recipe as it is

# ----------------------------------------------------------------------------------------------------------- the knobs

Setting = tuple[Recipe, Models]


@dataclass(frozen=True)
class Knob:
    """One setting: the values that are tried, how it is read, and how it is turned.

    own: (recipe, models) -> the value there. turned: (recipe, models, value) -> both, with that value in place.
    """

    name: str
    values: tuple
    own: Callable[[Recipe, Models], object]
    turned: Callable[[Recipe, Models, object], Setting]


def reading(models: Models, blocks: tuple[int, ...]) -> Models:
    """The same networks, whose contrast compares these blocks of the UNet's encoder."""
    # Stored pictures are looked up by the profile's name.
    profile = replace(models.profile, name=f"{models.profile.name}, blocks {blocks}", feature_blocks=blocks)
    return Models(profile, models.device, models.dtype, models.saving)


KNOBS = {
    "start": Knob(
        "start t₀, as a share of the way to noise",
        (0.36, 0.64, 0.92),
        lambda recipe, models: (recipe.steps - recipe.skip) / recipe.steps,
        lambda recipe, models, value: (recipe.changed(skip=round((1 - value) * recipe.steps)), models),
    ),
    "steps": Knob(
        "steps of the schedule",
        (10, 25, 50),
        lambda recipe, models: recipe.steps,
        lambda recipe, models, value: (recipe.changed(steps=value), models),
    ),
    "strength": Knob(
        "strength of the push",
        (0.75, 1.5, 3),
        lambda recipe, models: recipe.strength,
        lambda recipe, models, value: (recipe.changed(strength=value), models),
    ),
    "weight": Knob(
        "weight of the contrast",
        (0, 0.02, 0.1),
        lambda recipe, models: recipe.weights["zecon"],
        lambda recipe, models, value: (recipe.changed(weights={"zecon": value}), models),
    ),
    "patches": Knob(
        "patches of the contrast",
        (16, 128, 1024),
        lambda recipe, models: recipe.patches,
        lambda recipe, models, value: (replace(recipe, patches=value), models),
    ),
    "tau": Knob(
        "temperature of the contrast",
        (0.01, 0.07, 0.5),
        lambda recipe, models: recipe.tau,
        lambda recipe, models, value: (replace(recipe, tau=value), models),
    ),
    "layers": Knob(
        "blocks of the UNet's encoder",
        ((1,), (3,), (5,), (1, 3, 5)),
        lambda recipe, models: models.profile.feature_blocks,
        lambda recipe, models, value: (recipe, reading(models, value)),
    ),
    "views": Knob(
        "views that CLIP is shown",
        (2, 5, 10),
        lambda recipe, models: recipe.views.count,
        lambda recipe, models, value: (replace(recipe, views=replace(recipe.views, count=value)), models),
    ),
}
"""name -> the knob; its values in ascending order, the recipe's own among them."""


def told(value: object) -> str:
    """A knob's value as text."""
    return ", ".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}"


def names_of(models: Models) -> dict[tuple[str, str], str]:
    """(knob, value) -> the name of its row; where the value is the recipe's own, that is OWN, whatever the knob."""
    recipe = RECIPES["zecon"].fitted_to(models)
    names = {("bounds", name): name for name in BOUNDS}
    for name, knob in KNOBS.items():
        own = knob.own(recipe, models)
        names |= {(name, told(value)): OWN if value == own else f"{name} {told(value)}" for value in knob.values}
    return names


def variants(models: Models) -> dict[str, Row]:
    """Everything that is scored, by its name: the bounds, the recipe as it is, and each knob at each other value."""
    recipe, names = RECIPES["zecon"].fitted_to(models), names_of(models)
    rows = {**BOUNDS, OWN: of_recipe(recipe, models)}
    for name, knob in KNOBS.items():
        others = {names[name, told(value)]: value for value in knob.values}
        rows |= {row: of_recipe(*knob.turned(recipe, models, v)) for row, v in others.items() if row != OWN}
    return rows


# --------------------------------------------------------------------------------------------------------- the numbers


def lines(measured: Mapping, names: Mapping[tuple[str, str], str]) -> list[dict[str, str]]:
    """The lines of the CSV. names: (knob, value) -> its row of `measured`."""
    run = {
        "n": measured["pictures"],
        "scenes": measured["scenes"],
        "first_scene": measured["first_scene"],
        "seeds": " ".join(map(str, range(measured["seeds"]))),
        "styles": " ".join(measured["styles"]),
        "made_on": measured.get("made_on", "CPU"),
        "weights": " ".join(f"{name}={digest}" for name, digest in hashes(NETWORKS).items()),
    }
    found = []
    for (knob, value), name in names.items():
        row, what = measured["rows"][name], {"knob": knob, "value": value, "own": "yes" if name == OWN else "no"}
        for key in MEASURES:
            numbers = dict(zip(("mean", "low", "high"), row["overall"][key], strict=True))
            if name != OWN and name not in BOUNDS:
                ends = [round(x, 4) for x in minus(measured["rows"], name, OWN, key)]
                numbers |= dict(zip(COLUMNS[7:10], ends, strict=True))
            found.append({**what, "measure": key, **numbers, **run})
        found.append({**what, "measure": SECONDS, "mean": "" if row[SECONDS] is None else row[SECONDS], **run})
    return [{column: str(line.get(column, "")) for column in COLUMNS} for line in found]


def of(found: Sequence[Mapping[str, str]], knob: str) -> dict[str, dict[str, Mapping[str, str]]]:
    """value -> measure -> line, of one knob, in the order of the file."""
    values: dict[str, dict[str, Mapping[str, str]]] = {}
    for line in found:
        if line["knob"] == knob:
            values.setdefault(line["value"], {})[line["measure"]] = line
    return values


# ---------------------------------------------------------------------------------------------------------- the tables


def fragments(found: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Every table and every sentence with a number in it, by the name of its file."""
    tables = {f"ablations_{name}.md": table(of(found, name), knob.name) for name, knob in KNOBS.items()}
    return {"ablations_setup.md": setup(found), **tables}


def setup(found: Sequence[Mapping[str, str]]) -> str:
    """What was run, and what the untouched source and the truth reach."""
    run, styles = found[0], found[0]["styles"].split()
    scenes, seeds = int(run["scenes"]), run["seeds"].split()
    narrow = " **Of one scene, intervals have no width, and stars mean nothing.**" if scenes == 1 else ""
    return (
        f"{scenes} held-out {'scene' if scenes == 1 else 'scenes'} (the first is {run['first_scene']}), each in "
        f"{len(styles)} styles with the {'seed' if len(seeds) == 1 else 'seeds'} {', '.join(seeds)}: {run['n']} "
        f"pictures for each value. Beginnings of the weights' sha256: {run['weights'].replace('=', ' ')}."
        f"{place(run)}{narrow}\n\n"
        + table(of(found, "bounds"), "the bounds")
    )


def ran(run: Mapping[str, str], each: str) -> str:
    """What was run, from one of its lines, for a table of its own; each: what a row of it stands for."""
    return (
        f"{run['scenes']} held-out scenes (the first is {run['first_scene']}), each in {len(run['styles'].split())} "
        f"styles with the seed {run['seeds']}: {run['n']} pictures for each {each}. Made on: {run['made_on']}.\n\n"
    )


def table(
    values: Mapping[str, Mapping[str, Mapping[str, str]]], heading: str, keys: Sequence[str] = SHOWN
) -> str:
    """A line for each value, the recipe's own in bold; a star where the difference to it is more than chance."""
    rows = []
    for value, measures in values.items():
        own = next(iter(measures.values()))["own"] == "yes"
        rows.append([f"**{value}**" if own else value, *(told_cell(measures[key]) for key in keys)])
    return markdown([heading, *({**MEASURES, **FRECHET, **COSTS}[key] for key in keys)], rows)


def told_cell(line: Mapping[str, str]) -> str:
    """A mean with its interval, if it has one, and a star where the interval of the difference leaves 0 out."""
    if not line["mean"]:
        return cell(None)
    if not line["low"]:
        return cell(float(line["mean"]))
    star = line["difference"] and side_of_zero(float(line["difference_low"]), float(line["difference_high"]))
    return cell([float(line[end]) for end in ("mean", "low", "high")]) + (" \\*" if star else "")


# -------------------------------------------------------------------------------------------------------- the pictures


def answers(found: Sequence[Mapping[str, str]]) -> Figure:
    """A panel for each knob: style and content over its values, with intervals; a grey line marks the recipe's own."""
    import matplotlib.pyplot as plt

    columns = 4
    figure, axes = plt.subplots(
        -(-len(KNOBS) // columns), columns, figsize=(show.WIDTH, 5.2), dpi=show.DPI, facecolor="white",
        layout="constrained", sharey=True, squeeze=False,
    )
    plt.close(figure)
    for ax in axes.flat[len(KNOBS):]:
        ax.set_visible(False)
    for (name, knob), ax in zip(KNOBS.items(), axes.flat, strict=False):
        values = of(found, name)
        at = range(len(values))
        own = [k for k, measures in enumerate(values.values()) if measures[DRAWN[0]]["own"] == "yes"]
        ax.axvline(own[0], color="grey", alpha=0.3, linewidth=6, zorder=0)
        for key, colour, dashes in zip(DRAWN, show.COLOURS, show.LINES, strict=False):
            mean, low, high = ([float(m[key][end]) for m in values.values()] for end in ("mean", "low", "high"))
            reach = [[y - z for y, z in zip(mean, low, strict=True)], [z - y for y, z in zip(mean, high, strict=True)]]
            ax.errorbar(at, mean, yerr=reach, fmt=f"{dashes}o", color=colour, capsize=2, ms=4, label=MEASURES[key])
        ax.set_title(knob.name.partition(",")[0], fontsize=9)
        ax.set_xticks(list(at), values, fontsize=8)
        ax.set(ylim=(-0.05, 1.05), xlim=(-0.4, len(values) - 0.6))
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.3, linewidth=0.6, axis="y")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=len(DRAWN), frameon=False, fontsize=9)
    return figure


def pictures(asked: Benchmark, names: Mapping[tuple[str, str], str], rows: Mapping[str, Row]) -> Figure:
    """The first scene in the first style, the first seed, under every value: a row for each knob. Nothing is chosen."""
    shown, titles = [], []
    for name, knob in KNOBS.items():
        values = {value: rows[row] for (of_knob, value), row in names.items() if of_knob == name}
        shown.append([asked.pictures.source[0], *(_pictures(row, asked)[0, 0] for row in values.values())])
        titles.append(f"{knob.name.partition(',')[0]}: {'; '.join(values)}")
    return show.grid(shown, row_titles=titles, column_titles=["source", "", "", "", ""], height=1.1)


# ------------------------------------------------------------------------------------------------------------ the run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--styles", default=",".join(world.STYLES), help="names with commas")
    parser.add_argument("--fragments", action="store_true", help="write the tables alone, from the numbers there")
    elsewhere(parser)
    args = parser.parse_args()
    if not args.fragments:
        models = load_models("tiny", device=args.device)
        asked = Benchmark(args.scenes, tuple(args.styles.split(",")), args.seeds, models.size, args.batch)
        names, rows = names_of(models), variants(models)
        if args.seconds:
            found, seconds = read_csv(TABLE), timed(rows, asked)
            for line in found:
                if line["measure"] == SECONDS:
                    line["mean"] = str(seconds[names[line["knob"], line["value"]]])
            write(TABLE, as_csv(found))
        else:
            measured = without_seconds(compare(rows, asked, CACHE), models)
            write(TABLE, as_csv(lines(measured, names)))
            draw(answers(read_csv(TABLE)), "ablations_answers.png")
            draw(pictures(asked, names, rows), "ablations_pictures.png")
    for name, text in fragments(read_csv(TABLE)).items():
        write(ASSETS / name, text)


if __name__ == "__main__":
    main()
