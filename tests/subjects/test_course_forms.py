"""Forms of books and courses, each sound and with a mistake: `k` is the factor of one gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import gradcheck_lab as gl


def array(*shape: int) -> Any:
    return np.random.default_rng(sum(shape) + len(shape)).normal(size=shape)


class Inner:
    """A module whose `__call__` keeps what its backward reads (fast.ai)."""

    def __call__(self, *args: Any) -> Any:
        self.args = args
        self.out = self.forward(*args)
        return self.out

    def forward(self, *args: Any) -> Any:
        raise NotImplementedError

    def backward(self) -> None:
        self.bwd(self.out, *self.args)

    def bwd(self, out: Any, *args: Any) -> None:
        raise NotImplementedError


def module_that_keeps_in_its_call(k: float) -> Any:
    class Relu(Inner):
        def forward(self, *args: Any) -> Any:
            return args[0].clamp_min(0.0) - 0.5

        def bwd(self, out: Any, *args: Any) -> None:
            args[0].g = (args[0] > 0).double() * out.g * k

    return gl.check(Relu(), torch.tensor(array(5, 3)), probes=())


def gradient_called_diff(k: float) -> Any:
    class InnerProduct:
        def __init__(self) -> None:
            self.weight, self.weight_diff = array(2, 3), np.zeros((2, 3))

        def forward(self, bottom: Any) -> Any:
            self.bottom = bottom
            return bottom @ self.weight.T

        def backward(self, top_diff: Any) -> Any:
            self.weight_diff = k * top_diff.T @ self.bottom
            return top_diff @ self.weight

    return gl.check(InnerProduct(), array(4, 3), probes=())


def dict_of_parameters_first(k: float) -> Any:
    def forward(params: Any, x: Any) -> Any:
        return params["W"] @ x + params["b"]

    def backward(params: Any, x: Any, dz: Any) -> Any:
        return {"W": k * dz @ x.T, "b": dz.sum(1, keepdims=True)}

    return gl.check((forward, backward), {"W": array(3, 2), "b": array(3, 1)}, array(2, 4), probes=())


def gradient_before_the_loss(k: float) -> Any:
    def loss(x: Any) -> Any:
        dx = 2 * k * x
        return dx, (x**2).sum()

    return gl.check(loss, array(4, 3), probes=())


def list_of_gradients_beside_the_loss(k: float) -> Any:
    def loss_and_grads(x: Any, w: Any) -> Any:
        y = x @ w
        grads = [2 * y @ w.T, 2 * k * x.T @ y]
        return (y**2).sum(), grads

    return gl.check(loss_and_grads, array(4, 3), array(3, 2), probes=())


def one_backward_of_stored_activations(k: float) -> Any:
    class MultiplyGate:
        def forward(self, W: Any, x: Any) -> Any:
            return np.dot(W, x)

        def backward(self, W: Any, x: Any, dz: Any) -> Any:
            return np.outer(dz, x), k * np.dot(W.T, dz)

    return gl.check(MultiplyGate(), array(3, 4), array(4), probes=())


def cell_that_adds_up(k: float) -> Any:
    class Cell:
        def __init__(self) -> None:
            self.W_ih, self.W_hh = array(3, 4), array(4, 4)
            self.dW_ih, self.dW_hh = np.zeros((3, 4)), np.zeros((4, 4))

        def zero_grad(self) -> None:
            for name in ("dW_ih", "dW_hh"):
                getattr(self, name)[...] = 0

        def forward(self, x: Any, h_prev: Any) -> Any:
            self.x, self.h = x, h_prev
            self.h_t = np.tanh(x @ self.W_ih + h_prev @ self.W_hh)
            return self.h_t

        def backward(self, delta: Any) -> Any:
            d = delta * (1 - self.h_t**2)
            self.dW_ih += self.x.T @ d
            self.dW_hh += k * self.h.T @ d
            return d @ self.W_ih.T, d @ self.W_hh.T

    return gl.check(Cell(), array(5, 3), array(5, 4))


FORMS: list[Callable[[float], Any]] = [
    module_that_keeps_in_its_call,
    gradient_called_diff,
    dict_of_parameters_first,
    gradient_before_the_loss,
    list_of_gradients_beside_the_loss,
    one_backward_of_stored_activations,
    cell_that_adds_up,
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_a_form_of_a_course_is_taken_as_it_stands(form: Callable[[float], Any]) -> None:
    report = form(1.0)
    assert report.verdict == "pass", str(report)
    report = form(2.0)
    assert report.verdict == "fail", str(report)
    assert "constant-factor" in {f.cause for f in report.findings}, str(report)


class EngineFunction:
    """A base class whose `apply` sets keyword arguments on the context."""

    def apply(self, *inputs: Any, **options: Any) -> Any:
        context = type(self)()
        for name, value in options.items():
            setattr(context, name, value)
        return self.forward(context, *inputs, **options)  # type: ignore[attr-defined]


@pytest.mark.parametrize("wrong", [False, True])
def test_an_engine_that_sets_options_on_the_context_is_followed(wrong: bool) -> None:
    class Permute(EngineFunction):
        @staticmethod
        def forward(ctx: Any, x: Any, order: Any) -> Any:
            return np.transpose(x, order)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return np.transpose(g, np.argsort(ctx.order)) * (2 if wrong else 1)

    report = gl.check(Permute, np.random.default_rng(0).normal(size=(4, 3)), options={"order": (1, 0)})
    assert report.verdict == ("fail" if wrong else "pass"), str(report)
