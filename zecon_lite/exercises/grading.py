"""How an answer is read: what is wrong with it, not only that it is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TypeAlias, Union

import numpy as np
import torch
from torch import Tensor

DRAWS = 3  # random inputs that a function is tried on: one could be met by chance
Result: TypeAlias = Union[Tensor, tuple["Result", ...]]  # noqa: UP007  (a name in quotes has no |)


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
        made: list[object] = []
        for seed in range(DRAWS):
            given = self._arguments(seed)
            try:
                made.append(answer(*given))
            except Exception as error:  # the reader's own code: anything may happen in it
                return Verdict(False, f"your function raised {type(error).__name__}: {error}")
            if fault := self._fault(made[-1], given, seed):
                return Verdict(False, fault)
        found = [_result(value) for value in made]
        wanted = [self.solution(*self._arguments(seed)) for seed in range(DRAWS)]
        right = [_result(value) for value in wanted]
        apart = [seed for seed in range(DRAWS) if not _same(right[seed], found[seed], self.rtol, self.atol)]
        if not apart:
            return Verdict(True, self.praise)
        for diagnosis, mistake in self.mistakes.items():
            if all(_same(self._run(mistake, k), found[k], self.rtol, self.atol) for k in range(DRAWS)):
                return Verdict(False, diagnosis)
        if not self._steady(answer, found[0]):
            return Verdict(False, "asked the same, it answers something else each time: take the noise that is given.")
        k = apart[0]
        return Verdict(False, _difference(made[k], wanted[k]) or _factor(found, right) or _worst(found[k], right[k]))

    def _fault(self, made: object, given: tuple[object, ...], seed: int) -> str:
        """What forbids to compare the result at all, in words; empty where nothing does."""
        if made is None or made is Ellipsis:
            return "your function returns nothing; end it with `return`."
        if not _same(_result(_known(given)), _result(_known(self._arguments(seed))), 0, 0):
            return "your function changes its own inputs: write `x = x + ...`, not `x += ...`."
        try:
            _result(made)
        except Exception as error:  # a type of somebody else's may raise anything when it is converted
            outer, inner = type(made).__name__, str(error) if isinstance(error, TypeError) else type(error).__name__
            told = outer if outer == inner else f"a {outer} with {inner} in it"
            return f"your function returns {told}; wanted are tensors or numbers."
        return ""

    def _steady(self, answer: Callable[..., object], before: Result) -> bool:
        """Whether a function answers the first draw as it did before."""
        try:
            return _same(self._run(answer, 0), before, 0, 0)
        except Exception:  # it did not raise the first time
            return False

    def _arguments(self, seed: int) -> tuple[object, ...]:
        return self.inputs(torch.Generator().manual_seed(seed))

    def _run(self, function: Callable[..., object], seed: int) -> Result:
        return _result(function(*self._arguments(seed)))


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
        if isinstance(answer, Tensor | np.ndarray) and math.prod(answer.shape) == 1:
            answer = answer.item()
        if self._is(answer, self.answer):
            return Verdict(True, self.why)
        why = next((why for other, why in self.wrong.items() if self._is(answer, other)), None)
        word = isinstance(self.answer, str)
        if why is None and (isinstance(answer, bool) or not isinstance(answer, str if word else Real)):
            return Verdict(False, f"wanted is a {'word' if word else 'number'}; got {type(answer).__name__}.")
        return Verdict(False, why or "think again; the hint may help.")

    def _is(self, answer: object, wanted: str | float) -> bool:
        if isinstance(wanted, str):
            return isinstance(answer, str) and answer.strip().lower() == wanted.lower()
        if isinstance(answer, bool) or not isinstance(answer, Real):
            return False
        try:
            number = float(answer)
        except OverflowError:    # a whole number longer than any that is wanted
            return False
        return abs(number - wanted) <= (self.rtol * abs(wanted) or 1e-6)    # 0 has no relative error


def _known(values: tuple[object, ...]) -> tuple[object, ...]:
    """The tensors and numbers among an exercise's arguments; others (schedules, networks) are left out."""
    return tuple(v for v in values if isinstance(v, Tensor | Real | tuple | list))


def _result(value: object) -> Result:
    """What a function returned as one tensor, float64 on the CPU, or as a tuple of such where their shapes differ.

    So a list of numbers is a vector, and several results of one shape are the same as their stack: an answer is not
    wrong for its container. Raises TypeError, naming the type, for what is neither tensor nor number.
    """
    if isinstance(value, tuple | list):
        parts = tuple(_result(v) for v in value)
        tensors = [part for part in parts if isinstance(part, Tensor)]
        alike = len(tensors) == len(parts) and len({tensor.shape for tensor in tensors}) == 1
        return torch.stack(tensors) if alike else parts
    if isinstance(value, Real):
        return torch.tensor(float(value), dtype=torch.float64)
    if not isinstance(value, Tensor | np.ndarray):
        raise TypeError(type(value).__name__)
    # A copy: torch takes no array whose rows run backwards, such as s[::-1].
    tensor = torch.as_tensor(value.copy() if isinstance(value, np.ndarray) else value).detach().to_dense().cpu()
    if tensor.is_complex():
        raise TypeError("complex numbers")
    return tensor.double()


def _same(a: Result, b: Result, rtol: float, atol: float) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and torch.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True)
    if isinstance(a, Tensor) or isinstance(b, Tensor) or len(a) != len(b):
        return False
    return all(_same(x, y, rtol, atol) for x, y in zip(a, b, strict=True))


def _shape(value: object) -> str:
    """What kind of result it is, in words."""
    found = _result(value)
    if isinstance(value, tuple | list) and not (isinstance(found, Tensor) and found.ndim == 1):
        return f"{len(value)} results ({'; '.join(_shape(v) for v in value)})"
    return f"the shape {tuple(found.shape)}" if isinstance(found, Tensor) and found.ndim else "one number"


def _flat(value: Result) -> Tensor:
    return value.flatten() if isinstance(value, Tensor) else torch.cat([torch.empty(0), *map(_flat, value)])


def _difference(made: object, wanted: object) -> str:
    """How two results differ in kind, in words; empty where only their numbers do."""
    found, right = _result(made), _result(wanted)
    if not _same(_blank(found), _blank(right), 0, 0):
        return f"wanted is {_shape(wanted)}; got {_shape(made)}."
    if not torch.isfinite(_flat(found)).all():
        return (
            "the result holds NaN or infinity: look for a division by zero, a logarithm of zero, or the root of a "
            "negative number, as where two levels are exchanged."
        )
    return ""


def _blank(value: Result) -> Result:
    return torch.zeros_like(value) if isinstance(value, Tensor) else tuple(map(_blank, value))


def _factor(found: Sequence[Result], right: Sequence[Result]) -> str:
    """By which one factor every number of every draw is wrong, in words; empty where there is none."""
    factors = []
    for mine, wanted in zip(map(_flat, found), map(_flat, right), strict=True):
        if mine.shape != wanted.shape:
            return ""
        factor = (mine * wanted).sum() / wanted.square().sum().clamp_min(1e-12)
        if factor.abs() < 1e-6 or not torch.allclose(mine, factor * wanted, rtol=1e-4, atol=1e-6):
            return ""
        factors.append(factor.item())
    alike = max(factors) - min(factors) < 1e-3 * abs(factors[0])
    return f"every number is {factors[0]:.4g} times what is wanted." if alike else ""


def _worst(found: Result, right: Result) -> str:
    """Where two results of one shape are farthest apart, in words."""
    mine, wanted = _flat(found), _flat(right)
    at = (mine - wanted).abs().argmax()
    return f"the shape is right, the numbers are not: {mine[at]:.4g} stands where {wanted[at]:.4g} is wanted."
