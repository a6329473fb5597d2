"""Other values of an option, with which a forward goes a way that autograd cannot follow."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

import gradcheck_lab as gl


class Share(Function):
    """y with y (1 + t) = x: by a formula for a large t, else by bisection, of which autograd sees constants."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, t: float) -> Tensor:
        ctx.t = t
        if t > 1:
            return x / (1 + t)
        low, high = x * 0 - 64, x * 0 + 64
        for _ in range(50):
            middle = (low + high) / 2
            above = middle * (1 + t) > x
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        return (low + high) / 2

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        return grad_output / (1 + ctx.t), None


class ShareOfOneSize(Share):
    """The option is left out of the backward, which is that of t = 1.2."""

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        return grad_output / 2.2, None


@pytest.mark.thorough
def test_numbers_decide_where_another_option_leaves_autograd() -> None:
    x = torch.randn(2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    report = gl.check(Share, x, 1.2, probes=["options"])
    assert report.verdict == "pass", report
    wrong = gl.check(ShareOfOneSize, x, 1.2, probes=["options"])
    assert [f.cause for f in wrong.findings if f.severity == "error"] == ["option-specialised"], wrong


class Scaled(Function):
    """x times a table that needs no gradient, and an option that nothing depends on; out of autograd's sight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, table: Tensor, unused: int = 1) -> Tensor:
        ctx.save_for_backward(table)
        return (x.detach() * table.detach()).clone()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        (table,) = ctx.saved_tensors
        return grad_output * table, None, None


class ScaledTwice(Scaled):
    """The option is left out of the backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, table: Tensor, unused: int = 1) -> Tensor:
        return unused * Scaled.forward(ctx, x, table)


@pytest.mark.parametrize(("function", "gradients"), [(Scaled, []), (ScaledTwice, ["x"])])
def test_an_input_that_needs_no_gradient_needs_none_with_other_options(function: Any, gradients: list[str]) -> None:
    x, table = torch.tensor([[0.5, -1.5, 2.0]]), torch.tensor([[1.5, 0.25, -0.75]])
    report = gl.check(function, x, table, wrt=["x"], probes={"options"})
    assert [finding.gradient for finding in report.findings if finding.severity == "error"] == gradients, report
