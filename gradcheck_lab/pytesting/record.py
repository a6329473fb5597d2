"""What a test run verified of each op, as data: xdist workers send it, the summary and the report file show it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gradcheck_lab.model.findings import ALLOWED, ALLOWED_ALONE
from gradcheck_lab.model.shown import one_line

if TYPE_CHECKING:
    from gradcheck_lab.report import Report

_WORST_FIRST = ("fail", "inconclusive", "pass")


@dataclass(slots=True)
class OpRecord:
    """The checks of one op in one test.

    `report` is that of the last check that did not pass; where all passed, that with the largest budget used.

    `budget_used` is the largest share of its allowed error that a gradient used, None where all differ for allowed causes.
    `sensitivity` is the smallest relative error that every check would have caught, None where one check could not say.
    """

    nodeid: str
    op: str
    kind: str
    checks: int = 0
    gradients: dict[str, None] = field(default_factory=dict)
    dtypes: dict[str, None] = field(default_factory=dict)
    oracles: dict[str, None] = field(default_factory=dict)
    budget_used: float | None = None
    sensitivity: float | None = 0.0
    verdict: str = "pass"
    seed: int = 0
    report: dict[str, Any] = field(default_factory=dict)

    def add(self, report: Report) -> None:
        """Add a report on the same op."""
        compared = [gradient for gradient in report.gradients if gradient.reason is None]
        by_budget = [gradient for gradient in compared if gradient.settled_by not in (ALLOWED, ALLOWED_ALONE)]
        used = _largest(*(gradient.budget_used for gradient in by_budget))
        rank = _WORST_FIRST.index
        worse = rank(report.verdict) - rank(self.verdict)
        tighter = used is not None and (self.budget_used is None or used > self.budget_used)
        if not self.report or worse < 0 or (worse == 0 and (report.verdict != "pass" or tighter)):
            self.report, self.seed = report.to_dict(), report.seed
        self.verdict = min(report.verdict, self.verdict, key=rank)
        self.checks += 1
        self.gradients.update(dict.fromkeys(gradient.name for gradient in compared))
        self.dtypes.update(dict.fromkeys(gradient.dtype for gradient in compared))
        self.oracles[report.oracle] = None
        self.budget_used = _largest(self.budget_used, used)
        self.sensitivity = _largest_known(self.sensitivity, *(report.sensitivity.get(gradient.name) for gradient in compared))

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-safe data."""
        return {
            "nodeid": self.nodeid,
            "op": self.op,
            "kind": self.kind,
            "verdict": self.verdict,
            "checks": self.checks,
            "gradients": list(self.gradients),
            "dtypes": list(self.dtypes),
            "oracles": list(self.oracles),
            "budget_used": _finite(self.budget_used),
            "sensitivity": _finite(self.sensitivity),
            "seed": self.seed,
            "report": self.report,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> OpRecord:
        """Rebuild a record from `to_dict`."""
        keyed = {name: dict.fromkeys(data[name]) for name in ("gradients", "dtypes", "oracles")}
        numbers = {name: data[name] if data[name] is None else float(data[name]) for name in ("budget_used", "sensitivity")}
        return cls(**{**data, **keyed, **numbers})

    def properties(self) -> list[tuple[str, object]]:
        """The record as properties of a JUnit test case."""
        values = {
            "verdict": self.verdict,
            "gradients": len(self.gradients),
            "dtypes": ", ".join(self.dtypes),
            "oracle": ", ".join(self.oracles),
            "budget_used": two_digits(self.budget_used),
            "sensitivity": two_digits(self.sensitivity),
            "seed": self.seed,
        }
        return [(f"gradcheck.{one_line(self.op)}.{name}", value) for name, value in values.items()]


def merged_by_op(records: Iterable[OpRecord]) -> list[OpRecord]:
    """One record for each op over all its tests, in the order of first appearance; its `checks` counts the tests."""
    found: dict[tuple[str, str], OpRecord] = {}
    for record in records:
        merged = found.setdefault((record.op, record.kind), OpRecord("", record.op, record.kind))
        merged.checks += 1
        for name in ("gradients", "dtypes", "oracles"):
            getattr(merged, name).update(getattr(record, name))
        merged.budget_used = _largest(merged.budget_used, record.budget_used)
        merged.sensitivity = _largest_known(merged.sensitivity, record.sensitivity)
        merged.verdict = min(merged.verdict, record.verdict, key=_WORST_FIRST.index)
    return list(found.values())


def two_digits(number: float | None) -> str:
    """A number with two digits; `-` for None."""
    return "-" if number is None else f"{number:.2g}"


def _largest(*values: float | None) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _largest_known(*values: float | None) -> float | None:
    """The largest value; None where one is unknown."""
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else None


def _finite(value: float | None) -> float | str | None:
    return value if value is None or abs(value) < float("inf") else repr(value)
