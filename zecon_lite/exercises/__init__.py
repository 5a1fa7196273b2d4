"""Exercises that answer back: `check("ddim-step", my_function)` says what is wrong, not only that it is.

One file per chapter, named as its notebook. Each holds `EXERCISES`, a tuple of `Exercise` (write a function) and
`Question` (find a number or a word) values.
"""

from __future__ import annotations

from ..profiles import nearest
from . import patch_contrast
from .grading import Exercise, Question, Verdict

CHAPTERS = (patch_contrast,)

EXERCISES: dict[str, Exercise | Question] = {
    exercise.name: exercise for chapter in CHAPTERS for exercise in chapter.EXERCISES
}


def check(name: str, answer: object) -> Verdict:
    """The verdict on a reader's answer, a function or a value; it never raises for a wrong one.

    Raises ValueError for a name that no exercise has.
    """
    if name not in EXERCISES:
        raise ValueError(f"there is no exercise {name!r}; {nearest(name, EXERCISES)}")
    return EXERCISES[name].grade(answer)


__all__ = ["CHAPTERS", "EXERCISES", "Exercise", "Question", "Verdict", "check"]
