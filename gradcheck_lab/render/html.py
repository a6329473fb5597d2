"""What a notebook shows, as HTML: the fragment of a report, and how far a fuzz run is; a template beside this lays out each."""

from __future__ import annotations

from functools import cache
from typing import Any

from gradcheck_lab.model.findings import GradientResult, ReportData
from gradcheck_lab.render import wording
from gradcheck_lab.render.templates import environment

_HEADINGS = (*wording.HEADINGS, "worst element", "backward", "reference", "allowed")


def render_fragment(report: ReportData) -> str:
    """Return the report as one `<div>` with its own style, for a notebook cell; every text in it is escaped, controls too."""
    return str(_macros().fragment(report))


def render_progress(run: object) -> str:
    """Return how far a fuzz run is, as one `<div>`; `run` is a `FuzzProgress`."""
    return str(_progress().progress(run))


@cache
def _progress() -> Any:
    return environment().get_template("progress.html.jinja").module


@cache
def _macros() -> Any:
    templates = environment()
    templates.filters["row"] = _row
    templates.globals["headings"] = _HEADINGS
    return templates.get_template("fragment.html.jinja").module


def _row(gradient: GradientResult) -> tuple[str, ...]:
    worst = "-" if gradient.worst_index is None else str(list(gradient.worst_index))
    values = (wording.number(gradient.actual), wording.number(gradient.expected), f"{gradient.allowed:.2g}")
    return (*wording.cells(gradient), worst, *values)
