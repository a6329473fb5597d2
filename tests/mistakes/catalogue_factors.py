"""Planted mistakes in one term of a sum: a factor left out, there twice, upside down, another sign, another number."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import gradcheck_lab as gl
from tests.mistakes.registry import Table, array, normal, positive

table = Table()
A, B, ROWS_OF_SIX = normal(4, 5), normal(4, 5, seed=1), normal(5, 6)
Rule = Callable[..., Any]


def gated(x: Tensor, b: Tensor) -> Tensor:
    return F.silu(x) * b


def gated_rule(second: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Rule:
    """dx = g (b s + the second term), which is b x s (1 - s)."""

    def rule(g: Tensor, y: Tensor, x: Tensor, b: Tensor) -> Any:
        s = torch.sigmoid(x)
        return g * (b * s + second(x, b, s)), g * x * s

    return rule


def function(forward: Rule, backward: Rule) -> Any:
    class Made(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Tensor) -> Tensor:
            ctx.save_for_backward(*inputs)
            return forward(*inputs)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return backward(g, None, *ctx.saved_tensors)

    return Made


def plant_in(into: Table, cause: str, name: str, forward: Rule, sound: Rule, wrong: Rule, *inputs: Tensor) -> None:
    """One mistake as an op in float64 and as a Function in float32."""
    into(cause, name, *inputs)(lambda is_wrong: gl.Op(forward, wrong if is_wrong else sound, name="planted"))
    narrow = tuple(value.float() for value in inputs)
    into(cause, f"{name}-function-float32", *narrow)(lambda is_wrong: function(forward, wrong if is_wrong else sound))


def plant(cause: str, name: str, forward: Rule, sound: Rule, wrong: Rule, *inputs: Tensor) -> None:
    plant_in(table, cause, f"term-{name}", forward, sound, wrong, *inputs)


SOUND_GATED = gated_rule(lambda x, b, s: b * x * s * (1 - s))
for each_cause, each_name, second_term in (
    ("missing-factor", "gated-slope", lambda x, b, s: b * x * s),
    ("missing-factor", "gated-input", lambda x, b, s: b * s * (1 - s)),
    ("missing-factor", "gated-gate", lambda x, b, s: x * s * (1 - s)),
    ("sign", "gated", lambda x, b, s: -b * x * s * (1 - s)),
    ("constant-factor", "gated-half", lambda x, b, s: b * x * s * (1 - s) / 2),
):
    plant(each_cause, each_name, gated, SOUND_GATED, gated_rule(second_term), A, B)


def scaled_rows(x: Tensor, w: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * w


def scaled_rows_rule(term: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> Rule:
    def rule(g: Tensor, y: Tensor, x: Tensor, w: Tensor) -> Any:
        s = (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return g * w / s - term(g, x / s, w, s), (g * x / s).sum(0)

    return rule


SOUND_ROWS = scaled_rows_rule(lambda g, h, w, s: h * (g * w * h).mean(-1, keepdim=True) / s)
for each_cause, each_name, row_term in (
    ("missing-factor", "rms-weight", lambda g, h, w, s: h * (g * h).mean(-1, keepdim=True) / s),
    ("missing-factor", "rms-deviation", lambda g, h, w, s: h * (g * w * h).mean(-1, keepdim=True)),
    ("sign", "rms", lambda g, h, w, s: -h * (g * w * h).mean(-1, keepdim=True) / s),
    ("constant-factor", "rms-sum", lambda g, h, w, s: h * (g * w * h).sum(-1, keepdim=True) / s),
):
    plant(each_cause, each_name, scaled_rows, SOUND_ROWS, scaled_rows_rule(row_term), ROWS_OF_SIX, normal(6, seed=1))


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.softmax(q @ k.mT / math.sqrt(3), -1) @ v


def attention_rule(scores: Callable[[Tensor, Tensor], Tensor]) -> Rule:
    def rule(g: Tensor, y: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Any:
        p = torch.softmax(q @ k.mT / math.sqrt(3), -1)
        ds = scores(p, g @ v.mT) / math.sqrt(3)
        return ds @ k, ds.mT @ q, p.mT @ g

    return rule


SOUND_ATTENTION = attention_rule(lambda p, d: p * (d - (d * p).sum(-1, keepdim=True)))
HEADS = normal(2, 4, 3), normal(2, 5, 3, seed=1), normal(2, 5, 3, seed=2)
for each_cause, each_name, scores in (
    ("missing-factor", "attention-softmax", lambda p, d: d),
    ("missing-factor", "attention-probabilities", lambda p, d: d - (d * p).sum(-1, keepdim=True)),
    ("missing-term", "attention-row-sum", lambda p, d: p * d),
    ("sign", "attention-row-sum", lambda p, d: p * (d + (d * p).sum(-1, keepdim=True))),
):
    plant(each_cause, each_name, attention, SOUND_ATTENTION, attention_rule(scores), *HEADS)

plant("missing-factor", "quotient", torch.div, lambda g, y, a, b: (g / b, -g * a / b**2),
      lambda g, y, a, b: (g / b, -g * a / b), A, B)  # fmt: skip
plant("wrong-operand", "upside-down", torch.mul, lambda g, y, a, b: (g * b, g * a), lambda g, y, a, b: (g * b, g / a),
      A, B)  # fmt: skip
plant("wrong-operand", "power", lambda a: a**3, lambda g, y, a: (3 * g * a**2,), lambda g, y, a: (3 * g * a**3,), A)
plant("wrong-operand", "log-softmax", lambda x: torch.log_softmax(x, -1),
      lambda g, y, x: (g - torch.softmax(x, -1) * g.sum(-1, True),),
      lambda g, y, x: (g - torch.log_softmax(x, -1) * g.sum(-1, True),), ROWS_OF_SIX)  # fmt: skip


def cubic_gelu(g: Tensor, x: Tensor, three: float) -> Tensor:
    k = math.sqrt(2 / math.pi)
    t = torch.tanh(k * (x + 0.044715 * x**3))
    return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * k * (1 + three * 0.044715 * x * x))


plant("constant-factor", "gelu-three", lambda x: F.gelu(x, approximate="tanh"), lambda g, y, x: (cubic_gelu(g, x, 3),),
      lambda g, y, x: (cubic_gelu(g, x, 1),), A)  # fmt: skip


def convolved(flip: bool) -> Rule:
    def rule(g: Tensor, y: Tensor, x: Tensor, w: Tensor) -> Any:
        turned = w.flip(2, 3) if flip else w
        rows, columns = w.shape[2] - 1, w.shape[3] - 1
        padded = F.pad(g, (columns, columns, rows, rows))
        return F.conv2d(padded, turned.transpose(0, 1)), torch.nn.grad.conv2d_weight(x, w.shape, g)

    return rule


plant("wrong-operand", "convolution-flip", lambda x, w: F.conv2d(x, w), convolved(True), convolved(False), normal(2, 3, 6, 6),
      normal(4, 3, 3, 3, seed=1))  # fmt: skip


@table("missing-factor", "term-layer-numpy-quotient", array(4, 3), positive(4, 3, seed=1).numpy())
def quotient_of_arrays(wrong: bool) -> Any:
    class Quotient:
        def forward(self, a: Any, b: Any) -> Any:
            self.a, self.b = a, b
            return np.tanh(a) / b

        def backward(self, g: Any) -> Any:
            t = np.tanh(self.a)
            return g * (1 - t * t) / self.b, -g * t / (self.b if wrong else self.b**2)

    return Quotient()


ROWS = table.rows
