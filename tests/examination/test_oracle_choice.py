"""Which oracle decides, and what is said where oracles contradict each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import Function

import gradcheck_lab as gl


def tensor(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class PartlyDetached(torch.autograd.Function):
    """x · x with one factor detached in the forward's body, as some write it; its backward is right."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * x.detach()

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * grad_output


class NumpySquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return torch.from_numpy(np.square(x.detach().numpy()))

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * grad_output


class TripledSquare(torch.autograd.Function):
    """x² with 3x for 2x: what autograd goes through in a forward that calls it."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return 3 * x * grad_output


def test_detached_forward_is_decided_by_numbers() -> None:
    report = gl.check(PartlyDetached, tensor(4))
    assert report.verdict == "pass"
    assert "the forward detaches a value or leaves torch, and numbers contradict what is left" in report.oracle


def test_forward_in_numpy_is_decided_by_numbers() -> None:
    report = gl.check(NumpySquare, tensor(4))
    assert report.verdict == "pass"
    assert report.oracle.startswith("complex step (autograd cannot follow NumpySquare")


def test_contradicting_oracles_are_inconclusive_and_say_which_two_agree() -> None:
    tripled = gl.Op(TripledSquare.apply, lambda grad_output, output, x: (3 * x * grad_output,), name="tripled")
    report = gl.check(tripled, tensor(4))
    assert report.verdict == "inconclusive"
    finding = next(f for f in report.findings if f.cause == "oracle-disagrees")
    assert finding.explanation == "manual and autograd agree"
    assert "pass reference=" in report.reasons[0]


def test_reference_of_another_function_is_a_forward_mismatch() -> None:
    report = gl.check(NumpySquare, torch.tensor([1.0, 2.0]).double(), reference=lambda x: x**3)
    assert report.verdict == "fail"
    assert [(f.cause, f.message, f.where) for f in report.findings] == [
        ("forward-mismatch", "output differs from the reference's", "first seen at [1]: forward 4.0, reference 8.0")
    ]


def test_reference_states_what_is_meant() -> None:
    clipped = gl.Op(torch.round, lambda grad_output, output, x: (grad_output,), name="straight_through")
    x = tensor(5)
    assert gl.check(clipped, x).verdict == "fail"
    assert gl.check(clipped, x, reference=lambda x: x + (torch.round(x) - x).detach()).verdict == "pass"


def test_comparison_alone_of_a_function_takes_two_forwards_and_two_backwards() -> None:
    calls = {"forward": 0, "backward": 0}

    class Counted(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            calls["forward"] += 1
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:
            calls["backward"] += 1
            (x,) = ctx.saved_tensors
            return 2 * x * grad_output

    report = gl.check(Counted, tensor(50), probes=())
    assert report.verdict == "pass"
    assert calls["forward"] <= 2
    assert calls["backward"] <= 2
    assert report.evaluations["forward"] == calls["forward"]


class Normalised(Function):
    """w divided by u w v, which is an estimate of its largest singular value."""

    wrong = False

    @staticmethod
    def forward(ctx: Any, w: Tensor, u: Tensor, v: Tensor) -> Tensor:
        sigma = u @ w @ v
        ctx.save_for_backward(w, u, v, sigma)
        return w / sigma

    @classmethod
    def backward(cls, ctx: Any, grad_output: Tensor) -> Any:
        w, u, v, sigma = ctx.saved_tensors
        through_sigma = (grad_output * w).sum() / sigma**2 * torch.outer(u, v)
        return grad_output / sigma - (0 if cls.wrong else 1) * through_sigma, None, None


class WronglyNormalised(Normalised):
    wrong = True


class Spectral(nn.Module):
    """A linear layer under spectral normalisation, whose vectors are estimated without gradients."""

    def __init__(self, rule: type[Function]) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.rule = rule
        self.w = nn.Parameter(torch.randn(4, 3, generator=generator, dtype=torch.float64))
        self.register_buffer("u", torch.randn(4, generator=generator, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            v = nn.functional.normalize(self.w.T @ self.u, dim=0)
            self.u = nn.functional.normalize(self.w @ v, dim=0)
        return x @ self.rule.apply(self.w, self.u, v).T  # type: ignore[no-any-return]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in (1, 2))])
def test_gradient_that_a_module_stops_on_purpose_is_judged_by_autograd(seed: int) -> None:
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    report = gl.check(Spectral(Normalised), x, seed=seed)
    assert report.verdict == "pass", report
    assert [(f.cause, f.severity) for f in report.findings] == [("disconnected", "note")], report
    wrong = gl.check(Spectral(WronglyNormalised), x, seed=seed)
    assert {gradient.name for gradient in wrong.gradients if gradient.verdict == "fail"} == {"w"}, wrong


class Softsign(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x / (1 + x.abs())

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad_output / (1 + x.abs()) ** 2


class Twice(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return 2 * grad_output


@pytest.mark.parametrize(
    "forward",
    [lambda x: Softsign.apply(x.detach()) + x, lambda x: Softsign.apply(x.data) * Twice.apply(x)],
    ids=["beside-a-skip", "beside-a-rule-that-runs"],
)
def test_rule_that_no_gradient_reaches_is_disconnected(forward: Any) -> None:
    report = gl.check(forward, tensor(4, 3))
    errors = [(f.cause, f.message) for f in report.findings if f.severity == "error"]
    assert errors == [("disconnected", "no gradient reaches Softsign: the hand-written backward is never run")], report


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: (Softsign.apply(x) - Softsign.apply(x.detach() + 1)).square(),
        lambda x: x * torch.no_grad()(Softsign.apply)(x) + Twice.apply(x),
    ],
    ids=["target-of-the-same-rule", "under-no-grad"],
)
def test_rule_that_is_stopped_on_purpose_passes(forward: Any) -> None:
    report = gl.check(forward, tensor(4, 3))
    assert report.verdict == "pass", report
    assert [f.cause for f in report.findings if f.severity != "note"] == [], report


class ScaledInNumpy(Function):
    """exp(-x s) by NumPy, whose gradient of a column of s is left for torch's engine to sum."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, s: Tensor) -> Tensor:
        result = torch.from_numpy(np.exp(-x.detach().numpy() * s.detach().numpy()))
        ctx.save_for_backward(x, s, result)
        return result

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, Tensor]:
        x, s, result = ctx.saved_tensors
        return -s * result * grad_output, -x * result * grad_output


class ScaledInNumpyHalved(ScaledInNumpy):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, Tensor]:
        by_x, by_s = ScaledInNumpy.backward(ctx, grad_output)
        return by_x, by_s / 2


def test_what_the_engine_sums_is_a_note_where_numbers_decide_too() -> None:
    inputs = tensor(4, 3), tensor(4, 1)
    report = gl.check(ScaledInNumpy, *inputs)
    assert report.verdict == "pass", report
    assert "engine-reduced" in {finding.cause for finding in report.findings}
    wrong = gl.check(ScaledInNumpyHalved, *inputs, probes=())
    assert [(f.gradient, f.cause) for f in wrong.findings if f.severity == "error"] == [("s", "missing-broadcast-sum")], wrong
