"""A number and an array: a loss with its gradient where that is claimed or agrees, and a question otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab.subjects.readings.reading import PASTE

X = np.random.default_rng(0).normal(size=(4, 3))
T = np.random.default_rng(1).normal(size=(4, 3))
Y = np.array([0, 2, 1, 1])


def sum_and_value(x: Any) -> Any:
    y = np.tanh(x)
    return y.sum(), y


def loss_and_probabilities(x: Any, y: Any) -> Any:
    p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(len(y)), y]).mean()
    return loss, p


def mean_and_centered(x: Any) -> Any:
    m = x.mean()
    return m, x - m


def squares_and_input(x: Any) -> Any:
    return (x**2).sum(), x


def sum_and_two(x: Any) -> Any:
    h, y = np.sin(x), np.cos(x)
    return y.sum(), h, y


UNCLAIMED = {
    "value": (sum_and_value, (X,)),
    "probabilities": (loss_and_probabilities, (X, Y)),
    "expression": (mean_and_centered, (X,)),
    "input": (squares_and_input, (X,)),
    "lambda": (lambda x: (x.sum(), np.cos(x)), (X,)),
}


@pytest.mark.parametrize(("function", "inputs"), UNCLAIMED.values(), ids=UNCLAIMED)
def test_an_array_that_nobody_calls_a_gradient_is_asked_about(function: Any, inputs: Any) -> None:
    with pytest.raises(gl.InvalidArgument, match=r"cannot tell whether .* returns a gradient") as caught:
        gl.check(function, *inputs)
    wrapper = str(caught.value).partition(f"{PASTE}\n")[2]
    report = eval(wrapper, {"gl": gl, **globals(), function.__name__: function, "f": function, "function": function})
    assert report.verdict == "fail"


def test_the_question_has_the_names_of_the_user() -> None:
    with pytest.raises(gl.InvalidArgument) as caught:
        gl.check(loss_and_probabilities, X, Y)
    assert str(caught.value).splitlines() == [
        "cannot tell whether loss_and_probabilities returns a gradient: it returns a number and p, which no name calls one and "
        "a numeric derivative does not agree with; the nearest readings are",
        "  1. loss, gradient of x = loss_and_probabilities(x, y)",
        "  2. loss, p = loss_and_probabilities(x, y), with a backward of its own that takes an upstream gradient of each: "
        "gl.check((loss_and_probabilities, backward), X, Y)",
        "  3. a function to be written in torch: loss_and_probabilities(x, y) has no gradient that was written by hand",
        "paste the first, or write another of them like it:",
        "gl.check((lambda x, y: loss_and_probabilities(x, y)[0], lambda x, y: loss_and_probabilities(x, y)[1]), X, Y)",
    ]


def named(x: Any) -> Any:
    dx = 2 * x
    return (x**2).sum(), dx


def named_wrong(x: Any) -> Any:
    dx = 3 * x + 1
    return (x**2).sum(), dx


def short_wrong(x: Any) -> Any:
    g = 3 * x + 1
    return (x**2).sum(), g


def right_by_value(x: Any) -> Any:
    other = 2 * x
    return (x**2).sum(), other


def norm(x: Any) -> Any:
    n = np.sqrt((x**2).sum())
    return n, x / n


def expression_wrong(x: Any) -> Any:
    return (x**2).sum(), 3 * x


def value_and_grad(x: Any) -> Any:
    return (x**2).sum(), 3 * x + 1


def documented(x: Any) -> Any:
    """The squares, and the derivative of their sum."""
    return (x**2).sum(), 3 * x + 1


def not_averaged(x: Any, t: Any) -> Any:
    d = x - t
    return (d**2).mean(), d / len(x)


CLAIMED = {
    "named": (named, (X,), "pass"),
    "named-wrong": (named_wrong, (X,), "fail"),
    "short-wrong": (short_wrong, (X,), "fail"),
    "right-by-value": (right_by_value, (X,), "pass"),
    "right-expression": (norm, (X,), "pass"),
    "parallel": (expression_wrong, (X,), "fail"),
    "by-the-function": (value_and_grad, (X,), "fail"),
    "by-its-docstring": (documented, (X,), "fail"),
    "by-a-factor": (not_averaged, (X, T), "fail"),
}


@pytest.mark.parametrize(("function", "inputs", "verdict"), CLAIMED.values(), ids=CLAIMED)
def test_what_is_claimed_to_be_a_gradient_is_compared(function: Any, inputs: Any, verdict: str) -> None:
    assert gl.check(function, *inputs, probes=()).verdict == verdict


def polynomial(x: Any, y: Any, a: Any, b: Any, factor: float) -> Any:
    d = a + b * x - y
    grad_a, grad_b = 2 * d.sum(), 2 * (d * x).sum() * factor
    return (d**2).sum(), grad_a, grad_b


@pytest.mark.parametrize(("factor", "verdict"), [(1, "pass"), (2, "fail")])
def test_gradients_of_numbers_are_compared(factor: int, verdict: str) -> None:
    assert gl.check(polynomial, X, T, 0.1, 0.3, factor, probes=()).verdict == verdict


def propagate(w: Any, b: Any, X: Any, Y: Any, factor: Any) -> Any:
    m = X.shape[1]
    A = 1 / (1 + np.exp(-(w.T @ X + b)))
    cost = -np.sum(Y * np.log(A) + (1 - Y) * np.log(1 - A)) / m
    grads = {"dw": X @ (A - Y).T / m, "db": np.sum(A - Y) * factor / m}
    return grads, cost


@pytest.mark.parametrize(("factor", "verdict"), [(1, "pass"), (2, "fail")])
def test_the_loss_may_come_after_a_dict_of_gradients(factor: int, verdict: str) -> None:
    labels = np.array([[0.0, 1.0, 1.0, 0.0]])
    assert gl.check(propagate, X[0][:, None], 0.3, X.T, labels, factor, probes=()).verdict == verdict


class Classifier:
    """Returns the gradient of what it holds beside its loss."""

    def __init__(self, factor: float) -> None:
        self.W, self.factor = T.T[:, :3].copy(), factor

    def loss(self, X: Any, y: Any) -> Any:
        s = X @ self.W
        p = np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)
        loss = -np.log(p[np.arange(len(y)), y]).mean()
        p[np.arange(len(y)), y] -= 1
        dW = self.factor * X.T @ p / len(y)
        return loss, dW


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (-1.0, "fail")])
def test_the_gradient_beside_a_method_is_of_what_its_object_holds(factor: float, verdict: str) -> None:
    report = gl.check(Classifier(factor).loss, X, Y, probes=())
    assert report.verdict == verdict, str(report)
    assert [g.name for g in report.gradients] == ["W"]


def recurrent(hprev: Any, Wx: Any, Wh: Any, factor: float) -> Any:
    """Gives its last state too, which is no gradient, and has no gradient of its first one."""
    hs = {-1: hprev, 0: np.tanh(Wx @ X[:3, :1] + Wh @ hprev)}
    loss = (hs[0] ** 2).sum()
    d = 2 * hs[0] * (1 - hs[0] ** 2)
    dWx, dWh = d @ X[:3, :1].T, factor * d @ hs[-1].T
    return loss, dWx, dWh, hs[0]


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (2.0, "fail")])
def test_named_gradients_go_to_the_inputs_of_their_names(factor: float, verdict: str) -> None:
    report = gl.check(recurrent, T[:3, :1].copy(), T[:3].copy(), X[:3].copy(), factor, probes=())
    assert report.verdict == verdict, str(report)
    assert [g.name for g in report.gradients if g.verdict != "pass"] == ([] if verdict == "pass" else ["Wh"])
    assert any("hprev" in f.message for f in report.findings if f.cause == "not-compared")


class Retaining:
    """Keeps what its backward needs only where it is told to."""

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.X: list[Any] = []

    def forward(self, X: Any, retain_derived: bool = True) -> Any:
        if retain_derived:
            self.X.append(X)
        return np.tanh(X)

    def backward(self, dLdy: Any) -> Any:
        return [self.factor * dLdy * (1 - np.tanh(x) ** 2) for x in self.X]


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (2.0, "fail")])
def test_an_option_that_keeps_nothing_for_the_backward_is_not_tried(factor: float, verdict: str) -> None:
    report = gl.check(Retaining(factor), X, probes=["options"])
    assert report.verdict == verdict, str(report)


def regression(x: Any, t: Any, params: Any) -> Any:
    difference = x @ params["w"] + params["b"] - t
    d = 2 * difference / len(t)
    return (difference**2).sum() / len(t), {"w": x.T @ d, "b": d.sum(0)}


def regression_by_names(x: Any, t: Any, w: Any, b: Any) -> Any:
    loss, grads = regression(x, t, {"w": w, "b": b})
    dw, db = grads["w"], grads["b"]
    return loss, dw, db


COLUMN, BIAS = X[0][:, None], np.ones(1)
RANK_1 = {
    "by-key": (regression, (X, Y.astype(float), {"w": COLUMN, "b": BIAS}), "params['w']"),
    "by-key-in-torch": (
        regression,
        (torch.tensor(X), torch.tensor(Y).double(), {"w": torch.tensor(COLUMN), "b": torch.ones(1).double()}),
        "params['w']",
    ),
    "by-name": (regression_by_names, (X, Y.astype(float), COLUMN, BIAS), "w"),
    "by-name-in-torch": (
        regression_by_names,
        (torch.tensor(X), torch.tensor(Y).double(), torch.tensor(COLUMN), torch.ones(1).double()),
        "w",
    ),
}


@pytest.mark.parametrize(("function", "inputs", "name"), RANK_1.values(), ids=RANK_1)
def test_a_column_against_a_vector_gives_gradients_of_another_shape(function: Any, inputs: Any, name: str) -> None:
    report = gl.check(function, *inputs, probes=())
    assert {f.cause for f in report.findings if f.severity == "error"} == {"missing-broadcast-sum"}, str(report)
    assert next(g.name for g in report.gradients if g.verdict == "fail") == name
    x, t, *rest = inputs
    assert gl.check(function, x, t[:, None], *rest, probes=()).verdict == "pass"


def loss_and_norms(x: Any, params: Any) -> Any:
    hidden = torch.tanh(x @ params["w"])
    return (hidden**2).mean(), {"w": params["w"].norm(), "b": params["b"].mean()}


def loss_and_hidden(x: Any, params: Any) -> Any:
    hidden = torch.tanh(x @ params["w"])
    return (hidden**2).mean(), {"hidden": hidden, "w": params["w"].norm()}


def loss_and_norms_of_columns(x: Any, params: Any) -> Any:
    return (torch.tanh(x @ params["w"]) ** 2).mean(), {name: value.norm(dim=0, keepdim=True) for name, value in params.items()}


def variation_and_differences(x: Any, params: Any) -> Any:
    dx = x[1:] - x[:-1]
    return (dx**2).sum() * params["w"].sum(), dx


@pytest.mark.parametrize("function", [loss_and_norms, loss_and_hidden, loss_and_norms_of_columns, variation_and_differences])
def test_what_is_kept_under_the_names_of_parameters_is_no_gradient_for_that(function: Any) -> None:
    params = {"w": torch.tensor(COLUMN), "b": torch.ones(3).double()}
    assert gl.check(function, torch.tensor(X), params, probes=()).verdict != "fail"
