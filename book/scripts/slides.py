"""Makes one deck of slides for each chapter: python book/scripts/slides.py   (or `make slides`, into build/slides)

Nothing is written twice. A deck is the executed notebook, shortened by rules: under each heading the first sentences,
what is displayed (equations, lists, tables), each figure, and code of ten lines or so that defines or checks something
by hand; then the questions, each with its answer on the next slide, the first exercises, what is misunderstood, and
what was measured. Goals, minutes and misunderstandings come from the lesson plans. What the slides
leave out of the text is in the speaker's notes (key S).
"""

from __future__ import annotations

import base64
import io
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from pathlib import Path

import jinja2
import nbformat
from execute import EXECUTED, ROOT, execute_all
from nbconvert.filters import markdown2html
from PIL import Image
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from zecon_lite import files

HERE = Path(__file__).parent
LINES = 11                     # of text, that a slide holds
CODE_LINES, OUTPUT_LINES, WIDTH = 14, 16, 96
LEFT_OUT = {"remove-cell", "parameters", "hide-cell", "injected-parameters"}
QUESTION = re.compile(r"^\*\*(Question [\d.]+)\.\*\* (.*?)^<details><summary>Answer</summary>$(.*?)^</details>$",
                      re.S | re.M)
PICTURE = re.compile(r"!\[[^\]]*\]\([^)]*\)\n*")
EXERCISE = re.compile(r"^### (Exercise [\d.]+)[^\n]*\n(.*?)(?=^<details>|\Z)", re.S | re.M)


@dataclass
class Slide:
    """One slide: its title (Markdown), its body (HTML), and Markdown for the speaker alone."""

    title: str
    body: str
    notes: list[str] = field(default_factory=list)
    kind: str = "text"


@dataclass(frozen=True)
class Lesson:
    """A chapter's part of the lesson plans: goals and misunderstandings as Markdown, the plan as (minutes, what)."""

    goals: list[str]
    plan: list[tuple[int, str]]
    misread: list[str]

    def clock(self) -> str:
        """The plan as a table that runs with the clock, Markdown."""
        rows, start = ["| From | To | |", "|---|---|---|"], 0
        for minutes, what in self.plan:
            rows.append(f"| {start} | {start + minutes} min | {what} |")
            start += minutes
        return "\n".join(rows)


# ----------------------------------------------------------------------------------------------------- reading Markdown


def plain(text: str) -> str:
    """Markdown without roles and without links to files: neither leads anywhere from a slide."""
    text = re.sub(r"\{term\}`([^`<]+?)(?: <[^>]*>)?`", r"\1", text)
    return re.sub(r"(?<!!)\[([^\]]*(?:\[[^\]]*\][^\]]*)*)\]\((?!https?:)[^)]*\)", r"\1", text)


def html(text: str) -> str:
    """Markdown as HTML; formulas stay as they are, for MathJax."""
    return markdown2html(plain(text))


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph, one line each."""
    return re.split(r'(?:(?<=[.!?])|(?<=[.!?]\*\*)) (?=[A-Z*"`$])', " ".join(paragraph.split()))


def opening(paragraph: str, characters: int = 280) -> str:
    """As many first sentences as fit, at least one."""
    first, *more = sentences(paragraph)
    for sentence in more:
        if len(first) + len(sentence) > characters:
            break
        first += " " + sentence
    return first


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """(kind, text) of each paragraph, equation, list, table and piece of code in some Markdown."""
    for part in re.split(r"(\$\$.*?\$\$|^```.*?^```$)", text, flags=re.S | re.M):
        if part.startswith("$$"):
            yield "equation", part
        elif part.startswith("```"):
            yield "code", part
        else:
            for block in re.split(r"\n\s*\n", part.strip()):
                is_list = re.match(r"[*-] |\d+\. ", block)
                if block.strip():
                    yield "table" if block.startswith("|") else "list" if is_list else "paragraph", block


def lessons(page: Path = ROOT / "book/lessons.md") -> dict[int, Lesson]:
    """The lesson plan of each chapter, by its number."""
    found, chapters = {}, re.compile(r"^## (\d+)\. [^\n]*\n(.*?)(?=^## |\Z)", re.S | re.M)
    for number, text in chapters.findall(page.read_text(encoding="utf-8")):
        part = dict(re.findall(r"^\*\*(Goals|Expect)\.\*\* (.*?)(?=\n\n|\Z)", text, re.S | re.M))
        plan = [(int(minutes), what) for minutes, what in re.findall(r"^\| (\d+) \| (.*) \|$", text, re.M)]
        misread = re.split(r'\s+(?=\*")', " ".join(part["Expect"].split()))
        found[int(number)] = Lesson(sentences(part["Goals"]), plan, misread)
    return found


# ------------------------------------------------------------------------------------------------------- making slides


def height(kind: str, text: str) -> float:
    """About how many lines a block takes on a slide."""
    if kind == "equation":
        return 2.5 + 1.2 * text.count("\\\\")
    return sum(1.2 if kind == "table" else 1 + len(line) // 85 for line in text.splitlines() if line.strip())


def announces(sentence: str) -> bool:
    """True for a sentence that goes on in the equation or list after it, and so must stay with it."""
    return bool(sentence) and not sentence.endswith((".", "!", "?", "$$"))


def told(title: str, text: str, with_opening: bool) -> Iterator[Slide]:
    """Slides for some Markdown under a heading: its first sentences, and all that is displayed in it."""
    shown, before, text = [], "", PICTURE.sub("", text)    # pictures in the text lie beside the page, not the slides
    for kind, block in blocks(text):
        if kind == "paragraph":
            if with_opening and not shown:
                shown.append(("paragraph", opening(block)))
            before = sentences(block)[-1]
        else:
            if announces(before) and not (shown and shown[-1][1].endswith(before)):
                shown.append(("paragraph", before))
            shown.append((kind, block))
            before = ""
    pages, room = [[]], LINES
    for kind, block in shown:
        needed = height(kind, block)
        if needed > room and pages[-1]:
            moved = [pages[-1].pop()] if announces(pages[-1][-1]) else []
            pages.append(moved)
            room = LINES - sum(height("paragraph", sentence) for sentence in moved)
        pages[-1].append(block)
        room -= needed
    kind = "opening" if with_opening and len(shown) == 1 else "text"
    for k, page in enumerate(filter(None, pages)):
        yield Slide(title, html("\n\n".join(page)), [text] if k == 0 else [], kind)


def python(source: str) -> str:
    """Code as HTML."""
    coloured = highlight(source, PythonLexer(), HtmlFormatter(nowrap=True))
    return f'<pre class="python" tabindex="0"><code>{coloured}</code></pre>'


def printed(cell: nbformat.NotebookNode) -> str:
    """What a cell has printed; nothing when it is too much for a slide."""
    text = "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout").rstrip()
    lines = text.splitlines()
    return text if len(lines) <= OUTPUT_LINES and all(len(line) <= WIDTH for line in lines) else ""


def picture(png: str, alt: str) -> str:
    """A figure, as WebP within the page: a fifth of the bytes."""
    packed, image = io.BytesIO(), Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    image.save(packed, "WEBP", quality=88)
    data = base64.b64encode(packed.getvalue()).decode()
    text, ratio = escape(alt), image.width / image.height
    return f'<figure><img style="--ratio: {ratio:.3f}" src="data:image/webp;base64,{data}" alt="{text}"></figure>'


def run(title: str, cell: nbformat.NotebookNode) -> Iterator[Slide]:
    """Slides for a code cell: each figure; else short code that defines or checks something; else what it printed."""
    pictures = [o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})]
    said, code = printed(cell), [line for line in cell.source.splitlines() if line.strip()]
    below = f'<pre class="output" tabindex="0">{escape(said)}</pre>' if said else ""
    for png in pictures:
        alt = cell.metadata["mystnb"]["image"]["alt"]
        yield Slide(title, picture(png, alt) + (below if said.count("\n") < 4 else ""), [alt], "figure")
    if not pictures and len(code) <= CODE_LINES and re.search(r"^def |assert_close\(", cell.source, re.M):
        beside = said.count("\n") < 3
        yield Slide(title, python(cell.source) + (below if beside else ""), kind="code")
        if not beside:
            yield Slide(title, below, kind="output")
    elif not pictures and said.count("\n") >= 1:
        yield Slide(title, below, ["```python\n" + cell.source + "\n```"], "output")


def chapter(cells: list[nbformat.NotebookNode]) -> Iterator[Slide]:
    """The slides of a chapter's sections, up to its questions."""
    heading = cells[0].source.splitlines()[0].removeprefix("# ")
    for cell in cells:
        if cell.cell_type == "markdown":
            start, *sections = re.split(r"^#{2,3} ", cell.source, flags=re.M)
            yield from told(heading, start, with_opening=False)
            for section in sections:
                heading, text = (section + "\n").split("\n", 1)
                if heading == "Questions":
                    return
                yield from told(heading, text, with_opening=True)
        elif not LEFT_OUT & set(cell.metadata.get("tags", [])):
            yield from run(heading, cell)


def asked(text: str) -> Iterator[Slide]:
    """Two slides for each question: what is asked, and the answer with its reasons."""
    for number, question, answer in QUESTION.findall(text):
        yield Slide(number, html(question), ["Ask for a show of hands before the next slide."], "question")
        yield Slide(f"{number}: answer", html(answer.strip()), kind="answer")


def exercises(cells: list[nbformat.NotebookNode], most: int = 3) -> Iterator[Slide]:
    """A slide for each of the first exercises, with its open cell; the others are for home."""
    later = []
    for cell, following in pairwise(cells):
        for number, text in EXERCISE.findall(cell.source) if cell.cell_type == "markdown" else []:
            if most:
                stub = "" if following.source.startswith("# @title Solution") else python(following.source)
                hint = re.search(r"<summary>Hint</summary>(.*?)</details>", cell.source, re.S)[1]
                yield Slide(number, html(text) + stub, ["**Hint.** " + hint.strip()], "exercise")
                most -= 1
            else:
                later.append(f"* **{number}.** {opening(next(blocks(text))[1], 0)}")
    if later:
        yield Slide("At home", html("\n".join(later)), kind="exercise")


def ending(text: str) -> str:
    """What a chapter's last section says was reported, measured, and not measured: first sentences, and tables."""
    shown, before = [], ""
    for kind, block in blocks(text):
        if kind == "table":
            shown += [before, block] if announces(before) else [block]
        elif kind == "list":
            shown.append("\n".join(f"* {labelled(item)}" for item in re.split(r"^\* ", block, flags=re.M)[1:]))
        elif block.startswith("**") and not block.startswith("**You have seen"):
            shown.append(labelled(block))
        before = sentences(block)[-1] if kind == "paragraph" else ""
    return "\n\n".join(shown)


def labelled(block: str) -> str:
    """The first sentences of a block; a label such as **Reported.** never stands alone."""
    label, *rest = sentences(block)
    if rest and re.fullmatch(r"\*\*[^*]+\.\*\*", label):
        return f"{label} {opening(' '.join(rest), 240)}"
    return opening(block, 240)


def deck(notebook: nbformat.NotebookNode, lesson: Lesson) -> list[Slide]:
    """All slides of a chapter."""
    prose = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    title = re.match(r"# (.*)\n", prose)[1]
    question = re.search(r"^\*\*(.+?)\*\*", prose, re.S | re.M)[1]
    reported = re.search(r"^## (What the papers? reports?,? and what we measured)\n(.*)", prose, re.S | re.M)
    slides = [Slide(title, html(question), [lesson.clock()], "title")]
    goals = "\n".join(f"* {goal}" for goal in lesson.goals)
    slides.append(Slide("Afterwards you can", html(goals), [lesson.clock()]))
    for slide in chapter(notebook.cells):
        last = slides[-1]
        if last.kind == "opening" and last.title == slide.title and slide.kind in ("figure", "code", "output"):
            slides[-1] = Slide(slide.title, last.body + slide.body, last.notes + slide.notes, slide.kind)
        else:
            slides.append(slide)
    slides += [*asked(prose), *exercises(notebook.cells)]
    slides.append(Slide("Easily misunderstood", html("\n".join(f"* {one}" for one in lesson.misread))))
    slides.append(Slide(reported[1], html(ending(reported[2])), [reported[2]]))
    return slides


# -------------------------------------------------------------------------------------------------------------- writing


def write(folder: Path, vendor: str, pages: str) -> list[Path]:
    """Write every chapter's deck; from there, `vendor` leads to reveal.js and MathJax, and `pages` to the book."""
    folder.mkdir(parents=True, exist_ok=True)
    template = jinja2.Template((HERE / "slides.html").read_text(encoding="utf-8"), autoescape=True)
    colours = {mode: HtmlFormatter(style=f"a11y-high-contrast-{mode}").get_style_defs(f'[data-theme="{mode}"] .python')
               for mode in ("light", "dark")}
    plans, written = lessons(), []
    for source in sorted((ROOT / "notebooks").glob("*.ipynb")):
        slides = deck(nbformat.read(EXECUTED / source.name, as_version=4), plans[int(source.name[:2])])
        written.append(files.write(folder / f"{source.stem}.html", template.render(
            slides=slides, number=int(source.name[:2]), title=slides[0].title, vendor=vendor, html=html,
            page=f"{pages}/{source.stem}.html", colours="\n".join(colours.values()),
        )))
    return written


if __name__ == "__main__":
    execute_all(sorted((ROOT / "notebooks").glob("*.ipynb")))
    folder = ROOT / "build/slides"
    made = write(folder, "vendor", "../_build/html/notebooks")
    for name in ("reveal", "mathjax"):
        shutil.copytree(ROOT / "book/assets/vendor" / name, folder / "vendor" / name, dirs_exist_ok=True)
    print(f"wrote {len(made)} decks to {folder}; open {made[0].as_uri()}")
