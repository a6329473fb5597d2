"""Planted mistakes of state: what is written to, and what is kept from one call to another."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function

import gradcheck_lab as gl
from tests.mistakes.registry import Table, array, normal

# mypy: disable-error-code="override"

table = Table()
X, Y = normal(4, 3), normal(4, 3, seed=1)


@table("mutates-grad-output", "function-relu", X)
def relu(wrong: bool) -> Any:
    class Relu(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            grad_input = grad_output if wrong else grad_output.clone()
            grad_input[x < 0] = 0
            return grad_input

    return Relu


@table("mutates-grad-output", "pair-scaled-product", X, Y)
def scaled_product(wrong: bool) -> Any:
    def backward(g: Tensor, output: Tensor, a: Tensor, b: Tensor) -> Any:
        g = g.mul_(0.5) if wrong else g.mul(0.5)
        return g * b, g * a

    return gl.Op(lambda a, b: 0.5 * a * b, backward, name="half_product")


@table("mutates-grad-output", "numpy-layer-relu", array(4, 3))
def relu_layer(wrong: bool) -> Any:
    class Relu:
        def forward(self, x: Any) -> Any:
            self.mask = x <= 0
            out = x.copy()
            out[self.mask] = 0
            return out

        def backward(self, dout: Any) -> Any:
            if not wrong:
                dout = dout.copy()
            dout[self.mask] = 0
            return dout

    return Relu()


@table("mutates-input", "function-in-place-tanh", X)
def tanh(wrong: bool) -> Any:
    class Tanh(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            y = x.detach().tanh_() if wrong else x.clone().tanh_()
            ctx.save_for_backward(y)
            return y.clone()

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (y,) = ctx.saved_tensors
            return grad_output - grad_output * y * y

    return Tanh


@table("mutates-input", "pair-centred-square", X)
def centred(wrong: bool) -> Any:
    def backward(g: Tensor, output: Tensor, x: Tensor) -> Any:
        centre = x.mean(-1, keepdim=True)
        x = x.sub_(centre) if wrong else x - centre
        return (2 * g.unsqueeze(-1) * x,)

    return lambda x: (x - x.mean(-1, keepdim=True)).square().sum(-1), backward


@table("mutates-input", "layer-cross-entropy", normal(4, 3).softmax(-1).numpy(), np.eye(3)[[0, 2, 1, 1]])
def probabilities(wrong: bool) -> Any:
    class CrossEntropy:
        """Takes the probabilities, as the books' softmax output layer does."""

        def forward(self, y: Any, t: Any) -> Any:
            self.y, self.t = y, t
            return -(t * np.log(y)).sum() / len(y)

        def backward(self, dout: Any = 1.0) -> Any:
            n = len(self.y)
            if wrong:
                self.t /= self.y
                return -dout * self.t / n, -dout * np.log(self.y) / n
            return -dout * self.t / self.y / n, -dout * np.log(self.y) / n

    return CrossEntropy()


@table("mutates-saved", "setup-context-cube", X)
def cube(wrong: bool) -> Any:
    class Cube(Function):
        @staticmethod
        def forward(x: Tensor) -> tuple[Tensor, Tensor]:
            return x**3, 3 * x * x

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.mark_non_differentiable(output[1])
            ctx.slope = output[1]

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor, _: Any) -> Tensor:
            if wrong:
                ctx.slope *= grad_output
                return ctx.slope
            return grad_output * ctx.slope

    return lambda x: Cube.apply(x)[0]


@table("stale-state", "function-on-the-class", X, normal(3, 2, seed=1))
def kept_on_the_class(wrong: bool) -> Any:
    class Matmul(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            holder: Any = Matmul if wrong else ctx
            holder.x, holder.w = x, w
            return x @ w

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            holder: Any = Matmul if wrong else ctx
            return grad_output @ holder.w.T, holder.x.T @ grad_output

    return Matmul


@table("stale-state", "module-attribute", X)
def kept_on_the_module(wrong: bool) -> Any:
    class Gate(nn.Module):
        def forward(self, x: Tensor) -> Any:
            module, gate = self, torch.sigmoid(x)
            self.gate = gate

            class Swish(Function):
                @staticmethod
                def forward(ctx: Any, x: Tensor) -> Tensor:
                    ctx.save_for_backward(x)
                    return x * torch.sigmoid(x)

                @staticmethod
                def backward(ctx: Any, grad_output: Tensor) -> Tensor:
                    (x,) = ctx.saved_tensors
                    s = module.gate.detach() if wrong else gate.detach()
                    return grad_output * (s + x * s * (1 - s))

            return Swish.apply(x)

    return Gate()


@table("accumulates-across-calls", "function-class-buffer", X, normal(3, seed=1))
def class_buffer(wrong: bool) -> Any:
    class Scale(Function):
        total: Any = None

        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            ctx.save_for_backward(x, w)
            return x * w

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, w = ctx.saved_tensors
            grad_w = (grad_output * x).reshape(-1, w.shape[0]).sum(0)
            if wrong:
                known = Scale.total is not None and Scale.total.shape == grad_w.shape
                Scale.total = grad_w + (Scale.total.to(grad_w.dtype) if known else 0)
                grad_w = Scale.total
            return grad_output * w, grad_w

    return Scale


@table("reused-buffer", "function-workspace", X)
def workspace(wrong: bool) -> Any:
    buffers: dict[Any, Tensor] = {}

    class Sine(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            key = (x.shape, x.dtype)
            buffer = buffers.setdefault(key, torch.empty_like(grad_output)) if wrong else torch.empty_like(grad_output)
            buffer.copy_(grad_output)
            return buffer.mul_(x.cos())

    return Sine


ROWS = table.rows
