"""A reduced axis may have any length: a square call implies it, and a mistake that its equal sizes hide is found."""

from typing import Any

import pytest
import torch

import gradcheck_lab as gl


def mean(axis: int, counted: int) -> Any:
    """x.mean(axis, keepdim=True), whose backward divides by the length of the axis `counted`."""

    class Mean(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.shape = x.shape
            return x.mean(axis, keepdim=True)

        @staticmethod
        def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
            return g.expand(ctx.shape) / ctx.shape[counted]

    return Mean


@pytest.mark.parametrize("size", [4, 5, 6])
@pytest.mark.parametrize("axis", [0, 1])
def test_length_of_another_axis_is_found_from_a_square_call(axis: int, size: int) -> None:
    x = torch.randn(size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    report = gl.check(mean(axis, 1 - axis), x)
    assert report.verdict == "fail"
    assert "size-specialised" in {finding.cause for finding in report.findings}, report
    assert gl.check(mean(axis, axis), x).verdict == "pass"
