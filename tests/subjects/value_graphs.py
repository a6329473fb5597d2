"""A graph of numbers as courses write it, with one mistake at a time."""

import math
from collections import deque
from collections.abc import Callable
from typing import Any


def node_class(mistake: str = "") -> Any:
    """The class `Value`; each mistake is a word of the tests."""

    def send(node: Any, gradient: Any, overwritten: bool) -> None:
        node.grad = gradient if overwritten else node.grad + gradient

    class Value:
        def __init__(self, data: Any, children: Any = ()) -> None:
            self.data, self.grad = data, 0.0
            self._prev = set(children)
            self._backward: Callable[[], None] = lambda: None

        def __add__(self, other: Any) -> Any:
            other = other if isinstance(other, Value) else Value(other)
            out = Value(self.data + other.data, (self, other))

            def _backward() -> None:
                send(self, out.grad, mistake == "assigned")
                send(other, out.grad, mistake == "assigned")

            out._backward = _backward
            return out

        def __mul__(self, other: Any) -> Any:
            other = other if isinstance(other, Value) else Value(other)
            out = Value(self.data * other.data, (self, other))

            def _backward() -> None:
                upstream = 1.0 if mistake == "no-upstream" else out.grad
                mine, its = (self, other) if mistake == "operands-swapped" else (other, self)
                send(self, mine.data * upstream, mistake in ("assigned", "assigned-in-mul"))
                send(other, its.data * upstream, mistake in ("assigned", "assigned-in-mul"))

            out._backward = _backward
            return out

        def __pow__(self, k: float) -> Any:
            out = Value(self.data**k, (self,))

            def _backward() -> None:
                factor = 1 if mistake == "power-without-factor" else k
                self.grad += factor * self.data ** (k if mistake == "power-of-k" else k - 1) * out.grad

            out._backward = _backward
            return out

        def __truediv__(self, other: Any) -> Any:
            out = Value(self.data / other.data, (self, other))

            def _backward() -> None:
                self.grad += out.grad / other.data
                other.grad += (1 if mistake == "quotient-sign" else -1) * self.data / other.data**2 * out.grad

            out._backward = _backward
            return out

        def relu(self) -> Any:
            out = Value(self.data if self.data > 0 else 0.0, (self,))

            def _backward() -> None:
                self.grad += (1.0 if mistake == "relu-without-mask" else float(out.data > 0)) * out.grad

            out._backward = _backward
            return out

        def tanh(self) -> Any:
            out = Value(math.tanh(self.data), (self,))

            def _backward() -> None:
                y = self.data if mistake == "tanh-of-the-input" else out.data
                self.grad += (1 - y * y) * out.grad

            out._backward = _backward
            return out

        def backward(self) -> None:
            nodes: list[Any] = []
            seen: set[Any] = set()

            def build(node: Any) -> None:
                if node not in seen:
                    seen.add(node)
                    for child in node._prev:
                        build(child)
                    nodes.append(node)

            build(self)
            self.grad = 1.0
            if mistake != "breadth-first":
                for node in reversed(nodes):
                    node._backward()
                return
            queue, done = deque([self]), set[Any]()
            while queue:
                node = queue.popleft()
                if node not in done:
                    done.add(node)
                    node._backward()
                    queue.extend(node._prev)

    return Value
