"""Points at which a function is smooth and autograd does not say so: the root of a sum of squares at zero, behind a bound."""

from __future__ import annotations

from dataclasses import replace

import torch

from gradcheck_lab.calls.moves import random_signs
from gradcheck_lab.examination.examined import Examined, NumericTruth
from gradcheck_lab.model.amounts import BESIDE_ZERO_BY
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.precision.kinks import SETTLED
from gradcheck_lab.probes.support.derived_calls import DerivedCall
from gradcheck_lab.probes.support.true_gradients import true_gradients
from gradcheck_lab.subjects.subject import Key

Hits = dict[int, torch.Tensor]


def with_lost_derivatives(derived: DerivedCall) -> DerivedCall:
    """The same call with errors where gradients are not finite, as autograd's are not, and the function is smooth."""
    examined = derived.examined
    if isinstance(examined.truth, NumericTruth) or derived.new_errors:
        return derived
    lost: Hits = {}
    for i, truth in true_gradients(examined).items():
        actual = examined.returned[i] if i < len(examined.returned) and examined.is_compared(i) else None
        if isinstance(actual, torch.Tensor) and actual.shape == truth.shape and not truth.is_complex():
            hit = torch.isnan(truth)
            hit = hit & ~torch.isfinite(actual.detach()) if bool(hit.any()) else hit
            lost |= {i: hit} if bool(hit.any()) else {}
    smooth = {i: hit for i, hit in lost.items() if _is_smooth(examined, i, hit)}
    return replace(derived, new_errors=tuple(_error(derived, i, hit) for i, hit in smooth.items())) if smooth else derived


def _is_smooth(examined: Examined, index: int, hit: torch.Tensor) -> bool:
    """Whether the derivative for these elements is the same on either side, and that by which the outputs change."""
    oracle, generator = examined.oracle, torch.Generator().manual_seed(examined.case.seed)
    value = oracle.case.inputs[index].detach().double()
    step = torch.where(hit, BESIDE_ZERO_BY.value[0] * random_signs(value, generator), 0.0)
    here, sides = oracle.truth().outputs, []
    for sign in (1, -1):
        inputs = tuple(value + sign * step if i == index else v for i, v in enumerate(oracle.case.inputs))
        try:
            passed = oracle.run(torch.float64, case=replace(oracle.case, inputs=inputs))
        except Exception:  # outside the domain on this side
            return False
        slope = passed.gradients.get(Key("input", index))
        if slope is None or not bool(torch.isfinite(slope[hit]).all()):
            return False
        upstream = zip(examined.case.grad_outputs or (), passed.outputs, here, strict=False)
        change = sum(float((g.double() * (there - before).detach().double()).sum()) for g, there, before in upstream)
        if not _near(change, sign * float((slope.detach() * step).sum())):
            return False
        sides.append(slope.detach()[hit])
    return float(torch.linalg.vector_norm(sides[0] - sides[1])) <= SETTLED.value * float(torch.linalg.vector_norm(sides[0]))


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= SETTLED.value * max(abs(one), abs(other))


def _error(derived: DerivedCall, index: int, hit: torch.Tensor) -> Finding:
    subject = derived.examined.subject
    return Finding(
        "non-finite",
        "error",
        f"gradient of {subject.labels[index]} is not finite in {int(hit.sum())} of {hit.numel()} elements",
        gradient=subject.names[index],
        explanation="the forward is smooth there: on either side it has the same derivative, which is finite",
        suggestion=CAUSES["non-finite"].fix,
    )
