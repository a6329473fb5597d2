"""What a call is set with needs no gradient, a derivative of zeros and ones is a factor, and a call has to be complete."""

from typing import Any

import numpy as np
import pytest

import gradcheck_lab as gl

Array = Any


def x() -> Array:
    return np.random.default_rng(0).normal(size=(5, 3))


def scaled_forward(x: Array, rate: float) -> Any:
    return x * rate, rate


def scaled_backward(dout: Array, cache: Any) -> Array:
    return dout * cache


def squared_scaled_backward(dout: Array, cache: Any) -> Array:
    return dout * cache * cache


def rate_first_forward(rate: float, x: Array) -> Any:
    return x * rate, rate


def both_forward(x: Array, rate: float) -> Any:
    return x * rate, (x, rate)


def both_backward(dout: Array, cache: Any) -> Any:
    x, rate = cache
    return dout * rate, (dout * x).sum()


def wrong_rate_backward(dout: Array, cache: Any) -> Any:
    x, rate = cache
    return dout * rate, 3 * (dout * x).sum()


def none_backward(dout: Array, cache: Any) -> Any:
    return dout * cache[1], None


def arrays_forward(x: Array, y: Array) -> Any:
    return x * y, (x, y)


def first_backward(dout: Array, cache: Any) -> Array:
    return dout * cache[1]


@pytest.mark.parametrize("dropped", ["dropped", "first", "none"])
def test_a_number_beside_arrays_needs_no_gradient(dropped: str) -> None:
    if dropped == "first":
        report = gl.check((rate_first_forward, scaled_backward), 0.4, x())
    else:
        report = gl.check(*{"dropped": ((scaled_forward, scaled_backward), x(), 0.4),
                            "none": ((both_forward, none_backward), x(), 0.4)}[dropped])  # fmt: skip
    assert report.verdict == "pass", str(report)
    assert [f.gradient or f.cause for f in report.findings if f.cause == "not-compared"], str(report)
    assert {g.name for g in report.gradients} == {"x"}


def test_wrt_asks_for_the_gradient_of_a_number() -> None:
    report = gl.check((scaled_forward, scaled_backward), x(), 0.4, wrt=["x", "rate"])
    assert {f.cause for f in report.findings if f.severity == "error"} == {"missing-gradient"}, str(report)


def test_a_number_that_has_a_gradient_is_compared() -> None:
    assert {g.name for g in gl.check((both_forward, both_backward), x(), 0.4).gradients} == {"x", "rate"}
    report = gl.check((both_forward, wrong_rate_backward), x(), 0.4, probes=())
    assert {g.name: g.verdict for g in report.gradients} == {"x": "pass", "rate": "fail"}, str(report)


def test_the_gradient_beside_a_number_is_compared() -> None:
    report = gl.check((scaled_forward, squared_scaled_backward), x(), 0.4, probes=())
    assert report.verdict == "fail", str(report)


def test_an_array_without_a_gradient_is_no_number() -> None:
    report = gl.check((arrays_forward, first_backward), x(), x(), probes=())
    assert {f.cause for f in report.findings} == {"missing-gradient"}, str(report)


class Step:
    def __call__(self, x: Array) -> Array:
        return np.where(x >= 0, 2 * x, 0)

    def gradient(self, x: Array) -> Array:
        return np.where(x >= 0, 2, 0)


class WrongStep(Step):
    def gradient(self, x: Array) -> Array:
        return np.where(x >= 0, 1, 0)


def step(x: Array) -> Array:
    return np.maximum(x, 0)


def step_prime(x: Array) -> Array:
    return x > 0


def other_step_prime(x: Array) -> Array:
    return x < 0


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("subject", [Step(), (step, step_prime)])
def test_a_derivative_in_whole_numbers_is_a_factor(subject: Any, dtype: str) -> None:
    report = gl.check(subject, x().astype(dtype))
    assert report.verdict == "pass", str(report)


@pytest.mark.parametrize("subject", [WrongStep(), (step, other_step_prime)])
def test_a_wrong_derivative_in_whole_numbers_is_wrong(subject: Any) -> None:
    report = gl.check(subject, x(), probes=())
    assert report.verdict == "fail"
    assert "wrong-dtype" not in {f.cause for f in report.findings}


class Moded:
    def __init__(self) -> None:
        self.W = np.ones((3, 2))

    def forward(self, x: Array, training: bool) -> Array:
        self.x = x
        return x @ self.W * (2 if training else 1)

    def backward(self, g: Array) -> Array:
        self.dW = 2 * self.x.T @ g
        return 2 * g @ self.W.T


def test_a_call_that_leaves_something_out_is_refused() -> None:
    with pytest.raises(gl.InvalidArgument, match="needs 'training' as well"):
        gl.check(Moded(), x())
    assert gl.check(Moded(), x(), True, probes=()).verdict == "pass"
    assert gl.check(Moded(), x(), options={"training": True}, probes=()).verdict == "pass"
