"""The lines that make a wrong gradient are marked in its backward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import Function

import gradcheck_lab as gl
from gradcheck_lab.model.limits import SHOWN_LINES
from gradcheck_lab.subjects.code.blamed import source_of

A, W = torch.arange(6.0).reshape(2, 3), torch.arange(12.0).reshape(3, 4) / 5


class Product(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        grad_x = grad_output @ weight.T
        grad_weight = x.T @ grad_output
        grad_weight = 2 * grad_weight  # blamed
        return grad_x, grad_weight


class Dense:
    def __init__(self) -> None:
        self.W = np.arange(12.0).reshape(3, 4) / 5

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W

    def backward(self, grad: Any) -> Any:
        self.dW = self.x.T @ grad * 2  # blamed
        return grad @ self.W.T


def product(x: Tensor, weight: Tensor) -> Tensor:
    return x @ weight


def product_backward(grad_output: Tensor, output: Tensor, x: Tensor, weight: Tensor) -> Any:
    return (
        grad_output @ weight.T,
        2 * x.T @ grad_output,  # blamed
    )


def cached(x: Any, weight: Any) -> Any:
    return x @ weight, (x, weight)


def cached_backward(dout: Any, cache: Any) -> Any:
    x, weight = cache
    grads = {"x": dout @ weight.T}
    grads["weight"] = 2 * x.T @ dout  # blamed
    return grads["x"], grads["weight"]


@pytest.mark.parametrize(
    ("subject", "inputs"),
    [
        (Product.apply, (A, W)),
        (Dense(), (A.double().numpy(),)),
        (gl.Op(product, product_backward), (A, W)),
        ((cached, cached_backward), (A.double().numpy(), W.double().numpy())),
        (gl.Op(torch.square, lambda grad_output, output, x: (grad_output * x,), name="square"), (A,)),  # blamed
    ],
    ids=["Function", "layer", "op", "pair", "lambda"],
)
def test_blamed_lines_make_the_wrong_gradient(subject: Any, inputs: tuple[Any, ...]) -> None:
    report = gl.check(subject, *inputs, probes=())
    (finding,) = (finding for finding in report.findings if finding.severity == "error")
    source = finding.source
    assert source is not None
    blamed = {source.lines[number - source.first] for number in source.blamed}
    assert blamed
    assert any("# blamed" in line for line in blamed), blamed
    assert not any("grad_x =" in line or "@ weight.T" in line for line in blamed), blamed


def test_long_backward_is_cut_around_what_is_blamed(tmp_path: Path) -> None:
    lines = "".join(f"    value_{k} = {k}\n" for k in range(200))
    text = f"def backward(g):\n{lines}    dx = 2 * g\n{lines}    return dx\n"
    path = tmp_path / "long_backward.py"
    path.write_text(text)
    namespace: dict[str, Any] = {"__name__": "long_backward"}
    exec(compile(text, str(path), "exec"), namespace)
    source = source_of(namespace["backward"], 0, "x")
    assert source is not None
    assert source.blamed == (202,)
    assert source.lines[202 - source.first] == "    dx = 2 * g"
    assert len(source.lines) == SHOWN_LINES.value


def test_function_without_source_has_no_lines() -> None:
    namespace: dict[str, Any] = {"__name__": "nowhere"}
    exec("def backward(g): return g", namespace)
    assert source_of(namespace["backward"], 0, "x") is None
    assert source_of(len, 0, "x") is None
