"""The outcome for one gradient, and what its comparison may ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from gradcheck_lab.diagnosis import Evidence
from gradcheck_lab.diagnosis.allowance import Excuse
from gradcheck_lab.model.findings import Finding, GradientResult
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
