"""Every notebook runs to its end with the full profile, `imagenet256`, its published files in miniature."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fabricate
import miniature
import pytest
from conftest import ROOT

from zecon_lite import images, load_models, stylize, weights

sys.path.insert(0, str(ROOT / "book/scripts"))
import costs

PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
pytest.importorskip("diffusers")


def program(*arguments, folder, **more):
    """A Python program of one thread, whose kernels start with the networks in miniature; its output."""
    env = {
        **os.environ,
        **more,
        "CI": "1",    # no progress bars
        "IPYTHONDIR": str(folder / "ipython"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT / "tests"),
        "ZECON_LITE_HOME": str(folder / "home"),
    }
    return subprocess.run([sys.executable, *map(str, arguments)], env=env, capture_output=True, text=True)


def notebook(path, folder):
    """The run of a notebook by papermill, and the file with the names of the published files that it read."""
    options = ["-p", "profile", "imagenet256", "--cwd", path.parent, "-k", "python3", "--no-progress-bar"]
    options += ["--execution-timeout", 600, "--start-timeout", 300, "--log-level", "WARNING"]
    found = folder / f"{path.stem}.found"
    done = program("-m", "papermill", path, folder / path.name, *options, folder=folder, FOUND=str(found))
    return done, found


@pytest.fixture(scope="session")
def runs(request, tmp_path_factory):
    """name -> the run of a notebook, for those that this session tests; as many at once as there are cores."""
    folder = tmp_path_factory.mktemp("miniature")
    (folder / "home").mkdir()
    startup = folder / "ipython/profile_default/startup"
    startup.mkdir(parents=True)
    (startup / "00-start.py").write_text(miniature.START)    # not miniature.py, which it would then import
    written = program(Path(miniature.__file__), folder / "home", folder=folder)
    assert written.returncode == 0, written.stderr[-3000:]
    wanted = [
        item.callspec.params["path"] for item in request.session.items if "runs" in getattr(item, "fixturenames", ())
    ]
    with ThreadPoolExecutor(max(1, min(os.cpu_count() or 1, 4))) as pool:
        yield {path: pool.submit(notebook, path, folder) for path in wanted}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_notebook_runs_with_the_published_networks_in_miniature(path, runs):
    done, found = runs[path].result()
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert set(found.read_text().split()) == {file.name for file in costs.files(path)}, "tell it in ASKED of costs.py"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The networks of the full profile in miniature, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("ZECON_LITE_HOME", str(folder))
        fabricate.shrink(patch, miniature.SIZE)
        miniature.write(folder)
        fabricate.own_hashes(patch)
        yield load_models("imagenet256", "cpu")


def test_the_stand_ins_are_all_that_the_profile_reads_and_pass_for_the_published_files(models):
    assert models.size == models.latent.size == miniature.SIZE and models.latent.multiple == miniature.SIZE
    for name in models.NETWORKS:
        assert getattr(models, name) is not None
    for files in map(weights.MANIFEST.get, [*miniature.NAMES, "stable-diffusion-v1-5"]):
        assert all(weights.verify(file) is None for file in files)


@pytest.mark.parametrize("recipe", ["zecon", "diffuseit_image"])
def test_a_picture_keeps_its_shape_whatever_squares_clip_and_vit_are_shown(models, recipe):
    source = images.fit(images.photograph("cat"), models.size, multiple=models.multiple)
    assert source.shape[-2:] == (64, 96)
    asked = {"style": -source} if recipe == "diffuseit_image" else {"prompt": "a mosaic"}
    result = stylize(source, **asked, models=models, recipe=recipe, steps=4, skip=3)
    assert result.image.shape == source.shape and not result.image.equal(source)
