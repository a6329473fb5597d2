"""What the findings of a run say of lines of source, for code hosts: SARIF 2.1.0, and the commands and summary of GitHub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.documentation import cause_page
from gradcheck_lab.model.findings import Finding, ReportData, Severity
from gradcheck_lab.model.shown import one_line
from gradcheck_lab.render import wording

Named = Sequence[tuple[str, ReportData]]

_LEVELS: dict[Severity, str] = {"error": "error", "warning": "warning", "note": "note"}
_COMMANDS: dict[str, str] = {"error": "error", "warning": "warning", "note": "notice"}
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


@dataclass(frozen=True, slots=True)
class Annotation:
    """A finding at a line of a file; `file` is empty where the place of the backward is not known."""

    name: str
    subject: str
    finding: Finding
    file: str
    line: int

    @property
    def title(self) -> str:
        """Whose gradient it is, and the cause."""
        return f"{one_line(self.subject)}: {one_line(self.finding.cause)}"

    @property
    def text(self) -> str:
        """What is wrong, why, and what to do, a line each."""
        found = self.finding
        fix = f"fix: {found.suggestion}" if found.suggestion else ""
        lines = [wording.what(found), found.where, f"cause: {wording.why(found)}", fix]
        return "\n".join(one_line(line) for line in lines if line)


def annotated(reports: Named) -> Iterator[Annotation]:
    """The errors and warnings of the reports, each at the first line that it blames, else at the backward."""
    for name, report in reports:
        for finding in report.findings:
            if finding.severity != "note":
                file, line = _place(finding.location or report.location)
                blamed = finding.source.blamed if finding.source is not None else ()
                yield Annotation(name, report.subject, finding, file, blamed[0] if blamed else line)


def sarif(reports: Named) -> dict[str, Any]:
    """The findings of a run as a SARIF 2.1.0 log, which code scanning shows beside the lines."""
    found = list(annotated(reports))
    causes = sorted({each.finding.cause for each in found})
    driver = {
        "name": "gradcheck_lab",
        "version": next((known for _, report in reports if (known := report.environment.get("gradcheck_lab"))), "unknown"),
        "rules": [_rule(cause) for cause in causes],
    }
    results = [_result(each, causes.index(each.finding.cause)) for each in found]
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _rule(cause: str) -> dict[str, Any]:
    """A cause as a rule, with its sentence, its fix and its page where they are known."""
    row, page = CAUSES.get(cause), cause_page(cause)
    sentence = one_line(cause) if row is None else row.sentence
    made: dict[str, Any] = {"id": one_line(cause), "shortDescription": {"text": sentence}}
    made |= {} if row is None else {"help": {"text": row.fix}}
    return made | ({"helpUri": page} if page else {})


def _result(each: Annotation, rule: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "ruleId": one_line(each.finding.cause),
        "ruleIndex": rule,
        "level": _LEVELS.get(each.finding.severity, "warning"),
        "message": {"text": f"{one_line(each.name)}\n{each.text}"},
        "partialFingerprints": {"gradient/v1": one_line(f"{each.subject}/{each.finding.gradient}/{each.finding.cause}")},
    }
    if each.file:
        place = {"artifactLocation": {"uri": quote(each.file.replace("\\", "/"))}, "region": {"startLine": max(1, each.line)}}
        made["locations"] = [{"physicalLocation": place}]
    return made


def workflow_commands(reports: Named) -> list[str]:
    """Commands that make GitHub show each finding at its line, one a line of output."""
    lines = []
    for each in annotated(reports):
        place = f"file={_property(each.file)},line={each.line}," if each.file else ""
        command = _COMMANDS.get(each.finding.severity, "warning")
        lines.append(f"::{command} {place}title={_property(each.title)}::{_data(each.text)}")
    return lines


def markdown_summary(reports: Named) -> str:
    """A table of what failed, with what it says, for a job's summary; a sentence where all is right."""
    counts = {verdict: sum(report.verdict == verdict for _, report in reports) for verdict in ("fail", "inconclusive", "pass")}
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count) or "nothing was checked"
    lines = ["## Gradients", "", f"{said}.", ""]
    found = [each for each in annotated(reports) if each.finding.severity == "error"]
    if found:
        lines += ["| where | what | cause | fix |", "| --- | --- | --- | --- |"]
    for each in found:
        place = f"{each.file}:{each.line}" if each.file else each.name
        cells = (place, wording.what(each.finding), wording.why(each.finding), each.finding.suggestion)
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join(lines) + "\n"


def _place(location: str) -> tuple[str, int]:
    first = re.match(r"(.+?):(\d+)(?:,|$)", location)
    return (first[1], int(first[2])) if first else ("", 1)


def _data(text: str) -> str:
    """A text as GitHub's commands take it: nothing in it ends the command, or begins another."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(one_line(text)).replace(":", "%3A").replace(",", "%2C")


def _cell(text: str) -> str:
    """A text as a cell of a table of Markdown, in which nothing is markup."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~@$&-])", r"\\\1", one_line(text))
