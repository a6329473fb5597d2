"""A diagnosis sees the steps of a traced NumPy forward, so that an epsilon which the backward lacks has its name."""

from typing import Any

import numpy as np
import pytest

import gradcheck_lab as gl
from gradcheck_lab.subjects.layers.lines_run import lines_run

Array = Any
LABELS = np.array([0, 2, 1, 1])
DTYPES = ["float64", "float32"]


def scores(dtype: str, scale: float = 1.0) -> Array:
    return (scale * np.random.default_rng(3).normal(size=(4, 3))).astype(dtype)


class Loss:
    """Its backward is that of the loss without the number that keeps the logarithm finite."""

    tiny = 1e-4

    def forward(self, x: Array, t: Array) -> Array:
        e = np.exp(x - x.max(axis=1, keepdims=True))
        self.y, self.t = e / e.sum(axis=1, keepdims=True), t
        return -np.log(self.y[np.arange(len(t)), t] + self.tiny).sum() / len(t)

    def backward(self, dout: Array = 1) -> Array:
        d = self.y.copy()
        d[np.arange(len(self.t)), self.t] -= 1
        return dout * d / len(self.t)


class SameLoss(Loss):
    def backward(self, dout: Array = 1) -> Array:
        picked = self.y[np.arange(len(self.t)), self.t]
        return super().backward(dout) * (picked / (picked + self.tiny))[:, None]


class BoundedLoss(Loss):
    """The number is a lower bound of the probabilities."""

    def forward(self, x: Array, t: Array) -> Array:
        super().forward(x, t)
        return -np.log(np.clip(self.y[np.arange(len(t)), t], self.tiny, 1.0)).sum() / len(t)


class LossOfScores:
    """One bias for all rows: so few numbers that a pattern fitted to them would be chance."""

    def __init__(self) -> None:
        self.b = np.array([0.3, -0.2, 0.1])
        self.loss = Loss()

    def forward(self, x: Array, t: Array) -> Array:
        return self.loss.forward(x + self.b, t)

    def backward(self, dout: Array = 1) -> Array:
        d = self.loss.backward(dout)
        self.db = d.sum(axis=0)
        return d


class Looping:
    """The square, element by element."""

    def forward(self, x: Array) -> Array:
        self.x, y = x, np.zeros_like(x)
        for i in range(x.shape[0]):
            for j in range(x.shape[1]):
                y[i, j] = x[i, j] * x[i, j]
        return y

    def backward(self, g: Array) -> Array:
        return 2 * self.x * g


class LoopingWrong(Looping):
    def backward(self, g: Array) -> Array:
        return self.x * g


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_epsilon_of_a_numpy_forward_is_named(dtype: str) -> None:
    report = gl.check(Loss(), scores(dtype), LABELS, probes=())
    assert [f.cause for f in report.findings] == ["epsilon-mismatch"], str(report)
    assert "in the place of 0.0001" in report.findings[0].explanation


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_epsilon_in_both_passes(dtype: str) -> None:
    assert gl.check(SameLoss(), scores(dtype), LABELS, probes=()).verdict == "pass"


def test_three_numbers_are_enough_for_a_gradient_that_nothing_was_fitted_for() -> None:
    report = gl.check(LossOfScores(), scores("float64"), LABELS, probes=())
    assert {f.gradient: f.cause for f in report.findings} == {"x": "epsilon-mismatch", "b": "epsilon-mismatch"}, str(report)


def test_an_epsilon_is_named_where_large_values_alone_show_it() -> None:
    class Faint(Loss):
        tiny = 1e-9

    report = gl.check(Faint(), scores("float32"), LABELS)
    causes = [f.cause for f in report.findings if f.severity == "error"]
    assert report.gradients[0].verdict == "pass"  # at the scores given
    assert causes == ["epsilon-mismatch"], str(report)


def test_a_bound_that_only_the_forward_has_is_named() -> None:
    report = gl.check(BoundedLoss(), scores("float64", 8.0), LABELS, probes=())
    assert {f.cause for f in report.findings if f.severity == "error"} == {"epsilon-mismatch"}, str(report)


def test_a_forward_of_thousands_of_lines_is_not_traced() -> None:
    x = np.random.default_rng(0).normal(size=(40, 40))
    report = gl.check(Looping(), x, probes=())
    assert report.verdict == "pass", str(report)
    assert "more than 1500 lines" in report.oracle
    assert gl.check(LoopingWrong(), x, probes=()).verdict == "fail"


def test_lines_of_the_user_are_counted_to_the_limit() -> None:
    def three_lines() -> Array:
        x = np.ones(3)
        x = np.roll(x, 1)
        return x.mean()

    def fails() -> None:
        raise ValueError

    assert lines_run(three_lines, 10) == 3
    assert lines_run(three_lines, 1) == 2
    assert lines_run(fails, 10) == 1
