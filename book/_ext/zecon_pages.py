"""What the theme leaves undone in a page: scripts where they are used alone, names to read aloud, a way to report."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import quote, unquote, urlencode

from PIL import Image

from zecon_lite import __version__

ICON = re.compile(r'<(i|span) class="([^"]*\bfa-([a-z-]+)\b[^"]*)"([^>]*)></\1>')
SIZES = re.compile(r"\bfa-(?:solid|brands|lg|fw)\b")

# What the theme, docutils and MyST-NB write; what stands there afterwards; and why.
REPAIRS = [
    # The words in a button are its name. Another name beside them cannot be spoken to by those who see the words.
    (r'(<button class="btn search-button-field[^>]*?) title="Search" aria-label="Search"', r"\1"),
    (r'<summary aria-label="Toggle hidden content">', "<summary>"),
    # An entry of a list is a list item; the role that docutils gives it has been withdrawn from the standard.
    (r'role="doc-biblioentry"', 'role="listitem"'),
    # The empty corner of a table heads nothing.
    (r'<th class="(head[^"]*)"><p></p></th>', r'<td class="\1"></td>'),
    # The column of chapters, with the book's name above them, is a region that can be jumped to.
    (r'<div id="pst-primary-sidebar"', '<div id="pst-primary-sidebar" role="complementary" aria-label="Book"'),
    # Pictures wait until the reader comes near.
    (r'<img (?=[^>]*\bsrc="[^"]*_images/)(?![^>]*\bloading=)', '<img loading="lazy" '),
    # A formula is a box of its own, after which a line may break: not before a full stop.
    (r'(<span class="math notranslate nohighlight">\\\((?:(?!</span>).){1,40}</span>)([.,;:)?]+)',
     r'<span class="kept">\1\2</span>'),
    # In a table a long name may break where its parts meet.
    (r'(?<=<span class="pre">)([\w./:]+\(?\)?)(?=</span>)', lambda it: re.sub(r"([._/:])(?=\w)", r"\1<wbr>", it[1])),
    # What Colab writes over a cell that it folds; here the fold says so itself.
    (r'(<pre><span></span>)<span class="c1"># @title [^<]*</span>\n', r"\1"),
    # No cell runs in the page.
    (r'\s*<link [^>]*href="[^"]*sphinx-thebe\.css[^>]*>', ""),
    # The icons are in the page; a megabyte and a half of others is not asked for.
    (r'<script defer src="[^"]*/fontawesome\.js[^"]*"></script>', ""),
]
# On every page but that of results, which has a search engine that starts at once:
NOT_SEARCHING = [
    # no search engine and no index of words, since every search leads there;
    (r'\s*<script src="[^"]*(?:searchtools|language_data|searchindex)\.js"></script>', ""),
    # scripts wait until the page is read, all but the one that inline scripts go on from.
    (r'<script (?=[^>]*\bsrc=)(?![^>]*\b(?:defer|async|documentation_options)\b)', "<script defer "),
]


# Scripts that are large, by what they are for: they come, in their order, when the first of these comes near, or the
# reader does anything.
LARGE = {
    "script[type$='widget-view+json']": re.compile(
        r'\s*<script(?P<options>[^>]*) src="'
        r'(?P<address>[^"]*(?:\.widgets|vendor/widgets/require|widget_paths|vendor/widgets/embed-amd)\.js[^"]*)"></script>'
    ),
    ".math": re.compile(r'\s*<script(?P<options>[^>]*) src="(?P<address>[^"]*vendor/mathjax/[^"]*)"></script>'),
}
SHOWN = {"script[type$='widget-view+json']": "widget-view+json", ".math": 'class="math'}    # in a page that has some
STATE = re.compile(r'\s*<script type="(application/vnd\.jupyter\.widget-state\+json)">(.*?)</script>', re.S)
LATER = """
<script>{{
  const large = {large};    // [what they are for, [[address, attributes], ...]]
  const begin = ([, scripts]) => {{
    for (const [address, options] of scripts.splice(0)) {{
      const script = Object.assign(document.createElement("script"), {{ src: address, async: false }});
      for (const [name, value] of Object.entries(options)) script.setAttribute(name, value);
      document.head.append(script);
    }}
  }};
  for (const event of ["scroll", "keydown", "pointerdown", "beforeprint"]) {{
    addEventListener(event, () => large.forEach(begin), {{ once: true }});
  }}
  addEventListener("load", () => large.forEach((one) => {{
    const near = new IntersectionObserver((seen) => seen.some((it) => it.isIntersecting) && begin(one), {{
      rootMargin: "200px",
    }});
    document.querySelectorAll(one[0]).forEach((it) => near.observe(it.localName === "script" ? it.parentElement : it));
  }}));
}}</script>
"""


def setup(app):
    app.connect("html-page-context", lighten, priority=900)         # after the theme has added what is its own
    app.connect("html-page-context", offer_to_report, priority=900)
    app.connect("build-finished", repair_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def lighten(app, pagename, templatename, context, doctree):
    """Drops the scripts that a page has twice or does not use: MathJax without a formula, and Thebe everywhere."""
    seen, kept, body = set(), [], context.get("body", "")
    for script in context.get("script_files", []):
        attributes, name = getattr(script, "attributes", {}), str(getattr(script, "filename", None) or "")
        text = attributes.get("body") or ""
        unused = "thebe" in name + text or ('class="math' not in body and "mathjax" in (name + text).lower())
        # Two of the theme's extensions add the same inline script twice, and a `const` declared twice is an error.
        if unused or (text and text in seen):
            continue
        seen.add(text)
        kept.append(script)
    context["script_files"] = kept


def report_address(repository: str, pagename: str, version: str = __version__) -> str:
    """Where a reader reports a problem: a new issue that names the page and the version."""
    body = f"Page: {pagename}\nVersion of the book: zecon_lite {version}\n\nWhat I read or ran:\n\nWhat I expected:\n"
    asked = {"title": f"{pagename} (zecon_lite {version}): ", "body": body}
    return f"{repository}/issues/new?{urlencode(asked, quote_via=quote)}"


def offer_to_report(app, pagename, templatename, context, doctree):
    """At the foot of every page, and in the theme's menu, a link to a new issue with the page and the version in it."""
    address = report_address(app.config.html_theme_options["repository_url"], pagename)
    link = f'<a class="report" href="{address.replace("&", "&amp;")}">Report a problem with this page</a>'
    context["theme_extra_footer"] = f"{context.get('theme_extra_footer', '')} Version {__version__}. {link}"
    for group in context.get("header_buttons", []):
        for button in [group, *group.get("buttons", [])]:
            if button.get("label") == "source-issues-button":
                button.update(url=address, text="Report a problem", tooltip="Report a problem with this page")


def repair_pages(app, exception):
    """Repairs every page that was written."""
    if exception is not None or app.builder.name != "html":
        return
    folder = Path(app.outdir)
    library = (folder / "_static/scripts/fontawesome.js").read_text(encoding="utf-8")
    icons: dict[str, str] = {}
    for path in folder.rglob("*.html"):
        if "_static" not in path.relative_to(folder).parts:
            page, shown = apart(path.read_text(encoding="utf-8"), path.with_suffix(".widgets.js").name)
            if shown:
                path.with_suffix(".widgets.js").write_text(shown, encoding="utf-8")
            page = repaired(page, library, icons, search=path.name == "search.html")
            path.write_text(sized(page, path.parent), encoding="utf-8")


def apart(page: str, name: str) -> tuple[str, str]:
    """The page without what its widgets show, most of its bytes; and a script of that name which puts it back."""
    states = STATE.findall(page)
    if not states or "widget-view+json" not in page:    # none is shown
        return STATE.sub("", page), ""
    tags = [json.dumps({"type": kind, "text": text}) for kind, text in states]
    put = [f"document.body.append(Object.assign(document.createElement('script'), {tag}));" for tag in tags]
    page = STATE.sub(f'\n<script src="{name}"></script>', page, count=1)
    return STATE.sub("", page), "\n".join(put) + "\n"


def sized(page: str, folder: Path) -> str:
    """The page with the size of each of its pictures, so that nothing moves when one comes. folder: the page's own."""

    def told(match: re.Match) -> str:
        if " width=" in match[0]:
            return match[0]
        path = folder / unquote(match[1])
        if path.suffix == ".svg":
            width, height = re.search(r'viewBox="0 0 (\d+) (\d+)"', path.read_text(encoding="utf-8")).groups()
        else:
            with Image.open(path) as picture:
                width, height = picture.size
        return match[0].replace("<img ", f'<img width="{width}" height="{height}" ', 1)

    return re.sub(r'<img [^>]*\bsrc="([^":]*_images/[^"]+)"[^>]*>', told, page)


def repaired(page: str, library: str, icons: dict[str, str], search: bool = False) -> str:
    """A page (HTML) after all repairs. icons: filled with what is found in the library of icons, a script."""
    for pattern, replacement in REPAIRS + (NOT_SEARCHING if not search else []):
        page = re.sub(pattern, replacement, page)
    page = large_later(page)

    def drawn(match: re.Match) -> str:
        _, classes, _, rest = match.groups()
        name = re.search(r"\bfa-([a-z-]+)", SIZES.sub("", classes))[1]
        if name not in icons:
            icons[name] = drawing(library, name)
        rest = re.sub(r' title="[^"]*"', "", rest)
        return icons[name].replace("<svg", f'<svg class="svg-inline--fa {" ".join(classes.split())}"{rest}', 1)

    return ICON.sub(drawn, page)


def large_later(page: str) -> str:
    """The page, with its large scripts asked for when they are wanted, and only if it shows what they are for."""
    wanted = []
    for purpose, pattern in LARGE.items():
        scripts = [
            (found["address"], dict(re.findall(r'(data-[\w-]+)="([^"]*)"', found["options"])))
            for found in pattern.finditer(page)
        ]
        page = pattern.sub("", page)
        if scripts and SHOWN[purpose] in page:
            wanted.append((purpose, scripts))
    return page.replace("</body>", LATER.format(large=json.dumps(wanted)) + "</body>", 1) if wanted else page


def drawing(library: str, name: str) -> str:
    """One icon of Font Awesome's script as SVG; hidden from screen readers, since buttons have names of their own."""
    found = re.search(rf'[{{,]"?{name}"?:\[(\d+),(\d+),\[[^\]]*\],"[0-9a-f]+","([^"]+)"\]', library)
    if found is None:
        raise RuntimeError(f"the theme has no icon {name}: correct the page, or `drawing` in book/_ext/zecon_pages.py")
    width, height, path = found.groups()
    shape = f'<path fill="currentColor" d="{path}"></path>'
    return f'<svg aria-hidden="true" focusable="false" viewBox="0 0 {width} {height}">{shape}</svg>'
