"""One fuzz run: what is drawn, how it is searched, and the report of what was found."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gradcheck_lab.calls.case import Case
from gradcheck_lab.calls.drawing import ordinary_call
from gradcheck_lab.calls.kinds import WRITTEN
from gradcheck_lab.calls.randomness import preserved_randomness
from gradcheck_lab.calls.recipe import CallRecipe, TensorRecipe
from gradcheck_lab.check import check
from gradcheck_lab.discovery.signatures import signatures_of
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.fuzzing.coding import Coding
from gradcheck_lab.fuzzing.examiner import Examiner, described
from gradcheck_lab.fuzzing.portable import NOT_IMPORTABLE, SavedCase, write
from gradcheck_lab.fuzzing.script import call_lines
from gradcheck_lab.fuzzing.signatures import known_options
from gradcheck_lab.fuzzing.storage import storage
from gradcheck_lab.model.arguments import refuse_names
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.environment import environment
from gradcheck_lab.model.findings import Finding, verdict_of
from gradcheck_lab.report import Report
from gradcheck_lab.rules.op import Op
from gradcheck_lab.specs import Spec
from gradcheck_lab.subjects.subject import importable

if TYPE_CHECKING:
    from gradcheck_lab.fuzzing.search import Search


# of blocks that kernels work in, and what lies beside their multiples
SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 33)


DTYPES = (*[torch.float64] * 7, torch.float32)


OnExample = Callable[[int, int], None]
Before = Callable[[CallRecipe, bool], None]


@dataclass
class Plan:
    """A call of `fuzz`, ready to run.

    `dtypes` are those to draw, all that the forward takes where none is named, and `device` is where its tensors lie.
    `target` says where the op can be imported from, `folder` where a failure is saved, `made_with` by which seed an object
    was constructed. `before` is told of each call before it is made, and whether the probes make others of it.
    `interrupted` is set when the run ended before it was done.
    """

    op: Any
    specs: Sequence[Any]
    options: dict[str, Any] = field(default_factory=dict)
    reference: Any = None
    max_examples: int = 100
    order: int = 1
    allow: Collection[str] = ()
    seed: int = 0
    target: str | None = None
    folder: Path | None = None
    on_example: OnExample = lambda examples, found: None
    interrupted: bool = False
    made_with: int = 0
    dtypes: tuple[torch.dtype, ...] = ()
    device: str = "cpu"
    before: Before = lambda call, probed: None

    def __post_init__(self) -> None:
        refuse_names("allow", self.allow, CAUSES)
        if self.order not in (1, 2):
            raise InvalidArgument(f"order is {self.order!r}; pass 1 or 2")
        if not isinstance(self.max_examples, int) or self.max_examples < 1:
            raise InvalidArgument(f"max_examples is {self.max_examples!r}; pass a whole number of at least 1")
        self.name = str(getattr(self.op, "name", None) or getattr(self.op, "__name__", type(self.op).__name__))
        self.target = self.target or importable(self.op)
        self.signatures = signatures_of(self.op, self.name, self.specs)
        self.examiner = Examiner(self.op, self.reference, self.order, self.allow, self.device)

    def run(self) -> Report:
        """Search, and report; a KeyboardInterrupt of `on_example` or of the user ends it with what is known."""
        from gradcheck_lab.fuzzing import strategy
        from gradcheck_lab.fuzzing.search import Search

        started = time.perf_counter()
        with preserved_randomness(self.seed):
            dtypes = self._dtypes()
            self.examiner.excused = self._excused(dtypes[0])
            coding = Coding(self.signatures, SIZES, dtypes, self._drawn_options())
            drawn = strategy.written_by(coding)
            search = Search(
                self.examiner, drawn, self.max_examples, self.seed, self._key(), coding.read, self.on_example,
                lambda call: self.before(call, False),
            )  # fmt: skip
            try:
                found = search.run()
            except KeyboardInterrupt:
                found, self.interrupted = search.smallest, True
            report = self._of_ordinary(dtypes[0]) if found is None else self._of_failure(found, search.first)
        return self._finished(report, search, time.perf_counter() - started)

    def _drawn_options(self) -> dict[str, list[Any]]:
        known = known_options(self.op, self.signatures[0]) if isinstance(self.op, Op) else {}
        return known | {name: [value] for name, value in self.options.items()}

    def _dtypes(self) -> tuple[torch.dtype, ...]:
        """The dtypes that the forward takes: those of its parameters, or float32 where float64 raises."""
        if self.dtypes:
            return self.dtypes
        raises = (self._raises(self._ordinary(self.signatures[0], dtype)) for dtype in (torch.float64, torch.float32))
        narrow_only = next(raises) and not next(raises)
        return (torch.float32,) if narrow_only else DTYPES

    def _excused(self, dtype: torch.dtype) -> frozenset[tuple[str | None, str | None]]:
        """The gradients that on an ordinary call are wrong for allowed causes alone."""
        if not self.allow:
            return frozenset()
        reports = [self._check(self._ordinary(signature, dtype), ()) for signature in self.signatures]
        findings = [finding for report in reports for finding in report.findings]
        allowed = {(f.op, f.gradient) for f in findings if f.cause in self.allow}
        return frozenset(allowed - {(f.op, f.gradient) for f in findings if f.severity == "error"})

    def _raises(self, case: Case) -> bool:
        report = self._check(case, ())
        return any(f.stage == "forward" for f in report.findings)

    def _ordinary(self, signature: tuple[Spec, ...], dtype: torch.dtype) -> Case:
        """An ordinary call, which is made next."""
        case = ordinary_call(self.op, signature, self.seed, self.options, dtype)
        self.before(_written(signature, case, self.seed), False)
        return replace(case, inputs=tuple(value.to(self.device) for value in case.inputs))

    def _check(self, case: Case, probes: Collection[Any] | None = None) -> Report:
        asked: dict[str, Any] = {} if probes is None else {"probes": probes}
        return check(
            self.op, *case.inputs, options=case.options, reference=self.reference, order=self.order, allow=self.allow,
            seed=case.seed, **asked,
        )  # fmt: skip

    def _of_ordinary(self, dtype: torch.dtype) -> Report:
        """One ordinary call of each signature under all probes; the first that does not pass, else the first."""
        reports = []
        for signature in self.signatures:
            call = self._accepted(signature, dtype)
            self.before(call, not self.interrupted)
            report = self._check(call.build("as given", self.device), () if self.interrupted else None)
            if report.verdict == "fail":
                return self._with_case(report, call)
            reports.append(report)
        return next((report for report in reports if report.verdict != "pass"), reports[0])

    def _accepted(self, signature: tuple[Spec, ...], dtype: torch.dtype) -> CallRecipe:
        """An ordinary call; where the forward refuses its sizes, the largest ordinary one of those drawn that it takes."""
        case, known = self._ordinary(signature, dtype), self.examiner.accepted
        if known is not None and self._raises(case):
            return known
        return _written(signature, case, self.seed)

    def of_end(self, finding: Finding, call: CallRecipe | None, kind: str, examples: int, reproduce: str) -> Report:
        """The report of a run whose process ended: the `finding` says how, in the `call` that it was at, or by `reproduce`."""
        report = Report(
            "fail", self.name, kind, (), (finding,), "none", seed=self.seed, reproduce=reproduce, environment=environment(),
            examples=examples,
        )  # fmt: skip
        return report if call is None else self._with_case(report, call)

    def _of_failure(self, call: CallRecipe, first: CallRecipe | None) -> Report:
        report = self.examiner.report(call)
        if report.verdict != "fail" and first is not None:  # shrunk to where numbers contradict autograd
            call, report = first, self.examiner.report(first)
        return self._with_case(report, call)

    def _with_case(self, report: Report, call: CallRecipe) -> Report:
        names = self.input_names(call, [gradient.name for gradient in report.gradients])
        first = next((finding for finding in report.findings if finding.severity == "error"), None)
        reference = None if self.reference is None else importable(self.reference) or NOT_IMPORTABLE
        saved = SavedCase(
            call, self.name, self.target, reference, self.order, tuple(self.allow),
            "" if first is None else first.message, described(call, names),
            "\n".join(call_lines(self.op, call, names, self.target, None if first is None else first.gradient)),
            self.made_with,
        )  # fmt: skip
        try:
            data = saved.to_dict()
        except InvalidArgument:  # options that JSON has no word for
            return replace(report, reproduce=f"{report.reproduce}, options={dict(call.options)!r}")
        path = self._save(saved)
        replayable = path is not None and self.target is not None and reference != NOT_IMPORTABLE
        reproduce = f"gradcheck-lab replay {path}" if replayable else "run the Python below"
        return replace(report, failing_case=data, reproduce=reproduce)

    def input_names(self, call: CallRecipe, names: Sequence[str] = ()) -> list[str]:
        """The names of the inputs of a call: those of the op, or `names` where they fit."""
        if isinstance(self.op, Op):
            names = list(self.op.names(len(call.tensors)))
        usable = len(names) == len(call.tensors) and all(name.isidentifier() for name in names)
        return list(names) if usable else [f"input_{index}" for index in range(len(call.tensors))]

    def _save(self, saved: SavedCase) -> Path | None:
        """Write the case where Hypothesis keeps its own examples, if the user lets it; its place, None if not saved."""
        folder = self.folder
        if folder is None:
            from hypothesis import settings

            if settings().database is None:
                return None
            folder = storage()
        digest = hashlib.sha256(repr(saved.to_dict()).encode()).hexdigest()[:8]
        path = folder / f"{self.name}-{digest}.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write(saved, path)
        except OSError:  # a folder that cannot be written to: the report has the case all the same
            return None
        here = Path.cwd()
        return path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path

    def _key(self) -> str:
        specs = "; ".join(", ".join(map(str, signature)) for signature in self.signatures)
        return f"gradcheck_lab.fuzz {self.target or self.name} {specs} {sorted(self.options)} {self.order}"

    def _finished(self, report: Report, search: Search, seconds: float) -> Report:
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
        )


def _written(signature: tuple[Spec, ...], case: Case, seed: int) -> CallRecipe:
    tensors = [
        TensorRecipe(spec.kind, tuple(value.shape), value.dtype, WRITTEN, values=tuple(value.reshape(-1).tolist()))
        for spec, value in zip(signature, case.inputs, strict=True)
    ]
    return CallRecipe(tuple(tensors), dict(case.options), seed)
