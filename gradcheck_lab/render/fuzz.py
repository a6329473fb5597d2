"""A fuzz run as text: the bar while it runs, each report, what was not fuzzed and why, and a last line that counts."""

from __future__ import annotations

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
    """Show a bar per object with its examples and findings so far; yields what takes the counts. Only on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = console or Console(stderr=True)
    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(), TextColumn("{task.fields[counted]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bars = {}

        def count(name: str, done: int, found: int) -> None:
            if name not in bars:
                bars[name] = progress.add_task(one_line(name), total=examples, counted="")
            counted = f"{plural(done, 'example')}, {plural(found, 'finding')}{', shrinking' * bool(found)}"
            progress.update(bars[name], completed=done, counted=counted)

        yield count
