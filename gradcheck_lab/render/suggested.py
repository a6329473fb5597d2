"""What a search for a mend found, as lines: "did you mean", with the diff or the lines of torch, or that there is nothing."""

from __future__ import annotations

from collections.abc import Iterator

from gradcheck_lab.model.findings import ReportData
from gradcheck_lab.model.suggestions import Suggested, Suggestion
from gradcheck_lab.render.lines import COPIED, Line

_DIFF = {"+": "green", "-": "red"}


def suggested_lines(report: ReportData) -> Iterator[Line]:
    """The suggestions of a report, the best first; nothing where none were asked for."""
    if report.suggested is None or report.verdict == "pass":
        return
    for suggestion in report.suggested.suggestions:
        yield f"  {suggestion_heading(suggestion)}", "bold"
        for text in suggestion_lines(suggestion):
            yield f"    {text}", COPIED if suggestion.expressions else _style(text)
    if not report.suggested.suggestions:
        yield f"  {no_suggestion(report.suggested)}", ""


def suggestion_heading(suggestion: Suggestion) -> str:
    """The question, and what the change passed."""
    what = "did you mean" if suggestion.diff else "no edit was found; as torch derives it"
    return f"{what} (it passes {' and '.join(suggestion.verified)}):"


def suggestion_lines(suggestion: Suggestion) -> list[str]:
    """The lines of the diff, or the expressions."""
    return suggestion.diff.splitlines() if suggestion.diff else list(suggestion.expressions)


def no_suggestion(suggested: Suggested) -> str:
    """That nothing was found, and what was tried."""
    if suggested.why:
        return f"did you mean: nothing was tried: {suggested.why}"
    some = "" if suggested.finished else ", and there was no time for all"
    edits = f"{suggested.tried} edit{'s' * (suggested.tried != 1)}"
    return f"did you mean: none of {edits} passes the full check; tried in {suggested.seconds:.1f} s{some}"


def _style(text: str) -> str:
    is_header = text.startswith(("---", "+++"))
    return "dim" if is_header else _DIFF.get(text[:1], "")
