"""A backward with another function's derivative, with another epsilon in what it reads, or one that ends a step early."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import gradcheck_lab as gl
from tests.mistakes.registry import array, normal

Rule = Callable[..., Any]
ROWS: dict[str, tuple[str, Rule, Rule, Rule, tuple[Any, ...]]] = {}
C = math.sqrt(2 / math.pi)


def row(cause: str, name: str, forward: Rule, sound: Rule, wrong: Rule, *inputs: Any) -> None:
    ROWS[name] = (cause, forward, sound, wrong, inputs or (normal(5, 4),))


def phi(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def normal_unit(g: Tensor, y: Tensor, x: Tensor) -> Any:
    return (g * (phi(x) + x * torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)),)


def tanh_unit(g: Tensor, y: Tensor, x: Tensor) -> Any:
    t = torch.tanh(C * (x + 0.044715 * x**3))
    return (g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * C * (1 + 0.134145 * x * x)),)


def quick_unit(g: Tensor, y: Tensor, x: Tensor) -> Any:
    s = torch.sigmoid(1.702 * x)
    return (g * (s + 1.702 * x * s * (1 - s)),)


def tangent(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(C * (x + 0.044715 * x**3)))


row("epsilon-mismatch", "erf-by-sigmoid", lambda x: x * phi(x), normal_unit, quick_unit)
row("epsilon-mismatch", "tangent-by-erf", tangent, tanh_unit, normal_unit)
row("epsilon-mismatch", "sigmoid-by-tangent", lambda x: x * torch.sigmoid(1.702 * x), quick_unit, tanh_unit)
row("epsilon-mismatch", "gelu-by-sigmoid", F.gelu, normal_unit, quick_unit)


def inverse_root(x: Tensor, eps: float, outside: float = 0.0) -> Any:
    centred = x - x.mean(-1, keepdim=True)
    root = (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    return centred, root + outside if outside else root


def norm_rule(eps: float, outside: float = 0.0) -> Rule:
    def rule(g: Tensor, y: Tensor, x: Tensor) -> Any:
        centred, s = inverse_root(x, eps, outside)
        xhat = centred / s
        return ((g - g.mean(-1, keepdim=True) - xhat * (g * xhat).mean(-1, keepdim=True)) / s,)

    return rule


def beside(g: Tensor, y: Tensor, x: Tensor) -> Any:
    """The true gradient of a forward that has its epsilon beside the root."""
    centred, s = inverse_root(x, 0.0)
    d = s + 1e-4
    return ((g - g.mean(-1, keepdim=True) - centred * (g * centred).mean(-1, keepdim=True) / (s * d)) / d,)


def normalised(eps: float, outside: float = 0.0) -> Rule:
    return lambda x: torch.divide(*inverse_root(x, eps, outside))


row("epsilon-mismatch", "beside-its-root", normalised(1e-5), norm_rule(1e-5), norm_rule(0.0, 1e-5), normal(2, 6))
row("epsilon-mismatch", "under-its-root", normalised(0.0, 1e-4), beside, norm_rule(1e-4), normal(2, 6))
row("epsilon-mismatch", "another", normalised(1e-5), norm_rule(1e-5), norm_rule(1e-8), normal(2, 6))


row(
    "wrong-operand", "sigmoid-twice", lambda x: torch.sigmoid(x).square(), lambda g, y, x: (2 * g * y * (1 - y.sqrt()),),
    lambda g, y, x: (2 * g * y.sqrt() * torch.sigmoid(y.sqrt()) * (1 - torch.sigmoid(y.sqrt())),),
)  # fmt: skip
row(
    "wrong-operand", "tanh-for-sigmoid", lambda x: torch.sigmoid(x).exp(),
    lambda g, y, x: (g * y * torch.sigmoid(x) * (1 - torch.sigmoid(x)),), lambda g, y, x: (g * y * (1 - torch.tanh(x) ** 2),),
)  # fmt: skip
row(
    "wrong-operand", "softplus-for-elu", lambda x: F.elu(x) * x,
    lambda g, y, x: (g * (torch.where(x > 0, 1, x.exp()) * x + F.elu(x)),),
    lambda g, y, x: (g * (torch.sigmoid(x) * x + F.elu(x)),),
)  # fmt: skip
row(
    "wrong-operand", "before-the-square", lambda x: torch.tanh(x * x + 1), lambda g, y, x: (2 * x * g * (1 - y * y),),
    lambda g, y, x: (g * (1 - y * y),),
)  # fmt: skip
row(
    "wrong-operand", "before-the-weight", lambda x, w: torch.sin(x @ w).exp(),
    lambda g, y, x, w: ((g * y * torch.cos(x @ w)) @ w.T, x.T @ (g * y * torch.cos(x @ w))),
    lambda g, y, x, w: (g * y * torch.cos(x @ w), x.T @ (g * y * torch.cos(x @ w))), normal(4, 3), normal(3, 3, seed=1),
)  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_other_function_is_named(name: str) -> None:
    cause, forward, _, wrong, inputs = ROWS[name]
    (finding,) = gl.check(gl.Op(forward, wrong, name=name), *inputs, probes=()).findings
    assert finding.cause == cause, finding


@pytest.mark.parametrize("name", ROWS)
def test_right_function_passes(name: str) -> None:
    _, forward, sound, _, inputs = ROWS[name]
    assert gl.check(gl.Op(forward, sound, name=name), *inputs, probes=()).verdict == "pass"


@pytest.mark.parametrize("wrong", [True, False])
def test_first_step_that_a_loop_leaves_out_is_named_once(wrong: bool) -> None:
    def forward(x: Any) -> Any:
        return np.cumsum(np.sin(x), axis=1), (x,)

    def backward(dout: Any, cache: Any) -> Any:
        (x,) = cache
        dx, sent = np.zeros_like(x), np.zeros_like(x[:, 0])
        for t in range(x.shape[1] - 1, 0 if wrong else -1, -1):
            sent = sent + dout[:, t]
            dx[:, t] = sent * np.cos(x[:, t])
        return dx

    report = gl.check((forward, backward), array(4, 6, 2), probes=())
    assert [f.cause for f in report.findings] == (["unwritten-elements"] if wrong else [])
