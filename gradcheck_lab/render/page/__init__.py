"""Reports as one self-contained page, which loads nothing: failures first, searched, sorted and drawn in the browser."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.documentation import cause_page
from gradcheck_lab.model.findings import GradientResult, ReportData
from gradcheck_lab.model.limits import PAGE_ROWS, PICTURED_CELLS
from gradcheck_lab.model.pictures import DECADES, within
from gradcheck_lab.model.shown import shown
from gradcheck_lab.render import wording
from gradcheck_lab.render.page.drawn import FILTERS
from gradcheck_lab.render.templates import environment

_ORDER = {"fail": 0, "inconclusive": 1, "pass": 2}
_COLUMNS = (
    ("gradient", "name", ""),
    ("verdict", "verdict", ""),
    ("budget used", "used", "error / allowed of the element that used most"),
    ("spread", "", "how many elements used which power of ten of what is allowed; the line is all of it"),
    ("max abs error", "error", ""),
    ("worst at", "worst", ""),
    ("shape", "shape", ""),
    ("dtype", "dtype", ""),
    ("would have caught", "caught", "the smallest relative error in one element that this check would have seen"),
)
_BAR = 20  # pixels of the highest bar of a distribution


def render_html(report: ReportData) -> str:
    """Return one self-contained page; it loads nothing from elsewhere, and every text in it is escaped, controls too."""
    return _page(f"{report.subject}: {report.verdict}", "", [(report.subject, report)])


def render_reports(title: str, summary: str, reports: Sequence[tuple[str, ReportData]]) -> str:
    """Return one page of several reports, each under its heading, failures first, below a summary in plain text."""
    return _page(title, summary, sorted(reports, key=lambda each: _rank(each[1].verdict)))


def _rank(verdict: str) -> int:
    return _ORDER.get(verdict, 0)


@dataclass(frozen=True, slots=True)
class _Choices:
    """What a page can be filtered by, how many reports have each verdict, and how many gradients were compared or were not."""

    counts: list[tuple[str, int]]
    compared: int
    not_compared: int
    verdicts: list[str]
    causes: list[str]
    ops: list[str]
    dtypes: list[str]


def _page(title: str, summary: str, reports: Sequence[tuple[str, ReportData]]) -> str:
    from markupsafe import Markup

    reports = _with_as_many_pictures_as_fit(reports)
    scripts = ["page.js"]
    if any(report.steps for _, report in reports):
        scripts += ["dagre.min.js", "graph.js"]
    return str(
        _template().page(
            title,
            summary,
            reports,
            Markup(_data(reports)),
            _choices(reports),
            [Markup(_file(name)) for name in scripts],
            Markup(_file("page.css")),
        )
    )


def _with_as_many_pictures_as_fit(reports: Sequence[tuple[str, ReportData]]) -> list[tuple[str, ReportData]]:
    """The reports with the pictures of the gradients nearest to wrong, as many as one report has."""
    every = [(k, j, gradient) for k, (_, report) in enumerate(reports) for j, gradient in enumerate(report.gradients)]
    order = sorted(range(len(every)), key=lambda n: -every[n][2].budget_used)
    pictures = within([gradient.picture for *_, gradient in every], order, PICTURED_CELLS.value)
    kept: list[list[GradientResult]] = [[] for _ in reports]
    for (k, _, gradient), picture in zip(every, pictures, strict=True):
        kept[k].append(replace(gradient, picture=picture))
    return [(heading, replace(report, gradients=tuple(kept[k]))) for k, (heading, report) in enumerate(reports)]


def _data(reports: Sequence[tuple[str, ReportData]]) -> str:
    """What the page's scripts read, as JSON in which no text can end the element that holds it."""
    data = {
        "reports": [
            {
                "gradients": [
                    {
                        "name": shown(gradient.name),
                        "said": [shown(line) for line in wording.said(gradient)],
                        "picture": None if gradient.picture is None else _fields(gradient.picture),
                    }
                    for gradient in report.gradients
                ],
                "steps": [
                    _fields(step) | {"label": shown(step.label), "gradients": [shown(name) for name in step.gradients]}
                    for step in report.steps
                ],
            }
            for _, report in reports
        ]
    }
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _choices(reports: Sequence[tuple[str, ReportData]]) -> _Choices:
    counts = Counter(report.verdict for _, report in reports)
    gradients = [gradient for _, report in reports for gradient in report.gradients]
    verdicts = {*counts, *(gradient.verdict for gradient in gradients)}
    return _Choices(
        [(verdict, counts[verdict]) for verdict in sorted(counts, key=_rank)],
        sum(gradient.reason is None for gradient in gradients),
        sum(gradient.reason is not None for gradient in gradients),
        sorted(verdicts, key=_rank),
        sorted({cause for _, report in reports for cause in wording.all_causes(report)}),
        sorted({report.subject for _, report in reports} | {gradient.op for gradient in gradients if gradient.op}),
        sorted({gradient.dtype for gradient in gradients}),
    )


@cache
def _template() -> Any:
    templates = environment()
    templates.filters |= {
        "spread": _spread, "bar_paths": _bar_paths, "cells": _cells, "caught": _caught,
        "causes_of": _causes_of, "wrong_first": _wrong_first, "dtypes": _dtypes, "cause_page": cause_page,
        "cause_row": lambda finding: CAUSES.get(finding.cause),
        **{words.__name__: words for words in FILTERS},
    }  # fmt: skip
    templates.globals |= {"columns": _COLUMNS, "rows_at_once": PAGE_ROWS.value}
    return templates.get_template("page/page.html.jinja").module


@cache
def _file(name: str) -> str:
    return (files(__name__) / name).read_text(encoding="utf-8")


class _Cells(NamedTuple):
    error: str
    used: str
    worst: str


def _cells(gradient: GradientResult) -> _Cells:
    *_, error, used = wording.cells(gradient)
    return _Cells(error, used, "-" if gradient.worst_index is None else str(list(gradient.worst_index)))


def _caught(report: ReportData, gradient: GradientResult) -> str:
    """The smallest relative error in one element that the check would have seen in this gradient."""
    value = report.sensitivity.get(gradient.name)
    return "-" if value is None else f"{value:.1g}"


def _dtypes(report: ReportData) -> list[str]:
    return sorted({gradient.dtype for gradient in report.gradients})


def _causes_of(report: ReportData, gradient: GradientResult) -> list[str]:
    return list(dict.fromkeys(f.cause for f in report.findings if f.gradient == gradient.name and f.op in (None, gradient.op)))


def _wrong_first(report: ReportData) -> list[tuple[int, GradientResult]]:
    """The gradients with their numbers: what is wrong by itself, what is wrong because of it, then the others."""
    return sorted(enumerate(report.gradients), key=lambda each: (_rank(each[1].verdict), each[1].contaminated_by is not None))


def _spread(gradient: GradientResult) -> str:
    """How errors are spread over the elements, in words."""
    none, *decades, broken = gradient.distribution
    over = sum(decades[-DECADES[0] + 1 :]) + broken
    within_bound = sum(decades[: -DECADES[0] + 1])
    return f"{none} elements without any error, {within_bound} within what is allowed, {over} beyond it"


def _bar_paths(gradient: GradientResult) -> list[tuple[str, str]]:
    """A distribution as two paths of strokes, within the bound and beyond it; heights go by the logarithm of the counts."""
    top, first = math.log1p(max(gradient.distribution)), 2 - DECADES[0]
    paths: dict[str, list[str]] = {"within": [], "beyond": []}
    for k, count in enumerate(gradient.distribution):
        if count:
            height = math.ceil(_BAR * math.log1p(count) / top)
            paths["beyond" if k >= first else "within"].append(f"M{7 * k + 3} 22v-{height}")
    return [(name, "".join(parts)) for name, parts in paths.items()]
