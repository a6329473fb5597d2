"""The gradient uses the grad_output of every output, and a grad_output of None counts as zero."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.model.exceptions import class_name
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import OUTPUTS_ALONE
from gradcheck_lab.model.user_errors import first_line, user_traceback
from gradcheck_lab.probes.support.context import Context, Run
from gradcheck_lab.probes.support.repeats import (
    backward_and_engine,
    compared_inputs,
    first_differing_input,
    is_zero,
    run_copied,
    snapshot,
)


def each_output(context: Context, explained: Collection[int]) -> Iterator[Finding]:
    """Pass a grad_output for one output at a time, with zeros or None for the others.

    `explained` are inputs whose wrong gradient has been explained already.
    """
    grads = context.case.grad_outputs or ()
    active = [k for k, grad in enumerate(grads) if is_differentiable(grad)]
    if len(active) < 2:
        return
    wrong = [i for i in compared_inputs(context) if i in context.wrong_inputs and i not in explained]
    for k in active[: OUTPUTS_ALONE.value]:
        for_one_output = tuple(g if j == k else torch.zeros_like(g) for j, g in enumerate(grads))
        gradients: tuple[object, ...] = ()
        if wrong:
            found = context.against_oracle(context.case_with(grad_outputs=for_one_output))
            if found is None:
                continue
            failed = {c.result.name for c in found.comparisons if c.result.verdict == "fail"}
            gradients = snapshot(found.returned)
            for i in wrong:
                if context.name(i) in failed and len(gradients) > i and is_zero(gradients[i]):
                    yield _dropped(context, i, k)
        elif context.subject.called_by_engine:
            gradients = run_copied(context, context.case_with(grad_outputs=for_one_output)).gradients
        if gradients and context.subject.called_by_engine:
            run_with_none = _run_with_none_for_others(context, k)
            if (
                run_with_none is not None
                and (finding := _none_upstream_finding(context, k, run_with_none, gradients)) is not None
            ):
                yield finding
                return


def _run_with_none_for_others(context: Context, k: int) -> Run | None:
    recording = context.record(context.case)
    if isinstance(recording, Exception):
        return None
    grads = context.case.grad_outputs or ()
    upstream = [g if j == k else None for j, g in enumerate(grads)]
    return backward_and_engine(context, recording, upstream, context.case.seed)[0]


def _dropped(context: Context, index: int, k: int) -> Finding:
    return Finding(
        "output-gradient-dropped",
        "error",
        f"the upstream of output {k} does not reach the gradient of {context.label(index)}",
        gradient=context.name(index),
        explanation=f"it is zero when only output {k} has an upstream, and the true one is not",
        suggestion=f"add the part of output {k}, or mark that output non-differentiable",
        probe="upstream",
        case=f"grad_output of output {k} alone",
    )


def _none_upstream_finding(context: Context, k: int, run_with_none: Run, gradients: tuple[object, ...]) -> Finding | None:
    others = [j for j, _ in enumerate(context.case.grad_outputs or ()) if j != k]
    unused = f"output {others[0]}" if len(others) == 1 else "the other outputs"
    error = run_with_none.error
    if error is not None:
        what, gradient = f"backward raised {type(error).__name__} when only output {k} is used", None
        explanation = first_line(error)
    else:
        at = first_differing_input(context, snapshot(run_with_none.gradients), gradients)
        if at is None:
            return None
        what, gradient = f"gradient of {context.label(at)} is wrong when only output {k} is used", context.name(at)
        explanation = f"the upstream of {unused} is then None, and zeros in its place give another gradient"
    return Finding(
        "undefined-upstream",
        "error",
        what,
        gradient=gradient,
        explanation=explanation,
        suggestion=f"treat a grad_output of None as zero, or drop ctx.set_materialize_grads(False): {unused} may be unused",
        probe="upstream",
        case=f"a loss that uses output {k} only",
        traceback=user_traceback(error) if error is not None else None,
        stage="backward" if error is not None else "",
        exception=class_name(error),
    )
