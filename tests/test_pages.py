"""What the book does to a finished page: book/_ext/zecon_pages.py, and its work in the built book."""

from __future__ import annotations

import fnmatch
import json
import re
import sys
from urllib.parse import parse_qs, urlparse

import pytest
from conftest import ROOT
from PIL import Image
from test_book import PAGES
from test_dependencies import MODULES
from test_docstrings import dotted
from test_links import REPOSITORY

from zecon_lite import __version__

sys.path.insert(0, str(ROOT / "book/_ext"))
sys.path.insert(0, str(ROOT / "book/scripts"))
import browser_seconds
from zecon_pages import apart, drawing, repaired, report_address, sized

NAMES = [dotted(path) for path in MODULES]
# Patterns of modules that the API does not show -> why.
NOT_IN_THE_API = {
    **dict.fromkeys(["zecon_lite", *(f"zecon_lite.{name}" for name in ("losses", "models", "tiny", "widgets"))],
                    "only gathers what stands there module by module"),
    **dict.fromkeys(["zecon_lite.weights.*", "zecon_lite.tiny.world.*"], "shown by its package"),
    **dict.fromkeys([f"zecon_lite.{name}" for name in ("files", "progress", "widgets.charts", "widgets.markup")],
                    "serves other modules alone"),
    "zecon_lite.cli*": "`zecon-lite --help` shows it",
    "zecon_lite.__main__": "the same command line",
    "zecon_lite.exercises.[!g]*": "holds solutions, which a reader is to find",
    "zecon_lite.tiny.[!w]*": "how the bundled networks were built and trained: CONTRIBUTING.md has the commands",
}
LIBRARY = '{"file-pdf":[512,512,[],"f1c1","M1 2z"],bars:[448,512,["navicon"],"f0c9","M3 4z"]}'


def test_a_report_names_page_version_and_repository():
    address = urlparse(report_address(REPOSITORY, "notebooks/07_zecon", "9.8"))
    asked = {key: value for key, (value,) in parse_qs(address.query).items()}
    assert f"https://{address.netloc}{address.path}" == f"{REPOSITORY}/issues/new"
    assert "notebooks/07_zecon" in asked["title"] and "9.8" in asked["title"]
    assert "zecon_lite 9.8" in asked["body"] and "What I expected" in asked["body"]


@pytest.mark.parametrize("name", PAGES)
def test_every_page_offers_to_report_a_problem_with_it(html, name):
    page = (html / f"{name}.html").read_text(encoding="utf-8")
    address = report_address(REPOSITORY, name).replace("&", "&amp;")
    assert f'<a class="report" href="{address}">Report a problem with this page</a>' in page
    assert page.count("issues/new") == 2 and f"Version {__version__}." in page


def test_an_icon_is_drawn_into_the_page_and_needs_no_script():
    page = '<script defer src="../_static/scripts/fontawesome.js?digest=1"></script><i class="fas fa-file-pdf"></i>'
    icons = {}
    page += '<span class="theme-switch fa-solid  fa-bars fa-lg" title="x" data-mode="y"></span>'
    found = repaired(page, LIBRARY, icons)
    assert "script" not in found and found.count("<svg") == 2 and set(icons) == {"file-pdf", "bars"}
    assert 'class="svg-inline--fa theme-switch fa-solid fa-bars fa-lg" data-mode="y" aria-hidden="true"' in found
    assert 'd="M1 2z"' in found and "title" not in found


def test_every_picture_has_its_size_so_that_nothing_moves_when_it_comes(tmp_path):
    (tmp_path / "_images").mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "_images/a.png")
    (tmp_path / "_images/b.svg").write_text('<svg viewBox="0 0 90 40"></svg>')
    page = '<img alt="x" src="_images/a.png" /><img alt="y" src="_images/b.svg"><img src="_static/c.png">'
    found = sized(page, tmp_path)
    assert found == page.replace("<img a", '<img width="30" height="20" a', 1).replace(
        '<img alt="y"', '<img width="90" height="40" alt="y"'
    )
    assert sized(found, tmp_path) == found


def test_a_short_formula_keeps_the_full_stop_behind_it():
    formula = '<span class="math notranslate nohighlight">\\(x_t\\)</span>'
    assert repaired(f"{formula}. So", LIBRARY, {}) == f'<span class="kept">{formula}.</span> So'
    assert repaired(f"{formula} so", LIBRARY, {}) == f"{formula} so"
    name = '<code><span class="pre">self_similarity()</span></code>'
    assert repaired(name, LIBRARY, {}) == name.replace("f_s", "f_<wbr>s")


def test_an_icon_that_the_theme_does_not_have_is_said():
    with pytest.raises(RuntimeError, match="no icon teapot"):
        drawing(LIBRARY, "teapot")


def test_scripts_wait_for_the_page_except_where_they_search():
    scripts = '<script src="a/doctools.js"></script><script src="a/documentation_options.js"></script>'
    scripts += '\n<script src="../searchindex.js"></script><script>inline()</script>'
    found = repaired(scripts, LIBRARY, {})
    assert '<script defer src="a/doctools.js">' in found and '<script src="a/documentation_options.js">' in found
    assert "searchindex" not in found and "<script>inline()" in found
    assert repaired(scripts, LIBRARY, {}, search=True) == scripts


def test_what_draws_widgets_comes_in_order_when_it_is_wanted():
    scripts = [f'<script src="v/vendor/widgets/{name}.js"></script>' for name in ("require", "embed-amd")]
    scripts[1] = scripts[1].replace(" src", ' data-jupyter-widgets-cdn="./" src')
    view = '<script type="application/vnd.jupyter.widget-view+json">{}</script>'
    scripts.insert(1, '<script src="v/widget_paths.js"></script>')
    found = repaired(f"<head>{''.join(scripts)}</head><body>{view}</body>", LIBRARY, {})
    (listed,) = re.findall(r"const large = (\[.*\]);", found)
    assert json.loads(listed) == [["script[type$='widget-view+json']", [
        ["v/vendor/widgets/require.js", {}], ["v/widget_paths.js", {}],
        ["v/vendor/widgets/embed-amd.js", {"data-jupyter-widgets-cdn": "./"}],
    ]]]
    assert found.startswith(f"<head></head><body>{view}\n<script>{{") and 'addEventListener("load"' in found
    assert found.count("<script") == 2 and "async: false" in found
    assert repaired("<head></head>", LIBRARY, {}) == "<head></head>"
    assert repaired(f"<head>{''.join(scripts)}</head>", LIBRARY, {}) == "<head></head>"    # none is shown


def test_what_widgets_show_lies_in_a_script_that_comes_before_those_that_draw_it():
    view, kind = '<script type="application/vnd.jupyter.widget-view+json">{}</script>', "vnd.jupyter.widget-state+json"
    state = f'<script type="application/{kind}">{{"a": "</b>\\n"}}</script>'
    draw = '<script src="v/vendor/widgets/require.js"></script>'
    page, script = apart(f"<head>{state}{draw}</head>{view}", "07_zecon.widgets.js")
    assert page == f'<head>\n<script src="07_zecon.widgets.js"></script>{draw}</head>{view}'
    assert kind in script and json.loads(re.search(r"\{.*\}", script)[0])["text"] == '{"a": "</b>\\n"}'
    assert apart(f"<head>{state}{draw}</head>", "07_zecon.widgets.js") == (f"<head>{draw}</head>", "")
    listed = repaired(f"{page}</body>", LIBRARY, {})
    assert 0 < listed.index('"07_zecon.widgets.js"') < listed.index("require.js")


@pytest.mark.parametrize("shown", ['<p class="math">x</p>', "<p>x</p>"])
def test_formulas_are_set_when_one_comes_near(shown):
    script = '<script defer src="../_static/vendor/mathjax/tex-chtml-full.js?v=1"></script>'
    page = repaired(f"<head>{script}</head><body>{shown}</body>", LIBRARY, {})
    assert script not in page, "300 kB that the first screen can do without"
    assert ('[".math", [["../_static/vendor/mathjax/tex-chtml-full.js?v=1", {}]]]' in page) == ("math" in shown)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_no_script_that_it_does_not_use(html, name):
    text = (html / f"{name}.html").read_text(encoding="utf-8")
    scripts = " ".join(re.findall(r"<script[^>]*src=\"([^\"]+)\"", text))
    assert ("vendor/mathjax" in text) == ('class="math' in text)
    assert ("embed-amd.js" in text) == ("widget-view+json" in text)
    assert not re.search("mathjax|embed-amd|thebe|fontawesome|searchindex", scripts), "large ones come when wanted"


def test_a_picture_in_the_browser_takes_less_than_half_a_minute_as_recorded_and_the_page_says_how_long():
    record = json.loads(browser_seconds.RECORD.read_text(encoding="utf-8"))
    assert len(record["seconds"]) >= 3 and max(record["seconds"]) < browser_seconds.LIMIT == 30
    assert browser_seconds.FRAGMENT.read_text(encoding="utf-8") == browser_seconds.sentence(record)
    assert "```{include} assets/browser_seconds.md" in (ROOT / "book/in_your_browser.md").read_text(encoding="utf-8")


def test_the_scores_of_lighthouse_are_high():
    found = json.loads((ROOT / "book/assets/lighthouse.json").read_text(encoding="utf-8"))
    assert len(found["desktop"]) == len(found["phone"]) >= 4
    for name, page in [*found["desktop"].items(), *found["phone"].items()]:
        assert page["accessibility"] >= 95 and page["best-practices"] >= 95 and page["performance"] >= 90, name


def test_every_module_stands_in_the_api_or_is_named_with_the_reason_why_not():
    text = (ROOT / "book/api.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\.\. automodule:: (\S+)$", text, re.M)
    left_out = {name for pattern in NOT_IN_THE_API for name in fnmatch.filter(NAMES, pattern)}
    assert sorted([*shown, *left_out]) == sorted(NAMES), "show it in book/api.md, or say why not, and not both"
    assert all(fnmatch.filter(NAMES, pattern) for pattern in NOT_IN_THE_API), "nothing is left to leave out"


def test_the_api_shows_names_and_neither_addresses_nor_page_long_values(html):
    text = re.sub(r"<[^>]+>", "", (html / "book/api.html").read_text(encoding="utf-8"))
    assert "step: Callable" in text and "= ddpm_step" in text and "RECIPES" in text
    assert not re.search(r"&lt;(?:function|class|bound)|object at 0x|Path\(|~zecon_lite|site-packages", text)
    assert str(ROOT) not in text
