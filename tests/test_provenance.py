"""What a result writes down of itself: settings as JSON and back, hashes, where files lie, how it is framed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from zecon_lite import METHODS, RECIPES, Clip, ddim_step, images, noised
from zecon_lite.augment import Views
from zecon_lite.provenance import KEY, Framing, changed, changes, file_of, fingerprint, hash_of, settings_of, telling
from zecon_lite.stylize import FUNCTIONS
from zecon_lite.ways import Early, estimated

ZECON, DIFFUSEIT = RECIPES["zecon"], RECIPES["diffuseit_text"]


@pytest.mark.parametrize(
    "value",
    [
        ZECON,
        ZECON.changed(weights={"mse": 0.1 + 0.2}, steps=7, skip=3, strength=1 / 3),
        replace(ZECON, weights={"mse": 1.5}, views=Views(count=3, area=(0.1, 0.7)), same_views=True),
        replace(ZECON, forward=noised, step=ddim_step, finish=estimated),    # functions of the package, by name
        DIFFUSEIT.changed(weights={"range": 3}),    # its course is a function, and the recipe's own
        replace(DIFFUSEIT, course={}),
        METHODS["cds"].changed(weights={"contrast": 7.0}, iterations=4),
        replace(METHODS["cds"], contrast=replace(METHODS["cds"].contrast, layers=("up", "mid"), patch_sizes=(1, 3))),
    ],
)
def test_what_json_holds_of_a_recipe_or_method_gives_it_back(value):
    known = RECIPES | METHODS
    found = json.loads(json.dumps(settings_of(value, known[value.name], FUNCTIONS)))
    assert repr(changed(known[value.name], found["changes"], FUNCTIONS)) == repr(value)


def test_only_what_differs_is_written_down():
    assert changes(ZECON, ZECON, {}) == {}
    assert changes(replace(ZECON, tau=0.1), ZECON, {}) == {"tau": 0.1}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (replace(ZECON, weights={"mse": lambda state: 1.0}), r"its weights\['mse'\] is a function"),
        (replace(DIFFUSEIT, weights={"cls_divergence": Early(50)}), r"its weights\['cls_divergence'\] is a function"),
        (replace(ZECON, course={"mse": Early()}), r"its course\['mse'\] is a function"),
        (replace(ZECON, forward=lambda *_: None), "its forward is a function or an object of its own"),
    ],
)
def test_a_function_cannot_be_written_down_and_is_named(value, message):
    with pytest.raises(ValueError, match=message):
        changes(value, RECIPES[value.name], FUNCTIONS)
    assert set(settings_of(value, RECIPES[value.name], FUNCTIONS)) == {"refused"}


def test_a_recipe_of_the_reader_s_own_is_refused_by_its_name():
    assert "'mine' is not one of the package's own" in settings_of(replace(ZECON, name="mine"), None, {})["refused"]


def test_a_setting_of_another_version_is_named():
    with pytest.raises(ValueError, match="there is no setting 'crispness': take the version of zecon_lite that made"):
        changed(ZECON, {"crispness": 3}, {})


def test_a_function_of_another_version_is_named():
    with pytest.raises(ValueError, match="there is no forward 'leapt': take the version that made the picture"):
        changed(ZECON, {"forward": {"function": "leapt"}}, FUNCTIONS)


def test_the_hash_is_of_the_values_and_the_fingerprint_of_the_weights():
    x = torch.arange(12.0).reshape(3, 4)
    assert hash_of(x) == hash_of(x.clone()) == hash_of(x.mT.contiguous().mT) != hash_of(x + 1)
    network = Clip(nn.Linear(200, 3), None)
    before = fingerprint(network)
    assert before == fingerprint((network,)) and len(before) == 16
    network.model.weight.data[0, 0] += 1
    assert fingerprint(network) != before


def test_a_file_is_found_from_the_folder_of_the_result(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.jpg").write_bytes(b"cat")
    found = file_of(tmp_path / "photos/cat.jpg", tmp_path / "results/out.png")
    assert found["path"] == "../photos/cat.jpg" and found["sha256"].startswith("77af778b51abd4a3")
    monkeypatch.chdir(tmp_path)
    assert file_of(Path("photos/cat.jpg"), Path("out.png"))["path"] == "photos/cat.jpg"


def test_telling_adds_to_the_line_and_leaves_the_others():
    picture = torch.zeros(1, 3, 8, 8)
    told = telling({"seed": "3", KEY: '{"by": "stylize"}'}, picture, fit="pad")
    assert told["seed"] == "3"
    assert json.loads(told[KEY]) == {
        "by": "stylize", "fit": "pad", "pixels": hash_of(torch.full((1, 3, 8, 8), 128, dtype=torch.uint8)),
    }
    assert telling({"seed": "3"}, picture, fit="pad") == {"seed": "3"}


@pytest.mark.parametrize("fit", ["native", "crop", "pad"])
def test_a_framed_photograph_comes_out_with_its_shape(fit):
    photograph = images.photograph("rocket")
    framing = Framing(64, 32, fit)
    fitted = framing.fitted(photograph)
    assert fitted.equal(images.fit(photograph, 64, fit, 32)) and not [n for n in fitted.shape[-2:] if n % 32]
    (picture,) = framing.finished(-fitted, fitted, photograph)
    assert picture.equal(-images.unpad(fitted, photograph) if fit == "pad" else -fitted)
    (compared,) = replace(framing, compare=True).finished(-fitted.repeat(2, 1, 1, 1), fitted, photograph)
    assert compared.shape[3] == 3 * picture.shape[3] + 8
