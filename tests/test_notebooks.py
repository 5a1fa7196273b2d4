"""Every notebook opens alike, is in the book, is run by the tests, and stores only what the tests compare."""

from __future__ import annotations

import ast
import re

import nbformat
import pytest
import yaml
from conftest import COLLECTED, ROOT, missing

PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NOTEBOOKS = {path.stem: nbformat.read(path, as_version=4) for path in PATHS}
each_notebook = pytest.mark.parametrize("name", NOTEBOOKS)

# All that a first cell may do: nothing at all outside Colab, and there one quiet installation of this package.
COLAB = re.compile(
    r"(#[^\n]*\n)?import sys\n\n"
    r'if "google\.colab" in sys\.modules:\n'
    r'    %pip install -q "zecon-lite @ git\+(?P<repository>\S+)"'
)


def tags(cell):
    return cell.metadata.get("tags", [])


def is_marked(cell):
    """True when nbval compares this cell's output with what is stored."""
    return "nbval-check-output" in tags(cell) or "# NBVAL_CHECK_OUTPUT" in cell.source


def code_cells(name):
    return [cell for cell in NOTEBOOKS[name].cells if cell.cell_type == "code"]


def test_there_are_notebooks_and_they_are_numbered_in_reading_order():
    assert [int(name[:2]) for name in NOTEBOOKS] == list(range(1, len(NOTEBOOKS) + 1))


@each_notebook
def test_a_notebook_is_a_chapter_of_the_book(name):
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    assert f"notebooks/{name}" in [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]


def test_every_notebook_is_run_by_this_test_run(request):
    if not request.config.getoption("nbval_lax", default=False):
        missing("this run does not execute the notebooks; `make test` does")
    assert {path.name for path in PATHS} == request.config.stash[COLLECTED]


@each_notebook
def test_no_cell_is_left_out_of_the_run(name):
    for cell in code_cells(name):
        assert not {"nbval-skip", "nbval-raises-exception", "raises-exception", "skip-execution"} & set(tags(cell))
        assert "NBVAL_SKIP" not in cell.source and "NBVAL_RAISES_EXCEPTION" not in cell.source


@each_notebook
def test_a_notebook_begins_with_its_title(name):
    first = NOTEBOOKS[name].cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    titles = [line for cell in NOTEBOOKS[name].cells if cell.cell_type == "markdown"
              for line in re.sub(r"```.*?```", "", cell.source, flags=re.S).splitlines() if line.startswith("# ")]
    assert len(titles) == 1, "one title, the rest are sections: ## and ###"


@each_notebook
def test_the_first_code_cell_installs_on_colab_and_does_nothing_elsewhere(name):
    first = code_cells(name)[0]
    assert COLAB.fullmatch(first.source), "copy the first cell from a neighbouring notebook"
    assert "remove-cell" in tags(first)


@each_notebook
def test_no_cell_changes_what_is_installed(name):
    for cell in code_cells(name)[1:]:
        assert not re.search(r"\b(pip|conda|mamba|uv)\b\s+(install|uninstall)|apt(-get)?\s+install", cell.source)


def test_the_package_lets_colab_keep_its_torch():
    # The first cell installs our dependencies with us: an upper bound or a pin among them could replace torch.
    requirements = re.search(r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.S | re.M)[1]
    named = {re.match(r"[\w-]+", r)[0]: r for r in re.findall(r'"([^"]+)"', requirements)}
    for name in ("torch", "torchvision", "numpy"):
        assert re.fullmatch(rf"{name}>=[\d.]+", named[name]), f"{named[name]}: a lower bound, nothing else"


@each_notebook
def test_the_profile_is_a_parameter(name):
    cells = [cell for cell in code_cells(name) if "parameters" in tags(cell)]
    assert len(cells) == 1 and cells[0] is code_cells(name)[1], "one cell tagged `parameters`, right after the first"
    assigned = ast.parse(cells[0].source).body
    assert [ast.unparse(line) for line in assigned] == ["profile = 'tiny'"]


@each_notebook
def test_the_profile_is_used(name):
    code = "\n".join(re.sub(r"^\s*[%!].*$", "", cell.source, flags=re.M) for cell in code_cells(name)[2:])
    names = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    assert "profile" in names, "load the models with load_models(profile): full weights are one change away"


@each_notebook
def test_a_notebook_is_small(name):
    assert (ROOT / f"notebooks/{name}.ipynb").stat().st_size < 1_000_000


@each_notebook
def test_outputs_are_stored_where_they_are_compared_and_nowhere_else(name):
    assert "widgets" not in NOTEBOOKS[name].metadata
    for cell in code_cells(name):
        if is_marked(cell):
            assert cell.outputs, f"nothing is stored to compare with; run `make outputs`:\n{cell.source}"
        else:
            bare = not cell.outputs and cell.execution_count is None
            assert bare, f"unmarked cells are stored without outputs; run `make outputs`:\n{cell.source}"


@each_notebook
def test_something_is_compared(name):
    assert any(is_marked(cell) for cell in code_cells(name)), "mark a cell that prints a number with nbval-check-output"


@each_notebook
def test_a_notebook_needs_no_account(name):
    text = "\n".join(cell.source for cell in NOTEBOOKS[name].cells)
    for word in ("notebook_login", "drive.mount", "userdata.get", "HF_TOKEN", "hf_token", "use_auth_token", "api_key"):
        assert word not in text
    for cell in code_cells(name):
        assert not re.search(r"\btoken\b\s*=", cell.source)


@each_notebook
def test_text_reads_well_outside_the_book(name):
    # Colab and GitHub show directives and roles as they are typed.
    for cell in NOTEBOOKS[name].cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"^\s*(```|:::)+\{|\{[a-z:]+\}`|^\([\w-]+\)=$", cell.source, re.M), cell.source


@each_notebook
def test_links_to_other_files_lead_somewhere(name):
    for cell in NOTEBOOKS[name].cells:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", cell.source) if cell.cell_type == "markdown" else []:
            if not re.match(r"[a-z]+:", target):
                assert (ROOT / "notebooks" / target).is_file(), target


@each_notebook
def test_a_figure_has_a_text_for_those_who_cannot_see_it(name):
    for cell in code_cells(name):
        if re.search(r"\bshow\.\w+\(|plt\.(show|subplots|imshow|plot)\(", cell.source):
            assert cell.metadata.get("mystnb", {}).get("image", {}).get("alt"), f"no alternative text:\n{cell.source}"


@each_notebook
def test_a_figure_has_a_caption(name):
    for cell in code_cells(name):
        if "image" in cell.metadata.get("mystnb", {}):
            assert cell.metadata.mystnb.get("figure", {}).get("caption"), f"no caption:\n{cell.source}"


def test_no_two_figures_have_one_name():
    figures = [c.metadata.get("mystnb", {}).get("figure", {}) for name in NOTEBOOKS for c in code_cells(name)]
    named = [figure["name"] for figure in figures if "name" in figure]
    assert len(named) == len(set(named)) > 50


@each_notebook
def test_metadata_is_what_the_book_reads(name):
    for cell in NOTEBOOKS[name].cells:
        assert set(cell.metadata) <= {"tags", "mystnb", "cellView", "jupyter"}, "what running it left behind"


@each_notebook
def test_no_warning_was_printed_when_the_book_was_built(name):
    executed = ROOT / f"build/executed/{name}.ipynb"
    if not executed.is_file():
        missing("the book has not been built: `make book` first")
    for cell in nbformat.read(executed, as_version=4).cells:
        for output in cell.get("outputs", []):
            assert not (output.get("name") == "stderr" and re.search(r"\w*Warning: ", output.text)), output.text


# ------------------------------------------------------------------------- questions with choices, answered in the page


QUESTION = re.compile(r"^\*\*Question (?P<number>[\d.]+)\.\*\* (?P<asked>.*?)^<details><summary>Answer</summary>$"
                      r"(?P<answer>.*?)^</details>$", re.S | re.M)


def sections(name):
    """Title -> text of each section: a notebook's Markdown, cut at its ## headings."""
    text = "\n\n".join(cell.source for cell in NOTEBOOKS[name].cells if cell.cell_type == "markdown")
    return dict(part.split("\n", 1) for part in re.split(r"^## ", text, flags=re.M)[1:])


def questions(name):
    return list(QUESTION.finditer(sections(name).get("Questions", "")))


@each_notebook
def test_a_chapter_asks_five_questions_before_its_exercises(name):
    numbers = [question["number"] for question in questions(name)]
    assert len(numbers) >= 5 and numbers == [f"{int(name[:2])}.{k + 1}" for k in range(len(numbers))]
    titles = list(sections(name))
    assert titles[titles.index("Questions") + 1] == "Exercises"
    assert sections(name)["Questions"].count("**Question ") == len(numbers), "a question without choices or answer"


@each_notebook
def test_the_answer_to_a_question_speaks_of_every_choice(name):
    for question in questions(name):
        choices = re.findall(r"^- \*\*([A-Z])\.\*\* \S", question["asked"], re.M)
        assert len(choices) >= 3 and choices == list("ABCDEFGH"[: len(choices)]), question["asked"]
        why, *why_not = re.split(r"^- (?=\*\*[A-Z]\*\* )", question["answer"].strip(), flags=re.M)
        right = re.match(r"\*\*([A-Z])\.\*\* \S", why)
        assert right, f"begin the answer with its letter, as in `**B.** ...`:\n{why}"
        assert sorted([right[1], *(text[2] for text in why_not)]) == choices, f"a choice is left out:\n{why}"
        assert all(len(text) > 50 for text in (why, *why_not)), f"say why, and why not:\n{question['answer']}"


@each_notebook
def test_the_right_choice_is_not_given_away_by_its_place(name):
    right = [question["answer"].strip()[2] for question in questions(name)]
    assert len(set(right)) >= 3 and max(right.count(letter) for letter in right) <= 2, right
