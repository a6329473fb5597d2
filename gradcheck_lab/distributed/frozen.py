"""The gradient of an input is the same whichever other inputs require one; every rank leaves the same ones out."""

from __future__ import annotations

from collections.abc import Iterator

from gradcheck_lab.calls.case import copy_inputs, is_differentiable
from gradcheck_lab.distributed.ranks import RankRaised
from gradcheck_lab.distributed.together import EVERY_RANK, Together
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import FROZEN_PATTERNS
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.repeats import equal_within_noise
from gradcheck_lab.rules.op import Op


def frozen_inputs(together: Together, context: Context) -> Iterator[Finding]:
    """Let only one input require grad."""
    case = context.case
    wanted = [i for i, v in enumerate(case.inputs) if is_differentiable(v) and i not in context.subject.constants]
    if len(wanted) < 2 or isinstance(together.ranks.function, Op):
        return
    for index in wanted[: FROZEN_PATTERNS.value]:
        label, given = context.label(index), together.placed(copy_inputs(case.inputs))
        try:
            call, _ = together.run_forward(given, [index])
            back = together.run_backward(call, case.grad_outputs or ())
        except RankRaised as error:
            yield _finding(f"{error.stage} raises {error.problems[0].kind} when only {label} requires grad", None)
            return
        found = together.gradient(index, [each.values[index] for each in back], given, EVERY_RANK)
        if not equal_within_noise(context, index, found, context.gradients[index]):
            yield _finding(f"gradient of {label} is another one when it alone requires grad", context.name(index))
            return


def _finding(message: str, gradient: str | None) -> Finding:
    return Finding(
        "needs-input-grad",
        "error",
        message,
        gradient=gradient,
        explanation="whether other inputs require a gradient changes the gradient of this one",
        suggestion="decide by ctx.needs_input_grad[i] for input i alone, and enter every collective on all ranks",
        probe="needs_input_grad",
        case="one input requires grad",
    )
