"""The exceptions that gradcheck_lab raises."""

from __future__ import annotations

from typing import Any


class InvalidArgument(ValueError):
    """A call that cannot mean anything; the message names the fix."""


class GradientMismatch(AssertionError):
    """A check that did not pass; `report`, a `Report`, holds everything that was measured."""

    def __init__(self, report: Any) -> None:
        super().__init__(report.message)
        self.report = report

    def __reduce__(self) -> tuple[type[GradientMismatch], tuple[Any]]:
        return type(self), (self.report,)
