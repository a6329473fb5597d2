"""Reports as the text of a file, by its ending, and as what a workflow of GitHub is told."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

from gradcheck_lab.model.findings import ReportData
from gradcheck_lab.render.annotations import markdown_summary, sarif, workflow_commands
from gradcheck_lab.render.page import render_reports

Named = Sequence[tuple[str, ReportData]]


def report_text(suffix: str, title: str, summary: str, reports: Named, data: dict[str, Any]) -> str:
    """A page for `.html`, a SARIF log for `.sarif`, else `data` as JSON."""
    if suffix == ".html":
        return render_reports(title, summary, reports)
    return json.dumps(sarif(reports) if suffix == ".sarif" else data, indent=2) + "\n"


def tell_github(reports: Named, write_line: Callable[[str], object]) -> str:
    """Write a command for each finding, and add a table to the job's summary where the environment names its file.

    Returns why the summary could not be written, if it could not.
    """
    for command in workflow_commands(reports):
        write_line(command)
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path or not reports:
        return ""
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(markdown_summary(reports))
    except OSError as error:
        return f"the summary of the job could not be written: {error.strerror}"
    return ""
