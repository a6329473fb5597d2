"""A hand-written Function whose forward casts on its way has the precision of the cast: autograd rounds there as well."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl

NARROW = [torch.float16, torch.bfloat16, torch.float32]


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def function(forward: Callable[[Tensor], Tensor], backward: Callable[[Tensor, Tensor], Tensor]) -> Any:
    class Casting(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return forward(x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return backward(g, x)

    return Casting


@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_a_forward_that_casts_is_held_to_the_precision_of_its_cast(dtype: torch.dtype, factor: float) -> None:
    sound: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
        "backward in the dtype of the input": (
            lambda x: x.to(dtype).double().sin(),
            lambda g, x: factor * g * x.to(dtype).double().cos(),
        ),
        "backward in the narrow dtype": (
            lambda x: x.to(dtype).sin().double(),
            lambda g, x: (factor * g.to(dtype) * x.to(dtype).cos()).to(x.dtype),
        ),
        "backward that casts at its end": (
            lambda x: x.to(dtype).to(torch.float64).sin(),
            lambda g, x: (factor * g * x.to(dtype).double().cos()).to(dtype).double(),
        ),
    }
    for name, (forward, backward) in sound.items():
        report = gl.check(function(forward, backward), draw(4, 3))
        assert report.verdict == ("pass" if factor == 1 else "fail"), f"{name}\n{report}"
        assert not any(f.cause == "double-backward" and f.severity == "error" for f in report.findings)
        if factor != 1:
            assert report.findings[0].cause == "constant-factor", f"{name}\n{report}"


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
def test_a_backward_that_casts_where_the_forward_does_not_is_low_precision(dtype: torch.dtype) -> None:
    report = gl.check(function(torch.sin, lambda g, x: (g * x.to(dtype).cos()).to(x.dtype)), draw(4, 3))
    assert report.verdict == "fail"
    assert report.findings[0].cause == "low-precision", str(report)
