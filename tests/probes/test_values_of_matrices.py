"""A symmetric matrix hides a missing transpose: the others are tried too, but for covariances, whose symmetry rules may use."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gradcheck_lab as gl


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def as_function(transposed: bool) -> Any:
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            ctx.save_for_backward(x, w)
            return x @ w

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            x, w = ctx.saved_tensors
            return g @ (w.T if transposed else w), x.T @ g

    return Product


def as_pair(transposed: bool) -> Any:
    def backward(dout: Any, cache: Any) -> Any:
        x, w = cache
        return dout @ (w.T if transposed else w), x.T @ dout

    return lambda x, w: (x @ w, (x, w)), backward


class Layer:
    def __init__(self, transposed: bool, weight: Any) -> None:
        self.transposed, self.W = transposed, weight

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W

    def backward(self, dout: Any) -> Any:
        self.dW = self.x.T @ dout
        return dout @ (self.W.T if self.transposed else self.W)


class Module(nn.Module):
    def __init__(self, transposed: bool, weight: Tensor) -> None:
        super().__init__()
        self.weight, self.product = nn.Parameter(weight), as_function(transposed)

    def forward(self, x: Tensor) -> Any:
        return self.product.apply(x, self.weight)


X, DRAWN = normal(4, 3), normal(3, 3, seed=1)
MATRICES = {"symmetric": DRAWN + DRAWN.T, "diagonal": DRAWN.diag().diag(), "identity": torch.eye(3).double(), "zero": 0 * DRAWN}
CALLS = {
    "function": lambda transposed, w: (as_function(transposed), X, w),
    "pair": lambda transposed, w: (as_pair(transposed), X, w),
    "pair-numpy": lambda transposed, w: (as_pair(transposed), X.numpy(), w.numpy()),
    "layer-numpy": lambda transposed, w: (Layer(transposed, w.numpy().copy()), X.numpy()),
    "module": lambda transposed, w: (Module(transposed, w.clone()), X),
}


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("form", CALLS)
def test_missing_transpose_is_found_though_the_matrix_hides_it(form: str, matrix: str) -> None:
    report = gl.check(*CALLS[form](False, MATRICES[matrix]))
    assert report.verdict == "fail", report
    # an identity is drawn anew at other sizes
    wanted = "size-specialised" if matrix == "identity" else "value-dependent"
    assert wanted in {finding.cause for finding in report.findings if finding.severity == "error"}, report
    assert gl.check(*CALLS[form](True, MATRICES[matrix])).verdict == "pass"


def test_rule_that_uses_the_symmetry_of_a_covariance_passes() -> None:
    def backward(g: Tensor, y: Tensor, x: Tensor, covariance: Tensor) -> Any:
        return 2 * g.unsqueeze(-1) * (x @ covariance), x.T @ (g.unsqueeze(-1) * x)

    squares = gl.Op(lambda x, covariance: (x @ covariance * x).sum(-1), backward, name="squares")
    assert gl.check(squares, X, DRAWN @ DRAWN.T).verdict == "pass"
    assert gl.check(squares, X, DRAWN + DRAWN.T).verdict == "fail"
