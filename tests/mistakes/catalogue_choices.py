"""Planted mistakes of one choice: another epsilon, divisor or approximation, a narrower dtype, a part of grad_output."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import gradcheck_lab as gl
from tests.mistakes.catalogue_factors import function, plant_in
from tests.mistakes.registry import Table, array, normal

table = Table()
A, B, ROWS_OF_SIX = normal(4, 3), normal(4, 3, seed=1), normal(5, 6)
Rule = Callable[..., Any]


def normalised(x: Tensor, eps: float = 1e-5, correction: int = 0) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=correction, keepdim=True) + eps).sqrt()


def gradient_of(forward: Callable[[Tensor], Tensor]) -> Rule:
    """A backward that is right for another forward than its own."""

    def rule(g: Tensor, y: Any, x: Tensor) -> Any:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            return torch.autograd.grad(forward(leaf), leaf, g)

    return rule


def layer_norm_rule(eps: float) -> Rule:
    def rule(g: Tensor, y: Any, x: Tensor) -> Any:
        s = torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + eps)
        h = (x - x.mean(-1, keepdim=True)) / s
        return ((g - g.mean(-1, keepdim=True) - h * (g * h).mean(-1, keepdim=True)) / s,)

    return rule


def root_of_squares(x: Tensor, inside: bool) -> Tensor:
    squares = x.square().sum(-1, keepdim=True)
    return x / ((squares + 1e-3).sqrt() if inside else squares.sqrt() + 1e-3)


plant_in(table, "epsilon-mismatch", "choice-layer-norm", normalised, layer_norm_rule(1e-5), layer_norm_rule(1e-12), ROWS_OF_SIX)
plant_in(table, "epsilon-mismatch", "choice-torch-layer-norm", lambda x: F.layer_norm(x, (6,), eps=1e-3), layer_norm_rule(1e-3),
         layer_norm_rule(1e-5), ROWS_OF_SIX)  # fmt: skip
plant_in(table, "epsilon-mismatch", "choice-side-of-a-root", lambda x: root_of_squares(x, True),
         gradient_of(lambda x: root_of_squares(x, True)), gradient_of(lambda x: root_of_squares(x, False)),
         ROWS_OF_SIX)  # fmt: skip
plant_in(table, "epsilon-mismatch", "choice-form-of-gelu", F.gelu, gradient_of(F.gelu),
         gradient_of(lambda x: F.gelu(x, approximate="tanh")), ROWS_OF_SIX)  # fmt: skip
plant_in(table, "wrong-operand", "choice-divisor-of-a-variance", lambda x: normalised(x, 0.1),
         gradient_of(lambda x: normalised(x, 0.1)), gradient_of(lambda x: normalised(x, 0.1, 1)), ROWS_OF_SIX)  # fmt: skip


def saved_as(narrow: torch.dtype) -> Callable[[bool], Any]:
    def build(wrong: bool) -> Any:
        class Product(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
                ctx.save_for_backward(x.to(narrow) if wrong else x, w)
                return x * w

            @staticmethod
            def backward(ctx: Any, g: Tensor) -> Any:
                x, w = ctx.saved_tensors
                return g * w, g * x.to(g.dtype)

        return Product

    return build


table("low-precision", "choice-saved-in-float16", A, B)(saved_as(torch.float16))
table("low-precision", "choice-saved-in-bfloat16-float32", A.float(), B.float())(saved_as(torch.bfloat16))


@table("low-precision", "choice-output-in-float16", ROWS_OF_SIX)
def output_in_float16(wrong: bool) -> Any:
    return gl.Op(torch.tanh, lambda g, y, x: (g * (1 - (y.half().to(g.dtype) if wrong else y) ** 2),), name="tanh")


@table("low-precision", "choice-layer-numpy-float32", array(4, 3))
def numpy_in_float32(wrong: bool) -> Any:
    class Exponential:
        def forward(self, x: Any) -> Any:
            self.y = np.exp(x)
            return self.y

        def backward(self, g: Any) -> Any:
            return g * (self.y.astype(np.float32).astype(g.dtype) if wrong else self.y)

    return Exponential()


def squares(x: Tensor) -> Tensor:
    return x.square().sum(1)


for name, read in (("first-element", lambda g: g[0]), ("mean", lambda g: g.mean())):
    for dtype in (torch.float64, torch.bfloat16):

        def build(wrong: bool, read: Callable[[Tensor], Tensor] = read) -> Any:
            return function(squares, lambda g, y, x: 2 * x * (read(g) if wrong else g[:, None]))

        named = f"choice-{name}-under-ones-{str(dtype)[6:]}"
        table("upstream-scalarized", named, A.to(dtype), grad_output=torch.ones(4, dtype=dtype))(build)

for name, read in (("first-row", lambda g: g[0]), ("first-column", lambda g: g[:, :1]), ("column-means", lambda g: g.mean(0))):

    def of_tanh(wrong: bool, read: Callable[[Tensor], Tensor] = read) -> Any:
        return gl.Op(torch.tanh, lambda g, y, x: ((read(g) if wrong else g) * (1 - y * y),), name="tanh")

    ones = torch.ones(4, 3)
    table("upstream-scalarized", f"choice-{name}-under-ones-float32", A.float(), grad_output=ones)(of_tanh)

LOUD, FAINT = torch.tensor([[1e6], [0.0]]).double().expand(2, 6), torch.tensor([[0.0], [1e-9]]).double().expand(2, 6)


@table("wrong-value", "choice-noise-of-another-row", normal(2, 6))
def noise_of_another_row(wrong: bool) -> Any:
    """In row 0 terms of 1e6 cancel to rounding, and row 1 has a small gradient that hardly rounds."""

    def rule(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (g * (LOUD * (torch.sin(2 * x) - 2 * x.cos() * x.sin()) + (2 if wrong else 1) * FAINT),)

    return gl.Op(lambda x: LOUD * (x.sin() ** 2 + x.cos() ** 2) + FAINT * x, rule, name="noisy")


ROWS = table.rows
