"""Layers that differ in how they hold parameters and gradients."""

from typing import Any

import numpy as np
import torch


def draw(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).normal(size=shape)


class Parameterised:
    """Objects that hold an array and its gradient, and plain numbers as parameters."""

    class Held:
        def __init__(self, data: Any) -> None:
            self.data, self.grad = data, None

    def __init__(self) -> None:
        self.W = self.Held(draw(3, 5))
        self.shift, self.dshift = 0.5, None
        self.eps = draw(5)

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W.data + self.shift + self.eps

    def backward(self, dout: Any) -> Any:
        self.W.grad = self.x.T @ dout
        self.dshift = dout.sum()
        return dout @ self.W.data.T


class Looped:
    """Gradients put on the tensors of a list in a loop."""

    def __init__(self) -> None:
        self.params = [torch.from_numpy(draw(3, 2)), torch.from_numpy(draw(2))]

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.params[0] + self.params[1]

    def backward(self, grad: Any) -> Any:
        for parameter, value in zip(self.params, [self.x.T @ grad, grad.sum(0)], strict=True):
            parameter.grad = value
        return grad @ self.params[0].T


class Outer(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(3, 2).double()

    def forward(self, x: Any) -> Any:
        self.x = x
        return self.inner(x)

    def backward(self, grad: Any) -> Any:
        self.inner.weight.grad, self.inner.bias.grad = grad.T @ self.x, grad.sum(0)
        return grad @ self.inner.weight


class Shortened:
    """weights with dw, bias with db."""

    def __init__(self) -> None:
        self.weights, self.bias = draw(3, 2), draw(2)
        self.dw, self.db = np.zeros((3, 2)), np.zeros(2)

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.weights + self.bias

    def backward(self, dout: Any) -> Any:
        self.dw = self.x.T @ dout
        self.db = dout.sum(0)
        return dout @ self.weights.T
