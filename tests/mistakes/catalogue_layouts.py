"""Planted mistakes in outputs that nobody used, and in the strides of what a backward is given."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.library import custom_op

from tests.mistakes.registry import Table, array, normal, operator_name

# mypy: disable-error-code="override"

table = Table()
X, Y, X32 = normal(4, 3), normal(4, 3, seed=1), normal(4, 3, dtype=torch.float32)


@table("undefined-upstream", "function-lstm-cell", normal(4, 8), normal(4, 2, seed=1))
def lstm_cell(wrong: bool) -> Any:
    class Cell(Function):
        @staticmethod
        def forward(ctx: Any, gates: Tensor, c: Tensor) -> Any:
            ctx.set_materialize_grads(False)
            i, f, o, u = gates.chunk(4, -1)
            i, f, o, u = i.sigmoid(), f.sigmoid(), o.sigmoid(), u.tanh()
            new = f * c + i * u
            ctx.save_for_backward(i, f, o, u, c, new)
            return o * new.tanh(), new

        @staticmethod
        def backward(ctx: Any, grad_h: Any, grad_c: Any) -> Any:
            i, f, o, u, c, new = ctx.saved_tensors
            if not wrong:
                grad_h = torch.zeros_like(new) if grad_h is None else grad_h
                grad_c = torch.zeros_like(new) if grad_c is None else grad_c
            do = grad_h * new.tanh() * o * (1 - o)
            dc = grad_c + grad_h * o * (1 - new.tanh() ** 2)
            gates = [dc * u * i * (1 - i), dc * c * f * (1 - f), do, dc * i * (1 - u * u)]
            return torch.cat(gates, -1), dc * f

    return Cell


def dense_strides(shape: Any) -> list[int]:
    """The strides of a contiguous tensor, as a kernel assumes them that takes a pointer and sizes."""
    return [int(np.prod(shape[k + 1 :])) for k in range(len(shape))]


def as_kernel_reads(x: Tensor) -> Tensor:
    """What is read from the first address of `x` when its strides are not asked for."""
    padded = torch.zeros(x.numel(), dtype=x.dtype)
    stored = torch.as_strided(x, (x.untyped_storage().nbytes() // x.element_size() - x.storage_offset(),), (1,))
    padded[: min(x.numel(), len(stored))] = stored[: x.numel()]
    return padded.view(x.shape)


@table("upstream-layout", "function-pointer", X)
def reads_by_pointer(wrong: bool) -> Any:
    class Softplus(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return nn.functional.softplus(x)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            grad_output = as_kernel_reads(grad_output if wrong else grad_output.contiguous())
            return grad_output * torch.sigmoid(x)

    return Softplus


@table("upstream-layout", "pair-view", normal(2, 3, 4))
def views(wrong: bool) -> Any:
    def backward(g: Tensor, output: Tensor, x: Tensor) -> Any:
        rows = g.view(-1, g.shape[-1]) if wrong else g.reshape(-1, g.shape[-1])
        return (rows * 3 * x.reshape(rows.shape) ** 2).reshape(x.shape)

    return lambda x: x**3, backward


@table("upstream-layout", "custom-op-expanded", X32)
def expanded(wrong: bool) -> Any:
    @custom_op(operator_name("sin"), mutates_args=())
    def op(x: Tensor) -> Tensor:
        return torch.sin(x)

    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return as_kernel_reads(grad_output if wrong else grad_output.contiguous()) * torch.cos(x)

    op.register_fake(lambda x: torch.empty_like(x))
    op.register_autograd(backward, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(inputs[0]))
    return op


@table("input-layout", "layer-pointer", X)
def input_by_pointer(wrong: bool) -> Any:
    class Cosine:
        def forward(self, x: Tensor) -> Tensor:
            self.x = x if wrong else x.contiguous()
            return torch.cos(x)

        def backward(self, dout: Tensor) -> Tensor:
            return -dout * torch.sin(as_kernel_reads(self.x))

    return Cosine()


@table("input-layout", "function-transposed-weight", X, normal(5, 3, seed=1))
def weight_by_pointer(wrong: bool) -> Any:
    class Linear(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
            ctx.save_for_backward(x, weight)
            return x @ weight.T

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, weight = ctx.saved_tensors
            dense = weight.as_strided(weight.shape, dense_strides(weight.shape)) if wrong else weight
            return grad_output @ dense, torch.einsum("no,ni->oi", grad_output, x)

    return Linear


@table("input-layout", "function-strides-of-the-other", X, Y)
def strides_of_the_other(wrong: bool) -> Any:
    class Product(Function):
        """Both factors in another layout hide it: it shows where one of them is."""

        @staticmethod
        def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
            ctx.save_for_backward(x, y)
            return x * y

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, y = ctx.saved_tensors
            return grad_output * (y.as_strided(y.shape, x.stride()) if wrong and x.shape == y.shape else y), grad_output * x

    return Product


ROWS = table.rows
_ = array
