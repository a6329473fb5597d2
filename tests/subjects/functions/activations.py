"""Activations, as people write them; the wrong one follows the right one."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

# mypy: disable-error-code="override"


class Swish(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, beta: float = 1.0) -> Tensor:
        ctx.save_for_backward(x)
        ctx.beta = beta
        return x * torch.sigmoid(beta * x)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        gate = torch.sigmoid(ctx.beta * x)
        return grad_output * (gate + ctx.beta * x * gate * (1 - gate)), None


class SwishWithSign(Swish):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return -Swish.backward(ctx, grad_output)[0], None


class Mish(Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * torch.tanh(F.softplus(x))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        (x,) = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        inner = torch.tanh(F.softplus(x))
        return grad_output * (inner + x * (1 - inner * inner) * torch.sigmoid(x))


class MishTwice(Mish):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return 2 * Mish.backward(ctx, grad_output)


class Gelu(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, approximate: str = "none") -> Tensor:
        ctx.save_for_backward(x)
        ctx.approximate = approximate
        return F.gelu(x, approximate=approximate)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        if ctx.approximate == "tanh":
            c = (2 / torch.pi) ** 0.5
            inner = torch.tanh(c * (x + 0.044715 * x**3))
            slope = 0.5 * (1 + inner) + 0.5 * x * (1 - inner**2) * c * (1 + 3 * 0.044715 * x**2)
        else:
            slope = 0.5 * (1 + torch.erf(x / 2**0.5)) + x * torch.exp(-x * x / 2) / (2 * torch.pi) ** 0.5
        return grad_output * slope, None


class GeluApproximateOnly(Gelu):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        ctx.approximate = "tanh"
        return Gelu.backward(ctx, grad_output)


class BiasGelu(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, bias)
        return F.gelu(x + bias)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        x, bias = ctx.saved_tensors
        z = x + bias
        slope = 0.5 * (1 + torch.erf(z / 2**0.5)) + z * torch.exp(-z * z / 2) / (2 * torch.pi) ** 0.5
        return grad_output * slope, (grad_output * slope).sum_to_size(bias.shape)


class BiasGeluUnsummed(BiasGelu):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        grad = BiasGelu.backward(ctx, grad_output)[0]
        return grad, grad


class BiasGeluAveraged(BiasGelu):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        grad, grad_bias = BiasGelu.backward(ctx, grad_output)
        return grad, grad_bias / len(grad)


class Sparsemax(Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        ordered = z.sort(-1, descending=True).values
        cumulative = ordered.cumsum(-1) - 1
        rank = torch.arange(1, z.shape[-1] + 1, dtype=z.dtype, device=z.device)
        size = (rank * ordered > cumulative).sum(-1, keepdim=True)
        threshold = cumulative.gather(-1, size - 1) / size
        output = (z - threshold).clamp(min=0)
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (output,) = ctx.saved_tensors
        support = (output > 0).to(grad_output.dtype)
        mean = (grad_output * support).sum(-1, keepdim=True) / support.sum(-1, keepdim=True)
        return support * (grad_output - mean)


class SparsemaxOverAll(Sparsemax):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (output,) = ctx.saved_tensors
        return (output > 0) * (grad_output - grad_output.mean(-1, keepdim=True))


class DropoutWithMask(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float, training: bool = True) -> Tensor:
        ctx.mask = (torch.rand_like(x) > p) / (1 - p) if training else None
        return x if ctx.mask is None else x * ctx.mask

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return grad_output if ctx.mask is None else grad_output * ctx.mask, None, None


class DropoutUnscaled(DropoutWithMask):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return grad_output * (ctx.mask > 0), None, None


class RoundStraightThrough(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.round(x)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output
