"""A forward that computes in float32 inside, of which numbers see small elements of its inputs only by long steps."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import Function

import gradcheck_lab as gl


class Norm(Function):
    """Rows of mean 0 and variance 1, times a weight and shifted, in NumPy and float32."""

    factor = 1.0

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        rows = x.detach().float().numpy()
        normalised = (rows - rows.mean(-1, keepdims=True)) / np.sqrt(rows.var(-1, keepdims=True) + np.float32(1e-5))
        ctx.normalised = torch.from_numpy(normalised)
        return torch.from_numpy(normalised * weight.detach().float().numpy() + bias.detach().float().numpy()).to(x.dtype)

    @classmethod
    def backward(cls, ctx: Any, grad_output: Tensor) -> tuple[None, Tensor, None]:  # type: ignore[override]
        return None, (cls.factor * grad_output * ctx.normalised).sum(0), None


class OffByThousandths(Norm):
    factor = 1.001


@pytest.mark.parametrize(("function", "verdict"), [(Norm, "pass"), (OffByThousandths, "fail")])
def test_a_small_weight_of_a_norm_in_float32_is_judged(function: Any, verdict: str) -> None:
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    weight = torch.tensor([0.6614, 0.2669, 0.0617, 0.6213, -0.4519])
    bias = torch.tensor([0.3923, -0.2236, -0.3195, -1.2050, 1.0445])
    report = gl.check(function, x, weight, bias, wrt=["weight"], probes=())
    assert report.verdict == verdict, report


class Distance(Function):
    """The mean of half the distances, a scalar of float32 whatever the inputs are."""

    factor = 1.0

    @classmethod
    def forward(cls, ctx: Any, p: Tensor, q: Tensor) -> Tensor:
        ctx.signs = (p - q).sign().detach() / 2 / p.numel()
        return torch.from_numpy(np.abs(p.detach().numpy() - q.detach().numpy()) / 2).mean().float()

    @classmethod
    def backward(cls, ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return (cls.factor * grad_output * ctx.signs).to(ctx.signs.dtype), None


class OffByHundredths(Distance):
    factor = 1.01


@pytest.mark.parametrize(("function", "verdict"), [(Distance, "pass"), (OffByHundredths, "fail")])
def test_an_output_in_float32_is_rounded_whatever_close_points_show(function: Any, verdict: str) -> None:
    p, q = (torch.randn(3, 5, generator=torch.Generator().manual_seed(seed)).softmax(-1) for seed in (0, 1))
    report = gl.check(function, p, q, wrt=["p"], probes=())
    assert report.verdict == verdict, report


class WithStatistic(Function):
    """x sinh(x) in NumPy, and beside it a mean that nothing is sent back of, in another dtype."""

    error = 0.0
    dtype: Any = np.float32

    @classmethod
    def forward(cls, ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        values = x.detach().numpy().astype(np.float64)  # complex numbers do not go through
        ctx.save_for_backward(x)
        mean = torch.from_numpy(values.mean(-1).astype(cls.dtype))
        ctx.mark_non_differentiable(mean)
        return torch.from_numpy(np.sinh(values) * values), mean

    @classmethod
    def backward(cls, ctx: Any, grad_output: Tensor, _: Any) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return grad_output * (x.cosh() * x + x.sinh() * (1 + cls.error))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("error", "verdict"), [(0.0, "pass"), (1e-5, "fail"), (1e-7, "fail")])
def test_a_narrow_output_that_nothing_is_sent_back_of_hides_no_error(error: float, verdict: str, dtype: Any) -> None:
    function = type("Statistic", (WithStatistic,), {"error": error, "dtype": dtype})
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert gl.check(function, x, probes=()).verdict == verdict
