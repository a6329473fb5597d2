"""The suggestion of a subject that no edit mends: what its wrong gradients are, as lines of torch, verified as an op."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.calls.process_state import preserved_state
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.examination.examined import Examined
from gradcheck_lab.model.suggestions import Suggestion
from gradcheck_lab.repair.derived import Unreadable, backward_of, derived
from gradcheck_lab.repair.verified import Verification
from gradcheck_lab.rules.op import Op


def written_suggestion(op: Any, verification: Verification) -> Suggestion | None:
    """The wrong gradients as lines of torch; None where they cannot be read off the forward, or fail the checks."""
    call = verification.call
    ran = call.run(op)
    if ran.case.grad_outputs is None or ran.subject.trace is None or ran.subject.is_program:
        return None
    if not all(isinstance(value, torch.Tensor) for value in ran.case.inputs):
        return None  # an op takes tensors
    wanted = [i for i in range(len(ran.case.inputs)) if ran.is_compared(i)]
    names = ran.subject.names
    if not all(name.isidentifier() for name in names):
        return None
    try:
        with preserved_state(call.seed):
            expressions, forward = derived(ran.runner, ran.case, wanted)
    except (Unreadable, InvalidArgument):
        return None
    except Exception:  # the forward cannot be run under autograd
        return None
    wrt = [names[i] for i in wanted]
    alone = replace(call, inputs=ran.subject.inputs, options=None, reference=None, grad_output=None, wrt=wrt)
    verified = replace(verification, call=alone).passed(_as_op(ran, expressions, forward))
    if verified is None:
        return None
    wrong = {each.name for each in verification.wrong.gradients if each.verdict == "fail"}
    wrong |= {finding.gradient for finding in verification.errors if finding.gradient is not None}
    shown = [i for i in wanted if names[i] in wrong] or wanted
    lines = tuple(f"d{names[i]} = {expressions[i]}" for i in shown)
    return Suggestion(expressions=lines, size=sum(map(len, lines)), verified=verified.checks)


def _as_op(ran: Examined, expressions: Mapping[int, str], output: str) -> Op:
    """The subject's forward with the expressions as its backward; its inputs keep their names.

    A forward in NumPy is traced anew for every size, which takes seconds; what was read off it stands in for it.
    """
    subject, case = ran.subject, ran.case
    in_numpy = subject.state is not None and subject.state.numpy
    arguments = ", ".join(subject.names)
    space: dict[str, Any] = {
        "torch": torch, "run": lambda *inputs: _one(ran.runner.trace(inputs, replace(case, inputs=inputs)).outputs)
    }  # fmt: skip
    forward = eval(f"lambda {arguments}: {output if in_numpy and output else f'run({arguments})'}", space)
    return Op(forward, backward_of(subject.names, expressions), name=subject.name)


def _one(outputs: tuple[Any, ...]) -> Any:
    return outputs[0] if len(outputs) == 1 else outputs
