"""The forward-mode rule of a Function is the adjoint of its backward: <g, J v> = <Jᵀ g, v> for every tangent v.

Source: Griewank and Walther, "Evaluating Derivatives", 2008, chapter 3; the rule runs through `torch.autograd.forward_ad`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from gradcheck_lab.model.amounts import ALIGNED_SALT, SHOWN_IN_FULL
from gradcheck_lab.model.exceptions import class_name
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import TANGENTS_ALONE
from gradcheck_lab.model.raised import raised_cause
from gradcheck_lab.model.torch_messages import lacks_tangent
from gradcheck_lab.model.user_errors import first_line, user_traceback
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.tangents import DotProductTest, JvpCase, dot_product_test, is_confirmed, jvp_cases


def forward_mode(context: Context) -> Iterator[Finding]:
    """Run a Function's own `jvp` on random tangents of all inputs together, and of one input at a time."""
    function = context.subject.autograd_function
    if function is None or not overrides(function, "jvp"):
        return
    for jvp_case in jvp_cases(context):
        findings = _findings(context, jvp_case)
        yield from findings
        if findings:
            return


def overrides(function: Any, name: str) -> bool:
    """Whether a Function's class has its own `name` rather than torch's."""
    own = getattr(function, name, None)
    return own is not None and own is not getattr(torch.autograd.Function, name)


def _findings(context: Context, jvp_case: JvpCase) -> list[Finding]:
    every = list(jvp_case.gradients)
    wrong: list[list[int]] = []
    only_input: int | None = None
    try:
        tests = [dot_product_test(context, jvp_case, every, salt) for salt in (0, ALIGNED_SALT.value)]
        failed = [each for each in tests if is_confirmed(context, jvp_case, each)]
        for i in every if len(every) > 1 and failed else every[: TANGENTS_ALONE.value] if len(every) > 1 else []:
            only_input = i
            if is_confirmed(context, jvp_case, dot_product_test(context, jvp_case, [i], ALIGNED_SALT.value)):
                wrong.append([i])
    except NotImplementedError as error:
        return [_refused(context, error)]
    except Exception as error:
        # the rule's kernels need not take float64 where the user's call does not have it
        return [] if jvp_case.suffix else [_raised(context, error, only_input)]
    if failed and not wrong:
        wrong.append(every)
    return [_explained(context, jvp_case, indices) for indices in wrong]


def _explained(context: Context, jvp_case: JvpCase, indices: list[int]) -> Finding:
    tests = [dot_product_test(context, jvp_case, indices, salt) for salt in (ALIGNED_SALT.value, 0, 2)]
    aligned_test = tests[0]
    cause, explanation, suggestion = _cause(tests, sum(jvp_case.gradients[i].numel() for i in indices) > 1)
    whose = f"a tangent of {context.label(indices[0])}" if len(indices) == 1 else "tangents of all inputs together"
    return Finding(
        cause,
        "error",
        f"forward-mode rule (jvp) of {context.subject.name} is wrong for {whose}{jvp_case.suffix}",
        explanation=explanation,
        suggestion=suggestion,
        probe="forward_mode",
        case="a random tangent" + jvp_case.suffix,
        measured=abs(aligned_test.measured - aligned_test.expected),
        allowed=aligned_test.allowed,
    )


def _cause(tests: list[DotProductTest], several: bool) -> tuple[str, str, str]:
    first = tests[0]
    if not all(math.isfinite(each.measured) for each in tests):
        return (
            "non-finite",
            "it holds NaN or inf, and the gradient is finite",
            "look at the formula where the input is 0 or large",
        )
    if first.expected and not any(each.measured for each in tests):
        return (
            "zero-gradient",
            "it is zero, and the gradient is not",
            "return J v, what the tangents of the inputs make of the outputs",
        )
    c = first.measured / first.expected if first.expected else math.nan
    fits = all(abs(p.measured - c * p.expected) <= max(1.0, abs(c)) * p.allowed for p in tests)
    if fits and abs(c + 1) * abs(first.expected) <= first.allowed:
        return "sign", "it is exactly -1 times the reference", "negate what jvp returns"
    for value, words, fix in ((2.0, "exactly 2 times", "divide what jvp returns by 2"), (0.5, "exactly half", "double it")):
        if fits and abs(c - value) * abs(first.expected) <= first.allowed:
            return "constant-factor", f"it is {words} the reference", fix
    if fits and several:
        number = f"{c:.6g}" if abs(c - 1) > SHOWN_IN_FULL.value else f"{c:.12g}"
        return "constant-factor", f"it is {number} times the reference", f"divide what jvp returns by {number}"
    explanation = f"<g, J v> is {first.measured:.6g} by the rule and {first.expected:.6g} by the gradient, with random g and v"
    return (
        "wrong-value",
        explanation,
        "write jvp from the forward's formula: J v, the derivative of the outputs along the tangents",
    )


def _raised(context: Context, error: Exception, only_input: int | None) -> Finding:
    first = first_line(error)
    none = lacks_tangent(error)
    name = context.subject.name
    what = "returns no tangent for a differentiable output" if none else f"raised {type(error).__name__}"
    condition = "every input has a tangent" if only_input is None else f"only {context.label(only_input)} has a tangent"
    words = "" if only_input is None else f" when {condition}"
    return Finding(
        "missing-gradient" if none else raised_cause(error),
        "error",
        f"forward-mode rule (jvp) of {name} {what}{words}",
        explanation="it returned None, or a tensor that is not floating, for it" if none else first,
        suggestion="return one tangent per output, None only for those marked non-differentiable"
        if none
        else "look at the traceback of jvp below",
        probe="forward_mode",
        case=condition,
        traceback=user_traceback(error),
        exception=class_name(error),
    )


def _refused(context: Context, error: Exception) -> Finding:
    return Finding(
        "unsupported",
        "note",
        f"forward-mode rule (jvp) of {context.subject.name} refuses this call",
        explanation=first_line(error, "it raises NotImplementedError"),
        probe="forward_mode",
        case="a random tangent",
        exception=class_name(error),
    )
