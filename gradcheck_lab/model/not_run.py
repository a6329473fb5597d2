"""What of the user's code no call of a check ran: lines, and sides of conditions on values that no element took."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinesNotRun:
    """The lines `first` to `last` of `function`, in `file`; `needs` is what has to hold for that, where the code says it."""

    file: str
    function: str
    first: int
    last: int
    needs: str = ""


@dataclass(frozen=True, slots=True)
class SideNotTaken:
    """A `condition` on the elements of a tensor or array, at `line` of `file`, that held for none of them."""

    file: str
    function: str
    line: int
    condition: str


@dataclass(frozen=True, slots=True)
class NotRun:
    """The lines and sides that no call of a check reached; `sides_seen` is how many sides the conditions on values have."""

    lines: tuple[LinesNotRun, ...] = ()
    sides: tuple[SideNotTaken, ...] = ()
    sides_seen: int = 0


def neither_ran(one: NotRun, other: NotRun) -> NotRun:
    """What ran in neither of two runs of the same code."""
    lines = [
        LinesNotRun(a.file, a.function, max(a.first, b.first), min(a.last, b.last), a.needs if a.needs == b.needs else "")
        for a in one.lines
        for b in other.lines
        if (a.file, a.function) == (b.file, b.function) and max(a.first, b.first) <= min(a.last, b.last)
    ]
    sides = tuple(side for side in one.sides if side in other.sides)
    return NotRun(tuple(lines), sides, max(one.sides_seen, other.sides_seen))


def not_run_text(found: NotRun, most: int) -> str:
    """One line for a reader, with at most `most` places; empty where all ran.

    >>> not_run_text(NotRun((LinesNotRun("a.py", "forward", 4, 6, "bias is None"),), sides_seen=6), 3)
    'not run: lines 4-6 of a.py (needs bias is None)'
    """
    shown = [lines_text(each) for each in found.lines[:most]]
    hidden = len(found.lines) - len(shown)
    if hidden:
        shown.append(f"{hidden} other place{'s' * (hidden != 1)}")
    if found.sides:
        which = f" ({found.sides[0].condition})" if len(found.sides) == 1 else ""
        shown.append(f"{len(found.sides)} of {found.sides_seen} branches of values{which}")
    return f"not run: {', '.join(shown)}" if shown else ""


def lines_text(lines: LinesNotRun) -> str:
    """`lines 4-6 of a.py (needs bias is None)`."""
    where = f"line {lines.first}" if lines.first == lines.last else f"lines {lines.first}-{lines.last}"
    return f"{where} of {lines.file}{f' (needs {lines.needs})' if lines.needs else ''}"


def side_text(side: SideNotTaken) -> str:
    """`no element with x > 3 at line 12 of a.py`."""
    return f"no element with {side.condition} at line {side.line} of {side.file}"
