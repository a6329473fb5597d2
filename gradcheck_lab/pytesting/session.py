"""One test run with the plugin: which test is running, what it asserted, and what came of it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck_lab.pytesting.marks import Target
from gradcheck_lab.pytesting.record import OpRecord
from gradcheck_lab.pytesting.settings import Settings

if TYPE_CHECKING:
    from gradcheck_lab.report import Report


@dataclass(slots=True)
class Plan:
    """How a test that uses the fixture is to run: where, with which exceptions (reasons by cause), or why not."""

    target: Target = field(default_factory=Target)
    allow: dict[str, str] = field(default_factory=dict)
    not_run: str = ""


@dataclass(slots=True)
class Running:
    """The test that is running."""

    nodeid: str
    plan: Plan | None
    records: dict[tuple[str, str], OpRecord] = field(default_factory=dict)
    compared: int = 0
    found: set[str] = field(default_factory=set)

    def add(self, report: Report) -> None:
        """Take in a report that the test asserted."""
        key = (report.subject, report.kind)
        self.records.setdefault(key, OpRecord(self.nodeid, *key)).add(report)
        self.compared += sum(gradient.reason is None for gradient in report.gradients)
        self.found.update(finding.cause for finding in report.findings)

    def problem(self) -> str:
        """Why a test that raised nothing fails nevertheless; empty when it does not."""
        if self.plan is None and not self.records:
            return ""
        if not self.compared:
            what = "asserted no gradient" if not self.records else f"compared no gradient of {_names(self.records)}"
            return f"the test {what}, so it could not fail; call gradcheck(op, *inputs) with inputs that the output depends on"
        for cause, reason in (self.plan.allow if self.plan is not None else {}).items():
            if cause not in self.found:
                return f"{cause!r} is allowed here ({reason}) and no longer happens; remove it from allow"
        return ""


@dataclass(slots=True)
class Session:
    """The state of one test run. `used`: some test ran that asked for the fixture or declared exceptions."""

    settings: Settings
    used: bool = False
    current: Running | None = None
    records: list[OpRecord] = field(default_factory=list)
    allowed: dict[str, dict[str, str]] = field(default_factory=dict)
    not_run: Counter[str] = field(default_factory=Counter)
    cache: dict[Any, Any] = field(default_factory=dict)

    def asserted(self, report: Report) -> None:
        """Take in a report; one that is asserted outside a test belongs to none."""
        if self.current is not None:
            self.current.add(report)

    def begin(self, item: pytest.Item | None) -> None:
        """Attribute what is asserted from now on to `item`, or to no test."""
        self.current = None if item is None else Running(item.nodeid, item.stash.get(PLAN, None))

    def problem(self) -> str:
        """Why the running test fails although it raised nothing; empty when it does not."""
        return "" if self.current is None else self.current.problem()

    def properties(self) -> list[tuple[str, object]]:
        """What the running test verified, as properties of a JUnit test case."""
        records = {} if self.current is None else self.current.records
        return [each for record in records.values() for each in record.properties()]

    def finish(self, report: pytest.TestReport) -> None:
        """Keep what the running test verified; a mismatch that did not fail it was meant."""
        if self.current is None:
            return
        plan = self.current.plan
        self.used = self.used or plan is not None
        if plan is not None and plan.not_run and report.when == "setup":
            self.not_run[plan.not_run] += 1
        if report.when != "call" or report.skipped:
            return
        if plan is not None and plan.allow and report.passed:
            self.allowed[self.current.nodeid] = plan.allow
        found = self.current.records.values()
        self.records += [record for record in found if report.failed or record.verdict == "pass"]

    def to_dict(self) -> dict[str, Any]:
        """What was verified, as JSON-safe data."""
        return {
            "used": self.used,
            "records": [record.to_dict() for record in self.records],
            "allowed": self.allowed,
            "not_run": dict(self.not_run),
        }

    def to_json(self) -> str:
        """What an xdist worker sends home."""
        return json.dumps(self.to_dict())

    def merge(self, sent: str) -> None:
        """Take in what a worker sent."""
        data = json.loads(sent)
        self.used = self.used or data["used"]
        self.records += map(OpRecord.from_dict, data["records"])
        self.allowed.update(data["allowed"])
        self.not_run.update(data["not_run"])


PLAN = pytest.StashKey[Plan]()


def _names(records: dict[tuple[str, str], OpRecord]) -> str:
    return ", ".join(name for name, _ in records)
