"""What a workflow of GitHub is told at the end of a run: findings at the lines of backwards, and the job's summary."""

from __future__ import annotations

from typing import Any

from gradcheck_lab.pytesting.files import named_reports
from gradcheck_lab.pytesting.session import Session
from gradcheck_lab.render.files import tell_github


def tell_github_of(terminalreporter: Any, session: Session) -> None:
    """Print a command for each finding, and add a table to the job's summary."""
    problem = tell_github(named_reports(session), terminalreporter.write_line)
    if problem:
        terminalreporter.write_line(problem, red=True)
