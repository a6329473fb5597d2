"""Rows as aligned lines of plain text, of any width."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from gradcheck_lab.model.shown import one_line

if TYPE_CHECKING:
    from rich.console import Console

_UNLIMITED = 1_000_000  # columns of a console that never wraps


def table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """One line for each row; columns are two spaces apart, as wide as their widest cell on a terminal, and read as no markup.

    >>> table_lines([("op", "verdict"), ("linear", "pass"), ("tanh", "fail")])
    ['op      verdict', 'linear  pass', 'tanh    fail']
    """
    # Imported on use: a report that nobody prints does without.
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    for _ in rows[0]:
        table.add_column(no_wrap=True, overflow="ignore")
    for row in rows:
        table.add_row(*(Text(one_line(" ".join(cell.splitlines()))) for cell in row))
    lines = _console().render_lines(table, pad=False)
    return ["".join(segment.text for segment in line).rstrip() for line in lines]


def fitted_lines(rows: Sequence[Sequence[str]], columns: int, least: int, ellipsis: str) -> list[str]:
    """The lines of a table that fits into so many columns: the last columns are left out, all but `least`, then cells are cut.

    >>> fitted_lines([("gradient", "verdict", "shape"), ("intermediate", "pass", "(2, 3)")], 18, 2, "...")
    ['gradient   verdict', 'interm...  pass']
    """
    rows = [[one_line(cell) for cell in row] for row in rows]
    kept = len(rows[0])
    while kept > least and _width(rows, kept) > columns:
        kept -= 1
    room = max(len(ellipsis) + 4, max(len(row[0]) for row in rows) - max(0, _width(rows, kept) - columns))
    return table_lines([[_cut(row[0], room, ellipsis), *row[1:kept]] for row in rows])


def _width(rows: Sequence[Sequence[str]], kept: int) -> int:
    return sum(max(len(row[k]) for row in rows) for k in range(kept)) + 2 * (kept - 1)


def _cut(text: str, room: int, ellipsis: str) -> str:
    return text if len(text) <= room else f"{text[: room - len(ellipsis)]}{ellipsis}"


@cache
def _console() -> Console:
    import io

    from rich.console import Console

    return Console(file=io.StringIO(), width=_UNLIMITED, color_system=None, legacy_windows=False)
