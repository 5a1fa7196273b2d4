"""A result's file makes the same picture again; what has moved or changed since is said."""

import json
from dataclasses import replace

import pytest
import torch
from fabricate import stable_diffusion
from test_cli import names, plain, run

from zecon_lite import METHODS, RECIPES, Latent, edit, images, load_models, stylize
from zecon_lite.presets import as_released
from zecon_lite.provenance import KEY
from zecon_lite.rerun import rerun

pytest.importorskip("diffusers")
QUICK = ["--recipe", "sdedit", "--steps", 5, "--skip", 2]    # unguided: a network pass a step


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a photograph of 225 x 150 and a painting in it."""
    monkeypatch.chdir(tmp_path)
    images.save(images.fit(images.photograph("cat"), 144), "cat.jpg")
    images.save(images.fit(images.photograph("coffee"), 96), "coffee.png")
    return tmp_path


@pytest.fixture(scope="module")
def stable(tmp_path_factory):
    """A Stable Diffusion in miniature, random, for 64 px."""
    folder = tmp_path_factory.mktemp("stable")
    stable_diffusion(folder)
    return folder


@pytest.fixture(scope="module")
def models():
    return load_models("tiny", "cpu")


def made(*arguments):
    done = run("stylize", "cat.jpg", *arguments, *QUICK)
    assert done.exit_code == 0, done.stderr


def record_of(path):
    return json.loads(images.read_metadata(path)[KEY])


def rewritten(path, **new):
    """The same file with another line for rerun."""
    settings = images.read_metadata(path)
    images.save(images.load(path), path, {**settings, KEY: json.dumps({**json.loads(settings[KEY]), **new})})


# ------------------------------------------------------------------------------------------------------- the same again


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("out.png", ["a sketch"]),
        ("out.jpg", ["a sketch", "--seed", 3, "--size", 72]),
        ("out.webp", ["a sketch", "--fit", "pad"]),
        ("out.png", ["a sketch", "--fit", "crop", "--compare", "--batch", 2]),
    ],
)
def test_a_picture_comes_out_the_same_bit_for_bit(folder, name, options):
    made(*options, "-o", name)
    done = run("rerun", name, "-o", "again.png")
    assert (done.exit_code, plain(done.stdout)) == (0, "saved again.png the same picture, bit for bit ")
    again = run("rerun", "again.png")    # what was made again can be made again
    assert again.exit_code == 0
    if name.endswith("png"):
        assert images.load(name).equal(images.load("again.png"))


def test_one_of_a_batch_is_made_again_with_the_others(folder):
    made("a sketch", "-o", "out.png", "--batch", 2)
    first, second = (rerun(f"out_{k}.png") for k in (0, 1))
    assert first.same and second.same and not first.image.equal(second.image)


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("zecon", ["a pencil sketch", "--weight", "zecon=0.3333333333333333", "--strength", "0.7"]),
        ("gram_clip", ["--style", "coffee.png"]),
        ("diffuseit_text", ["a pencil sketch", "--source-prompt", "cat"]),    # a weight of its own is a function
    ],
)
def test_a_guided_picture_comes_out_the_same(folder, recipe, options):
    done = run("stylize", "cat.jpg", *options, "-o", "out.png", "--recipe", recipe, "--steps", 4, "--skip", 2)
    assert done.exit_code == 0, done.stderr
    again = rerun("out.png")
    assert again.same and again.differences == ()


def test_of_several_sources_and_styles_each_is_made_again_with_its_own(folder, models):
    sources, styles = (torch.cat([images.fit(images.photograph(n), 64, "crop") for n in names])
                       for names in (("cat", "coffee"), ("rocket", "astronaut")))
    few = {"recipe": "gram_clip", "models": models, "steps": 3, "skip": 1}
    saved = stylize(sources, style=styles, batch=2, **few).save("four.png")
    again = rerun(saved[1], source=sources, style=styles, device="cpu")
    assert again.same and not again.differences
    with pytest.raises(ValueError, match="the result was made of 4 pictures; got 6: give those alone"):
        rerun(saved[1], source=sources.repeat(3, 1, 1, 1), style=styles, device="cpu")


def test_a_picture_made_in_python_needs_its_source_and_is_the_same(folder, models):
    source = torch.cat([images.fit(images.photograph(name), 64, "crop") for name in ("cat", "rocket")])
    asked = {"recipe": "sdedit", "steps": 5, "skip": 2, "returns": 1, "batch": 2}
    result = stylize(source, ["a sketch", "a mosaic"], models=models, **asked)
    paths = result.save(folder / "out.png")
    with pytest.raises(ValueError, match=r"out_3.png was made in Python, from a source that came from no file"):
        rerun(paths[3])
    again = rerun(paths[3], source=source)
    assert again.same and again.image.equal(result.image[3:])
    assert not rerun(paths[3], source=-source).same


@pytest.mark.parametrize("tiles", [[], ["--tiles", "--size", 128]])
def test_an_edit_comes_out_the_same(folder, stable, tiles):
    words = ["a photo of a tiger", "--also", "a dog", "-s", "a cat", "--iterations", 2, "--guidance", "3.3", *tiles]
    done = run("edit", "cat.jpg", *words, "--model", stable)
    assert done.exit_code == 0, done.stderr
    assert record_of("cat_a-dog.png")["tiles"] == bool(tiles)
    again = rerun("cat_a-dog.png", model=stable)
    assert again.same and again.differences == ()


def test_a_picture_does_not_decide_which_model_is_loaded(folder, stable, monkeypatch):
    assert run("edit", "cat.jpg", "a dog", "-s", "a cat", "--iterations", 2, "--model", stable).exit_code == 0
    loaded = []
    monkeypatch.setattr(Latent, "pretrained", lambda name: loaded.append(name))
    done = run("rerun", "cat_a-dog.png")
    assert done.exit_code == 2 and loaded == []
    assert "is loaded only when you say so" in done.stderr and f"--model {stable}" in done.stderr


def test_a_model_for_a_result_that_asked_none_is_refused(folder):
    made("a mosaic", "-r", "sdedit")
    with pytest.raises(ValueError, match="made by stylize, which asks no latent model: leave --model out"):
        rerun("cat_a-mosaic.png", model="anything")


def test_an_edit_in_python_keeps_its_settings_of_every_kind(folder, stable):
    source, model = images.fit(images.photograph("cat"), 64, "crop"), Latent.pretrained(stable)
    method = replace(METHODS["cds"], iterations=2, contrast=replace(METHODS["cds"].contrast, patch_sizes=(1,)))
    result = edit(source, ["a dog", "a pig"], ["a cat"], method=method, latent=model, negative_prompt="a photo")
    again = rerun(result.save(folder / "out.png")[1], source=source, model=stable)
    assert again.same and again.image.equal(result.image[1:])


# ---------------------------------------------------------------------------------------------- moved, changed, another


def test_the_source_is_found_from_the_result_wherever_one_stands(folder, monkeypatch):
    (folder / "results").mkdir()
    made("a sketch", "-o", "results")
    assert record_of("results/cat_a-sketch.png")["source_file"]["path"] == "../cat.jpg"
    monkeypatch.chdir(folder / "results")
    assert rerun("cat_a-sketch.png").same
    (folder / "cat.jpg").rename(folder / "results/cat.jpg")    # beside the result
    assert rerun("cat_a-sketch.png").same


def test_a_source_that_moved_is_asked_for_and_taken_where_it_is(folder):
    made("a sketch", "-o", "out.png")
    (folder / "cat.jpg").rename(folder / "tom.jpg")
    done = run("rerun", "out.png")
    assert done.exit_code == 2
    assert "there is no cat.jpg, the source of out.png: say where it is now with --source FILE" in plain(done.stderr)
    done = run("rerun", "out.png", "--source", "tom.jpg")
    assert done.exit_code == 0 and "tom.jpg" not in done.stderr    # under another name it is the same source


def test_a_source_that_changed_is_said_and_another_gets_the_same_treatment(folder):
    made("a sketch", "-o", "out.png")
    images.save(-images.load("cat.jpg"), "cat.jpg")
    done = run("rerun", "out.png")
    assert done.exit_code == 2
    assert "the source cat.jpg has changed since out.png was made (its sha256 differs)" in plain(done.stderr)
    done = run("rerun", "out.png", "--source", "cat.jpg", "-o", "other.png")
    assert done.exit_code == 1
    assert "cat.jpg is not the source that out.png was made from (its sha256 differs)" in plain(done.stderr)
    said = plain(done.stdout)
    assert "another picture:" in said and "values differ, by up to" in said and "the source is another picture" in said
    assert run("rerun", "other.png").exit_code == 0    # it has the settings, and its own source
    images.save(images.load("cat.jpg"), "dog.jpg")
    run("rerun", "other.png", "--source", "dog.jpg", "-o", "dog.png")
    assert images.read_metadata("dog.png")["photograph"] == "dog.jpg"


def test_the_result_that_is_made_again_is_not_written_over(folder):
    made("a sketch", "-o", "out.png")
    images.save(-images.load("cat.jpg"), "negative.png")
    before = (folder / "out.png").read_bytes()
    done = run("rerun", "out.png", "--source", "negative.png", "-o", "out.png")
    assert done.exit_code == 2 and "out.png is a picture that the result is made from" in plain(done.stderr)
    assert (folder / "out.png").read_bytes() == before


def test_a_style_picture_that_moved_is_asked_for_too(folder):
    run("stylize", "cat.jpg", "--style", "coffee.png", "-r", "gram_clip", "-o", "out.png", "--steps", 3, "--skip", 1)
    (folder / "coffee.png").rename(folder / "cup.png")
    with pytest.raises(FileNotFoundError, match=r"no coffee.png, the style of out.png: say where .* with --style FILE"):
        rerun("out.png")
    assert rerun("out.png", style="cup.png").same


def test_what_is_not_as_it_was_is_said(folder):
    made("a sketch", "-o", "out.png")
    then = record_of("out.png")
    rewritten("out.png", zecon_lite="0.0.9", torch="1.0", networks={**then["networks"], "denoiser": "0" * 16})
    done = run("rerun", "out.png")
    assert done.exit_code == 0    # the picture is the same all the same
    for sentence in ("zecon_lite was 0.0.9 and is", "torch was 1.0 and is", "the denoiser has other weights"):
        assert sentence in plain(done.stdout)


def test_with_less_memory_the_picture_is_the_same_up_to_rounding(folder):
    made("a sketch", "-o", "out.png")
    again = rerun("out.png", low_memory=True)
    assert (again.image - images.load("out.png")).abs().max() < 0.05
    assert again.differences == ("memory was saved in another way, which may change the last digits",)


def test_other_pixels_are_told_from_the_same_ones(folder):
    made("a sketch", "-o", "out.png")
    rewritten("out.png", seed=1)
    done = run("rerun", "out.png")
    assert done.exit_code == 1 and "another picture" in done.stdout


# -------------------------------------------------------------------------------------------------------------- refused


def test_weights_that_are_functions_are_refused(folder, models):
    source = images.fit(images.load("cat.jpg"), 64)
    recipe = replace(RECIPES["sdedit"], weights={"mse": lambda state: 0.1})
    result = stylize(source, models=models, recipe=recipe, steps=3, skip=1)
    assert result.metadata()["weights"] == "mse=f(t)"
    told = replace(result, recipe=replace(RECIPES["zecon"], course={"zecon": abs})).metadata()["weights"]
    assert "zecon=500*f(t) mse=5000 " in told
    result.save("out.png")
    with pytest.raises(ValueError, match=r"out.png cannot be made again: its weights\['mse'\] is a function"):
        rerun("out.png", source=source)


def test_a_recipe_of_one_s_own_is_refused(folder, models):
    source = images.fit(images.load("cat.jpg"), 64)
    stylize(source, models=models, recipe=replace(RECIPES["sdedit"], name="mine"), steps=3, skip=1).save("out.png")
    with pytest.raises(ValueError, match="'mine' is not one of the package's own: keep the script that made it"):
        rerun("out.png", source=source)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "out.png carries no settings: it was not saved by zecon-lite, or was edited since"),
        ({"seed": "1"}, "out.png does not say enough to be made again: it is from before"),
        ({KEY: "{"}, "the settings of out.png are damaged: its line 'rerun' cannot be read"),
        ({KEY: "[]"}, "the settings of out.png are damaged"),
        ({KEY: '{"by": "stylize"}'}, "the settings of out.png are damaged"),
        ({KEY: '{"by": "magic", "source": {}, "seed": 0, "networks": {}}'}, "the settings of out.png are damaged"),
    ],
)
def test_a_file_that_says_too_little_is_refused(folder, settings, message):
    images.save(images.load("coffee.png"), "out.png", settings)
    done = run("rerun", "out.png")
    assert done.exit_code == 2 and message in plain(done.stderr)


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ({"recipe": "zecon9"}, "there is no recipe 'zecon9': take the version of zecon_lite that made the picture"),
        ({"dtype": "float8"}, "there is no dtype 'float8'"),
        ({"profile": "tny"}, "there is no profile 'tny'; did you mean 'tiny'?"),
        ({"changes": {"crispness": 1}}, "there is no setting 'crispness'"),
    ],
)
def test_settings_of_another_version_are_refused_with_the_cure(folder, new, message):
    made("a sketch", "-o", "out.png")
    rewritten("out.png", **new)
    done = run("rerun", "out.png")
    assert done.exit_code == 2 and message in plain(done.stderr)


def test_nothing_is_written_where_the_name_is_bad(folder):
    made("a sketch", "-o", "out.png")
    before = names(folder)
    done = run("rerun", "out.png", "-o", "again.bmp")
    assert done.exit_code == 2 and "'again.bmp' must end in one of .png" in plain(done.stderr)
    assert names(folder) == before and "there is no file lost.png" in plain(run("rerun", "lost.png").stderr)


def test_info_names_the_command_instead_of_the_long_line(folder):
    made("a sketch", "-o", "out.png")
    shown = plain(run("info", "out.png").stdout)
    assert "rerun zecon-lite rerun out.png makes it again" in shown and "sha256" not in shown


@pytest.mark.parametrize(("name", "value"), [("networks", []), ("source", {"shape": [1, 3, 64, 64]})])
def test_settings_that_are_damaged_inside_are_refused_with_the_cure(folder, name, value):
    made("a sketch", "-o", "result.png")
    record = record_of("result.png") | {name: value}
    settings = images.read_metadata("result.png")
    images.save(images.load("result.png"), "result.png", settings | {KEY: json.dumps(record)})
    with pytest.raises(ValueError, match=r"the settings of result\.png are not those that this version writes"):
        rerun("result.png", device="cpu")


@pytest.mark.parametrize("number", ["5", "x"])
def test_a_number_that_is_none_of_the_run_is_refused(folder, number):
    made("a sketch", "-o", "result.png")
    settings = images.read_metadata("result.png")
    images.save(images.load("result.png"), "result.png", settings | {"number": number})
    with pytest.raises(ValueError, match=r"the settings of result\.png are not those that this version writes"):
        rerun("result.png", device="cpu")


@pytest.mark.parametrize("lacking", ["dtype", "saving", "changes"])
def test_settings_that_lack_something_are_refused_with_the_cure(folder, lacking):
    made("a sketch", "-o", "result.png")
    record = record_of("result.png")
    settings = images.read_metadata("result.png")
    settings[KEY] = json.dumps({k: v for k, v in record.items() if k != lacking})
    images.save(images.load("result.png"), "less.png", settings)
    with pytest.raises(ValueError, match=r"not those that this version writes .* take the version"):
        rerun("less.png")


def test_the_source_is_found_from_a_folder_that_is_a_link(folder, monkeypatch):
    (folder / "real/deep").mkdir(parents=True)
    (folder / "link").symlink_to("real/deep")
    made("a sketch", "-o", "link/result.png")
    monkeypatch.chdir(folder / "real")
    assert rerun(folder / "link/result.png").same


def test_a_picture_does_not_depend_on_what_was_asked_before(models):
    source = images.fit(images.photograph("cat"), 64)
    changes = {"steps": 3, "skip": 2, "seed": 0}
    alone = stylize(source, "a pencil sketch", models=load_models("tiny", "cpu"), **changes).image
    stylize(source.repeat(2, 1, 1, 1), ["a pencil sketch", "a mosaic"], models=models, **changes)
    assert torch.equal(stylize(source, "a pencil sketch", models=models, **changes).image, alone)


@pytest.mark.parametrize("seed", [1.5, "3", 1 << 64, None])
def test_a_seed_that_is_none_is_refused(models, seed):
    with pytest.raises(ValueError, match="a seed must be a whole number of at most 64 bits; got"):
        stylize(torch.zeros(1, 3, 64, 64), "a sketch", models=models, seed=seed)


def test_a_recipe_that_the_bundled_networks_overrule_is_told_so(models):
    source, changes = torch.zeros(1, 3, 64, 64), {"steps": 3, "skip": 2}
    with pytest.warns(UserWarning, match=r"take their own patches, .*fitted_to\(models\)"):
        stylize(source, "a sketch", recipe=replace(RECIPES["zecon"], patches=16), models=models, **changes)


def test_a_released_recipe_that_the_bundled_networks_follow_is_not_warned_of(models, recwarn):
    source, changes = torch.zeros(1, 3, 64, 64), {"steps": 3, "skip": 2}
    stylize(source, "a sketch", recipe=as_released(RECIPES["zecon"]), models=models, **changes)
    assert not [w for w in recwarn if "take their own" in str(w.message)]


def test_half_precision_of_a_graphics_card_is_full_precision_on_a_processor(folder):
    made("a mosaic")
    rewritten("cat_a-mosaic.png", device="NVIDIA T4", dtype="float16")
    again = rerun("cat_a-mosaic.png", device="cpu")
    assert {"device was NVIDIA T4 and is cpu", "dtype was float16 and is float32"} <= set(again.differences)
    rewritten("cat_a-mosaic.png", device="cpu", dtype="float32")
    assert rerun("cat_a-mosaic.png", device="cpu").same


def test_info_says_what_a_rerun_needs_and_why_there_is_none(folder, models):
    source = images.fit(images.load("cat.jpg"), 64)
    stylize(source, "a mosaic", recipe="sdedit", models=models, steps=3, skip=1).save("a b.png")
    assert "zecon-lite rerun 'a b.png' --source FILE makes it again" in plain(run("info", "a b.png").stdout)
    assert run("rerun", "a b.png", "--source", "cat.jpg", "-o", "again.png").exit_code == 0
    mine = replace(RECIPES["sdedit"], name="mine")
    stylize(source, "a mosaic", recipe=mine, models=models, steps=3, skip=1).save("mine.png")
    assert "cannot be made again: 'mine' is not one of the package's own" in plain(run("info", "mine.png").stdout)


@pytest.mark.parametrize("name", ["zecon_lite", "torch", "device", "threads"])
def test_everything_of_the_machine_that_differs_is_said(folder, name):
    made("a sketch", "-o", "out.png")
    rewritten("out.png", **{name: "another"})
    (said,) = rerun("out.png", device="cpu").differences
    assert said.startswith(f"{name} was another and is ")


def test_the_command_saves_memory_where_asked(folder):
    made("a sketch", "-o", "out.png")
    assert "memory was saved in another way" in plain(run("rerun", "out.png", "--low-memory").stdout)
    assert "memory was saved" not in plain(run("rerun", "out.png").stdout)


def test_how_far_another_picture_is_from_the_first_is_said(folder):
    made("a sketch", "-o", "out.png")
    rewritten("out.png", seed=1)
    first, second = (images.to_uint8(x).int() for x in (images.load("out.png"), rerun("out.png", device="cpu").image))
    apart = (first - second).abs()
    told = f"{int((apart > 0).sum())} of {apart.numel()} values differ, by up to {int(apart.max())} of 255"
    assert told in plain(run("rerun", "out.png").stdout) and apart.max() > 0
