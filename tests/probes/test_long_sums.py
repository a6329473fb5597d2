"""An accumulator in 16 bits loses more with every row: a derived call with a long dimension shows it, whatever the user's."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab import ops

NARROW = [torch.bfloat16, torch.float16]


def draw(*shapes: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(shape, generator=generator).to(dtype) for shape in shapes)


def one_by_one(rows: Tensor, wide: bool) -> Tensor:
    """The sum over the first axis, row by row, in float32 where it is `wide`."""
    total = torch.zeros(rows.shape[1:], dtype=torch.promote_types(rows.dtype, torch.float32) if wide else rows.dtype)
    for row in rows:
        total = total + row
    return total.to(rows.dtype)


def bias(wide: bool) -> Any:
    return lambda x, b: x + b, lambda g, y, x, b: (g, one_by_one(g, wide)), ((4, 3), (3,))


def weight(wide: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        return g @ w.T, one_by_one(x[:, :, None] * g[:, None, :], wide)

    return lambda x, w: x @ w, backward, ((4, 3), (3, 5))


def scale_of_rows(wide: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        return g * w, one_by_one((g * x).T, wide)[:, None]

    return lambda x, w: x * w, backward, ((4, 3), (4, 1))


def scores(wide: bool) -> Any:
    """Keys as many as queries, whose number makes the scores large: keys alone are made many."""

    def backward(g: Tensor, y: Tensor, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        return one_by_one(g.T[:, :, None] * k[:, None, :], wide), g.T @ q

    return lambda q, k: q @ k.T, backward, ((4, 3), (4, 3))


FORMS: dict[str, Callable[[bool], Any]] = {"bias": bias, "weight": weight, "scale of rows": scale_of_rows, "scores": scores}


@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_an_accumulator_in_16_bits_is_low_precision_and_one_in_float32_is_not(form: str, dtype: torch.dtype) -> None:
    for wide, verdict in ((False, "fail"), (True, "pass")):
        forward, backward, shapes = FORMS[form](wide)
        report = gl.check(gl.Op(forward, backward, name="summed"), *draw(*shapes, dtype=dtype), probes=("dtypes",))
        assert report.verdict == verdict, str(report)
        if verdict == "fail":
            finding = report.findings[0]
            assert (finding.cause, finding.probe) == ("low-precision", "dtypes")
            assert "in sums of 8192 terms of one sign" in finding.message
            assert "grows with the number of terms" in finding.explanation


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_ops_that_add_up_in_float32_pass(dtype: torch.dtype) -> None:
    calls: dict[gl.Op, tuple[tuple[int, ...], ...]] = {
        ops.linear: ((4, 3), (5, 3), (5,)),
        ops.layer_norm: ((4, 3), (3,), (3,)),
        ops.softmax: ((4, 3),),
        ops.logsumexp: ((4, 3),),
        ops.mse_loss: ((4, 3), (4, 3)),
    }
    for op, shapes in calls.items():
        report = gl.check(op, *draw(*shapes, dtype=dtype), probes=("dtypes",))
        assert report.verdict == "pass", str(report)
