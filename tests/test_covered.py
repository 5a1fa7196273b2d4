"""How much of the package the tests run, as it was last measured by `make coverage`."""

import json
import sys

import pytest
from conftest import ROOT
from test_dependencies import MODULES, within

sys.path.insert(0, str(ROOT / "book/scripts"))
import covered

# Written after the last record, which takes hours: measuring again empties this list, and a name left here then fails.
NEWER = {"lookalikes.py", "__main__.py"}


def counted(percent, lines=(3, 4), branches=(1, 2)):
    (run, statements), (taken, possible) = lines, branches
    return {
        "percent_covered": percent,
        "covered_lines": run,
        "num_statements": statements,
        "covered_branches": taken,
        "num_branches": possible,
    }


def test_the_summary_counts_lines_and_branches_together_and_names_files_from_the_package():
    files = {"zecon_lite/losses/clip.py": {"summary": counted(66.6666)}}
    found = covered.summary({"totals": counted(66.6666), "files": files})
    assert found == {
        "branch_percent": 66.67, "lines": [3, 4], "branches": [1, 2], "files": {"losses/clip.py": 66.67},
    }


def test_the_tests_run_nearly_all_of_the_package():
    if not covered.TARGET.is_file():
        pytest.skip("nothing has been recorded: `make coverage`")
    found = json.loads(covered.TARGET.read_text(encoding="utf-8"))
    assert found["branch_percent"] >= 95
    assert all(found[kind][0] <= found[kind][1] for kind in ("lines", "branches"))
    assert set(found["files"]) | NEWER == set(map(within, MODULES)), "measure again, or name the module in NEWER"
    assert not set(found["files"]) & NEWER, "it has been measured: take it out of NEWER"
