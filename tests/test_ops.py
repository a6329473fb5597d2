"""Every op: its gradients by the error budget over random calls in every dtype, its forward against torch's own."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.case import Case, random_like
from gradcheck_lab.op import Op
from gradcheck_lab.strategies import calls

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
MAIN = (ops.linear, ops.relu, ops.softmax_cross_entropy, ops.mse_loss)
OTHERS = tuple(op for family in ops.FAMILIES.values() for op in family if op not in MAIN)

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))


def assert_passes(op: Op, case: Case) -> None:
    report = gl.check(op, *case.inputs, options=case.options, probes=(), seed=case.seed)
    if report.verdict == "inconclusive":
        assume(not too_large_for_its_dtype(op, case))
    assert report.verdict == "pass", report
    assert not [finding for finding in report.findings if finding.severity != "note"], report


def too_large_for_its_dtype(op: Op, case: Case) -> bool:
    """Whether no element of some true gradient can be written in the dtype of the call: nothing to compare then."""
    limit = torch.finfo(case.inputs[0].dtype).max
    wide = [v.detach().double().requires_grad_() if v.is_floating_point() else v for v in case.inputs]
    output = op.forward(*wide, **case.options)
    grad_output = random_like(output, torch.Generator().manual_seed(case.seed))
    leaves = [v for v in wide if v.requires_grad]
    grads = torch.autograd.grad(output, leaves, grad_output)
    return any(grad.numel() and bool((grad.abs() > limit).all()) for grad in grads)


def assert_passes_over_calls(op: Op, dtype: torch.dtype, max_examples: int) -> None:
    @settings(max_examples=max_examples)
    @given(calls(op, dtypes=(dtype,), max_size=4))
    def passes(case: Case) -> None:
        assert_passes(op, case)

    passes()


@every_dtype
@pytest.mark.parametrize("op", MAIN, ids=lambda op: op.name)
def test_main_op_passes_over_a_thousand_calls(op: Op, dtype: torch.dtype) -> None:
    assert_passes_over_calls(op, dtype, max_examples=1000)


@every_dtype
@pytest.mark.parametrize("op", OTHERS, ids=lambda op: op.name)
def test_op_passes_over_random_calls(op: Op, dtype: torch.dtype) -> None:
    assert_passes_over_calls(op, dtype, max_examples=100)
