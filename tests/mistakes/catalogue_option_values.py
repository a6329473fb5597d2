"""Planted mistakes that the value of an option hides: passed by keyword, in a dict, or left at its default, in every form."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function

from tests.mistakes.registry import Table, array, normal

# mypy: disable-error-code="override"

table = Table()


def _norm(wrong: bool) -> Any:
    """The p-norm of a vector; wrong: its gradient is that of the 2-norm."""

    class Norm(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, p: int = 2) -> Tensor:
            y = x.abs().pow(p).sum() ** (1 / p)
            ctx.save_for_backward(x, y)
            ctx.p = p
            return y

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, y = ctx.saved_tensors
            p = 2 if wrong else ctx.p
            return grad_output * x.sign() * x.abs() ** (p - 1) * y ** (1 - p), None

    return Norm


table("option-specialised", "function-norm-by-keyword", normal(5), options={"p": 2})(_norm)
table("option-specialised", "function-norm-by-position", normal(5), 2)(_norm)


@table("option-specialised", "function-overlapping-windows", normal(2, 9), options={"k": 2, "stride": 2})
def overlapping_windows(wrong: bool) -> Any:
    class MaxPool(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, k: int = 2, stride: int = 2) -> Tensor:
            values, places = x.unfold(-1, k, stride).max(-1)
            ctx.save_for_backward(places)
            ctx.stride, ctx.shape = stride, x.shape
            return values

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            (places,) = ctx.saved_tensors
            places = places + ctx.stride * torch.arange(places.shape[-1])
            dx = grad_output.new_zeros(ctx.shape)
            # windows that overlap may have the same largest element
            return (dx.scatter_ if wrong else dx.scatter_add_)(-1, places, grad_output), None, None

    return MaxPool


def _pair_of_norm(library: Any) -> Any:
    def build(wrong: bool) -> Any:
        def forward(x: Any, p: int = 2) -> Any:
            y = (abs(x) ** p).sum() ** (1 / p)
            return y, (x, y, p)

        def backward(dout: Any, cache: Any) -> Any:
            x, y, p = cache
            return dout * x / y if wrong else dout * library.sign(x) * abs(x) ** (p - 1) * y ** (1 - p)

        return forward, backward

    return build


table("option-specialised", "pair-numpy-norm-at-its-default", array(5))(_pair_of_norm(np))
table("option-specialised", "pair-norm-at-its-default", normal(5))(_pair_of_norm(torch))


@table("option-specialised", "pair-numpy-stride-in-a-dict", array(3, 4), {"stride": 1, "scale": 2.0})
def stride_in_a_dict(wrong: bool) -> Any:
    def forward(x: Any, settings: Any) -> Any:
        return x[:, :: settings["stride"]] * settings["scale"], (x, settings)

    def backward(dout: Any, cache: Any) -> Any:
        x, settings = cache
        dx = np.zeros_like(x)
        dx[:, :: settings["stride"]] = dout * (2.0 if wrong else settings["scale"])
        return dx

    return forward, backward


@table("option-specialised", "layer-numpy-axis-at-its-default", array(3, 3))
def axis_at_its_default(wrong: bool) -> Any:
    class Mean:
        def forward(self, x: Any, axis: int = 0) -> Any:
            self.x, self.axis = x, axis
            return x.mean(axis=axis)

        def backward(self, dout: Any) -> Any:
            axis = 0 if wrong else self.axis
            return np.expand_dims(dout, axis) / self.x.shape[axis] * np.ones_like(self.x)

    return Mean()


@table("option-specialised", "module-scale-at-its-default", normal(4, 3))
def scale_at_its_default(wrong: bool) -> Any:
    class Squares(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
            ctx.save_for_backward(x)
            ctx.scale = scale
            return scale * x.square().sum(-1)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            (x,) = ctx.saved_tensors
            return 2 * x * grad_output.unsqueeze(-1) * (1.0 if wrong else ctx.scale), None

    class Module(nn.Module):
        def forward(self, x: Tensor, scale: float = 1.0) -> Any:
            return Squares.apply(x, scale)

    return Module()


ROWS = table.rows
