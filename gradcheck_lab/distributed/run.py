"""The steps of `check_distributed`: one look at what every rank holds, an examination of the whole, and derived calls."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, copy_inputs, is_differentiable
from gradcheck_lab.calls.process_state import preserved_state
from gradcheck_lab.calls.randomness import seed_all
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.comparison.budget import judge, used_of_each
from gradcheck_lab.comparison.compared import Comparison
from gradcheck_lab.diagnosis import Explanation
from gradcheck_lab.distributed.explain import Held, explained
from gradcheck_lab.distributed.failures import ended_finding, on_ranks, raised_finding
from gradcheck_lab.distributed.frozen import frozen_inputs
from gradcheck_lab.distributed.placements import Partial, Replicate, Shard, sum_of, upstream_on, whole_of
from gradcheck_lab.distributed.ranks import RankRaised, Ranks, RanksEnded
from gradcheck_lab.distributed.together import EVERY_RANK, Layout, Seen, Together, subject_of, unlike
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.examination.coverage import coverage_of
from gradcheck_lab.examination.examined import AutogradTruth, Examined, NumericTruth, Policy
from gradcheck_lab.examination.pipeline import examine
from gradcheck_lab.examination.reporting import Asked, report_of
from gradcheck_lab.model.causes import having
from gradcheck_lab.model.environment import environment
from gradcheck_lab.model.findings import Finding, verdict_of
from gradcheck_lab.model.limits import ELEMENTS_ONE_BY_ONE_WHERE_WRONG
from gradcheck_lab.model.watching import AS_GIVEN, Watch, watches
from gradcheck_lab.oracles.autograd.passes import AutogradOracle
from gradcheck_lab.probes import PROBES
from gradcheck_lab.probes.support.running import run_probes
from gradcheck_lab.report import Report
from gradcheck_lab.rules.op import Op
from gradcheck_lab.subjects.runner import Evaluations, Runner
from gradcheck_lab.subjects.subject import Key

KIND = "distributed"
ADJOINT = "the adjoint of the ranks' own forward, by central differences in float64"
# those whose calls mean the same to a function of whole tensors; the others look at the user's own objects
DERIVED = ("state", "second_backward", "upstream", "upstream_layout", "input_layout", "sizes", "values", "indices")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is checked: the function of the ranks, whole inputs, how they lie, and the same function of whole tensors."""

    name: str
    function: Callable[..., Any] | Op
    inputs: tuple[Any, ...]
    layout: Layout
    reference: Callable[..., Any] | None
    options: Mapping[str, Any]
    constants: frozenset[int]
    allow: frozenset[str]
    seconds: float
    derived: bool


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
    together = Together(
        ranks, plan.layout, plan.reference, plan.options, plan.constants, shapes, complex_inputs=complex_inputs
    )
    counts = Evaluations()
    found = _first_look(plan, together, counts)
    if found:
        return _only(plan, asked, found, counts)
    first = together.seen
    assert first is not None
    differing = _differing(first, plan.layout)
    policy = Policy(thorough=True, has_reference=plan.reference is not None)
    case = Case(plan.inputs, {}, None, asked.seed)

    def seen_by(rank: int) -> Examined:
        subject = subject_of(together, plan.name, plan.inputs, rank, plan.allow)
        if rank != EVERY_RANK:
            places = [f" on rank {rank}" if i in differing else "" for i in range(len(plan.inputs))]
            names = tuple(f"{name}{place}" for name, place in zip(subject.names, places, strict=True))
            labels = tuple(f"{label}{place}" for label, place in zip(subject.labels, places, strict=True))
            subject = replace(subject, names=names, labels=labels)
        return _told(examine(Runner(subject, counts), case, policy), together, first)

    try:
        whole = [seen_by(rank) for rank in (range(plan.layout.ranks) if differing else (EVERY_RANK,))]
    except RankRaised as error:
        return _only(plan, asked, [replace(raised_finding(error), case="the same call again")], counts)
    merged = _merged(whole)
    report = replace(report_of(merged, asked), coverage=coverage_of(whole[0]))
    known.append(replace(report, kind=KIND))
    if report.verdict != "pass" or not plan.derived:
        return report
    if differing:  # in their last digits
        merged = replace(seen_by(EVERY_RANK), comparisons=merged.comparisons, findings=merged.findings)

    def tell(examined: Examined) -> None:
        known.append(replace(report_of(examined, asked), kind=KIND))

    probes = [*DERIVED, partial(frozen_inputs, together)]
    return report_of(run_probes(PROBES, merged, probes, tell=tell), asked)


def _first_look(plan: Plan, together: Together, counts: Evaluations) -> list[Finding]:
    """What is wrong with what each rank returns by itself; else `together.seen` has it."""
    layout = plan.layout
    wanted = [i for i, v in enumerate(plan.inputs) if is_differentiable(v) and i not in plan.constants]
    given = together.placed(copy_inputs(plan.inputs))
    seed_all(layout.seed)
    try:
        counts.forward += 1
        call, answers = together.run_forward(given, wanted)
        outputs = [tuple(each.values) for each in answers]
        if problem := unlike(outputs, layout):
            return [_misplaced(problem)]
        if not any(is_differentiable(output) for output in outputs[0]):
            raise InvalidArgument(f"no output of {plan.name} is a floating tensor; return one that a gradient is wanted of")
        found = _disagreeing(plan, outputs)
        if found:
            return found
        whole = together.whole(outputs, 0)
        generator = torch.Generator().manual_seed(layout.seed)
        upstream = [random_like(v, generator) if is_differentiable(v) else torch.zeros_like(v) for v in whole]
        counts.backward += 1
        back = together.run_backward(call, upstream)
    except RankRaised as error:
        if error.problems[0].no_tensor:
            what = error.problems[0].message
            raise InvalidArgument(
                f"the forward of {plan.name} returned {what}; return a tensor or a tuple of tensors"
            ) from None
        return [raised_finding(error)]
    gradients = [tuple(each.values) for each in back]
    problems = [_other_count(plan, gradients), *_other_shapes(plan, gradients, given)]
    together.seen = Seen(tuple(outputs), tuple(gradients))
    return [each for each in problems if each is not None]


def _misplaced(problem: str) -> Finding:
    return Finding(
        "ranks-disagree",
        "error",
        problem,
        explanation="what the ranks return does not fit together as the output is placed",
        suggestion="return it as it is placed, or say how it lies: placement={'output': gl.Shard(0)}, or gl.Partial()",
        stage="forward",
    )


def _disagreeing(plan: Plan, outputs: Sequence[Sequence[torch.Tensor]]) -> list[Finding]:
    """The findings on replicated outputs that are not the same on every rank."""
    found = []
    for k, parts in enumerate(zip(*outputs, strict=True)):
        if not isinstance(plan.layout.output(k), Replicate) or not is_differentiable(parts[0]):
            continue
        others = [r for r, part in enumerate(parts) if not judge(part, parts[0].to(_wide(part)), part.dtype).passed]
        if not others:
            continue
        what = "the output" if len(outputs[0]) == 1 else f"output {k}"
        truth = _true_output(plan, k)
        held = None if truth is None else Held(tuple(parts), Replicate(), truth, parts[0].dtype)
        told = None if held is None or truth.shape != parts[0].shape else explained(held)
        index = int((parts[others[0]] - parts[0]).abs().reshape(-1).argmax())
        values = parts[others[0]].reshape(-1)[index].item(), parts[0].reshape(-1)[index].item()
        at = [int(n) for n in torch.unravel_index(torch.tensor(index), parts[0].shape)]
        found.append(
            Finding(
                "ranks-disagree" if told is None else told.cause,
                "error",
                f"{what} has other values {on_ranks(others)} than on rank 0",
                explanation="it is replicated, so every rank has to hold the same" if told is None else told.sentence,
                suggestion="reduce or gather it in the forward, or say how it lies: placement={'output': gl.Shard(0)}, "
                "or gl.Partial()",
                where=f"first seen at {at}: rank {others[0]} {values[0]:.6g}, rank 0 {values[1]:.6g}",
                stage="forward",
            )
        )
    return found


def _true_output(plan: Plan, index: int) -> torch.Tensor | None:
    """An output of the reference in float64; None without one, and where it raises, which the examination tells."""
    if plan.reference is None:
        return None
    wide = [v.to(_wide(v)) if is_differentiable(v) else v for v in copy_inputs(plan.inputs)]
    try:
        with torch.no_grad():
            returned = plan.reference(*wide, **plan.options)
    except Exception:
        return None
    outputs = returned if isinstance(returned, tuple | list) else (returned,)
    value = outputs[index] if index < len(outputs) else None
    return value.to(_wide(value)) if isinstance(value, torch.Tensor) and is_differentiable(value) else None


def _wide(value: torch.Tensor) -> torch.dtype:
    return torch.complex128 if value.is_complex() else torch.float64


def _other_count(plan: Plan, gradients: Sequence[Sequence[Any]]) -> Finding | None:
    wrong = [r for r, each in enumerate(gradients) if len(each) != len(plan.inputs)]
    if not wrong:
        return None
    count, inputs = len(gradients[wrong[0]]), len(plan.inputs)
    fix = "return one gradient per input, in order, None where not differentiable"
    return Finding("gradient-count", "error", f"backward returned {count} gradients for {inputs} inputs {on_ranks(wrong)}",
                   explanation=f"returned {count} for {inputs} inputs", suggestion=fix, stage="backward")  # fmt: skip


def _other_shapes(plan: Plan, gradients: Sequence[Sequence[Any]], given: Sequence[Sequence[Any]]) -> Iterator[Finding]:
    if any(len(each) != len(plan.inputs) for each in gradients):
        return
    for index, label in enumerate(plan.layout.labels):
        own = [each[index] for each in given]
        found = [each[index] for each in gradients]
        wrong = [r for r, (g, x) in enumerate(zip(found, own, strict=True)) if g is not None and g.shape != x.shape]
        if wrong:
            got, wanted = tuple(found[wrong[0]].shape), tuple(own[wrong[0]].shape)
            yield Finding(
                "wrong-shape",
                "error",
                f"gradient of {label} has shape {got}, expected {wanted} {on_ranks(wrong)}",
                gradient=plan.layout.names[index],
                explanation=f"a rank holds {wanted} of the input, and its gradient is as large",
                suggestion="cut the gradient, or reduce and scatter it, to what this rank holds of the input",
                stage="backward",
            )


def _differing(seen: Seen, layout: Layout) -> frozenset[int]:
    """The inputs whose gradient each rank has to return whole, and that is not the same on all of them to the last bit."""
    found = set()
    for index, placement in enumerate(layout.inputs):
        if placement == Replicate() or isinstance(placement, Partial):
            first, *others = [each[index] for each in seen.gradients]
            if not all(_equal(first, other) for other in others):
                found.add(index)
    return frozenset(found)


def _equal(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    return bool(torch.equal(a, b))


def _merged(whole: Sequence[Examined]) -> Examined:
    """One examination of what several ranks see: what they see alike is there once."""
    first = whole[0]
    names, comparisons, findings = set[str](), list[Comparison](), list[Finding]()
    reasons = dict[str, None]()
    for examined in whole:
        new = [c for c in examined.comparisons if c.result.name not in names]
        names |= {c.result.name for c in new}
        comparisons += new
        findings += [f for f in examined.findings if f not in findings]
        reasons |= dict.fromkeys(examined.reasons)
    right = {c.result.label for c in comparisons if c.result.verdict == "pass"}
    found = [_beside_right_ranks(f, right) for f in findings]
    return replace(first, comparisons=tuple(comparisons), findings=tuple(_once(found)), reasons=tuple(reasons))


def _beside_right_ranks(finding: Finding, right: Collection[str]) -> Finding:
    """A wrong value of one rank, where that of another is right: the ranks disagree."""
    name, on, _ = (finding.gradient or "").partition(" on rank ")
    others = sorted(int(label.rpartition(" ")[2]) for label in right if f"'{name}' on rank " in label) if on else []
    if finding.severity != "error" or not others or finding.measured is None:
        return finding
    return replace(
        finding,
        cause="ranks-disagree",
        explanation=f"it is right {on_ranks(others)}, and every rank that holds the input has to have the same gradient",
        suggestion="let every rank take the same steps, and enter every collective",
    )


def _once(findings: Sequence[Finding]) -> list[Finding]:
    """The findings, with those of several ranks that say the same of one gradient told together."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        name = (finding.gradient or finding.message).partition(" on rank ")[0]
        groups.setdefault((name, finding.cause, finding.explanation), []).append(finding)
    told = []
    for group in groups.values():
        first = group[0]
        ranks = [int(f.gradient.rpartition(" ")[2]) for f in group if f.gradient and " on rank " in f.gradient]
        if len(group) > 1 and len(ranks) == len(group):
            where = on_ranks([ranks[0]])
            first = replace(first, message=first.message.replace(where, on_ranks(ranks), 1))
        told.append(first)
    return told


def _told(examined: Examined, together: Together, seen: Seen) -> Examined:
    """The examination with what went wrong between the ranks in the place of what one tensor alone shows of it."""
    if not any(f.severity == "error" for f in examined.findings):
        return examined
    findings = []
    for finding in examined.findings:
        told = None
        if finding.severity == "error" and finding.gradient is not None:
            told = _explained_gradient(examined, together, seen, finding.gradient)
        elif finding.severity == "error" and finding.cause in having("forward"):
            told = _explained_output(examined, together, seen)
        if told is not None:
            finding = replace(finding, cause=told.cause, explanation=told.sentence, suggestion=told.suggestion, kept=())
        findings.append(_of_parts(finding, examined, together))
    return replace(examined, findings=tuple(findings))


def _explained_gradient(examined: Examined, together: Together, seen: Seen, name: str) -> Explanation | None:
    index = examined.subject.names.index(name) if name in examined.subject.names else -1
    truth, precision = _truth_of(examined, index) if index >= 0 else (None, 0.0)
    if truth is None or any(len(each) <= index or each[index] is None for each in seen.gradients):
        return None
    parts = tuple(part for each in seen.gradients if (part := each[index]) is not None)
    dtype = examined.case.inputs[index].dtype

    def own(rank: int) -> torch.Tensor | None:
        return _of_one_upstream(examined, together, index, rank)

    return explained(Held(parts, together.layout.inputs[index], truth, dtype, precision, own))


def _truth_of(examined: Examined, index: int) -> tuple[torch.Tensor | None, float]:
    """The true gradient of an input, and what an element of it may be off by."""
    truth = examined.truth
    if isinstance(truth, AutogradTruth):
        return truth.float64_pass.gradients.get(Key("input", index)), 0.0
    small = examined.case.inputs[index].numel() <= ELEMENTS_ONE_BY_ONE_WHERE_WRONG.value
    if isinstance(truth, NumericTruth) and small:
        estimate = truth.oracle.gradient(index)
        if estimate.value is not None and not bool(estimate.value.isnan().any()):
            return estimate.value, estimate.error
    return None, 0.0


def _of_one_upstream(examined: Examined, together: Together, index: int, rank: int) -> torch.Tensor | None:
    """The true gradient where the other ranks are given an upstream gradient of zero; None where that makes no sense."""
    layout, case = together.layout, examined.case
    if not isinstance(examined.truth, AutogradTruth) or case.grad_outputs is None:
        return None
    alone = []
    for k, value in enumerate(case.grad_outputs):
        placement = layout.output(k)
        if not isinstance(placement, Shard) and placement != Replicate("partial"):
            return None
        parts = upstream_on(value, placement, layout.ranks, layout.seed - 1 - k)
        kept = [part if r == rank else torch.zeros_like(part) for r, part in enumerate(parts)]
        alone.append(whole_of(kept, placement, 0) if isinstance(placement, Shard) else sum_of(kept))
    oracle = AutogradOracle(examined.oracle.runner, replace(case, grad_outputs=tuple(alone)))
    return oracle.truth().gradients.get(Key("input", index))


def _explained_output(examined: Examined, together: Together, seen: Seen) -> Explanation | None:
    truth = examined.oracle.truth()
    for k, parts in enumerate(zip(*seen.outputs, strict=True)):
        wide = truth.outputs[k].detach() if k < len(truth.outputs) else None
        if not isinstance(wide, torch.Tensor) or not is_differentiable(parts[0]):
            continue
        whole = whole_of(parts, together.layout.output(k), 0)
        if whole.shape == wide.shape and not judge(whole, wide.to(_wide(wide)), whole.dtype).passed:
            placement = together.layout.output(k)
            return explained(Held(tuple(parts), Replicate() if isinstance(placement, Replicate) else placement, wide, whole.dtype))
    return None


def _of_parts(finding: Finding, examined: Examined, together: Together) -> Finding:
    """The finding on a sharded input with the ranks whose part is wrong, where not all are."""
    index = examined.subject.names.index(finding.gradient) if finding.gradient in examined.subject.names else -1
    if index < 0 or not isinstance(placement := together.layout.inputs[index], Shard) or finding.measured is None:
        return finding
    truth, _ = _truth_of(examined, index)
    actual = examined.returned[index]
    if truth is None or actual is None or actual.shape != truth.shape:
        return finding
    used = used_of_each(actual, truth, actual.dtype)
    wrong = [r for r, part in enumerate(used.tensor_split(together.layout.ranks, placement.dim)) if bool((part > 1).any())]
    return replace(finding, message=f"{finding.message}, {on_ranks(wrong)}") if wrong else finding
