"""What the project depends on, and which of its own modules may import which."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile

import pytest
import yaml
from colab import needed_by
from conftest import ROOT, missing
from test_project import tracked

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGE = ROOT / "zecon_lite"
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))

# Import from a lower row only. Modules of one folder (losses, models, ...) count as one row and may import each other.
ROWS = [
    {"progress", "files", "memory"},
    {"images", "schedule", "augment", "state", "models", "weights", "colour"},
    {"denoiser", "guidance", "cost", "provenance"},
    {"samplers", "losses"},
    {"latents"},
    {"adapters"},
    {"show", "tiny"},
    {"profiles"},
    {"terms", "ways"},
    {"recipes", "metrics", "scores", "finetune"},
    {"stylize", "distill", "presets"},
    {"benchmark", "rerun", "exercises", "lookalikes"},
    {"evaluate"},
    {"widgets", "cli"},
    {"__main__"},
]
ROW = {name: number for number, row in enumerate(ROWS) for name in row}
# Slow to import, or needed by few: only inside functions, but for the modules that are about one of them.
WIDGETS, TERMINAL = {"anywidget", "traitlets", "ipywidgets", "IPython"}, {"typer", "rich"}
LAZY = {"matplotlib", "peft", "open_clip", "timm", "skimage", "scipy", "torchvision"} | WIDGETS | TERMINAL
LAZY |= {"diffusers", "transformers"}
OWN_DOOR = {"widgets": WIDGETS, "cli": TERMINAL, "tiny/image_tower.py": {"timm"}}


def row_name(path):
    """The module or folder right under the package that a file belongs to: losses/clip.py -> losses."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """(module, at the top of the file?) for each import of a file; those under TYPE_CHECKING are for readers only."""
    def walk(node, top):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                package = path.relative_to(ROOT).with_suffix("").parts
                base = ".".join(package[: len(package) - child.level]) if child.level else ""
                whole = ".".join(part for part in (base, child.module) if part)
                if whole == "zecon_lite":                   # `from . import images` names modules
                    yield from ((f"zecon_lite.{alias.name}", top) for alias in child.names)
                else:
                    yield whole, top
            else:
                yield from walk(child, top and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    return list(walk(ast.parse(path.read_text(encoding="utf-8")), True))


def requirements(*extras):
    """The requirements of the package and of the extras named; of all extras when none is named."""
    optional = PROJECT["optional-dependencies"]
    return [*PROJECT["dependencies"], *(r for extra in extras or optional for r in optional[extra])]


def within(path):
    return path.relative_to(PACKAGE).as_posix()


def normalised(requirement):
    """'Open_CLIP-torch>=2.24' -> ('open-clip-torch', '>=2.24')."""
    name, rest = re.fullmatch(r"([\w.-]+(?:\[[\w,]+\])?)\s*(.*)", requirement).groups()
    return re.sub(r"[-_.]+", "-", name).lower(), rest.replace(" ", "")


@pytest.mark.parametrize("path", [path for path in MODULES if within(path) != "__init__.py"], ids=within)
def test_imports_point_downwards(path):
    here = row_name(path)
    assert here in ROW, f"say in which row of this test {here} belongs"
    for module, _ in imports(path):
        if not module.startswith("zecon_lite.") or module.startswith("zecon_lite.__"):
            continue
        there = module.split(".")[1]
        if there != here:
            assert ROW[there] < ROW[here], f"{here} may not import {there}"


@pytest.mark.parametrize("path", MODULES, ids=within)
def test_heavy_libraries_are_imported_where_they_are_used(path):
    top = {module.split(".")[0] for module, at_top in imports(path) if at_top}
    assert not (top & LAZY) - OWN_DOOR.get(row_name(path), set()) - OWN_DOOR.get(within(path), set())


def test_importing_the_package_is_light_and_opens_no_connection():
    program = """
import socket, sys
def refuse(*args, **kwargs):
    raise SystemExit(f"importing zecon_lite opened a connection: {args}")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
import zecon_lite
print(*sorted({name.split(".")[0] for name in sys.modules} & set(sys.argv[1:])))
"""
    done = subprocess.run([sys.executable, "-c", program, *LAZY], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [], "these were imported with the package"


def test_requirements_are_lower_bounds():
    for requirement in requirements():
        name, rest = normalised(requirement)
        # Jupyter Book 2 is another program, with other settings; the book is written for the first.
        assert re.fullmatch(r">=[\d.]+" + (",<2" if name == "jupyter-book" else "") + r"(;.*)?", rest), requirement


def test_the_widgets_that_colab_s_kernel_holds_are_kept():
    """Colab has ipywidgets 7.7.1; a newer one asks for a restart there, and its controls may not be drawn."""
    assert ("ipywidgets", ">=7.7") in map(normalised, requirements())


def test_every_imported_library_is_required():
    required = {normalised(r)[0] for r in requirements()}
    names = {"PIL": "pillow", "skimage": "scikit-image", "open_clip": "open-clip-torch", "yaml": "pyyaml"}
    names |= {"traitlets": "ipywidgets", "IPython": "ipywidgets", "nbformat": "papermill"}        # which bring them
    names |= {"filelock": "torch"}
    names |= {"nbconvert": "jupyterlab", "jinja2": "jupyter-book", "pygments": "jupyter-book"}
    names |= {"sphinx": "jupyter-book", "docutils": "jupyter-book"}
    ours = {"zecon_lite", *(path.stem for path in [*(ROOT / "tests").glob("*.py"), *(ROOT / "book").rglob("*.py")])}
    for path in [*MODULES, *(ROOT / "tests").glob("*.py"), *(ROOT / "book").rglob("*.py")]:
        for module, _ in imports(path):
            top = module.split(".")[0]
            if top not in sys.stdlib_module_names and top not in ours:
                assert names.get(top, top).replace("_", "-").lower() in required, f"{path.name} imports {top}"


def test_the_conda_environment_leaves_everything_to_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *conda, last = environment["dependencies"]
    assert conda == [f"python{PROJECT['requires-python']}", "pip"]
    assert last == {"pip": ["-e .[book,latent,finetune,test]"]}
    assert {"book", "test"} <= set(PROJECT["optional-dependencies"])
    assert environment["name"] == PROJECT["name"]


def test_the_constraints_pin_what_is_required():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {normalised(line)[0] for line in lines if not line.startswith("#")}
    assert "zecon-lite" not in pinned
    assert all(re.fullmatch(r"[\w.-]+==\S+", line) for line in lines if not line.startswith("#"))
    for requirement in requirements("book", "latent", "finetune", "test"):
        name, rest = normalised(requirement)
        if ";" not in rest:
            assert name in pinned, f"add {name} to constraints.txt"


def test_the_constraints_pin_all_that_is_installed_for_it():
    lines = [line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    pinned = {normalised(name)[0]: version for name, version in lines}
    asked = [normalised(requirement)[0] for requirement in requirements() if ";" not in requirement]
    found = {normalised(dist.name)[0]: dist.version.split("+")[0] for dist in needed_by(*asked)}
    if any(pinned.get(name, version) != version for name, version in found.items()):
        # Newer versions may need other libraries. CI installs those of the file, and with Python 3.11 alone.
        (missing if sys.version_info[:2] == (3, 11) else pytest.skip)("others than the pinned versions are installed")
    assert set(found) - set(pinned) <= {"pip", "setuptools", "wheel"}, "add it to constraints.txt"


def test_the_wheel_holds_scripts_and_weights(tmp_path):
    from hatchling.builders.wheel import WheelBuilder

    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    packed = set(zipfile.ZipFile(wheel).namelist())
    for path in (path for path in tracked() if path.is_relative_to(PACKAGE)):
        assert path.relative_to(ROOT).as_posix() in packed, f"the wheel lacks {path.relative_to(ROOT)}"
    assert any(name.endswith(".safetensors") for name in packed) and any(name.endswith(".js") for name in packed)
