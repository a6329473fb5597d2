"""A reference runs in a process of its own as it does in this one."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

import gradcheck_lab as gl


class Doubled(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return 3 * grad_output


def with_thrice_the_gradient(x: Tensor) -> Tensor:
    return 3 * x - x.detach()


def test_a_function_with_a_reference_passes_apart() -> None:
    x = torch.linspace(0.5, 2.0, 6, dtype=torch.float64)
    report = gl.check(Doubled, x, reference=with_thrice_the_gradient, probes=(), isolate=True)
    assert report.verdict == "pass", report
    wrong = gl.check(Doubled, x, reference=torch.nn.functional.relu, probes=(), isolate=True)
    assert [f.cause for f in wrong.findings if f.severity == "error"][:1] == ["forward-mismatch"], wrong
