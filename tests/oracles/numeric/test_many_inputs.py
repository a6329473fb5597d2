"""Calls of many inputs: groups of gradients are held against one direction, and a wrong one among them is found."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import gradcheck_lab as gl


def _scaled(factors: dict[int, float]) -> Any:
    """The sum of the squares of its inputs, whose backward multiplies the gradient of some inputs by a factor."""

    class Squares(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(*inputs)
            return torch.stack(inputs).square().sum(0)

        @staticmethod
        def backward(ctx: Any, grad_output: torch.Tensor) -> Any:
            return tuple(2 * v * grad_output * factors.get(i, 1.0) for i, v in enumerate(ctx.saved_tensors))

    return lambda *inputs: Squares.apply(*inputs)


def _inputs(count: int, shape: tuple[int, ...] = (3, 4)) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(count)]


def _failed(report: gl.Report) -> list[str]:
    return [g.name for g in report.gradients if g.verdict == "fail"]


@pytest.mark.parametrize("shape", [(3, 4), (2,)])
def test_a_sum_of_many_inputs_needs_a_few_forwards_for_each_group(shape: tuple[int, ...]) -> None:
    report = gl.check(lambda *xs: torch.stack(xs).sum(0), *_inputs(64, shape), probes=())
    assert report.verdict == "pass"
    assert report.evaluations["forward"] <= 100  # alone each takes nine
    assert all(value is not None and value < 1e-8 for value in report.sensitivity.values())


@pytest.mark.parametrize("wrong", [{37: 2.0}, {5: 1 + 1e-9}, {0: -1.0, 63: 3.0}, {7: 1.5, 8: 0.5}, {20: 0.0}])
@pytest.mark.parametrize("shape", [(3, 4), (2,)])
def test_wrong_gradients_among_many_inputs_are_the_ones_that_fail(wrong: dict[int, float], shape: tuple[int, ...]) -> None:
    report = gl.check(_scaled(wrong), *_inputs(64, shape), probes=())
    assert report.verdict == "fail"
    names = [g.name for g in report.gradients]
    assert _failed(report) == [names[i] for i in sorted(wrong)]


def test_a_small_gradient_beside_large_ones_is_not_hidden_by_their_rounding() -> None:
    inputs = _inputs(40)
    inputs[11] = inputs[11] * 1e-9
    sound, wrong = (gl.check(_scaled(factors), *inputs, probes=()) for factors in ({}, {11: 1.001}))
    assert sound.verdict == "pass"
    assert _failed(wrong) == [wrong.gradients[11].name]


def test_an_unused_input_and_a_kink_among_many_inputs_are_looked_at_alone() -> None:
    def forward(*inputs: torch.Tensor) -> torch.Tensor:
        return torch.stack(inputs[:-1]).sum(0) + inputs[3].abs() + 0.0 * inputs[-1]

    inputs = _inputs(32)
    inputs[3] = inputs[3].round()
    assert gl.check(forward, *inputs, probes=()).verdict == "pass"
