"""The hand-written rule of one op call, run alone on the oracle's own values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, copy_inputs, is_differentiable
from gradcheck_lab.comparison.compared import Comparison
from gradcheck_lab.comparison.entries import compare_returned
from gradcheck_lab.comparison.further_draws import FurtherDraws
from gradcheck_lab.model.exceptions import class_name
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import COPIED_ELEMENTS
from gradcheck_lab.model.raised import raised_cause
from gradcheck_lab.model.user_errors import first_line, user_traceback, wrong_count
from gradcheck_lab.oracles.autograd.passes import AutogradOracle, Pass
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.op import adapt_op
from gradcheck_lab.subjects.subject import Call, Key, Subject


def compare_isolated_rule(
    call: Call, number: int, program: AutogradOracle, margin: float = 1.0
) -> tuple[list[Comparison], list[Finding]]:
    """Run the rule of call `number` on the values and upstream of a program's oracle, and compare it with its own share."""
    label, truth, case = call_label(call), program.truth(), program.case
    outside = frozenset(
        j for j, v in enumerate(call.inputs) if is_differentiable(v) and Key("share", number, j) not in truth.gradients
    )
    inputs, outputs = detached(call.inputs), detached(call.outputs)
    upstream = tuple(_upstream(truth, number, j, output) for j, output in enumerate(outputs))
    subject = adapt_op(call.op, inputs, dict(call.options))
    assert subject is not None
    allowed = program.runner.subject.allowed
    unwanted = subject.constants | _constants(call, program)
    subject = replace(subject, constants=unwanted | outside, fixed=unwanted | outside, allowed=allowed)
    local = Case(inputs, call.options, upstream, case.seed, case.label)
    oracle = AutogradOracle(replace(program.runner, subject=subject), local)
    try:
        returned = run_rule(replace(call, inputs=inputs, outputs=outputs), upstream)
    except Exception as error:
        return [], [
            Finding(
                raised_cause(error),
                "error",
                f"backward of {label} raised {type(error).__name__}",
                explanation=first_line(error),
                suggestion="look at the backward's traceback below",
                op=label,
                traceback=user_traceback(error),
                stage="backward",
                exception=class_name(error),
            )
        ]
    if len(as_tuple(returned)) != len(inputs):
        return [], [wrong_count(as_tuple(returned), len(inputs), label)]
    named = {"output": outputs[0]} if len(outputs) == 1 else {f"output {j}": o for j, o in enumerate(outputs)}
    draws = None if margin > 1 else FurtherDraws(oracle.runner, local)
    compared = compare_returned(subject, returned, oracle, truth, named, label, shares=number, margin=margin, draws=draws)
    wanted = {j for j in outside - unwanted if as_tuple(returned)[j] is not None}
    if wanted:
        alone = replace(subject, constants=frozenset(range(len(inputs))) - wanted)
        own = AutogradOracle(replace(program.runner, subject=alone), local)
        compared += _of_outside(alone, returned, own, named, label, margin)
    return compared, []


def _of_outside(
    subject: Subject, returned: Any, oracle: AutogradOracle, outputs: Mapping[str, torch.Tensor], label: str, margin: float
) -> list[Comparison]:
    """The gradients of what a call takes from outside of the program, which the program needs not: the op alone has them."""
    try:
        compared = compare_returned(subject, returned, oracle, oracle.truth(), outputs, label, margin=margin)
    except Exception:  # the op does not run by itself on these values
        return []
    return [each for each in compared if each.result.verdict == "fail"]


def _constants(call: Call, program: AutogradOracle) -> frozenset[int]:
    """The inputs of a call that are inputs of the program itself for which no gradient is wanted."""
    unwanted = [program.truth().inputs[i] for i in program.runner.subject.constants]
    return frozenset(j for j, v in enumerate(call.inputs) if any(_is_the_same(v, data) for data in unwanted))


def _is_the_same(value: Any, data: Any) -> bool:
    """Whether a value of the program is this input of it, or a view of all of that."""
    if not isinstance(value, torch.Tensor) or not isinstance(data, torch.Tensor) or not value.numel():
        return value is data
    return value.data_ptr() == data.data_ptr() and value.shape == data.shape and value.stride() == data.stride()


def run_rule(call: Call, upstream: Sequence[torch.Tensor]) -> Any:
    """Run a call's hand-written rule on its tensors, copied where that costs nothing; returns what it returns."""
    parts = [tuple(upstream), call.inputs, call.outputs]
    if sum(v.numel() for part in parts for v in part if isinstance(v, torch.Tensor)) <= COPIED_ELEMENTS.value:
        parts = [copy_inputs(part) for part in parts]
    with torch.no_grad():
        return call.backward(*parts)


def detached(values: Sequence[Any]) -> tuple[Any, ...]:
    """The tensors apart from their graph, sharing their storage; other values as they are."""
    return tuple(v.detach() if isinstance(v, torch.Tensor) else v for v in values)


def call_names(call: Call) -> tuple[str, ...]:
    """What findings call the inputs of an op call."""
    subject = adapt_op(call.op, call.inputs, dict(call.options))
    return () if subject is None else subject.names


def call_label(call: Call) -> str:
    """`relu (A1)`: the op, and the variable that its result was assigned to."""
    return f"{call.op.name} ({', '.join(call.names)})" if call.names else call.op.name


def _upstream(truth: Pass, call: int, output: int, like: Any) -> torch.Tensor:
    grad = truth.gradients.get(Key("value", call, output))
    return torch.zeros_like(like) if grad is None else grad
