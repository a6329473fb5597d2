"""Points at which a function is smooth and autograd does not say so: the root of a sum of squares at zero, behind a bound."""

from __future__ import annotations

from dataclasses import replace

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.moves import moved, random_signs
from gradcheck_lab.examination.examined import NumericTruth
from gradcheck_lab.model.amounts import BESIDE_ZERO_BY
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.precision.kinks import SETTLED
from gradcheck_lab.probes.support.derived_calls import DerivedCall
from gradcheck_lab.probes.support.true_gradients import gradients_at, true_gradients

Gradients = dict[int, torch.Tensor]


def with_lost_derivatives(derived: DerivedCall) -> DerivedCall:
    """The same call with errors where gradients are not finite, as autograd's are not, and the same on either side are."""
    examined = derived.examined
    if isinstance(examined.truth, NumericTruth) or derived.new_errors:
        return derived
    lost: Gradients = {}
    for i, truth in true_gradients(examined).items():
        actual = examined.returned[i] if i < len(examined.returned) and examined.is_compared(i) else None
        if isinstance(actual, torch.Tensor) and actual.shape == truth.shape and not truth.is_complex():
            hit = torch.isnan(truth) & ~torch.isfinite(actual.detach())
            lost |= {i: hit} if bool(hit.any()) else {}
    beside = _on_either_side(derived) if lost else None
    if beside is None:
        return derived
    smooth = {i: hit for i, hit in lost.items() if all(i in side for side in beside) and _agree(*(s[i][hit] for s in beside))}
    return replace(derived, new_errors=tuple(_error(derived, i, hit) for i, hit in smooth.items()))


def _on_either_side(derived: DerivedCall) -> tuple[Gradients, Gradients] | None:
    examined = derived.examined
    inputs, generator = examined.oracle.case.inputs, torch.Generator().manual_seed(examined.case.seed)
    signs = [random_signs(v, generator) if is_differentiable(v) and not v.is_complex() else None for v in inputs]

    def at(distance: float) -> Gradients:
        pairs = zip(inputs, signs, strict=True)
        return gradients_at(examined, tuple(v if s is None else moved(v.detach().double(), distance, s) for v, s in pairs))

    try:
        return at(BESIDE_ZERO_BY.value[0]), at(-BESIDE_ZERO_BY.value[0])
    except Exception:  # outside the domain on one side
        return None


def _agree(one: torch.Tensor, other: torch.Tensor) -> bool:
    if not bool((torch.isfinite(one) & torch.isfinite(other)).all()):
        return False
    size = torch.maximum(torch.linalg.vector_norm(one), torch.linalg.vector_norm(other))
    return float(torch.linalg.vector_norm(one - other)) <= SETTLED.value * float(size)


def _error(derived: DerivedCall, index: int, hit: torch.Tensor) -> Finding:
    subject = derived.examined.subject
    return Finding(
        "non-finite",
        "error",
        f"gradient of {subject.labels[index]} is not finite in {int(hit.sum())} of {hit.numel()} elements",
        gradient=subject.names[index],
        explanation="the forward is smooth there: on either side the derivative is the same, and finite",
        suggestion=CAUSES["non-finite"].fix,
    )
