"""A report as HTML: one self-contained page, or the fragment that a notebook shows; `report.html.jinja` lays it out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from gradcheck_lab.model.findings import GradientResult, ReportData
from gradcheck_lab.model.shown import shown
from gradcheck_lab.render import wording

_HEADINGS = (*wording.HEADINGS, "worst element", "backward", "reference", "allowed")


def render_html(report: ReportData) -> str:
    """Return one self-contained page; it loads nothing from elsewhere, and every text in it is escaped, controls too."""
    return str(_macros().one(report))


def render_reports(title: str, summary: str, reports: Sequence[tuple[str, ReportData]]) -> str:
    """Return one page of several reports, each under its heading, below a summary in plain text."""
    return str(_macros().several(title, summary, reports))


def render_fragment(report: ReportData) -> str:
    """Return the report as one `<div>` with its own style, for a page or a notebook cell."""
    return str(_macros().fragment(report))


@cache
def _macros() -> Any:
    # Imported on use: most runs write no page.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("gradcheck_lab", "render"),
        autoescape=True,
        finalize=lambda value: shown(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for words in (
        wording.headline,
        wording.what,
        wording.why,
        wording.place,
        wording.remark,
        wording.contaminated,
        wording.assurance,
        wording.not_run,
        wording.every_not_run,
    ):
        environment.filters[words.__name__] = words
    environment.filters |= {"smallest_call": wording.smallest_call, "row": _row}
    environment.globals["headings"] = _HEADINGS
    return environment.get_template("report.html.jinja").module


def _row(gradient: GradientResult) -> tuple[str, ...]:
    worst = "-" if gradient.worst_index is None else str(list(gradient.worst_index))
    values = (wording.number(gradient.actual), wording.number(gradient.expected), f"{gradient.allowed:.2g}")
    return (*wording.cells(gradient), worst, *values)
