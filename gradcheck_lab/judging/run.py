"""One candidate, judged: full checks, drawn calls in every dtype, the same values again, large sizes, and fresh processes."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import torch

from gradcheck_lab.calls.case import Case
from gradcheck_lab.calls.drawing import ordinary_call
from gradcheck_lab.calls.moves import random_normal
from gradcheck_lab.calls.recipe import CallRecipe
from gradcheck_lab.check import checked
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.fuzzing.examiner import Examiner
from gradcheck_lab.fuzzing.wording import call_text
from gradcheck_lab.judging.connection import WorkerLimits
from gradcheck_lab.judging.drawing import Lane, drawn_calls, lanes_of, large_call, takes
from gradcheck_lab.judging.remote import CandidateRaised, Remote
from gradcheck_lab.judging.starting import start_worker
from gradcheck_lab.judging.subject import Judged, computes_in_arrays, judged
from gradcheck_lab.judging.task import Task
from gradcheck_lab.judging.verdicts import Failed, decide, without_answer, without_oracle
from gradcheck_lab.model.amounts import CALLS_JUDGED_AGAIN, SECONDS_BEFORE_READING_AGAIN
from gradcheck_lab.model.findings import Finding, verdict_of
from gradcheck_lab.model.limits import TRIES_OF_A_DRAW
from gradcheck_lab.model.precision import unit_roundoff
from gradcheck_lab.report import Report
from gradcheck_lab.rules.op import as_tuple

# the contract of a task says nothing of second derivatives, forward mode, vmap, or dtypes that it does not name
_PROBES = (
    "state", "second_backward", "upstream", "upstream_layout", "input_layout", "needs_input_grad", "aliased_inputs", "poison",
    "indices", "sizes", "values",
)  # fmt: skip


@dataclass
class Judgement:
    """The judging of one candidate: what it is called with, and what is known so far.

    `said` are the options of the command that are not the usual ones.
    """

    task: Task
    candidate: Path
    examples: int
    limits: WorkerLimits
    seed: int
    command: str | None = None
    said: str = ""
    reasons: list[str] = field(default_factory=list)
    notes: dict[tuple[str, str | None], Finding] = field(default_factory=dict)
    judged_calls: int = 0
    _folder: Path = Path()

    def __post_init__(self) -> None:
        self.name = "".join(c if c.isalnum() else "_" for c in self.candidate.stem)
        if not self.name[:1].isalpha():
            self.name = f"candidate_{self.name}"
        self.random = Random(self.seed)
        self.sent = Random(f"what a process is told, {self.seed}")  # from which what is drawn cannot be told

    def run(self) -> Report:
        """Judge, and report the first thing that is wrong, or the full check that passed."""
        started = time.perf_counter()
        with TemporaryDirectory() as folder:
            self._folder = Path(folder)
            self._copy()
            try:
                report = self._passed()
            except Failed as failed:
                report = failed.report
        findings = report.findings if report.verdict == "fail" else (*report.findings, *self.notes.values())
        reasons = report.reasons if report.verdict == "fail" else (*report.reasons, *dict.fromkeys(self.reasons))
        return replace(
            report,
            subject=self.name,
            findings=findings,
            reasons=reasons,
            verdict=verdict_of(report.gradients, findings, reasons),
            seed=self.seed,
            seconds=time.perf_counter() - started,
            examples=self.judged_calls,
            reproduce=self.reproduce if report.verdict != "pass" else "",
            location="",
        )

    @property
    def reproduce(self) -> str:
        """The command that draws the same calls again."""
        files = f"{shlex.quote(str(self.task.path))} {shlex.quote(str(self.candidate))}"
        return f"gradcheck-lab judge {files} --examples {self.examples}{self.said} --seed {self.seed}"

    def _copy(self) -> None:
        """Copy the candidate where nothing lies beside it but what is its own."""
        source = self.candidate.resolve()
        if source.is_dir():
            shutil.copytree(source, self._folder / source.name, ignore_dangling_symlinks=True)
            self._file = self._folder / source.name / "candidate.py"
        else:
            self._file = self._folder / source.name
            shutil.copyfile(source, self._file)

    def _passed(self) -> Report:
        lanes = lanes_of(self.task)
        first = self._full_check(lanes)
        self.random.shuffle(lanes)
        known: list[tuple[Lane, CallRecipe]] = []
        for lane in lanes:
            known += [(lane, call) for call in self._lane(lane)]
        self._fresh(lanes, known)
        return first

    def _full_check(self, lanes: Sequence[Lane]) -> Report:
        """Check an ordinary call of each set of options with all probes, in the widest dtype."""
        widest = min(self.task.dtypes, key=unit_roundoff)
        reports = []
        for lane in (lane for lane in lanes if lane.dtype == widest):
            with self._process(lane) as remote:
                judged_one = judged(remote, self.task, lane.options)
                case = self._ordinary(lane)
                reports.append(self._checked(remote, judged_one, case, _PROBES, ""))
                self._read_again(remote, SECONDS_BEFORE_READING_AGAIN.value)
        return reports[0]

    def _ordinary(self, lane: Lane) -> Case:
        """An ordinary call that the reference takes. Raises `InvalidArgument` where it takes none of the specs at all."""
        dtype = self.task.tolerance_dtype or lane.dtype
        for _ in range(TRIES_OF_A_DRAW.value):
            seed = self.random.getrandbits(32)
            case = ordinary_call(None, self.task.specs, seed, dict(lane.options), dtype)
            if takes(self.task, lane, case.inputs):
                return replace(case, seed=seed)
        drawn = drawn_calls(self.task, lane, 1, self.random)
        if not drawn:
            raise InvalidArgument(f"the reference of {self.task.path.name} returns finite numbers for no call of its specs")
        return drawn[0].build()

    def _lane(self, lane: Lane) -> list[CallRecipe]:
        """Judge the drawn calls of a lane in one process, some of them again at other addresses, and a large one."""
        calls = drawn_calls(self.task, lane, self.examples, self.random)
        if not calls:
            self.reasons.append(f"the reference takes none of the drawn calls in {_dtype(lane)}")
            return []
        with self._process(lane) as remote:
            judged_one = judged(remote, self.task, lane.options)
            remote.hold()  # what the first call returns has to stay as it is to the end
            for first, second, third in zip(calls[0::3], calls[1::3], calls[2::3], strict=True):
                self._call(remote, judged_one, lane, first)
                self._call(remote, judged_one, lane, second)  # what the first returned has to stay as it is
                self._read_again(remote)
                self._call(remote, judged_one, lane, third)  # where the inputs of the others were
            remote.same_place = False
            for call in self.random.sample(calls, min(len(calls), CALLS_JUDGED_AGAIN.value)):
                self._call(remote, judged_one, lane, call, "when its values come a second time, at another address")
            large = large_call(self.task, lane, self.random)
            if large is not None:
                self._call(remote, judged_one, lane, large)
            self._read_again(remote, SECONDS_BEFORE_READING_AGAIN.value)
        return calls

    def _fresh(self, lanes: Sequence[Lane], known: Sequence[tuple[Lane, CallRecipe]]) -> None:
        """Judge some of the calls again in fresh processes, in another order and after none of the others."""
        for lane in lanes:
            calls = [call for each, call in known if each is lane]
            if not calls:
                continue
            with self._process(lane) as remote:
                judged_one = judged(remote, self.task, lane.options)
                for call in self.random.sample(calls, min(len(calls), CALLS_JUDGED_AGAIN.value)):
                    self._call(remote, judged_one, lane, replace(call, seed=self.random.getrandbits(32)), "in a fresh process")
                self._read_again(remote, SECONDS_BEFORE_READING_AGAIN.value)

    @contextmanager
    def _process(self, lane: Lane) -> Iterator[Remote]:
        worker = start_worker(self.limits, self.command, watched=bool(self.task.forbidden))
        try:
            text = self._file.read_text(encoding="utf-8", errors="replace")
            remote = Remote(worker, self._file, self.name, self.task.forbidden, self.sent, computes_in_arrays(text))
            if self.task.tolerance_dtype is not None:
                remote.sent, remote.read_as = lane.dtype, self.task.tolerance_dtype
            with suppress(CandidateRaised):
                remote.load()
            if remote.broken is not None or remote.raised:
                decide(remote, None, f"importing {self.name}", None)
            yield remote
        finally:
            worker.stop()

    def _call(self, remote: Remote, one: Judged, lane: Lane, call: CallRecipe, when: str = "") -> None:
        self.judged_calls += 1

        def confirmed() -> bool:
            """Whether a call on special values is wrong as a drawn call has to be: at values that mean something."""
            return call.plain or Examiner(one.op, one.reference).examine(replace(call, options=one.options)) == "wrong"

        self._checked(remote, one, call.build(), (), when, call_text(call, list(self.task.names)), confirmed)

    def _checked(
        self,
        remote: Remote,
        one: Judged,
        case: Case,
        probes: Sequence[str],
        when: str,
        words: str = "as given",
        confirmed: Callable[[], bool] = lambda: True,
    ) -> Report:
        """The report of one check; raises `Failed` where it is the verdict."""
        remote.raised.clear()
        refused = ""
        report: Report | None = None
        try:
            report = checked(
                one.op, *case.inputs, options=one.options, reference=one.reference, probes=probes, seed=case.seed,
                wrt=self._differentiated(), grad_output=self._upstream(remote, one, case),
            )  # fmt: skip
        except InvalidArgument as error:
            refused = str(error)
        if report is not None:
            report = without_oracle(report)
        if report is not None and report.verdict == "fail" and not remote.raised and not remote.evidence and not confirmed():
            return report
        decide(remote, report, " ".join(filter(None, (f"a call ({words})", when))), words)
        if report is None or not report.gradients:
            raise Failed(without_answer(self.name, refused or "; ".join(report.reasons if report is not None else ()), words))
        if report.verdict == "inconclusive":
            self.reasons += [f"{reason} ({words})" for reason in report.reasons]
        for finding in report.findings:
            self.notes.setdefault((finding.cause, finding.gradient), finding)
        return report

    def _upstream(self, remote: Remote, one: Judged, case: Case) -> tuple[torch.Tensor, ...] | None:
        """Upstream gradients that have all digits of their dtype, of the shapes of the reference's outputs."""
        try:
            with torch.no_grad():
                outputs = as_tuple(one.reference(*case.inputs))
        except Exception:  # it takes the call in float64
            return None
        generator = torch.Generator().manual_seed(self.random.getrandbits(32))
        return tuple(random_normal(value.double(), generator).to(value.dtype) for value in outputs)

    def _differentiated(self) -> list[int] | None:
        """The inputs that need a gradient: all numbers that are no targets; None where these are all there are."""
        wanted = [k for k, spec in enumerate(self.task.specs) if spec.differentiable and spec.kind != "one_hot"]
        return wanted or None

    def _read_again(self, remote: Remote, wait: float = 0.0) -> None:
        """Read what was returned once more, after some seconds in which nothing is called."""
        remote.raised.clear()  # derived calls may raise
        with suppress(CandidateRaised):
            remote.read_again(wait)
        decide(remote, None, f"reading again what {self.name} returned", None)


def _dtype(lane: Lane) -> str:
    return str(lane.dtype).removeprefix("torch.")
