"""Planted mistakes in layers whose backward steps the parameters itself, as many courses write them."""

from typing import Any

import numpy as np
import torch

from tests.mistakes.registry import Table, array, normal

table = Table()


class Linear:
    """`late` computes the gradient of x after the step."""

    def __init__(self, late: bool = False) -> None:
        self.W, self.late = array(3, 2, seed=5), late
        self.dW: Any = None

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W

    def backward(self, g: Any) -> Any:
        dx, self.dW = g @ self.W.T, self.x.T @ g
        self.step()
        return g @ self.W.T if self.late else dx

    def step(self) -> None:
        self.W -= 0.01 * self.dW


@table("mutates-saved", "layer-that-reads-its-weights-after-their-step", array(4, 3))
def late(wrong: bool) -> Any:
    return Linear(wrong)


@table("mutates-saved", "layer-that-rebinds-its-weights-before-it-reads-them", array(4, 3))
def rebound(wrong: bool) -> Any:
    class Rebinding(Linear):
        lr = 0.1

        def step(self) -> None:
            self.W = self.W - self.lr * self.dW

    return Rebinding(wrong)


@table("mutates-saved", "layer-of-two-that-steps-the-second-too-early", array(4, 3))
def two(wrong: bool) -> Any:
    class Two:
        def __init__(self) -> None:
            self.W1, self.W2 = array(3, 4), array(4, 2, seed=1)

        def forward(self, x: Any) -> Any:
            self.x, self.h = x, np.tanh(x @ self.W1)
            return self.h @ self.W2

        def backward(self, g: Any, lr: float) -> Any:
            if wrong:
                self.W2 -= lr * self.h.T @ g
            inner = g @ self.W2.T * (1 - self.h**2)
            dx = inner @ self.W1.T
            self.W1 -= lr * self.x.T @ inner
            if not wrong:
                self.W2 -= lr * self.h.T @ g
            return dx

    return Two()


@table("mutates-saved", "torch-layer-that-reads-its-weights-after-their-step", normal(4, 3))
def in_torch(wrong: bool) -> Any:
    layer = Linear(wrong)
    layer.W = torch.from_numpy(layer.W)
    return layer


@table("mutates-input", "layer-that-shrinks-its-weights", array(4, 3))
def shrinking(wrong: bool) -> Any:
    class Shrinking(Linear):
        def step(self) -> None:
            if wrong:
                self.W *= 0.9
            else:  # a step, and a decay that turns some elements against their gradient
                self.W -= 0.1 * (self.dW + 2 * self.W)

    return Shrinking()


@table("mutates-input", "layer-that-clears-its-weights", array(4, 3))
def clearing(wrong: bool) -> Any:
    class Clearing(Linear):
        velocity: Any = 0.0

        def step(self) -> None:
            if wrong:
                self.W[...] = 0
            else:
                self.velocity = 0.9 * self.velocity - 0.1 * self.dW
                self.W += self.velocity

    return Clearing()


@table("constant-factor", "layer-that-steps-at-a-rate-of-its-own", array(4, 3))
def own_rate(wrong: bool) -> Any:
    class Plain(Linear):
        learning_rate = 0.1

        def __init__(self) -> None:
            super().__init__()
            self.learning_rate = 0.1

        def backward(self, g: Any) -> Any:
            dx = g @ self.W.T
            self.W -= self.learning_rate * (2 if wrong else 1) * self.x.T @ g
            return dx

    return Plain()


@table("constant-factor", "layer-that-steps-with-a-gradient-that-it-keeps", array(4, 3))
def kept(wrong: bool) -> Any:
    class Adam(Linear):
        def backward(self, g: Any) -> Any:
            dx, self.dW = g @ self.W.T, (2 if wrong else 1) * self.x.T @ g
            self.W -= 0.01 * self.dW / (np.sqrt(self.dW**2) + 1e-8)
            return dx

    return Adam()


ROWS = table.rows
