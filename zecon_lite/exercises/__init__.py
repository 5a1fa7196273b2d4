"""Exercises that answer back: `check("ddim-step", my_function)` says what is wrong, not only that it is.

One file per chapter, named as its notebook. Each holds `EXERCISES`, a tuple of `Exercise` (write a function) and
`Question` (find a number or a word) values.
"""

from __future__ import annotations

from ..profiles import pick
from . import (
    clip_guidance,
    ddim_and_inversion,
    ddpm,
    diffuseit,
    diffusionclip,
    images_and_noise,
    keys_and_cls,
    patch_contrast,
    scores_as_gradients,
    side_by_side,
    skipping_to_t0,
    style_from_a_picture,
    your_own_recipe,
    zecon,
)
from .grading import Exercise, Question, Verdict

CHAPTERS = (
    images_and_noise,
    ddpm,
    ddim_and_inversion,
    skipping_to_t0,
    clip_guidance,
    patch_contrast,
    zecon,
    keys_and_cls,
    diffuseit,
    style_from_a_picture,
    diffusionclip,
    scores_as_gradients,
    side_by_side,
    your_own_recipe,
)

EXERCISES: dict[str, Exercise | Question] = {
    exercise.name: exercise for chapter in CHAPTERS for exercise in chapter.EXERCISES
}


def check(name: str, answer: object) -> Verdict:
    """The verdict on a reader's answer, a function or a value; it never raises for a wrong one.

    Raises ValueError for a name that no exercise has, and where name and answer have changed places.

    >>> bool(check("no-direction", 1.0))
    True
    >>> check("no-direction", 0.0)
    Not yet: 0 would need a picture that changes *along* the text's change; a change of zero points nowhere.
    """
    if not isinstance(name, str):
        raise ValueError(f'the name comes first, as in check("ddim-step", my_function); got {type(name).__name__}')
    return pick("exercise", name, EXERCISES).grade(answer)


__all__ = ["CHAPTERS", "EXERCISES", "Exercise", "Question", "Verdict", "check"]
