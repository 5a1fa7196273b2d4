"""The page on how good the bundled models are is made from the numbers that were measured, with these networks."""

import itertools
import json
import re
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT

from zecon_lite import RECIPES, metrics, weights
from zecon_lite.benchmark import Benchmark, Row
from zecon_lite.evaluate import FRECHET, MEASURES
from zecon_lite.tiny import world

SCRIPT = "measure"
BOOK = ROOT / "book"
MEASURED = json.loads((BOOK / "assets/measured.json").read_text(encoding="utf-8"))
PAGE = (BOOK / "how_good.md").read_text(encoding="utf-8")
AGAIN = "these numbers are of other networks: run python book/scripts/measure.py again"


def test_every_table_in_the_book_is_made_from_the_measurements(script):
    for name, text in script.fragments(MEASURED).items():
        assert (BOOK / "assets" / name).read_text(encoding="utf-8") == text, f"{name}: {AGAIN}"
        assert f"{{include}} assets/{name}" in PAGE


def test_the_page_shows_every_picture_that_is_drawn(script):
    drawn = set(re.findall(r'"(measured_\w+\.png)"', (BOOK / "scripts/measure.py").read_text()))
    assert drawn == set(re.findall(r"assets/(measured_\w+\.png)", PAGE)) and len(drawn) == 3
    assert all((BOOK / "assets" / name).stat().st_size > 10_000 for name in drawn)


def test_the_prose_quotes_no_number_of_its_own():
    prose = re.sub(r"```.*?```|`[^`]*`", "", PAGE, flags=re.S)
    assert set(re.findall(r"\d+", prose)) <= {"95"}, "a number belongs into a generated fragment"


def test_the_measurements_are_of_the_networks_in_this_package(script):
    assert MEASURED["weights"] == script.hashes(), AGAIN
    for name, card in [*MEASURED["judges"].items(), ("segmenter", MEASURED["segmenter"])]:
        assert card["sha256"] == weights.sha256(weights.BUNDLED / f"{name}.safetensors")[:12], AGAIN
    assert set(MEASURED["judges"]) == set(metrics.JUDGES)


def test_every_style_was_measured_on_scenes_that_training_never_saw():
    assert MEASURED["styles"] == list(world.STYLES) and MEASURED["first_scene"] >= world.FIRST_HELD_OUT_SEED
    assert MEASURED["pictures"] == MEASURED["scenes"] * MEASURED["seeds"] * len(world.STYLES)


def test_every_row_has_every_measure_within_its_interval():
    assert list(MEASURED["rows"]) == ["source", "truth", "sdedit", "clip_guided", "zecon"]
    for row in (*MEASURED["rows"].values(), *MEASURED["curve"]["rows"].values()):
        assert set(row["styles"]) == set(world.STYLES)
        for numbers in (row["overall"], *row["styles"].values()):
            assert set(numbers) == {*MEASURES, *FRECHET}
            assert all(numbers[key][1] <= numbers[key][0] <= numbers[key][2] for key in MEASURES)


def test_the_bounds_are_bounds():
    source, truth = (MEASURED["rows"][name]["overall"] for name in ("source", "truth"))
    assert source["ssim_to_source"][0] > 0.999 and source["colour_distance"][0] > truth["colour_distance"][0]
    for letter in "ab":
        assert truth[f"style_accuracy_{letter}"][0] > 0.9 > 0.1 > source[f"style_accuracy_{letter}"][0]
        assert truth[f"frechet_{letter}"] < min(
            row["overall"][f"frechet_{letter}"] for name, row in MEASURED["rows"].items() if name != "truth"
        )


def test_the_curve_is_of_one_loss_on_the_same_scenes_and_includes_the_recipe_s_own_weight():
    curve = MEASURED["curve"]
    weights = [row["weight"] for row in curve["rows"].values() if row.get("loss") == "zecon"]
    assert RECIPES["zecon"].small["weights"]["zecon"] in weights and len(set(weights)) >= 3
    assert (curve["scenes"], curve["first_scene"]) == (MEASURED["scenes"], MEASURED["first_scene"])


def test_content_is_compared_at_the_heaviest_weight_that_has_the_other_s_style(script):
    def row(style, content, **point):
        means = {key: [style if "style" in key else content] * 3 for key in MEASURES}
        return {"overall": means, "by_scene": {k: [v[0]] * 2 for k, v in means.items()}, **point}

    rows = {"clip_guided": row(0.8, 0.2), "zecon": row(0.9, 0.4)}
    for weight, style, content in [(1, 0.9, 0.4), (2, 0.8, 0.5), (3, 0.7, 0.9)]:
        rows[f"zecon, zecon={weight}"] = row(style, content, loss="zecon", weight=weight)
    for line in script.equal_style({"rows": rows}).splitlines()[2:]:
        assert "| 2 | 0.00<br>0.00 to 0.00 | 0.30<br>0.30 to 0.30 |" in line and line.endswith("| yes |")
    rows["clip_guided"] = row(0.95, 0.2)
    assert script.equal_style({"rows": rows}).count("| none is as high |") == 2
    rows["clip_guided"] = row(0.8, 0.6)
    assert script.equal_style({"rows": rows}).count("| no |") == 2


def test_the_faded_truth_lies_between_source_and_truth_at_the_aim(script):
    asked = Benchmark(2, ("pencil", "mosaic"), 1).pictures
    faded = script.faded(asked, 0)
    ssim = metrics.ssim(faded, asked.source)
    assert ((ssim >= script.AIM) & (ssim < script.AIM + 0.01)).all()
    share = ((faded - asked.source) / (asked.truth - asked.source)).nanmedian(-1).values.flatten(1).nanmedian(1).values
    torch.testing.assert_close(torch.lerp(asked.source, asked.truth, share[:, None, None, None]), faded)
    assert script.FADED in MEASURED["curve"]["rows"] and list(MEASURED["curve"]["rows"])[:2] == ["source", "truth"]


def test_tables_say_yes_only_where_it_is_so(script):
    def scored(overall, by_scene):
        return {"overall": dict.fromkeys(MEASURES, overall), "by_scene": dict.fromkeys(MEASURES, by_scene)}

    row = scored([0.9, 0.8, 1.0], [0.9, 0.8, 0.9])
    row["styles"] = {"neon": row["overall"], "oil": {key: [0.5, 0.4, 0.6] for key in MEASURES}}
    low = scored([0.1, 0.0, 0.2], [0.1, 0.9, 0.2])
    rows = {"zecon": row, "truth": row, "clip_guided": low}
    aims = script.goals({"rows": rows}).splitlines()[2:]
    assert [line.split(" | ")[-1].strip(" |") for line in aims] == ["yes", "yes", "no", "yes", "yes"]
    assert "weakest style (oil)" in aims[2] and "| 0.60 | 0.50 | no |" in aims[2]
    assert script.difference({"rows": rows}).count("| no |") == 5, "0.8 and -0.1 may as well be nothing"
    low["by_scene"] = {key: [0.1, 0.2, 0.1] for key in MEASURES}
    assert script.difference({"rows": rows}).count("| yes |") == 5


def test_the_interval_of_few_scenes_is_student_s(script):
    change, scenes = torch.tensor([1.0, 2, 3, 4, 5]), torch.arange(5)
    mean, low, high = script.student(change)
    half = pytest.approx(2.776 * 2.5**0.5 / 5**0.5, rel=1e-3)
    assert mean == 3 and high - mean == half and mean - low == half
    assert script.student(change.repeat(2), scenes.repeat(2)) == pytest.approx((mean, low, high))


def test_what_rounding_left_of_an_interval_is_no_finding(script):
    assert script.side_of_zero(4e-5, 0.4) == script.side_of_zero(-0.4, -4e-5) == script.side_of_zero(-0.1, 0.1) == 0
    assert script.side_of_zero(0.001, 0.4) == 1 and script.side_of_zero(-0.4, -0.001) == -1


def test_pictures_made_on_a_gpu_have_no_seconds_until_these_are_measured_on_a_cpu(script, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")
    here, there = ({"rows": {"it": {"cpu_seconds_per_picture": 1.5}}} for _ in range(2))
    script.without_seconds(here, SimpleNamespace(device=torch.device("cpu")))
    assert here["rows"]["it"]["cpu_seconds_per_picture"] == 1.5 and script.place(here) == ""
    script.without_seconds(there, SimpleNamespace(device=torch.device("cuda")))
    assert there["rows"]["it"]["cpu_seconds_per_picture"] is None
    assert "Made on: Some GPU" in script.place(there)
    asked, made = Benchmark(1, ("pencil", "neon", "oil"), 1), []
    script.with_seconds(there, {"it": Row(lambda part, seed: made.append(len(part.styles)))}, asked)
    assert made == [1, script.SAMPLE] and there["rows"]["it"]["cpu_seconds_per_picture"] is not None


def test_some_rows_can_be_measured_anew_and_the_others_keep_their_numbers(script):
    asked = {"scenes": 2, "first_scene": 7, "seeds": 1, "styles": ["oil"], "size": 64}
    old = asked | {"made_on": "Some GPU", "weights": {}, "rows": {"one": {"n": 1}, "two": {"n": 2}}}
    new = asked | {"made_on": "CPU", "rows": {"two": {"n": 3}, "source": {"n": 4}}}
    found = script.merged(old, new)
    assert found == old | {"rows": {"one": {"n": 1}, "two": {"n": 3, "made_on": "CPU"}}}
    assert "Made on: Some GPU; `two` on: CPU;" in script.place(found) and "`" not in script.place(old)
    with pytest.raises(SystemExit, match="the numbers there are of other seeds: 1, now 2; measure all rows anew"):
        script.merged(old, new | {"seeds": 2})


def test_every_row_that_costs_something_has_its_seconds():
    assert all(row["cpu_seconds_per_picture"] is not None for row in MEASURED["rows"].values())


def test_a_row_that_is_not_there_is_named(script, monkeypatch):
    monkeypatch.setattr("sys.argv", ["measure.py", "--rows", "zecon,zecn"])
    with pytest.raises(SystemExit, match=r"no row named zecn; there are source, truth, sdedit, clip_guided, zecon"):
        script.main()


def test_the_seconds_of_a_row_are_those_of_one_picture(script, monkeypatch):
    clock = itertools.count(step=6.0)
    monkeypatch.setattr(script, "time", SimpleNamespace(process_time=lambda: next(clock)))
    asked = Benchmark(1, ("pencil", "neon", "oil"), 1)
    assert script.timed({"it": Row(lambda part, seed: part.source)}, asked) == {"it": pytest.approx(6 / script.SAMPLE)}
