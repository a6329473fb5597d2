"""One test run with the plugin: which test is running, what it asserted, and what came of it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck_lab.pytesting.marks import Placement
from gradcheck_lab.pytesting.record import OpRecord
from gradcheck_lab.pytesting.settings import Settings

if TYPE_CHECKING:
    from gradcheck_lab.report import Report


@dataclass(slots=True)
class ItemSettings:
    """How a test that uses the fixture runs: where, with which allowed causes (and their reasons), or why it is skipped.

    `apart` are the arguments by which its checks run in processes of their own, `wrt` the inputs whose gradients are wanted,
    None where nothing says so.
    """

    placement: Placement = field(default_factory=Placement)
    allow: dict[str, str] = field(default_factory=dict)
    skip_reason: str = ""
    apart: dict[str, Any] = field(default_factory=dict)
    wrt: tuple[str | int, ...] | None = None


@dataclass(slots=True)
class RunningTest:
    """The test that is running."""

    nodeid: str
    settings: ItemSettings | None
    records: dict[tuple[str, str], OpRecord] = field(default_factory=dict)
    compared: int = 0  # gradients
    causes: set[str] = field(default_factory=set)

    def add(self, report: Report) -> None:
        """Add a report that the test asserted."""
        key = (report.subject, report.kind)
        self.records.setdefault(key, OpRecord(self.nodeid, *key)).add(report)
        self.compared += sum(gradient.reason is None for gradient in report.gradients)
        self.causes.update(finding.cause for finding in report.findings)

    def problem(self) -> str:
        """Why the test fails although it raised nothing; empty where it passes."""
        if self.settings is None and not self.records:
            return ""
        if not self.compared:
            what = "asserted no gradient" if not self.records else f"compared no gradient of {_names(self.records)}"
            return f"the test {what}, so it could not fail; call gradcheck(op, *inputs) with inputs that the output depends on"
        for cause, reason in (self.settings.allow if self.settings is not None else {}).items():
            if cause not in self.causes:
                return f"{cause!r} is allowed here ({reason}) and no longer happens; remove it from allow"
        return ""


@dataclass(slots=True)
class Session:
    """The state of one test run. `used` is set once a test ran that asked for the fixture or has the marker.

    `unwritten` says why the report could not be written, where that is so.
    """

    settings: Settings
    used: bool = False
    current: RunningTest | None = None
    records: list[OpRecord] = field(default_factory=list)
    allowed: dict[str, dict[str, str]] = field(default_factory=dict)
    not_run: Counter[str] = field(default_factory=Counter)
    cache: dict[Any, Any] = field(default_factory=dict)
    unwritten: str = ""

    @property
    def wrt(self) -> tuple[str | int, ...] | None:
        """The inputs that need a gradient by the running test's marker; None where it names none."""
        return None if self.current is None or self.current.settings is None else self.current.settings.wrt

    def add_report(self, report: Report) -> None:
        """Add a report that the running test asserted; one that is asserted outside a test is dropped."""
        if self.current is not None:
            self.current.add(report)

    def start_test(self, item: pytest.Item | None) -> None:
        """Count what is asserted from now on for the test `item`, or for none."""
        self.current = None if item is None else RunningTest(item.nodeid, item.stash.get(ITEM_SETTINGS, None))

    def problem(self) -> str:
        """Why the running test fails although it raised nothing; empty where it passes."""
        return "" if self.current is None else self.current.problem()

    def properties(self) -> list[tuple[str, object]]:
        """What the running test verified, as properties of a JUnit test case."""
        records = {} if self.current is None else self.current.records
        return [each for record in records.values() for each in record.properties()]

    def finish(self, report: pytest.TestReport) -> None:
        """Keep what the running test verified. A mismatch in a test that passed was expected by the test, and is dropped."""
        if self.current is None:
            return
        settings = self.current.settings
        self.used = self.used or settings is not None
        if settings is not None and settings.skip_reason and report.when == "setup":
            self.not_run[settings.skip_reason] += 1
        if report.when != "call" or report.skipped:
            return
        if settings is not None and settings.allow and report.passed:
            self.allowed[self.current.nodeid] = settings.allow
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
        """What an xdist worker sends to the main process."""
        return json.dumps(self.to_dict())

    def merge(self, sent: str) -> None:
        """Add what an xdist worker sent."""
        data = json.loads(sent)
        self.used = self.used or data["used"]
        self.records += map(OpRecord.from_dict, data["records"])
        self.allowed.update(data["allowed"])
        self.not_run.update(data["not_run"])


ITEM_SETTINGS = pytest.StashKey[ItemSettings]()


def _names(records: dict[tuple[str, str], OpRecord]) -> str:
    return ", ".join(name for name, _ in records)
