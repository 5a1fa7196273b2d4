"""Making, storing, scoring, reporting. Stand-ins judge, so that no number here depends on trained weights."""

import itertools
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from zecon_lite import RECIPES, cli, images, load_models, metrics
from zecon_lite import evaluate as scored
from zecon_lite.adapters import Adapter
from zecon_lite.benchmark import SOURCE, TRUTH, Benchmark, Photographs, Row, of_function
from zecon_lite.evaluate import COSTS, FRECHET, MEASURES, compare, made, rows_of, save, scores, table
from zecon_lite.tiny import world

STYLES = ("pencil", "neon")
COMMAND = sys.modules["zecon_lite.cli.evaluate"]


class StandIn:
    """Calls dark pictures neon and the others pencil; every object a tree; sees an object wherever it is red."""

    def __call__(self, images):
        dark = images.mean((1, 2, 3)) < -0.3
        names = ["photo", *world.STYLES]
        style = torch.where(dark, names.index("neon"), names.index("pencil"))
        objects = torch.full_like(style, world.OBJECTS.index("tree"))
        return tuple(10.0 * torch.nn.functional.one_hot(k, n) for k, n in ((style, 13), (objects, 12), (objects, 13)))

    def features(self, images):
        return torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch):
    monkeypatch.setattr(metrics, "_bundled", lambda name: (lambda x: x[:, :1]) if name == "segmenter" else StandIn())


@pytest.fixture(scope="module")
def asked():
    return Benchmark(scenes=3, styles=STYLES, seeds=2, batch=4)


def negative(source, prompts, seed):
    return -source * (1 - 0.1 * seed)


# ------------------------------------------------------------------------------------------------------------- scores


def test_every_measure_is_that_of_metrics(asked):
    want, pictures = asked.pictures, -asked.pictures.source
    found = scores(pictures, want)
    assert list(found) == list(MEASURES) and all(v.shape == (6,) for v in found.values())
    torch.testing.assert_close(found["ssim_to_source"], metrics.ssim(pictures, want.source))
    torch.testing.assert_close(found["edge_f1"], metrics.edge_f1(pictures, want.source))
    torch.testing.assert_close(found["mask_iou"], metrics.mask_iou(pictures, want.mask))
    torch.testing.assert_close(found["colour_distance"], metrics.colour_distance(pictures, want.truth))
    first = metrics.style_accuracy(pictures, want.styles, StandIn())
    assert torch.equal(found["style_accuracy_a"], first) and torch.equal(found["style_accuracy_b"], first)
    assert torch.equal(found["object_accuracy_b"], (want.object == world.OBJECTS.index("tree")).float())


def test_judges_see_64_pixels_of_larger_pictures():
    asked = Benchmark(scenes=1, styles=STYLES, seeds=1, size=128)
    assert scores(asked.pictures.source, asked.pictures)["mask_iou"].shape == (2,)


def test_the_report_knows_the_bounds_and_what_was_asked(asked):
    measured = compare({"source": SOURCE, "truth": TRUTH, "negative": of_function(negative)}, asked)
    assert (measured["scenes"], measured["seeds"], measured["pictures"], measured["size"]) == (3, 2, 12, 64)
    assert measured["styles"] == list(STYLES) and set(measured["judges"]) == set(metrics.JUDGES)
    source, truth, other = measured["rows"].values()
    assert source["overall"]["ssim_to_source"][0] > 0.999 and source["overall"]["edge_f1"][0] > 0.97
    assert truth["overall"]["colour_distance"][0] < source["overall"]["colour_distance"][0]
    assert truth["overall"]["frechet_a"] < other["overall"]["frechet_a"]
    for row in measured["rows"].values():
        assert set(row["styles"]) == set(STYLES)
        for key in MEASURES:
            mean, low, high = row["overall"][key]
            assert low <= mean <= high
            assert mean == pytest.approx(sum(row["styles"][s][key][0] for s in STYLES) / 2, abs=2e-4)
            assert mean == pytest.approx(sum(row["by_scene"][key]) / 3, abs=2e-4)
        by_style = [row["styles"][s]["frechet_b"] for s in STYLES]
        assert row["overall"]["frechet_b"] == pytest.approx(sum(by_style) / 2, abs=2e-3)


def test_one_scene_has_no_frechet_distance():
    (row,) = compare({"source": SOURCE}, Benchmark(1, STYLES, 1))["rows"].values()
    assert all(row["overall"][key] is None and row["styles"]["neon"][key] is None for key in FRECHET)


def test_costs_are_counted_where_they_are_asked_for(asked):
    looked = Row(lambda part, seed: load_models("tiny", "cpu").clip.image(part.source) is None or part.source)
    (row,) = compare({"looked": looked}, asked, costs=True)["rows"].values()
    assert row["passes"] == {"CLIP": [1, 0]} and row["peak_megabytes"] > 0
    (row,) = compare({"looked": looked}, asked)["rows"].values()
    assert not {"passes", "peak_megabytes"} & set(row)


def test_of_photographs_nothing_is_said_that_nobody_knows():
    found = compare({"source": SOURCE}, Photographs(2, STYLES, 1))
    (row,) = found["rows"].values()
    unknown = {"mask_iou", "object_accuracy_a", "object_accuracy_b"}
    assert set(row["overall"]) == {*MEASURES, *FRECHET} - unknown and found["pictures"] == 4
    headings, lines = table(found)
    assert MEASURES["mask_iou"] not in headings and MEASURES["edge_f1"] in headings and len(lines[0]) == len(headings)


def test_a_function_is_scored_in_one_line():
    found = scored(negative, scenes=2, styles=["neon"], seeds=1, models=load_models("tiny", "cpu"))
    assert found["overall"]["ssim_to_source"][0] < 0.5 and list(found["styles"]) == ["neon"]


# ------------------------------------------------------------------------------------------------ going on after a stop


def counting(calls, stop_after=None):
    def make(part, seed):
        if len(calls) == stop_after:
            raise KeyboardInterrupt
        calls.append((seed, len(part.styles)))
        return -part.source * (1 - 0.1 * seed)

    return Row(make, settings="counting")


def test_an_interrupted_run_goes_on_where_it_stopped(asked, tmp_path):
    first, second = [], []
    with pytest.raises(KeyboardInterrupt):
        made(counting(first, stop_after=3), asked, tmp_path)
    pictures, _ = made(counting(second), asked, tmp_path)
    assert first == [(0, 4), (0, 2), (1, 4)] and second == [(1, 2)]
    whole, _ = made(counting([]), asked)
    assert pictures.shape == (2, 6, 3, 64, 64) and pictures.dtype == torch.uint8 and torch.equal(pictures, whole)
    assert all(path.suffix == ".npz" for path in tmp_path.iterdir()), "no half-written file is left"


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", bytes(100)])
def test_a_damaged_store_of_pictures_is_named_with_the_cure(asked, tmp_path, data):
    made(counting([]), asked, tmp_path)
    path = next(tmp_path.glob("*.npz"))
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"{path.name}, a store of finished pictures, is damaged: delete it"):
        made(counting([]), asked, tmp_path)


def test_pictures_made_otherwise_are_not_taken(asked, tmp_path):
    made(counting([]), asked, tmp_path)
    calls = []
    made(Row(counting(calls).make, settings="another weight"), asked, tmp_path)
    assert len(calls) == 4
    calls.clear()
    made(counting(calls), Benchmark(3, STYLES, 2, batch=4, start=9), tmp_path)
    assert len(calls) == 4


def test_seconds_are_kept_with_the_pictures(asked, tmp_path):
    _, first = made(counting([]), asked, tmp_path)
    _, again = made(counting([]), asked, tmp_path)
    assert again == pytest.approx(first) and again > 0


# ---------------------------------------------------------------------------------------------------- rows and reports


def test_bounds_come_first_and_a_curve_is_a_row_for_each_weight():
    rows = rows_of(load_models("tiny", "cpu"), ["sdedit"], (), ["zecon=0.005,0.1"])
    assert list(rows) == ["source", "truth", "sdedit", "zecon, zecon=0.005", "zecon, zecon=0.1"]
    assert [(row.loss, row.weight) for row in rows.values()][-2:] == [("zecon", 0.005), ("zecon", 0.1)]


def test_ways_to_edit_and_adapters_are_rows_too(monkeypatch, tmp_path):
    module = sys.modules["zecon_lite.evaluate"]
    monkeypatch.setattr(module, "of_edit", lambda name, models: f"edit {name}")
    monkeypatch.setattr(module, "of_adapters", lambda adapters, models: f"{len(adapters)} adapters")
    path = Adapter({"w": torch.ones(1)}, {"prompt": "a pencil sketch"}).save(tmp_path / "pencil.safetensors")
    rows = rows_of(load_models("tiny", "cpu"), ["sdedit", "cds"], (), (), [path])
    assert list(rows) == ["source", "truth", "sdedit", "cds", "diffusionclip"]
    assert rows["cds"] == "edit cds" and rows["diffusionclip"] == "1 adapters"


@pytest.mark.parametrize("curve", ["zecon", "zecon=", "zecon=1,much", "zecon=nan", "zecon=1,,2"])
def test_a_curve_that_cannot_be_read_is_refused(curve):
    with pytest.raises(ValueError, match=r"a curve must be LOSS=WEIGHT,WEIGHT,\.\.\., as in zecon=0\.005.*got"):
        rows_of(load_models("tiny", "cpu"), [], (), [curve])


def measured():
    numbers = {key: [0.5, 0.25, 0.75] for key in MEASURES} | {"frechet_a": 1.5, "frechet_b": None}
    row = {"cpu_seconds_per_picture": 1.234, "overall": numbers, "styles": {"neon": {**numbers, "frechet_a": 9.0}}}
    return {"rows": {"zecon": row}}


def test_the_table_shows_intervals_and_a_dash_for_what_is_not_there():
    headings, lines = table(measured(), ["mask_iou", "frechet_a", "frechet_b", "cpu_seconds_per_picture"])
    assert headings == ["", "mask IoU", *FRECHET.values(), "CPU seconds a picture"]
    assert lines == [["zecon", "0.50 (0.25 to 0.75)", "1.50", "-", "1.23"]]
    assert table(measured(), ["frechet_a"], style="neon")[1] == [["zecon", "9.00"]]
    assert len(table(measured())[0]) == 1 + len(MEASURES) + len(FRECHET) + 1


def test_the_table_shows_what_pictures_cost():
    row = {"cpu_seconds_per_picture": 2.0, "passes": {"UNet": [5, 2], "CLIP": [9, 3]}, "peak_megabytes": 52.75}
    headings, lines = table({"rows": {"a": {**row, "overall": {}}, "b": {**row, "passes": {}, "overall": {}}}})
    assert headings == ["", *COSTS.values()]
    assert lines == [["a", "2.00", "UNet 5 + 2, CLIP 9 + 3", "52.75"], ["b", "2.00", "-", "52.75"]]


def test_the_file_holds_the_numbers_one_measure_a_line_or_does_not_exist(tmp_path):
    path = save(measured(), tmp_path / "out.json")
    assert json.loads(path.read_text()) == measured()
    assert '"mask_iou": [0.5, 0.25, 0.75],' in path.read_text()
    with pytest.raises(TypeError):
        save({"rows": object()}, tmp_path / "other.json")
    with pytest.raises(OSError):
        save(measured(), tmp_path / "nowhere" / "out.json")
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


# ---------------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("def negative(source, prompts, seed): return -source\ndef short(source): pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.setenv("ZECON_LITE_HOME", str(tmp_path / "home"))
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(cli.app, ["evaluate", *map(str, arguments)], env={"COLUMNS": "200"})


def plain(text):
    return re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;]*m", "", text))


def test_evaluate_writes_the_json_prints_the_table_and_keeps_the_pictures_where_asked(folder):
    asked = ["--method", "mine:negative", "--scenes", 2, "--seeds", 1, "--styles", "neon, pencil", "-o", "out.json"]
    assert run(*asked).exit_code == 0 and not list((folder / "home").rglob("*.npz"))    # weights of theirs may change
    done = run(*asked, "--cache", "kept")
    assert done.exit_code == 0, (done.stderr, done.exception)
    found = json.loads((folder / "out.json").read_text())
    assert list(found["rows"]) == ["source", "truth", "mine:negative"] and found["styles"] == ["neon", "pencil"]
    said = plain(done.stdout)
    assert "2 held-out scenes x 2 styles x 1 seeds" in said and "mine:negative" in said and "saved out.json" in said
    assert f"{found['rows']['truth']['overall']['mask_iou'][0]:.2f}" in said
    assert len(list((folder / "kept").glob("*.npz"))) == 1


def test_without_a_name_three_recipes_are_scored(folder, monkeypatch):
    asked_for = []
    module = sys.modules["zecon_lite.cli.evaluate"]
    monkeypatch.setattr(module, "rows_of", lambda models, *names: asked_for.append(names) or {"source": SOURCE})
    assert run("--scenes", 1, "--seeds", 1, "--styles", "neon").exit_code == 0
    assert run("--scenes", 1, "--seeds", 1, "--styles", "neon", "--curve", "zecon=1", "-r", "zecon").exit_code == 0
    assert asked_for == [(("sdedit", "clip_guided", "zecon"), [], [], []), (["zecon"], [], ["zecon=1"], [])]


def test_photographs_and_costs_at_the_command_line(folder):
    done = run("--method", "mine:negative", "--photographs", "--scenes", 1, "--seeds", 1, "--styles", "neon", "--costs")
    assert done.exit_code == 0, (done.stderr, done.exception)
    row = json.loads((folder / "evaluation.json").read_text())["rows"]["mine:negative"]
    assert row["passes"] == {} and row["peak_megabytes"] > 0
    assert "1 photographs x 1 styles x 1 seeds" in plain(done.stdout) and "peak memory, MB" in plain(done.stdout)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--styles", "cubism"], "there is no style 'cubism'"),
        (["--styles", "neon,pencl"], "there is no style 'pencl'; did you mean 'pencil'?"),
        (["--scenes", "0"], "scenes must be at least 1; got 0"),
        (["--recipe", "zeco"], "there is no recipe 'zeco'; did you mean 'zecon'?"),
        (["--method", "lost:negative"], "there is no module 'lost' here"),
        (["--method", "mine:short"], "mine:short takes (source); a method is called as f(source, prompts, seed)"),
        (["--curve", "zecon"], "a curve must be LOSS=WEIGHT,WEIGHT,..."),
        (["--curve", "zecno=1"], "there is no loss 'zecno'; did you mean 'zecon'?"),
        (["--photographs", "--scenes", "5"], "there are 4 photographs; got 5"),
        (["--adapter", "lost.safetensors"], "lost.safetensors"),
        (["--profile", "tny"], "there is no profile 'tny'; did you mean 'tiny'?"),
        (["-o", "nowhere/out.json"], "nowhere/out.json must be a file in a folder that exists"),
    ],
)
def test_bad_input_is_refused_with_a_sentence_before_any_work(folder, options, message):
    done = run(*options)
    assert done.exit_code == 2 and done.stdout == "" and "Traceback" not in done.stderr
    assert message in plain(done.stderr)
    assert sorted(path.name for path in folder.iterdir()) in (["mine.py"], ["__pycache__", "mine.py"])


def test_an_answer_that_is_no_picture_ends_with_2(folder):
    (folder / "mine.py").write_text("def negative(source, prompts, seed): return source[:1]\n")
    done = run("--method", "mine:negative", "--scenes", 1, "--seeds", 1, "--styles", "neon,pencil")
    assert done.exit_code == 2 and "must return pictures (2, 3, 64, 64) in [-1, 1]" in plain(done.stderr)
    assert not (folder / "evaluation.json").exists()


def test_each_scene_has_its_own_mean_and_intervals_are_over_scenes(asked):
    want, found = asked.pictures, compare({"it": of_function(negative)}, asked)["rows"]["it"]
    drawn = [images.from_unit(images.to_uint8(negative(want.source, None, seed)).float() / 255) for seed in (0, 1)]
    each = torch.stack([metrics.ssim(pictures, want.source) for pictures in drawn])            # (seeds, n)
    own = [each[:, want.scene == scene].mean().item() for scene in want.scene.unique()]
    assert found["by_scene"]["ssim_to_source"] == pytest.approx(own, abs=1e-4)
    interval = metrics.interval(each.flatten(), want.scene.expand(2, -1).flatten())
    assert found["overall"]["ssim_to_source"] == pytest.approx(interval, abs=1e-4)


def test_judge_a_is_the_first_and_judge_b_the_second(asked, monkeypatch):
    class Other(StandIn):
        def __call__(self, pictures):
            return tuple(logits.roll(1, 1) for logits in super().__call__(pictures))

        def features(self, pictures):
            return 2 * super().features(pictures)

    judges = {"judge_a": StandIn(), "judge_b": Other(), "segmenter": lambda x: x[:, :1]}
    monkeypatch.setattr(metrics, "_bundled", judges.get)
    want = asked.pictures
    found = scores(want.source, want)
    for letter in "ab":
        judge = judges[f"judge_{letter}"]
        assert torch.equal(found[f"style_accuracy_{letter}"], metrics.style_accuracy(want.source, want.styles, judge))
    assert not torch.equal(found["style_accuracy_a"], found["style_accuracy_b"])
    overall = compare({"source": SOURCE}, asked)["rows"]["source"]["overall"]
    assert overall["frechet_b"] == pytest.approx(4 * overall["frechet_a"], abs=0.01) and overall["frechet_a"] > 0.1


def test_seconds_are_those_of_one_picture(asked, monkeypatch):
    clock = itertools.count(step=6.0)    # every portion takes six seconds
    fake = SimpleNamespace(process_time=lambda: next(clock))
    monkeypatch.setattr(sys.modules["zecon_lite.evaluate"], "time", fake)
    assert made(counting([]), asked)[1] == 4 * 6 / 12    # 4 portions, 12 pictures


def test_what_one_line_makes_is_kept_where_asked(tmp_path):
    quick = replace(RECIPES["sdedit"], small={}, steps=2, skip=0)
    scored(quick, scenes=1, styles=["neon"], seeds=1, models=load_models("tiny", "cpu"), cache=tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == 1


def test_the_command_hands_its_numbers_on(folder, monkeypatch):
    seen = []

    def compare(rows, asked, *rest):
        seen.append((asked.scenes, asked.seeds, asked.styles, asked.batch, *rest))
        raise ValueError("enough")

    monkeypatch.setattr(COMMAND, "compare", compare)
    run("--method", "mine:negative", "--scenes", 2, "--seeds", 4, "--styles", "neon,pencil", "--batch", 5, "--costs",
        "--cache", "kept")
    assert seen == [(2, 4, ("neon", "pencil"), 5, Path("kept"), True)]


def test_the_printed_table_ends_with_the_mean_of_both_judges_in_each_style(capsys):
    COMMAND._print(measured(), Benchmark(1, ("neon",), 1))
    assert re.search(r"neon, mean of both judges +0\.50", capsys.readouterr().out)
