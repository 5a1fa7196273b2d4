"""Whole runs that go another way: python book/scripts/runs.py writes three sections of the page of the knobs.

The recipe `zecon` with the bundled networks, as it is and with several settings changed at once: "Another way in and
down", "Going back up" (see `Recipe`), and "Crops or the whole picture". For each section of SECTIONS there go into
book/assets the numbers (a CSV file with a line for each run and measure), the tables made from them and the pictures.
Finished pictures are kept in build/evaluation; `--fragments` writes the tables alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ablations
from ablations import OWN, lines, of
from matplotlib.figure import Figure
from measure import ASSETS, CACHE, _pictures, as_csv, draw, read_csv, write

from zecon_lite import RECIPES, Models, Recipe, ddpm_step, load_models, show
from zecon_lite.benchmark import PROMPTS, Benchmark, Row, of_recipe
from zecon_lite.evaluate import FRECHET, compare
from zecon_lite.tiny import world
from zecon_lite.ways import noised

SHOWN = ("pencil", "oil", "glass", "pointillism", "pixel", "comic")
BESIDE = ("object_accuracy_a", "object_accuracy_b", "colour_distance", *FRECHET)    # what the knobs' tables leave out


@dataclass(frozen=True)
class Section:
    """Runs that are held against the recipe as it is.

    name, pictures: of its files. heading: of the first column. runs: what the page calls a run -> how it differs from
    the recipe; the first one does not.
    """

    name: str
    pictures: str
    heading: str
    runs: Mapping[str, Mapping[str, Any]]

    @property
    def table(self) -> Path:
        return ASSETS / f"{self.name}.csv"

    @property
    def fragment(self) -> Path:
        return ASSETS / f"{self.name}.md"


NOISE, DDPM, EVEN = {"forward": noised}, {"step": ddpm_step}, {"course": {}}


def looking(whole: float) -> dict[str, Any]:
    """The prompt looked for in the whole picture with this share of its weight, and in crops with the rest."""
    weights = dict(RECIPES["zecon"].small["weights"])
    crops = weights.pop("clip_global_patch")
    return {"weights": {"clip_global": whole * crops, "clip_global_patch": (1 - whole) * crops, **weights}}


SECTIONS = {
    section.name: section
    for section in (
        Section(
            "ways",
            "ways.png",
            "way",
            {
                "as it is: inverted, then DDIM": {},
                "as it is, contrast the same all the way": EVEN,
                "noised, then DDIM": NOISE,
                "inverted, then DDPM": DDPM,
                "noised, then DDPM": NOISE | DDPM,
            },
        ),
        Section(
            "returns",
            "returns.png",
            "returns",
            {
                "0": {},
                "1": {"returns": 1},
                "2": {"returns": 2},
                "2, in 12 steps": {"returns": 2, "steps": 12, "skip": 1, "strength": 1.0},
            },
        ),
        Section(
            "looks",
            "looks.png",
            "the prompt is looked for in",
            {"crops": {}, "crops and the whole": looking(0.5), "the whole": looking(1.0)},
        ),
    )
}


def recipe_of(models: Models, **how: Any) -> Recipe:
    """The recipe as these networks want it, with some fields changed."""
    return replace(RECIPES["zecon"].fitted_to(models), **how)


def rows_of(section: Section, models: Models) -> dict[str, Row]:
    """Every run by its name; the recipe as it is, by OWN."""
    return {name if how else OWN: of_recipe(recipe_of(models, **how), models) for name, how in section.runs.items()}


def numbers(section: Section, measured: Mapping) -> list[dict[str, str]]:
    """The lines of the CSV: as in ablations.csv, and the Fréchet distances."""
    names = {(section.name, name): name if how else OWN for name, how in section.runs.items()}
    found = []
    for line in lines(measured, names):
        if line["measure"] == ablations.SECONDS:
            distances = measured["rows"][names[section.name, line["value"]]]["overall"]
            found += [{**line, "measure": key, "mean": str(distances[key])} for key in FRECHET]
        found.append(line)
    return found


def table(section: Section, found: Sequence[Mapping[str, str]]) -> str:
    """What was run, what the judges and the source say of each run, and how far from true pictures it ends."""
    tables = (ablations.table(of(found, section.name), section.heading, keys) for keys in (ablations.SHOWN, BESIDE))
    return ablations.ran(found[0], "run") + "\n".join(tables)


def pictures(section: Section, asked: Benchmark, rows: Mapping[str, Row]) -> Figure:
    """The first scene in some styles, the first seed: the true picture, and each run's. Nothing is chosen."""
    at = [asked.pictures.styles.index(style) for style in SHOWN]
    made = [asked.pictures.truth[at], *(_pictures(row, asked)[0, at] for row in rows.values())]
    titles = ["truth", *(f"{section.heading}: {name}" if name.isdigit() else name for name in section.runs)]
    return show.grid(made, row_titles=titles, column_titles=[PROMPTS[style] for style in SHOWN], height=1.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--fragments", action="store_true", help="write the tables alone, from the numbers there")
    parser.add_argument("--section", action="append", choices=SECTIONS, help="this one alone; may be said again")
    args = parser.parse_args()
    models = load_models("tiny", "cpu")
    asked = Benchmark(args.scenes, tuple(world.STYLES), 1, models.size)
    for section in (SECTIONS[name] for name in args.section or SECTIONS):
        if not args.fragments:
            rows = rows_of(section, models)
            found = numbers(section, compare(rows, asked, CACHE))
            write(section.table, as_csv([{key: line[key] for key in ablations.COLUMNS} for line in found]))
            draw(pictures(section, asked, rows), section.pictures)
        write(section.fragment, table(section, read_csv(section.table)))


if __name__ == "__main__":
    main()
