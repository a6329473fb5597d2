"""Backwards that use the upstream gradient wrongly: not at all, as one number, non-linearly, of one output only."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from gradcheck_lab.ops import mul
from gradcheck_lab.rules.op import Op
from tests.mistakes.row import Mistake, Pair, normal

# mypy: disable-error-code="override"

Rule = Callable[..., Any]
X, Y = normal(4, 3), normal(4, 3, seed=1)


def unary(forward: Callable[[Tensor], Any], right: Rule, wrong: Rule, x: Tensor = X) -> Callable[[], Pair]:
    """A pair of ops of one input, each rule a function of `g`, the output and the input."""
    return lambda: (Op(forward, wrong, name="wrong"), Op(forward, right, name="sound"), (x,), {})


def function_of(forward: Callable[..., Any], rule: Rule, materialize: bool = True) -> type[Function]:
    """A Function that saves its inputs; `rule(grad_outputs, *inputs)` returns their gradients."""

    class Written(Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Tensor) -> Any:
            ctx.save_for_backward(*inputs)
            ctx.set_materialize_grads(materialize)
            return forward(*inputs)

        @staticmethod
        def backward(ctx: Any, *grad_outputs: Any) -> Any:
            return rule(grad_outputs if len(grad_outputs) > 1 else grad_outputs[0], *ctx.saved_tensors)

    return Written


def functions(forward: Callable[..., Any], right: Rule, wrong: Rule, *inputs: Tensor, **how: bool) -> Callable[[], Pair]:
    return lambda: (function_of(forward, wrong, **how), function_of(forward, right, **how), inputs, {})


class CrossEntropy:
    def __init__(self, scale: Callable[[Any], Any]) -> None:
        self.scale = scale
        self.y: Any = None
        self.t: Any = None

    def forward(self, x: Any, t: Any) -> Any:
        e = np.exp(x - x.max(axis=1, keepdims=True))
        self.y, self.t = e / e.sum(axis=1, keepdims=True), t
        return -np.log(self.y[np.arange(len(t)), t]).mean()

    def backward(self, dout: Any = 1) -> Any:
        dx = self.y.copy()
        dx[np.arange(len(self.t)), self.t] -= 1
        return self.scale(dout) * dx / len(self.t)


class Tanh:
    def __init__(self, rule: Callable[[Any, Any], Any]) -> None:
        self.rule = rule
        self.out: Any = None

    def forward(self, x: Any) -> Any:
        self.out = np.tanh(x)
        return self.out

    def backward(self, dout: Any) -> Any:
        return self.rule(dout, self.out)


def tanh_layers(wrong: Callable[[Any, Any], Any]) -> Callable[[], Pair]:
    return lambda: (Tanh(wrong), Tanh(lambda g, y: g * (1 - y * y)), (X.numpy(),), {})


def softmax(g: Tensor, y: Tensor, x: Tensor) -> Any:
    return (y * (g - (g * y).sum(-1, keepdim=True)),)


def program(rule: Rule) -> Callable[..., Any]:
    """A product that goes through an op with this rule."""
    tanh = Op(torch.tanh, rule, name="tanh")
    return lambda x, y: mul(tanh(x), y)


def programs(wrong: Rule) -> Callable[[], Pair]:
    return lambda: (program(wrong), program(lambda g, y, x: (g * (1 - y * y),)), (X, Y), {})


def row_losses(x: Tensor) -> Tensor:
    return x.square().sum(-1)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.mean(-1), x.var(-1, correction=0)


def moments_rule(grads: Any, output: Any, x: Tensor) -> Any:
    n, centred = max(1, x.shape[-1]), x - x.mean(-1, keepdim=True)
    return ((grads[0].unsqueeze(-1) + 2 * grads[1].unsqueeze(-1) * centred) / n,)


def sin_cos(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.sin(), x.cos()


def sin_cos_rule(grads: Any, x: Tensor) -> Any:
    parts = [g * d for g, d in zip(grads, (x.cos(), -x.sin()), strict=True) if g is not None]
    return sum(parts) if parts else None


def sin_cos_as_ones(grads: Any, x: Tensor) -> Any:
    return sin_cos_rule([torch.ones_like(x) if g is None else g for g in grads], x)


def sin_cos_needing_both(grads: Any, x: Tensor) -> Any:
    return grads[0] * x.cos() - grads[1] * x.sin()


def sum_difference(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return x + y, x - y


def sum_difference_rule(grads: Any, x: Tensor, y: Tensor) -> Any:
    a, b = (torch.zeros_like(x) if g is None else g for g in grads)
    return a + b, a - b


def sum_difference_first_or_nothing(grads: Any, x: Tensor, y: Tensor) -> Any:
    return (None, None) if grads[1] is None else sum_difference_rule(grads, x, y)


class Halves:
    def __init__(self, weight: float) -> None:
        self.weight = weight

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.x = x
        return x.sin(), x * x

    def backward(self, grads: tuple[Tensor, Tensor]) -> Tensor:
        return grads[0] * self.x.cos() + self.weight * 2 * grads[1] * self.x


MISTAKES = [
    Mistake("exp", "upstream-ignored", unary(torch.exp, lambda g, y, x: (g * y,), lambda g, y, x: (y,))),
    Mistake(
        "square-sign",
        "upstream-ignored",
        functions(torch.square, lambda g, x: 2 * g * x, lambda g, x: 2 * g.sign() * x, X),
    ),
    Mistake("program-tanh", "upstream-ignored", programs(lambda g, y, x: (1 - y * y,))),
    Mistake(
        "loss-scale-layer",
        "upstream-ignored",
        lambda: (
            CrossEntropy(lambda g: 1.0),
            CrossEntropy(lambda g: g),
            (X.numpy(), np.array([0, 2, 1, 2])),
            {},
        ),
    ),
    Mistake(
        "first-of-exp",
        "upstream-scalarized",
        unary(torch.exp, lambda g, y, x: (g * y,), lambda g, y, x: (g.flatten()[0] * y,)),
    ),
    Mistake(
        "mean-of-row-losses",
        "upstream-scalarized",
        functions(row_losses, lambda g, x: 2 * g.unsqueeze(-1) * x, lambda g, x: 2 * g.mean() * x, X),
    ),
    Mistake(
        "sum-of-row-losses",
        "upstream-scalarized",
        functions(row_losses, lambda g, x: 2 * g.unsqueeze(-1) * x, lambda g, x: 2 * g.sum() * x, X),
    ),
    Mistake("first-row-layer", "upstream-scalarized", tanh_layers(lambda g, y: g[0] * (1 - y * y))),
    Mistake("clipped-tanh", "not-linear", tanh_layers(lambda g, y: np.clip(g, -1, 1) * (1 - y * y))),
    Mistake("squared", "not-linear", unary(torch.exp, lambda g, y, x: (g * y,), lambda g, y, x: (g * g * y,))),
    Mistake(
        "normalised",
        "not-linear",
        unary(
            lambda x: torch.softmax(x, -1),
            softmax,
            lambda g, y, x: (softmax(g, y, x)[0] / g.norm() * g.norm().clamp(max=1e3) * g.abs().max().clamp(min=1),),
        ),
    ),
    Mistake("weight-decay", "not-linear", functions(torch.square, lambda g, x: 2 * g * x, lambda g, x: 2 * g * x + 0.1 * x, X)),
    Mistake("largest-only", "not-linear", programs(lambda g, y, x: (g * (1 - y * y) * (g.abs() == g.abs().max()),))),
    Mistake(
        "variance",
        "output-gradient-dropped",
        unary(moments, moments_rule, lambda g, y, x: moments_rule((g[0], 0 * g[1]), y, x)),
    ),
    Mistake(
        "cosine",
        "output-gradient-dropped",
        functions(sin_cos, sin_cos_rule, lambda g, x: g[0] * x.cos(), X),
    ),
    Mistake("layer", "output-gradient-dropped", lambda: (Halves(0.0), Halves(1.0), (X,), {})),
    Mistake(
        "needs-both",
        "undefined-upstream",
        functions(sin_cos, sin_cos_rule, sin_cos_needing_both, X, materialize=False),
    ),
    Mistake("ones", "undefined-upstream", functions(sin_cos, sin_cos_rule, sin_cos_as_ones, X, materialize=False)),
    Mistake(
        "gives-up",
        "undefined-upstream",
        functions(sum_difference, sum_difference_rule, sum_difference_first_or_nothing, X, Y, materialize=False),
    ),
    Mistake(
        "upstream-in-float32",
        "low-precision",
        functions(torch.sin, lambda g, x: g * x.cos(), lambda g, x: g.float().double() * x.cos(), X),
    ),
    Mistake(
        "layer-upstream-in-half",
        "low-precision",
        tanh_layers(lambda g, y: g.astype(np.float16).astype(g.dtype) * (1 - y * y)),
    ),
]
