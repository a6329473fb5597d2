"""Upstream gradients have few digits, which every dtype holds; a backward that rounds them is seen where they have all."""

from __future__ import annotations

import pytest
import torch

import gradcheck_lab as gl


def rounding_upstream(to: torch.dtype) -> type[torch.autograd.Function]:
    class Sine(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g.to(to).to(g.dtype) * x.cos()

    return Sine


def call(dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(4, 5, generator=torch.Generator().manual_seed(1)).to(dtype)


LOST = [
    (torch.float64, torch.float32), (torch.float64, torch.bfloat16), (torch.float32, torch.bfloat16),
    (torch.float32, torch.float16),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "to"), LOST, ids=str)
def test_a_narrower_grad_output_is_low_precision(dtype: torch.dtype, to: torch.dtype) -> None:
    report = gl.check(rounding_upstream(to), call(dtype), reference=torch.sin, probes=["upstream"])
    errors = [finding for finding in report.findings if finding.severity == "error"]
    assert [(finding.cause, finding.case) for finding in errors] == [("low-precision", "grad_output with all digits")]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_a_wider_grad_output_loses_nothing(dtype: torch.dtype) -> None:
    report = gl.check(rounding_upstream(torch.float64), call(dtype), reference=torch.sin, probes=["upstream"])
    assert report.verdict == "pass", report.message
