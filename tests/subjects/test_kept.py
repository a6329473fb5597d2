"""A finding names the saved tensor, attribute, entry of a cache or argument that it is about, by the user's own names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab.render.page import render_html
from gradcheck_lab.subjects.code.kept import concerned, kept_by

X, W = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.1, -0.3]]), torch.tensor([[1.2, 0.7, -0.4], [0.3, 2.0, 1.1]])


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x.contiguous(), weight)
        return x * weight

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        a, w = ctx.saved_tensors
        return grad_output, grad_output * a + 0 * w


class WithSetup(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor) -> Tensor:
        return x * weight

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        x, weight = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        x, scale = ctx.saved_tensors[0], ctx.saved_tensors[1]
        return grad_output, grad_output * x + 0 * scale


class Starred(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        y = torch.tanh(x)
        saved = (weight, y)
        ctx.save_for_backward(*saved)
        return y * weight

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        (weight, t) = ctx.saved_tensors
        return grad_output * (1 - t**2), grad_output * t + 0 * weight


class Changes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.tanh()
        ctx.save_for_backward(y)
        return y * 1

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (result,) = ctx.saved_tensors
        result.detach().square_().neg_().add_(1)
        return grad_output * result


class Gate:
    def __init__(self, W: Any) -> None:
        self.W = W

    def forward(self, x: Any) -> Any:
        self.x, self.y = x, np.tanh(x)
        return self.y * self.W

    def backward(self, dout: Any) -> Any:
        self.dW = (dout * self.x).sum(axis=0)
        return dout * self.W * (1 - self.y**2)


def product(x: Any, w: Any) -> Any:
    return x * w, (x, w)


def product_backward(dout: Any, cache: Any) -> Any:
    first, second = cache
    return dout, dout * first + 0 * second


def scaled(x: Tensor, w: Tensor) -> Tensor:
    return x * w


def scaled_backward(grad_output: Tensor, output: Tensor, a: Tensor, b: Tensor) -> Any:
    return grad_output, grad_output * a


CASES: dict[str, Any] = {
    "saved tensor": (Product, (X, W), {"saved tensor 1 'w'"}),
    "behind a star": (Starred, (X, W), {"saved tensor 0 'weight'"}),
    "a context set up apart": (WithSetup, (X, W), {"saved tensor 1 'scale'"}),
    "attributes": (Gate(np.ones(3)), (X.double().numpy(),), {"self.x", "self.y"}),
    "cache": ((product, product_backward), (X.double().numpy(), W.double().numpy()), {"entry of the cache 1 'second'"}),
    "argument": ((scaled, scaled_backward), (X, W), {"argument 3 'b'"}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_finding_names_what_its_explanation_is_about(name: str) -> None:
    subject, inputs, kept = CASES[name]
    report = gl.check(subject, *inputs, probes=())
    (finding,) = (f for f in report.findings if f.severity == "error")
    assert set(finding.kept) == kept
    line = f"backward: {', '.join([finding.location, *finding.kept])}"
    assert f"  {line}" in str(report).splitlines()
    assert line.replace("'", "&#39;") in render_html(report)
    assert gl.Report.from_dict(report.to_dict()) == report


def test_a_saved_tensor_that_backward_changes_is_named() -> None:
    (finding,) = (f for f in gl.check(Changes, X, probes=["second_backward"]).findings if f.cause == "mutates-saved")
    assert finding.kept == ("saved tensor 0 'result'",)


def test_what_an_explanation_does_not_mention_is_not_named() -> None:
    class Halved(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
            ctx.save_for_backward(x, weight)
            return x * weight

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, weight = ctx.saved_tensors
            return grad_output * weight / 2, grad_output * x

    (finding,) = (f for f in gl.check(Halved, X, W, probes=()).findings if f.severity == "error")
    assert (finding.cause, finding.kept) == ("constant-factor", ())


def test_formulas_are_taken_apart_and_functions_are_known_by_their_names() -> None:
    kept = kept_by((Changes.forward,), Changes.backward)
    assert concerned(kept, ["sum(grad_output * tanh(x)^2)"]) == ("saved tensor 0 'result'",)
    assert concerned(kept, ["(1 + output)"]) == concerned(kept, ["grad_output * x", "the result of tanh"]) == ()


def test_reports_of_the_former_schema_are_read() -> None:
    report = gl.check(Product, X, W, probes=())
    data = report.to_dict()
    for finding in data["findings"]:
        del finding["kept"]
    former = gl.Report.from_dict({**data, "schema": 4})
    assert [f.kept for f in former.findings] == [()] * len(report.findings)
    assert former.schema == report.schema
