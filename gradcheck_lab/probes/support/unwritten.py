"""Whether a call that a probe found wrong leaves memory unwritten: the call made again on memory filled with NaN."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from gradcheck_lab.calls.case import copy_inputs, copy_tensor, is_differentiable
from gradcheck_lab.examination.examined import Examined
from gradcheck_lab.model.causes import CAUSES, having
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import POISONED_ELEMENTS
from gradcheck_lab.probes.poison import poisoned, unwritten_words
from gradcheck_lab.probes.support.dirty_memory import with_dirty_memory
from gradcheck_lab.probes.support.repeats import snapshot
from gradcheck_lab.probes.support.unwritten_ops import is_nan, unwritten_ops
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.subject import Subject


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """One call of the hand-written side, with what its backward received; None where that did not run."""

    inputs: tuple[Any, ...]
    options: Mapping[str, Any]
    grad_outputs: tuple[Any, ...] | None


@dataclass(slots=True)
class CallLog:
    """The calls of the hand-written side since it was last cleared; large ones are left out. They find NaN in new memory."""

    calls: list[LoggedCall] = field(default_factory=list)

    def watch(self, examined: Examined) -> Examined:
        """The same examination with a subject whose calls are logged."""
        subject = with_dirty_memory(examined.subject, self._keep)
        return replace(examined, runner=replace(examined.runner, subject=subject))

    def _keep(self, inputs: tuple[Any, ...], options: Mapping[str, Any], grad_outputs: tuple[torch.Tensor, ...]) -> None:
        if sum(v.numel() for v in inputs if isinstance(v, torch.Tensor)) <= POISONED_ELEMENTS.value:
            self.calls.append(LoggedCall(inputs, options, grad_outputs))


def named_unwritten(subject: Subject, calls: Sequence[LoggedCall], findings: Sequence[Any]) -> list[Any]:
    """The findings of a probe, with errors that memory left unwritten explains named so: the dirt in it may look like anything.

    `subject` is the one whose calls are not logged.
    """
    if not any(_may_be_dirt(finding) for finding in findings):
        return list(findings)
    gradients: dict[int, str] = {}
    outputs = ""
    ops: dict[str, str] = {}
    for call in calls:
        for index, words in _unwritten(subject, call):
            if index is None:
                outputs = outputs or words
            else:
                gradients.setdefault(index, words)
        wanted = {f.op for f in findings if _may_be_dirt(f) and f.op is not None} - ops.keys()
        ops |= unwritten_ops(subject, call.inputs, call.options, wanted) if wanted else {}
    renamed = [_renamed_op(each, ops) if _may_be_dirt(each) and each.op in ops else each for each in findings]
    return [_renamed(subject, f, gradients, outputs) if _may_be_dirt(f) and f.op is None else f for f in renamed]


def _renamed_op(finding: Finding, ops: Mapping[str, str]) -> Finding:
    row = CAUSES["unwritten-elements"]
    count, where = ops[finding.op or ""].split("; ", 1)
    why = f"{count} of what {finding.op} returns hold whatever was in the memory that it allocated with empty: {where}"
    return replace(finding, cause=row.name, explanation=why, suggestion=row.fix)


def _may_be_dirt(finding: Any) -> bool:
    if not isinstance(finding, Finding) or finding.severity != "error":
        return False
    row = CAUSES["unwritten-elements"]
    return finding.cause != row.name and (
        finding.cause in row.probed_as | row.compared_as or finding.cause in having("consequence") | having("forward")
    )


def _renamed(subject: Subject, finding: Finding, gradients: Mapping[int, str], outputs: str) -> Finding:
    row, names = CAUSES["unwritten-elements"], subject.names
    index = names.index(finding.gradient) if finding.gradient in names else next(iter(gradients), None)
    words = gradients.get(index) if index is not None and finding.cause not in having("forward") else None
    if words is None and not outputs:
        return finding
    what, gradient = (f"gradient of {subject.labels[index or 0]}", names[index or 0]) if words else ("output", None)
    count, where = (words or outputs).split("; ", 1)
    return replace(
        finding,
        cause=row.name,
        message=f"{what} is not written in {count}" + (f", at {finding.case}" if finding.case not in ("", "as given") else ""),
        gradient=gradient,
        explanation=f"they hold whatever was in the memory that was allocated with empty: {where}",
        suggestion=row.fix,
    )


def _unwritten(subject: Subject, call: LoggedCall) -> Iterator[tuple[int | None, str]]:
    """The gradients, by index, and outputs that are NaN on memory filled with NaN, and are not on memory filled with zeros."""
    filled = _replayed(subject, call, math.nan)
    if filled is None or not any(is_nan(value).any() for value in (*filled[0], *filled[1])):
        return
    clean = _replayed(subject, call, 0.0)
    if clean is None:
        return
    for role, (mine, others) in enumerate(zip(filled, clean, strict=True)):
        for k, (value, other) in enumerate(zip(mine, others, strict=False)):
            if not is_differentiable(value) or not is_differentiable(other) or value.shape != other.shape:
                continue
            hit = is_nan(value) & ~is_nan(other)
            if bool(hit.any()):
                yield (k if role else None), unwritten_words(hit)


def _replayed(subject: Subject, call: LoggedCall, value: float) -> tuple[tuple[Any, ...], tuple[Any, ...]] | None:
    """The outputs and gradients of a call on memory filled with a value; None where it raises or allocates none."""
    try:
        with poisoned(value) as mode:
            recording = subject.record(copy_inputs(call.inputs), call.options)
            outputs, gradients = snapshot(recording.outputs), tuple[Any, ...]()
            if call.grad_outputs is not None:
                upstream = tuple(copy_tensor(g) if isinstance(g, torch.Tensor) else g for g in call.grad_outputs)
                gradients = snapshot(as_tuple(recording.backward(upstream).returned))
    except Exception:
        return None
    return (outputs, gradients) if mode.filled else None
