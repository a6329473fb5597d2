"""Derived calls of code that autograd cannot follow: dtypes, long sums, bounds, ends of tables, equal sizes, their price."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab.subjects.code.native import may_be_native
from tests.mistakes.registry import normal

X, SINGLE = normal(4, 3), normal(4, 3, dtype=torch.float32)


def array(value: Tensor) -> Any:
    return value.detach().double().numpy()


def by_numpy(function: Callable[..., Any]) -> Callable[..., Tensor]:
    return lambda *inputs: torch.from_numpy(np.asarray(function(*map(array, inputs)))).to(inputs[0].dtype)


def tanh_in(dtype: Any) -> Any:
    """The hyperbolic tangent, whose slope is computed in a dtype."""
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (g * torch.from_numpy(1 - np.tanh(array(x)).astype(dtype).astype(float) ** 2).to(x.dtype),)

    return gl.Op(by_numpy(np.tanh), backward)


def always_single(wrong: bool) -> Any:
    """The exponential by numbers, with a gradient that is always in float32."""
    def forward(x: Tensor) -> Tensor:
        return torch.tensor([math.exp(v) for v in x.flatten().tolist()], dtype=x.dtype).reshape(x.shape)

    return gl.Op(forward, lambda g, y, x: ((g * y).to(torch.float32 if wrong else x.dtype),))


def single_throughout(wrong: bool) -> Any:
    """A forward that computes in float32 whatever it is given, and so may its gradient: as exactly as float32 is."""
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return ((g * 2 * x.half().to(x.dtype) if wrong else g * 2 * x.float().to(x.dtype)),)

    return gl.Op(by_numpy(lambda x: (x.astype(np.float32) ** 2).astype(float)), backward)


def weighted(wrong: bool) -> Any:
    """Columns times weights; the gradient of the weights adds up thousands of rows in 16 bits, or in more."""
    def backward(g: Tensor, y: Tensor, x: Tensor, w: Tensor) -> Any:
        rows = g * x if wrong else (g * x).float()
        return g * w, sum(rows, rows.new_zeros(rows.shape[1:])).to(w.dtype)

    return gl.Op(by_numpy(lambda x, w: x * w), backward)


@pytest.mark.parametrize(
    ("op", "inputs", "cause"),
    [
        (lambda wrong: tanh_in(np.float32 if wrong else float), (SINGLE,), "low-precision"),
        (always_single, (SINGLE,), "wrong-dtype"),
        (single_throughout, (SINGLE,), "wrong-value"),
        (weighted, (SINGLE.bfloat16(), SINGLE[0].bfloat16()), "low-precision"),
    ],
)
@pytest.mark.parametrize("wrong", [True, False])
def test_dtypes_are_tried(op: Any, inputs: Any, cause: str, wrong: bool) -> None:
    found = gl.check(op(wrong), *inputs, probes=("dtypes",))
    assert (found.verdict, {f.cause for f in found.findings}) == (("fail", {cause}) if wrong else ("pass", set())), found


def test_a_forward_that_widens_need_not_take_the_upstream_in_the_dtype_of_its_inputs() -> None:
    op = gl.Op(lambda x: torch.from_numpy(np.sinh(array(x))), lambda g, y, x: (x.cosh().mul_(g.to(x.dtype)),))
    assert gl.check(op, X, probes=("dtypes",)).verdict == "pass"



def bent_at(bound: float) -> Any:
    """A kink at 0.04, and at another bound in the backward."""
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (g * torch.where(x < bound, 3.0, 0.5),)

    return gl.Op(by_numpy(lambda x: np.where(x < 0.04, x * 3, 0.12 + (x - 0.04) * 0.5)), backward)


def clipped(wrong: bool) -> Any:
    """Clipped at 0.7, by constants in a call; all given values lie within."""
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (g if wrong else g * (x.abs() <= 0.7),)

    return gl.Op(by_numpy(lambda x: np.clip(x, -0.7, 0.7)), backward)


def beyond_a_table(wrong: bool) -> Any:
    """Interpolated from -1 to 1, flat beyond."""
    ends = np.linspace(-1, 1, 9)

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        a = array(x)
        cell = np.clip(np.searchsorted(ends, a, side="right") - 1, 0, 7)
        slope = np.diff(np.sin(ends))[cell] / np.diff(ends)[cell]
        return (g * torch.from_numpy(slope if wrong else slope * (np.abs(a) <= ends[-1])),)

    return gl.Op(by_numpy(lambda x: np.interp(x, ends, np.sin(ends))), backward)


def saturated(wrong: bool) -> Any:
    """A function that is flat to all digits at large values, where its slope is not zero but as good as that."""
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (g * 2 / math.pi**0.5 * torch.exp(-(x**2) / (2 if wrong else 1)),)

    return gl.Op(by_numpy(np.vectorize(math.erf, otypes=[float])), backward)


@pytest.mark.parametrize(
    ("sound", "wrong", "inputs"),
    [
        (bent_at(0.04), bent_at(0.02), torch.sigmoid(X)),
        (clipped(False), clipped(True), X.clamp(-0.6, 0.6)),
        (beyond_a_table(False), beyond_a_table(True), torch.tanh(X) * 0.9),
        (saturated(False), saturated(True), X * 3),
    ],
)
def test_values_beside_bounds_and_beyond_ends_are_tried(sound: Any, wrong: Any, inputs: Tensor) -> None:
    assert gl.check(sound, inputs, probes=("values",)).verdict == "pass"
    assert gl.check(wrong, inputs, probes=("values",)).verdict == "fail"


def log_of_tail(x: Tensor) -> Any:
    return by_numpy(lambda a: np.exp(-a * a / 2) / math.sqrt(2 * math.pi) / special.ndtr(a))(x)


@pytest.mark.parametrize(
    ("forward", "slope", "cause"),
    [
        (special.log_ndtr, log_of_tail, "non-finite"),  # 0 / 0 far to the left
        (special.log_expit, by_numpy(lambda a: 1 - np.exp(a) / (1 + np.exp(a))), "overflow"),  # inf / inf far to the right
    ],
)
def test_what_underflows_to_zero_is_told_from_what_overflows(forward: Any, slope: Any, cause: str) -> None:
    found = gl.check(gl.Op(by_numpy(forward), lambda g, y, x: (g * slope(x),)), X, probes=("values",))
    assert {finding.cause for finding in found.findings} == {cause}, found


def kernel(wrong: bool) -> Any:
    """exp(-|x - y|² / features); the backward takes the rows for the features."""
    def forward(x: Any, y: Any) -> Any:
        return np.exp(-((x[:, None] - y) ** 2).sum(-1) / x.shape[1])

    def backward(g: Tensor, k: Tensor, x: Tensor, y: Tensor) -> Any:
        share = (-2 / x.shape[0 if wrong else 1] * g * k)[..., None] * (x[:, None] - y)
        return share.sum(1), -share.sum(0)

    return gl.Op(by_numpy(forward), backward)


@pytest.mark.parametrize("wrong", [True, False])
def test_sizes_that_are_equal_by_chance_are_made_different(wrong: bool) -> None:
    found = gl.check(kernel(wrong), normal(4, 4), normal(5, 4, seed=1), probes=("sizes",))
    causes = {finding.cause for finding in found.findings if finding.severity == "error"}
    assert (found.verdict, causes) == (("fail", {"size-specialised"}) if wrong else ("pass", set())), found


LIBRARY = ctypes.CDLL(None)


def test_only_code_of_known_libraries_is_given_sizes_that_may_not_fit() -> None:
    held = torch.zeros(1)
    assert not may_be_native([by_numpy(np.tanh), beyond_a_table(True).forward, lambda x: held + torch.exp(x)])
    assert may_be_native([lambda x: LIBRARY.tanh(x)])
    assert may_be_native([lambda x: ctypes.c_void_p(x.data_ptr())])
    assert may_be_native([lambda x: torch.ops.aten.tanh(x)])
    assert may_be_native([None])


def test_an_axis_that_python_loops_over_is_not_made_long() -> None:
    longest = [0]

    def forward(x: Tensor) -> Tensor:
        longest[0] = max(longest[0], x.shape[-1])
        rows = x.detach().reshape(-1, x.shape[-1]).tolist()
        return torch.tensor([sum(v * v for v in row) for row in rows], dtype=x.dtype).reshape(x.shape[:-1])

    op = gl.Op(forward, lambda g, y, x: (2 * g.unsqueeze(-1) * x,))
    assert (gl.check(op, X, probes=("sizes",)).verdict, longest[0] < 100) == ("pass", True)
    found = gl.check(gl.Op(by_numpy(lambda x: (x * x).sum(-1)), _tail_of_a_block), X, probes=("sizes",))
    assert found.verdict == "fail", found


def _tail_of_a_block(g: Tensor, y: Tensor, x: Tensor) -> Any:
    found = 2 * g.unsqueeze(-1) * x
    found[..., 512:] = 0
    return (found,)


def test_a_derived_call_that_agrees_costs_two_forwards_beside_its_own() -> None:
    found = gl.check(tanh_in(float), X, probes=("sizes", "values", "dtypes"))
    assert found.evaluations["forward"] < 220, found.evaluations


def smoothed(x: Any, kernel: Any) -> Any:
    return sum(k * np.roll(x, shift - len(kernel) // 2, axis=-1) for shift, k in enumerate(kernel))


def test_a_kernel_that_is_the_same_read_backwards_is_a_matter_of_values() -> None:
    def backward(g: Tensor, y: Tensor, x: Tensor, kernel: Tensor) -> Any:
        half = len(kernel) // 2
        shares = [(g * x.roll(k - half, -1)).sum() for k in range(len(kernel))]
        return torch.from_numpy(smoothed(array(g), array(kernel))).to(x.dtype), torch.stack(shares)

    inputs = normal(3, 8), torch.tensor([0.25, 0.5, 0.25]).double()
    report = gl.check(gl.Op(by_numpy(smoothed), backward), *inputs)
    errors = [(f.cause, f.gradient) for f in report.findings if f.severity == "error"]
    assert errors == [("value-dependent", "inputs[0]")], report
