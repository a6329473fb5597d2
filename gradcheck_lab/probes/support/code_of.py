"""What the source of the code behind a subject says, read once for each case."""

from __future__ import annotations

from typing import Any

import torch

from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.subjects.code.facts import Facts
from gradcheck_lab.subjects.code.native import may_be_native
from gradcheck_lab.subjects.code.reader import read_code


def code_of(context: Context) -> Facts:
    """What forward and backward say of names, with the functions that they call."""
    subject = context.subject
    setup = getattr(subject.autograd_function, "setup_context", None)
    functions = (subject.signature, setup, *subject.backwards())
    return context.once("code", lambda: read_code(functions, _owner(context)))


def checks_its_sizes(context: Context) -> bool:
    """Whether a forward and backward that do not fit their inputs raise: no compiled code but that of known libraries runs.

    A kernel may trust its sizes to fit, and write beyond them.
    """
    subject = context.subject
    if subject.operator is not None or any(isinstance(v, torch.Tensor) and v.device.type != "cpu" for v in context.case.inputs):
        return context.uses_autograd
    functions = (subject.signature, *subject.backwards())
    return context.uses_autograd or not context.once("native", lambda: may_be_native(functions, _owner(context)))


def read_by_forward(context: Context) -> set[str]:
    """The names that the forward reads."""
    return context.once("read by forward", lambda: read_code((context.subject.signature,), _owner(context)).read)


def read_by_backward(context: Context) -> set[str]:
    """The names that the backward reads."""
    return context.once("read by backward", lambda: read_code(context.subject.backwards(), _owner(context)).read)


def _owner(context: Context) -> Any:
    state = context.subject.state
    return None if state is None else state.owner
