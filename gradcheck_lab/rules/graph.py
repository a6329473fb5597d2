"""`Graph`: a function over a class of nodes that record what made them, as `Value` of micrograd and `Variable` of DeZero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradcheck_lab.errors import InvalidArgument

VALUES = ("data", "value", "val", "item", "x")
GRADIENTS = ("grad", "gradient", "g", "derivative", "grad_value")


class Graph:
    """Name the class of nodes that a function computes with, where it is not found through the function or its inputs.

    `function` takes nodes, or lists of them, and returns one node. `node` is their class: `node(number)` makes a leaf whose
    `data` (or `value`) is that number, and `backward()` on the result fills `grad` of every leaf. `name` is what reports call
    it. Numbers, arrays or nodes may then be given as inputs.

    Raises `InvalidArgument` for a function that cannot be called and for a class without these attributes.

    >>> import gradcheck_lab as gl
    >>> class Value:
    ...     def __init__(self, data, parents=()):
    ...         self.data, self.grad, self.parents = data, 0.0, parents
    ...     def __mul__(self, other):
    ...         return Value(self.data * other.data, (self, other))
    ...     def backward(self, g=1.0):
    ...         self.grad += g
    ...         for parent, other in zip(self.parents, self.parents[::-1]):
    ...             parent.backward(g * other.data)
    >>> gl.check(gl.Graph(lambda a, b: a * b * a, Value), 2.0, -3.0, probes=()).verdict
    'pass'
    """

    def __init__(self, function: Callable[..., Any], node: type, name: str | None = None) -> None:
        if not callable(function):
            raise InvalidArgument(f"gl.Graph takes a function over nodes, and got a {type(function).__name__}")
        if not isinstance(node, type) or not callable(getattr(node, "backward", None)):
            shown = node.__name__ if isinstance(node, type) else f"a {type(node).__name__}"
            raise InvalidArgument(f"gl.Graph takes the class of the nodes, which has backward(), and got {shown}")
        self.function = function
        self.node = node
        self.name = name or str(getattr(function, "__name__", type(function).__name__))

    def __repr__(self) -> str:
        return f"<graph {self.name}>"
