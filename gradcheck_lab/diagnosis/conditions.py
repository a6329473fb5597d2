"""Conditions that may hold in the wrong elements of a gradient and in none of the right ones, the simplest first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch

from gradcheck_lab.diagnosis.candidates import factors, upstreams
from gradcheck_lab.diagnosis.evidence import Claim, Evidence

Kind = Literal["tail", "head", "place", "value", "tied", "repeated", "option"]


class Condition(NamedTuple):
    """Where the wrong elements may be: `words` follow "wrong" in a sentence, `mask` is set in these elements.

    `bound` is where a bound that was fitted to the elements may lie.
    """

    words: str
    mask: torch.Tensor
    kind: Kind
    bound: Claim | None = None

    @property
    def claim(self) -> Claim:
        """What has to hold on other values as well: the words, or the bound between two numbers that was found."""
        return self.bound or Claim(self.words)


def places(wrong: torch.Tensor) -> Iterator[Condition]:
    """Tails, heads, slices, every k-th slice, the diagonal and the triangles."""
    shape = wrong.shape
    for axis in range(len(shape)):
        hit = wrong.movedim(axis, 0).reshape(shape[axis], -1).any(1)
        yield from _along(axis, hit, shape)
    if len(shape) > 1:
        flat = wrong.reshape(-1)
        start = int(flat.int().argmax())
        ahead = torch.arange(flat.numel(), device=wrong.device)
        yield Condition(f"from flat element {start} on", (ahead >= start).reshape(shape), "tail")
        end = flat.numel() - int(flat.flip(0).int().argmax())
        yield Condition(f"in the first {end} elements", (ahead < end).reshape(shape), "place")
    if len(shape) >= 2:
        ones = torch.ones(shape, dtype=torch.bool, device=wrong.device)
        eye = torch.eye(shape[-2], shape[-1], dtype=torch.bool, device=wrong.device).expand(shape)
        yield Condition("on the diagonal", eye, "place")
        yield Condition("off the diagonal", ~eye, "place")
        yield Condition("above the diagonal", ones.triu(1), "place")
        yield Condition("below the diagonal", ones.tril(-1), "place")
        yield Condition("on and above the diagonal", ones.triu(), "place")
        yield Condition("on and below the diagonal", ones.tril(), "place")


def _along(axis: int, hit: torch.Tensor, shape: torch.Size) -> Iterator[Condition]:
    """The slices of one axis that hold a wrong element: one, the last, the first ones, every k-th, or a few."""
    rows = hit.nonzero().reshape(-1).tolist()
    n, count = shape[axis], len(rows)
    if not rows or count == n:
        return
    mask = hit.reshape([-1 if k == axis else 1 for k in range(len(shape))]).expand(shape)
    step = rows[1] - rows[0] if count > 1 else 0
    if rows == list(range(n - count, n)):
        where = "" if len(shape) == 1 else f" along axis {axis}"
        yield Condition(f"from {rows[0]} on{where}", mask, "tail")
    elif rows == list(range(count)):
        yield Condition(f"in {_slices(rows, n, axis, len(shape))}", mask, "head")
    elif (step > 1 and rows == list(range(rows[0], n, step))) or len(shape) > 1:
        yield Condition(f"in {_slices(rows, n, axis, len(shape))}", mask, "place")


def _slices(rows: list[int], n: int, axis: int, ndim: int) -> str:
    """`row 1`, `the first 3 columns`, `every 2nd column from 0 on`, `slices 1 and 4 of axis 0`."""
    one, of = ("element", "") if ndim == 1 else (("row", "column")[axis], "") if ndim == 2 else ("slice", f" of axis {axis}")
    step = rows[1] - rows[0] if len(rows) > 1 else 0
    if len(rows) == 1:
        return f"{one} {rows[0]}{of}"
    if rows == list(range(len(rows))):
        return f"the first {len(rows)} {one}s{of}"
    if step > 1 and rows == list(range(rows[0], n, step)):
        return f"every {step}{ {2: 'nd', 3: 'rd'}.get(step, 'th') } {one}{of} from {rows[0]} on"
    return f"{one}s {', '.join(map(str, rows[:-1]))} and {rows[-1]}{of}"


def repetitions(evidence: Evidence) -> Iterator[Condition]:
    """Rows that an integer input hits more than once."""
    shape = evidence.actual.shape
    for name, index in _integers(evidence):
        for axis, n in enumerate(shape):
            hits = torch.bincount(index.reshape(-1).clamp(min=0).long(), minlength=n)
            if hits.numel() == n and int(hits.max()) > 1:
                mask = (hits > 1).reshape([-1 if k == axis else 1 for k in range(len(shape))]).expand(shape)
                yield Condition(f"where {name} repeats an index, along axis {axis}", mask, "repeated")
        if index.ndim == len(shape):  # gather and scatter: an index per element
            for axis, n in enumerate(shape):
                counts = torch.zeros(shape, dtype=torch.float64, device=index.device)
                fits = all(index.shape[k] <= shape[k] for k in range(len(shape)) if k != axis)
                if fits and bool(((index >= 0) & (index < n)).all()):
                    counts.scatter_add_(axis, index.long(), torch.ones_like(index, dtype=torch.float64))
                    yield Condition(f"where {name} repeats an index, along axis {axis}", counts > 1, "repeated")


def masks_and_labels(evidence: Evidence) -> Iterator[Condition]:
    """Where a mask of the call is set or not, and where integers of the call have one value."""
    shape = evidence.actual.shape
    for name, mask in evidence.tensors.items():
        if mask.dtype == torch.bool and (expanded := _expanded_to(mask, shape)) is not None:
            yield Condition(f"where {name} is True", expanded, "value")
            yield Condition(f"where {name} is False", ~expanded, "value")
    numbers = {value: name for name, value in evidence.numbers.items()}
    for name, labels in _integers(evidence):
        expanded = _expanded_to(labels, shape)
        for value in labels.unique().tolist()[:16] if expanded is not None else ():
            option = numbers.get(float(value))
            words = f"where {name} is {value}" + (f", the {option}" if option else "")
            yield Condition(words, expanded == value, "option" if option else "value")


def values(evidence: Evidence, wrong: torch.Tensor, right: torch.Tensor) -> Iterator[Condition]:
    """Signs, zeros, ties and bounds of the tensors of the call."""
    shape = evidence.actual.shape
    tensors = [(t.name, expanded) for t in factors(evidence) if (expanded := _expanded_to(t.value, shape)) is not None]
    for name, value in tensors:
        yield Condition(f"where {name} is 0", value == 0, "value")
        yield Condition(f"where {name} < 0", value < 0, "value")
        yield Condition(f"where {name} > 0", value > 0, "value")
        yield Condition(f"where {name} <= 0", value <= 0, "value")
        yield Condition(f"where {name} >= 0", value >= 0, "value")
    for name, value in tensors:
        for axis in range(len(shape)):
            yield Condition(f"where {name} has equal values along axis {axis}", _tied(value, axis), "tied")
    for i, (name, value) in enumerate(tensors):
        for other_name, other in tensors[i + 1 :]:
            yield Condition(f"where {name} equals {other_name}", value == other, "tied")
            yield Condition(f"where {name} < {other_name}", value < other, "value")
            yield Condition(f"where {name} > {other_name}", value > other, "value")
    for name, value in (*tensors, *((g.name, g.value) for g in upstreams(evidence) if g.value.shape == shape)):
        yield from _bounds(name, value, wrong, right, evidence)
        yield from _bounds(f"|{name}|", value.abs(), wrong, right, evidence)


def _bounds(
    name: str, value: torch.Tensor, wrong: torch.Tensor, right: torch.Tensor, evidence: Evidence
) -> Iterator[Condition]:
    """Values above or below one bound, or between two, that all wrong elements have and no other."""
    inside = value[right]
    first, last = float(value[wrong].min()), float(value[wrong].max())
    below, beyond = inside[inside < first], inside[inside > last]
    if below.numel() + beyond.numel() < inside.numel():
        return
    low = float(below.max()) if below.numel() else None
    high = float(beyond.min()) if beyond.numel() else None
    mask = (value >= first) & (value <= last)
    if high is None and low is not None:
        words = f"where {name} > {_between(low, first, evidence)}"
        yield Condition(words, mask, "value", Claim(f"{name} >", low, first))
    elif low is None and high is not None:
        words = f"where {name} < {_between(last, high, evidence)}"
        yield Condition(words, mask, "value", Claim(f"{name} <", last, high))
    elif low is not None and high is not None:
        words = f"where {name} > {_between(low, first, evidence)} and < {_between(last, high, evidence)}"
        yield Condition(words, mask, "value", Claim(f"{name} between", low, high))


def _between(low: float, high: float, evidence: Evidence) -> str:
    """A bound between two numbers: an option's value, else the shortest number."""
    for name, value in evidence.numbers.items():
        if low <= value <= high:
            return f"{name} = {value:g}"
    for digits in range(1, 6):
        middle = float(f"{(low + high) / 2:.{digits}g}")
        if low <= middle <= high:
            return f"about {middle:g}"
    return f"{low:g}"


def _tied(value: torch.Tensor, axis: int) -> torch.Tensor:
    """The elements that have an equal element along the axis."""
    order = value.sort(axis)
    same = order.values.diff(dim=axis) == 0
    edge = torch.zeros_like(same.narrow(axis, 0, min(1, same.shape[axis])))
    if not same.shape[axis]:
        return torch.zeros_like(value, dtype=torch.bool)
    tied = torch.cat([same, edge], axis) | torch.cat([edge, same], axis)
    return torch.zeros_like(tied).scatter(axis, order.indices, tied)


def _integers(evidence: Evidence) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in evidence.tensors.items():
        integer = not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)
        if integer and tensor.numel():
            yield name, tensor


def _expanded_to(value: torch.Tensor, shape: torch.Size) -> torch.Tensor | None:
    """The tensor expanded to a shape, one number per row along its row; None where it does not expand."""
    if value.shape != shape and value.ndim and value.shape == shape[: value.ndim]:
        value = value.reshape(*value.shape, *(1 for _ in range(len(shape) - value.ndim)))
    try:
        return value.expand(shape)
    except RuntimeError:
        return None
