"""The similarity explorer: what Python packs, what JavaScript computes, the figure in a browser without a kernel."""

import base64
import io
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import traitlets
from PIL import Image

from zecon_lite import load_models
from zecon_lite.denoiser import VPrediction
from zecon_lite.losses.contrast import patch_nce
from zecon_lite.schedule import Schedule
from zecon_lite.state import Step
from zecon_lite.tiny.networks import FEATURE_BLOCKS, build_unet
from zecon_lite.widgets import SimilarityExplorer, StepScrubber, similarity

JS = Path(__file__).parent / "js"
WIDGETS = Path(similarity.__file__).parent


def random(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def picture(seed, batch=1, side=32):
    return random(seed, batch, 3, side, side).tanh()


def unit_rows(features):
    """(S, C, h, w) -> (S, h w, C) of length one: what the stored rows stand for."""
    return F.normalize(features.flatten(2).transpose(1, 2), dim=-1)


class FakeDenoiser:
    """Encoder features that say which block and time they were asked for; blocks 1 and 4 by default."""

    feature_blocks = (1, 4)

    def __init__(self):
        self.asked = []

    def features(self, x, t, blocks):
        self.asked.append((x, t, tuple(blocks)))
        return [torch.cat([F.avg_pool2d(x, 4), torch.full((len(x), k, 8, 8), 0.1)], dim=1) for k in blocks]


def run_of(count, seed=0):
    return [Step(i, 10 * i, picture(seed + i), picture(seed + i)) for i in reversed(range(count))]


def asked_in_node(node, explorer, layer, source, result, chosen):
    """What similarity.js computes: PatchNCE, and of each chosen patch the cosines with source and result, (N, 2, P)."""
    code = """
        import { readFileSync } from "node:fs";
        const similarity = await (await import(process.argv[1])).load("similarity");
        const { features, layer, source, result, chosen } = JSON.parse(readFileSync(0));
        const buffer = Buffer.from(features, "base64");
        const bytes = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
        const [ofSource, ofResult] = [source, result].map((k) => similarity.dequantise(bytes, layer, k));
        const cosines = (index, keys) => [...similarity.similarities(ofSource, index, keys, layer.channels)];
        console.log(JSON.stringify([
          similarity.patchNce(ofResult, ofSource, layer.channels, 0.07),
          chosen.map((index) => [cosines(index, ofSource), cosines(index, ofResult)]),
        ]));"""
    question = {
        "features": base64.b64encode(explorer.features).decode(), "layer": explorer.layers[layer],
        "source": source, "result": result, "chosen": chosen,
    }
    command = [node, "--input-type=module", "-e", code, (JS / "charts.mjs").as_uri()]
    answer = subprocess.run(command, input=json.dumps(question), capture_output=True, text=True, check=True)
    return [torch.tensor(values) for values in json.loads(answer.stdout)]


# ---------------------------------------------------------------- JavaScript agrees with torch


def test_the_arithmetic_in_javascript_passes_its_own_tests(node):
    done = subprocess.run([node, "--test", str(JS / "similarity.test.mjs")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("block", "side", "channels"), [(1, 32, 48), (3, 16, 96), (5, 8, 144)])
def test_javascript_finds_the_cosines_of_the_features_before_they_were_stored(node, block, side, channels):
    torch.manual_seed(0)
    denoiser = VPrediction(build_unet(), Schedule.linear(), FEATURE_BLOCKS)
    source, steps = picture(0, side=64), [Step(9, 90, picture(1, side=64), picture(1, side=64))]
    with torch.no_grad():
        features = [denoiser.features(x, 0, [block])[0] for x in (source, steps[0].x0)]
    assert features[0].shape == (1, channels, side, side)
    explorer = SimilarityExplorer.from_denoiser(denoiser, source, steps, [block], max_side=side)
    (q,), (k,) = map(unit_rows, features)
    chosen = [0, side * side // 3, side * side - 1]
    loss, found = asked_in_node(node, explorer, 0, 0, 1, chosen)
    exact = torch.stack([q[chosen] @ q.T, q[chosen] @ k.T], dim=1)
    torch.testing.assert_close(found, exact, rtol=0, atol=0.02)
    assert (found - exact).abs().max() <= explorer.layers[0]["error"] + 1e-5
    torch.testing.assert_close(loss, patch_nce(k, q), rtol=0, atol=0.05)


def test_each_step_and_layer_is_read_from_its_own_place(node):
    source = {"a": random(0, 3, 5, 2, 3), "b": random(1, 1, 4, 3, 3)}          # a source per step, a source for all
    result = {"a": random(2, 3, 5, 2, 3), "b": random(3, 3, 4, 3, 3)}
    explorer = SimilarityExplorer.from_features(
        picture(0), picture(1, batch=3), {name: (source[name], result[name]) for name in source}
    )
    assert [layer["sources"] for layer in explorer.layers] == [3, 1]
    for layer, name in enumerate(source):
        for step in range(3):
            own = step if len(source[name]) == 3 else 0
            _, found = asked_in_node(node, explorer, layer, own, explorer.layers[layer]["sources"] + step, [1])
            q, k = unit_rows(source[name])[own], unit_rows(result[name])[step]
            torch.testing.assert_close(found[0], torch.stack([q @ q[1], k @ q[1]]), rtol=0, atol=0.02)


# ---------------------------------------------------------------- what Python packs


def test_features_are_asked_for_at_time_zero_and_of_the_clean_estimates():
    denoiser, source, steps = FakeDenoiser(), picture(50), run_of(3)
    explorer = SimilarityExplorer.from_denoiser(denoiser, source, steps)
    (first, t0, blocks0), (second, t1, blocks1) = denoiser.asked
    assert (t0, t1, blocks0, blocks1) == (0, 0, (1, 4), (1, 4))
    assert first is source and torch.equal(second, torch.cat([step.x0 for step in steps]))
    assert [layer["name"] for layer in explorer.layers] == ["UNet block 1", "UNet block 4"]
    assert explorer.step_names == ["t = 20", "t = 10", "t = 0"] and explorer.step == 2


def test_blocks_time_and_a_single_picture_may_be_chosen():
    denoiser = FakeDenoiser()
    explorer = SimilarityExplorer.from_denoiser(denoiser, picture(0), picture(1), blocks=[3], t=40)
    assert [(t, blocks) for _, t, blocks in denoiser.asked] == [(40, (3,))] * 2
    assert explorer.step_names == ["result"] and len(explorer.result_png) == 1


def pools(x):
    """An extractor of two layers, 8 x 8 and 4 x 4."""
    return {1: F.avg_pool2d(x, 4), "deep": F.avg_pool2d(x, 8)}


def test_each_extractor_gets_a_column_that_shows_its_last_layer():
    source, results = picture(0), picture(1, batch=2)
    extractors = {"UNet": pools, "keys": lambda x: F.avg_pool2d(x, 16).exp()}
    explorer = SimilarityExplorer.from_extractors(source, results, extractors)
    shown = [(layer["name"], layer["height"]) for layer in explorer.layers]
    assert shown == [("UNet 1", 8), ("UNet deep", 4), ("keys", 2)]
    assert (explorer.layer, explorer.beside) == (1, [2])
    assert explorer.step_names == ["result 1", "result 2"]
    assert SimilarityExplorer.from_extractors(source, run_of(9), extractors, keep=2).step_names == ["t = 80", "t = 0"]
    plain = SimilarityExplorer.from_features(
        source, results, {"UNet deep": (pools(source)["deep"], pools(results)["deep"])}
    )
    assert (plain.layer, plain.beside) == (0, []) and plain.layers[0]["scale"] == explorer.layers[1]["scale"]


def test_unet_clip_and_vit_stand_side_by_side_on_a_small_page():
    models = load_models("tiny", device="cpu")
    source, results = picture(0, side=64), picture(1, batch=3, side=64)
    explorer = SimilarityExplorer.from_models(models, source, results, step_names=["a", "b", "c"])
    names = [f"UNet block {k}" for k in models.denoiser.feature_blocks] + ["CLIP patches", "ViT keys"]
    assert [layer["name"] for layer in explorer.layers] == names
    assert (explorer.layer, explorer.beside, explorer.step_names) == (2, [3, 4], ["a", "b", "c"])
    assert [layer["height"] for layer in explorer.layers] == [16, 16, 8, 4, 8]
    size = len(explorer.features) + len(explorer.source_png) + sum(map(len, explorer.result_png))
    assert size + len(json.dumps(explorer.layers)) <= 400_000                  # on noise: nothing compresses


@pytest.mark.parametrize("keep", [1, 2, 4, 7, 25, 99])
def test_a_long_run_is_thinned_evenly_and_keeps_its_end(keep):
    kept = [step.i for step in similarity._spread(run_of(25), keep)]
    assert len(kept) == min(keep, 25) and kept[-1] == 0 and (keep == 1 or kept[0] == 24)
    gaps = -np.diff(kept)
    assert keep == 1 or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)


def test_pictures_survive_as_png_and_overshooting_estimates_are_clamped():
    source, result = picture(0), 1.5 * picture(1)
    explorer = SimilarityExplorer.from_denoiser(FakeDenoiser(), source, result)
    for png, wanted in ((explorer.source_png, source), (explorer.result_png[0], result.clamp(-1, 1))):
        pixels = torch.from_numpy(np.array(Image.open(io.BytesIO(png)))).permute(2, 0, 1) / 127.5 - 1
        assert (pixels - wanted[0]).abs().max() <= 0.5 / 127.5 + 1e-6


def test_few_components_are_stored_where_few_suffice():
    of_low_rank = torch.einsum("skhw,kc->schw", random(0, 2, 3, 6, 6), random(1, 3, 64))
    explorer = SimilarityExplorer.from_features(picture(0), picture(1), {"a": (of_low_rank[:1], of_low_rank[1:])})
    (layer,) = explorer.layers
    assert layer["channels"] == 3 and layer["error"] <= similarity.TOLERANCE
    assert len(explorer.features) == 2 * 36 * 3


def test_components_are_capped_and_the_error_is_told(monkeypatch):
    monkeypatch.setattr(similarity, "MAX_CHANNELS", 4)
    features = {"a": (random(0, 1, 32, 6, 6), random(1, 1, 32, 6, 6))}
    explorer = SimilarityExplorer.from_features(picture(0), picture(1), features)
    assert explorer.layers[0]["channels"] == 4 and explorer.layers[0]["error"] > similarity.TOLERANCE


def test_a_long_grid_is_thinned_in_both_directions_alike():
    features = torch.arange(40.0 * 20).view(1, 1, 40, 20)
    thinned = similarity._thinned(features, 16)
    assert thinned.shape == (1, 1, 13, 7) and thinned[0, 0, 0, :2].tolist() == [21.0, 24.0]
    assert torch.equal(similarity._thinned(features, 40), features)


def test_the_page_stays_small_for_four_steps_of_the_bundled_network():
    torch.manual_seed(0)
    denoiser = VPrediction(build_unet(), Schedule.linear(), FEATURE_BLOCKS)
    steps = [Step(i, i, picture(i, side=64), picture(i, side=64)) for i in reversed(range(25))]
    explorer = SimilarityExplorer.from_denoiser(denoiser, picture(99, side=64), steps)
    assert len(explorer.step_names) == 4
    size = len(explorer.features) + len(explorer.source_png) + sum(map(len, explorer.result_png))
    assert size + len(json.dumps(explorer.layers)) <= 310_000          # untrained and on noise: nothing compresses


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("source", "result", "message"),
    [
        (picture(0)[0], picture(1), r"source must be \(B, 3, H, W\).*got \(3, 32, 32\)"),
        (picture(0, batch=2), picture(1), r"one source.*got \(2, 3, 32, 32\): take source\[:1\]"),
        (picture(0), picture(1, side=16), r"result must be \(1, 3, 32, 32\).*got \(1, 3, 16, 16\)"),
        (picture(0), [], r"no steps: give a picture"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(source, result, message):
    with pytest.raises(ValueError, match=message):
        SimilarityExplorer.from_denoiser(FakeDenoiser(), source, result)


@pytest.mark.parametrize(
    ("of_source", "of_result", "message"),
    [
        (random(0, 4, 2, 2), random(1, 2, 4, 2, 2), r"'keys' must be \(1 or 2, C, h, w\).*got \(4, 2, 2\)"),
        (random(0, 1, 4, 2, 2), random(1, 1, 4, 2, 2), r"'keys' must be \(1 or 2, C, h, w\).*\(1, 4, 2, 2\)"),
        (random(0, 1, 4, 2, 2), random(1, 2, 4, 2, 3), r"and \(2, 4, 2, 3\)"),
        (random(0, 3, 4, 2, 2), random(1, 2, 4, 2, 2), r"got \(3, 4, 2, 2\)"),
        (random(0, 1, 4, 2, 2), random(1, 2, 4, 2, 2) / 0, r"'keys' hold NaN or infinity"),
    ],
)
def test_features_that_do_not_fit_are_refused(of_source, of_result, message):
    with pytest.raises(ValueError, match=message):
        SimilarityExplorer.from_features(picture(0), picture(1, batch=2), {"keys": (of_source, of_result)})


def test_an_explorer_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one layer"):
        SimilarityExplorer.from_features(picture(0), picture(1), {})


def test_a_column_of_no_layer_is_refused_with_the_nearest():
    features = {"UNet 1": (random(0, 1, 4, 2, 2), random(1, 1, 4, 2, 2))}
    with pytest.raises(ValueError, match=r"no layer 'UNet 2' to show; did you mean 'UNet 1'"):
        SimilarityExplorer.from_features(picture(0), picture(1), features, columns=["UNet 1", "UNet 2"])


def test_results_and_names_are_as_many():
    with pytest.raises(ValueError, match=r"result must be \(1, 3, 32, 32\).*got \(2, 3, 32, 32\)"):
        SimilarityExplorer.from_extractors(picture(0), picture(1, batch=2), {"a": pools}, step_names=["one"])


def test_a_layer_or_step_that_is_not_there_is_refused():
    explorer = SimilarityExplorer.from_denoiser(FakeDenoiser(), picture(0), run_of(3))
    explorer.layer, explorer.step = 1, 0
    with pytest.raises(traitlets.TraitError, match=r"layer must be 0 to 1 \(UNet block 1, UNet block 4\); got 2"):
        explorer.layer = 2
    with pytest.raises(traitlets.TraitError, match=r"step must be 0 to 2 .*; got -1"):
        explorer.step = -1
    for tau in (0, -0.07, float("nan"), float("inf")):
        with pytest.raises(traitlets.TraitError, match=f"tau, a temperature, must be a number above 0; got {tau}"):
            explorer.tau = tau
    for place in ([0.5, float("nan")], [1, 0]):
        with pytest.raises(traitlets.TraitError, match=r"selected must be \[row, column\] as fractions"):
            explorer.selected = place
    with pytest.raises(traitlets.TraitError, match="beside must hold layers, 0 to 1; got 7"):
        explorer.beside = [0, 7]


def test_fewer_layers_or_steps_leave_a_choice_that_is_there():
    explorer = SimilarityExplorer.from_denoiser(FakeDenoiser(), picture(0), run_of(3))
    explorer.layer, explorer.step, explorer.beside = 1, 2, [0, 1]
    explorer.step_names = explorer.step_names[:2]
    assert (explorer.layer, explorer.step, explorer.beside) == (1, 1, [0, 1])
    explorer.layers = explorer.layers[:1]
    assert (explorer.layer, explorer.step, explorer.beside) == (0, 1, [0])


# ---------------------------------------------------------------- the page


def luminance(colour):
    """WCAG 2.1 relative luminance of "#rrggbb"."""
    values = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("sheet", [SimilarityExplorer._css, StepScrubber._css], ids=["similarity", "scrubber"])
@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_colours_meet_wcag_aa(mode, sheet):
    found = re.findall(r"--zlw-(\w+): light-dark\((#\w+), (#\w+)\)", str(sheet))
    colours = {name: pair[mode] for name, *pair in found}
    assert set(colours) == {"text", "soft", "back", "line", "accent"}
    for name, least in {"text": 4.5, "soft": 4.5, "line": 3, "accent": 3}.items():
        high, low = sorted([luminance(colours[name]), luminance(colours["back"])], reverse=True)
        assert (high + 0.05) / (low + 0.05) >= least, name


@pytest.mark.parametrize("name", ["similarity", "weights", "direction"])
def test_whoever_takes_keys_asks_first_whether_they_are_the_browsers(name):
    text = (WIDGETS / f"{name}.js").read_text()
    assert text.count('addEventListener("keydown"') == text.count("notOurs(event) ||") == 1


@pytest.mark.parametrize("name", ["similarity.js", "similarity.css"])
def test_nothing_is_fetched_from_outside(name):
    text = (WIDGETS / name).read_text()
    assert not re.search(r"https?://|@import|url\(|fetch\(|^import ", text, re.MULTILINE)


@pytest.fixture
def features():
    """Of two layers, 4 x 6 and 2 x 2 patches, for a source and three results that drift away from it."""
    source = {"fine": random(0, 1, 8, 4, 6), "coarse": random(1, 1, 8, 2, 2)}
    return {name: (f, torch.cat([f + k * random(2 + k, *f.shape) for k in (2, 1, 0)])) for name, f in source.items()}


def told(column):
    """What the readout says to programs: {"row": "0", ...}."""
    return column.get_by_test_id("readout").evaluate("element => ({...element.dataset})")


def matches(page, features, step, row, column, at=0):
    """Checks every number under the figure, in its column `at`, against torch."""
    place = page.get_by_test_id("column").nth(at)
    said, nce = told(place), place.get_by_test_id("nce").evaluate("element => ({...element.dataset})")
    (q,), k = unit_rows(features[0]), unit_rows(features[1])[step]
    width = features[0].shape[-1]
    index = row * width + column
    wanted = k @ q[index]
    assert (int(said["row"]), int(said["col"])) == (row, column)
    assert float(said["same"]) == pytest.approx(wanted[index].item(), abs=0.02)
    assert float(said["best"]) == pytest.approx(wanted.max().item(), abs=0.02)
    assert wanted[int(said["bestRow"]) * width + int(said["bestCol"])] == pytest.approx(wanted.max().item(), abs=0.03)
    assert int(said["rank"]) == 1 + int((wanted > wanted[index]).sum())
    logits = k @ q.T / 0.07
    assert float(nce["probability"]) == pytest.approx(logits.softmax(1)[index, index].item(), abs=0.05)
    assert float(nce["mean"]) == pytest.approx(patch_nce(k, q).item(), abs=0.1)
    text = place.get_by_test_id("readout").inner_text()
    assert f"patch ({row}, {column})" in text and f"(rank {said['rank']} of {len(q)})" in text
    down, right = page.evaluate("model.get('marked')")
    assert at or int(down * features[0].shape[-2]) == int(said["bestRow"])
    assert at or int(right * width) == int(said["bestCol"])


def test_clicks_keys_layers_and_steps_show_the_numbers_that_torch_finds(figure, features):
    explorer = SimilarityExplorer.from_features(picture(0), picture(1, batch=3), features)
    page = figure(explorer)
    source, layer, step = (page.get_by_test_id(name) for name in ("source", "layer", "step"))
    matches(page, features["fine"], 2, 2, 3)                                   # the middle, the last step
    assert told(page)["rank"] == "1"                                           # where result and source are the same

    box = source.bounding_box()
    source.click(position={"x": box["width"] * 5.5 / 6, "y": box["height"] * 0.5 / 4})
    matches(page, features["fine"], 2, 0, 5)
    for key, row, column in [
        ("ArrowDown", 1, 5), ("ArrowRight", 1, 5), ("ArrowLeft", 1, 4), ("Shift+ArrowLeft", 1, 0), ("ArrowUp", 0, 0),
        ("ArrowUp", 0, 0), ("Shift+ArrowDown", 3, 0),
    ]:
        page.keyboard.press(key)
        matches(page, features["fine"], 2, row, column)
    step.focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("model.get('step')") == 1
    matches(page, features["fine"], 1, 3, 0)
    layer.select_option("1")
    matches(page, features["coarse"], 1, 1, 0)                                 # the same place on a coarser grid
    assert page.evaluate("saved") > 0 and page.faults == []


def test_a_small_temperature_makes_a_large_loss_and_not_an_endless_one(figure):
    features = {"swapped": (torch.eye(4).view(1, 4, 2, 2), torch.eye(4).flip(0).view(1, 4, 2, 2))}
    explorer = SimilarityExplorer.from_features(picture(0), picture(1), features)
    explorer.tau = 1e-4                                                        # each picks another's place
    nce = figure(explorer).get_by_test_id("nce")
    assert "probability 0.000 (loss 100" in nce.inner_text() and "Infinity" not in nce.inner_text()
    assert float(nce.get_attribute("data-loss")) == pytest.approx(1e4, rel=0.02)


def test_a_key_of_the_browsers_is_left_to_it(figure, features):
    page = figure(SimilarityExplorer.from_features(picture(0), picture(1, batch=3), features))
    before = page.evaluate("model.get('selected')")
    held = """(source, held) => source.dispatchEvent(
        new KeyboardEvent("keydown", { key: "ArrowLeft", cancelable: true, [held]: true }))"""
    for key in ("altKey", "ctrlKey", "metaKey"):
        assert page.get_by_test_id("source").evaluate(held, key)               # nobody prevented what it does else
    assert page.evaluate("model.get('selected')") == before
    assert not page.get_by_test_id("source").evaluate(held, "shiftKey")
    assert page.evaluate("model.get('selected')") != before


def test_columns_answer_together_and_each_may_show_another_layer(figure, features):
    explorer = SimilarityExplorer.from_features(
        picture(0), picture(1, batch=3), features, columns=["fine", "coarse", "fine"]
    )
    page = figure(explorer)
    fine, coarse, last = (page.get_by_test_id("column").nth(k) for k in range(3))
    assert fine.get_by_test_id("readout").inner_text().startswith("fine: similarity of patch")
    source = coarse.get_by_test_id("source")
    box = source.bounding_box()
    source.click(position={"x": box["width"] * 0.25, "y": box["height"] * 0.75})
    matches(page, features["coarse"], 2, 1, 0, at=1)
    for at in (0, 2):
        matches(page, features["fine"], 2, 3, 1, at)                           # the middle of that coarse patch
    page.keyboard.press("ArrowRight")                                          # a patch of the grid with the focus
    matches(page, features["coarse"], 2, 1, 1, at=1)
    matches(page, features["fine"], 2, 3, 4)
    fine.get_by_test_id("source").press("ArrowLeft")
    matches(page, features["fine"], 2, 3, 3, at=2)
    last.get_by_test_id("layer").select_option("1")
    assert page.evaluate("[model.get('layer'), model.get('beside')]") == [0, [1, 1]]
    matches(page, features["coarse"], 2, 1, 1, at=2)
    fine.get_by_test_id("layer").select_option("1")
    assert page.evaluate("[model.get('layer'), model.get('beside')]") == [1, [1, 1]]
    page.evaluate("model.set('beside', [])")
    assert page.get_by_test_id("column").count() == 1
    matches(page, features["coarse"], 2, 1, 1)
    assert page.faults == []


def test_the_figure_follows_its_traits_and_lets_go_of_them(figure, features):
    page = figure(SimilarityExplorer.from_features(picture(0), picture(1, batch=3), features))
    page.evaluate("model.set('selected', [0.9, 0.1]); model.set('step', 0); model.set('layer', 1)")
    matches(page, features["coarse"], 0, 1, 0)
    assert page.get_by_test_id("layer").input_value() == "1" and page.get_by_test_id("step").input_value() == "0"
    assert page.evaluate("listening()") > 0
    page.evaluate("close_figure()")
    assert page.evaluate("listening()") == 0 and page.faults == []


def test_the_heat_map_is_as_opaque_as_its_slider_says(figure, features):
    page = figure(SimilarityExplorer.from_features(torch.full((1, 3, 32, 32), -1.0), picture(1, batch=3), features))
    pixel = "canvas => [...canvas.getContext('2d').getImageData(2, 2, 1, 1).data.slice(0, 3)]"
    source, opacity = page.get_by_test_id("source"), page.get_by_test_id("opacity")
    opacity.fill("0")
    assert source.evaluate(pixel) == [0, 0, 0]                                 # the black source alone
    opacity.fill("100")
    full = source.evaluate(pixel)
    opacity.fill("50")
    assert sum(full) > 100 and np.abs(np.array(source.evaluate(pixel)) - np.array(full) / 2).max() <= 2


def test_one_result_needs_no_step_slider_and_everything_has_a_name(figure, features):
    (source, results) = features["fine"]
    page = figure(SimilarityExplorer.from_features(picture(0), picture(1), {"fine": (source, results[:1])}))
    assert not page.get_by_test_id("step").is_visible() and page.get_by_test_id("opacity").is_visible()
    page.get_by_role("application", name="Source picture, patch (2, 3) chosen: arrow keys move it").wait_for()
    page.get_by_role("img", name=re.compile(r"Result with heat map, best match at \(\d, \d\)")).wait_for()
    page.get_by_role("combobox", name="Layer").wait_for()
    readout = page.get_by_test_id("readout")
    assert readout.get_attribute("aria-live") is None                          # nobody asked yet
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")                                                 # layer, heat map, ...
    page.keyboard.press("Tab")
    outline = "canvas => document.activeElement === canvas && getComputedStyle(canvas).outlineWidth"
    assert page.get_by_test_id("source").evaluate(outline) == "3px"
    assert readout.get_attribute("aria-live") == "polite"


def test_a_finger_chooses_by_a_tap_and_scrolls_without_choosing(figure, features):
    page = figure(SimilarityExplorer.from_features(picture(0), picture(1, batch=3), features), has_touch=True)
    source, chosen = page.get_by_test_id("source"), "model.get('selected').join()"
    before = page.evaluate(chosen)
    source.dispatch_event("pointerdown", {"pointerType": "touch", "buttons": 1, "clientX": 0, "clientY": 0})
    assert page.evaluate(chosen) == before
    source.tap(position={"x": 3, "y": 3})
    assert page.evaluate(chosen) != before and page.faults == []


def test_lists_that_become_shorter_before_their_choice_does_break_nothing(figure, features):
    both = SimilarityExplorer.from_features(picture(0), picture(1, batch=3), features, columns=["fine", "coarse"])
    page = figure(both)
    page.evaluate("model.set('step', 2)")
    page.evaluate("model.set('step_names', model.get('step_names').slice(0, 1))")
    page.evaluate("model.set('layers', model.get('layers').slice(0, 1))")
    assert page.get_by_test_id("column").count() == 1 and page.faults == []


@pytest.mark.parametrize(
    ("scheme", "said", "dark"),
    [("light", None, False), ("dark", None, True), ("light", "dark", True), ("dark", "light", False)],
)
def test_light_and_dark_follow_the_page_before_the_system(figure, features, scheme, said, dark):
    page = figure(SimilarityExplorer.from_features(picture(0), picture(1, batch=3), features), color_scheme=scheme)
    if said:
        page.evaluate("said => document.documentElement.dataset.theme = said", said)
    back = page.get_by_test_id("similarity-explorer").evaluate("element => getComputedStyle(element).backgroundColor")
    assert back == ("rgb(22, 24, 28)" if dark else "rgb(255, 255, 255)")


@pytest.mark.parametrize("columns", [["fine"], ["fine", "coarse", "fine"]], ids=len)
def test_a_phone_shows_the_pictures_one_above_the_other(figure, features, columns):
    explorer = SimilarityExplorer.from_features(picture(0), picture(1, batch=3), features, columns=columns)
    page = figure(explorer, viewport={"width": 360, "height": 700})
    source, result = (page.get_by_test_id(name).first.bounding_box() for name in ("source", "result"))
    assert result["y"] > source["y"] + source["height"] and source["width"] > 250
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
