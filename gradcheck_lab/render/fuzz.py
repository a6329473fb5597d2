"""A fuzz run as text: the bar while it runs, each report, what was not fuzzed and why, and a last line that counts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gradcheck_lab.model.several import Fuzzed
from gradcheck_lab.model.shown import one_line
from gradcheck_lab.render.laid_out import Look, fitted
from gradcheck_lab.render.lines import STYLES, Line
from gradcheck_lab.render.terminal import finding_lines, lines_for

if TYPE_CHECKING:
    from rich.console import Console

_EVERY = 10.0  # seconds between two lines of progress


def fuzz_lines(fuzzed: Fuzzed, look: Look | None = None) -> list[Line]:
    """Return every line of the run, each with its rich style; the whole report only for what did not pass."""
    lines: list[Line] = []
    for report in fuzzed.reports.values():
        lines += fitted(finding_lines(report), look) if report.verdict == "pass" else lines_for(report, look)
    return [*lines, *fitted(fuzz_summary(fuzzed), look)]


def fuzz_summary(fuzzed: Fuzzed) -> list[Line]:
    """What was not fuzzed and why, and the count."""
    lines = [(f"not fuzzed: {name} - {reason}", STYLES["warning"]) for name, reason in fuzzed.skipped.items()]
    verdicts = Counter(report.verdict for report in fuzzed.reports.values())
    counted = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items()) or "nothing was fuzzed"
    parts = [f"{plural(fuzzed.examples, 'example')}: {counted}"]
    parts += [f"{len(fuzzed.skipped)} not fuzzed"] if fuzzed.skipped else []
    parts += ["interrupted"] if fuzzed.interrupted else []
    return [*lines, (f"{fuzzed.target}: {'; '.join(parts)}", STYLES[fuzzed.verdict])]


def plural(count: int, noun: str) -> str:
    """`1 example`, `2 examples`."""
    return f"{count} {noun}{'s' * (count != 1)}"


@contextmanager
def progress_bar(examples: int, console: Console | None = None) -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar per object with its examples and findings so far, elsewhere than on a terminal a line now and then.

    Yields what takes the counts.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _lines_of_progress(examples, console)
        return
    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(), TextColumn("{task.fields[counted]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bars = {}

        def count(name: str, done: int, found: int) -> None:
            if name not in bars:
                bars[name] = progress.add_task(one_line(name), total=examples, counted="")
            progress.update(bars[name], completed=done, counted=_counted(plural(done, "example"), found))

        yield count


def _counted(examples: str, found: int) -> str:
    return f"{examples}, {plural(found, 'finding')}{', shrinking' * bool(found)}"


def _lines_of_progress(examples: int, console: Console) -> Callable[[str, int, int], None]:
    """What prints the counts that it takes, where the last line was printed some time ago."""
    last = time.monotonic()

    def count(name: str, done: int, found: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _EVERY:
            last = time.monotonic()
            counted = _counted(f"{done} of {plural(examples, 'example')}", found)
            console.print(f"{one_line(name)}: {counted}", markup=False, highlight=False, soft_wrap=True)

    return count
