"""Rows of zeros at which autograd gives NaN and the function is smooth: a backward has to be finite there."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

import gradcheck_lab as gl
from tests.mistakes.registry import array, normal


class Normalise:
    """x / max(|x|, 1e-6), where rows of zeros are divided by 1e-6."""

    def __init__(self, wrong: bool) -> None:
        self.wrong = wrong

    def forward(self, x: Any) -> Any:
        self.x, self.n = x, np.sqrt((x**2).sum(-1, keepdims=True))
        return x / np.maximum(self.n, 1e-6)

    def backward(self, dout: Any) -> Any:
        n = self.n if self.wrong else np.maximum(self.n, 1e-6)
        y = self.x / n
        along = y * (dout * y).sum(-1, keepdims=True)
        return np.where(self.n > 1e-6, (dout - along) / n, (dout + 0 * along) / 1e-6)


def test_zero_row_of_an_array_is_not_finite_where_the_layer_is_smooth() -> None:
    report = gl.check(Normalise(True), array(4, 3), probes=("values",))
    assert [f.cause for f in report.findings if f.severity == "error"] == ["non-finite"], report
    report = gl.check(Normalise(False), array(4, 3), probes=("values",))
    assert report.verdict == "pass", report


def test_length_has_no_derivative_at_zero() -> None:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return ((g / y).unsqueeze(-1) * x,)

    report = gl.check(gl.Op(lambda x: (x * x).sum(-1).sqrt(), backward, name="length"), normal(4, 3), probes=("values",))
    assert report.verdict == "pass", report


def shifted(wrong: bool) -> gl.Op:
    """x + |x| x is smooth at zero, where the derivative of the root is infinite."""

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        n = (x * x).sum(-1, keepdim=True).sqrt()
        rest = torch.where(n > 0, n, torch.ones_like(n))
        return (g + (g * x).sum(-1, keepdim=True) * x / (n if wrong else rest) + g * n,)

    return gl.Op(lambda x: x + x * (x * x).sum(-1, keepdim=True).sqrt(), backward, name="shifted")


def test_zero_row_of_a_tensor() -> None:
    report = gl.check(shifted(True), normal(4, 3), probes=("values",))
    assert [f.cause for f in report.findings if f.severity == "error"] == ["non-finite"], report
    assert gl.check(shifted(False), normal(4, 3), probes=("values",)).verdict == "pass"


def test_direction_has_no_value_at_zero() -> None:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        n = (x * x).sum(-1, keepdim=True).sqrt()
        return ((g - x / n * (g * x / n).sum(-1, keepdim=True)) / n,)

    for guarded in (True, False):

        def forward(x: Tensor, guarded: bool = guarded) -> Tensor:
            n = (x * x).sum(-1, keepdim=True).sqrt()
            return torch.where(n > 0, x / n, 0 * x) if guarded else x / n

        report = gl.check(gl.Op(forward, backward, name="direction"), normal(4, 3), probes=("values",))
        assert report.verdict == "pass", report
