"""Every op: its gradients by the error budget over random calls in every dtype, its forward against torch's own."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.calls.case import Case
from gradcheck_lab.rules.op import Op
from gradcheck_lab.strategies import calls
from tests.ops.torch_ops import TORCH
from tests.ops.torch_ops.losses import cross_entropy
from tests.sound import DTYPES, assert_passes_every_probe, assert_passes_over_calls

EVERY = tuple(op for family in ops.FAMILIES.values() for op in family)
MAIN = (ops.linear, ops.relu, ops.softmax_cross_entropy, ops.mse_loss)
OTHERS = tuple(op for op in EVERY if op not in MAIN)

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))


@pytest.mark.parametrize("op", MAIN, ids=lambda op: op.name)
def test_main_op_passes_in_every_dtype_over_a_thousand_calls(op: Op) -> None:
    assert_passes_over_calls(op, max_examples=1000)


@pytest.mark.parametrize("op", OTHERS, ids=lambda op: op.name)
def test_op_passes_in_every_dtype_over_random_calls(op: Op) -> None:
    assert_passes_over_calls(op, max_examples=30)


@pytest.mark.parametrize("op", EVERY, ids=lambda op: op.name)
def test_op_passes_every_probe(op: Op) -> None:
    assert_passes_every_probe(op)


def test_every_op_is_held_against_torch() -> None:
    assert set(TORCH) == set(EVERY)


@pytest.mark.parametrize("op", EVERY, ids=lambda op: op.name)
def test_op_forward_is_torchs(op: Op) -> None:
    @settings(max_examples=60)
    @given(calls(op))
    def agrees(case: Case) -> None:
        expected = TORCH[op](*case.inputs, **case.options)
        found = op(*case.inputs, **case.options)
        torch.testing.assert_close(found, expected, equal_nan=True)

    agrees()


@pytest.mark.parametrize("op", EVERY, ids=lambda op: op.name)
def test_op_has_a_formula_and_specs(op: Op) -> None:
    assert op.formula.startswith("d")
    assert op.specs


@every_dtype
@settings(max_examples=40)
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
@settings(max_examples=40)
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


@settings(max_examples=50)
@given(case=calls(ops.mse_loss))
def test_mse_batchmean_sums_outputs_and_averages_the_batch(case: Case) -> None:
    prediction, target = case.inputs
    if prediction.shape[:-1].numel() == 0 or prediction.ndim == 0:
        return
    per_row = (prediction - target).square().sum(-1)
    torch.testing.assert_close(ops.mse_loss(prediction, target, reduction="batchmean"), per_row.mean())


@pytest.mark.parametrize("op", MAIN, ids=lambda op: op.name)
@settings(max_examples=30)
@given(data=st.data())
def test_op_gradient_is_a_number_where_the_call_is_empty(op: Op, data: st.DataObject) -> None:
    case = data.draw(calls(op).filter(lambda case: any(v.numel() == 0 for v in case.inputs)))
    output = op(*case.inputs, **case.options)
    grads: Any = op.backward(torch.ones_like(output), output, *case.inputs, **case.options)
    for grad, value in zip(grads, case.inputs, strict=True):
        assert grad is None or (grad.shape == value.shape and bool(torch.isfinite(grad).all()))
