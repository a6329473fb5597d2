"""The tests of `torch.library.opcheck` on the base call of a custom op, run once for all probes of a case."""

from __future__ import annotations

from typing import Any

from gradcheck_lab.model.findings import Finding
from gradcheck_lab.probes.support.context import Context


def opchecked(context: Context) -> list[Finding]:
    """A finding for each test of opcheck that fails; none for what is no operator.

    They run the operator themselves, so `evaluations` does not count those calls.
    """
    return context.once("opcheck", lambda: _opcheck(context))


def registration_ran(context: Context, now: bool = False) -> bool:
    """Whether the probe of registrations, which says so by `now`, has told what opcheck finds."""
    return context.once("registration ran", lambda: now)


def _opcheck(context: Context) -> list[Finding]:
    subject = context.subject
    if subject.operator is None or subject.call_reference is None:
        return []
    from gradcheck_lab.subjects.operator_checks import opcheck_findings

    found: list[Finding] = []

    def as_called(*arguments: Any, **keywords: Any) -> tuple[()]:
        found.extend(opcheck_findings(subject.user, arguments, keywords))
        return ()

    subject.call_reference(as_called, context.case.inputs, context.case.options)
    return found
