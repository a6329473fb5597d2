"""Planted mistakes whose explanation hangs on a threshold: a factor, a term, an epsilon that is nearly another."""

from typing import Any

import torch
from torch import Tensor

import gradcheck_lab as gl
from tests.mistakes.registry import Table, complex_normal, normal, positive

# mypy: disable-error-code="override"

table = Table()
X, X32, X16 = normal(4, 3), normal(4, 3, dtype=torch.float32), normal(4, 3, dtype=torch.bfloat16)


@table("constant-factor", "pair-bfloat16", X16)
def in_bfloat16(wrong: bool) -> Any:
    return gl.Op(torch.square, lambda g, y, x: ((6 if wrong else 2) * g * x,), name="square")


@table("constant-factor", "pair-float32", X32)
def in_float32(wrong: bool) -> Any:
    return gl.Op(torch.square, lambda g, y, x: ((6 if wrong else 2) * g * x,), name="square")


@table("constant-factor", "pair-complex64", complex_normal(4, 3).to(torch.complex64))
def in_complex64(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return ((0.3 if wrong else 1) * 2 * g * x.conj(),)

    return gl.Op(lambda x: x * x, backward, name="square")


@table("constant-factor", "pair-three-of-six-rows", normal(6, 4))
def three_of_six_rows(wrong: bool) -> Any:
    return gl.Op(torch.sin, lambda g, y, x: ((3 if wrong else 1) * g * torch.cos(x),), name="sine")


def spread(x: Tensor) -> Tensor:
    return x.std(-1, correction=0, keepdim=True)


@table("constant-factor", "pair-spread-of-rows-float32", (normal(6, 8) * torch.arange(1, 7).unsqueeze(1)).float())
def spread_of_rows_in_float32(wrong: bool) -> Any:
    return gl.Op(torch.sin, lambda g, y, x: (g * torch.cos(x) / (spread(x) if wrong else 1),), name="sine")


@table("constant-factor", "pair-spread-of-rows-bfloat16", (8 * normal(6, 16) * torch.arange(1, 7).unsqueeze(1)).bfloat16())
def spread_of_rows_in_bfloat16(wrong: bool) -> Any:
    return gl.Op(lambda x: x * x, lambda g, y, x: (2 * g * x * (spread(x) if wrong else 1),), name="square")


@table(
    "constant-factor",
    "pair-option-under-a-root",
    normal(6, 8) * torch.arange(1, 7).double().unsqueeze(1) / 10,
    options={"eps": 0.01},
)
def option_under_a_root(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor, *, eps: float) -> Any:
        return (g * torch.cos(x) * ((spread(x) ** 2 + eps).sqrt() if wrong else 1),)

    return gl.Op(lambda x, *, eps: torch.sin(x), backward, name="sine")


@table("missing-term", "pair-three-upstreams-float32", X32)
def three_upstreams(wrong: bool) -> Any:
    return gl.Op(lambda x: torch.sin(x) + 3.7 * x, lambda g, y, x: (g * torch.cos(x) + (0 if wrong else 3.7 * g),), name="skip")


@table("missing-term", "pair-faint-term", X)
def faint_term(wrong: bool) -> Any:
    return gl.Op(
        lambda x: torch.sin(x) + 1e-8 * x, lambda g, y, x: (g * torch.cos(x) + (0 if wrong else 1e-8 * g),), name="faint"
    )


@table("wrong-value", "pair-extra-factor-float32", positive(4, 3).float())
def extra_factor(wrong: bool) -> Any:
    return gl.Op(torch.sin, lambda g, y, x: (g * torch.cos(x) * (x if wrong else 1),), name="sine")


@table("constant-factor", "pair-two-rows-doubled-float32", normal(4, 4, dtype=torch.float32))
def two_rows_doubled(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        grad = g * torch.cos(x)
        if wrong:
            grad[:2] *= 2
        return (grad,)

    return gl.Op(torch.sin, backward, name="sine")


@table("missing-term", "pair-one-row-left-out-float32", normal(6, 5).float(), normal(5, 4, seed=1).float())
def one_row_left_out_in_float32(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor, weight: Tensor) -> Any:
        kept = slice(0, 5) if wrong else slice(None)
        return g @ weight.mT, x[kept].mT @ g[kept]

    return gl.Op(torch.matmul, backward, name="product")


@table("low-precision", "pair-input-in-float32", normal(6, 8))
def input_in_float32(wrong: bool) -> Any:
    return gl.Op(torch.square, lambda g, y, x: (2 * g * (x.float().to(x.dtype) if wrong else x),), name="square")


@table("wrong-axis", "pair-softmax-float32", X32)
def softmax_in_float32(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (y * (g - (g * y).sum(0 if wrong else -1, keepdim=True)),)

    return gl.Op(lambda x: torch.softmax(x, -1), backward, name="softmax")


@table("epsilon-mismatch", "layer-root-float32", positive(4, 3).float() + 1)
def root_in_float32(wrong: bool) -> Any:
    class Root:
        def forward(self, x: Tensor) -> Tensor:
            self.x = x
            return (x * x + 1e-6).sqrt()

        def backward(self, dout: Tensor) -> Tensor:
            return dout * self.x / (self.x * self.x + (1e-12 if wrong else 1e-6)).sqrt()

    return Root()


@table("constant-factor", "pair-not-quite-the-spread", normal(6, 8) * torch.arange(1, 7).double().unsqueeze(1))
def not_quite_the_spread(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        other = spread(x) * (1 + 1e-4 * torch.arange(len(x)).double().unsqueeze(1))
        return (g * torch.cos(x) / (other if wrong else 1),)

    return gl.Op(torch.sin, backward, name="sine")


ROWS = table.rows
