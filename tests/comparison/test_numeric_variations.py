"""Causes of wrong gradients of code that autograd cannot follow: what numbers say of the Jacobian, operands and terms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import linalg, special
from torch import Tensor

import gradcheck_lab as gl
from tests.mistakes.registry import normal

A = normal(4, 4) + 4 * torch.eye(4, dtype=torch.float64)
B, SMALL, SHARES = normal(4, 4, seed=1), normal(4, 3) / 3, torch.sigmoid(normal(4, 3))


def array(value: Tensor) -> Any:
    return value.detach().numpy()


def by_numpy(function: Callable[..., Any]) -> Callable[..., Tensor]:
    return lambda *inputs: torch.from_numpy(np.asarray(function(*map(array, inputs))))


def solved(how: str) -> Any:
    """A X = B; wrong: with A for its transpose, with B for X, or with half of what a symmetric product has."""

    def backward(g: Tensor, x: Tensor, a: Tensor, b: Tensor) -> Any:
        db = torch.linalg.solve(a if how == "not transposed" else a.T, g)
        return -db @ (b if how == "other operand" else x).T, db

    return gl.Op(by_numpy(np.linalg.solve), backward)


def gram(wrong: bool) -> Any:
    """X Xᵀ M, of whose two terms one may be missing."""

    def backward(g: Tensor, y: Tensor, x: Tensor, m: Tensor) -> Any:
        first = g @ m.T @ x
        return first + (0 if wrong else m @ g.T @ x), x @ x.T @ g

    return gl.Op(by_numpy(lambda x, m: x @ x.T @ m), backward)


def square(wrong: bool) -> Any:
    """X X, of whose two terms one may be missing."""
    return gl.Op(by_numpy(lambda x: x @ x), lambda g, y, x: (g @ x.T + (0 if wrong else x.T @ g),))


def product(wrong: bool) -> Any:
    return gl.Op(by_numpy(np.matmul), lambda g, y, a, b: (g @ (b if wrong else b.T), a.T @ g))


def sigmoid(wrong: bool) -> Any:
    """The slope y (1 - y), of a formula in the output, given the input."""
    return gl.Op(by_numpy(special.expit), lambda g, y, x: (g * (x * (1 - x) if wrong else y * (1 - y)),))


def tanh(wrong: bool) -> Any:
    return gl.Op(by_numpy(np.tanh), lambda g, y, x: (g * (1 - (x if wrong else y) ** 2),))


def root(wrong: bool) -> Any:
    """y³ + y = x, solved by numbers; the implicit derivative at the input and not at the root."""

    def forward(x: Any) -> Any:
        return np.array([np.roots([1, 0, 1, -v])[-1].real for v in x.ravel()]).reshape(x.shape)

    return gl.Op(by_numpy(forward), lambda g, y, x: (g / (3 * (x if wrong else y) ** 2 + 1),))


def all_pairs(wrong: bool) -> Any:
    """(x - y)² of all pairs: the sum over the other side in one term."""

    def backward(g: Tensor, out: Tensor, x: Tensor, y: Tensor) -> Any:
        return 2 * (g.sum(1) * x - g @ y), 2 * (g.sum(1 if wrong else 0) * y - g.T @ x)

    return gl.Op(by_numpy(lambda x, y: (x[:, None] - y) ** 2), backward)


def moving_average(wrong: bool) -> Any:
    """An autoregression: its coefficients are correlated with the output, or with the input."""

    def forward(x: Any, a: Any) -> Any:
        y = np.zeros_like(x)
        for i in range(len(x)):
            y[i] = x[i] + sum(a[k] * y[i - k - 1] for k in range(min(len(a), i)))
        return y

    def backward(g: Tensor, y: Tensor, x: Tensor, a: Tensor) -> Any:
        dx, n = g.clone(), len(g)
        for i in reversed(range(n)):
            for k in range(min(len(a), n - 1 - i)):
                dx[i] += a[k] * dx[i + k + 1]
        seen = x if wrong else y
        return dx, torch.stack([(dx[k:] * seen[: n - k]).sum() for k in range(1, len(a) + 1)])

    return gl.Op(by_numpy(forward), backward)


def integrals(wrong: bool) -> Any:
    """The sine and cosine integrals; what comes from the second is forgotten."""

    def backward(grads: Any, outputs: Any, x: Tensor) -> Any:
        return ((grads[0] * x.sin() + (0 if wrong else grads[1] * x.cos())) / x,)

    return gl.Op(lambda x: tuple(map(torch.from_numpy, special.sici(array(x)))), backward)


def exponential(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, a: Tensor) -> Any:
        return (torch.from_numpy(linalg.expm_frechet(array(a if wrong else a.T), array(g), compute_expm=False)),)

    return gl.Op(by_numpy(linalg.expm), backward)


SERIES, WEIGHTS = normal(9), torch.tensor([0.4, -0.3, 0.2], dtype=torch.float64)
ROWS: dict[str, tuple[Any, Any, tuple[Tensor, ...], set[str]]] = {
    "solve-not-transposed": (solved("sound"), solved("not transposed"), (A, B[0]), {"transposed"}),
    "solve-other-operand": (solved("sound"), solved("other operand"), (A, B), {"wrong-operand"}),
    "exponential": (exponential(False), exponential(True), (B,), {"transposed"}),
    "square": (square(False), square(True), (B,), {"missing-term"}),
    "product": (product(False), product(True), (A, B), {"wrong-operand", "transposed"}),
    "sigmoid": (sigmoid(False), sigmoid(True), (SHARES,), {"wrong-operand"}),
    "tanh": (tanh(False), tanh(True), (SMALL,), {"wrong-operand"}),
    "root": (root(False), root(True), (B,), {"wrong-operand"}),
    "all-pairs": (all_pairs(False), all_pairs(True), (normal(6), normal(6, seed=1)), {"wrong-axis"}),
    "moving-average": (moving_average(False), moving_average(True), (SERIES, WEIGHTS), {"wrong-operand"}),
    "integrals": (integrals(False), integrals(True), (SHARES + 1,), {"output-gradient-dropped"}),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_mistake_is_named_and_its_sound_twin_passes(name: str) -> None:
    sound, wrong, inputs, causes = ROWS[name]
    if "solve" in name and inputs[1].ndim == 1:
        inputs = (inputs[0], inputs[1].unsqueeze(-1))
    probes = ("upstream",)
    assert gl.check(sound, *inputs, probes=probes).verdict == "pass"
    report = gl.check(wrong, *inputs, probes=probes)
    named = {finding.cause for finding in report.findings if finding.severity == "error"}
    assert named & causes, report
    assert (report.verdict, len(named)) == ("fail", 1 + (name == "solve-not-transposed")), report


def test_what_no_hypothesis_explains_stays_unexplained() -> None:
    for factor in (lambda x: 1 + 0.1 * x.sin() * x.exp(), lambda x: x.cosh() ** 1.5):
        wrong = gl.Op(by_numpy(special.expit), lambda g, y, x, f=factor: (g * y * (1 - y) * f(x),))
        report = gl.check(wrong, SHARES, probes=("upstream",))
        assert {f.cause for f in report.findings} == {"wrong-value"}, report
