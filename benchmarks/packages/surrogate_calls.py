"""snntorch and brevitas: surrogate gradients and straight-through estimators, which are meant to differ from their forwards."""

import torch
from brevitas.ops.autograd_ste_ops import (
    AbsBinarySignGradFn,
    BinarySignSteFn,
    CeilSteFn,
    FloorSteFn,
    RoundSteFn,
    ScalarClampMinSteFn,
    ScalarClampSteFn,
    TensorClampSteFn,
    TernarySignSteFn,
)
from snntorch.surrogate import ATan, FastSigmoid, Sigmoid, SpikeRateEscape, StraightThroughEstimator

import gradcheck_lab as gl

torch.manual_seed(0)
X = torch.randn(4, 5, dtype=torch.float64)
LOW, HIGH = torch.tensor(-0.5, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)


def with_gradient_of(forward, meant):
    """The values of one function, with the gradient of another."""
    return forward.detach() + meant - meant.detach()


def spikes(x):
    return (x > 0).to(x)


def straight_through(x):
    return with_gradient_of(spikes(x), x)


def arctan(x, alpha):
    return with_gradient_of(spikes(x), torch.atan(torch.pi / 2 * alpha * x) / torch.pi)


def fast_sigmoid(x, slope):
    return with_gradient_of(spikes(x), x / (1 + slope * x.abs()))


def logistic(x, slope):
    return with_gradient_of(spikes(x), torch.sigmoid(slope * x))


def escape(x, beta, slope):
    meant = torch.sign(x - 1) * (1 - torch.exp(-beta * (x - 1).abs())) * slope / beta  # of derivative slope exp(-beta |x - 1|)
    return with_gradient_of(spikes(x), meant)


def rounded(x):
    return with_gradient_of(torch.round(x), x)


def floored(x):
    return with_gradient_of(torch.floor(x), x)


def ceiled(x):
    return with_gradient_of(torch.ceil(x), x)


def clamped(x, low, high):
    return with_gradient_of(x.clamp(low, high), x)


def clamped_below(x, low):
    return with_gradient_of(x.clamp_min(low), x)


def binary_sign(x):
    return with_gradient_of(torch.where(x >= 0, 1.0, -1.0).to(x), x)


def ternary_sign(x):
    return with_gradient_of(torch.sign(x), x)


class RoundAsItIs(RoundSteFn):
    """With the cause allowed, in the place of a reference."""


if __name__ == "__main__":
    gl.check(StraightThroughEstimator, X, reference=straight_through)
    gl.check(ATan, X, 2.0, reference=arctan)
    gl.check(FastSigmoid, X, 25.0, reference=fast_sigmoid)
    gl.check(Sigmoid, X, 5.0, reference=logistic)
    gl.check(SpikeRateEscape, X, 1.0, 25.0, reference=escape)
    gl.check(RoundSteFn, X, reference=rounded)
    gl.check(RoundAsItIs, X, allow={"wrong-value"})
    gl.check(FloorSteFn, X, reference=floored)
    gl.check(CeilSteFn, X, reference=ceiled)
    gl.check(ScalarClampSteFn, X, -0.5, 0.5, reference=clamped)
    gl.check(ScalarClampMinSteFn, X, -0.5, reference=clamped_below)
    gl.check(TensorClampSteFn, X, LOW, HIGH, reference=clamped, wrt=[0])
    gl.check(BinarySignSteFn, X, reference=binary_sign)
    gl.check(TernarySignSteFn, X, reference=ternary_sign)
    gl.check(AbsBinarySignGradFn, X)
