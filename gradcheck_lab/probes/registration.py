"""A custom op's schema, fake kernel and autograd registration agree with its kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gradcheck_lab.model.findings import Finding
from gradcheck_lab.probes.support.context import Context


def registration(context: Context) -> Iterator[Finding]:
    """Run the tests of `torch.library.opcheck`, and yield a finding for each that fails.

    They run the operator themselves, so `evaluations` does not count those calls.
    """
    subject = context.subject
    if subject.operator is None or subject.call_reference is None:
        return
    from gradcheck_lab.subjects.operator_checks import opcheck_findings

    found: list[Finding] = []

    def as_called(*arguments: Any, **keywords: Any) -> tuple[()]:
        found.extend(opcheck_findings(subject.user, arguments, keywords))
        return ()

    subject.call_reference(as_called, context.case.inputs, context.case.options)
    yield from found
