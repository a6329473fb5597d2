"""A branch that ordinary values never take: a wrong backward behind it is found, a sound one passes, and no side is left."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import gradcheck_lab as gl
from tests.mistakes.registry import normal

X, Y = normal(4, 3), normal(4, 3, seed=1)


def density(x: Tensor) -> Tensor:
    return torch.exp(-x * x / 2) / (2 * torch.pi) ** 0.5


def gelu_slope(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf(x / 2**0.5)) + x * density(x)


def bent(x: Tensor) -> Tensor:
    if x.abs().max() > 7:
        return x * x
    return x


def bent_backward(factor: float) -> Callable[..., Any]:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        if x.abs().max() > 7:
            return (factor * g * x,)
        return (g,)

    return backward


def norm_backward(limit: float) -> Callable[..., Any]:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        norm = x.norm()
        return (g if norm < limit else 50 * (g / norm - x * (g * x).sum() / norm**3),)

    return backward


def huber(x: Tensor, y: Tensor) -> Tensor:
    return F.huber_loss(x, y, reduction="none", delta=3.0)


# forward, a backward that is wrong on one side, a sound one, and the inputs that never take it
ROWS: dict[str, tuple[Any, Any, Any, tuple[Tensor, ...]]] = {
    "clip-at-10": (lambda x: x.clamp(max=10.0), lambda g, y, x: (g,), lambda g, y, x: (g * (x <= 10.0),), (X,)),
    "huber-at-3": (huber, lambda g, o, x, y: (g * (x - y), -g * (x - y)),
                   lambda g, o, x, y: (g * (x - y).clamp(-3, 3), -g * (x - y).clamp(-3, 3)), (X, Y)),
    "hardtanh-at-5": (lambda x: F.hardtanh(x, -5.0, 5.0), lambda g, y, x: (g * (x < 5),),
                      lambda g, y, x: (g * (x.abs() < 5),), (X,)),
    "softplus-at-20": (F.softplus, lambda g, y, x: (torch.where(x > 20, 2 * g, g * torch.sigmoid(x)),),
                       lambda g, y, x: (torch.where(x > 20, g, g * torch.sigmoid(x)),), (X,)),
    "relu6": (lambda x: F.relu6(x), lambda g, y, x: (g * (x > 0),),
              lambda g, y, x: (g * ((x > 0) & (x < 6)),), (X,)),
    "gelu-cut-at-8": (lambda x: torch.where(x.abs() < 8, F.gelu(x), x.clamp(min=0)),
                      lambda g, y, x: (g * torch.where(x > 8, 2.0, gelu_slope(x)),), lambda g, y, x: (g * gelu_slope(x),),
                      (X,)),
    "between-40-and-45": (lambda x: torch.where((x > 40) & (x < 45), 2 * x, x), lambda g, y, x: (g,),
                          lambda g, y, x: (g * torch.where((x > 40) & (x < 45), 2.0, 1.0),), (X,)),
    "norm-above-50": (lambda x: x * (50.0 / x.norm()).clamp(max=1.0), norm_backward(1e9), norm_backward(50), (X,)),
    "maximum-of-two": (lambda x, y: torch.maximum(x, y - 30), lambda g, o, x, y: (g, 0 * g),
                       lambda g, o, x, y: (g * (x > y - 30), g * (x <= y - 30)), (X, Y)),
    "negative-side": (lambda x: F.leaky_relu(x, 0.1), lambda g, y, x: (g,),
                      lambda g, y, x: (torch.where(x > 0, g, 0.1 * g),), (X.abs() + 0.1,)),
    "small-values": (lambda x: torch.where(x.abs() < 1e-3, 1 - x * x / 6, torch.sin(x) / x),
                     lambda g, y, x: (g * torch.where(x.abs() < 1e-3, x / 3, x.cos() / x - x.sin() / x**2),),
                     lambda g, y, x: (g * torch.where(x.abs() < 1e-3, -x / 3, x.cos() / x - x.sin() / x**2),), (X + X.sign(),)),
    "if-on-a-maximum": (bent, bent_backward(1), bent_backward(2), (X,)),
}  # fmt: skip


def check(name: str, backward: Any) -> gl.Report:
    forward, _, _, inputs = ROWS[name]
    return gl.check(gl.Op(forward, backward, name="op"), *inputs, probes=["missing_branches"])


@pytest.mark.parametrize("name", ROWS)
def test_a_backward_that_is_wrong_on_one_side_is_found_there_alone(name: str) -> None:
    report = check(name, ROWS[name][1])
    assert report.verdict == "fail"
    assert {finding.cause for finding in report.findings} == {"value-dependent"}
    assert {finding.probe for finding in report.findings} == {"missing_branches"}
    assert all(gradient.verdict == "pass" for gradient in report.gradients)


@pytest.mark.parametrize("name", ROWS)
def test_its_sound_twin_passes_with_every_side_taken(name: str) -> None:
    report = check(name, ROWS[name][2])
    assert report.verdict == "pass"
    assert report.not_run.sides == ()


def test_the_finding_says_which_side_and_which_values() -> None:
    (finding,) = check("clip-at-10", ROWS["clip-at-10"][1]).findings
    assert finding.message == "gradient of input 0 'x' is wrong in 4 of 12 elements, where x > 10.0"
    assert finding.case.startswith("x times 2")
    assert finding.explanation.startswith(f"right while no element has x > 10.0, wrong with {finding.case}: ")


class Clip:
    """A layer in NumPy, with a bound that it holds itself."""

    def __init__(self, wrong: bool) -> None:
        self.wrong, self.bound = wrong, 5.0

    def forward(self, x: Any) -> Any:
        self.x = x
        return np.clip(x, -self.bound, self.bound)

    def backward(self, dout: Any) -> Any:
        mask = np.abs(self.x) <= self.bound
        dx = dout.copy()
        dx[~mask] *= self.wrong
        return dx


@pytest.mark.parametrize("wrong", [True, False])
def test_a_bound_in_a_layer_of_numpy_is_passed(wrong: bool) -> None:
    report = gl.check(Clip(wrong), X.numpy(), probes=["missing_branches"])
    assert report.verdict == ("fail" if wrong else "pass")
    assert report.not_run.sides == ()
    assert report.not_run.sides_seen == 6
