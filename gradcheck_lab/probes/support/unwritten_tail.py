"""Whether the wrong elements of a gradient are its last ones, zero or unwritten, as where a loop leaves out the last block."""

from __future__ import annotations

import torch

from gradcheck_lab.model.precision.derived_calls import INFINITY_IN_WORDS, MOST_OF_A_TAIL, WRONG_ELEMENT, ZERO_IN_A_TAIL


def unwritten_tail_text(pair: tuple[torch.Tensor, torch.Tensor] | None) -> str | None:
    """Say from which index on the gradient was not written: `only the elements from 32 on, and there they are zero`.

    `pair` are the returned gradient and the true one. None unless all wrong elements are zero, NaN, infinite or huge and form
    the end of one axis, or of the tensor in memory order.
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
    if not bool(truth.reshape(-1)[: int(flat.int().argmax())].any()):
        return None  # nothing before it was written either
    axes = [(f"along axis {axis}", wrong.movedim(axis, 0).reshape(wrong.shape[axis], -1)) for axis in range(wrong.ndim)]
    for where, rows in [*(axes if wrong.ndim > 1 else []), ("in memory order", flat.unsqueeze(1))]:
        start = _start_of_tail(rows, truth if where == "in memory order" else None)
        if start is not None:
            value = "zero" if bool((actual[wrong] == 0).all()) else "not written"
            place = "" if wrong.ndim == 1 else f" {where}"
            return f"only the elements from {start} on{place}, and there they are {value}"
    return None


def _start_of_tail(rows: torch.Tensor, truth: torch.Tensor | None) -> int | None:
    is_wrong = rows.any(1)
    if not bool(is_wrong.any()) or bool(is_wrong[0]):
        return None
    start = int(is_wrong.int().argmax())
    # a few elements of the tail may be right by chance
    zero_or_wrong = rows if truth is None else rows | (truth.reshape(-1, 1) == 0)
    return start if float(zero_or_wrong[start:].double().mean()) > MOST_OF_A_TAIL.value else None
