"""What tests of sound ops share: any call that an op's specs allow has to pass, in every dtype."""

from dataclasses import replace

import torch
from hypothesis import given
from hypothesis import strategies as st

import gradcheck_lab as gl
from gradcheck_lab.calls.case import Case
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.rules.op import Op, as_tuple
from gradcheck_lab.strategies import calls
from tests.lanes import examples

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def assert_passes_over_calls(op: Op, count: int, many: int) -> None:
    """Compare the gradients of `count` drawn calls, each in a drawn dtype; all have to pass, without a warning."""

    @examples(count, many)
    @given(case=calls(op, max_size=4), dtype=st.sampled_from(DTYPES))
    def passes(case: Case, dtype: torch.dtype) -> None:
        assert_passes(op, in_dtype(case, dtype))

    passes()


def assert_fits(op: Op, case: Case) -> None:
    """A drawn call has to be one that the op takes: one floating dtype, finite numbers, no larger than asked for."""
    op.validate(case.inputs, dict(case.options))
    floating = [value for value in case.inputs if value.is_floating_point()]
    assert len({value.dtype for value in floating}) == 1
    assert all(bool(torch.isfinite(value).all()) for value in floating)
    times = max(dim.times for signature in op.signatures for spec in signature for dim in spec.dims)
    assert all(max(value.shape, default=0) <= 5 * times for value in case.inputs)


def assert_passes_every_probe(op: Op, case: Case) -> None:
    """Run the whole check on a call; it has to pass, without a warning."""
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
    wide = value.double()
    bounded = torch.where(wide == 0, wide, wide.sign() * wide.abs().clamp(smallest, largest))
    return torch.empty_strided(value.shape, value.stride(), dtype=dtype).copy_(bounded)


def too_large_for_its_dtype(op: Op, case: Case) -> bool:
    """Whether no element of some true gradient is a number that the dtype of the call can hold: there is nothing to compare."""
    limit = torch.finfo(case.inputs[0].dtype).max
    wide = [v.detach().double().requires_grad_() if v.is_floating_point() else v for v in case.inputs]
    outputs, generator = as_tuple(op.forward(*wide, **case.options)), torch.Generator().manual_seed(case.seed)
    grad_outputs = [random_like(output, generator) for output in outputs]
    grads = torch.autograd.grad(outputs, [v for v in wide if v.requires_grad], grad_outputs)
    return any(grad.numel() and not bool((grad.abs() <= limit).any()) for grad in grads)
