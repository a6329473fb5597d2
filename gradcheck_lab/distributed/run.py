"""The steps of `check_distributed`: one look at what every rank holds, an examination of the whole, and derived calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch

from gradcheck_lab.calls.case import Case
from gradcheck_lab.calls.process_state import preserved_state
from gradcheck_lab.distributed.between import told_between
from gradcheck_lab.distributed.failures import ended_finding, raised_finding
from gradcheck_lab.distributed.first_look import first_look
from gradcheck_lab.distributed.frozen import frozen_inputs
from gradcheck_lab.distributed.merged import Seer, differing_inputs, merged, seen_on
from gradcheck_lab.distributed.plan import Plan
from gradcheck_lab.distributed.ranks import RankRaised, Ranks, RanksEnded
from gradcheck_lab.distributed.together import EVERY_RANK, Together, subject_of
from gradcheck_lab.examination.coverage import coverage_of
from gradcheck_lab.examination.examined import Examined, Policy
from gradcheck_lab.examination.pipeline import examine
from gradcheck_lab.examination.reporting import Asked, report_of
from gradcheck_lab.model.environment import environment
from gradcheck_lab.model.findings import Finding, verdict_of
from gradcheck_lab.model.watching import AS_GIVEN, Watch, watches
from gradcheck_lab.probes import PROBES, Probe
from gradcheck_lab.probes.support.running import run_probes
from gradcheck_lab.report import Report
from gradcheck_lab.subjects.runner import Evaluations, Runner

KIND = "distributed"
ADJOINT = "the adjoint of the ranks' own forward, by central differences in float64"
# those whose calls mean the same to a function of whole tensors; the others look at the user's own objects
DERIVED = ("state", "second_backward", "upstream", "upstream_layout", "input_layout", "sizes", "values", "indices")


def run(plan: Plan, asked: Asked) -> Report:
    """The report. All ranks have ended when it returns or raises `InvalidArgument`."""
    doing = [f"the forward of {AS_GIVEN}"]
    with preserved_state(asked.seed), Ranks(plan.function, plan.layout.ranks, plan.seconds, plan.layout.seed) as ranks:
        known: list[Report] = []
        with _watching(Watch(partial(doing.__setitem__, 0))):
            try:
                report = _examined(plan, asked, ranks, known)
            except RanksEnded as error:
                report = _with(known, plan, asked, ended_finding(error, doing[0]))
    if plan.reference is None and report.gradients:
        report = replace(report, oracle=ADJOINT)
    return replace(report, kind=KIND)


@contextmanager
def _watching(watch: Watch) -> Iterator[None]:
    watches.append(watch)
    try:
        yield
    finally:
        watches.remove(watch)


def _with(known: Sequence[Report], plan: Plan, asked: Asked, finding: Finding) -> Report:
    """The report of a check that a finding ended, with what was known until then."""
    if known:
        return replace(known[-1], verdict="fail", findings=(finding, *known[-1].findings))
    return _only(plan, asked, [finding], Evaluations())


def _only(plan: Plan, asked: Asked, findings: Sequence[Finding], counts: Evaluations) -> Report:
    """The report of a check that compared no gradient."""
    told = tuple(replace(f, severity="note") if f.cause in plan.allow else f for f in findings)
    reasons = () if any(f.severity == "error" for f in told) else ("no gradient was compared",)
    return Report(
        verdict_of((), told, reasons), plan.name, KIND, (), told, "none", evaluations=counts.to_dict(), seed=asked.seed,
        reasons=reasons, environment=environment(),
    )  # fmt: skip


def _examined(plan: Plan, asked: Asked, ranks: Ranks, known: list[Report]) -> Report:
    complex_inputs = frozenset(i for i, v in enumerate(plan.inputs) if isinstance(v, torch.Tensor) and v.is_complex())
    shapes = tuple(tuple(v.shape) if isinstance(v, torch.Tensor) else () for v in plan.inputs)
    together = Together(ranks, plan.layout, plan.reference, plan.options, plan.constants, shapes, complex_inputs=complex_inputs)
    counts = Evaluations()
    found = first_look(plan, together, counts)
    if found:
        return _only(plan, asked, found, counts)
    first = together.seen
    assert first is not None
    differing = differing_inputs(first, plan.layout)
    policy = Policy(thorough=True, has_reference=plan.reference is not None)
    case = Case(plan.inputs, {}, None, asked.seed)

    def seen_by(rank: int) -> Seer:
        subject, own = subject_of(together, plan.name, plan.inputs, rank, plan.allow), dict[str, str]()
        if rank != EVERY_RANK:
            subject, own = seen_on(subject, rank, differing)
        return Seer(rank, told_between(examine(Runner(subject, counts), case, policy), together, first), own)

    try:
        seers = [seen_by(rank) for rank in (range(plan.layout.ranks) if differing else (EVERY_RANK,))]
    except RankRaised as error:
        return _only(plan, asked, [replace(raised_finding(error), case="the same call again")], counts)
    whole = merged(seers)
    report = replace(report_of(whole, asked), coverage=coverage_of(seers[0].examined))
    known.append(replace(report, kind=KIND))
    if report.verdict != "pass" or not plan.derived:
        return report
    if differing:  # in their last digits
        whole = replace(seen_by(EVERY_RANK).examined, comparisons=whole.comparisons, findings=whole.findings)

    def tell(examined: Examined) -> None:
        known.append(replace(report_of(examined, asked), kind=KIND))

    probes: list[str | Probe] = [*DERIVED, partial(frozen_inputs, together)]
    return report_of(run_probes(PROBES, whole, probes, tell=tell), asked)
