"""One seed, one picture: what was recorded comes out again, the noise bit for bit, the picture to the last digits.

Where a machine adds numbers in another order the last digits differ; `test_rerun.py` holds real runs to the bit on one
machine. `reproduction.py` notes what other machines make of the same run.
"""

from __future__ import annotations

import json
import os

import pytest
import torch
from conftest import ROOT
from reproduction import CORNER, NOISE, NOTED, PICTURE, PYTHONS, fragment, note, outcome, rounded, run, sha256


def test_the_noise_of_a_seed_is_the_same_on_every_machine():
    noise, _ = run()
    assert sha256(noise) == NOISE


def test_the_picture_of_a_seed_is_the_recorded_one():
    _, picture = run()
    torch.testing.assert_close(picture[0, :, 0, 0], torch.tensor(CORNER, dtype=picture.dtype), rtol=0, atol=1e-9)
    assert rounded(picture) == PICTURE


def test_the_number_of_threads_changes_nothing():
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, max(2, os.cpu_count() or 1)):
            torch.set_num_threads(count)
            results.append(run()[1])
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)


def test_single_precision_has_its_own_record_to_fewer_digits():
    it = outcome("cpu")
    assert it["noise"] and it["double"] and it["single"] and it["apart"] is None


def test_the_page_s_table_is_what_machines_were_noted_to_make():
    noted = json.loads(NOTED.read_text(encoding="utf-8"))
    table = NOTED.with_suffix(".md").read_text(encoding="utf-8")
    assert table == fragment(noted), "run python tests/reproduction.py --table"
    assert f"{{include}} assets/{NOTED.stem}.md" in (ROOT / "book/limitations.md").read_text(encoding="utf-8")
    assert all(it["noise"] and it["double"] is not False for it in noted), "a seed is another picture there"
    assert all(f" {python} |" in table for python in PYTHONS)


@pytest.mark.parametrize("missing", ["3.10", "cuda", "mps"])
def test_what_was_not_run_is_called_so(missing):
    it = {"machine": "a machine", "torch": "9.9", "noise": True, "double": True, "single": True, "apart": 2e-7}
    all_of_them = [{**it, "device": "cpu", "python": python} for python in PYTHONS]
    all_of_them += [{**it, "device": device, "python": "3.11"} for device in ("cuda", "mps")]
    assert "not measured" not in fragment(all_of_them)
    noted = [one for one in all_of_them if missing not in (one["device"], one["python"])]
    assert sum("not measured" in line for line in fragment(noted).splitlines()) == 1


def test_a_new_outcome_takes_the_place_of_the_old_one_and_another_number_shows():
    it = outcome("cpu")
    other = {**it, "double": False, "apart": 0.5}
    assert note(it, note(other, [])) == [it] and fragment([it]) != fragment([other])
    assert "another" in fragment([other]) and "5e-01" in fragment([other])
    assert len(note({**it, "device": "mps"}, [it])) == 2
