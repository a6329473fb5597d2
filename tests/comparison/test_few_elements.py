"""Gradients of few elements, which fresh draws once flagged: too few to take a maximum or a mean of errors over."""

from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab.comparison.budget import judge

SHAPES = [(4,), (4, 1), (1, 4), (1, 4, 1)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("error", "passes"), [(1e-16, True), (1e-13, False)])
def test_dimensions_of_one_do_not_change_the_judgement(shape: tuple[int, ...], error: float, passes: bool) -> None:
    truth = torch.tensor([1.0, 2.0, -1.0, 1e-9], dtype=torch.float64)
    found = judge((truth + torch.tensor([0, 0, 0, error])).reshape(shape), truth.reshape(shape), torch.float64)
    assert found.passed is passes
    assert found.budget_used == judge(truth + torch.tensor([0, 0, 0, error]), truth, torch.float64).budget_used


def linear(x: Tensor, weight: Tensor) -> Tensor:
    return x @ weight.T


def by_products(g: Tensor, y: Tensor, x: Tensor, weight: Tensor) -> Any:
    """Each product rounded, and then their sum."""
    return (g[:, :, None] * weight).sum(1), (g[:, :, None] * x[:, None]).sum(0)


def without_the_last_product(g: Tensor, y: Tensor, x: Tensor, weight: Tensor) -> Any:
    dx, dweight = by_products(g, y, x, weight)
    return dx - g[:, -1:] * weight[-1] / 16, dweight


def cancelling(backward: Any, seed: int) -> gl.Report:
    """One element, a sum of two products of equal weights that nearly cancel for some upstream gradients."""
    x, weight = torch.tensor([[0.7611]]).bfloat16(), torch.tensor([[1.1771], [1.1771]]).bfloat16()
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn((), generator=generator)
    upstream = torch.stack([first, -first * (1 + 0.05 * torch.rand((), generator=generator))])[None].bfloat16()
    return gl.check(gl.Op(linear, backward), x, weight, grad_output=upstream, probes=(), seed=seed)


@pytest.mark.parametrize("seed", range(60))
def test_products_that_cancel_in_one_element_pass_in_bfloat16(seed: int) -> None:
    report = cancelling(by_products, seed)
    assert report.verdict == "pass", report


def test_a_sixteenth_of_a_product_that_is_missing_there_is_caught() -> None:
    assert {cancelling(without_the_last_product, seed).verdict for seed in range(20)} == {"fail"}
