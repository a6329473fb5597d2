"""What the call is no function of is no reason for a kink or for rounding: masks and labels stand exactly at bounds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

import gradcheck_lab as gl

DRAWN = torch.Generator().manual_seed(0)
X = torch.rand(4, 3, generator=DRAWN) * 0.8 + 0.1
MASK = (torch.rand(4, 3, generator=DRAWN) > 0.5).float()


def masked(wrong: bool) -> Any:
    class Masked(Function):
        """A mask of zeros and ones as numbers; the wrong backward forgets it."""

        @staticmethod
        def forward(ctx: Any, x: Tensor, mask: Tensor) -> Tensor:
            ctx.save_for_backward(mask)
            return torch.where(mask > 0, 2 * x, 0 * x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            (mask,) = ctx.saved_tensors
            return 2 * g if wrong else torch.where(mask > 0, 2 * g, 0 * g), None

    return Masked.apply


def shifted(wrong: bool) -> Any:
    class Shifted(Function):
        """The mask is computed with before it is compared."""

        @staticmethod
        def forward(ctx: Any, x: Tensor, mask: Tensor) -> Tensor:
            kept = (1 - mask) * 3 <= 0
            ctx.save_for_backward(kept)
            return torch.where(kept, x, -x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            (kept,) = ctx.saved_tensors
            return torch.where(kept, g, 0 * g if wrong else -g), None

    return Shifted.apply


def cross_entropy(wrong: bool) -> Any:
    class CrossEntropy(Function):
        """Labels that are compared with one; the wrong backward is off where they are."""

        @staticmethod
        def forward(ctx: Any, p: Tensor, label: Tensor) -> Tensor:
            ctx.save_for_backward(p, label)
            return torch.where(label == 1, -torch.log(p), -torch.log(1 - p)).sum()

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            p, label = ctx.saved_tensors
            return g * torch.where(label == 1, (-0.9 if wrong else -1) / p, 1 / (1 - p)), None

    return CrossEntropy.apply


@pytest.mark.parametrize("form", [masked, shifted, cross_entropy])
@pytest.mark.parametrize("mixed", [True, False], ids=["mixed", "all alike"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_data_at_a_bound_excuse_nothing(form: Any, mixed: bool, dtype: torch.dtype) -> None:
    bad = float(form is cross_entropy)  # the value where the backward is wrong
    data = MASK if mixed else torch.full((4, 3), bad)
    call = X.to(dtype), data.to(dtype)
    assert gl.check(form(False), *call).verdict == "pass"
    report = gl.check(form(True), *call)
    assert report.verdict == "fail", report
    assert report.gradients[0].wrong_elements == int((data == bad).sum()), report


def test_the_input_that_wrt_leaves_out_excuses_nothing() -> None:
    assert gl.check(masked(False), X, MASK, wrt=["x"], probes=()).verdict == "pass"
    assert gl.check(masked(True), X, MASK, wrt=["x"], probes=()).verdict == "fail"


def test_kinks_of_what_is_differentiated_still_take_any_side() -> None:
    class Clipped(Function):
        """max(x, bound) takes the other side than torch where they are equal, which is as right."""

        @staticmethod
        def forward(ctx: Any, x: Tensor, bound: Tensor) -> Tensor:
            ctx.save_for_backward(x, bound)
            return torch.maximum(x, bound)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            x, bound = ctx.saved_tensors
            return torch.where(x >= bound, g, 0 * g), None

    bound = torch.tensor([[0.0, 1.0, 2.0]])
    assert gl.check(Clipped.apply, torch.tensor([[0.0, 3.0, 2.0]]), bound, wrt=["x"]).verdict == "pass"
