"""An attention whose backward computes the softmax again, as fused ones do, under large scores that nearly cancel."""

from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from tests.random_sound.normalisations import attending, flash_attention_backward


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def report_of(backward: Any, seed: int) -> gl.Report:
    """Keys that all but agree: the terms of the queries' gradients cancel, and rounding of the scores is left."""
    inputs = normal(4, 2, seed=seed), normal(4, 2, seed=seed + 100) * 1e-6, normal(4, 2, seed=seed + 200) * 40
    return gl.check(gl.Op(attending(True), backward), *inputs, seed=seed, probes=("values",))


@pytest.mark.parametrize("seed", range(6))
def test_softmax_that_is_computed_again_passes(seed: int) -> None:
    report = report_of(flash_attention_backward(True), seed)
    assert report.verdict == "pass", report
    assert not [finding for finding in report.findings if finding.severity != "note"], report


def bounded(limit: float) -> Any:
    """A softmax that is bounded in backward, as no forward has it: right but for large scores."""

    def backward(g: Tensor, y: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Any:
        scale = q.shape[-1] ** -0.5
        scores = ((q @ k.mT) * scale).masked_fill(torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).triu(1), -torch.inf)
        p = scores.clamp(max=limit).softmax(-1)
        dscores = p * (g @ v.mT - (g * y).sum(-1, keepdim=True)) * scale
        return dscores @ k, dscores.mT @ q, p.mT @ g

    return backward


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in (1, 2))])
def test_softmax_that_is_bounded_in_backward_alone_is_caught(seed: int) -> None:
    assert report_of(bounded(torch.inf), seed).verdict == "pass"
    assert report_of(bounded(30.0), seed).verdict == "fail"
