"""Calls at kinks that fresh draws once flagged: each passes, and beside each a mistake that is as hard to see is caught."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from tests.random_sound.functions import TwoLayers

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


class BelowAtTheKink(TwoLayers):
    """Minus the slope of a unit that is exactly at its kink: outside of the interval from 0 to the slope."""

    def backward(self, dout: Tensor) -> Tensor:
        dhidden = (dout @ self.W2.T) * ((self.hidden > 0).to(dout) - (self.x @ self.W1 == 0).to(dout))
        self.dW2, self.dW1 = self.hidden.T @ dout, self.x.T @ dhidden
        return dhidden @ self.W1.T


def units_at_kinks(layers: type[TwoLayers], *small: float) -> gl.Report:
    """One row in three is zero, so that all units of it are at their kinks; weights and values are of very different sizes."""
    size = torch.tensor(small, dtype=torch.float64)
    x = (normal(6, 4, seed=2) * size * torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0, 0.0])[:, None]).float()
    W1 = (normal(4, 4, seed=3) * size.flip(0)[:, None]).float()
    return gl.check(layers(W1, normal(4, 3, seed=4).float()), x)


@sound
def units_at_kinks_beside_weights_as_small_as_a_step() -> gl.Report:
    return units_at_kinks(TwoLayers, 1.0, 1e-4, 1.0, 1e-8)


@wrong("outside-subdifferential")
def minus_the_slope_beside_weights_as_small_as_a_step() -> gl.Report:
    return units_at_kinks(BelowAtTheKink, 1.0, 1e-4, 1.0, 1e-8)


@sound
def values_of_1e_4_at_the_kinks_of_two_layers() -> gl.Report:
    W1 = torch.tensor([[-1.5770, -0.2820], [1.6058, -0.6651]])
    W2 = torch.tensor([[0.6747, -0.5947], [-0.3530, -0.4781]])
    return gl.check(TwoLayers(W1, W2), torch.tensor([[0.0, -0.2129], [-0.0, -1.3413]]), seed=2142780291)


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


def drawn(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    """Small whole numbers and zeros, among them factors of which each is zero where the other is not."""
    wholes = [(normal(*shape, seed=seed + k) * 1.5).round() for k, shape in enumerate(shapes)]
    return [whole * (normal(*whole.shape, seed=seed + 10 + k) > -0.5) for k, whole in enumerate(wholes)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("seed", range(0, 400, 20))
def test_two_layers_with_units_at_their_kinks_pass(seed: int, dtype: torch.dtype) -> None:
    x, W1, W2 = (value.to(dtype) for value in drawn(seed, (2, 2), (2, 3), (3, 3)))
    report = gl.check(TwoLayers(W1, W2), x)
    assert report.verdict == "pass", report


@pytest.mark.parametrize("seed", [0, 20, 80, 100, 120, 140, 160, 180])
def test_minus_the_slope_at_their_kinks_is_caught(seed: int) -> None:
    x, W1, W2 = drawn(seed, (2, 2), (2, 3), (3, 3))
    assert gl.check(BelowAtTheKink(W1, W2), x).verdict == "fail"


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
