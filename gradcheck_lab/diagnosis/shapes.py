"""Shapes that differ: a broadcast that was not summed, a transposition, a dimension too few or too many."""

from __future__ import annotations

import itertools
from functools import partial
from typing import NamedTuple

import torch

from gradcheck_lab.diagnosis.deviation import Deviation
from gradcheck_lab.diagnosis.evidence import Evidence, Explanation, axes_text


def wrong_shape(evidence: Evidence) -> Explanation | None:
    """Explain a gradient whose shape is not its input's; None when the shapes agree."""
    actual, expected, name = evidence.actual, evidence.expected, evidence.name
    got, wanted = tuple(actual.shape), tuple(expected.shape)
    if got == wanted:
        return None
    axes = _broadcast_axes(got, wanted)
    if axes:
        right = not evidence.small or evidence.fits(expected, _summed(evidence, axes))
        met = None if right else _column_and_vector(evidence)
        if met is not None:  # a sum would make the shape fit, and keep another loss than was meant
            sentence = f"it has shape {got}, expected {wanted}: {met.broadcast}"
            return Explanation("missing-broadcast-sum", sentence, met.fix, fact=True)
        more, first = ("", "") if right else _more(evidence, {got[axis] for axis in axes})
        return Explanation(
            "missing-broadcast-sum",
            f"it has shape {got}, expected {wanted}: sum over {axes_text(axes)}{more}",
            f"{first}return the gradient of {name!r} as grad.sum({axes[0] if len(axes) == 1 else axes}).reshape({wanted})",
            fact=True,
        )
    if evidence.small:
        for order in itertools.permutations(range(actual.ndim)) if actual.ndim == expected.ndim <= 5 else ():
            if tuple(got[k] for k in order) == wanted and evidence.fits(expected, actual.permute(order)):
                fix = f"{name}_grad.T" if actual.ndim == 2 else f"{name}_grad.permute{order}"
                return Explanation(
                    "transposed",
                    f"it has shape {got}, expected {wanted}: it is the transposed reference",
                    f"return {fix}, or swap the factors of the product",
                    fact=True,
                    deviation=Deviation(predict=partial(permuted_axes, _inverse(order))),
                )
    if actual.numel() == expected.numel():
        return Explanation(
            "wrong-shape",
            f"it has shape {got}, expected {wanted}: as many elements in another shape",
            f"return the gradient of {name!r} with .reshape({wanted})",
            fact=True,
        )
    return Explanation(
        "wrong-shape",
        f"it has shape {got}, expected {wanted}",
        f"return a gradient of the shape of {name!r}, {wanted}",
        fact=True,
    )


def _more(evidence: Evidence, lengths: set[int]) -> tuple[str, str]:
    """What is said where a sum makes no gradient right, and what comes before the fix: a vector may have met a column."""
    for name, tensor in evidence.tensors.items():
        if name != evidence.name and tensor.ndim == 1 and len(tensor) in lengths - {1}:
            vector = f"{name!r} ({len(tensor)},)"
            return f", and more is wrong: {vector} may have broadcast against a column", f"see what meets {vector}, then "
    return ", and more is wrong", ""


def permuted_axes(order: tuple[int, ...], evidence: Evidence) -> torch.Tensor | None:
    """The true gradient with its axes in this order; None where it has other axes."""
    return evidence.expected.permute(order) if evidence.expected.ndim == len(order) else None


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(order.index(axis) for axis in range(len(order)))


def reshaped(actual: torch.Tensor, wanted: tuple[int, ...], cause: str) -> torch.Tensor | None:
    """A gradient of another shape, for this cause, in that of its input; None where it cannot be given that."""
    axes = _broadcast_axes(tuple(actual.shape), wanted)
    if axes:
        return actual.sum(axes).reshape(wanted)
    if cause == "transposed":
        orders = itertools.permutations(range(actual.ndim)) if actual.ndim <= 5 else ()
        return next((actual.permute(order) for order in orders if tuple(actual.shape[k] for k in order) == wanted), None)
    return actual.reshape(wanted) if actual.numel() == torch.Size(wanted).numel() else None


def _broadcast_axes(got: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    """The axes over which summing `got` gives `wanted`, when `wanted` broadcasts to `got`; else empty."""
    lead = len(got) - len(wanted)
    if lead < 0:
        return ()
    axes = list(range(lead))
    for k, size in enumerate(wanted):
        if size == 1 and got[lead + k] != 1:
            axes.append(lead + k)
        elif size != got[lead + k]:
            return ()
    # only extra dimensions of size 1: no sum is missing, only the rank is wrong
    return () if all(got[axis] == 1 for axis in axes) else tuple(axes)


def _summed(evidence: Evidence, axes: tuple[int, ...]) -> torch.Tensor:
    return evidence.actual.double().sum(axes).reshape(evidence.expected.shape)


class Met(NamedTuple):
    """A column and a vector of its length that the forward broadcast to a square, in words, and what to do."""

    broadcast: str
    fix: str


def rank1_broadcast(evidence: Evidence) -> Explanation | None:
    """Explain a wrong value where the forward broadcast a column and a rank-1 tensor of its length to a square; else None."""
    met = _column_and_vector(evidence)
    if met is None:
        return None
    return Explanation("missing-broadcast-sum", f"{met.broadcast}: the backward does not sum over that", met.fix)


def _column_and_vector(evidence: Evidence) -> Met | None:
    shapes = {name: tuple(tensor.shape) for name, tensor in evidence.tensors.items()}
    mine = shapes.get(evidence.name, ())
    for name, shape in shapes.items():
        column, flat = (mine, shape) if len(mine) > len(shape) else (shape, mine)
        if len(flat) == 1 and column == (*flat, 1) and flat[0] > 1:
            pair = f"{evidence.name!r} {mine} and {name!r} {shape}"
            return Met(
                f"{pair} broadcast to {(flat[0], flat[0])}",
                f"give {evidence.name!r} and {name!r} one shape before the forward, or sum the gradient over the broadcast",
            )
    return None
