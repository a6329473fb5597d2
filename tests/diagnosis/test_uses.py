"""A value that is used several times: one use's share written over, left out, or taken for another's; and equal slots."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from tests.mistakes.registry import array, normal


class Accumulating:
    """y = tanh(x w) w^T, whose gradient of w is kept in `grads`: in a dictionary, or on an object of its own."""

    def __init__(self, way: str, at_hand: Any) -> None:
        self.W, self.way, self.grads = array(4, 2, seed=1), way, at_hand

    def forward(self, x: Any) -> Any:
        self.x, self.h = x, np.tanh(x @ self.W)
        return self.h @ self.W.T

    def backward(self, dout: Any) -> Any:
        shares = [dout.T @ self.h, self.x.T @ (dout @ self.W * (1 - self.h**2))]
        self.grads.clear()
        for share in shares[:1] if self.way == "left out" else shares:
            self.grads["W"] = self.grads["W"] + share if "W" in self.grads and self.way == "added" else share
        return (dout @ self.W * (1 - self.h**2)) @ self.W.T


@pytest.mark.parametrize(
    ("way", "cause"), [("overwritten", "fan-out-overwritten"), ("left out", "missing-term"), ("added", None)]
)
def test_share_in_a_dictionary_is_overwritten_where_it_was_there(way: str, cause: str | None) -> None:
    report = gl.check(Accumulating(way, {}), array(5, 4), probes=())
    assert [f.cause for f in report.findings] == ([cause] if cause else [])


def gated(wrong: bool) -> Any:
    def forward(x: Any, h: Any) -> Any:
        z = 1 / (1 + np.exp(-x))
        return z * h + (1 - z) * np.tanh(x * h), (x, h, z)

    def backward(dout: Any, cache: Any) -> Any:
        x, h, z = cache
        n = np.tanh(x * h)
        dn = dout * (1 - z) * (1 - n * n)
        return dout * (h - n) * z * (1 - z) + dn * h, dn * x + (0 if wrong else dout * z)

    return forward, backward


def recurrent(wrong: bool) -> Any:
    """Nothing comes back from one step to the one before."""

    def forward(x: Any, h: Any, W: Any, U: Any) -> Any:
        hs = [h]
        for t in range(x.shape[1]):
            hs.append(np.tanh(x[:, t] @ W + hs[-1] @ U))
        return np.stack(hs[1:], 1), (x, W, U, hs)

    def backward(dout: Any, cache: Any) -> Any:
        x, W, U, hs = cache
        dx, dW, dU, carried = np.zeros_like(x), np.zeros_like(W), np.zeros_like(U), np.zeros_like(hs[0])
        for t in reversed(range(x.shape[1])):
            dz = (dout[:, t] + (0 if wrong else carried)) * (1 - hs[t + 1] ** 2)
            dx[:, t], carried = dz @ W.T, dz @ U.T
            dW, dU = dW + x[:, t].T @ dz, dU + hs[t].T @ dz
        return dx, carried, dW, dU

    return forward, backward


def memory_cell(wrong: bool) -> Any:
    """The state of the cell sends nothing back to that of the step before."""

    def forward(x: Tensor, c: Tensor) -> Tensor:
        out = []
        for t in range(x.shape[0]):
            c = torch.sigmoid(x[t]) * c + x[t]
            out.append(torch.tanh(c))
        return torch.stack(out)

    def backward(g: Tensor, y: Tensor, x: Tensor, c: Tensor) -> Any:
        states, grads, dc = [c], [], torch.zeros_like(c)
        for t in range(x.shape[0]):
            states.append(torch.sigmoid(x[t]) * states[-1] + x[t])
        for t in reversed(range(x.shape[0])):
            dc = g[t] * (1 - y[t] ** 2) + (0 if wrong else dc)
            s = torch.sigmoid(x[t])
            grads.insert(0, dc * (states[t] * s * (1 - s) + 1))
            dc = dc * s
        return torch.stack(grads), dc

    return gl.Op(forward, backward, name="memory_cell")


def gram(wrong: bool) -> Any:
    return gl.Op(lambda x: x @ x.T, lambda g, y, x: ((g + g if wrong else g + g.T) @ x,), name="gram")


def bilinear(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor, a: Tensor) -> Any:
        both = a.T + a.T if wrong else a + a.T
        return g.unsqueeze(-1) * (x @ both), torch.einsum("n,ni,nj->ij", g, x, x)

    return gl.Op(lambda x, a: torch.einsum("ni,ij,nj->n", x, a, x), backward, name="bilinear")


def scaled_sum(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, a: Tensor, b: Tensor, s: Tensor) -> Any:
        return g, g if wrong else g * s.exp(), (g * b * s.exp()).sum(0)

    return gl.Op(lambda a, b, s: a + b * s.exp(), backward, name="scaled_sum")


def product(wrong: bool) -> Any:
    """One slot's gradient is returned for both, and neither is a factor of the other."""
    return gl.Op(
        lambda a, b: torch.sin(a) * torch.cosh(b),
        lambda g, y, a, b: (g * a.cos() * b.cosh(), g * (a.cos() * b.cosh() if wrong else a.sin() * b.sinh())),
        name="product",
    )


ROWS: dict[str, tuple[Callable[[bool], Any], tuple[Any, ...], str]] = {
    "gate": (gated, (array(4, 3), array(4, 3, seed=1)), "missing-term"),
    "carry": (recurrent, (array(3, 4, 2), array(3, 3, seed=1), array(2, 3, seed=2), array(3, 3, seed=3)), "missing-term"),
    "state": (memory_cell, (normal(4, 3), normal(3, seed=1)), "missing-term"),
    "gram": (gram, (normal(4, 3),), "wrong-operand"),
    "bilinear": (bilinear, (normal(5, 3), normal(3, 3, seed=1)), "wrong-operand"),
    "scale": (scaled_sum, (normal(5, 4), normal(5, 4, seed=1), normal(4, seed=2)), "missing-factor"),
    "one slot for both": (product, (normal(4, 3), normal(4, 3, seed=1)), "slots-swapped"),
}


# NumPy loops take torch's compiler seconds to trace
SLOW = frozenset({"carry"})
NAMES = [pytest.param(name, marks=[pytest.mark.thorough] if name in SLOW else []) for name in ROWS]


@pytest.mark.parametrize("name", NAMES)
def test_use_is_named_and_the_twin_passes(name: str) -> None:
    make, inputs, cause = ROWS[name]
    assert {f.cause for f in gl.check(make(True), *inputs, probes=()).findings} == {cause}
    assert gl.check(make(False), *inputs, probes=()).verdict == "pass"


class Number:
    """A number that knows how it was made."""

    def __init__(self, data: float, children: Any = ()) -> None:
        self.data, self.grad, self.children = data, 0.0, children
        self.send: Any = lambda: None

    def __mul__(self, other: "Number") -> "Number":
        out = Number(self.data * other.data, (self, other))

        def send() -> None:
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad

        out.send = send
        return out

    def backward(self) -> None:
        order: list[Number] = []

        def visit(node: "Number") -> None:
            if node not in order:
                for child in node.children:
                    visit(child)
                order.append(node)

        visit(self)
        self.grad = 1.0
        for node in reversed(order):
            node.send()


@pytest.mark.parametrize("wrong", [True, False])
def test_step_outside_of_the_class_that_assigns_is_named(wrong: bool) -> None:
    def squashed(a: Number) -> Number:  # torch has no function of this name
        out = Number(a.data / math.sqrt(1 + a.data**2), (a,))

        def send() -> None:
            a.grad = (0 if wrong else a.grad) + (1 + a.data**2) ** -1.5 * out.grad

        out.send = send
        return out

    def f(a: Number, b: Number) -> Number:
        h = a * b
        return squashed(h) * h

    report = gl.check(f, Number(0.7), Number(-1.3), probes=())
    assert (report.findings[0].cause if wrong else report.verdict) == ("fan-out-overwritten" if wrong else "pass")
