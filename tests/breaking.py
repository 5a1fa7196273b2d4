"""Breaks the project in one place at a time and asks the test that should notice: python tests/breaking.py [goal ...]

For each goal of the book that a test holds (G01 to G38, as in the list below) there is a break: one passage replaced by
another, in a copy of the tree. A break that no test notices means that the test cannot fail. The tests are first run
on the copy as it is, where they must pass. Breaks of the built book change the built pages, so `make book` comes first.
Exit code 1 where a break went unnoticed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HTML = "build/_build/html"


@dataclass(frozen=True)
class Break:
    """One passage of a file replaced by another, and the tests of which one must then fail."""

    goal: str
    what: str
    path: str
    old: str
    new: str
    tests: str


BREAKS = (
    Break("G01", "a cell is left out of the run", "notebooks/07_zecon.ipynb",
          '"nbval-check-output"', '"nbval-skip"', "test_notebooks.py::test_no_cell_is_left_out_of_the_run"),
    Break("G02", "Colab's image is no longer tried each week", ".github/workflows/colab.yml",
          '"17 5 * * 3"', '"17 5 3 * *"', "test_workflows.py::test_there_is_one_for_changes_and_one_each_week_for_the_"
          "newest_for_links_and_for_colab"),
    Break("G03", "a cell installs another torch", "notebooks/01_images_and_noise.ipynb",
          '"import tempfile\\n"', '"%pip install torch==2.1\\n"', "test_notebooks.py::test_no_cell_changes_what_is_"
          "installed"),
    Break("G04", "a chapter's cost is told too low", "book/assets/notebook_costs.md",
          " GB |", "0 GB |", "test_costs.py::test_the_table_in_the_book_is_made_from_the_measurements"),
    Break("G05", "kernels of the tests reach the network", "tests/offline/profile_default/startup/00-no-network.py",
          "_stay_here()\ndel", "del", "test_offline.py::test_a_notebook_that_asks_the_network_fails"),
    Break("G06", "an exercise has no hint", "notebooks/07_zecon.ipynb",
          "<summary>Hint</summary>", "<summary>Help</summary>", "test_exercises.py::test_an_exercise_has_one_hint_and_"
          "ends_in_its_hidden_solution"),
    Break("G07", "a checker takes a wrong answer for a right one", "zecon_lite/exercises/ddim_and_inversion.py",
          "_ddim(x, eps, a, a_prev, 0.0, noise)", "_ddim(x, eps, a, a_prev, eta, noise)",
          "test_exercises.py::test_a_mistake_gets_its_own_message"),
    Break("G08", "students find solutions", "book/scripts/editions.py",
          'cell.source.startswith("# @title Solution")', 'cell.source.startswith("# @title Answer")',
          "test_editions.py::test_a_student_finds_no_answer_and_every_open_question"),
    Break("G09", "a lesson has five minutes too many", "book/lessons.md",
          "| 10 | The first picture", "| 15 | The first picture",
          "test_teaching.py::test_a_chapter_has_goals_a_plan_that_fills_its_lesson_and_what_is_misunderstood"),
    Break("G10", "the explorer in the page is deaf to the arrow keys", f"{HTML}/notebooks/06_patch_contrast.widgets.js",
          "ArrowDown", "Down", "test_book.py::test_the_similarity_explorer_answers_a_click_and_the_arrow_keys"),
    Break("G11", "a widget asks another server for a library", "zecon_lite/widgets/before_after.js",
          "function build() {", 'function build() { import("https://example.org/x.js");',
          "test_widget_before_after.py"),
    Break("G12", "similarity is not that of unit vectors", "zecon_lite/widgets/similarity.py",
          "F.normalize", "torch.nn.Identity()", "test_widgets.py"),
    Break("G13", "an answer is silent about a choice", "notebooks/07_zecon.ipynb",
          "- **A** is fine-tuning:", "- That is fine-tuning:",
          "test_notebooks.py::test_the_answer_to_a_question_speaks_of_every_choice"),
    Break("G14", "an equation names a function that is not there", "book/derivations.md",
          "Computed by {py:meth}`zecon_lite.", "Computed by {py:meth}`zecon_lite.x.",
          "test_derivations.py::test_every_equation_names_its_function_and_its_test"),
    Break("G15", "the posterior's mean is wrong", "zecon_lite/schedule.py",
          "1 - self.alphas_cumprod / self.alphas_cumprod_prev", "1 - self.alphas_cumprod * self.alphas_cumprod_prev",
          "test_derivations.py"),
    Break("G16", "a paper cannot be found", "book/references.bib", "doi", "note", "test_reading.py"),
    Break("G17", "the same seed gives another picture", "zecon_lite/schedule.py",
          "scale * 0.02, n", "scale * 0.021, n",
          "test_reproduction.py::test_the_picture_of_a_seed_is_the_recorded_one"),
    Break("G18", "a type is wrong", "zecon_lite/schedule.py", "def __len__(self) -> int:", "def __len__(self) -> str:",
          "test_types.py::test_mypy_finds_nothing"),
    Break("G19", "the contrast forgets its temperature", "zecon_lite/losses/contrast.py",
          "anchor @ candidates.mT / tau", "anchor @ candidates.mT", "test_losses_contrast.py"),
    Break("G20", "an ablation's number is changed by hand", "book/assets/ablations_weight.md",
          "| 0.", "| 1.", "test_ablations.py::test_the_page_s_tables_are_the_file_s_numbers"),
    Break("G21", "a reported number has no source", "book/assets/paper_vs_ours.csv",
          "a review's transcription", "", "test_paper_vs_ours.py"),
    Break("G22", "a download's checksum is not compared", "zecon_lite/weights/store.py",
          "    got = sha256(partial)\n    if refused := _refused(file, partial, got):",
          "    got = sha256(partial)\n    if False:", "test_weights.py::test_a_wrong_hash_deletes_what_came"),
    Break("G23", "a message keeps the cure to itself", "zecon_lite/profiles.py",
          '(in the book: "Setting up")', "", "test_reading.py::test_a_message_names_a_page_of_the_book_that_exists"),
    Break("G24", "bars appear in CI", "zecon_lite/progress.py", 'bool(os.environ.get("CI"))', "False",
          "test_progress.py::test_a_file_and_ci_get_none"),
    Break("G25", "a figure has no text for those who cannot see it", "notebooks/07_zecon.ipynb",
          '"alt": "The source, the', '"old": "The source, the',
          "test_notebooks.py::test_a_figure_has_a_text_for_those_who_cannot_see_it"),
    Break("G25", "red stands beside green", "zecon_lite/show.py", '"#D55E00"', '"#0072B1"',
          "test_palettes.py::test_lines_of_different_colour_look_different"),
    Break("G26", "text is grey on dark grey in the dark", f"{HTML}/_static/zecon.css",
          ".bd-article img { height: auto; }", "html[data-theme=dark] .bd-article p { color: #333 !important; }",
          "test_accessibility.py -k notation"),
    Break("G27", "a page is missing in the ePub", "book/scripts/epub.py",
          "for _, name in pages:", "for _, name in pages[1:]:", "test_formats.py -k epub"),
    Break("G28", "a page wants something from the network", f"{HTML}/book/notation.html",
          "</body>", '<img alt="" src="https://example.org/x.png"></body>',
          "test_book.py::test_a_page_opens_without_error_and_without_network_and_its_formulas_are_typeset "
          "-k notation"),
    Break("G29", "a dead address passes", "book/scripts/linkcheck.py", 'return f"{url}: {error}"', "return None",
          "test_linkcheck.py::test_an_address_of_a_published_file_is_asked_whether_it_is_there_and_how_long"),
    Break("G30", "warnings of the renderer are let pass", "book/scripts/build.py", '"-W", ', "",
          "test_execute.py::test_any_warning_of_the_renderer_is_an_error"),
    Break("G31", "notebooks do not run again when the package has changed", "book/scripts/execute.py",
          "path.read_bytes()", 'b""', "test_execute.py::test_a_notebook_is_run_again_when_its_cells_or_the_package_"
          "have_changed"),
    Break("G32", "the version to cite is another", "CITATION.cff", "version: 0.1.0", "version: 0.2.0",
          "test_project.py::test_version_and_title_are_the_same_everywhere"),
    Break("G32", "a page offers no way to report a problem", f"{HTML}/book/notation.html", 'class="report"', "",
          "test_pages.py::test_every_page_offers_to_report_a_problem_with_it"),
    Break("G33", "translators get no catalogue", "book/scripts/catalogues.py", '"gettext", stage', '"dummy", stage',
          "test_catalogues.py"),
    Break("G34", "a form's field has no label", ".github/DISCUSSION_TEMPLATE/study-groups.yml", "label:", "name:",
          "test_reading.py::test_whoever_finds_a_mistake_or_has_a_question_is_asked_for_what_helps"),
    Break("G36", "a limit is given in a number that nothing holds", "book/limitations.md", "\n## ",
          "\nIt took 17 minutes.\n\n## ", "test_reading.py::test_every_number_among_the_limits_is_true_or_stands_in_a_"
          "file_of_results"),
    Break("G37", "a notebook is heavy", "notebooks/01_images_and_noise.ipynb", '"# Images and noise\\n"',
          '"# Images and noise\\n", "' + "x" * 1_100_000 + '"', "test_notebooks.py::test_a_notebook_is_small"),
    Break("G38", "a notebook wants an account", "notebooks/12_scores_as_gradients.ipynb", '"import ',
          '"token = 1\\n", "import ', "test_notebooks.py::test_a_notebook_needs_no_account"),
)
WITHOUT = {"G35": "there are no lecture videos"}


def apply(change: Break, tree: Path) -> bytes:
    """Makes the break in a tree; what the file held before. Raises LookupError when the passage is not there."""
    path = tree / change.path
    before = path.read_bytes()
    if change.old.encode() not in before:
        raise LookupError(f"{change.goal}: {change.path} does not hold {change.old!r}")
    path.unlink()    # the built pages are links to the real ones
    path.write_bytes(before.replace(change.old.encode(), change.new.encode(), 1))
    return before


def copied(tree: Path) -> None:
    """The files of the repository, and the built book as links."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)
    subprocess.run(["git", "init", "-q"], cwd=tree, check=True)
    subprocess.run(["git", "add", "-A"], cwd=tree, check=True)
    for built in ("build/_build/html", "build/executed", "build/src"):
        shutil.copytree(ROOT / built, tree / built, copy_function=os.link)


def run(tests: list[str], tree: Path) -> tuple[int, str]:
    """The exit code of pytest in a tree, with its own package, and the end of what it said."""
    env = {**os.environ, "PYTHONPATH": str(tree), "CI": "true", "OMP_NUM_THREADS": "1",
           "IPYTHONDIR": str(tree / "tests/offline")}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout[-1500:]


def main(goals: list[str]) -> int:
    unknown = sorted(set(goals) - {change.goal for change in BREAKS})
    if unknown:
        sys.exit(f"nothing is broken for {', '.join(unknown)}: give goals such as G17, or none for all")
    unnoticed = 0
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        tree = Path(folder)
        copied(tree)
        for change in (c for c in BREAKS if not goals or c.goal in goals):
            tests = f"tests/{change.tests}".split()
            whole, said = run(tests, tree)
            before = apply(change, tree)
            broken, after = run(tests, tree)
            (tree / change.path).write_bytes(before)
            noticed = (whole, broken) == (0, 1)    # 1: tests ran, and one failed
            unnoticed += not noticed
            verdict = "noticed" if noticed else "NOT NOTICED"
            print(f"{change.goal}  {verdict}  {change.what}  ({change.tests})", flush=True)
            if not noticed:
                print(f"--- as it is ({whole}):\n{said}\n--- broken ({broken}):\n{after}", flush=True)
    return unnoticed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
