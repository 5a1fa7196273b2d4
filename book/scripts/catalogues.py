"""Catalogues for translators: python book/scripts/catalogues.py [folder]

Writes every sentence of the staged book, which `make book` has left in build/src, into build/gettext: a .pot file for
each page. (A script of the name gettext.py would hide Python's own module from the others in this folder.)
"""

from __future__ import annotations

import sys
from pathlib import Path

from linkcheck import ROOT, STAGE, sphinx

OUT = ROOT / "build/gettext"


def write(stage: Path, out: Path) -> int:
    """The exit code of Sphinx, 0 when the catalogues have been written."""
    return sphinx("gettext", stage, out, "-D", "gettext_compact=0")


if __name__ == "__main__":
    stage = Path(sys.argv[1]) if len(sys.argv) > 1 else STAGE
    if not (stage / "_config.yml").is_file():
        sys.exit("There is no staged book: `make book` first.")
    code = write(stage, OUT)
    print(f"Catalogues: {OUT}")
    sys.exit(code)
