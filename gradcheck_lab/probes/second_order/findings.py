"""The findings of the double-backward probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch

from gradcheck_lab.comparison.findings import show, worst_line
from gradcheck_lab.model.exceptions import class_name
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.torch_messages import cannot_be_differentiated
from gradcheck_lab.model.user_errors import first_line, user_traceback
from gradcheck_lab.oracles.autograd.second_order import GradientGraph
from gradcheck_lab.oracles.numeric.guard import Guarded
from gradcheck_lab.probes.second_order.rows import Row, derivative_name, variable_name
from gradcheck_lab.probes.support.context import Context

_CUT = "an intermediate that forward saved, detach, .data, no_grad or NumPy cuts it off"


def severity(context: Context) -> Literal["error", "warning"]:
    """An error where the second derivative was asked for, else a warning."""
    return "error" if context.order == 2 else "warning"


def wrong_derivative_finding(
    context: Context, row: Row, by_gradient: Mapping[int, Row], graph: GradientGraph, case: str
) -> Finding:
    """The finding for a wrong derivative; `by_gradient` has the gradients that have it, by input."""
    names = " and ".join(derivative_name(context, [i], row.variable) for i in by_gradient)
    what = f"second derivatives {names} are" if len(by_gradient) > 1 else f"second derivative {names} is"
    first, variable = next(iter(by_gradient.values())), variable_name(context, row.variable)
    result, judged = first.comparison.result, first.judgement
    if all(one.zero for one in by_gradient.values()):
        message, explanation = f"{what} silently zero", _cut_off(variable)
    elif judged.rule == "finite":
        message = f"{what} not finite in {judged.wrong_elements} of {judged.elements} elements"
        explanation = "backward computes a root, quotient or logarithm whose own derivative is infinite there"
    else:
        message = f"{what} wrong in {judged.wrong_elements} of {judged.elements} elements"
        explanation = f"part of what backward computes does not lead back to {variable!r}, or is differentiated wrongly"
        inner = _inner_functions(context, graph)
        if inner:
            explanation = f"backward passes through {inner}, whose own backward gives this"
    return Finding(
        "double-backward",
        severity(context),
        message,
        gradient=row.comparison.result.name,
        explanation=explanation,
        suggestion=_suggestion(context),
        probe="double_backward",
        case=case,
        where=worst_line(result, "autograd"),
        measured=result.max_abs_error,
        allowed=result.allowed,
    )


def numeric_finding(
    context: Context,
    wanted: Sequence[int],
    variable: int | None,
    found: Guarded,
    value: torch.Tensor | None,
    graph: GradientGraph,
) -> Finding:
    """The finding where a numeric derivative of the first-order gradients contradicts their backward."""
    name = None if variable is None else derivative_name(context, wanted, variable)
    zero = variable is not None and (value is None or not bool(value.any()))
    explanation = "part of what backward computes is cut off from the inputs, or is differentiated wrongly"
    if zero and variable is not None:
        explanation = _cut_off(variable_name(context, variable))
    elif _inner_functions(context, graph):
        explanation = f"backward passes through {_inner_functions(context, graph)}, whose own backward gives this"
    return Finding(
        "double-backward",
        severity(context),
        f"second derivative{f' {name}' if name else ''} is {'silently zero' if zero else 'wrong'}",
        gradient=name,
        explanation=explanation,
        suggestion=_suggestion(context),
        probe="double_backward",
        where=f"along a random direction: backward {show(found.expected)}, central differences {show(found.measured)} "
        f"(allowed {found.error:.2g})",
        measured=abs(found.measured - found.expected),
        allowed=found.error,
    )


def no_graph_finding(context: Context, graph: GradientGraph) -> Finding:
    """The finding for gradients that come back without a graph."""
    return Finding(
        "double-backward",
        severity(context),
        "second derivative is silently missing: what backward returns has no grad_fn",
        gradient="second order",
        explanation="it is computed apart from autograd (detach, .data, no_grad, NumPy or a kernel), "
        "so torch takes its derivative for zero",
        suggestion=_suggestion(context),
        probe="double_backward",
    )


def refusal_finding(context: Context, error: Exception | None) -> Finding | None:
    """The note that a backward refuses a second derivative on purpose; None for any other exception."""
    said = "backward is marked @once_differentiable" if error is None else first_line(error)
    if not (error is None or isinstance(error, NotImplementedError) or cannot_be_differentiated(error)):
        return None
    return Finding(
        "unsupported",
        "note",
        f"{context.subject.name} refuses a second derivative",
        gradient="second order",
        explanation=said,
        probe="double_backward",
        stage="backward",
        exception=class_name(error),
    )


def raised_finding(context: Context, error: Any) -> Finding:
    """The finding for a second derivative that raises, where that is no refusal."""
    return Finding(
        "double-backward",
        severity(context),
        f"second derivative raised {type(error).__name__}",
        gradient="second order",
        explanation=first_line(error),
        suggestion="look at the traceback below; add @once_differentiable if there is to be no second derivative",
        probe="double_backward",
        traceback=user_traceback(error),
        stage="backward",
        exception=class_name(error),
    )


def _cut_off(variable: str) -> str:
    return f"what backward computes does not lead back to {variable!r}: {_CUT}"


def _inner_functions(context: Context, graph: GradientGraph) -> str:
    """Names of the other hand-written Functions that the backward of a Function or custom op calls; may be empty."""
    if context.subject.user is None:
        return ""
    return ", ".join(name for name in graph.functions if name not in (context.subject.name, "_HandWritten", "Alias"))


def _suggestion(context: Context) -> str:
    if context.subject.op is not None or context.subject.is_program:
        return "write backward in torch functions of grad_output, output and the inputs"
    return "save inputs and outputs rather than intermediates, or add @once_differentiable to backward"
