"""Planted mistakes that one object makes over several calls: buffers handed out, and what is kept of the first call."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function

from tests.mistakes.registry import Table, array, normal

# mypy: disable-error-code="override"

table = Table()
X = normal(4, 3)


@table("reused-buffer", "numpy-layer-output", array(4, 3))
def output_buffer(wrong: bool) -> Any:
    class Tanh:
        def __init__(self) -> None:
            self.buffer = np.zeros((4, 3))

        def forward(self, x: Any) -> Any:
            self.y = np.tanh(x)
            if not wrong or self.buffer.shape != x.shape:
                self.buffer = np.zeros_like(x)
            np.copyto(self.buffer, self.y)
            return self.buffer

        def backward(self, g: Any) -> Any:
            return g * (1 - self.y**2)

    return Tanh()


@table("reused-buffer", "torch-layer-two-in-turn", X)
def buffers_in_turn(wrong: bool) -> Any:
    class Linear:
        """Its gradient does not depend on x; that of the weight is a buffer by design, which nobody is handed."""

        def __init__(self) -> None:
            self.W, self.dW = normal(3, 2, seed=1), torch.zeros(3, 2, dtype=torch.float64)
            self.buffers: dict[Any, list[Tensor]] = {}

        def forward(self, x: Tensor) -> Tensor:
            self.x = x
            return x @ self.W

        def backward(self, g: Tensor) -> Tensor:
            self.dW.copy_(self.x.T @ g)
            held = self.buffers.setdefault((self.x.shape, g.dtype), [torch.zeros_like(self.x) for _ in range(2)])
            held.reverse()
            return held[0].copy_(g @ self.W.T) if wrong else g @ self.W.T

    return Linear()


@table("reused-buffer", "function-output", X)
def function_output(wrong: bool) -> Any:
    buffers: dict[Any, Tensor] = {}

    class Exp(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            buffer = buffers.setdefault((x.shape, x.dtype), torch.zeros_like(x)) if wrong else torch.zeros_like(x)
            return buffer.data.copy_(x.detach().exp())

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return grad_output * x.exp()

    return Exp


@table("stale-state", "torch-layer-first-mask", X)
def first_mask(wrong: bool) -> Any:
    class Relu:
        mask: Any = None

        def forward(self, x: Tensor) -> Tensor:
            if self.mask is None or self.mask.shape != x.shape or not wrong:
                self.mask = x > 0
            return x.clamp(min=0)

        def backward(self, g: Tensor) -> Tensor:
            return g * self.mask

    return Relu()


@table("stale-state", "torch-layer-first-batch", X)
def first_batch(wrong: bool) -> Any:
    class Mean:
        rows: Any = None

        def forward(self, x: Tensor) -> Tensor:
            self.y = torch.tanh(x)
            if self.rows is None or not wrong:
                self.rows = len(x)
            return self.y.mean(0)

        def backward(self, g: Tensor) -> Tensor:
            return g * (1 - self.y**2) / self.rows

    return Mean()


@table("stale-state", "torch-layer-weight-before-a-step", X)
def weight_before_a_step(wrong: bool) -> Any:
    class Linear:
        """The sound twin keeps a view, which follows a step in place."""

        def __init__(self) -> None:
            self.W, self.dW, self.turned = normal(3, 2, seed=1), torch.zeros(3, 2, dtype=torch.float64), None

        def forward(self, x: Tensor) -> Tensor:
            self.x = x
            if self.turned is None:
                self.turned = self.W.T.clone() if wrong else self.W.T
            return x @ self.W

        def backward(self, g: Tensor) -> Tensor:
            self.dW = self.x.T @ g
            return g @ self.turned

    return Linear()


@table("stale-state", "module-eval-between", X)
def eval_between(wrong: bool) -> Any:
    kept: dict[str, float] = {}

    class Scaled(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, training: bool) -> Tensor:
            ctx.save_for_backward(x)
            ctx.factor = kept["factor"] = 2.0 if training else 1.0
            return x.sin() * ctx.factor

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            (x,) = ctx.saved_tensors
            return grad_output * x.cos() * (kept["factor"] if wrong else ctx.factor), None

    class Scale(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return Scaled.apply(x, self.training)

    return Scale()


ROWS = table.rows
