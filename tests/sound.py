"""What tests of sound ops share: any call that an op's specs allow has to pass, in every dtype."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from hypothesis import given, settings

import gradcheck_lab as gl
from gradcheck_lab.calls.case import Case
from gradcheck_lab.calls.drawing import ordinary_call
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.rules.op import Op, as_tuple
from gradcheck_lab.strategies import calls

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def assert_passes_over_calls(op: Op, max_examples: int, dtypes: Sequence[torch.dtype] = DTYPES) -> None:
    """Compare the gradients of `max_examples` drawn calls, each in all of `dtypes`; all have to pass, without a warning."""

    @settings(max_examples=max_examples)
    @given(calls(op, max_size=4))
    def passes(case: Case) -> None:
        for dtype in dtypes:
            assert_passes(op, in_dtype(case, dtype))

    passes()


def assert_passes_every_probe(op: Op, seed: int = 0) -> None:
    """Run the whole check on an ordinary call of each signature; all have to pass, without a warning."""
    for signature in op.signatures:
        case = ordinary_call(op, signature, seed)
        report = gl.check(op, *case.inputs, options=case.options)
        assert report.verdict == "pass", report
        assert not [finding for finding in report.findings if finding.severity != "note"], report


def assert_passes(op: Op, case: Case) -> None:
    """Compare the gradients of one call."""
    report = gl.check(op, *case.inputs, options=case.options, probes=(), seed=case.seed)
    if report.verdict == "inconclusive":
        assert too_large_for_its_dtype(op, case), report
        return
    assert report.verdict == "pass", report
    assert {finding.cause for finding in report.findings} <= {"convention"}, report


def in_dtype(case: Case, dtype: torch.dtype) -> Case:
    """The call in another dtype, its strides kept; numbers whose products the dtype cannot hold are brought within bounds.

    No number becomes zero, which a divisor or the argument of a logarithm must not be.
    """
    return replace(case, inputs=tuple(_in_dtype(v, dtype) if v.is_floating_point() else v for v in case.inputs))


def _in_dtype(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    expanded = [stride == 0 and size > 1 for size, stride in zip(value.shape, value.stride(), strict=True)]
    if any(expanded):
        once = value[tuple(slice(0, 1) if each else slice(None) for each in expanded)]
        return _in_dtype(once, dtype).expand(value.shape)
    smallest, largest = torch.finfo(dtype).tiny ** 0.5, torch.finfo(dtype).max ** 0.25
    bounded = torch.where(value == 0, value, value.sign() * value.abs().clamp(smallest, largest))
    return torch.empty_strided(value.shape, value.stride(), dtype=dtype).copy_(bounded)


def too_large_for_its_dtype(op: Op, case: Case) -> bool:
    """Whether no element of some true gradient can be written in the dtype of the call: there is nothing to compare."""
    limit = torch.finfo(case.inputs[0].dtype).max
    wide = [v.detach().double().requires_grad_() if v.is_floating_point() else v for v in case.inputs]
    outputs, generator = as_tuple(op.forward(*wide, **case.options)), torch.Generator().manual_seed(case.seed)
    grad_outputs = [random_like(output, generator) for output in outputs]
    grads = torch.autograd.grad(outputs, [v for v in wide if v.requires_grad], grad_outputs)
    return any(grad.numel() and bool((grad.abs() > limit).all()) for grad in grads)
