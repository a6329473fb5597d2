"""Fourier transforms of constants, whose gradients all but vanish: fresh draws once flagged their rounding."""

from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl


def by_conjugates(g: Tensor) -> Tensor:
    return torch.fft.fft(g.conj(), dim=-1).conj()


def without_conjugates(g: Tensor) -> Tensor:
    return torch.fft.fft(g, dim=-1)


def with_a_leak(g: Tensor) -> Tensor:
    """One part in 1e4 of the upstream gradient, beside elements a thousand times as large."""
    return by_conjugates(g) + 1e-4 * g


def transform(rule: Any) -> type[torch.autograd.Function]:
    class Transform(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return torch.fft.fft(x, dim=-1)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            return rule(grad_output)

    return Transform


def constant_upstream(rule: Any, *shape: int) -> gl.Report:
    function = transform(rule)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.complex64)
    return gl.check(lambda x: function.apply(x).sum() * 1.26, x)


@pytest.mark.parametrize("shape", [(5, 2), (4,), (3, 1030), (1030,)], ids=str)
def test_transform_of_a_constant_passes(shape: tuple[int, ...]) -> None:
    report = constant_upstream(by_conjugates, *shape)
    assert report.verdict == "pass", report
    assert not [finding for finding in report.findings if finding.severity != "note"], report


@pytest.mark.parametrize("shape", [(5, 7), (3, 1030)], ids=str)
def test_leak_beside_what_cancels_is_caught(shape: tuple[int, ...]) -> None:
    assert constant_upstream(with_a_leak, *shape).verdict == "fail"


def test_missing_conjugates_are_caught_where_the_upstream_varies() -> None:
    x = torch.randn(3, 7, generator=torch.Generator().manual_seed(0), dtype=torch.complex64)
    report = gl.check(transform(without_conjugates), x)
    assert report.verdict == "fail", report
