"""What a chapter has in the book and not in its notebook, which Colab and GitHub show as it is typed.

Equations get labels, and so numbers; the first use of each word of the glossary leads there; a line leads to the
derivations. It happens as Sphinx reads a page, so the notebook that a reader downloads stays plain. Here too: the role
`test`, a link to the file in which a test stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from docutils import nodes

CODE = r"^[ >]*(?P<fence>```+|~~~+).*?^[ >]*(?P=fence)|(?P<ticks>`+)(?!`).*?(?<!`)(?P=ticks)(?!`)"
HTML = r"^[ >]*</?[a-z].*?(?=\n\s*\n|\Z)"    # as in CommonMark, up to the next empty line; a <summary> is always inside
OTHER = "|".join([
    r"\$\$.*?\$\$|\$[^$]+\$",
    r"!?\[(?:[^\[\]]|\[[^\[\]]*\])*\]\([^)]*\)|<[^>\n]+>|https?://\S+",
    r"^[ >]*#.*?$|^[ >]*\|.*?$|^(?: {4}|\t).*?$",    # headings; tables, whose first row is one; indented code
])
FLAGS = re.S | re.M
DISPLAY = re.compile(rf"{CODE}|{HTML}|(?P<display>^(?:[ >]|[-*] |\d+\. )*\$\$[^$]+\$\$)[ \t]*$", FLAGS)

# Words that everybody uses: only where a chapter itself sets them apart, as in *score*, are they the glossary's.
EVERYDAY = {
    "candidate", "contrast", "judge", "look", "negative", "position", "resampling", "score", "strength", "truth",
    "view",
}
FORMULAS = "Every formula here, with its function and its test: {ref}`derivations <chapters-formulas>`."


def setup(app):
    app.connect("source-read", prepare)
    app.add_role("test", link_to_test)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def prepare(app, docname, source):
    """Changes a chapter as it is read."""
    if docname.startswith("notebooks/"):
        notebook = json.loads(source[0])
        texts = [cell for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
        found = chapter(["".join(cell["source"]) for cell in texts], Path(docname).name[:2], words(Path(app.srcdir)))
        for cell, text in zip(texts, found, strict=True):
            cell["source"] = text
        source[0] = json.dumps(notebook)


def chapter(texts: list[str], number: str, terms: Iterable[str]) -> list[str]:
    """A chapter's texts, Markdown, as the book shows them. number: "07"."""
    pattern, seen, labels = pattern_of(terms), set(), []
    texts = [labelled(linked(text, pattern, seen), number, labels) for text in texts]
    return [f"{texts[0]}\n\n{FORMULAS}", *texts[1:]] if labels else texts


def labelled(text: str, number: str, labels: list[str]) -> str:
    """The text with a label behind each display equation: eq-07-1, eq-07-2 ... labels: those so far, is added to."""

    def label(match: re.Match) -> str:
        if not match["display"]:
            return match[0]
        labels.append(f"eq-{number}-{len(labels) + 1}")
        return f"{match['display']} ({labels[-1]})"

    return DISPLAY.sub(label, text)


def words(root: Path) -> list[str]:
    """The words of the glossary."""
    page = (root / "book/glossary.md").read_text(encoding="utf-8")
    return re.findall(r"^(\S.*)$", re.search(r"```\{glossary\}\n(.*?)^```", page, FLAGS)[1], re.M)


def pattern_of(terms: Iterable[str]) -> re.Pattern:
    """Finds a word of the glossary, the longest first, and before it whatever is to be left alone."""

    def either(some: Iterable[str]) -> str:
        found = (re.escape(term).replace(r"\ ", r"\s+") for term in sorted(some, key=len, reverse=True))
        # CUT is no cut: what has a capital is found as it is written.
        return "|".join(term if re.search("[A-Z]", term) else f"(?i:{term})" for term in found)

    plain, everyday = either(set(terms) - EVERYDAY), either(set(terms) & EVERYDAY)
    shown = rf"(?<![\w-])(?:{plain})(?![\w-])" + (rf"|(?<=\*)(?:{everyday})(?=\*)" if everyday else "")
    return re.compile(rf"{CODE}|{HTML}|{OTHER}|(?P<term>{shown})", FLAGS)


def linked(text: str, pattern: re.Pattern, seen: set[str]) -> str:
    """The text with links to words of the glossary that are not in `seen`, which is added to."""

    def link(match: re.Match) -> str:
        term = " ".join((match["term"] or "").split())
        if not term or term.lower() in seen:
            return match[0]
        seen.add(term.lower())
        return f"{{term}}`{term}`"

    return pattern.sub(link, text)


def link_to_test(name, rawtext, text, lineno, inliner, options=None, content=None):
    """A test, tests/test_file.py::test_name, as a link to its file."""
    theme = inliner.document.settings.env.config.html_theme_options
    address = f"{theme['repository_url']}/blob/{theme['repository_branch']}/{text.split('::')[0]}"
    return [nodes.reference(rawtext, "", nodes.literal(text, text), refuri=address)], []
