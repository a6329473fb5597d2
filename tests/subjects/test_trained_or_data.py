"""Which inputs of `loss, grads = f(...)` are trained and which are data: told by keys, names and shapes, never by position."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradcheck_lab as gl

RNG = np.random.default_rng(0)
X, T, W, B = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 2)), RNG.normal(size=(3, 2)), RNG.normal(size=2)
W1, B1, W2 = RNG.normal(size=(3, 4)), RNG.normal(size=4), RNG.normal(size=(4, 2))
LABELS, V = RNG.integers(0, 2, 6).astype(float), RNG.normal(size=3)
SQUARE = [RNG.normal(size=(4, 4)) for _ in range(4)]


def squared(x: Any, w: Any, b: Any, t: Any) -> tuple[float, Any, Any]:
    d = x @ w + b - t
    g = 2 * d / d.size
    return float((d**2).mean()), x.T @ g, g.sum(0)


def keys_after_data(k: float) -> Any:
    def loss(X: Any, T: Any, W: Any, b: Any) -> Any:
        value, dw, db = squared(X, W, b, T)
        return value, {"W": k * dw, "b": db}

    return loss, (X, T, W, B)


def tuple_before_data(k: float) -> Any:
    def loss(W: Any, b: Any, X: Any, T: Any) -> Any:
        value, dw, db = squared(X, W, b, T)
        return value, (k * dw, db)

    return loss, (W, B, X, T)


def two_of_three(k: float) -> Any:
    def loss(X: Any, W: Any, b: Any) -> Any:
        value, dw, db = squared(X, W, b, T)
        return value, k * dw, db

    return loss, (X, W, B)


def one_of_two_by_its_name(k: float) -> Any:
    def loss(X: Any, W: Any) -> Any:
        out = X @ W
        dW = k * 2 * X.T @ out
        return (out**2).sum(), dW

    return loss, (SQUARE[0], SQUARE[1])


def in_another_order(k: float) -> Any:
    def loss(X: Any, W: Any, T: Any) -> Any:
        out = X @ W - T
        dW = k * 2 * X.T @ out
        dX = 2 * out @ W.T
        return (out**2).sum(), dW, dX

    return loss, (SQUARE[0], SQUARE[1], SQUARE[2])


def four_weights(k: float) -> Any:
    def loss(W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
        h = np.tanh(X @ W1 + b1)
        value, dw2, db2 = squared(h, W2, b2, T)
        d = h @ W2 + b2 - T
        dh = 2 * d / d.size @ W2.T * (1 - h * h)
        return value, (X.T @ dh, dh.sum(0), k * dw2, db2)

    return loss, (W1, B1, W2, B)


def four_of_one_shape(k: float) -> Any:
    def loss(A: Any, B: Any, C: Any, D: Any) -> Any:
        h = np.tanh(A @ B)
        g = 2 * (h @ C - D)
        dh = g @ C.T * (1 - h * h)
        return (g**2).sum() / 4, dh @ B.T, A.T @ dh, k * h.T @ g, -g

    return loss, tuple(SQUARE)


def parameters_first(k: float) -> Any:
    def loss(params: Any, X: Any, T: Any) -> Any:
        value, dw, db = squared(X, params["W"], params["b"], T)
        return value, {"dW": k * dw, "db": db}

    return loss, ({"W": W, "b": B}, X, T)


def parameters_last(k: float) -> Any:
    def loss(X: Any, T: Any, params: Any) -> Any:
        value, dw, db = squared(X, params["W"], params["b"], T)
        return value, {"W": k * dw, "b": db}

    return loss, (X, T, {"W": W, "b": B})


def gradients_before_the_cost(k: float) -> Any:
    def propagate(w: Any, b: Any, X: Any, Y: Any) -> Any:
        m = X.shape[1]
        a = 1 / (1 + np.exp(-(w.T @ X + b)))
        cost = -(Y * np.log(a) + (1 - Y) * np.log(1 - a)).sum() / m
        return {"dw": k * X @ (a - Y).T / m, "db": (a - Y).sum() / m}, cost

    return propagate, (V.reshape(3, 1), 0.3, X.T, LABELS.reshape(1, -1))


def theta_first(k: float) -> Any:
    def cost(theta: Any, X: Any, y: Any) -> Any:
        h = 1 / (1 + np.exp(-(X @ theta)))
        return -(y * np.log(h) + (1 - y) * np.log(1 - h)).mean(), k * X.T @ (h - y) / len(y)

    return cost, (V, X, LABELS)


def theta_last(k: float) -> Any:
    cost, (theta, x, y) = theta_first(k)

    def turned(X: Any, y: Any, theta: Any) -> Any:
        value, gradient = cost(theta, X, y)
        return value, gradient

    return turned, (x, y, theta)


def target_first(k: float) -> Any:
    def mse(y_true: Any, y_pred: Any) -> Any:
        d = y_pred - y_true
        return (d**2).mean(), k * 2 * d / d.size

    return mse, (T, X @ W)


def of_the_data(k: float) -> Any:
    def loss(X: Any, T: Any, W: Any) -> Any:
        d = X @ W - T
        return (d**2).sum(), k * 2 * d @ W.T

    return loss, (X, T, W)


def two_trained(k: float) -> Any:
    def inner(u: Any, v: Any) -> Any:
        return float(u @ v), (k * v, u)

    return inner, (V, V[::-1].copy())


FUNCTIONS: dict[Callable[[float], Any], list[str]] = {
    keys_after_data: ["W", "b"],
    tuple_before_data: ["W", "b"],
    two_of_three: ["W", "b"],
    one_of_two_by_its_name: ["W"],
    in_another_order: ["X", "W"],
    four_weights: ["W1", "b1", "W2", "b2"],
    four_of_one_shape: ["A", "B", "C", "D"],
    parameters_first: ["params['W']", "params['b']"],
    parameters_last: ["params['W']", "params['b']"],
    gradients_before_the_cost: ["w", "b"],
    theta_first: ["theta"],
    theta_last: ["theta"],
    target_first: ["y_pred"],
    of_the_data: ["X"],
    two_trained: ["u", "v"],
}


@pytest.mark.parametrize("made", FUNCTIONS)
def test_what_has_a_gradient_is_compared(made: Callable[[float], Any]) -> None:
    function, inputs = made(1.0)
    report = gl.check(function, *inputs)
    assert report.verdict == "pass", report
    assert [gradient.name for gradient in report.gradients] == FUNCTIONS[made]


@pytest.mark.parametrize("made", FUNCTIONS)
def test_a_factor_in_one_gradient_fails(made: Callable[[float], Any]) -> None:
    function, inputs = made(1.7)
    report = gl.check(function, *inputs, probes=())
    causes = {finding.cause for finding in report.findings if finding.severity == "error"}
    assert (report.verdict, causes) == ("fail", {"constant-factor"}), report


def test_where_neither_name_nor_shape_tells_a_gradient_is_missing_and_wrt_says_otherwise() -> None:
    def product(u: Any, v: Any) -> Any:
        return float((u * v * v).sum()), v * v

    inputs = V, V[::-1].copy()
    report = gl.check(product, *inputs, probes=())
    assert report.verdict == "fail"
    assert [(f.cause, f.gradient) for f in report.findings] == [("missing-gradient", "v")]
    assert report.findings[0].suggestion.endswith("say which inputs need one: wrt=['u']")
    assert gl.check(product, *inputs, wrt=["u"], probes=()).verdict == "pass"
