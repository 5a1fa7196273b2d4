"""Exercises: the stub fails, the solution passes, and each typical mistake is told what it is."""

from __future__ import annotations

import ast
import re

import nbformat
import pytest
import torch
from conftest import ROOT

from zecon_lite.exercises import CHAPTERS, EXERCISES, Exercise, Question, check
from zecon_lite.exercises.grading import DRAWS

FUNCTIONS = [e for e in EXERCISES.values() if isinstance(e, Exercise)]
QUESTIONS = [e for e in EXERCISES.values() if isinstance(e, Question)]
NOTEBOOKS = {path.stem: nbformat.read(path, as_version=4) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
MISTAKES = [(e, diagnosis) for e in FUNCTIONS for diagnosis in e.mistakes]
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


@every_question
def test_the_answer_passes_and_each_wrong_one_is_told_why(question):
    assert question.grade(question.answer) and question.grade(question.answer).message == question.why
    assert len(question.wrong) >= 2
    for answer, why in question.wrong.items():
        assert not question.grade(answer) and question.grade(answer).message == why
    assert not question.grade(None)


def test_names_are_used_once():
    assert len(EXERCISES) == sum(len(chapter.EXERCISES) for chapter in CHAPTERS)


# --------------------------------------------------------------------------------------------------- the notebooks


def checked(notebook):
    """(name, cell) for each check(...) in a notebook's code."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and "check(" in cell.source:
            for node in ast.walk(ast.parse(re.sub(r"^\s*[%!].*$", "", cell.source, flags=re.M))):
                called = isinstance(node, ast.Call) and ast.unparse(node.func).endswith("check") and node.args
                if called and isinstance(node.args[0], ast.Constant):
                    yield node.args[0].value, cell


@pytest.mark.parametrize("stem", [s for s in NOTEBOOKS if any(c.__name__.endswith(s[3:]) for c in CHAPTERS)])
def test_a_chapter_leaves_each_of_its_exercises_open_and_answers_it_hidden(stem):
    (chapter,) = (c for c in CHAPTERS if c.__name__.endswith(stem[3:]))
    uses = list(checked(NOTEBOOKS[stem]))
    for exercise in chapter.EXERCISES:
        open_, answered = [], []
        for name, cell in uses:
            if name == exercise.name:
                (answered if "hide-cell" in cell.metadata.get("tags", []) else open_).append(cell)
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
        (lambda x: "two", "returns str"),
        (lambda x: (x, x), "wanted are 1 results; got 2"),
        (lambda x: (2 * x)[:2], r"shape \(3,\); got \(2,\)"),
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

    assert not exercise.grade(lucky).right and len(calls) == DRAWS


def test_a_number_may_be_rounded_and_a_word_may_be_written_large():
    number = Question("n", 2.5, "so.", {5.0: "twice too much.", 0.0: "no."})
    assert number.grade(2.51) and number.grade(torch.tensor(2.5)) and not number.grade(2.6)
    assert number.grade(5.0).message == "twice too much." and "think again" in number.grade(7.0).message
    word = Question("w", "Key", "so.", {"query": "the other one.", "value": "no."})
    assert word.grade(" key ") and word.grade("QUERY").message == "the other one."


def test_an_unknown_exercise_names_the_nearest():
    with pytest.raises(ValueError, match=r"no exercise 'patch-contrats'.*patch-contrast"):
        check("patch-contrats", doubled)
