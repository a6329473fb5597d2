"""How many cases of a campaign have which verdict, and which of them did not pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gradcheck_lab.model.findings import Verdict


@dataclass(slots=True)
class Tally:
    """The counts of a campaign; `open` has the verdict, the name and in words the reason of each case that did not pass."""

    planned: int
    verdicts: dict[str, int] = field(default_factory=dict)
    open: list[tuple[str, str, str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def done(self) -> int:
        """The cases that have a result."""
        return sum(self.verdicts.values())

    @property
    def verdict(self) -> Verdict:
        """Fail where a case fails; inconclusive where one is not done, not checked or inconclusive, or where there is none."""
        if self.verdicts.get("fail"):
            return "fail"
        return "pass" if self.planned and self.verdicts.get("pass", 0) == self.planned else "inconclusive"

    def add(self, name: str, verdict: str, seconds: float, why: str) -> None:
        """Count a case."""
        self.verdicts[verdict] = self.verdicts.get(verdict, 0) + 1
        self.seconds += seconds
        if verdict != "pass":
            self.open.append((verdict, name, why))

    def to_dict(self) -> dict[str, Any]:
        """The counts as JSON-safe data."""
        return {"planned": self.planned, "done": self.done, "verdict": self.verdict, "verdicts": dict(self.verdicts)}


def reason_of(report: dict[str, Any] | None, why: str) -> str:
    """In words, why a case did not pass: its first error, else its first reason to be inconclusive.

    `report` is what `Report.to_dict` gives; entries that are of another kind are passed over.
    """
    findings = _entries(report, "findings")
    errors = [each for each in findings if isinstance(each, dict) and each.get("severity") == "error"]
    found: Iterable[Any] = [f"{each.get('cause')} - {each.get('message')}" for each in errors] or _entries(report, "reasons")
    return next((str(each) for each in found), why)


def _entries(report: dict[str, Any] | None, name: str) -> list[Any]:
    found = (report or {}).get(name)
    return found if isinstance(found, list) else []
