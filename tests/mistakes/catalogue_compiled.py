"""Planted mistakes that show under torch.compile alone: other code while compiling, and what stays as it was traced."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from gradcheck_lab.probes.compiled import compiled_quickly
from tests.mistakes.registry import Table, normal

# mypy: disable-error-code="override"

table = Table()
X, W = normal(4, 3), normal(5, seed=1)
QUICKLY: dict[str, Any] = {"probes": [compiled_quickly]}


@table("compiled-mismatch", "function-fast-path-while-compiling", X, **QUICKLY)
def fast_path(wrong: bool) -> Any:
    class Square(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            if torch.compiler.is_compiling():
                return grad_output * x if wrong else grad_output * x + grad_output * x
            return 2 * grad_output * x

    return Square


@table("compiled-mismatch", "function-rows-once", X, **QUICKLY)
def rows_once(wrong: bool) -> Any:
    def rows(x: Tensor) -> int:
        return len(x)

    if wrong:
        torch.compiler.assume_constant_result(rows)  # marks the function itself

    class MeanOfRows(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.rows, ctx.shape = rows(x), x.shape
            return x.mean(0)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            return (grad_output / ctx.rows).expand(ctx.shape)

    return MeanOfRows


@table("compiled-mismatch", "function-largest-once", X, W, wrt=["x"], **QUICKLY)
def largest_once(wrong: bool) -> Any:
    def largest(w: Tensor) -> float:
        return float(w.detach().abs().max())

    if wrong:
        torch.compiler.assume_constant_result(largest)

    class Scaled(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            ctx.largest = largest(w)
            return x * ctx.largest

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
            return grad_output * ctx.largest, None

    return Scaled


ROWS = table.rows
