"""A failing test shows the message of its mismatch instead of a traceback."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from gradcheck_lab.pytesting.session import Session


def show_mismatch(report: pytest.TestReport, error: BaseException, session: Session, full_trace: bool) -> None:
    """Replace the traceback of a mismatch by its message and notes; save its report where an option says so."""
    errors = sys.modules.get("gradcheck_lab.errors")
    mismatches = [] if errors is None else _mismatches(error, errors.GradientMismatch)
    if not mismatches:
        return
    texts = ["\n".join([str(each), *getattr(each, "__notes__", ())]) for each in mismatches]
    if session.settings.save_failures is not None:
        from gradcheck_lab.pytesting.files import save_failure
        from gradcheck_lab.reproduction.kept import save

        for index, each in enumerate(mismatches):
            texts[index] += "".join(f"\n  {problem}" for problem in filter(None, [save(each.report.reproduce)]))
            name = report.nodeid if len(mismatches) == 1 else f"{report.nodeid}-{index}"
            texts[index] += f"\n  saved: {save_failure(session.settings.save_failures, name, each.report)}"
    if not full_trace:
        report.longrepr = "\n\n".join(texts)


def _mismatches(error: BaseException, kind: type[Any]) -> list[Any]:
    """The mismatches that an exception is or groups; none where it groups anything else."""
    if not isinstance(error, BaseExceptionGroup):
        return [error] if isinstance(error, kind) else []
    found = [_mismatches(each, kind) for each in error.exceptions]
    return [mismatch for each in found for mismatch in each] if all(found) else []
