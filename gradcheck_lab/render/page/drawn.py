"""What a fuzz run tried, laid out as tables: a row for each dimension or input, a column for each size or kind."""

from __future__ import annotations

from dataclasses import dataclass

from gradcheck_lab.model.drawn import DrawnCalls, Outcomes, Property, Tried
from gradcheck_lab.model.findings import ReportData

_TITLES: tuple[tuple[tuple[Property, ...], str], ...] = (
    (("size",), "sizes"),
    (("axes",), "how many axes a * stood for"),
    (("broadcast",), "broadcast"),
    (("values",), "values"),
    (("layout",), "layouts"),
    (("dtype", "option"), "dtype and options"),
)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that have their values in common; each row has a cell, or none, for each column."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Outcomes | None, ...]], ...]


def tables(drawn: DrawnCalls) -> list[Table]:
    """The tables that have a row; those of dtype and options are one for each, as they have no value in common."""
    found = []
    for properties, title in _TITLES:
        rows = [row for row in drawn.tried if row.property in properties]
        if properties == ("dtype", "option"):
            found += [_table(row.name, [row]) for row in rows]
        elif rows:
            found.append(_table(title, rows))
    return found


def _table(title: str, rows: list[Tried]) -> Table:
    longest = max(rows, key=lambda row: len(row.outcomes))
    values = dict.fromkeys(each.value for row in (longest, *rows) for each in row.outcomes)
    cells = []
    for row in rows:
        known = {each.value: each for each in row.outcomes}
        cells.append((row.name, tuple(known.get(value) for value in values)))
    return Table(title, tuple(values), tuple(cells))


def cell_class(cell: Outcomes | None) -> str:
    """The worst of what the calls of a cell came to."""
    if cell is None:
        return "absent"
    if cell.wrong:
        return "wrong"
    return "right" if cell.right else "refused" if cell.refused else "empty" if cell.not_compared else "untried"


def cell_words(cell: Outcomes | None) -> str:
    """The counts of a cell as a sentence."""
    if cell is None:
        return "not among its values"
    counts = {"wrong": cell.wrong, "right": cell.right, "refused by the forward": cell.refused}
    counts["without elements"] = cell.not_compared
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "not tried"


def cell_count(cell: Outcomes | None) -> str:
    """How many calls a cell has; those that were wrong before the others, `2/8`."""
    if cell is None:
        return ""
    every = cell.right + cell.wrong + cell.refused + cell.not_compared
    return f"{cell.wrong}/{every}" if cell.wrong else str(every or "")


def cell_bar(cell: Outcomes | None) -> str:
    """The shares of right, wrong and other calls as the stops of a gradient, in percent; empty without any."""
    if cell is None:
        return ""
    parts = (("fail", cell.wrong), ("pass", cell.right), ("line", cell.refused + cell.not_compared))
    every = sum(count for _, count in parts)
    stops, at = [], 0.0
    for name, count in parts:
        end = at + 100 * count / max(every, 1)
        if count:
            stops.append(f"var(--{name}) {at:.0f}% {end:.0f}%")
        at = end
    return ", ".join(stops)


def search_words(report: ReportData) -> str:
    """How many calls a run drew, and how many more it made to shrink one."""
    drawn = f"{report.examples} call{'s' * (report.examples != 1)} drawn"
    if report.drawn is None or not report.drawn.shrunk:
        return f"{drawn}; none was wrong" if report.verdict == "pass" else drawn
    return f"{drawn} until one failed, and {report.drawn.calls - report.examples} more made to shrink it; all are counted here"


FILTERS = (tables, cell_class, cell_words, cell_count, cell_bar, search_words)
