"""Planted mistakes in what comes back at all: other forwards, exceptions, counts, missing gradients."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.library import custom_op
from torch.nn import functional as F

import gradcheck_lab as gl
from tests.mistakes.registry import Table, normal, operator_name

# mypy: disable-error-code="override"

table = Table()
X, X32 = normal(4, 3), normal(4, 3, dtype=torch.float32)


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    return x * (x.square().mean(-1, keepdim=True) + 1e-3).rsqrt() * weight


@table("forward-mismatch", "function-gelu", X, reference=F.gelu)
def gelu(wrong: bool) -> Any:
    class Gelu(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x * torch.sigmoid(1.702 * x) if wrong else x * 0.5 * (1 + torch.erf(x / 2**0.5))

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            cdf, pdf = 0.5 * (1 + torch.erf(x / 2**0.5)), torch.exp(-x * x / 2) / (2 * torch.pi) ** 0.5
            return grad_output * (cdf + x * pdf)

    return Gelu


@table("forward-mismatch", "pair-rms-norm", X, normal(3, seed=1), reference=rms_norm)
def rms_norm_without_epsilon(wrong: bool) -> Any:
    eps = 0.0 if wrong else 1e-3

    def forward(x: Tensor, weight: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight

    def backward(g: Tensor, output: Tensor, x: Tensor, weight: Tensor) -> Any:
        rstd = (x.square().mean(-1, keepdim=True) + eps).rsqrt()
        unit, gw = x * rstd, g * weight
        return rstd * (gw - unit * (gw * unit).mean(-1, keepdim=True)), (g * unit).reshape(-1, x.shape[-1]).sum(0)

    return forward, backward


@table("forward-mismatch", "module-standardised", X, reference=lambda x: F.layer_norm(x, (x.shape[-1],), eps=0.0))
def standardised(wrong: bool) -> Any:
    class Standardise(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True, unbiased=wrong)

    return Standardise()


@table("raises", "function-saved-tensors", X, normal(3, seed=1))
def unpacks_too_many(wrong: bool) -> Any:
    class Scale(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
            ctx.save_for_backward(*((x,) if wrong else (x, weight)))
            return x * weight

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, weight = ctx.saved_tensors
            return grad_output * weight, (grad_output * x).sum_to_size(weight.shape)

    return Scale


@table("raises", "pair-linear", X, normal(3, 5, seed=1))
def weight_not_transposed(wrong: bool) -> Any:
    def backward(g: Tensor, output: Tensor, x: Tensor, weight: Tensor) -> Any:
        return g @ (weight if wrong else weight.T), x.T @ g

    return gl.Op(lambda x, weight: x @ weight, backward, name="linear")


@table("raises", "layer-attribute", X)
def attribute_never_set(wrong: bool) -> Any:
    class Swish:
        def forward(self, x: Tensor) -> Tensor:
            self.x, self.gate = x, torch.sigmoid(x)
            return x * self.gate

        def backward(self, dout: Tensor) -> Tensor:
            return dout * (self.gate + self.x * self.gate * (1 - self.gate))

    class Renamed(Swish):
        def backward(self, dout: Tensor) -> Tensor:
            return dout * (self.gate + self.inputs * self.gate * (1 - self.gate))  # type: ignore[attr-defined,no-any-return]

    return Renamed() if wrong else Swish()


@table("gradient-count", "function-option", X, 0.2)
def none_for_the_option(wrong: bool) -> Any:
    class LeakyRelu(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
            ctx.save_for_backward(x)
            ctx.slope = slope
            return F.leaky_relu(x, slope)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            (x,) = ctx.saved_tensors
            grad = torch.where(x > 0, grad_output, ctx.slope * grad_output)
            return grad if wrong else (grad, None)

    return LeakyRelu


@table("gradient-count", "setup-context-product", X, normal(4, 3, seed=1))
def one_too_many(wrong: bool) -> Any:
    class Product(Function):
        @staticmethod
        def forward(a: Tensor, b: Tensor) -> Tensor:
            return a * b

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            a, b = ctx.saved_tensors
            # torch drops trailing Nones beyond the inputs, and nothing else
            return grad_output * b, grad_output * a, grad_output if wrong else None

    return Product


@table("gradient-count", "pair-linear", X, normal(5, 3, seed=1), normal(5, seed=2))
def no_bias(wrong: bool) -> Any:
    def backward(g: Tensor, output: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Any:
        grads = [g @ weight, torch.einsum("...o,...i->oi", g, x), g.reshape(-1, g.shape[-1]).sum(0)]
        return grads[:2] if wrong else grads

    return F.linear, backward


@table("missing-gradient", "function-prelu", X, normal(1, seed=1).abs())
def prelu(wrong: bool) -> Any:
    class Prelu(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
            ctx.save_for_backward(x, slope)
            return torch.where(x > 0, x, slope * x)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, slope = ctx.saved_tensors
            grad_slope = (grad_output * x * (x <= 0)).sum().reshape(slope.shape)
            return torch.where(x > 0, grad_output, slope * grad_output), None if wrong else grad_slope

    return Prelu


@table("missing-gradient", "module-layer-scale", X)
def layer_scale(wrong: bool) -> Any:
    class LayerScale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gamma = nn.Parameter(torch.full((3,), 0.1, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return x + torch.tanh(x) * (self.gamma.data if wrong else self.gamma)

    return LayerScale()


@table("missing-gradient", "custom-op-bias", X, normal(3, seed=1))
def fused_bias(wrong: bool) -> Any:
    @custom_op(operator_name("bias_tanh"), mutates_args=())
    def bias_tanh(x: Tensor, bias: Tensor) -> Tensor:
        return torch.tanh(x + bias)

    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(output)

    def backward(ctx: Any, grad_output: Tensor) -> Any:
        (output,) = ctx.saved_tensors
        grad = grad_output * (1 - output * output)
        return grad, None if wrong else grad.reshape(-1, grad.shape[-1]).sum(0)

    bias_tanh.register_fake(lambda x, bias: torch.empty_like(x))
    bias_tanh.register_autograd(backward, setup_context=setup_context)
    return bias_tanh


ROWS = table.rows
