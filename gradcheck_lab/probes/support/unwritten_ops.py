"""Ops of a program that leave memory unwritten: each run alone on memory filled with NaN, and on zeros."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import torch

from gradcheck_lab.calls.case import copy_inputs, is_differentiable
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.comparison.isolated_rule import call_label, detached, run_rule
from gradcheck_lab.probes.poison import poisoned, unwritten_words
from gradcheck_lab.probes.support.repeats import snapshot
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.subject import Call, Subject


def unwritten_ops(
    subject: Subject, inputs: tuple[Any, ...], options: Mapping[str, Any], wanted: Collection[str | None]
) -> dict[str, str]:
    """Where the gradients or outputs of the program's ops are NaN on memory filled with NaN alone, by the ops' labels."""
    try:
        calls = subject.record(copy_inputs(inputs), options).calls
    except Exception:
        return {}
    found: dict[str, str] = {}
    for call in calls:
        label = call_label(call)
        if label in wanted and label not in found:
            filled, clean = _run(call, math.nan), _run(call, 0.0)
            for value, other in zip(filled, clean, strict=False):
                hit = is_nan(value) & ~is_nan(other) if _alike(value, other) else torch.zeros(0)
                if bool(hit.any()):
                    found.setdefault(label, unwritten_words(hit))
    return found


def _alike(value: Any, other: Any) -> bool:
    return is_differentiable(value) and is_differentiable(other) and value.shape == other.shape


def _run(call: Call, value: float) -> tuple[Any, ...]:
    """The outputs and gradients of one call on memory filled with a value; none where it raises."""
    inputs, generator = copy_inputs(detached(call.inputs)), torch.Generator().manual_seed(0)
    upstream = tuple(random_like(o, generator) if is_differentiable(o) else o for o in detached(call.outputs))
    try:
        with torch.no_grad(), poisoned(value):
            outputs = snapshot(as_tuple(call.op.forward(*inputs, **call.options)))
            returned = snapshot(as_tuple(run_rule(call, upstream)))
    except Exception:
        return ()
    return (*returned, *outputs)


def is_nan(value: Any) -> torch.Tensor:
    """Where a tensor is NaN; nowhere for anything else."""
    return torch.isnan(value) if is_differentiable(value) else torch.zeros(0, dtype=torch.bool)
