"""Explanations of a wrong gradient where the outputs differ in their number of dimensions."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

import gradcheck_lab as gl


class Moments(Function):
    """The vector itself and its outer product with a matrix, whose second part is forgotten in the gradient of the vector."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(v, matrix)
        return v.exp(), matrix * v

    @staticmethod
    def backward(ctx: Any, grad_vector: Tensor, grad_matrix: Tensor) -> tuple[Tensor, Tensor]:
        v, _ = ctx.saved_tensors
        return v.exp() * grad_vector, v * grad_matrix


def test_a_vector_among_a_vector_and_a_matrix_is_explained() -> None:
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(4, generator=generator, dtype=torch.float64)
    matrix = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    report = gl.check(Moments, v, matrix)
    assert report.verdict == "fail", report
    assert [f.gradient for f in report.findings if f.severity == "error"] == ["v"], report
    assert not report.reasons
