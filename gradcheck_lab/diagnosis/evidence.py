"""What an explanation is made from (`Evidence`), and what it says (`Explanation`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from gradcheck_lab.diagnosis.deviation import Deviation
from gradcheck_lab.model.limits import DIAGNOSED_ELEMENTS
from gradcheck_lab.model.precision import is_narrow, unit_roundoff, wide_dtype, widened
from gradcheck_lab.model.precision.fits import (
    ERROR_BESIDE_TENSOR,
    MARGINAL_ROUNDINGS,
    ORACLE_ERRORS,
    SOUND_ROUNDINGS,
    SOUND_ROUNDINGS_16_BITS,
)


class Claim(NamedTuple):
    """What an explanation says of the rule: a place, a tensor or a formula, and its number, between `low` and `high`."""

    what: str
    low: float = 0.0
    high: float = 0.0

    def agrees(self, other: Claim) -> bool:
        """Whether both may be about one thing and one number."""
        return self.what == other.what and self.low <= other.high and other.low <= self.high


def about(what: str, number: float, tolerance: float) -> Claim:
    """The claim that a number is this, but for a relative error of `tolerance`."""
    off = tolerance * abs(number)
    return Claim(what, number - off, number + off)


@dataclass(frozen=True, slots=True)
class Explanation:
    """A cause of `model/causes.py`, why it is that, and what to do; `also` are further mistakes in the gradient.

    `claims` are what has to be the same on another draw of the call. A `fact` is seen on one call and fitted to nothing.
    `deviation` is what the mistake does to the true gradient, None where the explanation does not say that.
    """

    cause: str
    sentence: str
    suggestion: str
    also: tuple[Explanation, ...] = ()
    claims: tuple[Claim, ...] = ()
    fact: bool = False
    deviation: Deviation | None = field(default=None, compare=False, repr=False)

    def agrees(self, other: Explanation) -> bool:
        """Whether both give one cause, and claim the same."""
        if self.cause != other.cause or len(self.claims) != len(other.claims):
            return False
        return all(mine.agrees(its) for mine, its in zip(self.claims, other.claims, strict=True))


@dataclass(frozen=True, slots=True)
class PartialGradient:
    """The gradient without the contributions of some uses of a value that is used several times.

    `kept` names the uses whose contributions are in `gradient`, `lost` the others. `value` names the value; "it" is the tensor
    itself. `assigned` is set where the contributions look overwritten, as by = instead of +=: only that of the use which
    backward reaches last is there, or all uses are of one kind. `whole` is the gradient of the value itself with all its uses.
    """

    kept: str
    gradient: torch.Tensor
    lost: str
    value: str = "it"
    assigned: bool = False
    whole: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Variation:
    """The gradient that the true backward gives with one thing changed, and what is said of one that equals it.

    `names` are the tensors and functions that it is about. With `places`, `gradient` holds these elements alone. It is not
    `exact` where a number in it, such as an epsilon, is known roughly.
    """

    cause: str
    sentence: str
    suggestion: str
    names: tuple[str, ...]
    gradient: torch.Tensor | None = None
    places: torch.Tensor | None = None
    exact: bool = True


def nothing() -> None:
    """The default of a callable that has no result."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One wrong gradient (`actual`), its reference (`expected`), and the tensors of the call by name.

    `tensors` maps the names of inputs, outputs and upstream gradients to the tensors, `references` the names of the other
    inputs to their reference gradients. `precision` is the error that an element of the reference itself may have. `options`
    are the call's other arguments by name. `assigned` is set where the hand-written side keeps gradients in buffers: in
    layers, programs and notebooks.

    The callables run the oracle once more. `paths` gives the gradients without some uses of a value, `unreduced` the gradient
    with the input broadcast before the call, `conjugated` J^T g instead of J^H g. `reversed` gives, for each axis (counted from
    the end), the gradient with that axis of grad_output and of the result reversed. `variations` gives those with one
    thing changed in the backward, `less_likely` those of values within the forward or with another function's derivative,
    `neighbours` those of forwards with another choice, `narrowed` those with one value rounded to a narrower dtype, `values`
    the forward's intermediate values by name. `again` gives the evidence of the same gradient on further draws of the call,
    None where there is no code to run again; `sought` is the explanation that such a draw is to confirm. `right` are the names
    of inputs whose own gradients are right. `held` gives, for a shape, what each variable of the hand-written backward held one
    after the other; None where that cannot be watched. `operators` gives the names of torch's operators that the hand-written
    side runs, None where they are not known.
    """

    name: str
    actual: torch.Tensor
    expected: torch.Tensor
    dtype: torch.dtype
    tensors: Mapping[str, torch.Tensor] = field(default_factory=dict)
    references: Mapping[str, torch.Tensor] = field(default_factory=dict)
    upstream: tuple[torch.Tensor, ...] = ()
    precision: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)
    assigned: bool = False
    paths: Callable[[], Iterable[PartialGradient]] = tuple
    unreduced: Callable[[], torch.Tensor | None] = nothing
    conjugated: Callable[[], torch.Tensor | None] = nothing
    reversed: Callable[[], Iterable[tuple[int, torch.Tensor]]] = tuple
    variations: Callable[[], Iterable[Variation]] = tuple
    less_likely: Callable[[], Iterable[Variation]] = tuple
    neighbours: Callable[[], Iterable[Variation]] = tuple
    narrowed: Callable[[Sequence[torch.dtype]], Iterable[Variation]] = lambda dtypes: ()
    values: Callable[[], Mapping[str, torch.Tensor]] = dict
    held: Callable[[tuple[int, ...]], Sequence[Sequence[torch.Tensor]] | None] = lambda shape: None
    operators: Callable[[], frozenset[str] | None] = nothing
    right: frozenset[str] = frozenset()
    again: Callable[[], Iterable[Evidence]] | None = None
    sought: Explanation | None = None

    @property
    def small(self) -> bool:
        """Whether the tensors are small enough to rearrange and compare freely."""
        return max(self.actual.numel(), self.expected.numel()) <= DIAGNOSED_ELEMENTS.value

    @property
    def real(self) -> bool:
        """Whether both gradients are real, finite, of one shape, and small enough to look for patterns."""
        if self.actual.shape != self.expected.shape or self.actual.is_complex() or self.expected.is_complex():
            return False
        return 0 < self.actual.numel() <= DIAGNOSED_ELEMENTS.value and bool(
            torch.isfinite(self.actual).all() & torch.isfinite(self.expected).all()
        )

    @property
    def rounding(self) -> float:
        """The error that a sound implementation may make by rounding, relative to the norm of a gradient."""
        return (SOUND_ROUNDINGS_16_BITS if is_narrow(self.dtype) else SOUND_ROUNDINGS).value * unit_roundoff(self.dtype)

    @property
    def noise(self) -> float:
        """The norm of the difference between gradient and reference that rounding alone may explain."""
        size = torch.linalg.vector_norm(widened(self.actual)) + torch.linalg.vector_norm(widened(self.expected))
        return self.rounding * float(size) + ORACLE_ERRORS.value * self.precision * math.sqrt(self.actual.numel())

    @property
    def numbers(self) -> dict[str, float]:
        """The options that are plain numbers, by name."""
        plain = {k: v for k, v in self.options.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
        return {name: float(value) for name, value in plain.items()}

    @property
    def marginal(self) -> bool:
        """Whether the error is so close to rounding that a pattern in it would be chance."""
        if self.actual.shape != self.expected.shape or not self.small:
            return False
        a, b = self.actual.to(self.expected.dtype), self.expected
        error, scale = float(torch.linalg.vector_norm(a - b)), float(torch.linalg.vector_norm(b))
        return error <= MARGINAL_ROUNDINGS.value * self.rounding * scale

    def fits(self, candidate: torch.Tensor, actual: torch.Tensor | None = None) -> bool:
        """Whether `actual`, by default the wrong gradient, equals `candidate` up to the rounding of a sound implementation."""
        value = self.actual if actual is None else actual
        if value.shape != candidate.shape or not value.numel():
            return False
        wide = wide_dtype(torch.promote_types(value.dtype, candidate.dtype))
        a, b = value.to(wide), candidate.to(wide)
        scale = float(torch.linalg.vector_norm(b))
        error = float(torch.linalg.vector_norm(a - b))
        oracle_error = ORACLE_ERRORS.value * self.precision * value.numel() ** 0.5
        return scale > 0 and error <= self.rounding * scale + oracle_error


def accounts_for(evidence: Evidence, candidate: torch.Tensor) -> bool:
    """Whether a gradient that no number was fitted for is the wrong one: it leaves next to nothing of the error."""
    if not evidence.fits(candidate):
        return False
    actual = evidence.actual.double()
    error = float(torch.linalg.vector_norm(actual - evidence.expected.double()))
    return float(torch.linalg.vector_norm(actual - candidate.double())) <= ERROR_BESIDE_TENSOR.value * error


def axes_text(axes: tuple[int, ...]) -> str:
    """`axis 0` or `axes 0 and 2`."""
    words = [str(axis) for axis in axes]
    return f"axis {words[0]}" if len(words) == 1 else f"axes {', '.join(words[:-1])} and {words[-1]}"
