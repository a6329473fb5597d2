"""Examine one case: run the hand-written side, choose an oracle, and compare every gradient with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, copy_inputs, is_differentiable
from gradcheck_lab.comparison.compared import Comparison
from gradcheck_lab.comparison.engine import deliverable, with_engine
from gradcheck_lab.comparison.entries import compare_returned, outputs_by_name
from gradcheck_lab.comparison.further_draws import FurtherDraws
from gradcheck_lab.comparison.isolated_rule import detached, run_rule
from gradcheck_lab.comparison.native import compare_native
from gradcheck_lab.comparison.numeric_look import Looked, look
from gradcheck_lab.comparison.numerically import compare_numerically
from gradcheck_lab.comparison.ops_alone import errors_of_ops
from gradcheck_lab.comparison.own_noise import OwnNoise
from gradcheck_lab.comparison.program import compare_program
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.examination.defaults import with_defaults_named
from gradcheck_lab.examination.examined import AutogradTruth, Examined, NoTruth, NumericTruth, Policy
from gradcheck_lab.examination.graph_steps import with_steps
from gradcheck_lab.examination.guarding import disconnected, guard_autograd
from gradcheck_lab.examination.in_pieces import passed_in_pieces
from gradcheck_lab.examination.manual import run_manual
from gradcheck_lab.examination.oracle_choice import autograd_truth, numeric_truth
from gradcheck_lab.examination.placing import judged_to_spare_the_device, judged_where_memory_allows
from gradcheck_lab.examination.repeated_indices import with_repeats_named
from gradcheck_lab.model.causes import having
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import FORWARDS_OF_LOOKS
from gradcheck_lab.model.precision import is_narrow, is_wide
from gradcheck_lab.model.precision.derived_calls import GROSS_ON_DERIVED_CALLS
from gradcheck_lab.model.raised import raises_again
from gradcheck_lab.oracles.autograd.leaves_autograd import conventions_met
from gradcheck_lab.oracles.autograd.passes import AutogradOracle, Pass
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Call


def examine(runner: Runner, case: Case, policy: Policy) -> Examined:
    """Run the hand-written side of a case, choose its oracle and compare every gradient.

    Where the user's code raises, the result has a finding and no run. Raises `InvalidArgument` for outputs that are no tensors,
    grad_outputs that do not fit, and references that do not.
    """
    examined = _examined(runner, case, policy)
    examined = with_defaults_named(examined, partial(_examined, runner, case, policy))
    return with_steps(with_repeats_named(examined, lambda runner: _examined(runner, case, policy)))


def _examined(runner: Runner, case: Case, policy: Policy) -> Examined:
    examined = run_manual(runner, case, policy)
    if examined.run is None:
        return examined
    in_pieces = partial(passed_in_pieces, compare=_compare_with_autograd, examine=partial(examine, runner, policy=policy))
    found = judged_to_spare_the_device(examined, lambda moved: in_pieces(moved) or _judged(moved))
    if found is None:
        found = in_pieces(examined)
    return judged_where_memory_allows(examined, _judged) if found is None else found


def _judged(examined: Examined) -> Examined:
    """The comparison of a call that ran with the truth of the oracle that is chosen for it."""
    policy = examined.policy
    truth = NoTruth() if policy.by_numbers else autograd_truth(examined)
    if isinstance(truth, Finding):
        return replace(examined, run=None).with_findings(truth)
    if isinstance(truth, AutogradTruth):
        compared = _compare_with_autograd(replace(examined, truth=truth), truth)
        result = guard_autograd(compared) if _wants_guard(compared) else compared
        if isinstance(result, Examined):
            return result
        truth = result  # autograd is not to be trusted on this forward: the numeric oracle decides
        examined = examined.with_findings(*([truth.note] if truth.note is not None else []))
    return _compare_with_numeric_oracle(replace(examined, truth=truth), truth)


def _wants_guard(examined: Examined) -> bool:
    """Whether autograd is checked by a numeric derivative: in a thorough examination, or where something failed."""
    policy = examined.policy
    if policy.has_reference or policy.derived:
        return False
    return policy.thorough or any(c.result.verdict == "fail" for c in examined.comparisons)


def _compare_with_numeric_oracle(examined: Examined, truth: NoTruth) -> Examined:
    subject = examined.subject
    if (subject.is_program or subject.written_in_torch) and all(gradient is None for gradient in examined.returned):
        finding = None if examined.policy.derived else disconnected(examined)
        return examined if finding is None else examined.with_findings(finding)
    chosen = numeric_truth(examined, truth.why) if not (truth.plain and examined.policy.derived) else truth.why
    if examined.policy.derived:
        return _look_numerically(examined, chosen) if isinstance(chosen, NumericTruth) else examined
    if not isinstance(chosen, NumericTruth):
        again = _raises_again(examined)
        return examined.inconclusive_because(chosen) if again is None else examined.with_findings(again)
    entries = {i: g for i, g in enumerate(examined.returned) if examined.is_compared(i)}
    if truth.plain:
        compared = compare_native(examined.case, examined.returned, entries, chosen.oracle)
    else:
        noise = OwnNoise(examined.runner, examined.case, entries).samples
        draws = _draws(examined, examined.case)
        compare = partial(compare_numerically, subject, examined.case.inputs, oracle=chosen.oracle, noise=noise, draws=draws)
        compared = _with_delivered(examined, compare(entries), compare)
    by_numbers = replace(examined, truth=replace(chosen, plain=truth.plain)).with_comparisons(compared)
    if truth.plain and not by_numbers.passed and (met := conventions_met(examined.runner, examined.case)):
        why = f"nothing in {subject.name} is hand-written, and {' and '.join(met)}, as torch documents"
        return examined.inconclusive_because(why)
    return by_numbers if by_numbers.passed else _with_ops_alone(by_numbers)


def _look_numerically(examined: Examined, chosen: NumericTruth) -> Examined:
    """Hold the gradients of a derived call against numbers, by element only where a direction leaves a doubt."""
    subject, oracle, counts = examined.subject, chosen.oracle, examined.runner.evaluations
    before, dear = counts.forward, counts.looking > FORWARDS_OF_LOOKS.value
    entries = {i: g for i, g in enumerate(examined.returned) if examined.is_compared(i)}
    closely = examined.policy.closely and not dear
    looked = Looked([], list(entries)) if closely else look(subject, examined.case.inputs, entries, oracle, once=dear)
    if dear and looked.by_element:
        return examined
    again = {i: entries[i] for i in looked.by_element}
    noise = OwnNoise(examined.runner, examined.case, again).samples
    compare = partial(compare_numerically, subject, examined.case.inputs, oracle=oracle, noise=noise, margin=_margin(examined))
    compared = _with_delivered(examined, [*looked.comparisons, *compare(again)], compare)
    counts.looking += counts.forward - before
    return replace(examined, truth=chosen).with_comparisons(compared)


def _with_delivered(
    examined: Examined, compared: list[Comparison], compare: Callable[[Mapping[int, Any]], list[Comparison]]
) -> list[Comparison]:
    """Put what torch's engine delivers beside raw entries of another shape or dtype than their inputs: it sums and casts."""
    run = examined.run
    if run is None or run.delivered is None or not deliverable(run.delivered):
        return compared
    wrong = {c.result.name for c in compared if having("shape") & {f.cause for f in c.findings if f.severity == "error"}}
    changed = {i: g for i, g in enumerate(run.delivered) if examined.is_compared(i) and examined.subject.names[i] in wrong}
    return with_engine(compared, compare(changed)) if changed else compared


def _with_ops_alone(examined: Examined) -> Examined:
    """The same with the errors of a program's ops by themselves first, which say where the program's gradients go wrong."""
    run = examined.run
    found = [] if run is None or not run.calls else errors_of_ops(examined.runner, run.calls, examined.case.seed)
    return replace(examined, findings=(*found, *examined.findings))


def _raises_again(examined: Examined) -> Finding | None:
    """The finding that the forward raises when the same call is made again; None where it does not."""
    case = examined.case
    try:
        examined.runner.record(copy_inputs(case.inputs), case)
    except InvalidArgument:
        return None
    except Exception as error:
        return raises_again(error, "forward", "comparison", "the same call again")
    return None


def _compare_with_autograd(examined: Examined, truth: AutogradTruth) -> Examined:
    run = examined.run
    assert run is not None
    if examined.subject.is_program and examined.policy.has_reference:
        return _compare_program_with_reference(examined, truth)
    if examined.subject.is_program:
        return _compare_program(examined, truth.oracle)
    return _compare_inputs(examined, truth.oracle, truth.float64_pass)


def _compare_program(examined: Examined, oracle: AutogradOracle) -> Examined:
    run = examined.run
    assert run is not None
    compared = compare_program(
        examined.runner, examined.case, run.calls, run.returned, run.intermediates, oracle, _margin(examined)
    )
    found = replace(examined, comparisons=compared.comparisons, alone=compared.alone).with_findings(*compared.findings)
    return replace(found, reasons=(*found.reasons, *compared.reasons))


def _compare_program_with_reference(examined: Examined, truth: AutogradTruth) -> Examined:
    """Compare a program's inputs with the reference, which decides, and its ops by themselves, to say which one is wrong."""
    by_reference = _compare_inputs(examined, truth.oracle, truth.float64_pass)
    if by_reference.passed and examined.policy.derived:
        return by_reference
    runner = examined.oracle.runner
    own = AutogradOracle(replace(runner, subject=replace(runner.subject, trace=runner.subject.own_trace)), examined.case)
    try:
        own.truth()
    except Exception:  # its forward runs on Variables only
        return _with_ops_alone(by_reference)
    by_ops = _compare_program(examined, own)
    if len(by_ops.reasons) > len(examined.reasons):  # its forward calls other ops when it runs on tensors
        return _with_ops_alone(by_reference)
    if by_reference.passed == by_ops.passed and not (by_reference.passed and by_ops.findings):
        failed = {c.result.name for c in by_ops.comparisons if c.result.verdict == "fail"}
        others = [c for c in by_reference.comparisons if c.result.verdict == "fail" and c.result.name not in failed]
        names = {c.result.name for c in others}
        kept = tuple(c for c in by_ops.comparisons if c.result.name not in names)
        return replace(by_ops, comparisons=kept).with_comparisons(others)
    return _beside_the_reference(by_reference, by_ops) if by_reference.passed else by_reference


def _beside_the_reference(by_reference: Examined, by_ops: Examined) -> Examined:
    """A program that is right by its reference, with the ops that are no derivatives of their forwards as warnings.

    The reference may state what they are meant to do; two mistakes may as well cancel.
    """
    errors = [f for f in by_ops.findings if f.severity == "error" and f.op is not None]
    why = "the gradients of the inputs are those of the reference all the same"
    warnings = [replace(f, severity="warning", explanation=f"{f.explanation}; {why}") for f in errors]
    return by_reference.with_findings(*warnings)


def _compare_inputs(examined: Examined, oracle: AutogradOracle, truth: Pass) -> Examined:
    subject, run, outputs, margin = examined.subject, examined.run, outputs_by_name(truth), _margin(examined)
    assert run is not None
    noise = OwnNoise(examined.runner, examined.case, dict(enumerate(run.returned)))
    draws = _draws(examined, examined.case)
    compared = compare_returned(subject, run.returned, oracle, truth, outputs, margin=margin, noise=noise, draws=draws)
    if run.delivered is not None and deliverable(run.delivered):
        delivered = compare_returned(
            subject, run.delivered, oracle, truth, outputs, margin=margin, noise=noise, draws=draws, delivered=True
        )  # fmt: skip
        compared = with_engine(compared, delivered, _in_the_dtype_of_outputs(examined))
    found = examined.with_comparisons(compared)
    if run.refusal is not None and not any(finding.severity == "error" for finding in found.findings):
        found = found.with_findings(run.refusal)
    if any(not is_wide(v.dtype) for v in examined.case.inputs if is_differentiable(v)):
        return _compare_in_float64(found, truth, {finding.gradient for c in compared for finding in c.findings})
    return found


def _in_the_dtype_of_outputs(examined: Examined) -> frozenset[str]:
    """The inputs whose gradient came back in the one dtype that all outputs have, with all digits of an upstream gradient."""
    run = examined.run
    assert run is not None
    found = {i for i, g in enumerate(run.returned) if isinstance(g, torch.Tensor) and run.upstream_dtypes == {g.dtype}}
    return frozenset(examined.subject.names[i] for i in found)


def _compare_in_float64(examined: Examined, truth: Pass, known: set[str | None]) -> Examined:
    """Run the rule again on the oracle's float64 values, and add errors that rounding hid in the narrower dtype."""
    compared = _in_float64(examined, truth)
    findings = [finding for c in compared for finding in c.findings if finding.severity == "error"]
    has_16_bits = any(is_narrow(v.dtype) for v in examined.case.inputs if is_differentiable(v))
    # a rule for 16-bit inputs may compute in float32
    expected_causes = having("dtype") if has_16_bits else {"wrong-dtype"}
    new = [finding for finding in findings if finding.gradient not in known and finding.cause not in expected_causes]
    wrong = {finding.gradient for finding in new}
    comparisons = [
        replace(c, result=replace(c.result, verdict="fail")) if c.result.name in wrong else c for c in examined.comparisons
    ]
    labelled = [replace(f, message=f"{f.message}, in float64", case="in float64") for f in new]
    return replace(examined, comparisons=tuple(comparisons)).with_findings(*labelled)


def _in_float64(examined: Examined, truth: Pass) -> list[Comparison]:
    op, run = examined.subject.op, examined.run
    if op is None or run is None:
        return []
    case = replace(examined.case, inputs=detached(truth.inputs), grad_outputs=truth.upstream)
    oracle = AutogradOracle(examined.oracle.runner, case, truth=truth)
    call = Call(op, case.inputs, case.options, detached(truth.outputs), run.several)
    try:
        examined.runner.begin(case.seed, backward=1)
        returned = run_rule(call, case.grad_outputs or ())
    except Exception:  # the rule's kernels take narrow dtypes only
        return []
    if len(as_tuple(returned)) != len(case.inputs):
        return []
    noise = OwnNoise(examined.runner, case, dict(enumerate(as_tuple(returned))))
    return compare_returned(
        examined.subject,
        returned,
        oracle,
        truth,
        outputs_by_name(truth),
        margin=_margin(examined),
        noise=noise,
        draws=_draws(examined, case),
    )


def _margin(examined: Examined) -> float:
    """How many times its budget an error has to be to count: more on derived calls, where only gross errors do."""
    return GROSS_ON_DERIVED_CALLS.value if examined.policy.derived else 1.0


def _draws(examined: Examined, case: Case) -> FurtherDraws | None:
    """The draws on which an explanation has to hold too; None for derived calls, where it is a finding's least part."""
    return None if examined.policy.derived else FurtherDraws(examined.runner, case)
