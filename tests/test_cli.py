"""The command line: what it saves, what it prints, and how it says no. Networks stand in the last section only."""

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from zecon_lite import cli, images, profiles, recipes

# The modules: the packages have the functions under those names.
stylize, command = sys.modules["zecon_lite.stylize"], sys.modules["zecon_lite.cli.stylize"]


def run(*arguments):
    """The finished command: exit_code, stdout, stderr."""
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], env={"COLUMNS": "160"})


def plain(text):
    """Without colours, and with runs of white space made one."""
    return re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;]*m", "", text))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def photo(folder):
    """A photograph in the current folder, half the size of the original: 225 x 150."""
    images.save(images.fit(images.photograph("cat"), 144), folder / "cat.jpg")
    return folder / "cat.jpg"


@pytest.fixture
def negative(monkeypatch):
    """In place of the networks, a restyling that gives the negative; returns the calls that reached it."""
    calls = []

    def restyle(source, prompt, *, style, source_prompt, recipe, models, seed, batch, on_step):
        calls.append({"source": source, "style": style, "source_prompt": source_prompt, "recipe": recipe, "seed": seed,
                      "prompt": prompt, "models": models})
        task = recipes.Task(source, prompt, source_prompt)
        return stylize.Result(-source.repeat(batch, 1, 1, 1), (), recipe, seed, task, models.profile.name)

    monkeypatch.setattr(command, "restyle", restyle)
    return calls


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def same(a, b):
    """Equal when written with 8 bits."""
    return images.to_uint8(a).equal(images.to_uint8(b))


# --------------------------------------------------------------------------------------------------------------- help


def test_help_names_the_commands_and_the_options():
    assert all(command in run("--help").stdout for command in ("stylize", "recipes", "info", "--version"))
    text = plain(run("stylize", "--help").stdout)
    for word in ("PHOTO", "PROMPT", "--output", "--recipe", "--weight", "--compare", "--source-prompt", "Examples"):
        assert word in text


def test_the_command_line_itself_waits_for_no_library_of_networks():
    heavy = {"diffusers", "matplotlib", "open_clip", "peft", "skimage", "timm", "torchvision", "transformers"}
    program = f"import sys, zecon_lite.cli; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"


def test_the_version_is_the_package_s():
    from importlib.metadata import version

    assert run("--version").stdout.strip() == f"zecon-lite {version('zecon-lite')}"


def test_recipes_lists_each_with_its_weights():
    done = run("recipes")
    assert done.exit_code == 0
    for name, recipe in recipes.RECIPES.items():
        assert name in done.stdout
        weights = recipe.fitted_to(profiles.load_models("tiny", "cpu")).weights
        assert all(f"{weight}=" in done.stdout for weight in weights)


# -------------------------------------------------------------------------------------------------------------- results


def test_the_result_is_named_after_photograph_and_prompt_and_said(photo, negative):
    done = run("stylize", photo, "A Pencil-Sketch, please!")
    assert done.exit_code == 0 and done.stderr == ""
    assert done.stdout == "saved cat_a-pencil-sketch-please.png\n"
    assert same(images.load("cat_a-pencil-sketch-please.png"), -images.fit(images.load(photo), 64))


def test_the_options_reach_the_method(photo, negative):
    done = run(
        "stylize", photo, "a sketch", "--recipe", "sdedit", "--steps", 9, "--skip", 4, "--seed", 3, "--strength", 0.25,
        "--returns", 2, "--source-prompt", "a cat", "-w", "mse=2.5", "-w", "zecon=0.5", "--size", 32, "--fit", "crop",
        "--precision", "bfloat16",
    )
    assert done.exit_code == 0
    (call,) = negative
    recipe = call["recipe"]
    assert (recipe.name, recipe.steps, recipe.skip, recipe.strength) == ("sdedit", 9, 4, 0.25)
    assert recipe.returns == 2
    assert recipe.weights["mse"] == 2.5 and recipe.weights["zecon"] == 0.5
    assert (call["seed"], call["source_prompt"]) == (3, "a cat")
    assert call["models"].dtype == torch.bfloat16
    assert call["source"].shape == (1, 3, 32, 32)


def test_a_format_that_is_not_read_is_named_and_never_taken_for_the_prompt(photo, negative):
    Path("mix").mkdir()
    Path("mix/cat.jpg").write_bytes(Path(photo).read_bytes())
    Path("mix/IMG_1.HEIC").touch()
    done = run("stylize", "mix", "a mosaic", "-o", "out")
    assert done.exit_code == 0 and names(Path("out")) == ["cat_a-mosaic.png"]
    assert "1 of the files in mix are in formats that are not read: IMG_1.HEIC" in plain(done.stderr)
    done = run("stylize", photo, "mix/IMG_1.HEIC")
    assert done.exit_code == 2 and "in a format that is not read: export it as JPEG or PNG" in plain(done.stderr)


@pytest.mark.parametrize(("words", "cure"), [
    (["cat.jpg", "a", "pencil", "sketch"], "there is no file 'a': put a prompt of several words in quotes"),
    (["a pencil sketch", "cat.jpg"], "there is no file 'a pencil sketch'; if that is the prompt, it comes last"),
])
def test_words_out_of_place_say_where_the_prompt_goes(photo, negative, words, cure):
    done = run("stylize", *words)
    assert done.exit_code == 2 and cure in plain(done.stderr) and negative == []


def test_a_long_name_is_cut_to_what_a_file_system_takes(photo, negative):
    long = "\u732b" * 80 + ".jpg"
    Path(photo).rename(long)
    done = run("stylize", long, "a pencil sketch")
    assert done.exit_code == 0, done.stderr
    (made,) = [name for name in names(Path()) if name.endswith("_a-pencil-sketch.png")]
    assert len(made.encode()) <= 255 and made.startswith("\u732b" * 60)


def test_memory_that_runs_out_anywhere_is_a_sentence(photo, monkeypatch):
    for error in (MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory")):
        def fails(*args, error=error, **options):
            raise error

        monkeypatch.setattr(command, "restyle", fails)
        done = run("stylize", photo, "a sketch")
        assert done.exit_code == 2 and "there is not enough memory: take a smaller picture" in plain(done.stderr)


def test_a_style_picture_reaches_the_method_and_names_the_result(photo, negative):
    Image.new("LA", (30, 90), (200, 120)).save("starry night.png")
    done = run("stylize", photo, "--style", "starry night.png", "--recipe", "gram_clip")
    assert done.exit_code == 0 and done.stdout == "saved cat_starry-night.png\n"
    assert same(negative[0]["style"], images.load("starry night.png"))
    settings = images.read_metadata("cat_starry-night.png")
    assert settings["style"] == "starry night.png" and settings["prompt"] == ""


def test_the_result_carries_its_settings_and_info_shows_them(photo, negative):
    run("stylize", photo, "a sketch", "-o", "out.png", "--seed", 5, "--weight", "zecon=0.25")
    settings = images.read_metadata("out.png")
    assert settings["recipe"] == "zecon" and settings["seed"] == "5" and settings["prompt"] == "a sketch"
    assert "zecon=0.25" in settings["weights"]
    assert settings["photograph"] == "cat.jpg" and settings["fit"] == "native"
    shown = plain(run("info", "out.png").stdout)
    assert all(f"{key} {value}" in shown for key, value in settings.items() if len(value) < 40)


def test_a_batch_gets_numbered_files(photo, negative):
    done = run("stylize", photo, "a sketch", "--batch", 3, "-o", "out.webp")
    assert done.stdout.split() == ["saved", "out_0.webp", "saved", "out_1.webp", "saved", "out_2.webp"]
    assert [images.read_metadata(f"out_{k}.webp")["number"] for k in range(3)] == ["0", "1", "2"]


def test_compare_puts_source_and_results_into_one_file(photo, negative):
    assert run("stylize", photo, "a sketch", "--compare", "--batch", 2, "-o", "out.png").exit_code == 0
    fitted = images.fit(images.load(photo), 64)
    assert same(images.load("out.png"), images.side_by_side([fitted, -fitted, -fitted]))
    assert names(photo.parent) == ["cat.jpg", "out.png"]


def test_pad_works_on_a_square_and_gives_back_the_photograph_s_shape(photo, negative):
    assert run("stylize", photo, "a sketch", "--fit", "pad", "-o", "out.png").exit_code == 0
    assert negative[0]["source"].shape == (1, 3, 64, 64)
    height, width = images.load("out.png").shape[-2:]
    photograph = images.load(photo)
    assert width == 64 and abs(height - 64 * photograph.shape[-2] / photograph.shape[-1]) <= 1


def test_output_may_be_an_existing_folder(photo, negative):
    os.mkdir("results")
    assert run("stylize", photo, "a sketch", "-o", "results").exit_code == 0
    assert os.listdir("results") == ["cat_a-sketch.png"]


@pytest.mark.parametrize(
    ("prompt", "name"), [("une esquisse à l'été", "cat_une-esquisse-à-l-été.png"), ("絵", "cat_絵.png")]
)
def test_prompts_in_any_script_make_a_name(photo, negative, prompt, name):
    assert run("stylize", photo, prompt).exit_code == 0
    assert name in names(photo.parent)


# ---------------------------------------------------------------------------------------------------------- a folder


def test_each_picture_of_a_folder_is_restyled_and_other_files_are_left_alone(photo, negative):
    os.mkdir("results")
    images.save(images.load(photo), "cat.png")
    images.save(images.load(photo), "dog.webp")
    photo.with_name("notes.txt").write_text("no picture")
    done = run("stylize", ".", "a sketch", "-o", "results")
    assert done.exit_code == 0
    # Two photographs called cat must not end in one file.
    assert sorted(os.listdir("results")) == ["cat_jpg_a-sketch.png", "cat_png_a-sketch.png", "dog_a-sketch.png"]


def test_one_bad_file_in_a_folder_is_reported_and_the_others_go_on(photo, negative):
    photo.with_name("broken.png").write_bytes(b"hello")
    photo.with_name("empty.jpg").write_bytes(b"")
    images.save(images.load(photo), "zebra.png")
    done = run("stylize", ".", "a sketch", "-o", "results")
    assert done.exit_code == 2
    assert sorted(os.listdir("results")) == ["cat_a-sketch.png", "zebra_a-sketch.png"]
    said = plain(done.stderr)
    assert "broken.png is not a picture that can be read" in said and "empty.jpg is empty" in said
    assert "2 of 4 failed, the others are saved: broken.png, a sketch; empty.jpg, a sketch" in said


def test_several_results_make_the_folder_that_they_go_to(photo, negative):
    assert run("stylize", photo, "a sketch", "--also", "a mosaic", "-o", "made").exit_code == 0
    assert sorted(os.listdir("made")) == ["cat_a-mosaic.png", "cat_a-sketch.png"]
    assert run("stylize", photo, "a sketch", "--batch", 2, "-o", "twice/").exit_code == 0
    assert sorted(os.listdir("twice")) == ["cat_a-sketch_0.png", "cat_a-sketch_1.png"]
    done = run("stylize", photo, "a sketch", "--batch", 2, "-o", "no/where")
    assert done.exit_code == 2 and "there is no folder no: make it first" in plain(done.stderr)


def test_a_folder_without_pictures_or_for_no_results_is_refused(folder, photo, negative):
    os.mkdir("none")
    done = run("stylize", "none", "a sketch")
    assert done.exit_code == 2 and "the folder none holds no pictures: looked for .avif" in plain(done.stderr)
    done = run("stylize", ".", "a sketch", "-o", "one.png")
    assert done.exit_code == 2 and "one.png is one file, and there are several results" in plain(done.stderr)


# ---------------------------------------------------------------------------------------------- photographs and prompts


def test_every_photograph_is_restyled_after_every_prompt(photo, negative):
    os.mkdir("results")
    images.save(images.load(photo), "dog.png")
    photo.with_name("prompts.txt").write_text("# mine\n\nan oil painting\n  a mosaic\n")
    words = ["a sketch", "--also", "neon lights", "--prompt-file", "prompts.txt", "-o", "results"]
    done = run("stylize", photo, "dog.png", *words)
    assert done.exit_code == 0, done.stderr
    slugs = ("a-mosaic", "a-sketch", "an-oil-painting", "neon-lights")
    assert sorted(os.listdir("results")) == [f"{name}_{slug}.png" for name in ("cat", "dog") for slug in slugs]
    assert [call["prompt"] for call in negative[:4]] == ["a sketch", "neon lights", "an oil painting", "a mosaic"]
    assert images.read_metadata("results/dog_a-mosaic.png")["prompt"] == "a mosaic"


def test_a_picture_s_name_is_a_photograph_and_a_folder_only_where_a_prompt_is_known(photo, negative):
    os.mkdir("mosaic")
    images.save(images.load(photo), "mosaic/dog.png")
    assert run("stylize", photo, "mosaic").stdout == "saved cat_mosaic.png\n"
    assert run("stylize", photo, "mosaic", "--also", "a sketch").stdout.split()[1::2] == [
        "cat_a-sketch.png", "dog_a-sketch.png",
    ]
    run("stylize", "mosaic/dog.png", photo, "--style", photo, "--recipe", "gram_clip")
    assert {"dog_cat.png", "cat_cat.png"} <= set(names(photo.parent))
    assert "there is no file dgo.png" in plain(run("stylize", "dgo.png", "a sketch").stderr)


def test_no_result_takes_the_file_of_another(photo, negative):
    os.mkdir("a")
    images.save(images.load(photo), "a/cat.jpg")
    assert run("stylize", photo, "a/cat.jpg", "a sketch", "--also", "a: sketch!").exit_code == 0
    assert len(names(photo.parent)) == 2 + 4


def test_names_that_meet_after_they_were_numbered_are_numbered_on(photo, negative):
    done = run("stylize", photo, "ink", "--also", "ink_2", "--also", "Ink")
    assert done.exit_code == 0 and len([name for name in names(photo.parent) if name.startswith("cat_ink")]) == 3


def test_where_one_of_several_fails_the_others_are_made_and_it_is_named(photo, negative, monkeypatch):
    restyle = command.restyle

    def fails(source, prompt, **options):
        if prompt == "neon":
            raise FloatingPointError("the loss 'mse' became nan")
        return restyle(source, prompt, **options)

    monkeypatch.setattr(command, "restyle", fails)
    done = run("stylize", photo, "lost.jpg", "a sketch", "--also", "neon", "--also", "a mosaic")
    assert done.exit_code == 2
    assert names(photo.parent) == ["cat.jpg", "cat_a-mosaic.png", "cat_a-sketch.png"]
    said = plain(done.stderr)
    assert "cat.jpg, neon: the loss 'mse' became nan" in said and "there is no file lost.jpg" in said
    assert "4 of 6 failed, the others are saved: cat.jpg, neon; lost.jpg, a sketch; lost.jpg, neon;" in said


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "there is no file prompts.txt"),
        (b"# none\n\n", "prompts.txt holds no prompts: write one a line"),
        (b"\xff\xfe\x00a", "prompts.txt is not a text in UTF-8: write one prompt a line"),
    ],
)
def test_a_bad_file_of_prompts_is_refused(photo, negative, data, message):
    if data is not None:
        photo.with_name("prompts.txt").write_bytes(data)
    assert message in refused("stylize", photo, "--prompt-file", "prompts.txt", folder=photo.parent)
    told = "is a folder: name a text file with one prompt a line"
    assert told in refused("stylize", photo, "--prompt-file", photo.parent, folder=photo.parent)


# ---------------------------------------------------------------------------------------------------------- bad input


def refused(*arguments, folder):
    """What is said on stderr when the command is refused: exit code 2, no traceback, no file."""
    before = names(folder)
    done = run(*arguments)
    assert done.exit_code == 2, (done.stdout, done.stderr, done.exception)
    assert done.stdout == "" and "Traceback" not in done.stderr
    assert names(folder) == before
    return plain(done.stderr)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "there is no file bad.png: check the spelling and the folder"),
        (b"", "bad.png is empty (0 bytes): copy or download it again"),
        (b"hello", "bad.png is not a picture that can be read: give a PNG"),
        ("truncated", "bad.png is damaged or cut short"),
        ((1, 1), "bad.png is 1x1 pixels, too small"),
        ((400, 20), "the picture is 400x20, longer than 4:1: cut it first, or use fit 'crop'"),
    ],
)
def test_a_bad_photograph_is_refused_with_the_cure(folder, negative, data, message):
    if data == "truncated":
        Image.effect_noise((64, 64), 50).save("bad.png")
        data = (folder / "bad.png").read_bytes()[:900]
    if isinstance(data, tuple):
        Image.new("RGB", data).save("bad.png")
    elif data is not None:
        (folder / "bad.png").write_bytes(data)
    assert message in refused("stylize", "bad.png", "a sketch", folder=folder)
    assert not negative


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["a sketch", "--recipe", "zeco"], "there is no recipe 'zeco'; did you mean 'zecon'?"),
        (["a sketch", "--weight", "zecno=1"], "there is no loss 'zecno'; did you mean 'zecon'?"),
        (["a sketch", "--weight", "zecon"], "a weight must be NAME=VALUE, as in zecon=500; got 'zecon'"),
        (["a sketch", "--weight", "zecon=much"], "got 'zecon=much'"),
        (["a sketch", "--weight", "zecon=nan"], "a weight must be a finite number; got 'zecon=nan'"),
        (["a sketch", "--profile", "tny"], "there is no profile 'tny'; did you mean 'tiny'?"),
        (["a sketch", "--device", "abacus"], "the device 'abacus' is not there"),
        (["a sketch", "--steps", "5", "--skip", "5"], "skip must leave at least one of the 5 steps"),
        (["a sketch", "--size", "13"], "size must be a positive multiple of"),
        (["a sketch", "--size", "40000000"], "not enough memory on cpu"),
        (["a sketch", "--fit", "stretch"], "'stretch' is not one of"),
        (["a sketch", "--batch", "0"], "Invalid value for '--batch'"),
        (["  "], "the prompt is empty: say what the photograph shall look like"),
        (["a sketch", "-o", "nowhere/out.png"], "there is no folder nowhere: make it first, or save elsewhere"),
        (["a sketch", "-o", "out.bmp"], "the name 'out.bmp' must end in one of .png, .jpg, .jpeg, .webp: try out.png"),
        ([], "the recipe 'zecon' is guided by text: give a prompt"),
        (["--style", "cat.jpg"], "the recipe 'zecon' is guided by text: give a prompt"),
        (["a sketch", "--style", "cat.jpg"], "does not read a style picture: leave it out, or take diffuseit_image"),
        (["--recipe", "gram_clip"], "takes its style from a picture, and there is none"),
        (["a sketch", "--recipe", "gram_clip", "--style", "cat.jpg"], "does not read the prompt: give one of them"),
        (["--recipe", "gram_clip", "--style", "lost.png"], "there is no file lost.png"),
    ],
)
def test_a_bad_option_is_refused_with_the_cure_before_any_work(photo, negative, options, message):
    assert message in refused("stylize", photo, *options, folder=photo.parent)
    assert not negative


def test_a_read_only_folder_is_refused_before_any_work(photo, negative, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    said = refused("stylize", photo, "a sketch", folder=photo.parent)
    assert "the folder . may not be written: save elsewhere" in said
    assert not negative


def test_a_file_without_settings_is_refused_by_info(photo):
    assert "cat.jpg carries no settings" in refused("info", photo, folder=photo.parent)
    assert "there is no file lost.png" in refused("info", "lost.png", folder=photo.parent)


def test_a_name_with_brackets_is_printed_as_it_is(folder, negative):
    assert "there is no file [red]cat[/].png" in refused("stylize", "[red]cat[/].png", "a sketch", folder=folder)


def test_an_interruption_ends_with_130_and_leaves_no_file(photo, negative, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "restyle", interrupted)
    done = run("stylize", photo, "a sketch")
    assert done.exit_code == 130 and "interrupted: no half-written file is left behind" in plain(done.stderr)
    assert names(photo.parent) == ["cat.jpg"]


def test_a_warning_becomes_a_sentence_and_other_categories_stay_quiet(photo, negative, monkeypatch):
    restyle = command.restyle

    def warns(*arguments, **options):
        warnings.warn("the word 'penicl' is not known; the nearest: pencil", UserWarning, stacklevel=2)
        warnings.warn("old", DeprecationWarning, stacklevel=2)
        return restyle(*arguments, **options)

    monkeypatch.setattr(command, "restyle", warns)
    done = run("stylize", photo, "a penicl sketch")
    assert done.exit_code == 0
    assert plain(done.stderr).strip() == "warning: the word 'penicl' is not known; the nearest: pencil"


def test_a_fault_of_ours_is_not_dressed_up_as_the_user_s(photo, negative, monkeypatch):
    monkeypatch.setattr(images, "unpad", lambda *_: {}["fault"])
    done = run("stylize", photo, "a sketch", "--fit", "pad")
    assert isinstance(done.exception, KeyError)


# ------------------------------------------------------------------------------------------- with the bundled networks

QUICK = ["--steps", 6, "--skip", 3]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_picture(photo):
    for name, seed in (("a.png", 1), ("b.png", 1), ("c.png", 2)):
        assert run("stylize", photo, "a pencil sketch", "-o", name, "--seed", seed, *QUICK).exit_code == 0
    a, b, c = (photo.with_name(name).read_bytes() for name in ("a.png", "b.png", "c.png"))
    assert a == b and a != c
    assert images.load("a.png").shape == images.fit(images.load(photo), 64).shape
    wanted = {"prompt": "a pencil sketch", "seed": "1", "steps": "6", "skip": "3", "recipe": "zecon"}
    assert wanted.items() <= images.read_metadata("a.png").items()


@pytest.mark.parametrize("recipe", recipes.RECIPES)
def test_every_recipe_restyles_a_photograph_of_any_shape(folder, recipe):
    images.save(images.fit(images.photograph("rocket"), 96)[..., :96, :120], "rocket.png")
    asked = ["--style", "rocket.png"] if "style" in recipes.RECIPES[recipe].reads else ["an oil painting"]
    done = run("stylize", "rocket.png", *asked, "-r", recipe, "-o", "out.png", *QUICK)
    assert done.exit_code == 0, done.stderr
    result, source = images.load("out.png"), images.fit(images.load("rocket.png"), 64)
    assert result.shape == source.shape and not result.equal(source)


def test_a_reader_that_has_seen_enough_is_no_error(capsys):
    from zecon_lite.cli.common import plain_messages

    with pytest.raises(BrokenPipeError), plain_messages():
        raise BrokenPipeError
    assert capsys.readouterr().err == ""


def test_an_unknown_word_is_warned_of_with_the_nearest_known(photo):
    done = run("stylize", photo, "a penicl sketch", "-o", "out.png", *QUICK)
    assert done.exit_code == 0
    assert re.search(r"warning: .*'penicl'.*pencil", plain(done.stderr))


def test_a_loss_that_breaks_stops_the_run_and_is_named(photo, monkeypatch):
    monkeypatch.setitem(recipes.LOSSES, "mse", lambda *_: lambda state: state.x0.sum() * torch.nan)
    said = refused("stylize", photo, "a pencil sketch", "--weight", "mse=1", *QUICK, folder=photo.parent)
    assert "the loss 'mse' became nan at position 2" in said


def test_a_profile_is_read_from_its_name(photo, negative):
    run("stylize", photo, "a sketch", "--profile", "ffhq256", "--device", "cpu", "-o", "out.png")
    assert negative[0]["source"].shape[-2] == profiles.PROFILES["ffhq256"].size == 256


# ------------------------------------------------------------------------------------------- pictures of the user's own


def test_a_result_is_never_written_over_what_it_is_made_from(photo, negative):
    before = photo.read_bytes()
    for command in (("stylize", photo, "a sketch"), ("edit", photo, "a cat", "-s", "a dog")):
        done = run(*command, "-o", photo)
        assert done.exit_code == 2 and "write the result elsewhere" in plain(done.stderr), done.stderr
    assert photo.read_bytes() == before and not negative


def test_results_in_a_folder_are_not_taken_for_photographs(photo, negative):
    for _ in range(2):
        done = run("stylize", photo.parent, "a sketch", "-o", photo.parent)
        assert done.exit_code == 0, done.stderr
    assert names(photo.parent) == ["cat.jpg", "cat_a-sketch.png"] and len(negative) == 2
    assert "1 of the pictures in" in plain(done.stderr) and "are left out" in plain(done.stderr)


def test_a_name_that_the_terminal_cannot_show_is_no_failure(photo, folder):
    name = folder / "\u65e5\u672c.png"
    images.save(images.load(photo), name, {"software": "zecon_lite 0", "prompt": "a \u65e5"})
    done = subprocess.run(
        [sys.executable, "-m", "zecon_lite", "info", str(name)], capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.name != "posix", reason="folders that may not be written are made the POSIX way")
def test_an_evaluation_asks_first_whether_it_may_write(folder, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    done = run("evaluate", "--recipe", "sdedit", "-o", "scores.json")
    assert done.exit_code == 2 and "may not be written: name another with --output" in plain(done.stderr)
