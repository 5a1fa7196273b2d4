"""Guides with every CLIP that was ever bundled: python book/scripts/clips.py writes what "Which CLIP" shows.

The recipe is `zecon`; all other networks are as they are. Earlier CLIPs come from the history of this repository, which
a shallow clone lacks. Into book/assets go the numbers (clips.csv, a line for each CLIP and measure) and the tables made
from them (clips.md). Finished pictures are kept in build/evaluation; `--fragments` writes these alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import ablations
from ablations import OWN, lines, of
from measure import ASSETS, CACHE, ROOT, as_csv, markdown, read_csv, write
from safetensors.torch import load

from zecon_lite import Models, load_models, weights
from zecon_lite.benchmark import Benchmark, of_recipe
from zecon_lite.evaluate import compare
from zecon_lite.models.clip import Clip
from zecon_lite.tiny import bundled, world
from zecon_lite.tiny.networks import WordTokenizer, build_clip

TABLE, FRAGMENT = ASSETS / "clips.csv", ASSETS / "clips.md"
FILE = Path("zecon_lite/tiny/weights/clip.safetensors")
CARD = ("objective", "held_out", "sha256")    # what is said of a CLIP besides the samples it has seen
COLUMNS = (*ablations.COLUMNS, *CARD)


@dataclass(frozen=True)
class Version:
    """A CLIP as it was bundled: its weights as a file, and its card."""

    file: bytes
    card: Mapping

    @property
    def samples(self) -> str:
        """The pictures it was trained on, which tell the versions apart."""
        return str(self.card["samples_seen"])

    @property
    def told(self) -> dict[str, str]:
        """What is said of it, by the names of CARD."""
        digest, held_out = hashlib.sha256(self.file).hexdigest(), self.card["scores"]["object_held_out_pairs"]
        return dict(zip(CARD, (self.card["objective"], str(held_out), digest), strict=True))

    def load(self) -> Clip:
        """The network, put to work like the present one."""
        tokenizer = WordTokenizer(self.card["vocabulary"])
        model = weights.load_into(build_clip(len(tokenizer)), load(self.file), f"the CLIP of {self.samples} samples")
        return replace(bundled.load_clip(), model=model, tokenizer=tokenizer)

    def among(self, models: Models) -> Models:
        """The same networks, with this CLIP."""
        name = f"{models.profile.name}, CLIP of {self.samples} samples"    # by which stored pictures are looked up
        return Models(replace(models.profile, name=name, clip=self.load), models.device, models.dtype, models.saving)


def versions(root: Path = ROOT) -> list[Version]:
    """Every CLIP that was bundled, the oldest first, with its card as that stood last.

    Exits where the history is not there.
    """
    def git(*words: str) -> bytes:
        return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True).stdout

    if git("rev-parse", "--is-shallow-repository").strip() == b"true":
        raise SystemExit("earlier CLIPs are in the history, which this clone lacks: git fetch --unshallow")
    commits = git("log", "--reverse", "--format=%H", "--", str(FILE)).decode().split()
    ends = [*(f"{commit}^" for commit in commits[1:]), "HEAD"]
    cards = (json.loads(git("show", f"{end}:{FILE.with_suffix('.json')}")) for end in ends)
    return [Version(git("show", f"{commit}:{FILE}"), card) for commit, card in zip(commits, cards, strict=True)]


def tables(found: Sequence[Mapping[str, str]]) -> str:
    """How each CLIP was trained, what was run, and what it leads to; the bundled one in bold."""
    how = []
    led = {f"{int(samples):,}": measures for samples, measures in of(found, "clip").items()}
    for samples, measures in led.items():
        line = next(iter(measures.values()))
        training = line["objective"].replace("multi-positive InfoNCE, ", "").replace("<=", "≤")
        how.append([f"**{samples}**" if line["own"] == "yes" else samples, training, f"{float(line['held_out']):.2f}"])
    return (
        markdown(["samples seen", "trained with, beyond InfoNCE", "objects named in styles unseen with them"], how)
        + "\n" + ablations.ran(found[0], "CLIP")
        + ablations.table(led, "samples seen")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--fragments", action="store_true", help="write the tables alone, from the numbers there")
    args = parser.parse_args()
    if not args.fragments:
        models, known = load_models("tiny", "cpu"), versions()
        names = {("clip", version.samples): f"CLIP of {version.samples} samples" for version in known[:-1]}
        names["clip", known[-1].samples] = OWN
        pairs = zip(names.values(), known, strict=True)
        rows = {name: of_recipe("zecon", models if name == OWN else version.among(models)) for name, version in pairs}
        measured = compare(rows, Benchmark(args.scenes, tuple(world.STYLES), 1, models.size), CACHE)
        told = {version.samples: version.told for version in known}
        found = [{**line, **told[line["value"]]} for line in lines(measured, names)]
        write(TABLE, as_csv([{column: line[column] for column in COLUMNS} for line in found]))
    write(FRAGMENT, tables(read_csv(TABLE)))


if __name__ == "__main__":
    main()
