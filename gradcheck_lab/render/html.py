"""A report as HTML: one self-contained page, or the fragment that a notebook shows."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from gradcheck_lab.model.findings import Finding, GradientResult, ReportData
from gradcheck_lab.render.wording import (
    HEADINGS,
    assurance,
    cells,
    contaminated,
    headline,
    number,
    remark,
    smallest_call,
    what,
    why,
)

_STYLE = (
    ".gradcheck-lab{font:14px/1.45 system-ui,sans-serif}.gradcheck-lab table{border-collapse:collapse}"
    ".gradcheck-lab th,.gradcheck-lab td{border:1px solid #bbb;padding:.2em .6em;text-align:left}"
    ".gradcheck-lab dt{font-weight:600}.gradcheck-lab .pass{color:#176b2c}.gradcheck-lab .fail{color:#b3261e}"
    ".gradcheck-lab .inconclusive,.gradcheck-lab .warning{color:#8a5a00}"
)
_COLUMNS = (*HEADINGS, "worst element", "backward", "reference", "allowed")


def render_html(report: ReportData) -> str:
    """Return one self-contained page; it loads nothing from elsewhere, and every text in it is escaped."""
    title = escape(f"{report.subject}: {report.verdict}")
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title></head>\n'
        f"<body>\n{render_fragment(report)}\n</body>\n</html>\n"
    )


def render_fragment(report: ReportData) -> str:
    """Return the report as one `<div>` with its own style, for a page or a notebook cell."""
    parts = [f"<style>{_STYLE}</style>", f'<h3 class="{report.verdict}">{escape(headline(report))}</h3>']
    parts += [_error(finding) for finding in report.findings if finding.severity == "error"]
    parts += [f"<p>{escape(line)}</p>" for line in contaminated(report.gradients)]
    for severity in ("warning", "note"):
        remarks = (finding for finding in report.findings if finding.severity == severity)
        parts += [f'<p class="{severity}">{escape(remark(finding))}</p>' for finding in remarks]
    if report.reproduce:
        parts.append(f"<p>reproduce: <code>{escape(report.reproduce)}</code></p>")
    if report.gradients:
        parts.append(_table(report.gradients))
    if report.failing_case is not None:
        parts.append(f"<pre>{escape(chr(10).join(smallest_call(report)))}</pre>")
    parts.append(f"<p>{escape(assurance(report))}</p>")
    if report.environment:
        environment = ", ".join(f"{name} {value}" for name, value in report.environment.items())
        parts.append(f"<p>{escape(environment)}</p>")
    body = "\n".join(parts)
    return f'<div class="gradcheck-lab">\n{body}\n</div>'


def _error(finding: Finding) -> str:
    details = [finding.where, f"cause: {why(finding)}"]
    if finding.suggestion:
        details.append(f"fix: {finding.suggestion}")
    listed = "".join(f"<dd>{escape(detail)}</dd>" for detail in details if detail)
    text = f'<dl><dt class="fail">{escape(what(finding))}</dt>{listed}</dl>'
    if finding.traceback:
        text += f"<details><summary>traceback</summary><pre>{escape(finding.traceback)}</pre></details>"
    return text


def _table(gradients: Sequence[GradientResult]) -> str:
    rows = ["".join(f"<th>{name}</th>" for name in _COLUMNS)]
    for gradient in gradients:
        worst = "-" if gradient.worst_index is None else str(list(gradient.worst_index))
        values = (number(gradient.actual), number(gradient.expected), f"{gradient.allowed:.2g}")
        rows.append("".join(f"<td>{escape(cell)}</td>" for cell in (*cells(gradient), worst, *values)))
    classes = ("", *(gradient.verdict for gradient in gradients))
    body = "\n".join(f'<tr class="{name}">{row}</tr>' for name, row in zip(classes, rows, strict=True))
    return f"<table>\n{body}\n</table>"
