"""What the specs and choices of an op declare, and a call does not show, is tried: broadcasts and values of options."""

from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def summed(grad: Tensor, shape: Any) -> Tensor:
    return grad.sum_to_size(shape)


def chosen(wrong: bool) -> gl.Op:
    def backward(g: Tensor, y: Tensor, mask: Tensor, a: Tensor, b: Tensor) -> Any:
        return None, summed(g * mask, b.shape if wrong else a.shape), summed(g * ~mask, b.shape)

    specs = gl.specs.mask("*#s"), gl.specs.real("*#s"), gl.specs.real("*#s")
    return gl.Op(torch.where, backward, specs=specs)


def affine(wrong: bool) -> gl.Op:
    def backward(g: Tensor, y: Tensor, x: Tensor, scale: Tensor, shift: Tensor) -> Any:
        return g * scale, summed(g * x, scale.shape), g if wrong else summed(g, shift.shape)

    specs = gl.specs.real("*b d"), gl.specs.real("#d"), gl.specs.real("*#b d")
    return gl.Op(lambda x, scale, shift: x * scale + shift, backward, specs=specs)


def total(wrong: bool) -> gl.Op:
    def forward(x: Tensor, *, dim: Any = -1) -> Tensor:
        return x.sum(dim)

    def backward(g: Tensor, y: Tensor, x: Tensor, *, dim: Any = -1) -> Any:
        kept = g if len(x.shape) == g.ndim else g.reshape(x.sum(dim, keepdim=True).shape)
        return ((2 if wrong and isinstance(dim, tuple) else 1) * kept.expand(x.shape),)

    return gl.Op(forward, backward, specs=(gl.specs.real("m n"),), choices={"dim": (-1, (0, 1))})


def powered(wrong: bool) -> gl.Op:
    def backward(g: Tensor, y: Tensor, x: Tensor, *, exponent: int = 2) -> Any:
        if wrong and exponent > 2:
            raise ValueError("squares only")
        return (g * exponent * x ** (exponent - 1),)

    def forward(x: Tensor, *, exponent: int = 2) -> Tensor:
        return x**exponent

    return gl.Op(forward, backward, specs=(gl.specs.real("m n"),), choices={"exponent": (2, 3)})


CAUSES = {
    chosen: "missing-broadcast-sum",
    affine: "missing-broadcast-sum",
    total: "option-specialised",
    powered: "option-specialised",
}

CALLS = {
    chosen: (torch.tensor([True, False, True, False]), normal(4), normal(4, seed=1)),
    affine: (normal(3, 4), normal(4, seed=1), normal(3, 4, seed=2)),
    total: (normal(3, 4),),
    powered: (normal(3, 4),),
}


@pytest.mark.parametrize("op", CALLS, ids=lambda op: op.__name__)
def test_what_an_op_declares_is_tried(op: Any) -> None:
    report = gl.check(op(wrong=True), *CALLS[op])
    assert report.verdict == "fail", report
    assert {f.cause for f in report.findings if f.severity == "error"} == {CAUSES[op]}, report
    assert gl.check(op(wrong=False), *CALLS[op]).verdict == "pass"


def test_broadcast_names_the_input() -> None:
    report = gl.check(affine(wrong=True), *CALLS[affine])
    assert "shift broadcast, " in report.findings[0].message, report


class NothingForARow(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return None if x.ndim == 1 else g * x.cos()


def test_none_for_a_row_alone_is_a_wrong_gradient() -> None:
    report = gl.check(NothingForARow, normal(3, 4))
    assert [f.cause for f in report.findings if f.severity == "error"] == ["size-specialised"], report
    assert "no leading dimension" in report.findings[0].message
