"""Puts what is reported beside what was measured: python book/scripts/paper_vs_ours.py, after any new measurement.

Everything in book/assets/paper_vs_ours.csv is written by hand but the column `ours`: where a line names a file of
measurements and a key in it, this script fills in what stands there, and otherwise "not measured". From the lines it
makes the table of the page book/claims.md, paper_vs_ours.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import reduce

from measure import ASSETS, as_csv, markdown, read_csv, write

TABLE = ASSETS / "paper_vs_ours.csv"
NOT_MEASURED = "not measured"
HEADINGS = ["", "quantity", "reported", "here", "why it differs or is missing"]


def measured(file: str, key: str) -> str:
    """What stands in a file of measurements under "name/name/name", in three digits; of several numbers, their mean.

    Raises KeyError where there is no such key.
    """
    found = reduce(lambda part, name: part[name], key.split("/"), json.loads((ASSETS / file).read_text("utf-8")))
    found = list(found.values()) if isinstance(found, dict) else found
    return f"{sum(found) / len(found) if isinstance(found, list) else found:.3g}"


def filled(lines: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The lines with our numbers as they stand in the files of measurements."""
    return [{**x, "ours": measured(x["file"], x["key"]) if x["file"] else NOT_MEASURED} for x in lines]


def fragment(lines: Sequence[Mapping[str, str]]) -> str:
    """The table of the page; a system is named in its first line alone."""
    rows, last = [], None
    for line in lines:
        system, last = "" if line["system"] == last else line["system"], line["system"]
        source = line["quoted_from"] + (f", of the paper's Table {line['table']}" if line["table"].isdigit() else "")
        ours = line["ours"] + (f", {line['data']} data" if line["file"] else "")
        what, reported = f"{line['quantity']} ({line['on']})", f"{line['reported']} ({source})"
        rows.append([system, what, reported, ours, line["why"]])
    ours = sum(line["ours"] != NOT_MEASURED for line in lines)
    return f"{markdown(HEADINGS, rows)}\n{ours} of {len(lines)} quantities were measured here.\n"


def main() -> None:
    lines = filled(read_csv(TABLE))
    write(TABLE, as_csv(lines))
    write(ASSETS / "paper_vs_ours.md", fragment(lines))
    print(fragment(lines).splitlines()[-1])


if __name__ == "__main__":
    main()
