"""What one backward returned, entry by entry against the truth; and the rule of one call run alone on the oracle's values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.comparison.gradient import Comparison, compare_gradient
from gradcheck_lab.comparison.noise import pooled, without_jumps
from gradcheck_lab.comparison.slot import Slot
from gradcheck_lab.diagnosis import Evidence
from gradcheck_lab.model.precision import is_wide
from gradcheck_lab.model.precision.budget import COARSE_ORACLE
from gradcheck_lab.oracles.autograd.passes import AutogradOracle, Pass
from gradcheck_lab.oracles.autograd.questions import Reruns
from gradcheck_lab.oracles.autograd.subgradients import Subgradients
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.subject import Key, Subject


def compare_returned(
    subject: Subject,
    returned: Any,
    oracle: AutogradOracle,
    truth: Pass,
    outputs: Mapping[str, torch.Tensor],
    op: str | None = None,
    shares: int | None = None,
) -> list[Comparison]:
    """Compare what one backward returned, entry by entry, with the truth of its inputs.

    With `shares`, the inputs are those of that call within a program.
    """
    case, names = oracle.case, subject.names
    grads = as_tuple(returned)
    role, first = ("input", 0) if shares is None else ("share", shares)
    expected = {
        i: truth.gradients.get(Key("input", i) if shares is None else Key(role, first, i))
        for i, value in enumerate(case.inputs)
        if is_differentiable(value) and i not in subject.constants
    }
    tensors = {n: v for n, v in zip(names, case.inputs, strict=True) if isinstance(v, torch.Tensor)} | dict(outputs)
    references = {names[i]: g for i, g in expected.items() if g is not None}
    options = {n: v for n, v in zip(names, case.inputs, strict=True) if not isinstance(v, torch.Tensor)} | dict(case.options)
    subgradients = Subgradients(oracle)
    compared = []
    for i, true in expected.items():
        value = case.inputs[i]
        slot = Slot(names[i], subject.labels[i], tuple(value.shape), value.dtype, value.device, op)
        key = Key("input", i)
        if oracle.coarse and true is not None:
            slot = replace(
                slot, slack=COARSE_ORACLE.value * oracle.coarse * float(true.square().mean().sqrt() if true.numel() else 0.0)
            )

        def evidence(actual: torch.Tensor, wanted: torch.Tensor, slot: Slot = slot, i: int = i) -> Evidence:
            reruns = Reruns(oracle, i)
            return Evidence(
                name=slot.name,
                actual=actual.detach(),
                expected=wanted,
                dtype=slot.dtype,
                tensors=tensors,
                references=references,
                upstream=case.grad_outputs or (),
                precision=slot.slack,
                options=options,
                assigned=subject.keeps_last_call,
                paths=reruns.paths,
                unreduced=reruns.unreduced,
                conjugated=reruns.conjugated,
                reversed=reruns.reversed,
            )

        compared.append(
            compare_gradient(
                slot,
                grads[i],
                true,
                references_of(oracle, key, value.dtype),
                evidence,
                partial(subgradients.intervals, key),
            )
        )
    return compared


def references_of(oracle: AutogradOracle, key: Key, dtype: torch.dtype) -> Callable[[str], list[torch.Tensor]]:
    """The reference gradients at `key` by level, from the oracle's passes; `native` adds nothing in float64."""

    def references(level: str) -> list[torch.Tensor]:
        if level == "native" and is_wide(dtype):
            return []
        found = [each.gradients.get(key) for each in oracle.references(level, dtype)]
        truth = oracle.truth().gradients.get(key)
        tensors = [value.detach() for value in found if value is not None]
        if level == "native" or truth is None:
            return tensors

        def coarser(times: int) -> list[torch.Tensor]:
            again = [each.gradients.get(key) for each in oracle.references(level, dtype, times)]
            return [value.detach() for value in again if value is not None]

        tensors = without_jumps(tensors, truth.detach(), coarser)
        return [pooled(t, truth.detach()) for t in tensors] if level == "torn" else tensors

    return references
