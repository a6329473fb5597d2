"""Normalisations where specs draw little: masked rows, several last dimensions, running statistics; misuse, and mistakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.calls.drawing import ordinary_call
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.rules.op import Op
from tests.lanes import examples
from tests.ops.held import assert_agrees, drawn, fuzzed_until_wrong, mistaken, passes
from tests.ops.torch_ops import TORCH
from tests.sound import DTYPES

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))


@every_dtype
@examples(25)
@given(
    hidden=st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=3),
    dim=st.sampled_from([0, -1]),
    seed=st.integers(0, 99),
)
def test_softmax_and_its_logarithm_take_masked_scores(
    dtype: torch.dtype, hidden: list[list[bool]], dim: int, seed: int
) -> None:
    mask = torch.tensor(hidden)
    x, g = drawn(*mask.shape, seed=seed, dtype=dtype).masked_fill(mask, -torch.inf), drawn(*mask.shape, seed=1, dtype=dtype)
    whole = mask.all(dim, keepdim=True).expand(mask.shape)
    for op, filled in ((ops.softmax, 0.0), (ops.log_softmax, -torch.inf)):
        leaf = x.clone().requires_grad_()
        expected = TORCH[op](leaf, dim=dim)
        output = op(x, dim=dim)
        torch.testing.assert_close(output, expected.detach().masked_fill(whole, filled))
        (theirs,) = torch.autograd.grad(expected, leaf, g)
        (ours,) = op.backward(g, output, x, dim=dim)
        torch.testing.assert_close(ours, theirs.masked_fill(whole, 0))


@pytest.mark.parametrize("op", [ops.softmax, ops.log_softmax], ids=lambda op: op.name)
def test_masked_row_has_a_finite_gradient_by_autograd_too(op: Op) -> None:
    x = torch.full((2, 3), -torch.inf, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(op.forward(x), x, torch.ones(2, 3, dtype=torch.float64))
    assert not grad.any()


@examples(25)
@given(
    lead=st.lists(st.integers(1, 3), max_size=2),
    last=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    dtype=st.sampled_from(DTYPES),
)
def test_weight_says_how_many_dimensions_are_normalised(lead: list[int], last: list[int], dtype: torch.dtype) -> None:
    x, weight, bias = (drawn(*shape, seed=i, dtype=dtype) for i, shape in enumerate(((*lead, *last), last, last)))
    passes(ops.layer_norm, x, weight, bias)
    passes(ops.layer_norm, x, weight)
    passes(ops.rms_norm, x, weight)
    if dtype == torch.float64:
        assert_agrees(ops.layer_norm, TORCH[ops.layer_norm], x, weight, bias)
        assert_agrees(ops.rms_norm, TORCH[ops.rms_norm], x, weight)


@examples(25)
@given(n=st.integers(1, 3), parts=st.integers(1, 3), groups=st.integers(1, 4), length=st.integers(1, 4), affine=st.booleans())
def test_group_norm_takes_any_groups_that_divide_the_channels(
    n: int, parts: int, groups: int, length: int, affine: bool
) -> None:
    channels = parts * groups
    inputs = (drawn(n, channels, length), *((drawn(channels, seed=1), drawn(channels, seed=2)) if affine else ()))
    passes(ops.group_norm, *inputs, num_groups=groups)
    assert_agrees(ops.group_norm, TORCH[ops.group_norm], *inputs, num_groups=groups)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_passes_every_probe_in_either_mode(training: bool) -> None:
    case = ordinary_call(ops.batch_norm, ops.batch_norm.specs, 0, {"training": training})
    report = gl.check(ops.batch_norm, *case.inputs, options=case.options)
    assert report.verdict == "pass", report
    assert not [finding for finding in report.findings if finding.severity != "note"], report


@examples(20)
@given(
    shape=st.sampled_from([(4, 3), (2, 3, 5), (2, 3, 4, 2), (1, 3, 2)]),
    training=st.booleans(),
    momentum=st.sampled_from([0.0, 0.1, 1.0]),
    dtype=st.sampled_from(DTYPES),
)
def test_batch_norm_has_torchs_gradients_where_nothing_uses_the_running_statistics(
    shape: tuple[int, ...], training: bool, momentum: float, dtype: torch.dtype
) -> None:
    options: dict[str, Any] = {"training": training, "momentum": momentum}
    inputs = drawn(*shape), drawn(3, seed=1), drawn(3, seed=2).abs() + 0.25, drawn(3, seed=3), drawn(3, seed=4)
    x, weight, bias = (inputs[i].clone().requires_grad_() for i in (0, 3, 4))
    expected = TORCH[ops.batch_norm](x, inputs[1], inputs[2], weight, bias, **options)
    output = ops.batch_norm(*inputs, **options)
    torch.testing.assert_close(output, (expected[0].detach(), *expected[1:]))
    g = drawn(*shape, seed=5)
    theirs = torch.autograd.grad(expected[0], (x, weight, bias), g)
    none = torch.zeros(3, dtype=torch.float64)
    ours = ops.batch_norm.backward((g, none, none), output, *inputs, **options)
    torch.testing.assert_close((ours[0], *ours[3:]), theirs)
    passes(ops.batch_norm, *(value.to(dtype) for value in inputs), **options)


def test_batch_norm_writes_to_nothing() -> None:
    inputs = drawn(4, 3), drawn(3), drawn(3).abs(), drawn(3), drawn(3)
    before = [value.clone() for value in inputs]
    outputs = ops.batch_norm(*inputs, training=False)
    outputs[1].add_(1)
    ops.batch_norm(*inputs, training=True)
    torch.testing.assert_close(list(inputs), before, rtol=0, atol=0)


def without_variance(g: Any, y: Any, x: Any, weight: Any = None, bias: Any = None, *, eps: float = 1e-5) -> Any:
    rest = ops.layer_norm.backward(g, y, x, weight, bias, eps=eps)[1:]
    h = g if weight is None else g * weight
    rstd = torch.rsqrt(x.var(-1, correction=0, keepdim=True) + eps)
    return (rstd * (h - h.mean(-1, keepdim=True)), *rest)


def with_another_epsilon(g: Any, y: Any, x: Any, weight: Any = None, *, eps: float = 1e-6) -> Any:
    return ops.rms_norm.backward(g, y, x, weight, eps=1e-4)


def in_one_group(
    g: Any, y: Any, x: Any, weight: Any = None, bias: Any = None, *, num_groups: int = 1, eps: float = 1e-5
) -> Any:
    return ops.group_norm.backward(g, y, x, weight, bias, eps=eps)


def over_the_last(g: Any, y: Any, x: Any, *, dim: int = -1) -> Any:
    return (y * (g - (g * y).sum(-1, keepdim=True)),)


def as_in_eval(g: Any, y: Any, *inputs: Any, training: bool = False, momentum: float = 0.1, eps: float = 1e-5) -> Any:
    return ops.batch_norm.backward(g, y, *inputs, momentum=momentum, eps=eps)


@pytest.mark.parametrize(
    ("op", "rule"),
    [
        (ops.layer_norm, without_variance),
        (ops.rms_norm, with_another_epsilon),
        (ops.group_norm, in_one_group),
        (ops.softmax, over_the_last),
        pytest.param(ops.batch_norm, as_in_eval, marks=pytest.mark.thorough),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_mistake_in_a_normalisation_is_found(op: Op, rule: Callable[..., Any]) -> None:
    assert fuzzed_until_wrong(mistaken(op, rule), 300).verdict == "fail"


X, ONE = drawn(2, 4), drawn(1)

ROWS: dict[str, tuple[Callable[[], Any], str]] = {
    "softmax-over-no-dimension": (
        lambda: ops.softmax(X, dim=2),
        "softmax: dim 2 is not a dimension of shape (2, 4); pass one from -2 to 1",
    ),
    "log-softmax-over-two-dimensions": (
        lambda: ops.log_softmax(X, dim=(0, 1)),
        "log_softmax: dim is (0, 1); pass one dimension, counted from 0, or from -1 backwards",
    ),
    "weight-of-another-size": (
        lambda: ops.layer_norm(X, drawn(3), drawn(3)),
        "layer_norm: x has shape (2, 4) and weight (3,); pass a weight of the last dimensions of x, such as (4,)",
    ),
    "weight-without-dimensions": (
        lambda: ops.rms_norm(X, drawn()),
        "rms_norm: x has shape (2, 4) and weight (); pass a weight of the last dimensions of x, such as (4,)",
    ),
    "bias-of-another-size": (
        lambda: ops.layer_norm(X, drawn(4), drawn(2)),
        "layer_norm: 'bias' has shape (2,), so 'd' is 2, but 'x' has 4; its spec is real('d')",
    ),
    "nothing-to-normalise": (
        lambda: ops.layer_norm(drawn(2, 0)),
        "layer_norm: x has shape (2, 0), nothing to normalise; pass at least one element",
    ),
    "groups-that-do-not-divide": (
        lambda: ops.group_norm(X, num_groups=3),
        "group_norm: x has shape (2, 4), and its 4 channels do not divide into 3 groups; pass a num_groups that divides them",
    ),
    "no-groups": (
        lambda: ops.group_norm(X, num_groups=0),
        "group_norm: x has shape (2, 4), and its 4 channels do not divide into 0 groups; pass a num_groups that divides them",
    ),
    "groups-of-nothing": (
        lambda: ops.group_norm(drawn(2, 4, 0), num_groups=2),
        "group_norm: x has shape (2, 4, 0), nothing to normalise; pass at least one element",
    ),
    "batch-of-one": (
        lambda: ops.batch_norm(drawn(1, 1), ONE, ONE.abs(), ONE, ONE, training=True),
        "batch_norm: x has shape (1, 1), 1 for each channel, which has no variance; pass a larger batch, or training=False",
    ),
    "no-channels": (
        lambda: ops.batch_norm(drawn(2, 0), drawn(0), drawn(0), drawn(0), drawn(0)),
        "batch_norm: x has shape (2, 0) and no channels; pass at least one, as dimension 1",
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_misuse_of_a_normalisation_says_what_to_do(row: str) -> None:
    call, message = ROWS[row]
    with pytest.raises(InvalidArgument) as error:
        call()
    assert str(error.value) == message
