"""A dispatch mode that only looks changes no number of a forward, and narrower dtypes inside are its own precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab.torch_internals import DispatchMode


class Looking(DispatchMode):
    """Does nothing of its own."""

    def call(self, func, args, kwargs):
        return func(*args, **kwargs)


MATRIX = torch.randn(4, 4, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("function", [
    torch.pinverse, torch.linalg.pinv, lambda x: torch.linalg.pinv(x.mH), lambda x: torch.linalg.pinv(x @ x.mH, hermitian=True),
    lambda x: torch.linalg.lstsq(x, x.conj()).solution, lambda x: torch.linalg.matrix_rank(x.conj()), torch.linalg.inv,
])  # fmt: skip
def test_a_mode_that_only_looks_changes_no_number(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    with torch.no_grad():
        plain = function(MATRIX)
        with Looking():
            seen = function(MATRIX)
    assert torch.allclose(seen, plain, rtol=1e-12)


def _with(change: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    value = x.clone()
    if value.requires_grad:
        value.register_hook(change)
    return value


RIGHT, LARGER = (lambda g: g), (lambda g: 1.5 * g)
CASTS = {
    "pinv": (torch.pinverse, MATRIX),
    "half-of-complex": (torch.Tensor.half, MATRIX),
    "bfloat16-of-complex": (lambda x: x.bfloat16().double() * 2, MATRIX),
    "complex64-of-complex": (lambda x: x.to(torch.complex64) * x.abs(), MATRIX),
    "half-of-one-complex": (torch.Tensor.half, MATRIX[0, 0]),
    # weights in float32 beside a float64 input: what is computed of them alone has their precision, in the backward too
    "float32-constant": (lambda x, w: x * (w / w.sum()), MATRIX.real.clone(), torch.rand(4)),
    "float32-statistics": (lambda x, w: torch.cov(x, aweights=w), MATRIX.real.clone(), torch.rand(4)),
}


@pytest.mark.filterwarnings("ignore:Casting complex values")
@pytest.mark.parametrize("name", CASTS)
def test_narrower_dtypes_inside_leave_the_right_gradient_right_and_a_wrong_one_wrong(name: str) -> None:
    function, x, *others = CASTS[name]
    given = x.clone().requires_grad_()
    for change, verdict in ((RIGHT, "pass"), (LARGER, "fail")):
        report = gl.check(lambda x, *rest, change=change: function(_with(change, x), *rest), given, *others)
        assert report.verdict == verdict, str(report)
        assert verdict == "pass" or report.findings[0].cause in ("constant-factor", "wrong-value"), str(report)
