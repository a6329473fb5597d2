"""Backwards that add up in another order at each run, as atomic additions of a device do: rounding, and what is more than that.

The order comes of a generator that nobody seeds again, as the scheduling of a device does.
"""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from tests.mistakes.registry import normal

# mypy: disable-error-code="override"

ROWS, CLASSES, WIDTH = 90, 7, 5
INDEX = (torch.arange(ROWS) * 11) % CLASSES
Add = Callable[[Tensor, Tensor, Tensor], Tensor]


def added(total: Tensor, index: Tensor, values: Tensor) -> Tensor:
    return total.index_add(0, index, values)


def one_lost(total: Tensor, index: Tensor, values: Tensor) -> Tensor:
    """A race: the first that arrives is overwritten."""
    return total.index_add(0, index[1:], values[1:])


def overwritten(total: Tensor, index: Tensor, values: Tensor) -> Tensor:
    """No atomics: the last that arrives stays."""
    total = total.clone()
    for k, row in zip(index.tolist(), values, strict=True):
        total[k] = row
    return total


def in_16_bits(total: Tensor, index: Tensor, values: Tensor) -> Tensor:
    return added(total.bfloat16(), index, values.bfloat16()).to(total.dtype)


def lookup(add: Add) -> Any:
    """The rows of a table, and of its gradient the rows that were looked up, added in another order at each run."""
    runs = count()

    class Lookup(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, table: Tensor, index: Tensor) -> Tensor:
            ctx.save_for_backward(index)
            ctx.shape = table.shape
            return table[index]

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
            (index,) = ctx.saved_tensors
            flat, rows = index.reshape(-1), grad_output.reshape(-1, *ctx.shape[1:])
            order = torch.randperm(flat.numel(), generator=torch.Generator().manual_seed(next(runs)))
            return add(grad_output.new_zeros(ctx.shape), flat[order], rows[order]), None

    return Lookup


def scaled(add: Add) -> Any:
    """A product with a row, whose gradient is a sum over the batch in another order at each run."""
    runs = count()

    def backward(grad_output: Tensor, output: Tensor, x: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        products = grad_output * x
        order = torch.randperm(len(products), generator=torch.Generator().manual_seed(next(runs)))
        zeros = torch.zeros(1, *row.shape, dtype=row.dtype)
        return grad_output * row, add(zeros, torch.zeros_like(order), products[order])[0]

    return gl.Op(lambda x, row: x * row, backward, name="scaled")


def report_of(form: Callable[[Add], Any], add: Add, dtype: torch.dtype) -> gl.Report:
    if form is lookup:
        return gl.check(form(add), normal(CLASSES, WIDTH).to(dtype), INDEX)
    return gl.check(form(add), normal(ROWS, WIDTH).to(dtype), normal(WIDTH).to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("form", [lookup, scaled])
def test_another_order_at_each_run_is_rounding(form: Callable[[Add], Any], dtype: torch.dtype) -> None:
    report = report_of(form, added, dtype)
    assert report.verdict == "pass"
    assert [f.message for f in report.findings if f.severity == "error"] == []
    assert {f.severity for f in report.findings if f.cause == "nondeterministic"} <= {"note"}


@pytest.mark.parametrize(
    ("add", "causes"),
    [(one_lost, {"nondeterministic"}), (overwritten, {"nondeterministic"}), (in_16_bits, {"low-precision"})],
    ids=["one is lost", "overwritten", "in 16 bits"],
)
@pytest.mark.parametrize("form", [lookup, scaled])
def test_more_than_rounding_is_an_error(form: Callable[[Add], Any], add: Add, causes: set[str]) -> None:
    report = report_of(form, add, torch.float32)
    assert report.verdict == "fail"
    assert causes <= {f.cause for f in report.findings if f.severity == "error"}
