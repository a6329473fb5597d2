"""Two layers whose units stand at their kinks, which fresh draws once flagged; a slope beyond the kink is still caught."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from tests.random_sound.functions import TwoLayers


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class BelowAtTheKink(TwoLayers):
    """Minus the slope of a unit that is exactly at its kink: outside of the interval from 0 to the slope."""

    def backward(self, dout: Tensor) -> Tensor:
        dhidden = (dout @ self.W2.T) * ((self.hidden > 0).to(dout) - (self.x @ self.W1 == 0).to(dout))
        self.dW2, self.dW1 = self.hidden.T @ dout, self.x.T @ dhidden
        return dhidden @ self.W1.T


def units_at_kinks(layers: type[TwoLayers], small: Sequence[float]) -> gl.Report:
    """One row in three is zero, so that all units of it are at their kinks; weights and values are of very different sizes."""
    size = torch.tensor(small, dtype=torch.float64)
    x = (normal(6, 4, seed=2) * size * torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0, 0.0])[:, None]).float()
    W1 = (normal(4, 4, seed=3) * size.flip(0)[:, None]).float()
    return gl.check(layers(W1, normal(4, 3, seed=4).float()), x)


SIZES = (1.0, 1e-4, 1.0, 1e-8)


def test_units_at_kinks_beside_weights_as_small_as_a_step_pass() -> None:
    report = units_at_kinks(TwoLayers, SIZES)
    assert report.verdict == "pass", report


def test_minus_the_slope_beside_weights_as_small_as_a_step_is_caught() -> None:
    report = units_at_kinks(BelowAtTheKink, SIZES)
    assert report.verdict == "fail", report
    assert report.findings[0].cause == "outside-subdifferential", report


def test_values_of_1e_4_at_the_kinks_pass() -> None:
    W1 = torch.tensor([[-1.5770, -0.2820], [1.6058, -0.6651]])
    W2 = torch.tensor([[0.6747, -0.5947], [-0.3530, -0.4781]])
    report = gl.check(TwoLayers(W1, W2), torch.tensor([[0.0, -0.2129], [-0.0, -1.3413]]), seed=2142780291)
    assert report.verdict == "pass", report


SEEDS = range(0, 400, 20)


def drawn(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    """Small whole numbers and zeros, among them factors of which each is zero where the other is not."""
    wholes = [(normal(*shape, seed=seed + k) * 1.5).round() for k, shape in enumerate(shapes)]
    return [whole * (normal(*whole.shape, seed=seed + 10 + k) > -0.5) for k, whole in enumerate(wholes)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("seed", [pytest.param(seed, marks=() if seed % 200 == 0 else pytest.mark.thorough) for seed in SEEDS])
def test_two_layers_with_units_at_their_kinks_pass(seed: int, dtype: torch.dtype) -> None:
    x, W1, W2 = (value.to(dtype) for value in drawn(seed, (2, 2), (2, 3), (3, 3)))
    report = gl.check(TwoLayers(W1, W2), x)
    assert report.verdict == "pass", report


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.thorough) for s in (20, 80, 100, 120, 140, 160, 180))])
def test_minus_the_slope_at_their_kinks_is_caught(seed: int) -> None:
    x, W1, W2 = drawn(seed, (2, 2), (2, 3), (3, 3))
    assert gl.check(BelowAtTheKink(W1, W2), x).verdict == "fail"
