"""What a workflow of GitHub is told at the end of a run: findings at the lines of backwards, and the job's summary."""

from __future__ import annotations

import os
from typing import Any

from gradcheck_lab.pytesting.files import named_reports
from gradcheck_lab.pytesting.session import Session
from gradcheck_lab.render.annotations import markdown_summary, workflow_commands


def tell_github(terminalreporter: Any, session: Session) -> None:
    """Print a command for each finding, and add a table to the job's summary where the environment names its file."""
    reports = named_reports(session)
    for command in workflow_commands(reports):
        terminalreporter.write_line(command)
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path or not reports:
        return
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(markdown_summary(reports))
    except OSError as error:
        terminalreporter.write_line(f"the summary of the job could not be written: {error.strerror}", red=True)
