"""Choose the oracle: autograd on the reference or the subject's own forward, or a numeric oracle where autograd cannot run."""

from __future__ import annotations

import torch

from gradcheck_lab.comparison.forwards import forward_mismatch
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.examination.examined import AutogradTruth, Examined, NoTruth, NumericTruth
from gradcheck_lab.examination.manual import result_or_finding
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.precision.derived_calls import GROSS_ON_DERIVED_CALLS
from gradcheck_lab.model.user_errors import class_and_line, first_line
from gradcheck_lab.oracles.autograd.replayed_draws import replayed
from gradcheck_lab.oracles.numeric.finite_difference import METHOD
from gradcheck_lab.oracles.numeric.oracle import NumericOracle
from gradcheck_lab.subjects.untraceable import NothingHandWritten, Untraceable


def autograd_truth(examined: Examined) -> AutogradTruth | NoTruth | Finding:
    """Return autograd as the oracle of a case that ran, or why it cannot be.

    Returns a finding where a reference raises or its outputs are not those of the forward. Raises `InvalidArgument` for a
    reference that does not depend on the inputs, and what says that the memory of the inputs' device ran out.
    """
    if examined.policy.has_reference:
        return _reference(examined)
    subject, oracle = examined.subject, examined.oracle
    if subject.trace is None:
        return NoTruth("there is no forward in torch to follow")
    try:
        first = oracle.truth()
    except (InvalidArgument, torch.OutOfMemoryError):
        raise
    except Exception as error:
        why = first_line(error) if isinstance(error, Untraceable) else class_and_line(error)
        return NoTruth(why, plain=isinstance(error, NothingHandWritten))
    if not first.tracked:
        return NoTruth(f"no output of {subject.name} depends on an input through torch functions")
    return AutogradTruth(oracle, first, f"{subject.oracle} in float64")


def _reference(examined: Examined) -> AutogradTruth | Finding:
    subject, oracle, run = examined.subject, examined.oracle, examined.run
    assert run is not None
    first = result_or_finding(oracle.truth, "oracle", "pass a reference that takes the same inputs")
    if isinstance(first, Finding):
        return first
    if not first.tracked:
        raise InvalidArgument(
            f"the reference of {subject.name} does not depend on any input through torch functions; "
            "pass the same function written in torch"
        )
    margin = GROSS_ON_DERIVED_CALLS.value if examined.policy.derived else 1.0
    problem = forward_mismatch(run.outputs, first, oracle, margin)
    return problem or AutogradTruth(oracle, first, f"{subject.oracle} in float64")


def numeric_truth(examined: Examined, why: str) -> NumericTruth | str:
    """Return the numeric oracle for a case, or the reason why there is none; `why` says why autograd is not the oracle."""
    name, runner = examined.subject.name, examined.oracle.runner
    runner.begin(examined.case.seed)
    try:
        oracle = NumericOracle(runner, examined.case)
        if oracle.problem.draws:  # also where the forward puts the generators back: a number that was drawn is a constant
            oracle = NumericOracle(replayed(runner, examined.case), examined.case)
        # which method is best takes a sweep to see; a derived call asks only where a difference contradicts it
        method = METHOD if examined.policy.derived else oracle.method
    except Exception as error:
        return (
            f"there is no oracle for {name}: autograd cannot follow it ({why}), and evaluating it raised "
            f"{class_and_line(error)}; pass reference=, the same function in torch"
        )
    return NumericTruth(oracle, f"{method} (autograd cannot follow {name}: {why})", why)
