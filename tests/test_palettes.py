"""Colours that readers with any colour vision can tell apart: lines, colour maps, and who uses others."""

from __future__ import annotations

import ast
import itertools
import json
import re

import numpy as np
import pytest
from conftest import ROOT
from skimage.color import deltaE_ciede2000, rgb2lab

from zecon_lite import show

# Machado, Oliveira & Fernandes 2009, "A physiologically-based model for simulation of color vision deficiency",
# severity 1.0: what linear RGB becomes.
VISION = {
    "typical": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
# Perceptually uniform, and one that runs both ways from white: red and blue are what nobody confuses.
MAPS = {"viridis", "cividis", "magma", "gray", "RdBu"}
# Besides the palette: what is drawn on pictures or recedes behind the lines, and carries no meaning by itself.
NEUTRAL = {"black", "white", "grey", "none", "k", "w"}
# How matplotlib is told a map or a colour by name, and by position: marker and line about a letter, as in "r--".
MAP = re.compile(r"""(?:\b(?:cmap|colormap)=|colormaps\[|[gs]et_cmap\()["'](\w+)["']|\bcm\.(?!get_cmap\b)(\w+)""")
COLOUR = re.compile(r"""\b(?:c|ec|fc|mfc|mec|\w*colors?)=["']([^"']+)["']""")
DRAWING = {"plot", "errorbar", "loglog", "semilogx", "semilogy", "fill", "triplot"}
MARKS = r"[-:.,ov^<>1-8spP*hH+xXDd|_]*"
APART = 9.0             # CIEDE2000; two patches side by side differ clearly from about 5


def seen(colours, vision):
    """sRGB (N, 3) in [0, 1] -> CIE Lab (N, 3), as somebody with this vision sees them."""
    colours = np.asarray(colours, float)
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    linear = (linear @ np.asarray(VISION[vision]).T).clip(0, 1)
    again = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return rgb2lab(again)


def rgb(code):
    return [int(code[k : k + 2], 16) / 255 for k in (1, 3, 5)]


def nearest(colours, vision):
    lab = seen([rgb(colour) for colour in colours], vision)
    return min((float(deltaE_ciede2000(lab[a], lab[b])), colours[a], colours[b])
               for a, b in itertools.combinations(range(len(colours)), 2))


@pytest.mark.parametrize("vision", VISION)
def test_lines_of_different_colour_look_different(vision):
    distance, one, other = nearest(show.COLOURS, vision)
    assert distance >= APART, f"{one} and {other} are {distance:.1f} apart"


def test_the_check_notices_red_and_green_of_one_lightness():
    assert nearest(("#2ca02c", "#d62728"), "typical")[0] > 40
    assert nearest(("#9a8a00", "#c47a00", "#5f9e00"), "deuteranopia")[0] < APART


def test_lines_differ_by_dashes_too():
    assert len(set(show.LINES)) == len(show.LINES) >= 4


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("name", sorted(MAPS - {"RdBu"}))
def test_a_colour_map_grows_lighter_all_the_way(name, vision):
    import matplotlib

    lightness = seen(matplotlib.colormaps[name](np.linspace(0, 1, 32))[:, :3], vision)[:, 0]
    assert (np.diff(lightness) > 0).all() and lightness[-1] - lightness[0] > 60


@pytest.mark.parametrize("vision", VISION)
def test_the_two_ends_of_the_map_with_a_middle_cannot_be_confused(vision):
    import matplotlib

    low, middle, high = seen(matplotlib.colormaps["RdBu"]([0.1, 0.5, 0.9])[:, :3], vision)
    assert deltaE_ciede2000(low, high) > 20
    assert middle[0] - max(low[0], high[0]) > 30


def sources():
    """The code of every figure: package, scripts of the book, code cells of the notebooks."""
    for path in [*(ROOT / "zecon_lite").rglob("*.py"), *(ROOT / "book/scripts").glob("*.py")]:
        yield path.name, path.read_text(encoding="utf-8")
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        yield path.name, "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def formats(text):
    """The colours in what plotting functions are handed by position: "r" of "r--", "green" of "green"."""
    from matplotlib.colors import is_color_like

    lines = re.sub(r"^([ \t]*)[%!]+\w.*$", r"\1pass", text, flags=re.M)    # what notebooks say to IPython or the shell
    calls = [node for node in ast.walk(ast.parse(lines)) if isinstance(node, ast.Call)]
    for call in (call for call in calls if getattr(call.func, "attr", "") in DRAWING):
        for value in (value.value for value in call.args if isinstance(value, ast.Constant)):
            letter = re.fullmatch(rf"{MARKS}(C\d|[bgrcmyk]|w){MARKS}", str(value))
            if isinstance(value, str) and (letter or is_color_like(value)):
                yield letter[1] if letter else value


def strangers(text):
    """Colour maps and named colours in code that are neither in the lists above nor the palette."""
    maps = {one or other for one, other in MAP.findall(text)} - MAPS
    return maps | {*COLOUR.findall(text), *formats(text)} - NEUTRAL - set(show.COLOURS)


def test_no_figure_uses_other_colours():
    found = {name: others for name, text in sources() if (others := strangers(text))}
    assert not found, found


def test_a_figure_with_other_colours_would_be_found():
    assert strangers('ax.imshow(x, cmap="jet")') == {"jet"}
    assert strangers('ax.plot(x, color="tab:red")') == {"tab:red"}
    assert not strangers('ax.imshow(x, cmap="viridis"); ax.plot(x, color=show.COLOURS[0])')


@pytest.mark.parametrize(("code", "found"), [
    ('plt.get_cmap("jet")', "jet"), ("plt.imshow(x, cmap=plt.cm.jet)", "jet"), ('plt.set_cmap("hot")', "hot"),
    ('matplotlib.colormaps["jet"]', "jet"), ('matplotlib.colormaps.get_cmap("jet")', "jet"),
    ('ax.scatter(x, y, c="r")', "r"), ('ax.plot(x, y, mfc="lime")', "lime"),
    ('ax.plot(x, markeredgecolor="#f00")', "#f00"),
    ('ax.plot(x, y, "r--")', "r"), ('ax.loglog(x, y, "--og")', "g"), ('ax.plot(x, "C1")', "C1"),
    ('%pip install x\nif a:\n    !ls\nax.errorbar(x, y, e, None, "green")', "green"),
])
def test_a_colour_is_found_however_it_is_said(code, found):
    assert strangers(code) == {found}


@pytest.mark.parametrize("code", [
    'plt.get_cmap("viridis")', "plt.cm.viridis(x)", 'ax.plot(x, y, "--")', 'ax.plot(x, y, "ko", mfc="white")',
    'ax.scatter(x, y, c=show.COLOURS[0])', 'rows.step("red")["r"]', 'ax.plot(x["b"], y["c"], "o")',
])
def test_a_colour_of_the_lists_or_what_is_no_colour_is_let_pass(code):
    assert not strangers(code)


def test_the_explorer_in_the_page_uses_viridis():
    import matplotlib

    script = (ROOT / "zecon_lite/widgets/similarity.js").read_text(encoding="utf-8")
    stops = re.findall(r'"([0-9a-f]{6})"', re.search(r"VIRIDIS = \[(.*?)\]", script, re.S)[1])
    wanted = matplotlib.colormaps["viridis"](np.linspace(0, 1, len(stops)))[:, :3]
    assert len(stops) == 17
    np.testing.assert_allclose([rgb(f"#{stop}") for stop in stops], wanted, atol=1 / 255)
