"""Elementwise ops where random calls do not go: kinks, bounds, zeros to powers, infinite upstreams, complex numbers."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.engine.variable import Variable
from gradcheck_lab.ops._reduce import sum_to
from gradcheck_lab.rules.op import Op
from tests.ops.held import fuzzed_until_wrong
from tests.ops.torch_ops import TORCH
from tests.sound import DTYPES

X = torch.tensor([1.0, -2.0], dtype=torch.float64)
SPECIAL = (-1e4, -20.5, -6.0, -1.0, -1e-3, -0.0, 0.0, 1e-3, 0.5, 1.0, 6.0, 20.0, 20.5, 1e4)

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))


def name_of(value: Any) -> str:
    return value.name if isinstance(value, Op) else str(value)


def by_autograd(op: Op, inputs: tuple[Tensor, ...], upstream: Tensor, **options: Any) -> list[Tensor | None]:
    leaves = [v.detach().clone().requires_grad_() if v.is_floating_point() or v.is_complex() else v for v in inputs]
    wanted = [v for v in leaves if v.requires_grad]
    found = iter(torch.autograd.grad(TORCH[op](*leaves, **options), wanted, upstream))
    return [next(found) if v.requires_grad else None for v in leaves]


@every_dtype
@pytest.mark.parametrize(
    ("op", "options"),
    [
        (ops.relu, {}),
        (ops.leaky_relu, {"negative_slope": 0.25}),
        (ops.leaky_relu, {"negative_slope": -2.0}),
        (ops.elu, {"alpha": 1.0}),
        (ops.elu, {"alpha": 0.5}),
        (ops.hardtanh, {}),
        (ops.hardtanh, {"min_val": 0.0, "max_val": 6.0}),
        (ops.abs, {}),
        (ops.softplus, {}),
        (ops.softplus, {"beta": -1.0}),
        (ops.softplus, {"beta": 2.0, "threshold": 2.0}),
        (ops.gelu, {}),
        (ops.gelu, {"approximate": "tanh"}),
        (ops.silu, {}),
        (ops.sigmoid, {}),
        (ops.tanh, {}),
    ],
    ids=name_of,
)
def test_activation_has_torchs_gradient_at_kinks_bounds_and_saturation(
    op: Op, options: dict[str, Any], dtype: torch.dtype
) -> None:
    x = torch.tensor(SPECIAL, dtype=dtype)
    upstream = torch.linspace(-2, 2, len(SPECIAL)).to(dtype)
    (found,) = op.backward(upstream, op(x, **options), x, **options)
    (expected,) = by_autograd(op, (x,), upstream, **options)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected)


def test_clamp_passes_the_gradient_at_its_bounds_and_not_beyond() -> None:
    x = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])
    upstream = torch.tensor([1.0, 2.0, 3.0, 4.0, math.inf])
    (found,) = ops.clamp.backward(upstream, ops.clamp(x, min=-1.0, max=1.0), x, min=-1.0, max=1.0)
    assert found.tolist() == [0.0, 2.0, 3.0, 4.0, 0.0]
    (whole,) = ops.clamp.backward(upstream, ops.clamp(x), x)
    assert whole.tolist() == upstream.tolist()


@pytest.mark.parametrize("op", [ops.relu, ops.hardtanh], ids=name_of)
def test_infinite_upstream_of_what_was_cut_off_is_no_nan(op: Op) -> None:
    x = torch.tensor([-5.0, 0.5])
    (found,) = op.backward(torch.tensor([math.inf, 2.0]), op(x), x)
    assert found.tolist() == [0.0, 2.0]


def test_where_sends_nothing_to_what_was_not_selected() -> None:
    condition = torch.tensor([True, False])
    a, b = torch.tensor([1.0, math.nan]), torch.tensor([math.inf, 1.0])
    upstream = torch.tensor([math.inf, math.nan])
    nothing, da, db = ops.where.backward(upstream, ops.where(condition, a, b), condition, a, b)
    assert nothing is None
    assert da.tolist() == [math.inf, 0.0]
    assert db[0] == 0
    assert db[1].isnan()


@pytest.mark.parametrize("op", [ops.maximum, ops.minimum], ids=name_of)
def test_equal_operands_share_the_gradient(op: Op) -> None:
    a, b = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([[1.0], [3.0]])
    upstream = torch.arange(1.0, 7.0).reshape(2, 3)
    found = op.backward(upstream, op(a, b), a, b)
    for grad, expected in zip(found, by_autograd(op, (a, b), upstream), strict=True):
        torch.testing.assert_close(grad, expected)
    assert float(found[0].sum() + found[1].sum()) == float(upstream.sum())


@every_dtype
def test_power_of_zeros_ones_and_negative_bases_is_torchs(dtype: torch.dtype) -> None:
    pairs = list(itertools.product((-2.0, -1.0, -0.0, 0.0, 0.5, 1.0, 3.0), (-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0)))
    base, exponent = (torch.tensor(side, dtype=dtype) for side in zip(*pairs, strict=True))
    upstream = torch.linspace(-2, 2, len(pairs)).to(dtype)
    found = ops.pow.backward(upstream, ops.pow(base, exponent), base, exponent)
    for grad, expected in zip(found, by_autograd(ops.pow, (base, exponent), upstream), strict=True):
        torch.testing.assert_close(grad, expected, equal_nan=True)


def test_power_of_a_tiny_base_with_exponent_zero_has_no_gradient() -> None:
    base, exponent = torch.tensor([0.0, 5e-324, 1e-310], dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    dbase, _ = ops.pow.backward(torch.ones_like(base), ops.pow(base, exponent), base, exponent)
    assert dbase.tolist() == [0.0, 0.0, 0.0]


def test_power_with_a_number_is_a_tensor_without_dimensions() -> None:
    base = torch.tensor([[-3.0, 2.0]], dtype=torch.float64)
    exponent = torch.tensor(3)
    dbase, nothing = ops.pow.backward(torch.ones_like(base), ops.pow(base, exponent), base, exponent)
    assert dbase.tolist() == [[27.0, 12.0]]
    assert nothing is None


def test_powers_of_a_variable_are_written_with_the_operator() -> None:
    x = Variable(torch.tensor([-3.0, 2.0], dtype=torch.float64))
    (x**2 + 2.0**x).backward(torch.ones(2, dtype=torch.float64))
    assert x.grad is not None
    torch.testing.assert_close(x.grad, 2 * x.data + math.log(2) * 2**x.data)
    y = Variable(torch.tensor([4.0], dtype=torch.float64))
    (torch.pow(x.data[1:], y) + torch.tensor([1.0], dtype=torch.float64) ** y).backward()
    assert y.grad is not None
    torch.testing.assert_close(y.grad, torch.tensor([16 * math.log(2)], dtype=torch.float64))


@pytest.mark.parametrize(
    "op",
    [
        ops.exp, ops.log, ops.log1p, ops.sqrt, ops.rsqrt, ops.abs, ops.sin, ops.cos, ops.tanh, ops.sigmoid, ops.pow, ops.sum,
        ops.mean, ops.prod, ops.cumsum, ops.norm, ops.reshape, ops.transpose, ops.flip, ops.pad, ops.concatenate, ops.stack,
    ],
    ids=name_of,
)  # fmt: skip
def test_op_takes_complex_numbers(op: Op) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(3, 3, generator=generator, dtype=torch.complex128) for _ in op.specs]
    report = gl.check(op, *inputs, probes=())
    assert report.verdict == "pass", report


def softplus_without_beta(g: Tensor, y: Tensor, x: Tensor, *, beta: float = 1.0, threshold: float = 20.0) -> Any:
    return (g * torch.sigmoid(x),)


def maximum_twice(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Any:
    return sum_to(g * (a >= b), a.shape), sum_to(g * (b >= a), b.shape)


MISTAKES: dict[str, Op] = {
    "tanh-from-the-input": Op(torch.tanh, lambda g, y, x: (g * (1 - x * x),), specs=ops.tanh.specs),
    "sigmoid-without-its-slope": Op(torch.sigmoid, lambda g, y, x: (g * y,), specs=ops.sigmoid.specs),
    "gelu-of-the-other-kind": Op(F.gelu, lambda g, y, x: ops.gelu.backward(g, y, x, approximate="tanh"), specs=ops.gelu.specs),
    "softplus-without-beta": Op(
        ops.softplus.forward, softplus_without_beta, specs=ops.softplus.specs, choices={"beta": (1.0, 3.0)}
    ),
    "square-root-as-rsqrt": Op(torch.sqrt, lambda g, y, x: (g * y / 2,), specs=ops.sqrt.specs),
    "absolute-value-by-division": Op(torch.abs, lambda g, y, x: (g * x / y,), specs=ops.abs.specs),
    "maximum-to-both": Op(torch.maximum, maximum_twice, specs=ops.maximum.specs),
    "power-without-its-exponent": Op(
        torch.pow,
        lambda g, y, a, b: (sum_to(g * a ** (b - 1), a.shape), sum_to(g * y * a.log(), b.shape)),
        specs=(ops.pow.specs[0],) * 2,
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_found(name: str) -> None:
    report = fuzzed_until_wrong(MISTAKES[name], 60)
    assert report.verdict == "fail", report
    assert "raises" not in {finding.cause for finding in report.findings}, report


BAD_CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "hardtanh-without-a-range": (
        lambda: ops.hardtanh(X, min_val=1.0, max_val=1.0),
        "hardtanh: min_val is 1.0 and max_val is 1.0; pass min_val < max_val",
    ),
    "clamp-with-crossed-bounds": (
        lambda: ops.clamp(X, min=2.0, max=1.0),
        "clamp: min is 2.0 and max is 1.0; pass min <= max",
    ),
    "softplus-without-slope": (
        lambda: ops.softplus(X, beta=0.0),
        "softplus: beta is 0 and the logarithm is divided by it; pass another number, such as 1.0",
    ),
    "gelu-of-another-kind": (
        lambda: ops.gelu(X, approximate="sigmoid"),
        "gelu has no approximation 'sigmoid'; it has 'none', 'tanh'",
    ),
    "power-with-a-number": (
        lambda: ops.pow(X, 2.0),
        "pow: input 'exponent' is a float; pass a tensor that fits nonzero('*#s')",
    ),
    "where-without-a-mask": (
        lambda: ops.where(X, X, X),
        "where: input 'condition' is float64 and mask('*#s') wants booleans; pass condition.bool()",
    ),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_misuse_is_refused_with_its_whole_message(name: str) -> None:
    call, message = BAD_CALLS[name]
    with pytest.raises(gl.InvalidArgument) as error:
        call()
    assert str(error.value) == message
