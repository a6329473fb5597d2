"""Calls at other sizes that fresh draws once led to a false alarm, and mistakes beside them that are still caught."""

from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab.report import Report


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def causes(report: Report, severity: str) -> set[str]:
    return {finding.cause for finding in report.findings if finding.severity == severity}


def add_rows(x: Tensor, index: Tensor, source: Tensor) -> Tensor:
    return x.index_add(0, index, source)


def add_rows_backward(g: Tensor, y: Tensor, x: Tensor, index: Tensor, source: Tensor) -> Any:
    return g, None, g.index_select(0, index)


def add_rows_to_several(g: Tensor, y: Tensor, x: Tensor, index: Tensor, source: Tensor) -> Any:
    if x.shape[0] == 1:
        raise ValueError("several rows only")
    return add_rows_backward(g, y, x, index, source)


def program_of(op: gl.Op) -> Any:
    def program(x: Tensor, index: Tensor, source: Tensor) -> Tensor:
        return op(x, index, source)

    return program


INDEX = torch.tensor([1, 0, 1])


@pytest.mark.parametrize("form", [lambda op: op, program_of], ids=["op", "program"])
def test_backward_that_takes_no_empty_call_is_noted_where_torchs_own_takes_none_either(form: Any) -> None:
    report = gl.check(form(gl.Op(add_rows, add_rows_backward)), normal(2, 1), INDEX, normal(3, 1, seed=1))
    assert report.verdict == "pass", report
    assert causes(report, "note") == {"size-specialised"}, report


@pytest.mark.parametrize("form", [lambda op: op, program_of], ids=["op", "program"])
def test_backward_that_takes_no_single_row_is_an_error(form: Any) -> None:
    report = gl.check(form(gl.Op(add_rows, add_rows_to_several)), normal(2, 1), INDEX * 0, normal(3, 1, seed=1))
    assert report.verdict == "fail", report
    assert causes(report, "error") == {"size-specialised"}, report


def times(a: Tensor, b: Tensor) -> Tensor:
    return a @ b


def times_backward(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Any:
    return g @ b.T, a.T @ g


def next_state(x: Tensor, h: Tensor, W: Tensor, U: Tensor) -> Tensor:
    return torch.tanh(x @ W + h @ U)


def next_state_backward(g: Tensor, y: Tensor, x: Tensor, h: Tensor, W: Tensor, U: Tensor) -> Any:
    da = g * (1 - y * y)
    return da @ W.T, da @ U.T, x.T @ da, h.T @ da


@pytest.mark.parametrize("square", [True, False])
def test_matrices_that_are_square_by_chance_are_no_stack_of_matrices(square: bool) -> None:
    shapes = [(2, 2), (2, 2)] if square else [(2, 3), (3, 4)]
    report = gl.check(gl.Op(times, times_backward), *(normal(*shape, seed=k) for k, shape in enumerate(shapes)))
    assert report.verdict == "pass", report
    shapes = [(2, 2)] * 4 if square else [(2, 3), (2, 4), (3, 4), (4, 4)]
    report = gl.check(gl.Op(next_state, next_state_backward), *(normal(*shape, seed=k) for k, shape in enumerate(shapes)))
    assert report.verdict == "pass", report


def rows_squared(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Any:
    """Right for a matrix, and wrong where there are rows of rows."""
    scale = 1 if a.ndim == 2 else a.shape[0]
    return scale * b * g, scale * a * g


def test_square_operands_of_an_elementwise_op_carry_a_leading_dimension() -> None:
    report = gl.check(gl.Op(lambda a, b: a * b, rows_squared), normal(3, 3), normal(3, 3, seed=1))
    assert report.verdict == "fail", report
    assert causes(report, "error") == {"size-specialised"}, report


def inverse_of_one(g: Tensor, y: Tensor, x: Tensor) -> Any:
    return (-y.T @ g @ y.T if x.ndim == 2 else -y @ g @ y,)


def test_one_square_matrix_carries_a_leading_dimension() -> None:
    report = gl.check(gl.Op(torch.linalg.inv, inverse_of_one), normal(3, 3) + 3 * torch.eye(3))
    assert report.verdict == "fail", report
    assert causes(report, "error") == {"size-specialised"}, report
