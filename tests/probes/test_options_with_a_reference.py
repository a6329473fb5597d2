"""Options left at a default that the reference has too are varied; those that it lacks are not. Mistakes beside sound twins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

import gradcheck_lab as gl

# mypy: disable-error-code="override"

X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.tensor([0, 2, 1, 3, 2])


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    return F.elu(x, alpha)


def elu_of_another_default(x: Tensor, alpha: float = 2.0) -> Tensor:
    return F.elu(x, 1.0)


def elu_in_numpy(wrong: bool) -> Any:
    class Elu(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, alpha: float = 1.0) -> Tensor:
            ctx.save_for_backward(x)
            ctx.alpha = alpha
            a = x.detach().numpy()
            return torch.from_numpy(np.where(a > 0, a, alpha * np.expm1(a)))

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            (x,) = ctx.saved_tensors
            return grad_output * torch.where(x > 0, 1.0, (1.0 if wrong else ctx.alpha) * x.exp()), None

    return Elu


def scaled_power(wrong: bool) -> Any:
    def forward(x: Tensor, *, power: int = 2, scale: float = 1.0) -> Tensor:
        return scale * torch.from_numpy(x.detach().numpy() ** power)

    def backward(g: Tensor, y: Tensor, x: Tensor, *, power: int = 2, scale: float = 1.0) -> Any:
        return (g * (1.0 if wrong else scale) * power * x ** (power - 1),)

    return gl.Op(forward, backward)


def loss_of_labels(wrong: bool) -> Any:
    def forward(x: Tensor, labels: Tensor, pad_index: int = -1) -> Tensor:
        kept = [(i, k) for i, k in enumerate(labels.tolist()) if k != pad_index]
        return torch.tensor(-sum(x[i, k].item() for i, k in kept) / max(1, len(kept)), dtype=x.dtype)

    def backward(g: Tensor, y: Tensor, x: Tensor, labels: Tensor, pad_index: int = -1) -> Any:
        kept = (labels != pad_index).unsqueeze(-1)
        picked = F.one_hot(labels.clamp(min=0), x.shape[1]) * kept
        return -g * picked / (len(labels) if wrong else max(1, int(kept.sum()))), None

    return gl.Op(forward, backward)


def mean_of_picked(x: Tensor, labels: Tensor, pad_index: int = -1) -> Tensor:
    kept = labels != pad_index
    return -x[kept].gather(1, labels[kept].unsqueeze(1)).sum() / max(1, int(kept.sum()))


def power_of_torch(x: Tensor, power: int = 2, scale: float = 1.0) -> Tensor:
    return scale * x**power


@pytest.mark.parametrize("wrong", [True, False])
@pytest.mark.parametrize(
    ("op", "inputs", "reference", "causes"),
    [
        (elu_in_numpy, (X,), elu, {"option-specialised"}),
        (scaled_power, (X,), power_of_torch, {"option-specialised"}),
        (loss_of_labels, (X, LABELS), mean_of_picked, {"option-specialised"}),
    ],
)
def test_an_option_that_both_have_is_varied(op: Any, inputs: Any, reference: Any, causes: set[str], wrong: bool) -> None:
    report = gl.check(op(wrong), *inputs, reference=reference, probes=("options", "indices"))
    found = {finding.cause for finding in report.findings if finding.severity == "error"}
    assert (report.verdict, found) == (("fail", causes) if wrong else ("pass", set())), report


@pytest.mark.parametrize("reference", [lambda x: F.elu(x), lambda x, **options: F.elu(x), elu_of_another_default])
def test_a_reference_without_the_option_judges_nothing_of_it(reference: Any) -> None:
    assert gl.check(elu_in_numpy(False), X, reference=reference, probes=("options",)).verdict == "pass"
    assert gl.check(elu_in_numpy(True), X, reference=reference, probes=("options",)).verdict == "pass"
