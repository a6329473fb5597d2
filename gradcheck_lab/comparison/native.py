"""Torch's own gradient of code without a hand-written rule: right when numbers in float64 say what autograd says in float64,
and autograd in the inputs' dtype says the same within the budget.

Simulated rounding of the same backward shows what its rounding amounts to, where terms cancel and where a solve is
ill-conditioned; it adds nothing to the gradient itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from gradcheck_lab.calls.case import Case
from gradcheck_lab.comparison.entries import compare_returned, references_of
from gradcheck_lab.comparison.gradient import Comparison
from gradcheck_lab.comparison.isolated_rule import detached
from gradcheck_lab.comparison.numerically import compare_numerically
from gradcheck_lab.model.precision import is_wide, wide_dtype
from gradcheck_lab.oracles.autograd.passes import AutogradOracle, Pass
from gradcheck_lab.oracles.numeric.oracle import NumericOracle
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Key, Trace


def compare_native(
    runner: Runner, case: Case, returned: Sequence[Any], entries: Mapping[int, Any], oracle: NumericOracle
) -> list[Comparison]:
    """Compare torch's gradients, by input index, with numeric derivatives of the same code in float64."""
    subject = runner.subject
    found = _autograd(runner, case)
    if found is None:
        return compare_numerically(subject, case.inputs, entries, oracle)
    native, truth = found
    if all(is_wide(case.inputs[i].dtype) for i in entries):
        return compare_numerically(subject, case.inputs, entries, oracle, partial(_noise, native))
    wide = {i: truth.gradients.get(Key("input", i)) for i in entries}
    by_numbers = compare_numerically(subject, detached(truth.inputs), wide, oracle, partial(_noise, native))
    outputs = {f"output {i}": o.detach() for i, o in enumerate(truth.outputs) if isinstance(o, torch.Tensor)}
    in_dtype = compare_returned(subject, returned, native, truth, outputs)
    return [_joined(numbers, own) for numbers, own in zip(by_numbers, in_dtype, strict=True)]


def _autograd(runner: Runner, case: Case) -> tuple[AutogradOracle, Pass] | None:
    """Autograd on the code itself, and its pass in float64; None where it does not take that."""
    subject, connected = runner.subject, runner.subject.connected
    if connected is None:
        return None

    def trace(inputs: tuple[Any, ...], options: Mapping[str, Any], substitute: frozenset[int]) -> Trace:
        return Trace(connected(inputs, options))

    native = AutogradOracle(replace(runner, subject=replace(subject, trace=trace)), case)
    try:
        truth = native.truth()
    except Exception:  # as a kernel that refuses to save what it needs
        return None
    return None if native.truth_roundoff else (native, truth)


def _noise(native: AutogradOracle, index: int, level: str) -> list[torch.Tensor]:
    """By how much rounding moves autograd's float64 gradient of an input, once for each simulation of a level."""
    key = Key("input", index)
    here = native.truth().gradients.get(key)
    if here is None or level == "native":
        return []
    known = references_of(native, key, wide_dtype(here.dtype))(level)
    return [each - here for each in known if each.shape == here.shape]


def _joined(numbers: Comparison, own: Comparison) -> Comparison:
    """The comparison in the inputs' dtype, where numbers say that float64 autograd is right; else what the numbers say."""
    if numbers.result.verdict == "fail":
        return replace(numbers, result=replace(numbers.result, dtype=own.result.dtype))
    findings = (*numbers.findings, *own.findings)
    if numbers.result.verdict == "inconclusive" and own.result.verdict == "pass":
        return Comparison(replace(own.result, verdict="inconclusive", reason=numbers.result.reason), findings, own.sensitivity)
    return replace(own, findings=findings)
