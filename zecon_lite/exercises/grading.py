"""How an answer is read: what is wrong with it, not only that it is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

DRAWS = 3  # random inputs that a function is tried on: one could be met by chance


@dataclass(frozen=True)
class Verdict:
    """What `check` found: true where the answer is right, and shown as one sentence."""

    right: bool
    message: str

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        return f"{'Right' if self.right else 'Not yet'}: {self.message}"


@dataclass(frozen=True)
class Exercise:
    """A function to write, tried on random inputs.

    inputs: draws the arguments from a generator. solution: a right answer; it returns a tensor, a number, or a tuple of
    them. mistakes: what is wrong -> a function that is wrong in just that way, so that a reader who does the same is
    told so. praise: what a right answer shows. rtol, atol: as in `torch.isclose`.
    """

    name: str
    inputs: Callable[[torch.Generator], tuple[object, ...]]
    solution: Callable[..., object]
    mistakes: Mapping[str, Callable[..., object]]
    praise: str = "it agrees with the solution on random inputs."
    rtol: float = 1e-4
    atol: float = 1e-5

    def grade(self, answer: object) -> Verdict:
        """The verdict on a function. What it raises is part of the verdict."""
        if not callable(answer):
            return Verdict(False, f"this exercise wants a function; got {type(answer).__name__}.")
        found = []
        for seed in range(DRAWS):
            given = self._arguments(seed)
            try:
                made = answer(*given)
            except Exception as error:  # the reader's own code: anything may happen in it
                return Verdict(False, f"your function raised {type(error).__name__}: {error}")
            if made is None or made is Ellipsis:
                return Verdict(False, "your function returns nothing; end it with `return`.")
            if not _same(_tensors(given), _tensors(self._arguments(seed)), 0, 0):
                return Verdict(False, "your function changes its own inputs: write `x = x + ...`, not `x += ...`.")
            try:
                found.append(_tensors(made))
            except TypeError as error:
                return Verdict(False, f"your function returns {error}; wanted are tensors or numbers.")
        if self._agrees(self.solution, found):
            return Verdict(True, self.praise)
        for diagnosis, mistake in self.mistakes.items():
            if self._agrees(mistake, found):
                return Verdict(False, diagnosis)
        return Verdict(False, _difference(found[0], self._run(self.solution, 0)))

    def _arguments(self, seed: int) -> tuple[object, ...]:
        return self.inputs(torch.Generator().manual_seed(seed))

    def _run(self, function: Callable[..., object], seed: int) -> list[Tensor]:
        return _tensors(function(*self._arguments(seed)))

    def _agrees(self, function: Callable[..., object], found: Sequence[list[Tensor]]) -> bool:
        return all(_same(self._run(function, seed), found[seed], self.rtol, self.atol) for seed in range(DRAWS))


@dataclass(frozen=True)
class Question:
    """A question with one answer, a word or a number. why: what makes it right; wrong: other answers -> why not."""

    name: str
    answer: str | float
    why: str
    wrong: Mapping[str | float, str]
    rtol: float = 0.02

    def grade(self, answer: object) -> Verdict:
        """The verdict on a word or number."""
        if answer is None or answer is Ellipsis:
            return Verdict(False, "put your answer in the place of the dots.")
        if isinstance(answer, Tensor) and answer.numel() == 1:
            answer = answer.item()
        if self._is(answer, self.answer):
            return Verdict(True, self.why)
        why = (why for other, why in self.wrong.items() if self._is(answer, other))
        return Verdict(False, next(why, "think again; the hint may help."))

    def _is(self, answer: object, wanted: str | float) -> bool:
        if isinstance(wanted, str):
            return isinstance(answer, str) and answer.strip().lower() == wanted.lower()
        return isinstance(answer, Real) and abs(float(answer) - wanted) <= self.rtol * abs(wanted)


def _tensors(values: object) -> list[Tensor]:
    """The tensors and numbers among values, in order, as float64. Raises TypeError, naming the type, for anything else.

    Other arguments of an exercise (schedules, networks) are left out.
    """
    if isinstance(values, tuple) and any(isinstance(v, Tensor | Real | tuple | list) for v in values):
        return [t for v in values if isinstance(v, Tensor | Real | tuple | list) for t in _tensors(v)]
    if isinstance(values, list):
        return [t for v in values for t in _tensors(v)]
    if not isinstance(values, Tensor | Real):
        raise TypeError(type(values).__name__)
    return [torch.as_tensor(values).detach().double()]


def _same(a: Sequence[Tensor], b: Sequence[Tensor], rtol: float, atol: float) -> bool:
    return len(a) == len(b) and all(
        x.shape == y.shape and torch.allclose(x, y, rtol=rtol, atol=atol, equal_nan=True)
        for x, y in zip(a, b, strict=True)
    )


def _difference(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> str:
    """In words, where two results part, when nothing better is known."""
    if len(found) != len(wanted):
        return f"wanted are {len(wanted)} results; got {len(found)}."
    for mine, right in zip(found, wanted, strict=True):
        if mine.shape != right.shape:
            return f"the result should have the shape {tuple(right.shape)}; got {tuple(mine.shape)}."
        if not torch.isfinite(mine).all():
            return "the result holds NaN or infinity: look for a division by zero or a logarithm of zero."
    mine, right = (torch.cat([t.flatten() for t in tensors]) for tensors in (found, wanted))
    factor = (mine * right).sum() / right.square().sum().clamp_min(1e-12)
    if factor.abs() > 1e-6 and torch.allclose(mine, factor * right, rtol=1e-4, atol=1e-6):
        return f"every number is {factor:.4g} times what is wanted."
    at = (mine - right).abs().argmax()
    return f"the shape is right, the numbers are not: {mine[at]:.4g} stands where {right[at]:.4g} is wanted."
