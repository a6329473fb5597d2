"""Planted mistakes of formulas: axes, zeros, conjugates, lost terms, and values that nothing explains."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.library import custom_op
from torch.nn import functional as F

import gradcheck_lab as gl
from tests.mistakes.registry import Table, complex_normal, normal, operator_name, whole

# mypy: disable-error-code="override"

table = Table()
X, Y, X32 = normal(4, 3), normal(4, 3, seed=1), normal(4, 3, dtype=torch.float32)
SQUARE = normal(4, 4)


@table("wrong-axis", "function-bias", SQUARE, normal(4, seed=1))
def bias(wrong: bool) -> Any:
    class AddBias(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, b: Tensor) -> Tensor:
            return x + b

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            return grad_output, grad_output.sum(-1 if wrong else 0)

    return AddBias


@table("wrong-axis", "layer-norm-weight", SQUARE)
def norm_weight(wrong: bool) -> Any:
    class LayerNorm:
        def __init__(self) -> None:
            self.gamma: Any = normal(4, seed=5)
            self.dgamma: Any = None

        def forward(self, x: Tensor) -> Tensor:
            centred = x - x.mean(-1, keepdim=True)
            self.rstd = (centred.square().mean(-1, keepdim=True) + 1e-5).rsqrt()
            self.unit = centred * self.rstd
            return self.unit * self.gamma  # type: ignore[no-any-return]

        def backward(self, dout: Tensor) -> Tensor:
            self.dgamma = (dout * self.unit).sum(1 if wrong else 0)
            d = dout * self.gamma
            inner = d - d.mean(-1, keepdim=True) - self.unit * (d * self.unit).mean(-1, keepdim=True)
            return inner * self.rstd

    return LayerNorm()


@table("wrong-axis", "pair-column-mean", SQUARE)
def column_mean(wrong: bool) -> Any:
    def backward(g: Tensor, output: Tensor, x: Tensor) -> Any:
        return (g.unsqueeze(-1 if wrong else -2) / x.shape[-2]).expand_as(x)

    return gl.Op(lambda x: x.mean(-2), backward, name="column_mean")


@table("zero-gradient", "function-index-add", normal(6, 3), whole(6, 4))
def index_add(wrong: bool) -> Any:
    class Take(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, index: Tensor) -> Tensor:
            ctx.save_for_backward(index)
            ctx.size = x.shape
            return x[index]

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            (index,) = ctx.saved_tensors
            grad = grad_output.new_zeros(ctx.size)
            if wrong:
                grad.index_add(0, index, grad_output)
            else:
                grad.index_add_(0, index, grad_output)
            return grad, None

    return Take


@table("zero-gradient", "layer-running-product", X)
def untouched(wrong: bool) -> Any:
    class Scale:
        def __init__(self) -> None:
            self.W: Any = normal(3, seed=1)
            self.dW: Any = torch.zeros(3, dtype=torch.float64)

        def forward(self, x: Tensor) -> Tensor:
            self.x = x
            return torch.exp(x) * self.W

        def backward(self, dout: Tensor) -> Tensor:
            self.dW = torch.zeros_like(self.W)
            grad = (dout * torch.exp(self.x)).sum(0)
            if wrong:
                grad, self.dW = self.dW, self.dW
            else:
                self.dW += grad
            return dout * torch.exp(self.x) * self.W

    return Scale()


@table("zero-gradient", "pair-integer-slope", X32, normal(3, seed=1, dtype=torch.float32).abs())
def integer_slope(wrong: bool) -> Any:
    def backward(g: Tensor, output: Tensor, x: Tensor, slope: Tensor) -> Any:
        below = (x < 0).long() // 2 if wrong else (x < 0).to(x.dtype)
        return torch.where(x < 0, g * slope, g), (g * x * below).reshape(-1, slope.shape[0]).sum(0)

    return lambda x, slope: torch.where(x < 0, x * slope, x), backward


@table("missing-conjugate", "pair-product", complex_normal(4, 3), complex_normal(4, 3, seed=1))
def complex_product(wrong: bool) -> Any:
    def backward(g: Tensor, output: Tensor, a: Tensor, b: Tensor) -> Any:
        return (g * b, g * a) if wrong else (g * b.conj(), g * a.conj())

    return gl.Op(lambda a, b: a * b, backward, name="product")


@table("missing-conjugate", "function-matmul", complex_normal(4, 3), complex_normal(3, 2, seed=1))
def complex_matmul(wrong: bool) -> Any:
    class Matmul(Function):
        @staticmethod
        def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
            ctx.save_for_backward(a, b)
            return a @ b

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            a, b = ctx.saved_tensors
            return grad_output @ b.mH, (a.mT if wrong else a.mH) @ grad_output

    return Matmul


@table("missing-conjugate", "layer-exponential", complex_normal(4, 3))
def complex_exponential(wrong: bool) -> Any:
    class Exponential:
        def forward(self, z: Tensor) -> Tensor:
            self.out = torch.exp(z)
            return self.out

        def backward(self, dout: Tensor) -> Tensor:
            return dout * (self.out if wrong else self.out.conj())

    return Exponential()


@table("missing-term", "function-residual", normal(5, 4))
def residual(wrong: bool) -> Any:
    class Residual(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x + torch.tanh(x)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            through = grad_output * (1 - torch.tanh(x) ** 2)
            return through if wrong else grad_output + through

    return Residual


@table("missing-term", "pair-softmax", normal(5, 4))
def softmax(wrong: bool) -> Any:
    def backward(g: Tensor, output: Tensor, x: Tensor) -> Any:
        return (output * g if wrong else output * (g - (output * g).sum(-1, keepdim=True)),)

    return gl.Op(lambda x: torch.softmax(x, -1), backward, name="softmax")


@table("missing-term", "custom-op-layer-norm", normal(5, 6))
def layer_norm(wrong: bool) -> Any:
    @custom_op(operator_name("layer_norm"), mutates_args=())
    def op(x: Tensor) -> tuple[Tensor, Tensor]:
        rstd = (x.var(-1, correction=0, keepdim=True) + 1e-5).rsqrt()
        return (x - x.mean(-1, keepdim=True)) * rstd, rstd

    def backward(ctx: Any, grad_output: Tensor, _: Any) -> Tensor:
        unit, rstd = ctx.saved_tensors
        grad = grad_output - unit * (grad_output * unit).mean(-1, keepdim=True)
        return rstd * (grad if wrong else grad - grad_output.mean(-1, keepdim=True))

    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*output)

    op.register_fake(lambda x: (torch.empty_like(x), x.new_empty(*x.shape[:-1], 1)))
    op.register_autograd(backward, setup_context=setup_context)
    return op


@table("constant-factor", "function-gelu", normal(5, 4))
def gelu_tanh(wrong: bool) -> Any:
    class Gelu(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return F.gelu(x, approximate="tanh")

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            k = (2 / torch.pi) ** 0.5
            t = torch.tanh(k * (x + 0.044715 * x**3))
            inner = k * (1 + (0.044715 if wrong else 3 * 0.044715) * x * x)
            return grad_output * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner)

    return Gelu


@table("missing-term", "layer-sigmoid", normal(5, 4))
def sigmoid(wrong: bool) -> Any:
    class Sigmoid:
        def forward(self, x: Tensor) -> Tensor:
            self.out = 1 / (1 + torch.exp(-x))
            return self.out

        def backward(self, dout: Tensor) -> Tensor:
            return dout * self.out * (1 + self.out if wrong else 1 - self.out)

    return Sigmoid()


@table("wrong-value", "layer-error-function", normal(5, 4))
def error_function(wrong: bool) -> Any:
    class Erf:
        def forward(self, x: Tensor) -> Tensor:
            self.x = x
            return torch.erf(x)

        def backward(self, dout: Tensor) -> Tensor:
            return dout * 2 / torch.pi**0.5 * torch.exp(-self.x.abs() if wrong else -self.x * self.x)

    return Erf()


@table("wrong-operand", "program-mish", normal(5, 4))
def mish(wrong: bool) -> Any:
    def backward(g: Tensor, output: Tensor, x: Tensor) -> Any:
        t, s = torch.tanh(F.softplus(x)), torch.sigmoid(x)
        return (g * (t + x * (1 - t * t) * (s * (1 - s) if wrong else s)),)

    op = gl.Op(lambda x: x * torch.tanh(F.softplus(x)), backward, name="mish")

    def program(x: Any) -> Any:
        hidden = op(x)
        return gl.ops.mul(hidden, hidden)

    return program


ROWS = table.rows
