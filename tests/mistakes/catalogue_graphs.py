"""Planted mistakes of operations between nodes of numbers: at ties, for one node given twice, and at large values."""

import math
from collections.abc import Callable
from typing import Any

from tests.mistakes.registry import Table
from tests.subjects.value_graphs import node_class

table = Table()
Value = node_class()


def sending(value: float, nodes: tuple[Any, ...], gradients: Callable[[float], tuple[float, ...]]) -> Any:
    """A node of this value, which adds to each of `nodes` its gradient for that of the result."""
    out = Value(value, nodes)

    def _backward() -> None:
        for node, gradient in zip(nodes, gradients(out.grad), strict=True):
            node.grad += gradient

    out._backward = _backward
    return out


@table("tie-mass", "graph-smaller-of-two", Value(0.4), Value(0.9))
def smaller(wrong: bool) -> Any:
    def minimum(a: Any, b: Any) -> Any:
        def gradients(g: float) -> tuple[float, float]:
            return g * (a.data <= b.data), g * (b.data <= a.data if wrong else b.data < a.data)

        return sending(min(a.data, b.data), (a, b), gradients)

    return lambda a, b: minimum(a, b) * a + b


@table("aliased-inputs", "graph-quotient-that-assigns-both", Value(0.4), Value(0.9))
def quotient(wrong: bool) -> Any:
    def over(a: Any, b: Any) -> Any:
        out = Value(a.data / b.data, (a, b))

        def _backward() -> None:
            da, db = out.grad / b.data, -out.grad * a.data / b.data**2
            if wrong:
                a.grad, b.grad = a.grad + da, b.grad + db
            else:
                a.grad += da
                b.grad += db

        out._backward = _backward
        return out

    return lambda a, b: over(a, b) * 3.0 + 1.0


@table("overflow", "graph-softplus", Value(0.4), Value(0.9))
def softplus(wrong: bool) -> Any:
    def soft(a: Any) -> Any:
        def gradients(g: float) -> tuple[float]:
            if wrong:
                return (g * math.exp(a.data) / (1 + math.exp(a.data)),)
            return (g * 0.5 * (1 + math.tanh(0.5 * a.data)),)

        return sending(max(a.data, 0.0) + math.log1p(math.exp(-abs(a.data))), (a,), gradients)

    return lambda a, b: soft(a) + b


ROWS = table.rows
