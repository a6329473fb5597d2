"""Calls leave one another alone, and a backward leaves what its forward saved."""

import numpy as np
import pytest
import torch
from torch.autograd import Function

import gradcheck_lab as gl
from gradcheck_lab.ops import mul
from gradcheck_lab.rules.op import Op
from tests.mistakes.calls_state import MISTAKES, jittered
from tests.mistakes.row import Mistake, normal

# mypy: disable-error-code="override"

PROBES = {"state", "second_backward"}
rows = pytest.mark.parametrize("mistake", MISTAKES, ids=str)


@rows
def test_mistake_is_caught_with_its_cause(mistake: Mistake) -> None:
    wrong, _, inputs, options = mistake.make()
    report = gl.check(wrong, *inputs, options=options, probes=PROBES)
    assert report.verdict == "fail"
    probed = {finding.cause for finding in report.findings if finding.probe in PROBES}
    assert probed == {mistake.cause}, report
    assert all(finding.message and finding.explanation and finding.suggestion for finding in report.findings)


@rows
def test_sound_twin_passes(mistake: Mistake) -> None:
    _, sound, inputs, options = mistake.make()
    report = gl.check(sound, *inputs, options=options, probes=PROBES)
    assert report.verdict == "pass", report
    assert not [finding for finding in report.findings if finding.severity != "note"], report


def test_what_was_overwritten_is_named() -> None:
    wrong, *_ = next(m for m in MISTAKES if m.name == "sigmoid").make()
    (finding,) = gl.check(wrong, normal(4, 3), probes=PROBES).findings
    assert finding.message == "gradient of input 0 'x' differs in a second backward on the same forward"
    assert finding.explanation == "ctx.slope was changed by the first backward"
    assert finding.suggestion == "compute on a clone of ctx.slope; an operation that ends in _ or out= writes to it"


def test_saved_tensor_written_in_place_is_reported_though_torch_raises() -> None:
    class Sine(Function):
        @staticmethod
        def forward(ctx, x):  # type: ignore[no-untyped-def]
            ctx.save_for_backward(x.cos())
            return x.sin()

        @staticmethod
        def backward(ctx, grad_output):  # type: ignore[no-untyped-def]
            (slope,) = ctx.saved_tensors
            return slope.mul_(grad_output).clone()

    (finding,) = gl.check(Sine, normal(4), probes=PROBES).findings
    assert finding.cause == "mutates-saved"
    assert "saved tensor 0" in finding.explanation


def test_output_written_to_is_reported_though_the_gradient_stays_right() -> None:
    def rule(g: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor]:
        y.zero_()
        return (2 * g * x,)

    (finding,) = gl.check(Op(torch.square, rule, name="square"), normal(4), probes=PROBES).findings
    assert finding.cause == "mutates-saved"
    assert finding.message == "backward writes to what forward returned"


def test_noise_of_summation_order_is_a_note() -> None:
    report = gl.check(jittered(1e-16), normal(4, 3), probes=PROBES)
    assert report.verdict == "pass"
    assert [(finding.cause, finding.severity) for finding in report.findings] == [("nondeterministic", "note")]


def test_dropout_that_saves_its_mask_passes() -> None:
    def drop(x: torch.Tensor, p: float = 0.5) -> tuple[torch.Tensor, torch.Tensor]:
        mask = (torch.rand_like(x) >= p) / (1 - p)
        return x * mask, mask

    dropout = Op(drop, lambda g, y, x, p=0.5: (g[0] * y[1] + 0 * g[1],), name="dropout")
    report = gl.check(dropout, normal(5, 4), probes=PROBES | {"input_layout", "upstream"})
    assert not [finding for finding in report.findings if finding.severity == "error"], report


class AddingUp:
    """A layer that keeps its last call and adds to its gradient."""

    def __init__(self) -> None:
        self.W, self.dW = np.arange(1.0, 4.0), np.zeros(3)

    def forward(self, x: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        self.x = x
        return x * self.W

    def backward(self, dout: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        self.dW += (dout * self.x).sum(axis=0)
        return dout * self.W


class Resettable(AddingUp):
    def zero_grad(self) -> None:
        self.dW[:] = 0


def test_layer_that_adds_to_its_gradients_passes_where_it_can_reset_them() -> None:
    assert gl.check(Resettable(), normal(4, 3).numpy(), probes=PROBES).verdict == "pass"
    report = gl.check(AddingUp(), normal(4, 3).numpy(), probes=PROBES)
    assert report.verdict == "fail"
    (finding,) = report.findings
    assert (finding.cause, finding.gradient) == ("accumulates-across-calls", "W")
    assert finding.message == "gradient of parameter 'W' grows by the same amount with every call"
    assert finding.suggestion == "assign where it says +=, or give the layer a zero_grad() that its users call"


def test_adding_to_what_an_earlier_call_left_is_told_from_reading_it() -> None:
    (finding,) = gl.check(AddingUp(), normal(4, 3).numpy(), probes={"state"}).findings
    assert (finding.cause, finding.gradient) == ("accumulates-across-calls", "W")


def test_backward_that_frees_what_it_saved_passes() -> None:
    class Freed(Function):
        @staticmethod
        def forward(ctx, x):  # type: ignore[no-untyped-def]
            ctx.slope = x.cos()
            return x.sin()

        @staticmethod
        def backward(ctx, grad_output):  # type: ignore[no-untyped-def]
            slope, ctx.slope = ctx.slope, None
            return grad_output * slope

    assert not gl.check(Freed, normal(4), probes=PROBES).findings


def test_last_in_first_out_is_not_enough() -> None:
    stack: list[torch.Tensor] = []

    def forward(x: torch.Tensor) -> torch.Tensor:
        stack.append(x)
        return x * x

    square = Op(forward, lambda g, y, x: (2 * g * stack.pop(),), name="square")
    found = gl.check(lambda x, y: mul(square(x), y), normal(4), normal(4, seed=1), probes={"state"}).findings
    assert "stale-state" in {finding.cause for finding in found}


def test_probes_share_the_repeated_call() -> None:
    exp = Op(torch.exp, lambda g, y, x: (g * y,), name="exp")
    counts = [gl.check(exp, normal(4), probes=probes).evaluations for probes in ({"needs_input_grad"}, {"state"}, PROBES)]
    # two forwards before both backwards, a forward of another size before one, another call, and one recorded forward with six
    assert counts[1] == {"forward": counts[0]["forward"] + 6, "backward": counts[0]["backward"] + 10}
    assert counts[2] == {"forward": counts[1]["forward"] + 1, "backward": counts[1]["backward"] + 2}
