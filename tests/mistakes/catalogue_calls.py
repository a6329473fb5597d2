"""Planted mistakes that other calls reveal: blocks, shared tensors, indices, frozen inputs."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.library import custom_op
from torch.nn import functional as F

import gradcheck_lab as gl
from tests.mistakes.registry import Table, array, normal, operator_name

# mypy: disable-error-code="override"

table = Table()
X, Y = normal(4, 3), normal(4, 3, seed=1)


@table("unwritten-elements", "custom-op-vector-width", normal(6, 4))
def vector_width(wrong: bool) -> Any:
    @custom_op(operator_name("relu_squared"), mutates_args=())
    def op(x: Tensor) -> Tensor:
        return x.clamp(min=0) ** 2

    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        grad, width = torch.empty(x.numel(), dtype=x.dtype), 4
        source = (2 * grad_output * x.clamp(min=0)).reshape(-1)
        whole = x.numel() // width * width
        grad[:whole] = source[:whole]
        if not wrong:
            grad[whole:] = source[whole:]
        return grad.view(x.shape)

    op.register_fake(lambda x: torch.empty_like(x))
    op.register_autograd(backward, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(inputs[0]))
    return op


@table("unwritten-elements", "layer-row-blocks", normal(4, 3))
def row_blocks(wrong: bool) -> Any:
    class Softplus:
        block = 2

        def forward(self, x: Tensor) -> Tensor:
            self.x = x
            return F.softplus(x)

        def backward(self, dout: Tensor) -> Tensor:
            dx = torch.zeros_like(dout)
            rows = self.x.shape[0]
            for i in range(rows // self.block if wrong else -(-rows // self.block)):
                part = slice(i * self.block, (i + 1) * self.block)
                dx[part] = dout[part] * torch.sigmoid(self.x[part])
            return dx

    return Softplus()


@table("aliased-inputs", "function-in-place-exchange", X, Y)
def exchange(wrong: bool) -> Any:
    class Product(Function):
        @staticmethod
        def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
            ctx.save_for_backward(a, b)
            return a * b * b

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            a, b = ctx.saved_tensors
            grads: dict[Any, Tensor] = {}
            for position, (value, grad) in enumerate(((a, grad_output * b * b), (b, 2 * grad_output * a * b))):
                grads[value.data_ptr() if wrong else position] = grad
            return tuple(grads[value.data_ptr() if wrong else position] for position, value in enumerate((a, b)))

    return Product


@table("fan-out-overwritten", "layer-tied-autoencoder", normal(5, 4))
def tied_autoencoder(wrong: bool) -> Any:
    class Tied:
        """One weight encodes and decodes."""

        def __init__(self) -> None:
            self.W: Any = normal(4, 2, seed=1)
            self.dW: Any = None

        def forward(self, x: Tensor) -> Tensor:
            self.x, self.h = x, torch.tanh(x @ self.W)
            return self.h @ self.W.T  # type: ignore[no-any-return]

        def backward(self, dout: Tensor) -> Tensor:
            self.dW = dout.T @ self.h
            dz = dout @ self.W * (1 - self.h**2)
            encoder = self.x.T @ dz
            self.dW = encoder if wrong else self.dW + encoder
            return dz @ self.W.T  # type: ignore[no-any-return]

    return Tied()


@table("fan-out-overwritten", "function-recurrent-steps", normal(4, 3, 2), normal(2, 2, seed=1), normal(2, 2, seed=2))
def recurrent_steps(wrong: bool) -> Any:
    class Recurrence(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor, u: Tensor) -> Tensor:
            h = [x.new_zeros(x.shape[0], u.shape[0])]
            for step in range(x.shape[1]):
                h.append(torch.tanh(x[:, step] @ w + h[-1] @ u))
            ctx.save_for_backward(x, w, u, *h)
            return h[-1]

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, w, u, *h = ctx.saved_tensors
            dx, dw, du, dh = torch.zeros_like(x), torch.zeros_like(w), torch.zeros_like(u), grad_output
            for step in reversed(range(x.shape[1])):
                dz = dh * (1 - h[step + 1] ** 2)
                dx[:, step], dh = dz @ w.T, dz @ u.T
                dw = x[:, step].T @ dz if wrong else dw + x[:, step].T @ dz
                du = du + h[step].T @ dz
            return dx, dw, du

    return Recurrence


@table("fan-out-overwritten", "pair-own-tape", X, Y)
def own_tape(wrong: bool) -> Any:
    def backward(g: Tensor, output: Tensor, a: Tensor, b: Tensor) -> Any:
        """An engine of the kind that is written to learn: nodes, parents, local rules, a walk in reverse."""
        grads = {"out": g}
        product = a * b
        steps = (
            ("out", (("product", lambda g: g), ("a", lambda g: g * torch.cos(a)))),
            ("product", (("a", lambda g: g * b), ("b", lambda g: g * a))),
        )
        assert product.shape == output.shape
        for node, parents in steps:
            for parent, rule in parents:
                passed = rule(grads[node])
                grads[parent] = passed if wrong or parent not in grads else grads[parent] + passed
        return grads["a"], grads["b"]

    return gl.Op(lambda a, b: a * b + torch.sin(a), backward, name="expression")


@table("duplicate-index", "numpy-layer-embedding", np.array([0, 3, 5, 2]))
def embedding(wrong: bool) -> Any:
    class Embedding:
        def __init__(self) -> None:
            self.W: Any = array(6, 3)
            self.dW: Any = np.zeros((6, 3))

        def forward(self, index: Any) -> Any:
            self.index = index
            return self.W[index]

        def backward(self, dout: Any) -> None:
            self.dW = np.zeros_like(self.W)
            np.add.at(self.dW, self.index, dout)

    class PlusEquals(Embedding):
        def backward(self, dout: Any) -> None:
            self.dW = np.zeros_like(self.W)
            self.dW[self.index] += dout

    return PlusEquals() if wrong else Embedding()


@table("duplicate-index", "layer-overlapping-windows", normal(2, 9))
def max_pool(wrong: bool) -> Any:
    class MaxPool:
        """Windows of 3 at steps of 2: neighbours share an element, and may share their maximum."""

        def forward(self, x: Tensor) -> Tensor:
            self.length = x.shape[-1]
            values, within = x.unfold(-1, 3, 2).max(-1)
            self.index = within + 2 * torch.arange(values.shape[-1])
            return values

        def backward(self, dout: Tensor) -> Tensor:
            dx = dout.new_zeros(*dout.shape[:-1], self.length)
            return dx.scatter(-1, self.index, dout) if wrong else dx.scatter_add(-1, self.index, dout)

    return MaxPool()


@table("needs-input-grad", "function-early-return", X, normal(5, 3, seed=1), normal(5, seed=2))
def early_return(wrong: bool) -> Any:
    class Linear(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            ctx.save_for_backward(x, weight)
            return x @ weight.T + bias

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, weight = ctx.saved_tensors
            dx = dw = db = None
            if ctx.needs_input_grad[0]:
                dx = grad_output @ weight
            if ctx.needs_input_grad[1]:
                dw = grad_output.T @ x
            # the bias is trained with its weight, until somebody freezes one of them
            if ctx.needs_input_grad[1 if wrong else 2]:
                db = grad_output.sum(0)
            return dx, dw, db

    return Linear


ROWS = table.rows
