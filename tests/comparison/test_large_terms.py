"""Terms that cancel may be as large as products of the call's numbers: their rounding is no mistake of the backward."""

from __future__ import annotations

import pytest
import torch

import gradcheck_lab as gl


class Attention(torch.autograd.Function):
    """Attention that keeps its output, and takes the sum of each row of p ∘ dp from that."""

    with_sum = True

    @staticmethod
    def forward(ctx, q, k, v):
        p = torch.softmax(q @ k.transpose(-1, -2), -1)
        out = p @ v
        ctx.save_for_backward(q, k, v, out, p)
        return out

    @classmethod
    def scores(cls, g, v, out, p):
        delta = (g * out).sum(-1, keepdim=True) if cls.with_sum else 0
        return p * (g @ v.transpose(-1, -2) - delta)

    @staticmethod
    def backward(ctx, g):
        q, k, v, out, p = ctx.saved_tensors
        ds = Attention.scores(g, v, out, p)
        return ds @ k, ds.transpose(-1, -2) @ q, p.transpose(-1, -2) @ g


class WithoutSum(Attention):
    """The same, and the sum of the row is left out."""

    with_sum = False

    @staticmethod
    def backward(ctx, g):
        q, k, v, out, p = ctx.saved_tensors
        ds = WithoutSum.scores(g, v, out, p)
        return ds @ k, ds.transpose(-1, -2) @ q, p.transpose(-1, -2) @ g


def attend(q, k, v):
    return torch.softmax(q @ k.transpose(-1, -2), -1) @ v


def drawn(seed: int, size: float) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [size * torch.randn(2, 6, 21, generator=generator) for _ in range(3)]


@pytest.mark.parametrize("size", [1.0, 30.0, 100.0, 1000.0])
@pytest.mark.parametrize("seed", range(3))
def test_saturated_scores_leave_only_rounding_which_is_no_error(seed: int, size: float) -> None:
    report = gl.check(Attention, *drawn(seed, size), reference=attend, probes=())
    assert report.verdict == "pass", report.message


@pytest.mark.parametrize("size", [1.0, 30.0, 100.0, 300.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_sum_that_is_left_out_is_found(seed: int, size: float) -> None:
    report = gl.check(WithoutSum, *drawn(seed, size), reference=attend, probes=())
    assert report.verdict == "fail"
    assert {gradient.name for gradient in report.gradients if gradient.verdict == "fail"} == {"q", "k"}
