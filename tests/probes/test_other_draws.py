"""Masks that a backward draws again from the forward's seed, at other elements."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

import gradcheck_lab as gl
from tests.mistakes.registry import normal

# mypy: disable-error-code="override"


def dropout(way: str) -> Any:
    def kept(shape: torch.Size, seed: int) -> Tensor:
        return (torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) > 0.4) / 0.6

    class Dropout(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.seed = int(torch.randint(2**31, ()))
            return x * kept(x.shape, ctx.seed)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            if way == "by columns":
                return g * kept(g.mT.shape, ctx.seed).mT
            factor = torch.full_like(g, 1 / 0.6) if way == "left out" else kept(g.shape, ctx.seed)
            return g * (5 / 3 - factor if way == "inverted" else factor)

    return Dropout


@pytest.mark.parametrize(("way", "named"), [("by columns", True), ("left out", False), ("inverted", False)])
def test_mask_at_other_elements_is_another_draw(way: str, named: bool) -> None:
    report = gl.check(dropout(way), normal(4, 6), probes=("modes",))
    causes = [f.cause for f in report.findings if f.severity == "error"]
    assert report.verdict == "fail"
    assert (causes == ["random-replay"]) == named, report


def test_mask_of_the_same_draw_passes() -> None:
    assert gl.check(dropout("saved"), normal(4, 6), probes=("modes",)).verdict == "pass"


@pytest.mark.parametrize(
    "noisy",
    [
        lambda g: 2 * g + 0.1 * torch.randn_like(g),
        lambda g: 2 * g * (1 + 0.1 * torch.rand(g.shape, dtype=g.dtype)),
        lambda g: torch.nn.functional.dropout(2 * g),
    ],
)
def test_what_the_backward_of_a_plain_forward_draws_is_said_and_nothing_else(noisy: Any) -> None:
    report = gl.check(gl.Op(lambda x: 2 * x, lambda g, output, x: (noisy(g),)), normal(4, 3))
    assert {f.cause for f in report.findings if f.severity == "error"} == {"nondeterministic"}, report


def test_numbers_that_a_backward_draws_and_does_not_use_are_no_mistake() -> None:
    right = gl.Op(lambda x: 2 * x, lambda g, output, x: (2 * g + 0 * torch.rand_like(g),))
    assert gl.check(right, normal(4, 3)).verdict == "pass"
