"""What tests of sound ops share: any call that an op's specs allow has to pass."""

from collections.abc import Sequence

import torch
from hypothesis import assume, given, settings

import gradcheck_lab as gl
from gradcheck_lab.case import Case, random_like
from gradcheck_lab.op import Op
from gradcheck_lab.strategies import calls


def assert_passes_over_calls(op: Op, dtypes: Sequence[torch.dtype], max_examples: int) -> None:
    """Compare the gradients of `max_examples` drawn calls; each has to pass, without a warning."""

    @settings(max_examples=max_examples)
    @given(calls(op, dtypes=dtypes, max_size=4))
    def passes(case: Case) -> None:
        report = gl.check(op, *case.inputs, options=case.options, probes=(), seed=case.seed)
        if report.verdict == "inconclusive":
            assume(not too_large_for_its_dtype(op, case))
        assert report.verdict == "pass", report
        assert {finding.cause for finding in report.findings} <= {"convention"}, report

    passes()


def too_large_for_its_dtype(op: Op, case: Case) -> bool:
    """Whether no element of some true gradient can be written in the dtype of the call: there is nothing to compare."""
    limit = torch.finfo(case.inputs[0].dtype).max
    wide = [v.detach().double().requires_grad_() if v.is_floating_point() else v for v in case.inputs]
    output = op.forward(*wide, **case.options)
    grad_output = random_like(output, torch.Generator().manual_seed(case.seed))
    grads = torch.autograd.grad(output, [v for v in wide if v.requires_grad], grad_output)
    return any(grad.numel() and bool((grad.abs() > limit).all()) for grad in grads)
