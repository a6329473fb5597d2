"""The end of a test run: a line for each op that was verified, findings by cause, allowed causes, and what was not run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gradcheck_lab.model.shown import one_line
from gradcheck_lab.pytesting.record import OpRecord, merged_by_op, two_digits
from gradcheck_lab.pytesting.session import Session
from gradcheck_lab.render.tables import table_lines

Line = tuple[str, dict[str, bool]]

_HEADINGS = ("op", "verdict", "tests", "gradients", "dtypes", "oracle", "worst budget used", "would have caught")
_COLOURS = {"pass": {"green": True}, "fail": {"red": True}, "inconclusive": {"yellow": True}}
_SEVERITIES = ("error", "warning")


def summary_lines(session: Session) -> list[Line]:
    """Every line of the summary with its markup; none where there is nothing to say."""
    lines = [
        *_table(merged_by_op(session.records)),
        *_findings(session.records),
        *_allowed_causes(session),
        *((f"not run: {_count(count, 'test')}, {reason}", {"yellow": True}) for reason, count in session.not_run.items()),
    ]
    lines += [(session.unwritten, {"red": True})] if session.unwritten else []
    return [(one_line(text), markup) for text, markup in lines]


def _table(ops: Sequence[OpRecord]) -> Iterator[Line]:
    if not ops:
        return
    markups = [{"bold": True}, *(_COLOURS[op.verdict] for op in ops)]
    yield from zip(table_lines([_HEADINGS, *map(_cells, ops)]), markups, strict=True)


def _cells(op: OpRecord) -> tuple[str, ...]:
    return (
        op.op,
        op.verdict,
        str(op.checks),
        str(len(op.gradients)),
        ", ".join(op.dtypes) or "-",
        ", ".join(dict.fromkeys(oracle.partition(" (")[0] for oracle in op.oracles)),
        two_digits(op.budget_used),
        two_digits(op.sensitivity),
    )


def _findings(records: Iterable[OpRecord]) -> Iterator[Line]:
    found: dict[str, dict[tuple[str, str, str], list[str]]] = {}
    for record in records:
        for finding in record.report["findings"]:
            if finding["severity"] in _SEVERITIES:
                key = (finding["severity"], record.op, finding["message"])
                found.setdefault(finding["cause"], {}).setdefault(key, []).append(record.nodeid)
    for cause, messages in sorted(found.items()):
        counts = [(severity, sum(key[0] == severity for key in messages)) for severity in _SEVERITIES]
        yield f"{cause}: {', '.join(_count(count, severity) for severity, count in counts if count)}", {"bold": True}
        for (severity, op, message), nodeids in sorted(messages.items()):
            more = f" and {_count(len(nodeids) - 1, 'other test')}" if len(nodeids) > 1 else ""
            yield f"  {op}: {message} [{nodeids[0]}{more}]", {"red" if severity == "error" else "yellow": True}


def _allowed_causes(session: Session) -> Iterator[Line]:
    found: dict[tuple[str, str], int] = {}
    for allowed in session.allowed.values():
        for pair in allowed.items():
            found[pair] = found.get(pair, 0) + 1
    for (cause, reason), count in sorted(found.items()):
        yield f"allowed in {_count(count, 'test')}: {cause} ({reason})", {}


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
