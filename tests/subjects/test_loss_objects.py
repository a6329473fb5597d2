"""Losses of one number a sample: whether their gradient is that of the mean or of the sum is what their author says."""

import warnings
from typing import Any

import numpy as np
import pytest

import gradcheck_lab as gl


class Squared:
    """The gradient of the sum of the losses, which is that of each."""

    def forward(self, y_pred: Any, y_true: Any) -> Any:
        return np.sum((y_pred - y_true) ** 2, axis=1)

    def backward(self, y_pred: Any, y_true: Any) -> Any:
        return 2 * (y_pred - y_true)


class OfMean(Squared):
    def backward(self, y_pred: Any, y_true: Any) -> Any:
        return 2 * (y_pred - y_true) / len(y_pred)


class WithCalculate(OfMean):
    def calculate(self, y_pred: Any, y_true: Any) -> Any:
        return self.forward(y_pred, y_true).mean()


class ForgetsMean(Squared):
    def calculate(self, y_pred: Any, y_true: Any) -> Any:
        return self.forward(y_pred, y_true).mean()


class ForgetsMeanOfValues(Squared):
    def backward(self, dvalues: Any, y_true: Any) -> Any:
        return 2 * (dvalues - y_true)


class OfMeanOfValues(Squared):
    def backward(self, dvalues: Any, y_true: Any) -> Any:
        return 2 * (dvalues - y_true) / len(dvalues)


class Doubled(Squared):
    def backward(self, y_pred: Any, y_true: Any) -> Any:
        return 4 * (y_pred - y_true)


class DoubledMean(Squared):
    def backward(self, y_pred: Any, y_true: Any) -> Any:
        return 4 * (y_pred - y_true) / len(y_pred)


def report_of(loss: Any, rows: int) -> gl.Report:
    drawn = np.random.default_rng(rows)
    return gl.check(loss, drawn.normal(size=(rows, 3)), drawn.normal(size=(rows, 3)), probes=())


@pytest.mark.parametrize("rows", [1, 2, 3, 5])  # three is the number of classes too
@pytest.mark.parametrize("loss", [Squared, OfMean, WithCalculate, OfMeanOfValues])
def test_gradient_of_the_sum_or_of_the_mean_passes(loss: type[Any], rows: int) -> None:
    report = report_of(loss(), rows)
    assert report.verdict == "pass", str(report)


@pytest.mark.parametrize("rows", [3, 5])
@pytest.mark.parametrize("loss", [ForgetsMean, ForgetsMeanOfValues, Doubled, DoubledMean])
def test_a_factor_beside_what_the_author_says_is_caught(loss: type[Any], rows: int) -> None:
    report = report_of(loss(), rows)
    assert [f.cause for f in report.findings if f.severity == "error"] == ["constant-factor"], str(report)


def test_the_users_object_is_left_alone() -> None:
    class Counts(OfMean):
        calls = 0

        def forward(self, y_pred: Any, y_true: Any) -> Any:
            self.calls += 1
            return super().forward(y_pred, y_true)

    loss = Counts()
    assert report_of(loss, 3).verdict == "pass"
    assert loss.calls == 0


class Node:
    def __init__(self, data: Any) -> None:
        self.data, self.grad, self.source = data, None, None

    def backward(self) -> None:
        self.source.grad = np.cos(self.source.data)


class Sine:
    def __call__(self, x: Node) -> Node:
        y = Node(self.forward(x.data))
        y.source = x
        return y

    def forward(self, x: Any) -> Any:
        return np.sin(x)

    def backward(self, g: Any) -> Any:
        raise NotImplementedError


def test_a_graph_is_tried_on_tensors_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = gl.check(Sine(), np.random.default_rng(0).normal(size=(2, 3)))
    assert report.verdict == "pass", str(report)
