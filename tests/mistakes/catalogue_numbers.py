"""Planted mistakes that only derived calls show, in forwards that autograd cannot follow: numbers judge those calls too."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from tests.mistakes.registry import Table, normal

# mypy: disable-error-code="override"

table = Table()
X = normal(3, 4)
ROWS_OF_TABLE = normal(6, 2)


def by_rows(x: Tensor, row: Callable[[list[float]], Any]) -> Tensor:
    """What a function of Python numbers gives for each row."""
    return torch.tensor([row(values) for values in x.detach().reshape(-1, x.shape[-1]).tolist()], dtype=x.dtype)


@table("non-finite", "numbers-product", X)
def product(wrong: bool) -> Any:
    class Product(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return by_rows(x, math.prod).reshape(x.shape[:-1])

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            if wrong:
                return g.unsqueeze(-1) * x.prod(-1, keepdim=True) / x
            others = [torch.cat([x[..., :k], x[..., k + 1 :]], -1).prod(-1) for k in range(x.shape[-1])]
            return g.unsqueeze(-1) * torch.stack(others, -1)

    return Product


@table("unwritten-elements", "numbers-long-rows", X)
def long_rows(wrong: bool) -> Any:
    class SumOfSquares(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return by_rows(x, lambda row: math.fsum(v * v for v in row)).reshape(x.shape[:-1])

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            each, written = 2 * x * g.unsqueeze(-1), 8 if wrong else x.shape[-1]
            found = torch.zeros_like(x)
            found[..., :written] = each[..., :written]
            return found

    return SumOfSquares


@table("option-specialised", "numbers-slope", X, 1.0)
def slope(wrong: bool) -> Any:
    class Bounded(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, beta: float = 1.0) -> Tensor:
            ctx.save_for_backward(x)
            ctx.beta = beta
            return by_rows(x, lambda row: [math.tanh(beta * v) for v in row]).reshape(x.shape)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            (x,) = ctx.saved_tensors
            return g * (1 - torch.tanh(ctx.beta * x) ** 2) * (1.0 if wrong else ctx.beta), None

    return Bounded


@table("tie-mass", "numbers-largest", X)
def largest(wrong: bool) -> Any:
    class Largest(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return by_rows(x, max).reshape(x.shape[:-1])

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            hit = (x == x.amax(-1, keepdim=True)).to(x.dtype)
            return g.unsqueeze(-1) * (hit if wrong else hit / hit.sum(-1, keepdim=True))

    return Largest


@table("duplicate-index", "numbers-rows-taken", ROWS_OF_TABLE, torch.tensor([0, 4, 1, 5]))
def rows_taken(wrong: bool) -> Any:
    class Take(Function):
        @staticmethod
        def forward(ctx: Any, table: Tensor, index: Tensor) -> Tensor:
            ctx.save_for_backward(index)
            ctx.shape = table.shape
            rows = table.detach().tolist()
            return torch.tensor([rows[k] for k in index.tolist()], dtype=table.dtype).reshape(*index.shape, -1)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            (index,) = ctx.saved_tensors
            found = g.new_zeros(ctx.shape)
            if wrong:
                found[index] = g
            else:
                found.index_add_(0, index, g)
            return found, None

    return Take


@table("tie-mass", "numbers-middle", normal(3, 5))
def middle(wrong: bool) -> Any:
    """A median has no derivative in single elements where all are equal, and has one along all of them."""

    class Middle(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return by_rows(x, lambda row: sorted(row)[len(row) // 2]).reshape(x.shape[:-1])

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            if wrong:
                hit = (x == x.sort(-1).values[..., x.shape[-1] // 2 : x.shape[-1] // 2 + 1]).to(x.dtype)
                return g.unsqueeze(-1) * hit
            place = x.argsort(-1)[..., x.shape[-1] // 2 : x.shape[-1] // 2 + 1]
            return torch.zeros_like(x).scatter(-1, place, g.unsqueeze(-1))

    return Middle


@table("value-dependent", "numbers-beyond-the-table", normal(5).abs() + 0.5, normal(6, seed=1))
def beyond_the_table(wrong: bool) -> Any:
    """Beyond its ends a table is constant; at many other sizes a second table ends sooner than the values of x."""

    class Interpolated(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, table: Tensor) -> Tensor:
            ctx.save_for_backward(x, table)
            return torch.from_numpy(np.interp(x.detach().numpy(), np.arange(len(table)), table.detach().numpy()))

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            x, table = ctx.saved_tensors
            i = x.floor().long().clamp(0, max(len(table) - 2, 0))
            right = (i + 1).clamp(max=len(table) - 1)
            w = (x - i).clamp(0, 1)
            inside = (x > 0) & (x < len(table) - 1)
            dx = g * (table[right] - table[i]) * (1 if wrong else inside)
            return dx, torch.zeros_like(table).index_add(0, i, g * (1 - w)).index_add(0, right, g * w)

    return Interpolated


ROWS = tuple(table.rows)
