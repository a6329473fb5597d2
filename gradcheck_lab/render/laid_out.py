"""A report laid out for a terminal: the message first, then bars of what each gradient used of its budget, and details."""

from __future__ import annotations

import math
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from shutil import get_terminal_size
from typing import TYPE_CHECKING

from gradcheck_lab.model.findings import GradientResult, ReportData
from gradcheck_lab.model.limits import PRINTED_GRADIENTS
from gradcheck_lab.model.pictures import DECADES
from gradcheck_lab.model.shown import one_line
from gradcheck_lab.render import wording
from gradcheck_lab.render.lines import COPIED, STYLES, Line, error_lines
from gradcheck_lab.render.suggested import suggested_lines
from gradcheck_lab.render.tables import fitted_lines

if TYPE_CHECKING:
    from rich.console import Console

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_WIDEST = 110  # columns beyond which a sentence is hard to read
_HEADINGS = ("gradient", "verdict", "error / allowed", "used", "max abs error", "shape", "dtype")


@dataclass(frozen=True, slots=True)
class Look:
    """How many columns a terminal has, and whether it shows block characters."""

    columns: int = 80
    blocks: bool = False

    @property
    def ellipsis(self) -> str:
        """What stands for the rest of a text that is cut."""
        return "…" if self.blocks else "..."


def look_of(console: Console) -> Look | None:
    """The look of a console; None where it is no terminal, and lines stay whole."""
    return Look(min(console.width, _WIDEST), _has_blocks(console.encoding)) if console.is_terminal else None


def look_of_stdout() -> Look | None:
    """The look of the terminal that `print` writes to; None where it is none."""
    stdout = sys.stdout
    if stdout is None or not stdout.isatty():
        return None
    return Look(min(get_terminal_size().columns, _WIDEST), _has_blocks(stdout.encoding))


def _has_blocks(encoding: str | None) -> bool:
    try:
        _EIGHTHS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def laid_out(report: ReportData, look: Look) -> list[Line]:
    """The lines of a report for a terminal; what is to be copied is not wrapped and stands at the end."""
    parts = [fitted(_message(report), look), _bars(report, look), fitted(_details(report), look)]
    call, *python = wording.smallest_call(report) or [""]
    parts.append([*fitted([(f"  {call}", "")] if call else [], look), *((f"  {text}", COPIED) for text in python)])
    parts.append([(text, COPIED if text.startswith("    ") else style) for text, style in suggested_lines(report)])
    if report.reproduce and report.verdict != "pass":
        parts.append([(f"  reproduce: {report.reproduce}", COPIED)])
    first, *rest = [part for part in parts if part]
    return [*first, *(line for part in rest for line in (("", ""), *part))]


def fitted(lines: Iterable[Line], look: Look | None) -> list[Line]:
    """The lines in pieces that fit a terminal of this look; as they are where there is none."""
    return list(lines) if look is None else [piece for line in lines for piece in wrapped(line, look)]


def wrapped(line: Line, look: Look) -> Iterator[Line]:
    """A line in pieces that fit, those after the first indented further; one that is to be copied stays whole."""
    if line[1] == COPIED:
        yield line
        return
    text, style = one_line(line[0]), line[1]
    indent = " " * (len(text) - len(text.lstrip()) + 4)
    fitting = textwrap.TextWrapper(
        max(20, look.columns), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    yield from ((piece, style) for piece in fitting.wrap(text) or [""])


def _message(report: ReportData) -> Iterator[Line]:
    errors = [finding for finding in report.findings if finding.severity == "error"]
    if report.verdict != "fail" or not errors:
        yield wording.headline(report), STYLES[report.verdict]
    yield from error_lines(report, errors)
    yield from ((f"  {text}", "") for text in wording.contaminated(report.gradients))


def _bars(report: ReportData, look: Look) -> list[Line]:
    """A row for each gradient, those that do not pass first; where there are many, the others that pass are counted."""
    order = sorted(report.gradients, key=lambda gradient: gradient.verdict == "pass")
    most = PRINTED_GRADIENTS.value
    shown, hidden = (order, []) if len(order) <= most + 1 else (order[:most], order[most:])
    if not shown:
        return []
    rows = [_HEADINGS, *(_row(gradient, look) for gradient in shown)]
    styles = ["bold", *("" if gradient.verdict == "pass" else STYLES[gradient.verdict] for gradient in shown)]
    texts = fitted_lines(rows, look.columns - 2, least=4, ellipsis=look.ellipsis)
    lines = [(f"  {text}", style) for text, style in zip(texts, styles, strict=True)]
    if hidden:
        counts = {verdict: sum(gradient.verdict == verdict for gradient in hidden) for verdict in STYLES}
        said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
        lines.append((f"  and {len(hidden)} others: {said}; a page or JSON has all", "dim"))
    return lines


def _row(gradient: GradientResult, look: Look) -> tuple[str, ...]:
    label, shape, dtype, verdict, error, used = wording.cells(gradient)
    return label, verdict, "" if gradient.reason is not None else bar(gradient.budget_used, look), used, error, shape, dtype


def bar(used: float, look: Look) -> str:
    """Error / allowed as a bar on a log scale, a cell for each power of ten; what is beyond the mark is beyond the allowance.

    >>> bar(0.02, Look()), bar(3e4, Look(blocks=True))
    ('##### |      ', '██████│████▍ ')
    """
    low, high = DECADES
    cells = high - low if not math.isfinite(used) else 0.0 if used <= 0 else min(max(math.log10(used) - low, 0.125), high - low)
    if look.blocks:
        full = int(cells)
        text = "█" * full + (_EIGHTHS[int((cells - full) * 8)] if full < high - low else "")
    else:
        text = "#" * math.ceil(cells)
    text = text.ljust(high - low)
    return f"{text[:-low]}{'│' if look.blocks else '|'}{text[-low:]}"


def _details(report: ReportData) -> Iterator[Line]:
    for severity in ("warning", "note"):
        for finding in report.findings:
            if finding.severity == severity:
                yield f"  {wording.remark(finding)}", STYLES[severity]
    yield from ((f"  {text}", "") for finding in report.findings for text in wording.traceback(finding))
    yield from ((f"  {text}", "dim") for text in (*wording.compared(report), *wording.places_not_run(report)) if text)
    if report.verdict == "pass":
        yield f"  {wording.assurance(report)}", "dim"
