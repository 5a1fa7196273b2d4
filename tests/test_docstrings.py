"""The examples in docstrings, which the API pages show, do what they say."""

import doctest
from importlib import import_module

import pytest
from test_dependencies import MODULES, ROOT


def dotted(path):
    """zecon_lite/losses/clip.py -> zecon_lite.losses.clip."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


WITH_EXAMPLES = [dotted(path) for path in MODULES if ">>> " in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_in_docstrings_do_what_they_say(name):
    found = doctest.testmod(import_module(name))
    assert found.attempted > 0, f"no example of {name} was tried: does it stand in a docstring?"
    assert found.failed == 0, f"{found.failed} of {found.attempted} examples of {name}: see above"


def test_the_core_shows_by_example():
    assert {f"zecon_lite.{name}" for name in ("schedule", "images", "recipes", "presets")} <= set(WITH_EXAMPLES)
    assert sum(name.startswith("zecon_lite.losses") for name in WITH_EXAMPLES) >= 4
