"""Operations on nodes of a graph of values, wrong and sound, as people add them to micrograd."""

from __future__ import annotations

import math
from typing import Any

from tests.mistakes.registry import Table

table = Table()


class Value:
    """A number that knows how it was made."""

    def __init__(self, data: float, children: Any = ()) -> None:
        self.data, self.grad, self._prev = data, 0.0, set(children)
        self._backward: Any = lambda: None

    def __add__(self, other: Any) -> Value:
        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data + other.data, (self, other))

        def _backward() -> None:
            self.grad += out.grad
            other.grad += out.grad

        out._backward = _backward
        return out

    def __mul__(self, other: Any) -> Value:
        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data * other.data, (self, other))

        def _backward() -> None:
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad

        out._backward = _backward
        return out

    def tanh(self) -> Value:
        t = math.tanh(self.data)
        out = Value(t, (self,))

        def _backward() -> None:
            self.grad += (1 - t * t) * out.grad

        out._backward = _backward
        return out

    def backward(self) -> None:
        topo: list[Value] = []
        visited = set()

        def build(v: Value) -> None:
            if v not in visited:
                visited.add(v)
                for child in v._prev:
                    build(child)
                topo.append(v)

        build(self)
        self.grad = 1.0
        for v in reversed(topo):
            v._backward()


@table("tie-mass", "larger-of-two-nodes", Value(0.3), Value(-0.5))
def larger(wrong: bool) -> Any:
    """As asked about Theano's maximum: of two equal values each gets the whole gradient."""

    def maximum(a: Value, b: Value) -> Value:
        out = Value(max(a.data, b.data), (a, b))

        def _backward() -> None:
            if wrong:
                a.grad += (a.data == out.data) * out.grad
                b.grad += (b.data == out.data) * out.grad
            else:
                first = a.data >= b.data
                a.grad += first * out.grad
                b.grad += (not first) * out.grad

        out._backward = _backward
        return out

    def f(a: Value, b: Value) -> Value:
        return maximum(a, b).tanh()

    return f


@table("aliased-inputs|fan-out-overwritten", "product-that-assigns-both-at-once", Value(0.7), Value(-0.4))
def product(wrong: bool) -> Any:
    """Both gradients are set in one assignment: where both nodes are the same one, the second undoes the first."""

    def times(a: Value, b: Value) -> Value:
        out = Value(a.data * b.data, (a, b))

        def _backward() -> None:
            if wrong:
                a.grad, b.grad = a.grad + b.data * out.grad, b.grad + a.data * out.grad
            else:
                a.grad += b.data * out.grad
                b.grad += a.data * out.grad

        out._backward = _backward
        return out

    def f(a: Value, b: Value) -> Value:
        return times(a, b) + 1.5

    return f


@table("fan-out-overwritten", "exponential-of-a-node-with-other-uses", Value(0.2), Value(-0.6))
def exponential(wrong: bool) -> Any:
    """As reported for micrograd's first form: the gradient of a node with two uses is assigned, not added."""

    def exp(a: Value) -> Value:
        out = Value(math.exp(a.data), (a,))

        def _backward() -> None:
            if wrong:
                a.grad = out.data * out.grad
            else:
                a.grad += out.data * out.grad

        out._backward = _backward
        return out

    def f(a: Value, b: Value) -> Value:
        h = a * b
        return exp(h) * h + h

    return f


@table("overflow|raises", "hyperbolic-tangent-by-its-secant", Value(0.4), Value(-0.3))
def secant(wrong: bool) -> Any:
    """The slope is four over the square of exp(x) + exp(-x), which ends for large values; the forward does not."""

    def squash(a: Value) -> Value:
        out = Value(math.tanh(a.data), (a,))

        def _backward() -> None:
            if wrong:
                a.grad += 4 / (math.exp(a.data) + math.exp(-a.data)) ** 2 * out.grad
            else:
                a.grad += (1 - out.data**2) * out.grad

        out._backward = _backward
        return out

    def f(a: Value, b: Value) -> Value:
        return squash(a) * b

    return f


@table("value-dependent|outside-subdifferential", "power-of-a-node", Value(0.8), Value(1.3))
def power(wrong: bool) -> Any:
    """The slope is the result times the exponent over the base, and at zero it was set to one."""

    def cube(a: Value) -> Value:
        out = Value(a.data**3, (a,))

        def _backward() -> None:
            if wrong:
                a.grad += (3 * out.data / a.data if a.data else 1.0) * out.grad
            else:
                a.grad += 3 * a.data**2 * out.grad

        out._backward = _backward
        return out

    def f(a: Value, b: Value) -> Value:
        return cube(a) + b.tanh()

    return f


ROWS = tuple(table.rows)
