"""What is asked of a method, and what may answer."""

import re
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from zecon_lite import RECIPES, Models, benchmark, images, load_models, recipes
from zecon_lite.adapters import Adapter
from zecon_lite.benchmark import (
    SOURCE,
    TRUTH,
    Benchmark,
    Photographs,
    of_adapters,
    of_edit,
    of_function,
    of_method,
    of_recipe,
)
from zecon_lite.tiny import world
from zecon_lite.ways import Early


@pytest.fixture(scope="module")
def asked():
    return Benchmark(scenes=2, styles=("pencil", "pixel"), seeds=1)


# ------------------------------------------------------------------------------------------------------ what is asked


def test_every_scene_is_asked_for_in_every_style(asked):
    p = asked.pictures
    assert p.styles == ("pencil", "pixel") * 2 and p.scene.tolist() == [1_002_000, 1_002_000, 1_002_001, 1_002_001]
    assert (p.scene >= world.FIRST_HELD_OUT_SEED).all()
    scenes = world.render([1_002_000, 1_002_001])
    assert torch.equal(p.source[::2], scenes.image) and torch.equal(p.source[1::2], scenes.image)
    assert torch.equal(p.mask[::2], scenes.mask) and torch.equal(p.object[1::2], scenes.object)
    assert torch.equal(p.truth[1:2], world.apply_style("pixel", scenes.image[:1], [1_002_000]))
    assert p.prompts == ["a pencil sketch", "pixel art"] * 2
    other = world.apply_style("pixel", world.render([1_001_999]).image, [1_001_999])
    assert torch.equal(p.example[1::2], other.expand(2, -1, -1, -1)), "the example is of a scene that is not scored"


def test_prompts_are_grammatical_and_one_for_each_style():
    assert list(benchmark.PROMPTS) == list(world.STYLES)
    assert benchmark.PROMPTS["oil"] == "an oil painting"


@pytest.mark.parametrize(("batch", "size", "sizes"), [(3, 64, [3, 1]), (None, 64, [4]), (None, 256, [1, 1, 1, 1])])
def test_portions_hold_every_picture_once(batch, size, sizes):
    parts = Benchmark(2, ("pencil", "pixel"), 1, size, batch).parts
    assert [p.stop - p.start for p in parts] == sizes
    assert [k for p in parts for k in range(p.start, p.stop)] == [0, 1, 2, 3]


def test_photographs_are_asked_for_in_every_style_and_nobody_knows_their_objects():
    p = Photographs(styles=("pencil", "neon"), seeds=1).pictures
    assert p.source.shape == (8, 3, 64, 64) and p.mask is None and p.object is None and p.scene.tolist()[-1] == 3
    cat = images.fit(images.photograph("cat"), 64, mode="crop")
    assert torch.equal(p.source[1:2], cat) and torch.equal(p.truth[1:2], world.apply_style("neon", cat, [0]))
    assert torch.equal(p.part(slice(1, 3)).example, p.example[1:3]) and p.part(slice(1, 3)).mask is None
    with pytest.raises(ValueError, match="there are 4 photographs; got 5"):
        Photographs(scenes=5)


def test_more_scenes_begin_with_the_same_ones(asked):
    more = Benchmark(scenes=3, styles=asked.styles, seeds=1).pictures
    assert torch.equal(more.part(slice(0, 4)).truth, asked.pictures.truth)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"styles": ("pencl",)}, "there is no style 'pencl'; did you mean 'pencil'?"),
        ({"styles": ("oil", "pencil", "oil")}, "oil is named more than once: each style counts once"),
        ({"styles": ()}, "name at least one style; there are pencil"),
        ({"scenes": 0}, "scenes must be at least 1; got 0"),
        ({"seeds": -1}, "seeds must be at least 1; got -1"),
        ({"batch": 0}, "batch must be at least 1; got 0"),
    ],
)
def test_a_benchmark_that_asks_for_nothing_is_refused(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Benchmark(**arguments)


# -------------------------------------------------------------------------------------------------------- the bounds


def test_the_source_row_is_the_picture_untouched(asked):
    assert torch.equal(SOURCE.make(asked.pictures, 0), asked.pictures.source)


def test_the_truth_row_draws_the_pattern_anew(asked):
    redrawn = [TRUTH.make(asked.pictures, seed)[asked.styles.index("pencil")] for seed in (0, 1)]
    truth = asked.pictures.truth[0]
    assert not torch.equal(redrawn[0], redrawn[1]) and not torch.equal(redrawn[0], truth)
    assert (redrawn[0] - truth).abs().mean() < (asked.pictures.source[0] - truth).abs().mean()


# -------------------------------------------------------------------------------------------------------- the recipes


@pytest.fixture(scope="module")
def models():
    return load_models("tiny", device="cpu")


def test_a_recipe_answers_with_pictures_and_without_warnings(asked, models, recwarn):
    quick = replace(RECIPES["sdedit"], small={}, steps=3, skip=1)
    part = asked.pictures.part(slice(0, 2))
    made = of_recipe(quick, models).make(part, 0)
    assert made.shape == part.source.shape and not torch.equal(made, part.source)
    assert torch.equal(made, of_recipe(quick, models).make(part, 0)) and not recwarn


@pytest.mark.parametrize(("name", "given"), [("zecon", {"prompt"}), ("diffuseit_image", {"style"}), ("sdedit", set())])
def test_a_recipe_is_given_what_it_reads(asked, models, monkeypatch, name, given):
    def restyle(source, prompt, *, style, recipe, models, seed):
        assert {k for k, v in {"prompt": prompt, "style": style}.items() if v is not None} == given
        return SimpleNamespace(image=source)

    monkeypatch.setattr(benchmark, "stylize", restyle)
    of_recipe(name, models).make(asked.pictures, 0)


def test_settings_tell_one_weight_from_another_and_hold_no_address(models):
    plain, changed = of_recipe("zecon", models), of_recipe("zecon", models, "zecon", 0.5)
    assert plain.settings == of_recipe("zecon", models).settings != changed.settings
    assert "'zecon': 0.5" in changed.settings and (changed.loss, changed.weight) == ("zecon", 0.5)
    assert " at 0x" not in plain.settings


def test_what_functions_of_one_s_own_make_is_not_stored(models, monkeypatch):
    zecon = RECIPES["zecon"].fitted_to(models)
    assert of_recipe(zecon.changed(weights={"zecon": Early(0.02)}), models).settings
    assert not of_recipe(zecon.changed(weights={"zecon": lambda state: 0.02}), models).settings
    monkeypatch.setitem(recipes.LOSSES, "mine", lambda run: lambda state: state.view.sum())
    assert not of_recipe(zecon.changed(weights={"mine": 1.0}), models).settings
    assert all(of_recipe(recipe, models).settings for recipe in RECIPES)


def test_a_recipe_or_loss_that_there_is_not_is_refused(models):
    with pytest.raises(ValueError, match="no recipe 'zeco'; did you mean 'zecon'"):
        of_recipe("zeco", models)
    with pytest.raises(ValueError, match="no loss 'zecno'; did you mean 'zecon'"):
        of_recipe("zecon", models, "zecno", 1.0)


def test_the_fingerprint_covers_what_makes_pictures_and_not_the_judges(tmp_path, monkeypatch):
    package = tmp_path / "package"
    for name in ("samplers.py", "evaluate.py", "tiny/weights/unet.safetensors", "tiny/weights/judge_a.safetensors"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("old")
    monkeypatch.setattr(benchmark, "__file__", str(package / "benchmark.py"))

    def changes(name):
        before = benchmark._fingerprint()
        (package / name).write_text("new")
        return benchmark._fingerprint() != before

    assert changes("samplers.py") and changes("tiny/weights/unet.safetensors")
    assert not changes("evaluate.py") and not changes("tiny/weights/judge_a.safetensors")


# ---------------------------------------------------------------------------------------------- learnt, and distilled


def adapter(prompt, change=0.5):
    return Adapter({"out.2.bias": torch.full((12,), change)}, {"prompt": prompt, "t0": "300", "test_steps": "3"})


def test_each_style_is_painted_by_the_adapter_of_its_prompt(asked, models, monkeypatch):
    seen = []

    def translate(source, pupil, *, models, settings):
        seen.append((len(source), settings.t0, settings.test_steps))
        return source * (pupil.unet.out[2].bias - models.denoiser.unet.out[2].bias).mean()

    monkeypatch.setattr(benchmark, "translate", translate)
    row = of_adapters([adapter("pixel art", 0.25), adapter("a pencil sketch")], models)
    made, source = row.make(asked.pictures, 0), asked.pictures.source
    torch.testing.assert_close(made[::2], 0.5 * source[::2])
    torch.testing.assert_close(made[1::2], 0.25 * source[1::2])
    assert seen == [(2, 300, 3)] * 2
    assert row.settings != of_adapters([adapter("pixel art"), adapter("a pencil sketch")], models).settings


def test_adapters_are_told_apart_and_no_two_have_one_prompt(models):
    one, other = adapter("pixel art"), adapter("pixel art")
    with pytest.raises(ValueError, match="two adapters were trained for the same prompt: give one for each style"):
        of_adapters([one, other], models)
    farther = replace(one, about={**one.about, "t0": "500"})
    assert of_adapters([one], models).settings != of_adapters([farther], models).settings


def test_a_style_that_nobody_learnt_is_refused(asked, models):
    message = "no adapter was trained for 'pixel art', only for 'a pencil sketch': train one with `zecon-lite finet"
    with pytest.raises(ValueError, match=message):
        of_adapters([adapter("a pencil sketch")], models).make(asked.pictures.part(slice(1, 2)), 0)


def test_what_another_device_or_precision_made_is_not_served_again(models):
    half = Models(models.profile, models.device, torch.bfloat16)
    card = Models(models.profile, torch.device("cuda"), models.dtype)
    rows = [of_recipe("zecon", each) for each in (models, half, card)]
    rows += [of_adapters([], each) for each in (models, half)]
    assert len({row.settings for row in rows}) == 5


def test_an_edit_gets_each_style_s_prompt_and_the_source_s(asked, monkeypatch):
    def edit(source, prompt, source_prompt, *, method, latent, seed):
        assert (source_prompt, method, latent.name) == ("photo", "dds", "mine")
        return SimpleNamespace(image=source * {"a pencil sketch": 0.5, "pixel art": 0.25}[prompt])

    monkeypatch.setattr(benchmark, "edit", edit)
    latent = SimpleNamespace(name="mine", autocast=None, tiles=False)
    row = of_edit("dds", SimpleNamespace(latent=latent, device=torch.device("cpu"), dtype=torch.float32))
    made, source = row.make(asked.pictures, 0), asked.pictures.source
    torch.testing.assert_close(made[::2], 0.5 * source[::2])
    torch.testing.assert_close(made[1::2], 0.25 * source[1::2])
    with pytest.raises(ValueError, match="there is no method 'ddds'; did you mean 'dds'"):
        of_edit("ddds", None)


# ----------------------------------------------------------------------------------------------- other people's methods

METHODS = """
import torch
def negative(source, prompts, seed): return -source
def short(source, prompts): return source
def one(source, prompts, seed): return source[:1]
def listed(source, prompts, seed): return source.tolist()
def bright(source, prompts, seed): return (source + 1) * 127.5
def broken(source, prompts, seed): return source * float("nan")
number = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder that holds my_methods.py."""
    (tmp_path / "my_methods.py").write_text(METHODS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.delitem(sys.modules, "my_methods", raising=False)
    return tmp_path


def test_a_function_in_the_current_folder_is_found_and_called(folder, asked):
    row = of_method("my_methods:negative")
    assert torch.equal(row.make(asked.pictures, 0), -asked.pictures.source)
    (folder / "my_methods.py").write_text(METHODS + "# changed\n")
    assert of_method("my_methods:negative").settings != row.settings, "a changed file must not find old pictures"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("my_methods", "a method must be package.module:function, as in my_method:restyle; got 'my_methods'"),
        ("lost:negative", "there is no module 'lost' here: run in its folder, or install it"),
        ("lost.inner:negative", "there is no module 'lost.inner' here"),
        ("./my_methods.py:negative", "give its name as Python imports it, such as my_method:restyle"),
        ("needy:negative", "the module 'needy' cannot be imported: No module named 'library_that_is_not_there'"),
        ("my_methods:negativ", "the module 'my_methods' has no 'negativ'; did you mean 'negative'?"),
        ("my_methods:number", "must be a function of (source, prompts, seed); got 3"),
        ("my_methods:short", "takes (source, prompts); a method is called as f(source, prompts, seed)"),
    ],
)
def test_a_method_that_cannot_be_called_is_refused(folder, spec, message):
    (folder / "needy.py").write_text("import library_that_is_not_there\n")
    with pytest.raises(ValueError, match=re.escape(message)):
        of_method(spec)


def test_a_method_that_fails_says_where_and_one_written_in_c_is_refused(folder, asked):
    row = of_function(lambda source, prompts, seed: int("none"), "mine")
    with pytest.raises(RuntimeError, match="mine failed on 4 pictures with the seed 7") as told:
        row.make(asked.pictures, 7)
    assert isinstance(told.value.__cause__, ValueError), "the method's own traceback stays"
    with pytest.raises(ValueError, match="torch:clamp does not say what it takes: wrap it in a function of your own"):
        of_method("torch:clamp")
    (folder / "torn.py").write_text("def restyle(")
    with pytest.raises(ValueError, match="the module 'torn' cannot be imported: SyntaxError"):
        of_method("torn:restyle")


def test_settings_hold_no_address_and_changed_networks_of_our_name_are_never_stored():
    pytest.importorskip("diffusers")
    models = load_models("tiny", "cpu")
    for name in ("cds", "sds"):
        assert " at 0x" not in of_edit(name, models).settings and "source_anchored" in of_edit(name, models).settings
    models.profile = replace(models.profile, size=32)
    assert not of_recipe("zecon", models).settings
    models.profile = replace(models.profile, name="mine")
    assert of_recipe("zecon", models).settings


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("one", "must return pictures (4, 3, 64, 64) in [-1, 1]; got the shape (1, 3, 64, 64): one picture for each"),
        ("listed", "got list: make it a torch tensor"),
        ("bright", "got [0, 255]: scale it, or clamp it to the range"),
        ("broken", "got NaN or infinity: look at the step that made it"),
    ],
)
def test_an_answer_that_is_no_picture_is_refused(folder, asked, name, message):
    pictures = replace(asked.pictures, source=torch.linspace(-1, 1, 4 * 3 * 64 * 64).view(4, 3, 64, 64))
    with pytest.raises(ValueError, match=re.escape(f"my_methods:{name} ") + ".*" + re.escape(message)):
        of_method(f"my_methods:{name}").make(pictures, 0)


def test_a_method_may_change_its_source_in_place(asked):
    before = asked.pictures.source.clone()
    of_function(lambda source, prompts, seed: source.mul_(0.5)).make(asked.pictures, 0)
    assert torch.equal(asked.pictures.source, before)


def test_a_seed_reaches_the_recipe_and_the_edit(asked, models, monkeypatch):
    quick, part = replace(RECIPES["sdedit"], small={}, steps=3, skip=1), asked.pictures.part(slice(0, 1))
    row = of_recipe(quick, models)
    assert not torch.equal(row.make(part, 0), row.make(part, 1))
    seeds = []
    monkeypatch.setattr(
        benchmark, "edit", lambda source, *_, seed, **more: seeds.append(seed) or SimpleNamespace(image=source)
    )
    latent = SimpleNamespace(name="mine", autocast=None, tiles=False)
    of_edit("dds", SimpleNamespace(latent=latent, device=torch.device("cpu"), dtype=torch.float32)).make(part, 7)
    assert seeds == [7]
