"""Reductions where random calls do not go: zeros in products, ties, rows of -inf, constant rows, no freedom; and mistakes."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.ops._axes import restored
from gradcheck_lab.rules.op import Op
from gradcheck_lab.specs import real
from tests.lanes import examples
from tests.ops.held import fuzzed_until_wrong
from tests.ops.torch_ops import TORCH
from tests.sound import DTYPES

X = torch.tensor([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]], dtype=torch.float64)
NONE = torch.zeros(0, 3)

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3)
few = st.sampled_from([-2.0, -1.0, 0.0, 0.0, 0.5, 3.0])


@st.composite
def tied(draw: st.DrawFn, values: st.SearchStrategy[float] = few) -> Tensor:
    shape = draw(shapes)
    count = torch.Size(shape).numel()
    return torch.tensor(draw(st.lists(values, min_size=count, max_size=count)), dtype=torch.float64).reshape(shape)


@st.composite
def dims(draw: st.DrawFn, ndim: int) -> int | tuple[int, ...] | None:
    axes = draw(st.lists(st.integers(0, ndim - 1), unique=True, max_size=ndim))
    signed = tuple(axis - ndim if draw(st.booleans()) else axis for axis in axes)
    return None if not signed else signed[0] if len(signed) == 1 else signed


def rule(op: Op, x: Tensor, **options: Any) -> Tensor:
    """The gradient of a call with an upstream of 1, 2, 3, ..."""
    output = op(x, **options)
    upstream = torch.arange(1, output.numel() + 1).to(x.dtype).reshape(output.shape)
    (grad,) = op.backward(upstream, output, x, **options)
    assert grad.shape == x.shape
    assert grad.dtype == x.dtype
    return grad


def autograd(op: Op, x: Tensor, **options: Any) -> Tensor:
    """What torch says it is."""
    leaf = x.clone().requires_grad_()
    output = TORCH[op](leaf, **options)
    upstream = torch.arange(1, output.numel() + 1).to(x.dtype).reshape(output.shape)
    (grad,) = torch.autograd.grad(output, leaf, upstream)
    return grad


@pytest.mark.drawn
@pytest.mark.parametrize("op", [ops.sum, ops.mean, ops.var, ops.std, ops.amax, ops.amin, ops.logsumexp, ops.norm], ids=str)
def test_reduction_over_any_dims_of_tied_values_has_torchs_gradient(op: Op) -> None:
    @examples(60)
    @given(x=tied(), data=st.data(), keepdim=st.booleans())
    def agrees(x: Tensor, data: st.DataObject, keepdim: bool) -> None:
        options: dict[str, Any] = {"dim": data.draw(dims(x.ndim)), "keepdim": keepdim}
        if op in (ops.var, ops.std):
            options["correction"] = 0
        if op is ops.norm:
            options["p"] = data.draw(st.sampled_from([1.0, 1.5, 2.0, 3.0, 4.0, math.inf]))
        torch.testing.assert_close(rule(op, x, **options), autograd(op, x, **options))

    agrees()


@examples(100)
@given(x=tied(), data=st.data(), keepdim=st.booleans())
def test_product_with_any_number_of_zeros_has_torchs_first_and_second_derivative(
    x: Tensor, data: st.DataObject, keepdim: bool
) -> None:
    dim = data.draw(st.none() | st.integers(-x.ndim, x.ndim - 1))
    torch.testing.assert_close(rule(ops.prod, x, dim=dim, keepdim=keepdim), autograd(ops.prod, x, dim=dim, keepdim=keepdim))
    mine, theirs = ops.prod.as_function(), TORCH[ops.prod]
    found, expected = (
        torch.autograd.functional.hessian(lambda v, f=f: f(v, dim=dim, keepdim=keepdim).sum(), x) for f in (mine, theirs)
    )
    torch.testing.assert_close(found, expected)


def test_product_whose_factors_underflow_has_a_gradient() -> None:
    x = torch.tensor([1e-200, 1e-200, 1e200], dtype=torch.float64)
    assert rule(ops.prod, x).tolist() == pytest.approx([1.0, 1.0, 0.0], abs=1e-300)


@every_dtype
def test_logsumexp_of_minus_infinity_sends_back_zeros(dtype: torch.dtype) -> None:
    x = torch.tensor([[-math.inf, -math.inf], [-math.inf, 0.0], [100.0, 100.0]], dtype=dtype)
    assert ops.logsumexp(x, dim=1)[0] == -math.inf
    assert rule(ops.logsumexp, x, dim=1).tolist() == [[0.0, 0.0], [0.0, 2.0], [1.5, 1.5]]
    assert rule(ops.logsumexp, torch.full((2,), -math.inf, dtype=dtype)).tolist() == [0.0, 0.0]


@every_dtype
def test_logsumexp_does_not_overflow(dtype: torch.dtype) -> None:
    x = torch.tensor([-3e4, 3e4, 3e4], dtype=dtype)
    assert rule(ops.logsumexp, x).tolist() == [0.0, 0.5, 0.5]


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, math.inf])
def test_norm_of_zeros_sends_back_zeros(p: float) -> None:
    assert rule(ops.norm, torch.zeros(2, 3), p=p, dim=1).tolist() == [[0.0] * 3] * 2


@every_dtype
@pytest.mark.parametrize("p", [2.0, 3.0])
def test_norm_of_small_and_large_numbers_has_a_unit_gradient(p: float, dtype: torch.dtype) -> None:
    for size in (1e-2, 1.0, 30.0):
        x = torch.tensor([size, 0.0], dtype=dtype)
        torch.testing.assert_close(rule(ops.norm, x, p=p), torch.tensor([1.0, 0.0], dtype=dtype))


def test_deviation_of_equal_elements_sends_back_zeros() -> None:
    assert rule(ops.std, torch.full((2, 3), 5.0), dim=1).tolist() == [[0.0] * 3] * 2


def test_ties_share_equally() -> None:
    x = torch.tensor([[2.0, 2.0, 1.0], [0.0, 4.0, 3.0]])
    assert rule(ops.amax, x, dim=1).tolist() == [[0.5, 0.5, 0.0], [0.0, 2.0, 0.0]]
    assert rule(ops.amin, torch.zeros(4)).tolist() == [0.25] * 4


@pytest.mark.parametrize("op", [ops.sum, ops.mean, ops.logsumexp, ops.norm, ops.prod, ops.cumsum], ids=str)
def test_reduction_of_nothing_has_an_empty_gradient(op: Op) -> None:
    assert rule(op, NONE, dim=0).shape == NONE.shape


def restoring(op: Op, wrong: Callable[..., Any]) -> Op:
    """A reduction whose mistake is given as a function of the restored grad_output and output, x and the dimension."""

    def backward(g: Tensor, y: Tensor, x: Tensor, **options: Any) -> Any:
        dim, keepdim = options.get("dim"), options.get("keepdim", False)
        return (wrong(restored(g, dim, x.ndim, keepdim), restored(y, dim, x.ndim, keepdim), x, dim).expand(x.shape),)

    copy = Op(op.forward, backward, name=op.name, specs=op.specs, choices={"dim": op.choices["dim"]})
    for check in op._validators:
        copy.validator(check)
    return copy


def always_the_last(g: Tensor, y: Tensor, x: Tensor, *, dim: int = -1) -> Any:
    return (g.unsqueeze(-1).expand(x.shape),)


MISTAKES: dict[str, Op] = {
    "mean-not-divided": restoring(ops.mean, lambda g, y, x, dim: g),
    "variance-divided-by-n": restoring(ops.var, lambda g, y, x, dim: 2 * g * (x - x.mean(dim, keepdim=True)) / x.shape[-1]),
    "deviation-of-equal-elements": restoring(ops.std, lambda g, y, x, dim: g * (x - x.mean(dim, keepdim=True)) / y),
    "maximum-to-every-tie": restoring(ops.amax, lambda g, y, x, dim: g * (x == y)),
    "product-by-division": restoring(ops.prod, lambda g, y, x, dim: g * y / x),
    "norm-at-zero": restoring(ops.norm, lambda g, y, x, dim: g * x / y),
    "softmax-without-its-maximum": restoring(ops.logsumexp, lambda g, y, x, dim: g * x.exp() / x.exp().sum(dim, keepdim=True)),
    "sum-restored-at-the-end": Op(
        lambda x, *, dim=-1: x.sum(dim), always_the_last, name="sum", specs=(real("n n"),), choices={"dim": (-1, 0)}
    ),
    "running-sum-from-the-wrong-end": Op(
        ops.cumsum.forward, lambda g, y, x, *, dim=-1: (g.cumsum(dim),), name="cumsum", specs=ops.cumsum.specs
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_found(name: str) -> None:
    report = fuzzed_until_wrong(MISTAKES[name], 80)
    assert report.verdict == "fail", report
    assert "raises" not in {finding.cause for finding in report.findings}, report


BAD_CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "dimension-that-is-not-there": (
        lambda: ops.sum(X, dim=2),
        "sum: dim 2 is not a dimension of shape (2, 3); pass one from -2 to 1",
    ),
    "dimension-named-twice": (
        lambda: ops.mean(X, dim=(0, -2)),
        "mean: dim (0, -2) names a dimension of shape (2, 3) twice; name it once",
    ),
    "no-dimension": (
        lambda: ops.amax(X, dim=()),
        "amax: dim is empty, which some read as all and some as none; pass None for all",
    ),
    "dimension-by-name": (
        lambda: ops.logsumexp(X, dim="rows"),
        "logsumexp: dim is 'rows'; pass a dimension or a tuple of them, counted from 0, or from -1 backwards",
    ),
    "product-over-several-dimensions": (
        lambda: ops.prod(X, dim=(0, 1)),
        "prod: dim is (0, 1); pass one dimension, counted from 0, or from -1 backwards",
    ),
    "running-sum-over-all": (
        lambda: ops.cumsum(X, dim=-3),
        "cumsum: dim -3 is not a dimension of shape (2, 3); pass one from -2 to 1",
    ),
    "largest-of-nothing": (
        lambda: ops.amax(NONE, dim=0),
        "amax: shape (0, 3) has no elements along dim 0; pass at least one",
    ),
    "largest-norm-of-nothing": (
        lambda: ops.norm(NONE, p=math.inf),
        "norm with p=inf: shape (0, 3) has no elements along dim None; pass at least one",
    ),
    "no-norm": (
        lambda: ops.norm(X, p=0.5),
        "norm: p is 0.5, for which it is no norm; pass p of at least 1, such as 2 or math.inf",
    ),
    "variance-of-one-element": (
        lambda: ops.var(torch.ones(3, 1), dim=1),
        "var: shape (3, 1) has 1 elements along dim 1 and correction is 1, so squares would be divided by 0; "
        "pass correction=0 or more elements",
    ),
    "deviation-with-too-large-a-correction": (
        lambda: ops.std(X, correction=7),
        "std: shape (2, 3) has 6 elements along dim None and correction is 7, so squares would be divided by -1; "
        "pass correction=0 or more elements",
    ),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_misuse_is_refused_with_its_whole_message(name: str) -> None:
    call, message = BAD_CALLS[name]
    with pytest.raises(gl.InvalidArgument) as error:
        call()
    assert str(error.value) == message
