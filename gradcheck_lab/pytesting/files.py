"""The files that a test run leaves: the report of all that was verified, and one for each test that failed."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcheck_lab.model.files import write_text
from gradcheck_lab.model.shown import file_stem
from gradcheck_lab.pytesting.session import Session

if TYPE_CHECKING:
    from gradcheck_lab.report import Report

SCHEMA = 1


def write_report(session: Session, path: Path) -> str:
    """Write what was verified as JSON, SARIF or one HTML page, by the suffix of `path`; returns why that failed, if it did."""
    from gradcheck_lab.pytesting.summary import summary_lines
    from gradcheck_lab.render.files import report_text

    data = {"schema": SCHEMA, "seed": session.settings.seed, **session.to_dict()}
    summary = "\n".join(text for text, _ in summary_lines(session))
    try:
        write_text(path, report_text(path.suffix, "gradcheck", summary, named_reports(session), data))
    except (OSError, ValueError) as error:
        return f"the report could not be written to {path}: {error}"
    return ""


def save_failure(folder: Path, nodeid: str, report: Report) -> str:
    """Write what failed to a file of `folder` that is named after the test, and return its path, or why that failed.

    That is the case of a fuzzed failure, which `gradcheck-lab replay` reads; else the report.
    """
    digest = zlib.crc32(nodeid.encode(errors="surrogatepass"))
    path = folder / f"{file_stem(nodeid.rpartition('/')[2])}-{digest:08x}.json"
    data: dict[str, Any] = {"schema": SCHEMA, "nodeid": nodeid, "report": report.to_dict()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(report.failing_case or data, indent=2) + "\n")
    except OSError as error:
        return f"not, since {error}"
    return str(path)


def named_reports(session: Session) -> list[tuple[str, Report]]:
    """The reports of a run, each with the test that asserted it."""
    from gradcheck_lab.report import Report

    return [(each.nodeid, Report.from_dict(each.report)) for each in session.records]
