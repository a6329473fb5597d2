"""Losses where specs draw nothing: weights, ignored labels, zeros, underflow; and mistakes in their backwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.rules.op import Op
from gradcheck_lab.strategies import calls
from tests.ops.torch_ops import TORCH
from tests.sound import DTYPES

seeds = st.integers(0, 2**32 - 1)
reductions = st.sampled_from(["mean", "sum", "none"])
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def weights(count: int, seed: int, zeros: bool, dtype: torch.dtype) -> torch.Tensor:
    value = drawn(count, seed=seed).abs() + 0.25
    return (value.where(torch.arange(count) % 2 == 0, 0.0) if zeros else value).to(dtype)


def assert_agrees_with_torch(op: Op, *inputs: torch.Tensor, options: dict[str, Any]) -> None:
    """Hold the forward and every gradient that torch has against torch's own."""
    leaves = [value.clone().requires_grad_() if value.is_floating_point() else value for value in inputs]
    expected = TORCH[op](*leaves, **options)
    output = op(*inputs, **options)
    torch.testing.assert_close(output, expected.detach(), equal_nan=True)
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    grad_output = torch.linspace(-1, 2, expected.numel(), dtype=expected.dtype).reshape(expected.shape)
    theirs = torch.autograd.grad(expected, wanted, grad_output)
    ours = [grad for grad in op.backward(grad_output, output, *inputs, **options) if grad is not None]
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, reference)


def assert_passes(op: Op, *inputs: torch.Tensor, options: dict[str, Any], seed: int) -> None:
    report = gl.check(op, *inputs, options=options, probes=(), seed=seed)
    assert report.verdict == "pass", report


@every_dtype
@settings(max_examples=25)
@given(
    rows=st.lists(st.integers(1, 3), min_size=1, max_size=2),
    classes=st.integers(2, 4),
    soft=st.booleans(),
    weighted=st.sampled_from(["none", "positive", "zeros"]),
    smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    ignored=st.sampled_from([-100, 0]),
    reduction=reductions,
    seed=seeds,
)
def test_cross_entropy_with_every_option_together(
    dtype: torch.dtype,
    rows: list[int],
    classes: int,
    soft: bool,
    weighted: str,
    smoothing: float,
    ignored: int,
    reduction: str,
    seed: int,
) -> None:
    logits = drawn(*rows, classes, seed=seed, dtype=dtype)
    target = (
        drawn(*rows, classes, seed=seed + 1).softmax(-1).to(dtype) if soft else drawn(*rows, classes, seed=seed + 1).argmax(-1)
    )
    target.reshape(-1)[0] = 1  # at least one row counts
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing}
    if weighted != "none":
        options["weight"] = weights(classes, seed, weighted == "zeros", dtype).flip(0)
        options["weight"][1] = 0.5
    if not soft:
        options["ignore_index"] = ignored
    assert_passes(ops.softmax_cross_entropy, logits, target, options=options, seed=seed)
    if dtype == torch.float64:
        assert_agrees_with_torch(ops.softmax_cross_entropy, logits, target, options=options)


@every_dtype
@settings(max_examples=15)
@given(
    rows=st.lists(st.integers(1, 3), min_size=1, max_size=2),
    weighted=st.booleans(),
    ignored=st.sampled_from([-100, 0]),
    reduction=reductions,
    seed=seeds,
)
def test_nll_with_every_option_together(
    dtype: torch.dtype, rows: list[int], weighted: bool, ignored: int, reduction: str, seed: int
) -> None:
    log_probabilities = drawn(*rows, 3, seed=seed).log_softmax(-1).to(dtype)
    target = drawn(*rows, 3, seed=seed + 1).argmax(-1)
    target.reshape(-1)[0] = 1
    options = {"reduction": reduction, "ignore_index": ignored, "weight": weights(3, seed, False, dtype) if weighted else None}
    assert_passes(ops.nll_loss, log_probabilities, target, options=options, seed=seed)
    if dtype == torch.float64:
        assert_agrees_with_torch(ops.nll_loss, log_probabilities, target, options=options)


@every_dtype
@settings(max_examples=25)
@given(
    shape=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    answers=st.sampled_from(["hard", "soft", "outside"]),
    weighted=st.sampled_from(["none", "full", "last", "column"]),
    positive=st.sampled_from(["none", "one", "last"]),
    reduction=reductions,
    seed=seeds,
)
def test_binary_cross_entropy_with_every_option_together(
    dtype: torch.dtype, shape: list[int], answers: str, weighted: str, positive: str, reduction: str, seed: int
) -> None:
    logits, other = drawn(*shape, seed=seed, dtype=dtype), drawn(*shape, seed=seed + 1)
    target = {"hard": (other > 0).double(), "soft": other.sigmoid(), "outside": other}[answers].to(dtype)
    choice = {"none": None, "full": drawn(*shape, seed=seed + 2).abs(), "last": drawn(shape[-1]).abs()}
    choice |= {"column": drawn(*shape[:-1], 1, seed=seed).abs(), "one": torch.tensor(2.5)}
    options: dict[str, Any] = {"reduction": reduction, "weight": choice[weighted], "pos_weight": choice[positive]}
    options = {name: value.to(dtype) if isinstance(value, torch.Tensor) else value for name, value in options.items()}
    assert_passes(ops.binary_cross_entropy_with_logits, logits, target, options=options, seed=seed)
    if dtype == torch.float64:
        assert_agrees_with_torch(ops.binary_cross_entropy_with_logits, logits, target, options=options)


@pytest.mark.parametrize("op", [ops.softmax_cross_entropy, ops.nll_loss], ids=lambda op: op.name)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_batch_of_ignored_rows_has_torchs_loss_and_no_gradient(op: Op, reduction: str) -> None:
    target = torch.full((4,), 2)
    options = {"reduction": reduction, "ignore_index": 2}
    assert_agrees_with_torch(op, drawn(4, 3), target, options=options)
    output = op(drawn(4, 3), target, **options)
    assert not op.backward(torch.ones_like(output), output, drawn(4, 3), target, **options)[0].any()


def test_a_mean_counts_the_weights_of_the_rows_that_count() -> None:
    logits, weight = torch.zeros(3, 2, dtype=torch.float64), torch.tensor([1.0, 3.0], dtype=torch.float64)
    options = {"weight": weight, "ignore_index": 0}
    loss = ops.softmax_cross_entropy(logits, torch.tensor([1, 0, 1]), **options)
    (grad, _) = ops.softmax_cross_entropy.backward(torch.ones_like(loss), loss, logits, torch.tensor([1, 0, 1]), **options)
    torch.testing.assert_close(grad, torch.tensor([[0.25, -0.25], [0.0, 0.0], [0.25, -0.25]], dtype=torch.float64))


@pytest.mark.parametrize("x", [-1e4, -200.0, 0.0, 200.0, 1e4])
@pytest.mark.parametrize("answer", [0.0, 1.0, 0.25])
def test_binary_cross_entropy_is_stable_and_keeps_small_gradients(x: float, answer: float) -> None:
    logits = torch.tensor([x], dtype=torch.float64)
    target = torch.tensor([answer], dtype=torch.float64)
    assert_agrees_with_torch(ops.binary_cross_entropy_with_logits, logits, target, options={})
    dlogits, _ = ops.binary_cross_entropy_with_logits.backward(torch.ones(()), None, logits, target)
    yes, no = torch.sigmoid(logits), torch.sigmoid(-logits)
    torch.testing.assert_close(dlogits, (1 - target) * yes - target * no, rtol=1e-15, atol=0)


@settings(max_examples=30)
@given(seed=seeds, reduction=st.sampled_from(["mean", "sum", "none", "batchmean"]))
def test_kl_of_one_hot_targets_is_the_nll(seed: int, reduction: str) -> None:
    log_probabilities = drawn(4, 3, seed=seed).log_softmax(-1)
    labels = drawn(4, 3, seed=seed + 1).argmax(-1)
    target = F.one_hot(labels, 3).double()
    loss = ops.kl_div(log_probabilities, target, reduction=reduction)
    rows = ops.nll_loss(log_probabilities, labels, reduction="none")
    torch.testing.assert_close(loss.sum(), {"mean": rows.mean() / 3, "batchmean": rows.mean()}.get(reduction, rows.sum()))
    report = gl.check(ops.kl_div, log_probabilities, target, options={"reduction": reduction}, probes=(), seed=seed)
    assert report.verdict == "pass", report


@every_dtype
@pytest.mark.parametrize("which", ["a", "b", "both"])
def test_cosine_of_zero_vectors_is_zero_with_finite_gradients(dtype: torch.dtype, which: str) -> None:
    a, b = drawn(3, 4, seed=1, dtype=dtype), drawn(3, 4, seed=2, dtype=dtype)
    for name, value in (("a", a), ("b", b)):
        if which in (name, "both"):
            value[1] = 0
    output = ops.cosine_similarity(a, b, eps=0.5)
    assert output[1] == 0
    for grad in ops.cosine_similarity.backward(torch.ones_like(output), output, a, b, eps=0.5):
        assert torch.isfinite(grad).all()
    assert_passes(ops.cosine_similarity, a, b, options={"eps": 0.5}, seed=0)


@settings(max_examples=30)
@given(seed=seeds, dim=st.sampled_from([-1, 0, 1]), stretched=st.booleans())
def test_cosine_agrees_with_torch_along_any_axis(seed: int, dim: int, stretched: bool) -> None:
    a, b = drawn(3, 4, 2, seed=seed), drawn(1 if stretched else 4, 2, seed=seed + 1)
    assert_agrees_with_torch(ops.cosine_similarity, a, b, options={"dim": dim})


def test_the_two_step_loss_saturates_where_the_stable_one_does_not() -> None:
    logits, target = torch.tensor([[800.0, 0.0]], dtype=torch.float64), torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    (two_step, stable) = (
        op.backward(torch.ones(()), None, logits, target)[0] for op in (ops.two_step_cross_entropy, ops.softmax_cross_entropy)
    )
    assert two_step.tolist() == [[0.0, 0.0]]
    assert stable.tolist() == [[1.0, -1.0]]


@settings(max_examples=30)
@given(case=calls(ops.two_step_cross_entropy))
def test_the_two_step_loss_without_epsilon_is_the_stable_one(case: Any) -> None:
    logits, target = case.inputs[0].clamp(-5, 5), case.inputs[1]
    reduction = case.options["reduction"]
    ours = ops.two_step_cross_entropy(logits, target, reduction=reduction, eps=0.0)
    theirs = ops.softmax_cross_entropy(logits, target, reduction=reduction)
    torch.testing.assert_close(ours, theirs, equal_nan=True)
    grads = [
        op.backward(torch.ones_like(ours), ours, logits, target, reduction=reduction, **options)
        for op, options in ((ops.two_step_cross_entropy, {"eps": 0.0}), (ops.softmax_cross_entropy, {}))
    ]
    for mine, reference in zip(*grads, strict=True):
        torch.testing.assert_close(mine, reference)


X, PROBABILITIES, LABELS = drawn(5, 3), drawn(5, 3, seed=1).softmax(-1), torch.tensor([0, 2, 1, 0, 2])
CLASS_WEIGHT = torch.tensor([0.5, 2.0, 1.5], dtype=torch.float64)

Rule = Callable[..., tuple[Any, ...]]


def scaled(op: Op, factor: Callable[..., Any]) -> Rule:
    def rule(*arguments: Any, **options: Any) -> tuple[Any, ...]:
        grads = op.backward(*arguments, **options)
        return tuple(None if grad is None else factor(grad, **options) for grad in grads)

    return rule


def without(op: Op, *names: str) -> Rule:
    return lambda *arguments, **options: op.backward(*arguments, **{k: v for k, v in options.items() if k not in names})


def fused(grad_output: Any, output: Any, logits: Any, target: Any, **options: Any) -> tuple[Any, ...]:
    return ops.softmax_cross_entropy.backward(grad_output, output, logits, target)


def residual(grad_output: Any, output: Any, prediction: Any, target: Any, **options: Any) -> tuple[Any, ...]:
    grad = grad_output * (prediction - target) / prediction.numel()
    return grad, -grad


def without_the_one(grad_output: Any, output: Any, log_probabilities: Any, target: Any, **options: Any) -> tuple[Any, ...]:
    g = grad_output / target.numel()
    return -g * target, g * (target.log() - log_probabilities)


def without_projection(grad_output: Any, output: Any, a: Any, b: Any, **options: Any) -> tuple[Any, ...]:
    size = a.norm(dim=-1, keepdim=True) * b.norm(dim=-1, keepdim=True)
    return grad_output.unsqueeze(-1) * b / size, grad_output.unsqueeze(-1) * a / size


# op, the backward of somebody who forgot something, inputs, options
MISTAKES: dict[str, tuple[Op, Rule, tuple[torch.Tensor, ...], dict[str, Any]]] = {
    "mean-over-all-rows": (
        ops.softmax_cross_entropy,
        scaled(ops.softmax_cross_entropy, lambda grad, **_: grad * 3 / 5),
        (X, LABELS),
        {"ignore_index": 2},
    ),
    "class-weights-forgotten": (
        ops.softmax_cross_entropy,
        without(ops.softmax_cross_entropy, "weight"),
        (X, LABELS),
        {"weight": CLASS_WEIGHT},
    ),
    "smoothing-forgotten": (
        ops.softmax_cross_entropy,
        without(ops.softmax_cross_entropy, "label_smoothing"),
        (X, PROBABILITIES),
        {"label_smoothing": 0.1},
    ),
    "ignored-rows-counted": (ops.nll_loss, without(ops.nll_loss, "ignore_index"), (X, LABELS), {"ignore_index": 2}),
    "fused-gradient-of-the-two-steps": (ops.two_step_cross_entropy, fused, (X, PROBABILITIES), {"eps": 1e-3}),
    "positive-weight-forgotten": (
        ops.binary_cross_entropy_with_logits,
        without(ops.binary_cross_entropy_with_logits, "pos_weight"),
        (X, PROBABILITIES),
        {"pos_weight": CLASS_WEIGHT},
    ),
    "outliers-not-clamped": (ops.huber_loss, residual, (4 * X, PROBABILITIES), {}),
    "residual-for-its-sign": (ops.l1_loss, residual, (X, PROBABILITIES), {}),
    "derivative-of-t-log-t": (ops.kl_div, without_the_one, (X, PROBABILITIES), {}),
    "norms-held-constant": (ops.cosine_similarity, without_projection, (X, PROBABILITIES), {}),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_caught(name: str) -> None:
    op, rule, inputs, options = MISTAKES[name]
    assert gl.check(op, *inputs, options=options, probes=()).verdict == "pass"
    report = gl.check(Op(op.forward, rule, name=op.name), *inputs, options=options, probes=())
    assert report.verdict == "fail"


CROSS_ENTROPY, BINARY = ops.softmax_cross_entropy, ops.binary_cross_entropy_with_logits

# what is called, the whole message
BAD_CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "smoothing-above-one": (
        lambda: CROSS_ENTROPY(X, LABELS, label_smoothing=1.5),
        "softmax_cross_entropy: label_smoothing is 1.5; pass a share from 0 to 1",
    ),
    "class-weights-of-another-count": (
        lambda: CROSS_ENTROPY(X, LABELS, weight=torch.ones(2)),
        "softmax_cross_entropy: weight has shape (2,) and the rows have 3 classes; pass one number per class, of shape (3,)",
    ),
    "class-weights-as-a-list": (
        lambda: CROSS_ENTROPY(X, LABELS, weight=[1.0, 2.0, 3.0]),
        "softmax_cross_entropy: weight is a list; pass a tensor, one number per class",
    ),
    "ignored-class-of-soft-targets": (
        lambda: CROSS_ENTROPY(X, PROBABILITIES, ignore_index=1),
        "softmax_cross_entropy: ignore_index is 1 and target has weights, not labels; give the rows to ignore the weight 0",
    ),
    "labels-that-are-not-ignored": (
        lambda: CROSS_ENTROPY(X, torch.tensor([0, -1, -100, 1, 2])),
        "softmax_cross_entropy: labels range from -1 to 2 and 3 classes have labels 0 to 2; renumber the labels or widen the "
        "logits",
    ),
    "nll-labels-of-another-length": (
        lambda: ops.nll_loss(X, LABELS[:4]),
        "nll_loss: target has shape (4,) and log_probabilities of shape (5, 3) have rows (5,); pass one class label per row",
    ),
    "nll-labels-out-of-range": (
        lambda: ops.nll_loss(X, LABELS + 1),
        "nll_loss: labels range from 1 to 3 and 3 classes have labels 0 to 2; renumber the labels or widen the "
        "log_probabilities",
    ),
    "nll-labels-that-are-floats": (
        lambda: ops.nll_loss(X, LABELS.double()),
        "nll_loss: input 'target' is float64 and labels('*b', classes='c') wants whole numbers; pass target.long()",
    ),
    "nll-reduction": (
        lambda: ops.nll_loss(X, LABELS, reduction="batchmean"),
        "nll_loss has no reduction 'batchmean'; it has 'none', 'mean', 'sum'",
    ),
    "negative-epsilon-of-the-two-steps": (
        lambda: ops.two_step_cross_entropy(X, PROBABILITIES, eps=-1e-7),
        "two_step_cross_entropy: eps is -1e-07; pass 0 or a small number above it, such as 1e-7",
    ),
    "labels-for-the-two-steps": (
        lambda: ops.two_step_cross_entropy(X, LABELS),
        "two_step_cross_entropy: logits has shape (5, 3) and target (5,); they do not fit; give both the same shape",
    ),
    "binary-column-against-vector": (
        lambda: BINARY(torch.ones(4, 1), torch.ones(4)),
        "binary_cross_entropy_with_logits: logits has shape (4, 1) and target (4,); they would broadcast to (4, 4); "
        "pass target.reshape((4, 1))",
    ),
    "binary-weight-that-stretches-the-logits": (
        lambda: BINARY(X, PROBABILITIES, weight=torch.ones(2, 1, 1)),
        "binary_cross_entropy_with_logits: weight has shape (2, 1, 1) and the logits (5, 3); pass one number per logit",
    ),
    "positive-weight-of-another-count": (
        lambda: BINARY(X, PROBABILITIES, pos_weight=torch.ones(2)),
        "binary_cross_entropy_with_logits: pos_weight has shape (2,) and the logits (5, 3); "
        "pass one number per class, in the last dimension",
    ),
    "positive-weight-as-a-number": (
        lambda: BINARY(X, PROBABILITIES, pos_weight=2.0),
        "binary_cross_entropy_with_logits: pos_weight is a float; pass a tensor, one number per class, in the last dimension",
    ),
    "l1-of-other-shapes": (
        lambda: ops.l1_loss(torch.ones(3), torch.ones(3, 1)),
        "l1_loss: prediction has shape (3,) and target (3, 1); they would broadcast to (3, 3); pass target.reshape((3,))",
    ),
    "l1-reduction": (
        lambda: ops.l1_loss(X, X, reduction="average"),
        "l1_loss has no reduction 'average'; it has 'none', 'mean', 'sum'",
    ),
    "huber-without-a-middle": (
        lambda: ops.huber_loss(X, X, delta=0.0),
        "huber_loss: delta is 0.0; pass a number above 0",
    ),
    "huber-of-other-shapes": (
        lambda: ops.huber_loss(X, X[:, :1]),
        "huber_loss: prediction has shape (5, 3) and target (5, 1); they would broadcast to (5, 3); give both the same shape",
    ),
    "kl-of-other-shapes": (
        lambda: ops.kl_div(X, X[0]),
        "kl_div: log_probabilities has shape (5, 3) and target (3,); they would broadcast to (5, 3); give both the same shape",
    ),
    "kl-reduction": (
        lambda: ops.kl_div(X, X, reduction="batch"),
        "kl_div has no reduction 'batch'; it has 'none', 'mean', 'sum', 'batchmean'",
    ),
    "cosine-along-a-missing-axis": (
        lambda: ops.cosine_similarity(X, X[0], dim=2),
        "cosine_similarity: dim is 2 and operands of shapes (5, 3) and (3,) have 2 dimensions; pass one from -2 to 1",
    ),
    "cosine-without-epsilon": (
        lambda: ops.cosine_similarity(X, X, eps=0.0),
        "cosine_similarity: eps is 0.0; pass a small number above 0, such as 1e-8",
    ),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_call_is_refused_with_its_message(name: str) -> None:
    call, message = BAD_CALLS[name]
    with pytest.raises(gl.InvalidArgument) as caught:
        call()
    assert str(caught.value) == message
