"""A layer that steps its parameters in its backward, and makes a gradient of them only then."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.model.amounts import TINY_UPSTREAM
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.subjects.subject import Key


def after_own_step(context: Context) -> Iterator[Finding]:
    """The finding for each wrong gradient that is right for an upstream so small that the step by it leaves no trace."""
    state, grads = context.subject.state, context.case.grad_outputs or ()
    stepped = frozenset[str]() if state is None else state.stepped()
    if not stepped or not context.wrong_inputs or not context.uses_autograd:
        return
    scale = TINY_UPSTREAM.value
    run = context.run(context.case_with(grad_outputs=tuple(scale * g if is_differentiable(g) else g for g in grads)))
    truth = context.oracle.truth().gradients
    for i in sorted(context.wrong_inputs if run.error is None else ()):
        found, true = run.gradients[i], truth.get(Key("input", i))
        if isinstance(found, torch.Tensor) and true is not None and context.equal(found / scale, true.to(found.dtype)):
            yield _finding(context, i, " and ".join(repr(name) for name in sorted(stepped)))


def _finding(context: Context, index: int, stepped: str) -> Finding:
    return Finding(
        "mutates-saved",
        "error",
        f"gradient of {context.label(index)} is that of parameters which were stepped before",
        gradient=context.name(index),
        explanation=f"backward steps {stepped} and reads what that left: for a step too small to be seen the gradient is right",
        suggestion=f"compute the gradient of {context.name(index)!r} before the step",
        probe="second_backward",
        case="a tiny upstream gradient",
    )
