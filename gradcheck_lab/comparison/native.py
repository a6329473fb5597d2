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

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.calls.moves import moved, random_lengths, size_at_least
from gradcheck_lab.comparison.compared import Comparison
from gradcheck_lab.comparison.entries import compare_returned, references_of
from gradcheck_lab.comparison.isolated_rule import detached
from gradcheck_lab.comparison.numerically import compare_numerically
from gradcheck_lab.model.amounts import BESIDE_THE_CALL, BESIDE_ZERO, COARSER_ROUNDING
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import AFFORDABLE_SAMPLES
from gradcheck_lab.model.precision import is_wide, wide_dtype
from gradcheck_lab.model.precision.budget import NOISE_GROWTH, NOT_ROUNDING
from gradcheck_lab.oracles.autograd.passes import AutogradOracle, Pass
from gradcheck_lab.oracles.autograd.subgradients import Interval, Subgradients
from gradcheck_lab.oracles.numeric.oracle import NumericOracle
from gradcheck_lab.oracles.numeric.wide_problem import widened_options
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Key, Trace


def compare_native(
    case: Case, returned: Sequence[Any], entries: Mapping[int, Any], oracle: NumericOracle
) -> list[Comparison]:
    """Compare torch's gradients, by input index, with numeric derivatives of the same code in float64."""
    runner, subject = oracle.problem.runner, oracle.problem.runner.subject
    found = _autograd(runner, case)
    if found is None:
        return compare_numerically(subject, case.inputs, entries, oracle)
    native, truth = found
    is_float64 = all(is_wide(case.inputs[i].dtype) for i in entries)
    wide = entries if is_float64 else {i: truth.gradients.get(Key("input", i)) for i in entries}
    by_numbers = compare_numerically(subject, detached(truth.inputs), wide, oracle, partial(_noise, native))
    by_numbers = [_beside(native, i, each, oracle) for i, each in zip(wide, by_numbers, strict=True)]
    if is_float64:
        return by_numbers
    outputs = {f"output {i}": o.detach() for i, o in enumerate(truth.outputs) if isinstance(o, torch.Tensor)}
    in_dtype = compare_returned(subject, returned, native, truth, outputs)
    return [_joined(numbers, own) for numbers, own in zip(by_numbers, in_dtype, strict=True)]


def _autograd(runner: Runner, case: Case) -> tuple[AutogradOracle, Pass] | None:
    """Autograd on the code itself, and its pass in float64; None where it does not take that."""
    subject, connected = runner.subject, runner.subject.connected
    if connected is None:
        return None

    def trace(inputs: tuple[Any, ...], options: Mapping[str, Any], substitute: frozenset[int]) -> Trace:
        if any(is_differentiable(a) and a.dtype != b.dtype for a, b in zip(inputs, case.inputs, strict=True)):
            options = widened_options(options, torch.float64)
        return Trace(connected(inputs, options))

    native = AutogradOracle(replace(runner, subject=replace(subject, trace=trace)), case, native_is_sound=False)
    try:
        truth = native.truth()
    except Exception:  # as a kernel that refuses to save what it needs
        return None
    return None if native.truth_roundoff else (native, truth)


def _noise(native: AutogradOracle, index: int, level: str) -> list[torch.Tensor]:
    """By how much rounding moves autograd's float64 gradient of an input, once for each simulation of a level.

    A change that is no rounding by its size, and does not grow where rounding is coarser, is another choice: a label that is no
    longer equal to one, a tie that is none. It says nothing of rounding.
    """
    key = Key("input", index)
    here = native.truth().gradients.get(key)
    if here is None or level == "native" or not here.numel():
        return []
    dtype, gross = wide_dtype(here.dtype), NOT_ROUNDING.value * float(torch.nan_to_num(here.abs(), 0.0, 0.0, 0.0).max())
    found = [each - here for each in references_of(native, key, dtype)(level) if each.shape == here.shape]
    if not any(bool((e.abs() > gross).any()) for e in found):
        return found
    again = [each.gradients.get(key) for each in native.references(level, dtype, COARSER_ROUNDING.value)]
    coarser = [c - here for c in again if c is not None and c.shape == here.shape]
    if len(coarser) != len(found):
        return []
    jumps = [(e.abs() > gross) & (c.abs() < NOISE_GROWTH.value * e.abs()) for e, c in zip(found, coarser, strict=True)]
    return [e.masked_fill(jumped, 0.0) for e, jumped in zip(found, jumps, strict=True)]


def _beside(native: AutogradOracle, index: int, compared: Comparison, oracle: NumericOracle) -> Comparison:
    """Of an input whose every direction meets a kink or a jump: what numbers say on either side of it.

    There autograd has to be right, and here it has to be between its gradients at points close by.
    """
    affordable = native.case.inputs[index].numel() <= AFFORDABLE_SAMPLES.value
    if compared.result.verdict != "inconclusive" or index not in oracle.unseen or not affordable:
        return compared
    key = Key("input", index)
    here = native.truth().gradients.get(key)
    if here is None:
        here = torch.zeros_like(native.case.inputs[index], dtype=torch.float64)
    sides = [] if here.is_complex() else [_compared_beside(native, index, sign) for sign in (1, -1)]
    verdicts = {None if side is None else side.result.verdict for side in sides}
    if verdicts == {"fail"} and sides[0] is not None:
        return replace(sides[0], findings=tuple(replace(f, case="beside the kinks") for f in sides[0].findings))
    if verdicts != {"pass"}:
        return compared
    for kinks in Subgradients(native).intervals(key, lambda each: _outside(each, here)):
        if not bool(_outside(kinks, here).any()):
            label, name = compared.result.label, compared.result.name
            note = Finding("convention", "note", f"the forward has kinks or jumps at elements of {label}", name)
            result = replace(compared.result, verdict="pass", reason=None, settled_by="subgradient")
            return Comparison(result, (*compared.findings, note), compared.sensitivity)
    return compared


def _outside(kinks: Interval, here: torch.Tensor) -> torch.Tensor:
    slack = NOT_ROUNDING.value * torch.maximum(kinks.low.abs(), kinks.high.abs())
    return ~((here >= kinks.low - slack) & (here <= kinks.high + slack))


def _compared_beside(native: AutogradOracle, index: int, sign: int) -> Comparison | None:
    """Autograd against numbers where this input is moved a little, off what it ties with; None outside the domain."""
    case, key = native.case, Key("input", index)
    value = case.inputs[index].detach().double()
    lengths = random_lengths(value, torch.Generator().manual_seed(case.seed))
    there = moved(value, sign * BESIDE_THE_CALL.value, lengths, size_at_least(value, BESIDE_ZERO.value))
    wide = [v.detach().double() if is_differentiable(v) and not v.is_complex() else v for v in case.inputs]
    near = replace(case, inputs=tuple(there if i == index else v for i, v in enumerate(wide)))
    try:
        found = native.run(torch.float64, case=near).gradients.get(key)
        runner = native.runner
        compared = compare_numerically(runner.subject, near.inputs, {index: found}, NumericOracle(runner, near))
    except Exception:  # the point is outside the forward's domain
        return None
    return compared[0]


def _joined(numbers: Comparison, own: Comparison) -> Comparison:
    """The comparison in the inputs' dtype, where numbers say that float64 autograd is right; else what the numbers say."""
    if numbers.result.verdict == "fail":
        return replace(numbers, result=replace(numbers.result, dtype=own.result.dtype))
    findings = (*numbers.findings, *own.findings)
    if numbers.result.verdict == "inconclusive" and own.result.verdict == "pass":
        return Comparison(replace(own.result, verdict="inconclusive", reason=numbers.result.reason), findings, own.sensitivity)
    return replace(own, findings=findings)
