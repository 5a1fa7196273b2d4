"""Exercises: the stub fails, the solution passes, and each typical mistake is told what it is."""

from __future__ import annotations

import ast
import re

import nbformat
import numpy as np
import pytest
import torch
from conftest import ROOT

from zecon_lite.exercises import CHAPTERS, EXERCISES, Exercise, Question, check
from zecon_lite.exercises.grading import DRAWS

FUNCTIONS = [e for e in EXERCISES.values() if isinstance(e, Exercise)]
QUESTIONS = [e for e in EXERCISES.values() if isinstance(e, Question)]
NOTEBOOKS = {path.stem: nbformat.read(path, as_version=4) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
MISTAKES = [(e, diagnosis) for e in FUNCTIONS for diagnosis in e.mistakes]
CHAPTER_OF = {chapter.__name__.rpartition(".")[2]: chapter for chapter in CHAPTERS}
each_notebook = pytest.mark.parametrize("stem", NOTEBOOKS)
every_function = pytest.mark.parametrize("exercise", FUNCTIONS, ids=lambda e: e.name)
every_question = pytest.mark.parametrize("question", QUESTIONS, ids=lambda e: e.name)


def doubled(x):
    return 2 * x


@pytest.fixture
def exercise():
    return Exercise(
        "double", lambda g: (torch.randn(3, generator=g),), doubled, {"that is the square.": lambda x: x**2}
    )


# ---------------------------------------------------------------------------------------------- every exercise there is


@every_function
def test_the_solution_passes_and_a_stub_does_not(exercise):
    assert exercise.grade(exercise.solution).right
    assert not exercise.grade(lambda *inputs: None).right
    assert not exercise.grade(lambda *inputs: 0.0).right


@every_function
def test_at_least_two_mistakes_are_known(exercise):
    assert len(exercise.mistakes) >= 2


@pytest.mark.parametrize(("exercise", "diagnosis"), MISTAKES, ids=lambda v: getattr(v, "name", v))
def test_a_mistake_gets_its_own_message(exercise, diagnosis):
    verdict = exercise.grade(exercise.mistakes[diagnosis])
    assert not verdict.right and verdict.message == diagnosis


@every_function
def test_each_mistake_is_told_something_else(exercise):
    messages = [exercise.grade(mistake).message for mistake in exercise.mistakes.values()]
    assert len(set(messages)) == len(messages)


@every_question
def test_the_answer_passes_and_each_wrong_one_is_told_why(question):
    assert question.grade(question.answer) and question.grade(question.answer).message == question.why
    assert len(question.wrong) >= 2
    for answer, why in question.wrong.items():
        assert not question.grade(answer) and question.grade(answer).message == why
    assert len({question.why, *question.wrong.values()}) == 1 + len(question.wrong), "each answer its own message"
    assert not question.grade(None)


def test_names_are_used_once():
    assert len(EXERCISES) == sum(len(chapter.EXERCISES) for chapter in CHAPTERS)


# --------------------------------------------------------------------------------------------------- the notebooks


def is_solution(cell):
    return cell.source.startswith("# @title Solution")


def is_hidden(cell):
    return "hide-cell" in cell.metadata.get("tags", [])


def exercises_of(notebook):
    """[title, text, code cells] of each exercise of a notebook."""
    sections = []
    for cell in notebook.cells:
        titles = re.findall(r"^##+ (.*)", cell.source, re.M) if cell.cell_type == "markdown" else []
        if titles:
            sections.append([titles[-1], cell.source, []])
        elif sections and cell.cell_type == "code":
            sections[-1][2].append(cell)
    return [section for section in sections if section[0].startswith("Exercise ")]


def names_in(cell):
    """The name in each check(...) of a code cell."""
    if "check(" in cell.source:
        for node in ast.walk(ast.parse(re.sub(r"^\s*[%!].*$", "", cell.source, flags=re.M))):
            called = isinstance(node, ast.Call) and ast.unparse(node.func).endswith("check") and node.args
            if called and isinstance(node.args[0], ast.Constant):
                yield node.args[0].value


def checked(notebook):
    """(name, cell) for each check(...) in a notebook's code."""
    return [(name, cell) for cell in notebook.cells if cell.cell_type == "code" for name in names_in(cell)]


def test_every_notebook_has_its_file_of_exercises():
    assert list(CHAPTER_OF) == [stem[3:] for stem in NOTEBOOKS]


@each_notebook
def test_a_chapter_has_four_exercises_and_each_answers_back(stem):
    found = exercises_of(NOTEBOOKS[stem])
    assert [title.split()[1] for title, *_ in found] == [f"{int(stem[:2])}.{k + 1}" for k in range(len(found))]
    assert sum(cell.source.count("### Exercise") for cell in NOTEBOOKS[stem].cells) == len(found) >= 4
    assert not [title for title, _, cells in found if not any(True for cell in cells for _ in names_in(cell))]


@each_notebook
def test_an_exercise_has_one_hint_and_ends_in_its_hidden_solution(stem):
    for title, text, cells in exercises_of(NOTEBOOKS[stem]):
        assert text.count("<details>") == text.count("<summary>Hint</summary>") == 1, f"{title}: one hint"
        solved = [is_solution(cell) for cell in cells]
        assert any(solved), f"{title}: a solution"
        assert solved == [is_hidden(cell) for cell in cells], f"{title}: solutions are hidden, and nothing else is"
        assert solved in ([True] * len(cells), [False] + [True] * (len(cells) - 1)), f"{title}: an open cell at most"


@each_notebook
def test_a_cell_that_is_left_open_ends_in_its_check(stem):
    for title, _, cells in exercises_of(NOTEBOOKS[stem]):
        for cell in cells:
            assert is_solution(cell) or cell.source.splitlines()[-1].startswith("exercises.check("), title


@each_notebook
def test_a_chapter_leaves_each_of_its_exercises_open_and_answers_it_hidden(stem):
    chapter, uses = CHAPTER_OF[stem[3:]], checked(NOTEBOOKS[stem])
    for exercise in chapter.EXERCISES:
        open_, answered = [], []
        for name, cell in uses:
            if name == exercise.name:
                (answered if is_hidden(cell) else open_).append(cell)
        assert len(open_) == 1 and len(answered) == 1, f"{exercise.name}: one open cell and one hidden solution"
        for cell, word in ((open_[0], "Not yet: "), (answered[0], "Right: ")):
            assert "nbval-check-output" in cell.metadata.tags, f"{exercise.name}: mark the cell, so that CI sees it"
            text = "".join(o.get("text", "") or "".join(o.get("data", {}).get("text/plain", "")) for o in cell.outputs)
            assert word in text, f"{exercise.name}: wanted {word!r} in the stored output; got {text!r}"
    assert {name for name, _ in uses} == {exercise.name for exercise in chapter.EXERCISES}


# ----------------------------------------------------------------------------------------------------- how it answers


def test_a_verdict_is_a_truth_value_and_a_sentence(exercise):
    assert repr(exercise.grade(doubled)) == "Right: it agrees with the solution on random inputs."
    assert repr(exercise.grade(lambda x: x**2)) == "Not yet: that is the square."


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (3, "wants a function; got int"),
        (lambda x: None, "returns nothing;"),
        (lambda x: 1 / 0, "raised ZeroDivisionError"),
        (lambda: 0, "raised TypeError"),
        (lambda x: "two", "returns str;"),
        (lambda x: (2 * x, "two"), "returns a tuple with str in it"),
        (lambda x: 2j * x, "returns a Tensor with complex numbers in it"),
        (lambda x: torch.randn(3), "answers something else each time"),
        (lambda x: (2 * x).to("meta"), r"returns a Tensor with \w+ in it"),
        (lambda x: (x, x), r"wanted is the shape \(3,\); got 2 results"),
        (lambda x: (2 * x)[:2], r"wanted is the shape \(3,\); got the shape \(2,\)"),
        (lambda x: 2 * x / 0, "NaN or infinity"),
        (lambda x: 6 * x, "every number is 3 times what is wanted"),
        (lambda x: 2 * x + torch.tensor([0, 1.0, 0]), "the numbers are not: .* stands where"),
        (lambda x: x.mul_(2), "changes its own inputs"),
    ],
)
def test_a_wrong_answer_is_told_what_is_wrong(exercise, answer, message):
    verdict = exercise.grade(answer)
    assert not verdict.right and re.search(message, verdict.message), verdict.message


def test_an_answer_that_is_right_once_is_not_right(exercise):
    calls = []

    def lucky(x):
        calls.append(x)
        return doubled(x) if len(calls) == 1 else x**2

    assert not exercise.grade(lucky).right and len(calls) == DRAWS + 1, "and once more, whether it is steady"


@pytest.mark.parametrize("wrap", [
    list, tuple, lambda x: [float(v) for v in x], lambda x: x.numpy(), lambda x: x.flip(0).numpy()[::-1],
    torch.Tensor.half,
])
def test_an_answer_is_not_wrong_for_its_container(exercise, wrap):
    assert exercise.grade(lambda x: wrap(2 * torch.arange(3.0))).message != exercise.praise, "still the wrong numbers"
    whole = Exercise("whole", lambda g: (torch.randint(9, (3,), generator=g).float(),), doubled, {})
    assert whole.grade(lambda x: wrap(2 * x)).right


def test_lists_may_not_be_cut_elsewhere():
    two = Exercise("two", lambda g: (int(torch.randint(3, 9, (), generator=g)),), lambda n: (list(range(n)), [n]), {})
    assert two.grade(lambda n: (range_tensor(n), torch.tensor([n]))).right
    for answer in (lambda n: [*range(n), n], lambda n: (list(range(n - 1)), [n - 1, n])):
        assert not two.grade(answer).right


def range_tensor(n):
    return torch.arange(n)


def test_a_fault_is_told_of_the_draw_that_shows_it(exercise):
    seen = []

    def first_alone(x):
        seen.append(x) if not seen else None
        return 2 * x if torch.equal(x, seen[0]) else 2 * x + torch.tensor([0, 1.0, 0])

    assert "stands where" in exercise.grade(first_alone).message


def test_a_single_number_is_a_multiple_only_if_it_always_is():
    total = Exercise("total", lambda g: (torch.rand(3, generator=g),), torch.sum, {})
    assert total.grade(lambda x: -x.sum()).message == "every number is -1 times what is wanted."
    assert "stands where" in total.grade(lambda x: x.sum() + 1).message


def test_name_and_answer_in_the_wrong_order_are_told_so():
    with pytest.raises(ValueError, match="the name comes first"):
        check(doubled, "gram")


def test_a_question_says_what_kind_of_answer_it_wants():
    number = Question("n", 0.0, "so.", {5.0: "twice too much.", 1.0: "no."})
    assert number.grade(1e-9) and number.grade(np.array([0.0])) and not number.grade(False)
    assert number.grade("0").message == "wanted is a number; got str."
    assert number.grade(torch.zeros(2)).message == "wanted is a number; got Tensor."
    assert Question("w", "key", "so.", {}).grade(3).message == "wanted is a word; got int."


@pytest.mark.parametrize(
    ("name", "near"),
    [("passes-of-zecon", 51), ("gram-numbers", 2100), ("perfect-contrast", 3.56), ("blank-sky", 5.5416)],
)
def test_a_count_is_not_right_because_it_is_near(name, near):
    assert not check(name, near)


def test_a_number_may_be_rounded_and_a_word_may_be_written_large():
    number = Question("n", 2.5, "so.", {5.0: "twice too much.", 0.0: "no."})
    assert number.grade(2.51) and number.grade(torch.tensor(2.5)) and not number.grade(2.6)
    assert number.grade(5.0).message == "twice too much." and "think again" in number.grade(7.0).message
    word = Question("w", "Key", "so.", {"query": "the other one.", "value": "no."})
    assert word.grade(" key ") and word.grade("QUERY").message == "the other one."


def test_a_number_longer_than_any_float_is_wrong():
    assert not Question("q", 2.0, "so it is", {}).grade(10**400).right


def test_an_unknown_exercise_names_the_nearest():
    with pytest.raises(ValueError, match=r"no exercise 'patch-contrats'.*patch-contrast"):
        check("patch-contrats", doubled)
