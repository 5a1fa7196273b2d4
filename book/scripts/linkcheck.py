"""Asks the network whether the addresses in the book still lead somewhere: python book/scripts/linkcheck.py [folder]

Runs Sphinx's linkcheck on the staged book, which `make book` has left in build/src, with the settings of the book.
The answers stand in build/linkcheck/output.txt; the exit code is not 0 when a link is broken.

`--assets` asks for the published networks instead, at every address of the manifest and without fetching them: is there
a file, and is it as long as the manifest says?
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path
from urllib.request import Request, urlopen

from execute import ROOT

from zecon_lite.weights import MANIFEST, WeightFile

STAGE, OUT = ROOT / "build/src", ROOT / "build/linkcheck"


def sphinx(builder: str, stage: Path, out: Path, *options: str) -> int:
    """The exit code of one of Sphinx's builders, run on a staged book with its settings, into an empty folder."""
    shutil.rmtree(out, ignore_errors=True)
    jupyter_book = str(Path(sys.executable).with_name("jupyter-book"))
    subprocess.run([jupyter_book, "config", "sphinx", str(stage)], check=True, stdout=subprocess.DEVNULL)
    command = [sys.executable, "-m", "sphinx", "-b", builder, "-q", *options, str(stage), str(out)]
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL).returncode


def check(stage: Path, out: Path) -> int:
    """The exit code of Sphinx, 0 when every link leads somewhere."""
    return sphinx("linkcheck", stage, out)


def asked(request: Request) -> int | None:
    """How long the file is that a server has for this request; None where it does not say."""
    with urlopen(request, timeout=60) as answer:
        if answer.headers.get_content_type() == "text/html":
            raise OSError("a web page in place of the file")
        whole = re.search(r"/(\d+)$", answer.headers.get("Content-Range", ""))    # of an answer in part: bytes 0-0/99
        length = whole[1] if whole else answer.headers.get("Content-Length")
        return int(length) if length else None


def fault(url: str, size: int | None) -> str | None:
    """What is wrong with a file's address, in words; None when nothing is."""
    us = {"User-Agent": "zecon-lite"}    # as the package says when it fetches
    try:
        try:
            length = asked(Request(url, headers=us, method="HEAD"))
        except (OSError, HTTPException):    # some servers answer no HEAD; the first byte, then
            length = asked(Request(url, headers=us | {"Range": "bytes=0-0"}))
    except (OSError, HTTPException) as error:
        return f"{url}: {error}"
    return f"{url}: {length} bytes, and the manifest says {size}" if size and length and size != length else None


def assets(files: Iterable[WeightFile]) -> list[str]:
    """What is wrong with the addresses and mirrors of these files, a sentence each."""
    return [wrong for file in files for url in (file.url, *file.mirrors) if url and (wrong := fault(url, file.size))]


def main(arguments: list[str]) -> int:
    if arguments == ["--assets"]:
        wrong = assets(file for files in MANIFEST.values() for file in files)
        print("\n".join(wrong) or "Every published network is where the manifest says.")
        return len(wrong) > 0
    stage = Path(arguments[0]) if arguments else STAGE
    if not (stage / "_config.yml").is_file():
        sys.exit("There is no staged book: `make book` first.")
    code = check(stage, OUT)
    print(f"Every answer: {OUT / 'output.txt'}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
