"""One drawn call, examined: whether it shows a wrong gradient, and the report that says so."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, copy_inputs
from gradcheck_lab.calls.randomness import seed_all
from gradcheck_lab.calls.recipe import CallRecipe
from gradcheck_lab.calls.stress import EQUAL
from gradcheck_lab.check import checked
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.examination.coverage import NO_ELEMENTS, is_compared
from gradcheck_lab.fuzzing.wording import call_text
from gradcheck_lab.model.arguments import Wrt
from gradcheck_lab.model.causes import having
from gradcheck_lab.model.drawn import Outcome
from gradcheck_lab.model.exceptions import DELIBERATE, SINGULAR, class_name
from gradcheck_lab.model.findings import Finding, verdict_of
from gradcheck_lab.model.user_errors import class_and_line
from gradcheck_lab.probes.support.derived_calls import DerivedCall, DerivedCallExaminer
from gradcheck_lab.probes.support.dirty_memory import with_dirty_memory
from gradcheck_lab.probes.support.steadiness import is_steady
from gradcheck_lab.probes.values import tie_mass
from gradcheck_lab.report import Report
from gradcheck_lab.rules.op import Op
from gradcheck_lab.subjects import adapt
from gradcheck_lab.subjects.reference import with_reference
from gradcheck_lab.subjects.runner import Evaluations, Runner
from gradcheck_lab.subjects.subject import Subject

_GROSS = 1e5  # times what is allowed
_LARGE = 200  # elements of an ordinary call
_OF_THE_SAME_VALUES = ("state", "second_backward", "upstream", "poison")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call cannot be judged; `exception` is the class of what its forward raised, None where it raised nothing."""

    words: str
    exception: str | None = None


@dataclass
class Examiner:
    """Examines drawn calls of one object; the counts grow as it goes.

    `numeric` is set as soon as a call tells whether numbers have to decide where autograd cannot follow. `refusals` are
    what the forward said to calls that it does not take, `remarks` what is worth saying of calls that are no failure,
    `accepted` the largest call on ordinary values so far that it takes. `allowed_gradients` are wrong for an allowed cause: on
    a call of one element the same mistake may be reported under another cause.
    """

    op: Any
    reference: Any = None
    order: int = 1
    allow: Collection[str] = ()
    device: str = "cpu"
    evaluations: Evaluations = field(default_factory=Evaluations)
    numeric: bool | None = None
    compared: int = 0
    uncompared: Counter[str] = field(default_factory=Counter)
    refusals: dict[Refusal, int] = field(default_factory=dict)
    remarks: dict[tuple[str | None, ...], Finding] = field(default_factory=dict)
    accepted: CallRecipe | None = None
    allowed_gradients: frozenset[tuple[str | None, str | None]] = frozenset()
    wrt: Wrt | None = None
    _subjects: dict[tuple[Any, ...], Subject] = field(default_factory=dict)

    def examine(self, call: CallRecipe) -> Outcome:
        """Examine one call, and count it."""
        case = call.build(device=self.device)
        trial = self._attempt(case)
        if trial is None:
            self._note_refusal(case)
            self.uncompared["refused"] += 1
            return "refused"
        compared = any(is_compared(each) for each in trial.examined.comparisons) or bool(trial.new_errors)
        if compared:
            self.compared += 1
        else:
            self.uncompared[NO_ELEMENTS] += 1
        if call.plain and (self.accepted is None or self.accepted.elements < call.elements <= _LARGE):
            self.accepted = call
        if self._errors(call, case, trial, confirm=True):
            return "wrong"
        return "right" if compared else "not compared"

    def judge(self, call: CallRecipe) -> Outcome:
        """What a call shows, by the autograd oracle; only evaluations are counted."""
        case = call.build(device=self.device)
        trial = self._attempt(case)
        if trial is None:
            return "refused"
        if self._errors(call, case, trial):
            return "wrong"
        return "right" if any(is_compared(each) for each in trial.examined.comparisons) else "not compared"

    def report(self, call: CallRecipe) -> Report:
        """The full report of one call; what no single element shows is added to it.

        It is compared only, and where that does not say why a gradient is wrong, the probes that keep its values are run.
        """
        case = call.build(device=self.device)
        report = self._check(case, order=self.order, probes=("poison",))
        if any(f.severity == "error" and f.cause in having("unexplained") for f in report.findings):
            report = self._check(case, order=self.order, probes=_OF_THE_SAME_VALUES)
        trial = self._attempt(case) if call.generic else None
        mass = () if trial is None else self._mass(trial)
        if mass and report.verdict != "fail":
            findings = (*report.findings, *mass)
            report = replace(report, findings=findings, verdict=verdict_of(report.gradients, findings, report.reasons))
        return report

    def _check(self, case: Case, order: int = 1, probes: tuple[str, ...] = ()) -> Report:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return checked(
                self.op, *case.inputs, options=case.options, reference=self.reference, order=order, probes=probes,
                allow=self.allow, wrt=self.wrt, seed=case.seed,
            )  # fmt: skip

    def _attempt(self, case: Case) -> DerivedCall | None:
        """Examine a drawn call, which stands for itself; numbers decide where autograd cannot follow the first one."""
        try:
            subject = self._subject(case)
        except InvalidArgument:
            return None
        case = replace(case, inputs=subject.inputs)
        trying = DerivedCallExaminer(Runner(subject, self.evaluations), case.inputs, self.reference is not None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = trying.examine(case, numeric=bool(self.numeric))
            if self.numeric is None and found is None:
                found = trying.examine(case, numeric=True)
                self.numeric = True if found is not None else None
            elif self.numeric is None:
                self.numeric = False
        return found

    def _subject(self, case: Case) -> Subject:
        """The adapted object with the inputs of the case; that of an op serves all its calls alike."""
        if not isinstance(self.op, Op):
            return self._adapted(case)
        if self.op.refuses:
            self.op.validate(case.inputs, dict(case.options))
        key = (len(case.inputs), *case.options.items())
        try:
            known = self._subjects.get(key)
        except TypeError:  # an option such as a list cannot be looked up
            return self._adapted(case)
        if known is None:
            known = self._subjects[key] = self._adapted(case)
        return replace(known, inputs=case.inputs)

    def _adapted(self, case: Case) -> Subject:
        subject = with_dirty_memory(adapt(self.op, case.inputs, dict(case.options), self.wrt))
        return subject if self.reference is None else with_reference(subject, self.reference)

    def _errors(self, call: CallRecipe, case: Case, trial: DerivedCall, confirm: bool = False) -> list[Finding]:
        found = [f for f in trial.new_errors if f.cause not in self.allow and (f.op, f.gradient) not in self.allowed_gradients]
        if found and not self._steady(trial):
            found = [f for f in found if f.cause in having("sure_at_kinks")]
        parameters = len(trial.inputs) > len(call.tensors)
        found = [f for f in found if not self._is_refusal(call, f) and not (parameters and self._is_stretched(call, f))]
        if found and not self._is_wrong_when_wide(call, found):
            found = []
        if found and confirm and not self._fails(case):
            found = []
        if not found and call.generic and trial.examined.findings:
            found = [f for f in self._mass(trial) if f.cause not in self.allow]
        if not found and self.order == 2 and call.plain and not call.empty:
            found = list(self._check(case, order=2).findings) if self._fails(case, order=2) else []
        return found

    def _is_wrong_when_wide(self, call: CallRecipe, found: list[Finding]) -> bool:
        """Whether a narrow call is wrong in float64 too, where its forward runs in that, or grossly wrong.

        Where a gradient nearly cancels, a narrow one is all rounding; what is wrong only in narrow dtypes is for the probes.
        """
        wide = call.widened()
        if wide is call or any(f.cause in having("sure_at_kinks") for f in found):
            return True
        trial = self._attempt(wide.build(device=self.device))
        if trial is None or trial.new_errors:
            return True
        return any(f.measured is not None and f.allowed is not None and f.measured > _GROSS * f.allowed for f in found)

    def _fails(self, case: Case, order: int = 1) -> bool:
        """Whether the full check fails too, in which a numeric derivative guards the autograd oracle."""
        try:
            return self._check(case, order, ("poison",)).verdict == "fail"
        except InvalidArgument:
            return False

    def _steady(self, trial: DerivedCall) -> bool:
        try:
            return is_steady(trial)
        except Exception:  # no autograd pass, as where numbers decide: they have bounds of their own
            return True

    def _mass(self, trial: DerivedCall) -> tuple[Finding, ...]:
        try:
            return tie_mass(trial, (EQUAL,))
        except Exception:  # no autograd pass to tell the derivative along all tied values
            return ()

    def _is_refusal(self, call: CallRecipe, finding: Finding) -> bool:
        """Whether a backward that raises says no on purpose, or to a call without elements: worth a remark."""
        if finding.cause not in having("no_result"):
            return False
        meant = finding.exception in DELIBERATE | SINGULAR
        if meant or call.empty:
            self._remark(replace(finding, severity="note" if meant else "warning", case=call_text(call)))
        return meant or call.empty

    def _is_stretched(self, call: CallRecipe, finding: Finding) -> bool:
        """Whether a size of 1 broadcast against a parameter, whose sizes are fixed and no dimension of the specs: a remark."""
        stretched = finding.cause in having("shape") and any(1 in t.shape for t in call.tensors)
        if stretched:
            self._remark(replace(finding, severity="note", case=call_text(call)))
        return stretched

    def _remark(self, finding: Finding) -> None:
        """Keep the first of the findings that say the same of different calls."""
        self.remarks.setdefault((finding.cause, finding.op, finding.gradient, finding.exception), finding)

    def _note_refusal(self, case: Case) -> None:
        """Count why the forward does not take a call; looked for as long as the reasons are few."""
        if sum(self.refusals.values()) >= 8:
            return
        try:
            subject = self._adapted(case)
            seed_all(case.seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                outputs = subject.forward(copy_inputs(subject.inputs), case.options)
            finite = all(bool(torch.isfinite(o).all()) for o in outputs if isinstance(o, torch.Tensor))
            refusal = Refusal("its oracle takes no such call" if finite else "its output is not finite")
        except Exception as error:
            refusal = Refusal(class_and_line(error), class_name(error))
        self.refusals[refusal] = self.refusals.get(refusal, 0) + 1
