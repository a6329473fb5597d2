"""Neither a kink of the given call, nor an allowed cause, nor a large gradient beside it hides a mistake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl

Rule = Callable[[Tensor, Tensor, Tensor], Tensor]


def function(forward: Callable[[Tensor], Tensor], rule: Rule) -> type[torch.autograd.Function]:
    class Subject(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            y = forward(x)
            ctx.save_for_backward(x, y)
            return y

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            return rule(g, *ctx.saved_tensors)

    return Subject


def row_maximum(x: Tensor) -> Tensor:
    return x.max(-1, keepdim=True).values


def at(x: Tensor, y: Tensor) -> Tensor:
    return (x == y).to(x)


def count(x: Tensor, y: Tensor) -> Tensor:
    return at(x, y).sum(-1, keepdim=True)


TO_TIES: dict[str, tuple[Rule, str]] = {
    "the-first": (lambda g, x, y: g * torch.zeros_like(x).scatter(-1, x.argmax(-1, keepdim=True), 1.0), "pass"),
    "evenly": (lambda g, x, y: g * at(x, y) / count(x, y), "pass"),
    "to-each": (lambda g, x, y: g * at(x, y), "fail"),
    "to-none": (lambda g, x, y: g * at(x, y) * (count(x, y) == 1), "fail"),
    "half": (lambda g, x, y: g * at(x, y) / (2 * count(x, y) - (count(x, y) == 1).to(x)), "fail"),
}
TIED: dict[str, Tensor] = {
    "ones": torch.ones(5, dtype=torch.float64),
    "zeros": torch.zeros(4, dtype=torch.float64),
    "two-of-four": torch.tensor([1.0, 1.0, 0.0, 0.5], dtype=torch.float64),
    "rows-of-ones": torch.ones(3, 4, dtype=torch.float64),
    "mixed-rows": torch.tensor([[1.0, 1.0, 0.0], [2.0, 3.0, 1.0], [0.0, 0.0, 0.0]], dtype=torch.float64),
    "float32": torch.ones(3),
}


@pytest.mark.parametrize("values", TIED)
@pytest.mark.parametrize("rule", TO_TIES)
def test_ties_of_the_given_call_share_one_gradient(rule: str, values: str) -> None:
    backward, verdict = TO_TIES[rule]
    report = gl.check(function(row_maximum, backward), TIED[values], probes={"values"})
    errors = [finding.cause for finding in report.findings if finding.severity == "error"]
    assert (report.verdict, set(errors)) == (verdict, {"tie-mass"} if verdict == "fail" else set()), report


KINKS: dict[str, tuple[Callable[[Tensor], Tensor], Rule]] = {
    "relu-zero": (torch.relu, lambda g, x, y: g * (x > 0)),
    "relu-one": (torch.relu, lambda g, x, y: g * (x >= 0)),
    "abs": (torch.abs, lambda g, x, y: torch.where(x < 0, -g, g)),
    "clamp": (lambda x: x.clamp(0, 1), lambda g, x, y: g * ((x > 0) & (x < 1))),
}


@pytest.mark.parametrize("values", [[0.0] * 4, [0.0, 1.0, 0.0, 1.0, 2.0], [1.0] * 3], ids=str)
@pytest.mark.parametrize("name", KINKS)
def test_a_kink_of_each_element_is_no_tie(name: str, values: list[float]) -> None:
    assert gl.check(function(*KINKS[name]), torch.tensor(values, dtype=torch.float64), probes={"values"}).verdict == "pass"


class Loss:
    """Cross entropy in NumPy whose backward ignores dout, as at the end of a network it may; `fix` is what else is wrong."""

    def __init__(self, fix: Callable[[Any], Any]) -> None:
        self.fix = fix

    def forward(self, x: Any, y: Any) -> Any:
        e = np.exp(x - x.max(1, keepdims=True))
        self.p, self.y = e / e.sum(1, keepdims=True), y
        return -np.log(self.p[np.arange(len(x)), y]).mean()

    def backward(self, dout: float = 1.0) -> Any:
        d = self.p.copy()
        d[np.arange(len(self.y)), self.y] -= 1
        return self.fix(d / len(self.y))


ALSO: dict[str, tuple[Callable[[Any], Any], str]] = {
    "nothing": (lambda d: d, ""),
    "five-times": (lambda d: 5 * d, "constant-factor"),
    "negated": (lambda d: -d, "sign"),
    "forgotten-mean": (lambda d: 4 * d, "constant-factor"),
    "one-row": (lambda d: d * np.array([[1.0], [1.0], [1.0], [2.0]]), "constant-factor"),
    "nothing-at-all": (lambda d: 0 * d, "zero-gradient"),
}


@pytest.mark.parametrize("name", ALSO)
def test_an_allowed_cause_hides_no_other(name: str) -> None:
    fix, cause = ALSO[name]
    x = np.random.default_rng(0).normal(size=(4, 3))
    report = gl.check(Loss(fix), x, np.array([0, 2, 1, 2]), allow={"upstream-ignored"})
    errors = {finding.cause for finding in report.findings if finding.severity == "error"}
    assert (report.verdict, errors) == ("fail" if cause else "pass", {cause} - {""}), report


W = torch.tensor([0.02, -0.04, 0.06, 0.01])
NOISE = torch.tensor([0.3, -1.2, 0.7, 2.1, -0.4]) * 1e-9
BESIDE: dict[str, tuple[Tensor, Tensor, float, str, str]] = {
    "negated": (-W, W, 1e6, "fail", "sign"),
    "doubled": (2 * W, W, 1e6, "fail", "constant-factor"),
    "equal": (W, W, 1e6, "pass", ""),
    "other-noise": (NOISE.flip(0), NOISE, 1.0, "inconclusive", ""),
    "zero-beside-noise": (0 * NOISE, NOISE, 1.0, "inconclusive", ""),
    "quantised-noise": (2.0**-30 * torch.tensor([1.0, -2.0, 1.0, 0.0]), -(2.0**-30) * torch.tensor([1.0, -2.0, 1.0, 0.0]), 1.0,
                        "inconclusive", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", BESIDE)
def test_a_large_gradient_hides_no_other(name: str) -> None:
    manual, reference, large, verdict, cause = BESIDE[name]
    big = torch.full((4,), large)
    report = gl.compare({"w": manual, "big": big}, {"w": reference, "big": big})
    assert (report.verdict, [finding.cause for finding in report.findings]) == (verdict, [cause] if cause else []), report
