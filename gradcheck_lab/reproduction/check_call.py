"""The line that makes a call of `gl.check` again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gradcheck_lab.kernels.starting import INTERPRETED
from gradcheck_lab.model.causes import having
from gradcheck_lab.probes import ALL, PROBES
from gradcheck_lab.report import Report
from gradcheck_lab.reproduction.caller import caller
from gradcheck_lab.reproduction.line import Call, line_of
from gradcheck_lab.rules.op import Op

_DEFAULTS: Mapping[str, Any] = {"order": 1, "probes": ALL}


def check_line(op: Any, inputs: Sequence[Any], keywords: Mapping[str, Any], report: Report) -> str:
    """The line for a call with these arguments, whose report is `report`; those that are as by default are left out."""
    names = op.names(len(inputs)) if isinstance(op, Op) else [f"input_{index}" for index in range(len(inputs))]
    first = next((finding for finding in report.findings if finding.severity == "error"), None)
    quick = {"probes": (first.probe,) if first is not None and first.probe in PROBES else ()}
    interpreted = INTERPRETED in report.environment
    call = Call("gl.check", [("op", op), *zip(names, inputs, strict=True)], given(keywords), quick, interpreted)

    def alike(found: Report) -> bool:
        errors = [(f.cause, f.gradient) for f in found.findings if f.severity == "error"]
        return first is not None and (first.cause, first.gradient) in errors

    ended = any(finding.cause in having("ends_process") for finding in report.findings)
    return line_of(call, caller(), None if ended or first is None else alike)


def given(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords that are not as by default."""
    return {name: value for name, value in keywords.items() if not _is_default(name, value)}


def _is_default(name: str, value: Any) -> bool:
    if name in _DEFAULTS:
        return value is _DEFAULTS[name] or value == _DEFAULTS[name]
    return value is None or (name in ("allow", "options") and not value)
