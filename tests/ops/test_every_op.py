"""Every op: its gradients by the error budget over random calls in every dtype, its forward against torch's own."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.calls.case import Case
from gradcheck_lab.calls.dimensions import dimensions_of
from gradcheck_lab.calls.drawing import ordinary_call
from gradcheck_lab.rules.op import Op, as_tuple
from gradcheck_lab.strategies import calls
from tests.lanes import examples, seed_of, times
from tests.ops.torch_ops import TORCH
from tests.ops.torch_ops.losses import cross_entropy
from tests.sound import DTYPES, assert_fits, assert_passes, assert_passes_every_probe, in_dtype

EVERY = tuple(op for family in ops.FAMILIES.values() for op in family)
MAIN = (ops.linear, ops.relu, ops.softmax_cross_entropy, ops.mse_loss)
NARROWER = DTYPES[1:]

every_op = pytest.mark.parametrize("op", EVERY, ids=lambda op: op.name)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))


@pytest.mark.drawn
@every_op
def test_any_call_of_an_op_fits_runs_as_torchs_and_has_the_right_gradients(op: Op) -> None:
    @examples(*((100, 4000) if op in MAIN else (12, 480)))
    @given(calls(op, dtypes=DTYPES))
    def holds(case: Case) -> None:
        assert_fits(op, case)
        wide = in_dtype(case, torch.float64)
        torch.testing.assert_close(op(*wide.inputs, **wide.options), TORCH[op](*wide.inputs, **wide.options), equal_nan=True)
        assert_function_has_the_rules_gradients(op, wide)
        assert_passes(op, in_dtype(case, next(value.dtype for value in case.inputs if value.is_floating_point())))

    holds()


def assert_function_has_the_rules_gradients(op: Op, case: Case) -> None:
    inputs = [v.detach().clone().requires_grad_() if v.is_floating_point() else v for v in case.inputs]
    output = op.as_function()(*inputs, **case.options)
    outputs = as_tuple(output)
    upstream, values = tuple(map(torch.ones_like, outputs)), tuple(value.detach() for value in outputs)
    torch.autograd.backward(outputs, upstream)
    several = isinstance(output, tuple)
    first, second = (upstream, values) if several else (upstream[0], values[0])
    expected = op.backward(first, second, *(v.detach() for v in inputs), **case.options)
    for value, grad in zip(inputs, expected, strict=True):
        if value.requires_grad:
            torch.testing.assert_close(value.grad, grad, equal_nan=True)


@pytest.mark.drawn
@every_op
def test_op_passes_every_probe(op: Op) -> None:
    """In float64 on each signature, and in one narrower dtype; the thorough lane comes to all of them."""
    for turn in range(times(1)):
        seed = seed_of(turn)
        for signature in op.signatures:
            assert_passes_every_probe(op, ordinary_call(op, signature, seed))
        narrower = NARROWER[(EVERY.index(op) + turn) % len(NARROWER)]
        assert_passes_every_probe(op, ordinary_call(op, op.specs, seed + 1, dtype=narrower))


@every_op
def test_op_is_held_against_torch(op: Op) -> None:
    assert op in TORCH, f"{op.name} has no row in tests/ops/torch_ops"


def test_rows_of_torch_are_of_ops_of_the_library() -> None:
    for op in TORCH:
        assert op in EVERY, f"{op.name} has a row in tests/ops/torch_ops and is in no family of gradcheck_lab.ops"


@every_op
def test_op_has_a_formula_and_specs(op: Op) -> None:
    assert op.formula.startswith("d"), f"{op.name} has no formula: the first line of its backward's docstring, dx = ..."
    assert op.specs, f"{op.name} has no specs"


@every_dtype
@examples(40)
@given(
    logits=st.lists(st.lists(st.sampled_from([-1e4, 0.0, 1e4]), min_size=3, max_size=3), min_size=1, max_size=4),
    label=st.integers(0, 2),
    reduction=st.sampled_from(["none", "mean", "sum"]),
)
def test_softmax_cross_entropy_is_stable_at_huge_logits(
    dtype: torch.dtype, logits: list[list[float]], label: int, reduction: str
) -> None:
    values, target = torch.tensor(logits, dtype=dtype), torch.full((len(logits),), label)
    loss = ops.softmax_cross_entropy(values, target, reduction=reduction)
    torch.testing.assert_close(loss, cross_entropy(values, target, reduction=reduction))
    report = gl.check(ops.softmax_cross_entropy, values, target, options={"reduction": reduction}, probes=())
    assert report.verdict == "pass", report


@every_dtype
@examples(40)
@given(
    case=calls(ops.softmax_cross_entropy),
    weight=st.sampled_from([-2.0, 0.0, 0.5, 3.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_softmax_cross_entropy_takes_weights_that_do_not_sum_to_one(
    dtype: torch.dtype, case: Case, weight: float, seed: int
) -> None:
    logits = case.inputs[0].to(dtype)
    target = (weight * torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed))).to(dtype)
    options = {**case.options, "ignore_index": -100}  # labels are ignored, not weights
    report = gl.check(ops.softmax_cross_entropy, logits, target, options=options, probes=(), seed=seed)
    assert report.verdict == "pass", report
    assert [gradient.name for gradient in report.gradients] == ["logits", "target"]


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8], ids=str)
def test_softmax_cross_entropy_takes_labels_of_any_integer_dtype(dtype: torch.dtype) -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = torch.tensor([0, 2, 1, 2], dtype=dtype)
    assert gl.check(ops.softmax_cross_entropy, logits, target, probes=()).verdict == "pass"


@examples(50)
@given(case=calls(ops.mse_loss))
def test_mse_batchmean_sums_outputs_and_averages_the_batch(case: Case) -> None:
    prediction, target = case.inputs
    if prediction.shape[:-1].numel() == 0 or prediction.ndim == 0:
        return
    per_row = (prediction - target).square().sum(-1)
    torch.testing.assert_close(ops.mse_loss(prediction, target, reduction="batchmean"), per_row.mean())


@pytest.mark.parametrize("op", MAIN, ids=lambda op: op.name)
def test_op_gradient_is_a_number_where_the_call_is_empty(op: Op) -> None:
    case = ordinary_call(op, op.signatures[0], 0)
    dims = dimensions_of(case.inputs, op.signatures[0])
    for name in dims.sizes:
        inputs = dims.inputs(case.inputs, {**dims.sizes, name: 0}, 0)
        if not op.takes(inputs, dict(case.options)):
            continue
        output = op(*inputs, **case.options)
        grads: Any = op.backward(torch.ones_like(output), output, *inputs, **case.options)
        for grad, value in zip(grads, inputs, strict=True):
            assert grad is None or (grad.shape == value.shape and bool(torch.isfinite(grad).all())), name
