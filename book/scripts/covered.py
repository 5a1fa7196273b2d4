"""How much of the package the tests run: python book/scripts/covered.py   (after `make coverage`, which calls it)

Reads what coverage.py has recorded, lines and branches, and writes book/assets/coverage.json: the total that
`pytest --cov --cov-branch` prints, each file's, and a hash of the package that was measured.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from coverage import Coverage
from coverage.exceptions import NoDataError
from execute import ROOT, package

from zecon_lite import __version__
from zecon_lite.files import write

TARGET = ROOT / "book/assets/coverage.json"


def measured() -> dict:
    """coverage.py's own report of the last run. Raises NoDataError where nothing has been recorded."""
    os.chdir(ROOT)    # the settings of pyproject.toml name files from there
    recorded = Coverage()
    recorded.load()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        recorded.json_report(outfile=str(path))
        return json.loads(path.read_text(encoding="utf-8"))


def summary(report: dict) -> dict:
    """What the project keeps of a report: percent of lines and branches together, and [run, all] of each kind."""
    totals = report["totals"]
    return {
        "branch_percent": round(totals["percent_covered"], 2),
        "lines": [totals["covered_lines"], totals["num_statements"]],
        "branches": [totals["covered_branches"], totals["num_branches"]],
        "files": {
            Path(name).as_posix().removeprefix("zecon_lite/"): round(file["summary"]["percent_covered"], 2)
            for name, file in sorted(report["files"].items())
        },
    }


def main() -> None:
    try:
        found = summary(measured())
    except NoDataError:
        sys.exit("nothing has been recorded: run `make coverage`, or pytest with --cov")
    found |= {"package": package(b""), "zecon_lite": __version__}
    write(TARGET, json.dumps(found, indent=1) + "\n")
    least = sorted(found["files"], key=found["files"].get)[:10]
    print("\n".join(f"  {found['files'][name]:6.2f} %  {name}" for name in least))
    print(f"{found['branch_percent']:.2f} % of the package's lines and branches; least of all these files")


if __name__ == "__main__":
    main()
