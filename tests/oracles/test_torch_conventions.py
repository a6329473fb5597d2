"""Where torch documents a gradient that is not the derivative, autograd is the reference and numbers are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import gradcheck_lab as gl

TABLE = torch.linspace(-1.0, 2.0, 15).reshape(5, 3)
INDEX = torch.tensor([0, 2, 1, 2, 3])


def lookup(wrong: bool, padding: int) -> Any:
    class Lookup(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, index: Tensor, table: Tensor, padding: int) -> Tensor:
            ctx.save_for_backward(index)
            ctx.rows, ctx.padding = len(table), padding
            return F.embedding(index, table, padding)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
            (index,) = ctx.saved_tensors
            sent = grad.new_zeros(ctx.rows, grad.shape[-1]).index_add(0, index.reshape(-1), grad.reshape(-1, grad.shape[-1]))
            if not wrong:
                sent[ctx.padding] = 0
            return None, sent, None

    return Lookup, (INDEX, TABLE, padding)


def through_rounding(wrong: bool) -> Any:
    class Quantised(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -8, 7)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
            (x,) = ctx.saved_tensors
            code = torch.round(x / 0.1)
            return grad if wrong else grad * ((code >= -8) & (code <= 7))

    return Quantised, (TABLE,)


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, wrong: bool) -> Tensor:
        ctx.save_for_backward(x)
        ctx.factor = 1.0 if wrong else 2.0
        return x * x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        return ctx.factor * grad * ctx.saved_tensors[0], None


def around(made: Callable[[Tensor], Tensor]) -> Any:
    def form(wrong: bool) -> Any:
        return (lambda table: Square.apply(made(table), wrong)), (TABLE,)

    return form


FORMS: dict[str, Any] = {
    "padding": lambda wrong: lookup(wrong, 2),
    "first-row-as-padding": lambda wrong: lookup(wrong, 0),
    "quantised": through_rounding,
    "padding-around": around(lambda table: F.embedding(INDEX, table, padding_idx=2)),
    "built-in": around(lambda table: torch.embedding(table, INDEX, 2)),
    "by-frequency": around(lambda table: F.embedding(INDEX, table, scale_grad_by_freq=True)),
    "bag-by-frequency": around(
        lambda table: F.embedding_bag(INDEX, table, torch.tensor([0, 2]), mode="sum", scale_grad_by_freq=True)
    ),
    "hard-sample": around(lambda table: F.gumbel_softmax(table, hard=True)),
}


@pytest.mark.parametrize("form", FORMS)
def test_autograd_decides(form: str) -> None:
    subject, inputs = FORMS[form](wrong=False)
    report = gl.check(subject, *inputs)
    assert report.verdict == "pass", report
    assert any("as torch documents" in finding.message for finding in report.findings), report
    subject, inputs = FORMS[form](wrong=True)
    assert gl.check(subject, *inputs).verdict == "fail"


def test_numbers_decide_where_no_convention_is_asked_for() -> None:
    def stopped(table: Tensor) -> Tensor:
        return Square.apply(F.embedding(INDEX, table), False) + torch.embedding(table, INDEX)

    report = gl.check(stopped, TABLE)
    assert report.verdict == "pass", report
    assert not any("documents" in finding.message for finding in report.findings), report


@pytest.mark.parametrize(
    "module", [torch.nn.Embedding(5, 3, padding_idx=2), torch.nn.Embedding(5, 3, scale_grad_by_freq=True)], ids=str
)
def test_plain_torch_is_not_flagged(module: torch.nn.Module) -> None:
    report = gl.check(module, INDEX)
    assert report.verdict == "inconclusive", report
    assert report.reasons[0].startswith("nothing in Embedding is hand-written, and embedding "), report
