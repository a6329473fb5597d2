"""The exceptions that gradcheck_lab raises."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradcheck_lab.report import Report


class InvalidArgument(ValueError):
    """A call that cannot mean anything; the message names the fix."""


class GradientMismatch(AssertionError):
    """A check that did not pass; `report` holds everything that was measured."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report

    def __reduce__(self) -> tuple[type[GradientMismatch], tuple[Report]]:
        return type(self), (self.report,)
