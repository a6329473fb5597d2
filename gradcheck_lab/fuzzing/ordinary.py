"""The ordinary call of each signature: it says which dtypes the forward takes, and has to pass all probes in the end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from gradcheck_lab.calls.case import Case
from gradcheck_lab.calls.drawing import ordinary_call
from gradcheck_lab.calls.kinds import WRITTEN
from gradcheck_lab.calls.recipe import CallRecipe, TensorRecipe
from gradcheck_lab.check import checked
from gradcheck_lab.model.arguments import Wrt
from gradcheck_lab.report import Report
from gradcheck_lab.specs import Spec

Signature = tuple[Spec, ...]
BeforeCall = Callable[[CallRecipe, bool], None]  # the call that is made next, and whether probes derive others from it


@dataclass(frozen=True, slots=True)
class OrdinaryCalls:
    """Calls of one op on ordinary values of the sizes that `ordinary_call` draws, the same for the same `seed`.

    `before_call` is told of each call before it is made; the other arguments are those of `check`.
    """

    op: Any
    signatures: tuple[Signature, ...]
    options: Mapping[str, Any]
    reference: Any
    order: int
    allow: Collection[str]
    seed: int
    device: str
    before_call: BeforeCall
    wrt: Wrt | None = None

    def case(self, signature: Signature, dtype: torch.dtype) -> Case:
        """The ordinary call of a signature, which the caller makes next."""
        case = ordinary_call(self.op, signature, self.seed, dict(self.options), dtype)
        self.before_call(self.recipe(signature, case), False)
        return replace(case, inputs=tuple(value.to(self.device) for value in case.inputs))

    def recipe(self, signature: Signature, case: Case) -> CallRecipe:
        """The recipe of an ordinary call, with its tensors by value."""
        tensors = [
            TensorRecipe(spec.kind, tuple(value.shape), value.dtype, WRITTEN, values=tuple(value.reshape(-1).tolist()))
            for spec, value in zip(signature, case.inputs, strict=True)
        ]
        return CallRecipe(tuple(tensors), dict(case.options), self.seed)

    def like(self, call: CallRecipe) -> CallRecipe | None:
        """The ordinary call with the options of a drawn one, where it has more elements; None where none has."""
        kinds = [tensor.kind for tensor in call.tensors]
        signature = next((each for each in self.signatures if [spec.kind for spec in each] == kinds), None)
        dtype = next((tensor.dtype for tensor in call.tensors if tensor.dtype.is_floating_point), torch.float64)
        if signature is None:
            return None
        found = replace(self.recipe(signature, self.case(signature, dtype)), options=call.options)
        return found if found.elements > call.elements else None

    def check(self, case: Case, probes: Collection[Any] | None = None) -> Report:
        """Check one call, by all probes where `probes` is None."""
        keywords: dict[str, Any] = {} if probes is None else {"probes": probes}
        return checked(
            self.op, *case.inputs, options=case.options, reference=self.reference, order=self.order, allow=self.allow,
            wrt=self.wrt, seed=case.seed, **keywords,
        )  # fmt: skip

    def forward_raises(self, case: Case) -> bool:
        """Whether the forward raises on a call."""
        report = self.check(case, ())
        return any(finding.stage == "forward" for finding in report.findings)

    def needs_float32(self) -> bool:
        """Whether the forward of the first signature raises in float64 and not in float32."""
        signature = self.signatures[0]
        raises = (self.forward_raises(self.case(signature, dtype)) for dtype in (torch.float64, torch.float32))
        return next(raises) and not next(raises)

    def allowed_gradients(self, dtype: torch.dtype) -> frozenset[tuple[str | None, str | None]]:
        """The gradients, by op and name, that are wrong on ordinary calls, and for allowed causes only."""
        if not self.allow:
            return frozenset()
        reports = [self.check(self.case(signature, dtype), ()) for signature in self.signatures]
        findings = [finding for report in reports for finding in report.findings]
        allowed = {(f.op, f.gradient) for f in findings if f.cause in self.allow}
        return frozenset(allowed - {(f.op, f.gradient) for f in findings if f.severity == "error"})
