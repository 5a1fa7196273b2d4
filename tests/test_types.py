"""The package is typed, and says so: mypy --strict finds nothing, with the settings of pyproject.toml."""

import re
import subprocess
import sys
from importlib.util import find_spec

from conftest import ROOT, missing
from test_dependencies import MODULES

REASONED = re.compile(r"# type: ignore\[[a-z-]+\]  # \S+")


def test_mypy_finds_nothing():
    if find_spec("mypy") is None:
        missing('mypy is not installed: pip install "zecon-lite[test]"')
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, f"\n{run.stdout}{run.stderr}"


def test_what_mypy_shall_overlook_has_a_code_and_a_reason():
    every = (line for path in MODULES for line in path.read_text(encoding="utf-8").splitlines())
    lines = [line for line in every if "type: ignore" in line]
    assert all(REASONED.search(line) for line in lines), "write `# type: ignore[code]  # why`"
    assert len(lines) < 10, "so many exceptions are a cause that could be mended once"


def test_the_types_are_there_for_others():
    assert (ROOT / "zecon_lite/py.typed").is_file(), "without it type checkers do not look into an installed package"
