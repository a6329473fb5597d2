"""One fuzz run: what is drawn, how it is searched, and the report of what was found."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gradcheck_lab.calls.process_state import preserved_state
from gradcheck_lab.calls.recipe import CallRecipe
from gradcheck_lab.discovery.signatures import signatures_of
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.fuzzing.coding import Coding
from gradcheck_lab.fuzzing.examiner import Examiner
from gradcheck_lab.fuzzing.explained import with_causes_of
from gradcheck_lab.fuzzing.failing_case import FailingCaseWriter
from gradcheck_lab.fuzzing.ordinary import BeforeCall, OrdinaryCalls, Signature
from gradcheck_lab.fuzzing.signatures import known_options
from gradcheck_lab.fuzzing.tried import Record
from gradcheck_lab.fuzzing.wording import call_text, which_call
from gradcheck_lab.kernels.starting import launches
from gradcheck_lab.model.arguments import Wrt, name_of, options_of, refuse_names, refuse_order, seed_of, wrt_of
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.coverage import Coverage
from gradcheck_lab.model.environment import environment
from gradcheck_lab.model.exceptions import DeviceLost
from gradcheck_lab.model.findings import Finding, verdict_of
from gradcheck_lab.model.limits import INTERPRETED_SIZES
from gradcheck_lab.model.raised import DEVICE_IS_LOST, device_error, lost_device
from gradcheck_lab.model.shown import quoted
from gradcheck_lab.model.watching import watches
from gradcheck_lab.report import Report
from gradcheck_lab.rules.op import Op
from gradcheck_lab.subjects.run_lines.summary import not_run
from gradcheck_lab.subjects.run_lines.watch import watched
from gradcheck_lab.subjects.subject import importable

if TYPE_CHECKING:
    from gradcheck_lab.fuzzing.search import Search

# small ones, odd ones, and those beside the multiples of a kernel's block (8, 16, 32)
SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 33)
# one call in eight is in float32
DTYPES = (*[torch.float64] * 7, torch.float32)

OnExample = Callable[[int, int], None]


def sizes_drawn(interpreted: bool) -> tuple[int, ...]:
    """The sizes of the dimensions of drawn calls: those that launch `interpreted` kernels are small."""
    return tuple(size for size in SIZES if not interpreted or size <= INTERPRETED_SIZES.value)


@dataclass
class FuzzRun:
    """The arguments of one `fuzz`, and its run.

    `dtypes` are those to draw; where none is named, all that the forward takes. `device` is where the tensors lie. `target`
    says where the op can be imported from, `folder` where a failing case is saved, and `constructor_seed` by which seed an
    object was constructed. `on_example(examples, found)` is told of each drawn call after it was made, `before_call` of every
    call before. `interrupted` is set where the run ended before it was done. Where it `remembers`, failures of earlier runs
    in the user's database come first, and its own go there.
    """

    op: Any
    specs: Sequence[Any]
    options: Any = None
    reference: Any = None
    max_examples: int = 100
    order: int = 1
    allow: Collection[str] = ()
    seed: int = 0
    target: str | None = None
    folder: Path | None = None
    on_example: OnExample = lambda examples, found: None
    interrupted: bool = False
    constructor_seed: int = 0
    dtypes: tuple[torch.dtype, ...] = ()
    device: str = "cpu"
    before_call: BeforeCall = lambda call, probed: None
    wrt: Wrt | None = None
    remembers: bool = True
    _last: tuple[CallRecipe, bool] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        refuse_names("allow", self.allow, CAUSES)
        refuse_order(self.order)
        if type(self.max_examples) is not int or self.max_examples < 1:
            raise InvalidArgument(f"max_examples is {quoted(self.max_examples)}; pass a whole number of at least 1")
        self.options, self.seed, self.wrt = options_of(self.options), seed_of(self.seed), wrt_of(self.wrt)
        self.before_call = self._remembering(self.before_call)
        self.name = name_of(self.op)
        self.target = self.target or importable(self.op)
        self.signatures = signatures_of(self.op, self.name, self.specs)
        self.examiner = Examiner(self.op, self.reference, self.order, self.allow, self.device, wrt=self.wrt)
        self._ordinary = OrdinaryCalls(
            self.op, self.signatures, self.options, self.reference, self.order, self.allow, self.seed, self.device,
            self.before_call, self.wrt,
        )  # fmt: skip
        self._writer = FailingCaseWriter(
            self.op, self.name, self.target, self.reference, self.order, self.allow, self.constructor_seed, self.folder,
            self.wrt,
        )

    def run(self) -> Report:
        """Search, and report; a KeyboardInterrupt of `on_example` or of the user ends the search with what is known.

        So does a call that ends the context of its device, but in a worker process, which ends with it.
        """
        try:
            return self._run()
        except DeviceLost as lost:
            if watches:
                raise
            return self._lost(lost)

    def _run(self) -> Report:
        from gradcheck_lab.fuzzing import strategy
        from gradcheck_lab.fuzzing.search import Search

        started, launched = time.perf_counter(), launches()
        with preserved_state(self.seed), watched(True, (torch.empty(0, device=self.device),)) as seen:
            dtypes = self.dtypes or ((torch.float32,) if self._ordinary.needs_float32() else DTYPES)
            self.examiner.allowed_gradients = self._ordinary.allowed_gradients(dtypes[0])
            coding = Coding(self.signatures, sizes_drawn(launches() > launched), dtypes, self._drawn_options())
            drawn = strategy.coded_recipes(coding)
            search = Search(
                self.examiner, drawn, self.max_examples, self.seed, self._key(), coding.read, self.on_example,
                lambda call: self.before_call(call, False), Record(coding, self.input_names),
                remembers=self.remembers,
            )  # fmt: skip
            try:
                found = search.run()
            except KeyboardInterrupt:
                found, self.interrupted = search.smallest, True
            try:
                report = self._probe_ordinary(dtypes[0]) if found is None else self._report_failure(found, search)
            except KeyboardInterrupt:
                report, self.interrupted = self._nothing_more(), True
            if seen is not None:
                seen.finished = not self.interrupted
        return self._concluded(replace(report, not_run=not_run(seen)), search, time.perf_counter() - started)

    def crash_report(self, finding: Finding, call: CallRecipe | None, kind: str, examples: int, reproduce: str) -> Report:
        """The report of a run whose process ended, as `finding` says, in `call`, or in a call that is not known.

        `reproduce` is the command that runs it again.
        """
        report = Report(
            "fail", self.name, kind, (), (finding,), "none", seed=self.seed, reproduce=reproduce, environment=environment(),
            examples=examples,
        )  # fmt: skip
        return report if call is None else self._writer.add_to(report, call)

    def _lost(self, lost: DeviceLost) -> Report:
        """The report of a run in this process that ended with the call before."""
        words, call = "a call", None
        if self._last is not None:
            recipe, probed = self._last
            words = which_call(call_text(recipe, self.input_names(recipe)), probed)
            call = None if probed else recipe
        examples = self.examiner.compared + self.examiner.uncompared.total()
        report = self.crash_report(lost_device(device_error(lost), words, probe="fuzz"), call, "op", examples, "")
        return replace(report, reasons=(DEVICE_IS_LOST,))

    def _nothing_more(self) -> Report:
        """The report of a run that was interrupted before it had one."""
        return Report("inconclusive", self.name, "op", (), (), "none", seed=self.seed, environment=environment())

    def _remembering(self, before_call: BeforeCall) -> BeforeCall:
        def before(call: CallRecipe, probed: bool) -> None:
            self._last = call, probed
            before_call(call, probed)

        return before

    def input_names(self, call: CallRecipe) -> list[str]:
        """A name for each input of a call."""
        return self._writer.input_names(call)

    def _drawn_options(self) -> dict[str, list[Any]]:
        known = known_options(self.op, self.signatures[0]) if isinstance(self.op, Op) else {}
        return known | {name: [value] for name, value in self.options.items()}

    def _probe_ordinary(self, dtype: torch.dtype) -> Report:
        """The report of an ordinary call of each signature under all probes: the first that does not pass, else the first."""
        reports = []
        for signature in self.signatures:
            call = self._accepted_call(signature, dtype)
            self.before_call(call, not self.interrupted)
            report = self._ordinary.check(call.build("as given", self.device), () if self.interrupted else None)
            if report.verdict == "fail":
                return self._writer.add_to(report, call)
            unsettled = report.verdict != "pass"
            reports.append(replace(report, reproduce=self._writer.line(report, call, None)) if unsettled else report)
        return next((report for report in reports if report.verdict != "pass"), reports[0])

    def _accepted_call(self, signature: Signature, dtype: torch.dtype) -> CallRecipe:
        """The ordinary call; where the forward refuses it, the largest call on ordinary values that was drawn and accepted."""
        case, accepted = self._ordinary.case(signature, dtype), self.examiner.accepted
        if accepted is not None and self._ordinary.forward_raises(case):
            return accepted
        return self._ordinary.recipe(signature, case)

    def _report_failure(self, call: CallRecipe, search: Search) -> Report:
        """The report of the shrunk call with the causes of a larger one; of the first wrong one where the shrunk passes."""
        report, first, diagnosed = self.examiner.report(call), search.first, search.diagnosed
        if first is None or diagnosed is None:  # it is from the user's database
            return self._writer.add_to(report, call)
        if report.verdict != "fail":
            call, report = first, diagnosed
        larger = self._ordinary.like(first)
        if larger is not None and self.examiner.judge(larger) == "wrong":  # the calls that are drawn first are the smallest
            first, diagnosed = larger, self.examiner.report(larger)
        names = self._writer.input_names(first, [gradient.name for gradient in report.gradients])
        return self._writer.add_to(with_causes_of(report, diagnosed, call_text(first, names)), call)

    def _key(self) -> str:
        """What names this run in Hypothesis's database."""
        specs = "; ".join(", ".join(map(str, signature)) for signature in self.signatures)
        return f"gradcheck_lab.fuzz {self.target or self.name} {specs} {sorted(self.options)} {self.order}"

    def _concluded(self, report: Report, search: Search, seconds: float) -> Report:
        """The report with what is to be said of the run as a whole."""
        examiner = self.examiner
        findings = [*report.findings, *(() if report.failing_case else examiner.remarks.values())]
        reasons = list(report.reasons)
        refused = [refusal.words for refusal in examiner.refusals if refusal.exception is not None]
        if not examiner.compared and not report.failing_case:
            why = "; ".join(refusal.words for refusal in examiner.refusals) or "none was drawn"
            reasons.append(f"none of {search.examples} drawn calls could be compared: {why}")
        elif refused and not report.failing_case:
            message = "the forward does not take some of the drawn calls"
            findings.append(Finding("unsupported", "note", message, explanation="; ".join(refused), probe="fuzz"))
        if search.flaky:
            message = "the same call was wrong and right in turn"
            findings.append(Finding("nondeterministic", "note", message, explanation="what is shown is the last wrong one"))
        if self.interrupted:
            reasons.append(f"interrupted after {search.examples} of {self.max_examples} examples")
        counted = examiner.evaluations.to_dict()
        evaluations = {name: n + counted.get(name, 0) for name, n in report.evaluations.items()}
        return replace(
            report,
            verdict=verdict_of(report.gradients, findings, reasons),
            findings=tuple(findings),
            reasons=tuple(reasons),
            evaluations=evaluations,
            seconds=seconds,
            seed=self.seed,
            examples=search.examples,
            drawn=None if search.record is None else search.record.result(),
            coverage=(*report.coverage, Coverage("drawn call", examiner.compared, dict(examiner.uncompared))),
        )
