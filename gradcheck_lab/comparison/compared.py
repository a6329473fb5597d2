"""The outcome for one gradient, as a report shows it, and what its comparison may ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.comparison.budget import Judgement, used_of_each
from gradcheck_lab.comparison.drawing import distribution_of, picture_of
from gradcheck_lab.comparison.findings import number, short_dtype
from gradcheck_lab.comparison.slot import Slot
from gradcheck_lab.diagnosis import Evidence
from gradcheck_lab.diagnosis.allowance import Excuse
from gradcheck_lab.model.findings import Finding, GradientResult, Number
from gradcheck_lab.model.limits import PICTURED_ELEMENTS
from gradcheck_lab.model.pictures import Picture
from gradcheck_lab.oracles.autograd.subgradients import Interval

References = Callable[[str], list[torch.Tensor]]
Intervals = Callable[[Callable[[Interval], torch.Tensor], torch.Tensor | None], Iterable[Interval]]
EvidenceOf = Callable[[torch.Tensor, torch.Tensor], Evidence]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The compared gradient and the findings that it gave; `kinks` are the elements that follow another convention.

    `excuse` has the allowed mistakes that were taken away from a gradient which is right but for them.
    """

    result: GradientResult
    findings: tuple[Finding, ...] = ()
    sensitivity: float | None = None
    kinks: int = 0
    excuse: Excuse | None = None


def result_of(
    slot: Slot,
    found: Judgement,
    actual: torch.Tensor,
    expected: torch.Tensor,
    verdict: Any,
    settled_by: str = "rounding",
    references: Sequence[torch.Tensor] = (),
) -> GradientResult:
    at = found.worst_index
    known: tuple[Number, Number] | None = found.at_worst
    if at is not None and known is None:
        known = number(actual[at]), number(expected[at])
    distribution, picture = _drawn(slot, actual, expected, references)
    return GradientResult(
        name=slot.name,
        label=slot.label,
        shape=slot.shape,
        dtype=short_dtype(slot.dtype),
        verdict=verdict,
        max_abs_error=found.max_abs_error,
        max_rel_error=found.max_rel_error,
        worst_index=at,
        actual=None if known is None else known[0],
        expected=None if known is None else known[1],
        allowed=found.allowed,
        budget_used=found.budget_used,
        wrong_elements=found.wrong_elements,
        elements=found.elements,
        rule=found.rule,
        settled_by=settled_by,
        op=slot.op,
        distribution=distribution,
        picture=picture,
    )


def _drawn(
    slot: Slot, actual: torch.Tensor, expected: torch.Tensor, references: Sequence[torch.Tensor]
) -> tuple[tuple[int, ...], Picture | None]:
    """What a page draws of a gradient of the call as given."""
    if slot.margin > 1 or not 0 < expected.numel() <= PICTURED_ELEMENTS.value:
        return (), None
    used = used_of_each(actual, expected, slot.dtype, references, slot.truth_error)
    return distribution_of(used), picture_of(actual, expected, used)


def plain_result(slot: Slot, verdict: Any, elements: int = 0) -> GradientResult:
    return GradientResult(
        slot.name,
        slot.label,
        slot.shape,
        short_dtype(slot.dtype),
        verdict,
        elements=elements,
        op=slot.op,
    )
