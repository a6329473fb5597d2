"""Kernels that Triton interprets are edited like any function that a backward calls."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton", reason="needs triton: pip install 'gradcheck_lab[triton]'")

import triton
import triton.language as tl

import gradcheck_lab as gl
from gradcheck_lab.edits.edits_of import edits_of

X = torch.linspace(-1.0, 2.0, 6)


@triton.jit
def times_cosine(x_ptr, grad_ptr, dx_ptr, count, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < count
    x, grad = tl.load(x_ptr + offsets, mask=inside), tl.load(grad_ptr + offsets, mask=inside)
    tl.store(dx_ptr + offsets, grad * tl.cos(x), mask=inside)


@triton.jit
def times_sine(x_ptr, grad_ptr, dx_ptr, count, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < count
    x, grad = tl.load(x_ptr + offsets, mask=inside), tl.load(grad_ptr + offsets, mask=inside)
    tl.store(dx_ptr + offsets, grad - tl.sin(x), mask=inside)


class Sine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.sin(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        dx, x, grad = torch.empty_like(x, memory_format=torch.contiguous_format), x.contiguous(), grad.contiguous()
        times_cosine[(triton.cdiv(x.numel(), 4),)](x, grad, dx, x.numel(), BLOCK=4)
        return dx


class Shifted(torch.autograd.Function):
    """Its kernel forgets the upstream gradient in one of two terms."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x + torch.cos(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        dx, x, grad = torch.empty_like(x, memory_format=torch.contiguous_format), x.contiguous(), grad.contiguous()
        times_sine[(triton.cdiv(x.numel(), 4),)](x, grad, dx, x.numel(), BLOCK=4)
        return dx


def test_mutants_of_a_kernel_are_noticed_and_leave_nothing_behind() -> None:
    kinds = {"drop-factor", "other-comparison"}
    edits = [edit for edit in edits_of(Sine) if edit.function == "times_cosine"]
    assert {"drop-factor", "other-comparison"} <= {edit.kind for edit in edits}
    report = gl.mutate(Sine, X, kinds=kinds)
    told = {(mutant.kind, mutant.after): mutant.check for mutant in report.mutants if mutant.function == "times_cosine"}
    assert told["drop-factor", "tl.store(dx_ptr + offsets, grad, mask=inside)"] == "noticed"
    assert told["drop-factor", "tl.store(dx_ptr + offsets, tl.cos(x), mask=inside)"] == "noticed"
    assert gl.check(Sine, X, probes=()).verdict == "pass"


@pytest.mark.thorough
def test_a_mistake_in_a_kernel_is_mended() -> None:
    assert gl.check(Shifted, X, probes=()).verdict == "fail"
    found = gl.suggest(Shifted, X, seconds=120.0, most=1)
    assert found[0].after == "tl.store(dx_ptr + offsets, grad - tl.sin(x) * grad, mask=inside)"
