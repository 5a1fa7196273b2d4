"""A clean environment that has a torch, torchvision and numpy already, as a Colab session has.

`python tests/colab.py FOLDER` makes two in an empty folder, in seconds and without a download: they borrow what is
installed here through links.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

KEPT = ("torch", "torchvision", "numpy")    # what Colab has and must keep
SITE = Path(sysconfig.get_path("purelib"))


def environment(folder: Path, lent: list[Distribution]) -> Path:
    """The Python of a new, empty environment that sees, through links, the distributions that are lent to it."""
    links = folder / "lent"
    links.mkdir(parents=True)
    for dist in lent:
        for top in {path.parts[0] for path in dist.files or () if path.parts[0] != ".."}:
            if top != "__pycache__" and not top.endswith(".pth") and not (links / top).exists():
                (links / top).symlink_to(dist.locate_file(top))
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    command = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    Path(own, "lent.pth").write_text(f"{links}\n")
    return python


def needed_by(*names: str) -> list[Distribution]:
    """The distributions of these names and all that they need here, in turn: torch[cuda] brings what cuda needs."""
    found: dict[str, Distribution] = {}
    seen, wanted = set(), list(names)
    while wanted:
        requirement = wanted.pop()
        name, extras = re.match(r"([\w.-]+)\s*(?:\[([^]]*)\])?", requirement).groups()
        name, extras = _normal(name), set(re.split(r"\s*,\s*", extras or ""))
        if (name, frozenset(extras)) in seen:
            continue
        seen.add((name, frozenset(extras)))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:    # needed on other systems
            continue
        for needed in found[name].requires or ():
            asked = re.search(r"extra == ['\"]([^'\"]+)", needed)
            if asked is None or asked[1] in extras:
                wanted.append(needed)
    return list(found.values())


def everything_but(*names: str) -> list[Distribution]:
    """All that is installed here, without these."""
    return [d for d in distributions(path=[str(SITE)]) if _normal(d.name) not in names]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def versions(python: Path) -> dict[str, str]:
    """The versions of torch, torchvision and numpy that this Python imports."""
    program = f"from importlib.metadata import version; print(*map(version, {KEPT}))"
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    return dict(zip(KEPT, done.stdout.split(), strict=True))


if __name__ == "__main__":
    print(environment(Path(sys.argv[1]) / "bare", needed_by(*KEPT, "pip")))
    print(environment(Path(sys.argv[1]) / "full", everything_but("zecon-lite")))
