"""Calls at kinks that fresh draws once flagged: each passes, and beside each a mistake that is as hard to see is caught."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl

SOUND: dict[str, Callable[[], gl.Report]] = {}
WRONG: dict[str, tuple[str, Callable[[], gl.Report]]] = {}


def sound(make: Callable[[], gl.Report]) -> Callable[[], gl.Report]:
    SOUND[make.__name__] = make
    return make


def wrong(cause: str) -> Callable[[Callable[[], gl.Report]], Callable[[], gl.Report]]:
    def register(make: Callable[[], gl.Report]) -> Callable[[], gl.Report]:
        WRONG[make.__name__] = cause, make
        return make

    return register


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one_at_zero(g: Tensor, y: Tensor, x: Tensor) -> Any:
    return (torch.where(x < 0, -g, g),)


@sound
def zeros_of_a_triangle_are_no_tie_of_an_absolute_value() -> gl.Report:
    return gl.check(gl.Op(torch.abs, one_at_zero), normal(3, 3, seed=1).tril())


@wrong("tie-mass")
def every_tie_takes_all_beside_zeros_of_a_triangle() -> gl.Report:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        largest = (x == x.amax(-1, keepdim=True)) * g.sum(-1, keepdim=True)
        return (torch.where(x < 0, -g, g) + largest,)

    return gl.check(gl.Op(lambda x: x.abs() + x.amax(-1, keepdim=True), backward), normal(3, 3, seed=1).tril())


class Absolute(torch.autograd.Function):
    slope = 1.0

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.abs()

    @classmethod
    def rule(cls, ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.where(x == 0, cls.slope * grad_output, x.sign() * grad_output)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return Absolute.rule(ctx, grad_output)


class SteepAbsolute(Absolute):
    """A slope of 1.05 at the kink, outside of the interval from -1 to 1 by more than bfloat16 rounds."""

    slope = 1.05

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return SteepAbsolute.rule(ctx, grad_output)


def with_a_factor(function: type[Absolute], seed: int) -> gl.Report:
    return gl.check(lambda x: -function.apply(x) * 1.8, torch.zeros(1, dtype=torch.bfloat16), seed=seed)


@sound
def end_of_an_interval_that_a_factor_rounds_in_bfloat16() -> gl.Report:
    return with_a_factor(Absolute, seed=5)


@wrong("outside-subdifferential")
def slope_beyond_the_end_in_bfloat16() -> gl.Report:
    return with_a_factor(SteepAbsolute, seed=5)


def softplus(x: Tensor) -> Tensor:
    """Two kinks that cancel: at zero, autograd's conventions do not, and what it says there stands alone."""
    return (x * 1.99).clamp(min=0) / 1.99 + torch.log1p(torch.exp(-(x * 1.99).abs())) / 1.99


class Softplus(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return softplus(x)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return grad_output / (1 + torch.exp(-1.99 * x))


class FlatSoftplus(Softplus):
    """A slope at zero that is 0.47 and not a half."""

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return torch.where(x == 0, 0.47 * grad_output, grad_output / (1 + torch.exp(-1.99 * x)))


def softplus_of_ties(function: type[Softplus], seed: int) -> gl.Report:
    x = torch.tensor([1.0, -0.0, 0.0, -2.0], dtype=torch.float16)
    return gl.check(lambda x: -function.apply(x) * 1.55, x, seed=seed)


@sound
def softplus_by_exp_of_tied_values_in_float16() -> gl.Report:
    return softplus_of_ties(Softplus, seed=2)


@pytest.mark.parametrize("seed", range(3))
def test_wrong_slope_where_kinks_cancel_does_not_pass(seed: int) -> None:
    assert softplus_of_ties(FlatSoftplus, seed).verdict != "pass"


def deviation_backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
    spread = y.unsqueeze(-1) * x.shape[-1]
    return (torch.where(spread > 0, g.unsqueeze(-1) * (x - x.mean(-1, keepdim=True)) / spread, 0.0),)


@sound
def deviation_of_equal_values_whose_mean_is_rounded() -> gl.Report:
    class Layer:
        def forward(self, x: Tensor) -> Tensor:
            self.x, self.y = x, x.std(-1, correction=0)
            return self.y

        def backward(self, dout: Tensor) -> Tensor:
            return deviation_backward(dout.float(), self.y.float(), self.x.float())[0].to(self.x.dtype)

    return gl.check(Layer(), torch.tensor([-7.6250, 2.5469], dtype=torch.bfloat16), seed=1803805303)


@wrong("tie-mass")
def every_tie_takes_all_in_float32() -> gl.Report:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return ((x == y.unsqueeze(-1)) * g.unsqueeze(-1),)

    return gl.check(gl.Op(lambda x: x.amax(-1), backward), normal(3, 4).float())


@pytest.mark.parametrize("name", SOUND)
def test_sound_call_passes(name: str) -> None:
    report = SOUND[name]()
    assert report.verdict == "pass", report
    assert not [finding for finding in report.findings if finding.severity != "note"], report


@pytest.mark.parametrize("name", WRONG)
def test_mistake_beside_it_is_caught(name: str) -> None:
    cause, make = WRONG[name]
    report = make()
    assert report.verdict == "fail", report
    assert next(finding for finding in report.findings if finding.severity == "error").cause == cause, report
