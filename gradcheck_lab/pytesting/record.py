"""What a test run knows of each op: data that travels from xdist's workers, into the summary and into the report file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradcheck_lab.report import Report

_WORST_FIRST = ("fail", "inconclusive", "pass")


@dataclass(slots=True)
class OpRecord:
    """The checks of one op in one test. `report` is the one that says most: the last that failed, else the tightest.

    `budget_used` is the largest share of an allowance that a gradient used, None where every one differs by a declared
    exception; `sensitivity` is the smallest relative error that every check would have caught, None where one could not say.
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
        """Take in a report on the same op."""
        compared = [gradient for gradient in report.gradients if gradient.reason is None]
        used = _largest(*(gradient.budget_used for gradient in compared if gradient.settled_by != "allow"))
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
        self.sensitivity = _least(self.sensitivity, *(report.sensitivity.get(gradient.name) for gradient in compared))

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
            "budget_used": shown(self.budget_used),
            "sensitivity": shown(self.sensitivity),
            "seed": self.seed,
        }
        return [(f"gradcheck.{self.op}.{name}", value) for name, value in values.items()]


def together(records: Iterable[OpRecord]) -> list[OpRecord]:
    """One record for each op, of all its tests; `checks` then counts the tests, in the order of first appearance."""
    found: dict[tuple[str, str], OpRecord] = {}
    for record in records:
        whole = found.setdefault((record.op, record.kind), OpRecord("", record.op, record.kind))
        whole.checks += 1
        for name in ("gradients", "dtypes", "oracles"):
            getattr(whole, name).update(getattr(record, name))
        whole.budget_used = _largest(whole.budget_used, record.budget_used)
        whole.sensitivity = _least(whole.sensitivity, record.sensitivity)
        whole.verdict = min(whole.verdict, record.verdict, key=_WORST_FIRST.index)
    return list(found.values())


def shown(number: float | None) -> str:
    """A number with two digits; `-` where there is none to give."""
    return "-" if number is None else f"{number:.2g}"


def _largest(*values: float | None) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _least(*values: float | None) -> float | None:
    """The largest of the errors that would have been caught; None where one is unknown."""
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else None


def _finite(value: float | None) -> float | str | None:
    return value if value is None or abs(value) < float("inf") else repr(value)
