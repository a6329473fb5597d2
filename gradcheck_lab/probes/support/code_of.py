"""What the source of the code behind a subject says, read once for each case."""

from __future__ import annotations

from typing import Any

from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.subjects.code.facts import Facts
from gradcheck_lab.subjects.code.reader import read_code


def code_of(context: Context) -> Facts:
    """What forward and backward say of names, with the functions that they call."""
    subject = context.subject
    setup = getattr(subject.autograd_function, "setup_context", None)
    functions = (subject.signature, setup, *subject.backwards())
    return context.once("code", lambda: read_code(functions, _owner(context)))


def read_by_forward(context: Context) -> set[str]:
    """The names that the forward reads."""
    return context.once("read by forward", lambda: read_code((context.subject.signature,), _owner(context)).read)


def read_by_backward(context: Context) -> set[str]:
    """The names that the backward reads."""
    return context.once("read by backward", lambda: read_code(context.subject.backwards(), _owner(context)).read)


def _owner(context: Context) -> Any:
    state = context.subject.state
    return None if state is None else state.owner
