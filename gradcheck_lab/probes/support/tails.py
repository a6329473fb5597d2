"""Where the wrong elements of a gradient lie: only from an index on, as where a block was never written."""

from __future__ import annotations

import torch

from gradcheck_lab.model.precision.derived_calls import INFINITY_IN_WORDS, MOST_OF_A_TAIL, WRONG_ELEMENT, ZERO_IN_A_TAIL


def tail_text(pair: tuple[torch.Tensor, torch.Tensor] | None) -> str | None:
    """`only elements from 32 on, which were never written`; None when the wrong elements are no such tail.

    A tail is wrong from some index of one axis (or of the flat tensor) on, and holds zeros or what is no number.
    """
    if pair is None or pair[1].is_complex() or pair[1].numel() < 2:
        return None
    actual, truth = pair[0].double(), pair[1].double()
    scale = float(truth.abs().nan_to_num(0, 0, 0).amax())
    wrong = ~((actual - truth).abs() <= WRONG_ELEMENT.value * scale)
    size = actual.abs()
    written = (size > ZERO_IN_A_TAIL.value * scale) & torch.isfinite(actual) & (size < INFINITY_IN_WORDS.value * (scale + 1))
    if bool(written[wrong].any()):
        return None
    flat = wrong.reshape(-1)
    axes = [(f"along axis {axis}", wrong.movedim(axis, 0).reshape(wrong.shape[axis], -1)) for axis in range(wrong.ndim)]
    for where, rows in [*(axes if wrong.ndim > 1 else []), ("in memory order", flat.unsqueeze(1))]:
        start = _start(rows, truth if where == "in memory order" else None)
        if start is not None:
            value = "zero" if bool((actual[wrong] == 0).all()) else "not written"
            place = "" if wrong.ndim == 1 else f" {where}"
            return f"only the elements from {start} on{place}, and there they are {value}"
    return None


def _start(rows: torch.Tensor, truth: torch.Tensor | None) -> int | None:
    hit = rows.any(1)
    if not bool(hit.any()) or bool(hit[0]):
        return None
    start = int(hit.int().argmax())
    # nearly all of the tail: an element whose truth happens to be zero may be right by chance
    fits = rows if truth is None else rows | (truth.reshape(-1, 1) == 0)
    return start if float(fits[start:].double().mean()) > MOST_OF_A_TAIL.value else None
