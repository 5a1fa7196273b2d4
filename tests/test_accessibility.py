"""Every page of the built book as readers with other eyes and hands meet it: axe-core's rules, dark mode, a phone."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import visit
from test_book import PAGES

AXE = (Path(__file__).parent / "js/vendor/axe/axe.min.js").read_text(encoding="utf-8")
WCAG = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
# The theme changes colours and nothing else, so in dark mode only these can change their answer.
COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}

# Pictures that let the page behind them through, where that page is dark and the picture was drawn for paper.
SEE_THROUGH = """() => [...document.querySelectorAll(".bd-article img")].filter((image) => {
  if (!image.checkVisibility() || getComputedStyle(image).backgroundColor === "rgb(255, 255, 255)") return false;
  const paint = Object.assign(document.createElement("canvas"), { width: 32, height: 32 }).getContext("2d");
  paint.drawImage(image, 0, 0, 32, 32);
  return paint.getImageData(0, 0, 32, 32).data.some((value, k) => k % 4 === 3 && value < 250);
}).map((image) => `${image.getAttribute("src").slice(0, 80)}: can be seen through, and the page is dark`)"""

# What makes a page wider than the screen: elements that leave their parents to the right, and that nothing scrolls.
TOO_WIDE = """() => {
  const wide = document.documentElement.scrollWidth, screen = document.documentElement.clientWidth;
  if (wide <= screen) return [];
  const beyond = (e) => e.getBoundingClientRect().right > screen + 1;
  const scrolled = (e) => e && (getComputedStyle(e).overflowX !== "visible" || scrolled(e.parentElement));
  const guilty = [...document.querySelectorAll("article *")].filter((e) =>
    beyond(e) && !beyond(e.parentElement) && !scrolled(e.parentElement.closest("article *")));
  return [`${wide} pixels wide on a screen of ${screen}: ${guilty.map((e) => e.outerHTML.slice(0, 120)).join(" | ")}`];
}"""


# As many widgets have drawn themselves as the page shows.
DRAWN = """() => document.querySelectorAll("[data-ready=true]").length >=
  document.querySelectorAll("script[type$='widget-view+json']").length"""


def settle(page):
    """Waits until pictures and widgets are there, formulas typeset, and the theme knows what scrolls, 300 ms later."""
    page.evaluate("""async () => {
      for (const picture of document.images) picture.loading = "eager";
      await Promise.all([...document.images].map((picture) => picture.decode().catch(() => {})));
    }""")
    page.wait_for_function(DRAWN, timeout=120_000)    # other tests keep both cores busy
    page.evaluate("async () => { await window.MathJax?.startup?.promise; await document.fonts.ready; }")
    page.wait_for_timeout(500)


def violations(page, rules):
    """What axe-core finds, one line for each element: the rule, the selector, what is wrong."""
    if page.evaluate("() => !window.axe"):
        page.evaluate(AXE)
    run = "rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']}).then(found => found.violations)"
    return [
        f"{rule['id']}: {' '.join(map(str, node['target']))}: {' '.join(node['failureSummary'].split())}"
        for rule in page.evaluate(run, rules) for node in rule["nodes"]
    ]


def faults(page):
    """All that is wrong with the page that is open: in light, in dark, on a phone."""
    page.emulate_media(color_scheme="light")
    settle(page)
    found = [f"light: {line}" for line in violations(page, WCAG)]
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("() => document.documentElement.dataset.theme === 'dark'")
    page.wait_for_timeout(300)                                          # the theme fades from one mode to the other
    found += [f"dark: {line}" for line in violations(page, COLOURS) + page.evaluate(SEE_THROUGH)]
    page.set_viewport_size({"width": 390, "height": 844})
    settle(page)
    return found + [f"phone: {line}" for line in page.evaluate(TOO_WIDE)]


@pytest.mark.parametrize("name", [*PAGES, "search", "genindex"])
def test_a_page_can_be_read_by_everybody(page, address, name):
    visit(page, f"{address}/{name}.html")
    found = faults(page)
    assert not found, f"{name}:\n" + "\n".join(found)


def test_the_list_of_chapters_on_a_phone_can_be_read_too(page, address):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{address}/book/setup.html")
    page.locator(".primary-toggle").first.click()
    page.wait_for_timeout(500)
    assert violations(page, WCAG) == []


@pytest.mark.parametrize(("broken", "told"), [
    ("<img src='../_static/logo.svg'>", "light: image-alt: .broken > img"),
    ("<button></button>", "light: button-name: .broken > button"),
    ("<p style='color: #aaa'>pale</p>", "light: color-contrast: .broken > p"),
    ("<p style='color: #444'>dark on dark</p>", "dark: color-contrast: .broken > p"),
    ("<input type='range'>", "light: label: input[type=\"range\"]"),
    ("<img src='../_static/pipeline.svg' alt='' style='background: none !important'>", "dark: ../_static/pipeline.svg"),
    ("<div style='width: 600px'>wide</div>", "phone: 6"),
])
def test_the_checks_notice_a_page_that_is_broken_on_purpose(page, address, broken, told):
    page.goto(f"{address}/book/setup.html")
    page.evaluate("html => document.querySelector('.bd-article').insertAdjacentHTML("
                  "'beforeend', `<div class='broken'>${html}</div>`)", broken)
    page.wait_for_load_state("networkidle")
    found = faults(page)
    assert any(line.startswith(told) for line in found), found
