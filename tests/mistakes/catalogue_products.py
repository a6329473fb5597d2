"""Planted mistakes in products: a factor left out, another operand, the diagonal of a Jacobian alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

import gradcheck_lab as gl
from tests.mistakes.registry import Table, array, normal

table = Table()
A, B, S, T = normal(4, 3), normal(4, 3, seed=1), normal(3, 3, seed=3), normal(3, 3, seed=4)
ROWS_OF_SIX = normal(4, 6)
Rule = Callable[..., Any]


def pair(cause: str, name: str, forward: Rule, sound: Rule, wrong: Rule, *inputs: Tensor) -> None:
    """A pair of forward and backward, with the mistake or without it."""
    table(cause, f"product-{name}", *inputs)(lambda is_wrong: gl.Op(forward, wrong if is_wrong else sound, name="product"))


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def unit_rule(g: Tensor, y: Tensor, x: Tensor) -> Any:
    return ((g - y * (g * y).sum(-1, keepdim=True)) / x.norm(dim=-1, keepdim=True),)


def normalised(x: Tensor) -> tuple[Tensor, Tensor]:
    centred = x - x.mean(-1, keepdim=True)
    s = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return centred / s, s


def norm_rule(power: int) -> Rule:
    def rule(g: Tensor, y: Tensor, x: Tensor) -> Any:
        inner = g - g.mean(-1, keepdim=True) - y * (g * y).mean(-1, keepdim=True)
        return (inner / normalised(x)[1] ** power,)

    return rule


def diagonal_of(forward: Rule) -> Rule:
    def rule(g: Tensor, y: Tensor, x: Tensor) -> Any:
        jacobian = torch.autograd.functional.jacobian(forward, x.detach()).reshape(x.numel(), x.numel())
        return (g * jacobian.diagonal().reshape(x.shape),)

    return rule


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.softmax(q @ k.mT / 2, -1) @ v


def attention_rule(turn_v: bool, turn_p: bool) -> Rule:
    def rule(g: Tensor, y: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Any:
        p = torch.softmax(q @ k.mT / 2, -1)
        dp = g @ (v if turn_v else v.mT)
        ds = p * (dp - (dp * p).sum(-1, keepdim=True)) / 2
        return ds @ k, ds.mT @ q, (p if turn_p else p.mT) @ g

    return rule


def gate(a: Tensor, b: Tensor) -> Tensor:
    return a * torch.sigmoid(b)


def gate_rule(first: Rule, second: Rule) -> Rule:
    return lambda g, y, a, b: (g * first(b, torch.sigmoid(b)), g * a * second(b, torch.sigmoid(b)))


SOUND_GATE = gate_rule(lambda b, s: s, lambda b, s: s * (1 - s))


def chain(x: Tensor, w: Tensor) -> Tensor:
    return torch.tanh(x @ w)


def chain_rule(slope: Rule, turn: bool = True) -> Rule:
    def rule(g: Tensor, y: Tensor, x: Tensor, w: Tensor) -> Any:
        return (g * slope(x @ w, y)) @ (w.T if turn else w), x.T @ (g * (1 - y * y))

    return rule


SOUND_CHAIN = chain_rule(lambda z, y: 1 - y * y)

def matmul_rule(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Any:
    return g @ b.T, a.T @ g


pair("missing-factor", "exponential", lambda a, b: a * b.exp(), lambda g, y, a, b: (g * b.exp(), g * y),
     lambda g, y, a, b: (g * b.exp(), g * a), A, B)  # fmt: skip
pair("missing-factor", "slope-of-tanh", lambda a, b: a.tanh() * b.exp(),
     lambda g, y, a, b: (g * (1 - a.tanh() ** 2) * b.exp(), g * y), lambda g, y, a, b: (g * b.exp(), g * y), A, B)  # fmt: skip
pair("missing-factor", "gate", gate, SOUND_GATE, gate_rule(lambda b, s: 1, lambda b, s: s * (1 - s)), A, B)
pair("missing-factor", "slope-of-a-gate", gate, SOUND_GATE, gate_rule(lambda b, s: s, lambda b, s: 1), A, B)
pair("missing-factor", "half-the-slope-of-a-gate", gate, SOUND_GATE, gate_rule(lambda b, s: s, lambda b, s: s), A, B)
pair("missing-factor", "divisor", lambda a, b: a / b, lambda g, y, a, b: (g / b, -g * y / b),
     lambda g, y, a, b: (g, -g * y / b), A, B)  # fmt: skip
pair("missing-factor", "length", unit, unit_rule, lambda g, y, x: (g - y * (g * y).sum(-1, keepdim=True),), ROWS_OF_SIX)
pair("missing-factor", "deviation", lambda x: normalised(x)[0], norm_rule(1), norm_rule(0), ROWS_OF_SIX)
pair("missing-factor", "root-of-a-variance", lambda x: normalised(x)[0], norm_rule(1), norm_rule(2), ROWS_OF_SIX)
pair("missing-factor", "slope-of-a-layer", chain, SOUND_CHAIN, chain_rule(lambda z, y: 1), A, S)

pair("wrong-operand", "square-matrix", torch.matmul, matmul_rule, lambda g, y, a, b: (g @ b, a.T @ g),
     S, T)  # fmt: skip
pair("wrong-operand", "other-matrix", torch.matmul, matmul_rule, lambda g, y, a, b: (g @ a.T, a.T @ g),
     S, T)  # fmt: skip
pair("wrong-operand", "square-upstream", torch.matmul, matmul_rule,
     lambda g, y, a, b: (g.T @ b.T, a.T @ g), S, T)  # fmt: skip
pair("wrong-operand", "argument-of-exp", lambda a, b: a.tanh() * b.exp(),
     lambda g, y, a, b: (g * (1 - a.tanh() ** 2) * b.exp(), g * y), lambda g, y, a, b: (g * (1 - a.tanh() ** 2) * b, g * y),
     A, B)  # fmt: skip
pair("wrong-operand", "argument-of-a-gate", gate, SOUND_GATE, gate_rule(lambda b, s: b, lambda b, s: s * (1 - s)), A, B)
pair("wrong-operand", "before-the-activation", chain, SOUND_CHAIN, chain_rule(lambda z, y: 1 - z * z), A, S)
pair("wrong-operand", "square-layer", chain, SOUND_CHAIN, chain_rule(lambda z, y: 1 - y * y, turn=False), A, S)
pair("wrong-operand", "bilinear", lambda x, m, y: (x @ m) * y,
     lambda g, o, x, m, y: ((g * y) @ m.T, x.T @ (g * y), g * (x @ m)),
     lambda g, o, x, m, y: ((g * y) @ m.T, x.T @ (g * y), g * x),
     A, S, B)  # fmt: skip
pair("wrong-operand", "attention-values", attention, attention_rule(False, False), attention_rule(True, False),
     *(normal(2, 4, 4, seed=seed) for seed in range(3)))  # fmt: skip
pair("wrong-operand", "attention-probabilities", attention, attention_rule(False, False), attention_rule(False, True),
     *(normal(2, 4, 4, seed=seed) for seed in range(3)))  # fmt: skip

pair("missing-term", "softmax-diagonal", lambda x: torch.softmax(x, -1),
     lambda g, y, x: (y * (g - (g * y).sum(-1, keepdim=True)),), lambda g, y, x: (g * y * (1 - y),), normal(4, 5))  # fmt: skip
pair("missing-term", "log-softmax-diagonal", lambda x: torch.log_softmax(x, -1),
     lambda g, y, x: (g - y.exp() * g.sum(-1, keepdim=True),), lambda g, y, x: (g * (1 - y.exp()),), normal(4, 5))  # fmt: skip
pair("missing-term", "layer-norm-diagonal", lambda x: normalised(x)[0], norm_rule(1), diagonal_of(lambda x: normalised(x)[0]),
     ROWS_OF_SIX)  # fmt: skip
pair("missing-term", "length-diagonal", unit, unit_rule, diagonal_of(unit), ROWS_OF_SIX)


@table("epsilon-mismatch", "layer-logarithm-of-the-books", array(4, 3), np.array([0, 2, 1, 2]))
def logarithm_of_the_books(wrong: bool) -> Any:
    class Loss:
        def forward(self, x: Any, y: Any) -> Any:
            e = np.exp(x - x.max(1, keepdims=True))
            self.p, self.y = e / e.sum(1, keepdims=True), y
            return -np.log(self.p[np.arange(len(y)), y] + (1e-7 if wrong else 0)).mean()

        def backward(self, dout: float = 1.0) -> Any:
            d = self.p.copy()
            d[np.arange(len(self.y)), self.y] -= 1
            return dout * d / len(self.y)

    return Loss()


ROWS = table.rows
