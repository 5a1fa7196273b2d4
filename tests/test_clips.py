"""The tables of every CLIP that was bundled are made from one file of numbers, and the CLIPs from the history."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess

import pytest
import torch
from conftest import ROOT

from zecon_lite import weights
from zecon_lite.evaluate import MEASURES
from zecon_lite.tiny import world

SCRIPT = "clips"
AGAIN = "these numbers are of another CLIP: run python book/scripts/clips.py again"
PAGE = (ROOT / "book/what_each_knob_does.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def found(script):
    return script.read_csv(script.TABLE)


@pytest.fixture
def history(script, tmp_path):
    """A repository in which two CLIPs were bundled; the card of the first was mended before the second came."""
    def commit(message):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *who, "commit", "-qm", message, "-a"], cwd=tmp_path, check=True)

    def bundle(samples, objective, file=None):
        card = {"samples_seen": samples, "objective": objective, "scores": {"object_held_out_pairs": 0.5}}
        path.with_suffix(".json").write_text(json.dumps(card))
        if file is not None:
            path.write_bytes(file)

    path = tmp_path / script.FILE
    path.parent.mkdir(parents=True)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    bundle(100, "first", b"one")
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    commit("the first")
    bundle(100, "first, mended")
    commit("its card")
    bundle(200, "second", b"two")
    commit("the second")
    return tmp_path


def test_every_version_comes_with_its_weights_and_the_card_as_it_stood_last(script, history):
    first, second = script.versions(history)
    assert (first.file, first.card["objective"]) == (b"one", "first, mended")
    assert (second.file, second.card["objective"]) == (b"two", "second")
    assert first.told == {"objective": "first, mended", "held_out": "0.5", "sha256": hashlib.sha256(b"one").hexdigest()}


def test_a_clone_without_history_is_told_what_to_do(script, history, tmp_path_factory):
    clone = tmp_path_factory.mktemp("shallow") / "clone"
    subprocess.run(["git", "clone", "-q", "--depth", "1", history.as_uri(), clone], check=True, capture_output=True)
    with pytest.raises(SystemExit, match="git fetch --unshallow"):
        script.versions(clone)


def test_a_version_works_among_the_other_networks_under_a_name_of_its_own(script, models):
    file = (ROOT / script.FILE).read_bytes()
    card = json.loads((ROOT / script.FILE).with_suffix(".json").read_text(encoding="utf-8"))
    other = script.Version(file, card).among(models)
    assert other.profile.name != models.profile.name and other.clip is not models.clip
    assert torch.equal(other.clip.text(["a pencil sketch"]), models.clip.text(["a pencil sketch"]))
    assert script.of_recipe("zecon", other).settings != script.of_recipe("zecon", models).settings


def test_the_page_s_tables_are_the_file_s_numbers(script, found):
    assert script.FRAGMENT.read_text(encoding="utf-8") == script.tables(found), AGAIN
    assert script.TABLE.read_text(encoding="utf-8") == script.as_csv(found)
    assert "{include} assets/clips.md" in PAGE
    for at, line in enumerate(found):
        if line["measure"] in script.ablations.SHOWN:
            assert script.tables([*found[:at], {**line, "mean": "7.4321"}, *found[at + 1 :]]) != script.tables(found)


def test_the_last_row_is_the_bundled_clip(script, found):
    own = {(line["value"], line["sha256"]) for line in found if line["own"] == "yes"}
    card = json.loads((ROOT / script.FILE).with_suffix(".json").read_text(encoding="utf-8"))
    assert own == {(str(card["samples_seen"]), weights.sha256(ROOT / script.FILE))}, AGAIN
    values = list(dict.fromkeys(line["value"] for line in found))
    assert len(values) >= 3 and values == sorted(values, key=int) and values[-1] == str(card["samples_seen"])
    digests = script.ablations.hashes(script.ablations.NETWORKS)
    assert {line["weights"] for line in found} == {" ".join(f"{k}={digest}" for k, digest in digests.items())}, AGAIN


def test_every_clip_has_every_measure_on_scenes_enough(script, found):
    for measures in script.of(found, "clip").values():
        assert list(measures) == [*MEASURES, script.ablations.SECONDS]
    assert int(found[0]["scenes"]) >= 3 and found[0]["styles"].split() == list(world.STYLES)
    assert int(found[0]["first_scene"]) >= world.FIRST_HELD_OUT_SEED


def test_samples_are_told_with_commas_and_the_own_row_in_bold(script, found):
    samples = re.findall(r"^\| (\**[\d,]+\**) \|", script.tables(found), re.M)
    assert all("," in text for text in samples) and samples[-1].startswith("**")
    assert [text.startswith("**") for text in samples] == 2 * [*[False] * (len(samples) // 2 - 1), True]
