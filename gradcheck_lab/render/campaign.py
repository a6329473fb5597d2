"""A campaign as text: how far it is while it runs, and what came of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from gradcheck_lab.model.limits import OPEN_CASES_SHOWN
from gradcheck_lab.model.tally import Tally
from gradcheck_lab.render.lines import STYLES, Line

if TYPE_CHECKING:
    from rich.console import Console

Show = Callable[[int, int, int, float | None], None]  # takes the cases done, planned and failed, and the seconds left
_EVERY = 10.0  # seconds between two lines where there is no terminal
_ORDER = ("fail", "inconclusive", "not-checked")


def tally_lines(tally: Tally) -> list[Line]:
    """What did not pass, a line each, and the counts; the last line is the cases done, of those planned."""
    ordered = sorted(tally.open, key=lambda each: (_ORDER.index(each[0]), each[1]))
    most = OPEN_CASES_SHOWN.value
    lines = [(f"{verdict}: {name}{' - ' * bool(why)}{why}", STYLES.get(verdict, STYLES["warning"]))
             for verdict, name, why in ordered[:most]]  # fmt: skip
    lines += [(f"and {len(ordered) - most} more that did not pass", STYLES["warning"])] if len(ordered) > most else []
    counted = [f"{tally.verdicts[verdict]} {verdict}" for verdict in ("pass", *_ORDER) if tally.verdicts.get(verdict)]
    counted += [f"{tally.planned - tally.done} not done"] if tally.done < tally.planned else []
    lines.append((f"{', '.join(counted) or 'nothing was planned'}; {in_words(tally.seconds)} of checks", STYLES[tally.verdict]))
    return [*lines, (f"{tally.done}/{tally.planned}", STYLES[tally.verdict])]


def in_words(seconds: float) -> str:
    """A time as a person says it.

    >>> in_words(7.6), in_words(150), in_words(9000)
    ('8 s', '2 min 30 s', '2 h 30 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def progress_text(done: int, planned: int, failed: int, left: float | None) -> str:
    """How far a campaign is.

    >>> progress_text(12, 500, 1, 240.0)
    '12 of 500 cases done, 1 failed; about 4 min 0 s left'
    """
    fails = f", {failed} failed" if failed else ""
    rest = f"; about {in_words(left)} left" if left is not None and done < planned else ""
    return f"{done} of {planned} cases done{fails}{rest}"


@contextmanager
def campaign_progress(planned: int, console: Console | None = None) -> Iterator[Show]:
    """Show how far a campaign is: on a terminal a bar, elsewhere a line from time to time; yields what takes the counts."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(sys.stderr)
        return
    with Progress(BarColumn(), TextColumn("{task.description}", markup=False), console=console, transient=True) as progress:
        bar = progress.add_task(progress_text(0, planned, 0, None), total=planned)

        def show(done: int, planned: int, failed: int, left: float | None) -> None:
            progress.update(bar, completed=done, description=progress_text(done, planned, failed, left))

        yield show


class _Lines:
    """Writes a line now and then: for logs, of which nobody needs one for each case."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = time.monotonic()

    def __call__(self, done: int, planned: int, failed: int, left: float | None) -> None:
        """Write a line where the last was some seconds ago, or all is done."""
        now = time.monotonic()
        if now - self._last >= _EVERY or done == planned:
            self._last = now
            print(progress_text(done, planned, failed, left), file=self._stream, flush=True)
