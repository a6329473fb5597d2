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


@cache
def _console() -> Console:
    import io

    from rich.console import Console

    return Console(file=io.StringIO(), width=_UNLIMITED, color_system=None, legacy_windows=False)
