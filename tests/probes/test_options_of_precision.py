"""An option that saves less of what the backward needs, and leaves the outputs alone, is a warning; a wrong one is an error."""

from __future__ import annotations

import pytest
import torch

import gradcheck_lab as gl

X = torch.randn(8, 6, generator=torch.Generator().manual_seed(2))


def cube(compressed, factor=1.0, moves_outputs=False):
    """x ** 3, whose backward reads what `compressed` makes of x where the option asks for it."""

    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, compress=False):
            kept = compressed(x) if compress else x
            ctx.save_for_backward(kept)
            ctx.factor = factor if compress else 1.0
            return (kept if moves_outputs else x) ** 3

        @staticmethod
        def backward(ctx, grad_output):
            (x,) = ctx.saved_tensors
            return ctx.factor * 3 * x * x * grad_output, None

    return Cube


def in_8_bits_by_row(x):
    scale = x.abs().amax(-1, keepdim=True) / 127
    return (x / scale).round() * scale


def in_16_bits(x):
    return x.bfloat16().to(x.dtype)


@pytest.mark.parametrize("compressed", [in_8_bits_by_row, in_16_bits], ids=lambda f: f.__name__)
def test_precision_for_memory_is_a_warning_that_says_so(compressed):
    report = gl.check(cube(compressed), X)
    assert report.verdict == "pass", str(report)
    (found,) = [f for f in report.findings if f.severity == "warning"]
    assert (found.cause, found.probe, found.case) == ("low-precision", "options", "compress=True")
    assert "trades precision" in found.message


WRONG = {
    "another-factor": (cube(in_8_bits_by_row, factor=1.5), {"option-specialised"}),
    "another-sign": (cube(in_16_bits, factor=-1.0), {"option-specialised"}),
    "nothing-kept": (cube(torch.zeros_like), {"option-specialised"}),
    "one-sign-kept": (cube(torch.relu), {"option-specialised"}),
    "smaller-values": (cube(lambda x: 0.9 * x), {"option-specialised"}),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_gradient_of_an_option_is_an_error(name):
    function, causes = WRONG[name]
    report = gl.check(function, X)
    assert report.verdict == "fail", str(report)
    assert {f.cause for f in report.findings if f.severity == "error"} == causes


def test_the_option_that_was_passed_is_judged_as_any_call():
    report = gl.check(cube(in_8_bits_by_row), X, True)
    assert report.verdict == "fail"
    assert [f.cause for f in report.findings if f.severity == "error"] == ["low-precision"]
