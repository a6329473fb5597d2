"""What a mend has to pass: the full check, the full check on other values, and drawn calls where there are specs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from gradcheck_lab.calls.drawn_again import similar_inputs
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.fuzzing.run import FuzzRun
from gradcheck_lab.model.amounts import DRAWN_FOR_A_SUGGESTION, SEED_OF_FURTHER_DRAWS
from gradcheck_lab.model.causes import having
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.probes import ALL
from gradcheck_lab.repair.trial import Call
from gradcheck_lab.report import Report
from gradcheck_lab.rules.op import Op


@dataclass(frozen=True, slots=True)
class Passed:
    """What a mended subject passed, in words; `remarks` counts those that it is for some sizes only, and new warnings."""

    checks: tuple[str, ...]
    remarks: int


@dataclass(frozen=True, slots=True)
class Verification:
    """How mends of a wrong subject are verified; `wrong` is the report of the subject as it was."""

    call: Call
    wrong: Report
    specs: Sequence[Any] = ()

    @property
    def errors(self) -> list[Finding]:
        """The findings that are to be mended."""
        return [finding for finding in self.wrong.findings if finding.severity == "error"]

    def passed(self, op: Any) -> Passed | None:
        """What the subject passed, as it stands; None where it failed one of the checks."""
        revealing = {finding.probe for finding in self.errors} & set(ALL)
        if revealing and not self._is_mended(self.call.check(op, revealing)):
            return None
        first = self.call.check(op)
        if not self._is_mended(first):
            return None
        left = self._new_warnings(first)
        remarks = sum(finding.cause in having("size") | having("shape") for finding in first.findings) + len(left)
        seed = self.call.seed + SEED_OF_FURTHER_DRAWS.value
        again = replace(self.call, inputs=other_values(self.call.inputs, seed), grad_output=None, seed=seed)
        try:
            report = again.check(op)
        except InvalidArgument:  # the forward does not take other values
            report = None
        if report is None or any(f.stage == "forward" for f in report.findings):
            report = replace(self.call, seed=seed).check(op)
        if not self._is_mended(report):
            return None
        checks = f"the full check with seeds {self.call.seed} and {seed}"
        checks += f", with a warning: {', '.join(sorted(left))}" if left else ""
        if not (self.specs or (isinstance(op, Op) and op.specs)):
            return Passed((checks,), remarks)
        count = DRAWN_FOR_A_SUGGESTION.value
        run = FuzzRun(
            op, self.specs, self.call.options, self.call.reference, count, self.call.order, self.call.allow, seed,
            wrt=self.call.wrt, remembers=False,
        )  # fmt: skip
        if run.run().verdict != "pass":
            return None
        return Passed((checks, f"{count} calls drawn from its specs"), remarks)

    def _is_mended(self, report: Report) -> bool:
        """Whether a check passes, and compares what the first one did."""
        compared = {each.name for each in self.wrong.gradients if each.verdict != "inconclusive"}
        return report.verdict == "pass" and compared <= {each.name for each in report.gradients}

    def _new_warnings(self, report: Report) -> set[str]:
        """The causes of warnings that the first check had not; a probe may find them only once the gradients are right."""
        known = {finding.cause for finding in self.wrong.findings}
        return {finding.cause for finding in report.findings if finding.severity == "warning"} - known


def other_values(inputs: tuple[Any, ...], seed: int) -> tuple[Any, ...]:
    """Other values like these, in tensors and arrays."""
    arrays = {i: value for i, value in enumerate(inputs) if isinstance(value, np.ndarray) and value.dtype.kind == "f"}
    floating = {i: torch.from_numpy(value.copy()) for i, value in arrays.items()}
    drawn = similar_inputs(tuple(floating.get(i, value) for i, value in enumerate(inputs)))(seed)
    return tuple(value.numpy() if i in floating else value for i, value in enumerate(drawn))
