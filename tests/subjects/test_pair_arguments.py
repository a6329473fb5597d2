"""Pairs whose backward takes further arguments: an upstream gradient for each output, and inputs after the cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import gradcheck_lab as gl

X, W, B = (np.random.default_rng(k).normal(size=size) for k, size in enumerate([(4, 3), (3, 2), (2, 1)]))


def two(x: Any, w: Any) -> Any:
    s = x @ w
    return s.sum(1), s * 2


def both(d1: Any, d2: Any, x: Any, w: Any) -> Any:
    g = d1[:, None] + 2 * d2
    return g @ w.T, x.T @ g


def one_forgotten(d1: Any, d2: Any, x: Any, w: Any) -> Any:
    g = d1[:, None] + 0 * d2
    return g @ w.T, x.T @ g


def other_forgotten(g1: Any, g2: Any, x: Any, w: Any) -> Any:
    return (2 * g2) @ w.T, x.T @ (2 * g2)


@pytest.mark.parametrize("in_torch", [False, True])
def test_a_backward_takes_an_upstream_gradient_of_each_output(in_torch: bool) -> None:
    inputs = (torch.tensor(X), torch.tensor(W)) if in_torch else (X, W)
    report = gl.check((two, both), *inputs)
    assert report.verdict == "pass", str(report)


@pytest.mark.parametrize("in_torch", [False, True])
@pytest.mark.parametrize(("backward", "output"), [(one_forgotten, 1), (other_forgotten, 0)])
def test_a_forgotten_output_is_named(backward: Any, output: int, in_torch: bool) -> None:
    inputs = (torch.tensor(X), torch.tensor(W)) if in_torch else (X, W)
    report = gl.check((two, backward), *inputs)
    errors = [f for f in report.findings if f.severity == "error"]
    assert report.verdict == "fail"
    assert [f.cause for f in errors] == ["output-gradient-dropped"] * 2, str(report)
    assert all(f"output {output}" in str(f.explanation) for f in errors)


def forward(A_prev: Any, W: Any, b: Any, activation: str) -> Any:
    Z = W @ A_prev + b
    return (np.tanh(Z) if activation == "tanh" else np.maximum(0, Z)), ((A_prev, W, b), Z)


def backward(dA: Any, cache: Any, activation: str) -> Any:
    (A_prev, W, _), Z = cache
    dZ = dA * (1 - np.tanh(Z) ** 2) if activation == "tanh" else dA * (Z > 0)
    return W.T @ dZ, dZ @ A_prev.T, dZ.sum(axis=1, keepdims=True)


def wrong_backward(dA: Any, cache: Any, activation: str) -> Any:
    first, second, third = backward(dA, cache, activation)
    return first, -second, third


def test_an_input_may_come_after_the_cache() -> None:
    assert gl.check((forward, backward), X.T, W.T, B, "tanh", probes=()).verdict == "pass"
    report = gl.check((forward, wrong_backward), X.T, W.T, B, "tanh", probes=())
    assert [f.cause for f in report.findings if f.severity == "error"] == ["sign"]


def of_a_loss(parameters: Any, cache: Any, A_prev: Any, Y: Any) -> Any:
    return parameters, cache, A_prev, Y


def test_a_target_after_the_cache_is_no_upstream_gradient() -> None:
    with pytest.raises(gl.InvalidArgument, match="cannot tell what the backward of"):
        gl.check((lambda A_prev, parameters: (A_prev @ parameters["W"], {}), of_a_loss), X, {"W": W})


class Linear:
    """Static functions that share nothing but the class."""

    @staticmethod
    def forward(x: Any, w: Any) -> Any:
        return x @ w, (x, w)

    @staticmethod
    def backward(dout: Any, cache: Any) -> Any:
        x, w = cache
        return dout @ w.T, x.T @ dout


class Wrong(Linear):
    @staticmethod
    def backward(dout: Any, cache: Any) -> Any:
        x, w = cache
        return dout @ w.T, x.T @ dout * 2


@pytest.mark.parametrize("in_torch", [False, True])
def test_a_class_may_hold_a_pair_with_a_cache(in_torch: bool) -> None:
    inputs = (torch.tensor(X), torch.tensor(W)) if in_torch else (X, W)
    report = gl.check(Linear, *inputs, probes=())
    assert (report.subject, report.verdict) == ("Linear", "pass")
    assert gl.check(Wrong, *inputs, probes=()).verdict == "fail"
