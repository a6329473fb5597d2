"""Constants by which mistakes scale a gradient: sizes, their roots, squares and products, counts of valid rows, options."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch

from gradcheck_lab.diagnosis.evidence import Evidence
from gradcheck_lab.model.amounts import LABELS_LOST
from gradcheck_lab.model.precision import is_narrow, unit_roundoff
from gradcheck_lab.model.precision.fits import (
    CONSTANT_ROUNDINGS,
    CONSTANT_ROUNDINGS_16_BITS,
    SMALL_WHOLE_NUMBER,
)

Constant = tuple[float, str, str, str]


def tolerance_of(evidence: Evidence) -> float:
    """The relative error that a factor read off the gradient may have."""
    if is_narrow(evidence.dtype):
        return CONSTANT_ROUNDINGS_16_BITS.value * unit_roundoff(evidence.dtype)
    return CONSTANT_ROUNDINGS.value * unit_roundoff(evidence.dtype)


def named_constant(evidence: Evidence, c: float) -> Constant | None:
    """The first of `constants` that `c` or -`c` is up to rounding; None where there is none."""
    tolerance = tolerance_of(evidence)
    # a small whole number is a multiple of some size by chance
    sizes = (abs(c), 1 / abs(c) if c else 0.0)
    simple = any(abs(each - round(each)) <= tolerance * each and each < SMALL_WHOLE_NUMBER.value for each in sizes)
    for constant in constants(evidence, simple):
        for sign in (1.0, -1.0):
            if abs(c - sign * constant[0]) <= tolerance * abs(constant[0]):
                value, what, why, fix = constant
                return (value, what, why, fix) if sign > 0 else (-value, f"minus {what}", why, f"{fix} and negate it")
    return None


def constants(evidence: Evidence, simple: bool = False) -> Iterator[Constant]:
    """Constants by which mistakes scale a gradient, the most common first: value, words for it, why, and the fix.

    `simple` ends the list after 2, 1/2 and the sizes, as does a dtype whose few digits would fit any longer one.
    """
    yield 2.0, "exactly 2 times", "", "divide it by 2"
    yield 0.5, "exactly half", "", "multiply it by 2"
    for n, where in _sizes(evidence):
        yield n, f"{n} times", f"{n} is {where}: a mean was not applied", f"divide it by {n}"
        yield 1 / n, f"1/{n} of", f"{n} is {where}: a mean was applied twice, or to a sum", f"multiply it by {n}"
    if is_narrow(evidence.dtype) or simple:
        return
    yield from _counts(evidence)
    for name, value in evidence.numbers.items():
        yield from _of_option(name, value)
    for n, where in _sizes(evidence):
        yield from _of_size(n, f"{n} is {where}")
    yield from _products(evidence)


def _of_size(n: int, why: str) -> Iterator[Constant]:
    yield 2 * n, f"2 * {n} times", why, f"divide it by {2 * n}"
    yield 2 / n, f"2/{n} of", why, f"multiply it by {n}/2"
    yield n / 2, f"{n}/2 times", why, f"multiply it by 2/{n}"
    yield n**0.5, f"sqrt({n}) times", why, f"divide it by sqrt({n})"
    yield n**-0.5, f"1/sqrt({n}) times", why, f"multiply it by sqrt({n})"
    yield n**2, f"{n}^2 times", why, f"divide it by {n**2}"
    yield n**-2, f"1/{n}^2 of", why, f"multiply it by {n**2}"
    if n > 2:
        yield (n - 1) / n, f"({n} - 1)/{n} times", why, f"multiply it by {n}/({n} - 1)"
        yield n / (n - 1), f"{n}/({n} - 1) times", why, f"multiply it by ({n} - 1)/{n}"


def _of_option(name: str, value: float) -> Iterator[Constant]:
    shown = f"{value:g}"
    for each, formula in (
        (value, name),
        (1 - value, f"(1 - {name})"),
        (1 + value, f"(1 + {name})"),
        (value - 1, f"({name} - 1)"),
        (value * value, f"{name}^2"),
        (math.sqrt(abs(value)), f"sqrt({name})"),
    ):
        if math.isfinite(each) and abs(each) not in (0.0, 1.0, 2.0):
            why = f"{name} is {shown}"
            yield each, f"{formula} times", why, f"divide it by {formula}"
            yield 1 / each, f"1/{formula} times", why, f"multiply it by {formula}"


def _counts(evidence: Evidence) -> Iterator[Constant]:
    """Ratios of valid rows to all rows, from ignored labels, masks and weights."""
    for name, tensor in evidence.tensors.items():
        total = tensor.numel()
        for count, what in _valid(evidence, name, tensor):
            if 0 < count < total and (count != round(count) or total > 1):
                shown = f"{count:g}"
                why = f"{shown} is {what}, and {total} is the number of all of them"
                yield count / total, f"{shown}/{total} times", why, f"multiply it by {total}/{shown}"
                yield total / count, f"{total}/{shown} times", why, f"multiply it by {shown}/{total}"
            if count > 0 and count != total:
                why = f"{shown if 0 < count < total else f'{count:g}'} is {what}"
                yield count, f"{count:g} times", why, f"divide it by {count:g}"
                yield 1 / count, f"1/{count:g} of", why, f"multiply it by {count:g}"


def _valid(evidence: Evidence, name: str, tensor: torch.Tensor) -> Iterator[tuple[float, str]]:
    if tensor.dtype == torch.bool:
        yield float(tensor.sum()), f"how often {name!r} is True"
        yield float((~tensor).sum()), f"how often {name!r} is False"
    elif not tensor.is_floating_point() and not tensor.is_complex():
        options = {int(v): f"{k} = {int(v)}" for k, v in evidence.numbers.items() if v == round(v)}
        for value in (*options, *(v for v in LABELS_LOST.value if v not in options)):
            if bool((tensor == value).any()):
                yield float((tensor != value).sum()), f"how often {name!r} is not {options.get(value, value)}"
    elif tensor.is_floating_point() and tensor.ndim and bool((tensor >= 0).all()):
        total = float(tensor.double().sum())
        if math.isfinite(total):
            yield total, f"the sum of {name!r}"


def _sizes(evidence: Evidence) -> Iterator[tuple[int, str]]:
    seen = {1, 2}
    for name, tensor in evidence.tensors.items():
        for axis, n in enumerate(tensor.shape):
            if n not in seen and n:
                seen.add(n)
                yield n, f"the size of axis {axis} of {name!r}" if axis else f"the batch size (axis 0 of {name!r})"
    for name, tensor in evidence.tensors.items():
        if tensor.numel() not in seen and tensor.numel():
            seen.add(tensor.numel())
            yield tensor.numel(), f"the number of elements of {name!r}"


def _products(evidence: Evidence) -> Iterator[Constant]:
    """Products of some sizes of one tensor, such as batch times classes, that are no size themselves."""
    seen: set[int] = {1, 2, *(n for n, _ in _sizes(evidence))}
    for name, tensor in evidence.tensors.items():
        for axes in itertools.combinations(range(tensor.ndim), 2):
            n = tensor.shape[axes[0]] * tensor.shape[axes[1]]
            if n in seen or not n:
                continue
            seen.add(n)
            why = f"{n} is the product of axes {axes[0]} and {axes[1]} of {name!r}"
            yield n, f"{n} times", f"{why}: a mean was not applied", f"divide it by {n}"
            yield 1 / n, f"1/{n} of", f"{why}: a mean was applied twice, or to a sum", f"multiply it by {n}"
