"""Planted mistakes of one sum, slice or transposition within a backward, which further factors hide."""

from typing import Any

import torch
from torch import Tensor

import gradcheck_lab as gl
from tests.mistakes.registry import Table, normal

table = Table()


@table("wrong-axis", "gain-of-rows-or-columns", normal(4, 2, 4), normal(4, seed=1))
def gain_of_rows(wrong: bool) -> Any:
    def backward(g: Tensor, out: Tensor, x: Tensor, gain: Tensor) -> Any:
        dz = g * torch.cos(x * gain[:, None, None])
        return dz * gain[:, None, None], (dz * x).sum((0, 1) if wrong else (1, 2))

    return gl.Op(lambda x, gain: torch.sin(x * gain[:, None, None]), backward, name="gain_of_rows")


@table("missing-broadcast-sum", "shared-shift-written-over", normal(3, 2, 4), normal(1, 2, 4, seed=1))
def shared_shift(wrong: bool) -> Any:
    def backward(g: Tensor, out: Tensor, x: Tensor, shift: Tensor) -> Any:
        dz = g * (1 - out * out)
        return dz, dz[-1:] if wrong else dz.sum(0, keepdim=True)

    return gl.Op(lambda x, shift: torch.tanh(x + shift), backward, name="shared_shift")


@table("permuted", "windows-reshaped-back", normal(2, 4, 3), normal(3, seed=1))
def windows(wrong: bool) -> Any:
    def backward(g: Tensor, out: Tensor, x: Tensor, gain: Tensor) -> Any:
        g = 2 * torch.sqrt(out) * g
        g = g.reshape(x.shape) if wrong else g.transpose(1, 2)
        return g * gain, (g * x).sum((0, 1))

    def forward(x: Tensor, gain: Tensor) -> Tensor:
        return (x * gain).transpose(1, 2).contiguous().square()

    def right_sign(g: Tensor, out: Tensor, x: Tensor, gain: Tensor) -> Any:
        return backward(g * torch.sign((x * gain).transpose(1, 2)), out, x, gain)

    return gl.Op(forward, right_sign, name="windows")


@table("wrong-operand", "queries-where-keys-belong", normal(4, 3), normal(4, 3, seed=1))
def scores(wrong: bool) -> Any:
    def backward(g: Tensor, out: Tensor, q: Tensor, k: Tensor) -> Any:
        g = g * (1 - out * out)
        return g @ (q if wrong else k), g.mT @ q

    return gl.Op(lambda q, k: torch.tanh(q @ k.mT), backward, name="scores")


@table("non-finite", "quotient-of-another-zero", normal(3, 4), normal(3, 4, seed=1).abs() + 1)
def quotient(wrong: bool) -> Any:
    """Where x is 0 the derivative along y is 0 because of x, and no branch is masked."""

    def backward(g: Tensor, out: Tensor, x: Tensor, y: Tensor) -> Any:
        return 2 * g * x / y.square(), -2 * g * (out * x / (x * y) if wrong else x.square() / y**3)

    return gl.Op(lambda x, y: (x / y).square(), backward, name="quotient")


ROWS = tuple(table.rows)
