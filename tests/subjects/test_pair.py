"""`(forward, backward)` in a tuple, and a backward with another signature than an op's."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.subjects.readings.reading import PASTE

X, W = torch.randn(4, 3).double(), torch.randn(3, 2).double()


def matmul(x: Tensor, w: Tensor) -> Tensor:
    return x @ w


def right(grad_output: Tensor, output: Tensor, x: Tensor, w: Tensor) -> Any:
    return grad_output @ w.T, x.T @ grad_output


def swapped(grad_output: Tensor, output: Tensor, x: Tensor, w: Tensor) -> Any:
    return grad_output @ w.T, -x.T @ grad_output


def test_a_right_pair_passes() -> None:
    report = gl.check((matmul, right), X, W)
    assert (report.subject, report.kind, report.verdict) == ("matmul", "op", "pass"), str(report)


def test_a_wrong_pair_fails() -> None:
    report = gl.check((matmul, swapped), X, W, probes=())
    assert report.verdict == "fail"
    assert [finding.message for finding in report.findings] == ["gradient of input 1 'w' is wrong in 6 of 6 elements"]


def inputs_first(x: Tensor, w: Tensor, grad_output: Tensor) -> Any:
    return right(grad_output, grad_output, x, w)


def without_output(dout: Tensor, x: Tensor, w: Tensor) -> Any:
    return right(dout, dout, x, w)


def upstream_last(x: Tensor, w: Tensor, y: Tensor, g: Tensor) -> Any:
    return right(g, y, x, w)


def only_upstream(g: Tensor) -> Any:
    return g, g


def unknown_names(a: Tensor, b: Tensor, c: Tensor) -> Any:
    return a, b


HEAD = "and is called with (grad_output, output, x, w); the nearest readings are"
OTHERS = {
    "inputs-first": (inputs_first, "(x, w, grad_output)", "inputs_first(x, w, grad_output)"),
    "without-output": (without_output, "(dout, x, w)", "without_output(grad_output, x, w)"),
    "upstream-last": (upstream_last, "(x, w, y, g)", "upstream_last(x, w, output, grad_output)"),
    "only-upstream": (only_upstream, "(g)", "only_upstream(grad_output)"),
    "unknown-names": (unknown_names, "(a, b, c)", "unknown_names(x, w, grad_output)"),
    "lambda": (lambda x, w, g: (g @ w.T, x.T @ g), "(x, w, g)", "backward(x, w, grad_output)"),
}


@pytest.mark.parametrize(("backward", "takes", "wrapper"), OTHERS.values(), ids=OTHERS)
def test_another_signature_is_shown_its_wrapper(backward: Any, takes: str, wrapper: str) -> None:
    with pytest.raises(gl.InvalidArgument) as caught:
        gl.check(gl.Op(matmul, backward), X, W)
    first, *_, paste, shown = str(caught.value).splitlines()
    assert first == f"the backward of matmul takes {takes} {HEAD}"
    assert paste == PASTE
    assert shown == f"gl.check(gl.Op(matmul, lambda grad_output, output, x, w: {wrapper}), X, W)"


@pytest.mark.parametrize("name", ["inputs-first", "without-output", "lambda"])
def test_pair_is_called_with_what_its_parameters_are_named_after(name: str) -> None:
    backward = OTHERS[name][0]
    assert gl.check((matmul, backward), X, W).verdict == "pass"

    def wrong(x: Tensor, w: Tensor, grad_output: Tensor) -> Any:
        first, second = right(grad_output, grad_output, x, w)
        return first, 2 * second

    assert gl.check((matmul, wrong), X, W, probes=()).verdict == "fail"


@pytest.mark.parametrize("name", ["upstream-last", "unknown-names"])
def test_pair_whose_parameters_do_not_tell_is_refused(name: str) -> None:
    with pytest.raises(gl.InvalidArgument, match="the backward of matmul takes"):
        gl.check((matmul, OTHERS[name][0]), X, W)


def test_the_wrapper_works() -> None:
    op = gl.Op(matmul, lambda grad_output, output, x, w: inputs_first(x, w, grad_output))
    assert gl.check(op, X, W).verdict == "pass"


def test_an_option_that_the_backward_does_not_take_is_shown_too() -> None:
    def scaled(x: Tensor, *, factor: float = 1.0) -> Tensor:
        return x * factor

    pair = (scaled, lambda grad_output, output, x: (grad_output,))
    assert gl.check(pair, X, probes=()).verdict == "pass"
    with pytest.raises(gl.InvalidArgument) as caught:
        gl.check(pair, X, options={"factor": 2.0})
    assert str(caught.value).splitlines() == [
        "the backward of scaled takes (grad_output, output, x) and is called with (grad_output, output, x, factor=); "
        "the nearest readings are",
        "  1. output = scaled(x), then your_backward(grad_output, output, x)",
        PASTE,
        "gl.check(gl.Op(scaled, lambda grad_output, output, x, factor=None: your_backward(grad_output, output, x)), X, "
        "options={'factor': 2.0})",
    ]


def test_a_type_error_inside_the_backward_is_a_finding() -> None:
    def backward(grad_output: Tensor, output: Tensor, x: Tensor, w: Tensor) -> Any:
        return right(grad_output)  # type: ignore[call-arg]

    report = gl.check((matmul, backward), X, W)
    assert [(finding.cause, finding.message) for finding in report.findings] == [("raises", "backward raised TypeError")]


def test_in_a_program_it_is_shown_as_well() -> None:
    op = gl.Op(matmul, inputs_first)
    with pytest.raises(gl.InvalidArgument) as caught:
        gl.check(lambda x, w: ops.relu(op(x, w)), X, W)
    assert str(caught.value).endswith("gl.Op(matmul, lambda grad_output, output, x, w: inputs_first(x, w, grad_output))")


def test_variadic_and_partial_backwards_are_let_through() -> None:
    def variadic(grad_output: Tensor, *values: Tensor) -> Any:
        return right(grad_output, *values)

    def scaled(factor: float, grad_output: Tensor, output: Tensor, x: Tensor, w: Tensor) -> Any:
        return tuple(factor * grad for grad in right(grad_output, output, x, w))

    for backward in (variadic, partial(scaled, 1.0)):
        assert gl.check((matmul, backward), X, W, probes=()).verdict == "pass"


@pytest.mark.parametrize("value", [(matmul,), (matmul, right, right), (matmul, 1), [matmul, right]])
def test_other_tuples_are_declined(value: Any) -> None:
    with pytest.raises(gl.InvalidArgument, match=r"^cannot check an object of type "):
        gl.check(value, X, W)
