"""Goes back up into noise: python book/scripts/returns.py writes what "Going back up" on the page of the knobs shows.

The recipe `zecon` with the bundled networks, as it is and with returns (see `Recipe`), and in a run half as long. Into
book/assets go the numbers (returns.csv, a line for each run and measure), the table made from them (returns.md) and
the pictures (returns.png). Finished pictures are kept in build/evaluation; `--fragments` writes the table alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

import ablations
from ablations import OWN, lines, of
from matplotlib.figure import Figure
from measure import ASSETS, CACHE, _pictures, as_csv, draw, markdown, read_csv, write

from zecon_lite import RECIPES, Models, load_models, show
from zecon_lite.benchmark import PROMPTS, Benchmark, Row, of_recipe
from zecon_lite.evaluate import FRECHET, compare
from zecon_lite.tiny import world

TABLE, FRAGMENT, PICTURES = ASSETS / "returns.csv", ASSETS / "returns.md", "returns.png"
RUNS = {
    "0": {},
    "1": {"returns": 1},
    "2": {"returns": 2},
    "2, in 12 steps": {"returns": 2, "steps": 12, "skip": 1, "strength": 1.0},
}
"""What the page calls a run -> how it differs from the recipe as it is."""
SHOWN = ("pencil", "oil", "glass", "pointillism", "pixel", "comic")


def rows_of(models: Models) -> dict[str, Row]:
    """Every run by its name; the recipe as it is, by OWN."""
    recipe = RECIPES["zecon"].fitted_to(models)
    return {name if how else OWN: of_recipe(recipe.changed(**how), models) for name, how in RUNS.items()}


def numbers(measured: Mapping) -> list[dict[str, str]]:
    """The lines of the CSV: as in ablations.csv, and the Fréchet distances."""
    names = {("returns", name): name if how else OWN for name, how in RUNS.items()}
    found = []
    for line in lines(measured, names):
        if line["measure"] == ablations.SECONDS:
            distances = measured["rows"][names["returns", line["value"]]]["overall"]
            found += [{**line, "measure": key, "mean": str(distances[key])} for key in FRECHET]
        found.append(line)
    return found


def table(found: Sequence[Mapping[str, str]]) -> str:
    """What was run, what the judges and the source say of each run, and how far from true pictures it ends."""
    runs = of(found, "returns")
    far = [
        [f"**{name}**" if name == "0" else name, *(f"{float(measures[key]['mean']):.1f}" for key in FRECHET)]
        for name, measures in runs.items()
    ]
    return (
        ablations.ran(found[0], "run")
        + ablations.table(runs, "returns") + "\n" + markdown(["returns", *FRECHET.values()], far)
    )


def pictures(asked: Benchmark, rows: Mapping[str, Row]) -> Figure:
    """The first scene in some styles, the first seed: the true picture, and each run's. Nothing is chosen."""
    at = [asked.pictures.styles.index(style) for style in SHOWN]
    made = [asked.pictures.truth[at], *(_pictures(row, asked)[0, at] for row in rows.values())]
    titles = ["truth", *(f"returns: {name}" for name in RUNS)]
    return show.grid(made, row_titles=titles, column_titles=[PROMPTS[style] for style in SHOWN], height=1.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--fragments", action="store_true", help="write the table alone, from the numbers there")
    args = parser.parse_args()
    if not args.fragments:
        models = load_models("tiny", "cpu")
        asked, rows = Benchmark(args.scenes, tuple(world.STYLES), 1, models.size), rows_of(models)
        measured = compare(rows, asked, CACHE)
        write(TABLE, as_csv([{key: line[key] for key in ablations.COLUMNS} for line in numbers(measured)]))
        draw(pictures(asked, rows), PICTURES)
    write(FRAGMENT, table(read_csv(TABLE)))


if __name__ == "__main__":
    main()
