"""The gradient does not depend on how `grad_output` lies in memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from gradcheck_lab.model.findings import Finding
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.repeats import alike, repeated, run_kept


def upstream_layout(context: Context) -> Iterator[Finding]:
    """Give the same upstream values transposed and sliced in memory, and constant ones with stride 0, as `.sum()` sends."""
    grads = context.case.grad_outputs or ()
    if not any(grad.ndim for grad in grads):
        return
    ones = tuple(torch.ones_like(grad) for grad in grads)
    expanded = tuple(torch.ones((), dtype=g.dtype, device=g.device).expand(g.shape) for g in grads)
    layouts = [
        ("transposed", grads, tuple(transposed(g) for g in grads)),
        ("sliced with an offset", grads, tuple(sliced(g) for g in grads)),
        ("channels_last", grads, tuple(channels_last(g) for g in grads)),
        ("expanded (stride 0, as .sum() sends)", ones, expanded),
    ]
    for word, plain, strided in layouts:
        if all(_placed_alike(a, b) for a, b in zip(plain, strided, strict=True)):
            continue
        expected = repeated(context).first if plain is grads else run_kept(context, context.vary(grad_outputs=plain)).gradients
        found = run_kept(context, context.vary(grad_outputs=strided))
        if found.error is not None and not expected:
            continue
        if found.error is not None:
            yield _finding(word, "raised " + type(found.error).__name__, None)
            return
        for index, (mine, wanted) in enumerate(zip(found.gradients, expected, strict=False)):
            if not alike(context, index, mine, wanted):
                yield _finding(word, f"gradient of {context.label(index)} differs", context.name(index))
                return


def transposed(value: torch.Tensor) -> torch.Tensor:
    """The same values with the axes reversed in memory."""
    order = list(range(value.ndim))[::-1]
    return value.permute(order).contiguous().permute(order)


def channels_last(value: torch.Tensor) -> torch.Tensor:
    """The same values with the second axis last in memory, as channels_last keeps images."""
    return value if value.ndim < 4 else value.movedim(1, -1).contiguous().movedim(-1, 1)


def sliced(value: torch.Tensor) -> torch.Tensor:
    """The same values as every second element of a larger storage, from an offset."""
    if not value.ndim:
        return value
    wide = value.new_full((*value.shape[:-1], 2 * value.shape[-1] + 3), 0.5)
    view = wide[..., 3::2] if value.shape[-1] else wide[..., :0]
    view.copy_(value)
    return view


def _placed_alike(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.stride() == b.stride() and a.storage_offset() == b.storage_offset()


def _finding(word: str, what: str, gradient: str | None) -> Finding:
    return Finding(
        "upstream-layout",
        "error",
        f"{what} when grad_output is {word}",
        gradient=gradient,
        explanation="equal values of grad_output with other strides give another result",
        suggestion="call grad_output.contiguous() first, or index it by its strides",
        probe="upstream_layout",
        case=f"grad_output {word}",
    )
