"""Planted mistakes of forwards and backwards that take different defaults of one option."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

import gradcheck_lab as gl
from tests.mistakes.registry import Table, array, normal

# mypy: disable-error-code="override"

table = Table()


@table("default-mismatch", "default-op-slope", normal(4, 3))
def slope(wrong: bool) -> Any:
    def leaky(x: Tensor, negative_slope: float = 0.01) -> Tensor:
        return torch.where(x > 0, x, negative_slope * x)

    def backward(g: Tensor, y: Tensor, x: Tensor, negative_slope: float = 0.1 if wrong else 0.01) -> Any:
        return (torch.where(x > 0, g, negative_slope * g),)

    return gl.Op(leaky, backward)


@table("default-mismatch", "default-function-epsilon", normal(4, 6))
def epsilon(wrong: bool) -> Any:
    class Norm(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, eps: float = 1e-5) -> Tensor:
            ctx.save_for_backward(x)
            ctx.eps = eps
            return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor, eps: float = 1e-6) -> Any:
            (x,) = ctx.saved_tensors
            eps = eps if wrong else ctx.eps
            r = torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
            return grad_output * r - x * r**3 * (grad_output * x).mean(-1, keepdim=True), None

    return Norm


@table("default-mismatch", "default-layer-numpy-power", array(4, 3))
def power(wrong: bool) -> Any:
    class Power:
        def forward(self, x: Any, *, p: float = 2.0) -> Any:
            self.x, self.p = x, p
            return np.abs(x) ** p

        def backward(self, dout: Any, p: float = 3.0) -> Any:
            p = p if wrong else self.p
            return dout * p * np.abs(self.x) ** (p - 1) * np.sign(self.x)

    return Power()


@table("default-mismatch", "default-pair-of-two-options", normal(4, 3))
def two_options(wrong: bool) -> Any:
    def scaled(x: Tensor, scale: float = 2.0, shift: float = 0.5) -> Tensor:
        return (x * scale + shift) ** 2

    other, least = (3.0, 0.1) if wrong else (2.0, 0.5)

    def backward(g: Tensor, y: Tensor, x: Tensor, scale: float = other, shift: float = least) -> Any:
        return (2 * g * (x * scale + shift) * scale,)

    return scaled, backward


ROWS = table.rows
