"""The gradient does not depend on how `grad_output` lies in memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from gradcheck_lab.calls.layouts import CHANNELS_LAST, SLICED, TRANSPOSED, placed_alike
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.repeats import equal_within_noise, repetition, run_copied


def upstream_layout(context: Context) -> Iterator[Finding]:
    """Pass the same grad_output transposed and sliced in memory, then ones with stride 0, as the backward of `.sum()` sends."""
    grads = context.case.grad_outputs or ()
    if not any(grad.ndim for grad in grads):
        return
    ones = tuple(torch.ones_like(grad) for grad in grads)
    expanded = tuple(torch.ones((), dtype=g.dtype, device=g.device).expand(g.shape) for g in grads)
    layouts = [
        *((each.words, grads, tuple(each.place(g) for g in grads)) for each in (TRANSPOSED, SLICED, CHANNELS_LAST)),
        ("expanded (stride 0, as .sum() sends)", ones, expanded),
    ]
    for layout, plain, strided in layouts:
        if all(placed_alike(a, b) for a, b in zip(plain, strided, strict=True)):
            continue
        expected = (
            repetition(context).first
            if plain is grads
            else run_copied(context, context.case_with(grad_outputs=plain)).gradients
        )
        found = run_copied(context, context.case_with(grad_outputs=strided))
        if found.error is not None and not expected:
            continue
        if found.error is not None:
            yield _finding(layout, "raised " + type(found.error).__name__, None)
            return
        for index, (mine, expected_gradient) in enumerate(zip(found.gradients, expected, strict=False)):
            if not equal_within_noise(context, index, mine, expected_gradient):
                yield _finding(layout, f"gradient of {context.label(index)} differs", context.name(index))
                return


def _finding(layout: str, what: str, gradient: str | None) -> Finding:
    return Finding(
        "upstream-layout",
        "error",
        f"{what} when grad_output is {layout}",
        gradient=gradient,
        explanation="equal values of grad_output with other strides give another result",
        suggestion="call grad_output.contiguous() first, or index it by its strides",
        probe="upstream_layout",
        case=f"grad_output {layout}",
    )
