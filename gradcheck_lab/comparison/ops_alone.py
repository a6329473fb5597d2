"""The ops that a program called, each by itself, where the program's own forward does not run under autograd as it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.comparison.entries import compare_returned, outputs_by_name
from gradcheck_lab.comparison.further_draws import FurtherDraws
from gradcheck_lab.comparison.isolated_rule import call_label, detached, run_rule
from gradcheck_lab.comparison.program import placed
from gradcheck_lab.model.causes import CAUSES, having
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.oracles.autograd.passes import AutogradOracle
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.op import adapt_op
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Call


def errors_of_ops(runner: Runner, calls: Sequence[Call], seed: int) -> list[Finding]:
    """What is wrong with the rule of each op call on the values that it had, for random upstream gradients."""
    generator = torch.Generator().manual_seed(seed)
    found: list[Finding] = []
    for call in reversed(calls):
        try:
            found += [placed(finding) for finding in _errors_of(runner, call, seed, generator)]
        except Exception:  # what it does in the program is compared there
            continue
    return found


def _errors_of(runner: Runner, call: Call, seed: int, generator: torch.Generator) -> list[Finding]:
    inputs, outputs = detached(call.inputs), detached(call.outputs)
    subject = adapt_op(call.op, inputs, dict(call.options))
    assert subject is not None
    subject = replace(subject, allowed=runner.subject.allowed)
    upstream = tuple(random_like(o, generator) if is_differentiable(o) else torch.zeros_like(o) for o in outputs)
    case = Case(inputs, call.options, upstream, seed, "as given")
    oracle = AutogradOracle(replace(runner, subject=subject), case)
    runner.begin(seed, backward=1)
    returned = run_rule(replace(call, inputs=inputs, outputs=outputs), upstream)
    if len(as_tuple(returned)) != len(inputs):
        return []
    truth, draws = oracle.truth(), FurtherDraws(oracle.runner, case)
    compared = compare_returned(subject, returned, oracle, truth, outputs_by_name(truth), call_label(call), draws=draws)
    errors = [f for each in compared for f in each.findings if f.severity == "error"]
    if not any(f.cause in having("unexplained") for f in errors):
        return errors
    runner.count(backward=1)
    halves = run_rule(replace(call, inputs=inputs, outputs=outputs), tuple(g / 2 for g in upstream))
    pairs = zip(as_tuple(returned), as_tuple(halves), subject.names, strict=True)
    same = {name for a, b, name in pairs if isinstance(a, torch.Tensor) and bool(a.any()) and torch.equal(a, b)}
    return [_of_no_upstream(f) if f.gradient in same and f.cause in having("unexplained") else f for f in errors]


def _of_no_upstream(finding: Finding) -> Finding:
    row = CAUSES["upstream-ignored"]
    return replace(
        finding, cause=row.name, explanation="it is the same for half of grad_output", suggestion=row.fix
    )
