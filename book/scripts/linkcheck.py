"""Asks the network whether the addresses in the book still lead somewhere: python book/scripts/linkcheck.py [folder]

Runs Sphinx's linkcheck on the staged book, which `make book` has left in build/src, with the settings of the book.
The answers stand in build/linkcheck/output.txt; the exit code is not 0 when a link is broken.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from execute import ROOT

STAGE, OUT = ROOT / "build/src", ROOT / "build/linkcheck"


def check(stage: Path, out: Path) -> int:
    """The exit code of Sphinx, 0 when every link leads somewhere."""
    shutil.rmtree(out, ignore_errors=True)
    jupyter_book = str(Path(sys.executable).with_name("jupyter-book"))
    subprocess.run([jupyter_book, "config", "sphinx", str(stage)], check=True, stdout=subprocess.DEVNULL)
    command = [sys.executable, "-m", "sphinx", "-b", "linkcheck", "-q", str(stage), str(out)]
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL).returncode


if __name__ == "__main__":
    stage = Path(sys.argv[1]) if len(sys.argv) > 1 else STAGE
    if not (stage / "_config.yml").is_file():
        sys.exit("There is no staged book: `make book` first.")
    code = check(stage, OUT)
    print(f"Every answer: {OUT / 'output.txt'}")
    sys.exit(code)
