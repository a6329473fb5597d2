"""Terms that may be missing from a gradient, built from the tensors of the call: products with grad_output, and their sums."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import torch

from gradcheck_lab.diagnosis.evidence import Evidence
from gradcheck_lab.model.limits import CANDIDATE_TENSORS


class Term(NamedTuple):
    """A tensor of the gradient's shape and its formula in the names of the call."""

    name: str
    value: torch.Tensor


def factors(evidence: Evidence) -> list[Term]:
    """The real floating tensors of the call, the gradient's own input and the outputs first, in float64."""
    found = [
        Term(name, tensor.detach().double())
        for name, tensor in evidence.tensors.items()
        if tensor.is_floating_point() and 0 < tensor.numel() <= 4 * evidence.actual.numel() and torch.isfinite(tensor).all()
    ]
    found.sort(key=lambda term: term.name != evidence.name and not term.name.startswith("output"))
    return found[: CANDIDATE_TENSORS.value]


def computed(evidence: Evidence) -> list[Term]:
    """The intermediate values of the forward, in float64, without the tensors of the call."""
    known = [tensor.data_ptr() for tensor in evidence.tensors.values()]
    return [
        Term(name, value.double())
        for name, value in evidence.values().items()
        if name not in evidence.tensors and value.data_ptr() not in known
        and 0 < value.numel() <= evidence.actual.numel() and bool(torch.isfinite(value).all())
    ]  # fmt: skip


def upstreams(evidence: Evidence) -> list[Term]:
    """The upstream gradients by name."""
    several = len(evidence.upstream) > 1
    return [
        Term(f"grad_output {k}" if several else "grad_output", g.detach().double())
        for k, g in enumerate(evidence.upstream)
        if g.is_floating_point() and bool(g.any())
    ]


def terms(evidence: Evidence) -> Iterator[Term]:
    """Candidates, each up to one coefficient, the simplest first."""
    shape = evidence.actual.shape
    tensors, upstream = factors(evidence), upstreams(evidence)
    for g in upstream:
        yield from _shaped(g.name, g.value, shape)
    for g, t in itertools.product(upstream, tensors):
        yield from _product((g, t), shape)
    for g in upstream:
        yield from _one_hot(evidence, g, shape)
        for pair in itertools.combinations_with_replacement(tensors, 2):
            yield from _product((g, *pair), shape)
    for g in upstream:
        yield from _inner_products(g, tensors, shape)
    yield Term("a constant", torch.ones(shape, dtype=torch.float64, device=evidence.actual.device))
    for t in tensors:
        yield from _shaped(t.name, t.value, shape)


def _product(parts: tuple[Term, ...], shape: torch.Size) -> Iterator[Term]:
    values = [_with_row_axis(part.value, parts[0].value, shape) for part in parts]
    names = [part.name for part in parts]
    squared = len(parts) == 3 and names[1] == names[2]
    name = f"{names[0]} * {names[1]}^2" if squared else " * ".join(names)
    try:
        value = values[0]
        for other in values[1:]:
            value = value * other
    except RuntimeError:
        return
    yield from _shaped(name, value, shape)


def _with_row_axis(value: torch.Tensor, upstream: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """A tensor with one number per row, as the upstream gradient of a reduction, gets a last axis of size 1."""
    if value.ndim == len(shape) - 1 and value.ndim and value.shape == shape[:-1] and value.shape != shape[1:]:
        return value.unsqueeze(-1)
    return value


def _shaped(name: str, value: torch.Tensor, shape: torch.Size) -> Iterator[Term]:
    """The term in the gradient's shape: as it is, expanded, or summed over what the forward broadcast."""
    if value.shape == shape:
        yield Term(name, value)
        return
    value = _with_row_axis(value, value, shape)
    if _broadcasts(value.shape, shape):
        yield Term(name, value.expand(shape))
    elif _broadcasts(shape, value.shape):
        yield Term(f"sum({name})", value.sum_to_size(shape))


def _broadcasts(shape: torch.Size, to: torch.Size) -> bool:
    """Whether a shape expands to another; torch.broadcast_shapes imports sympy to tell, which takes most of a second."""
    return len(shape) <= len(to) and all(m in (1, n) for m, n in zip(reversed(shape), reversed(to), strict=False))


def _one_hot(evidence: Evidence, g: Term, shape: torch.Size) -> Iterator[Term]:
    """grad_output at the positions that labels name, as the target's entry in a loss or a gather has it."""
    for name, labels in evidence.tensors.items():
        if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool or not labels.numel():
            continue
        for axis in range(len(shape)):
            if tuple(labels.shape) != (*shape[:axis], *shape[axis + 1 :]):
                continue
            index = labels.long().unsqueeze(axis)
            inside = (index >= 0) & (index < shape[axis])
            hot = torch.zeros(shape, dtype=torch.float64, device=labels.device)
            hot.scatter_(axis, index.clamp(0, shape[axis] - 1), inside.double())
            upstream = g.value
            if upstream.ndim == len(shape) - 1 and upstream.shape == labels.shape:
                upstream = upstream.unsqueeze(axis)
            yield from _shaped(f"{g.name} * one_hot({name})", _times(upstream, hot), shape)


def _times(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    try:
        return a * b
    except RuntimeError:
        return a


def _inner_products(g: Term, tensors: list[Term], shape: torch.Size) -> Iterator[Term]:
    """a * sum(b * g) along each set of axes, b and a among 1, the tensors, and exp of the outputs."""
    if g.value.shape != shape or not shape:
        return
    same = [t for t in tensors if t.value.shape == shape]
    exponentials = [
        Term(f"exp({t.name})", t.value.exp()) for t in same if t.name.startswith("output") and bool((t.value <= 0).all())
    ]
    for axes in axis_sets(shape):
        where = "" if len(axes) == len(shape) else f" {per(axes, shape)}"
        for b in (None, *same):
            weighted = g.value if b is None else g.value * b.value
            total = weighted.sum(axes, keepdim=True)
            inner = f"sum({g.name}{'' if b is None else f' * {b.name}'})"
            yield Term(f"{inner}{where}", total.expand(shape))
            for a in (*same, *exponentials):
                yield Term(f"{a.name} * {inner}{where}", a.value * total)


def axis_sets(shape: torch.Size) -> list[tuple[int, ...]]:
    """The sets of axes that span a row, a group or the whole tensor, the largest first; without axes of two elements."""
    long = [axis for axis, n in enumerate(shape) if n > 2]
    if len(long) > 4:
        return [(axis,) for axis in long]
    sets = [axes for count in range(1, len(long) + 1) for axes in itertools.combinations(long, count)]
    return sorted(sets, key=lambda axes: -torch.Size(shape[axis] for axis in axes).numel())


def per(axes: tuple[int, ...], shape: torch.Size) -> str:
    """`per row` for the last axis, `per column` for the first of two, else `along axes 1 and 2`."""
    if axes == (len(shape) - 1,) and len(shape) > 1:
        return "per row"
    if axes == (0,) and len(shape) == 2:
        return "per column"
    words = [str(axis) for axis in axes]
    return f"along axis {words[0]}" if len(words) == 1 else f"along axes {', '.join(words[:-1])} and {words[-1]}"
