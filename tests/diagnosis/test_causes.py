"""Diagnosis: planted patterns get their cause and sentence at any size and seed; errors without one never get any."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gradcheck_lab as gl
from gradcheck_lab.diagnosis import explain
from gradcheck_lab.model.causes import CAUSES
from tests.lanes import examples
from tests.mistakes.terms import FORMULAS, NAMELESS, Formula, evidence_of, softmax_rule

sizes = {"n": st.integers(5, 8), "d": st.integers(6, 9), "seed": st.integers(0, 2**32 - 1)}
dtypes = st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16])
some = examples(25)


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("formula", FORMULAS, ids=str)
@some
@given(**sizes)
def test_planted_pattern_gets_its_cause_and_sentence(formula: Formula, n: int, d: int, seed: int) -> None:
    found = explain(formula.evidence(n, d, seed))
    assert (found.cause, found.sentence) == (formula.cause, formula.sentence.format(n=n, d=d, last=d - 1))
    assert found.suggestion


@pytest.mark.parametrize("formula", NAMELESS, ids=str)
@some
@given(**sizes)
def test_what_has_no_name_gets_none(formula: Formula, n: int, d: int, seed: int) -> None:
    assert explain(formula.evidence(n, d, seed)).cause == (formula.cause or "wrong-value")


@examples(200)
@given(**sizes, dtype=dtypes, share=st.sampled_from([0.15, 0.5, 1.0]), size=st.sampled_from([0.1, 1.0, 10.0]))
def test_unstructured_error_never_gets_a_specific_cause(
    n: int, d: int, seed: int, dtype: torch.dtype, share: float, size: float
) -> None:
    x, g = normal(n, d, seed=seed).to(dtype), normal(n, d, seed=seed + 1).to(dtype)
    y = torch.softmax(x.double(), -1)
    expected = softmax_rule(g.double(), y, x.double())
    hit = torch.rand(n, d, generator=torch.Generator().manual_seed(seed)) < share
    actual = (expected + size * expected.abs().mean() * normal(n, d, seed=seed + 2) * hit).to(dtype)
    target = torch.arange(n) % d
    if bool(hit.any()):
        tensors = {"x": x, "output": y, "target": target, "keep": x > 0.3}
        assert explain(evidence_of(actual, expected, tensors, (g,), {"eps": 1e-5, "p": 0.3})).cause == "wrong-value"


@examples(100)
@given(size=st.integers(2, 5), seed=st.integers(0, 2**32 - 1))
def test_tiny_gradient_is_never_said_to_lack_a_term(size: int, seed: int) -> None:
    x, g = normal(size, seed=seed), normal(size, seed=seed + 1)
    found = explain(evidence_of(normal(size, seed=seed + 2), normal(size, seed=seed + 3), {"x": x, "output": x.exp()}, (g,)))
    assert found.cause == "wrong-value"


@some
@given(**sizes, row=st.integers(0, 4))
def test_row_of_the_batch_that_was_left_out_is_named(n: int, d: int, seed: int, row: int) -> None:
    x, g = normal(2 * n, d, seed=seed), normal(2 * n, n, seed=seed + 1)
    kept = torch.arange(2 * n) != row
    found = explain(evidence_of(g[kept].T @ x[kept], g.T @ x, {"x": x}, (g,)))
    assert found.cause == "missing-term"
    assert f": row {row} of grad_output times row {row} of x, left out of the sum or counted twice" in found.sentence


@some
@given(**sizes)
def test_target_entry_of_a_loss_is_named(n: int, d: int, seed: int) -> None:
    x, g, target = normal(n, d, seed=seed), normal(n, seed=seed + 1), torch.arange(n) % d
    p = torch.softmax(x, -1)
    expected = g.unsqueeze(1) * (p - torch.nn.functional.one_hot(target, d))
    found = explain(evidence_of(g.unsqueeze(1) * p, expected, {"x": x, "target": target}, (g,)))
    assert (found.cause, found.sentence) == ("missing-term", "the term -grad_output * one_hot(target) is missing")


@some
@given(seed=st.integers(0, 2**32 - 1), off=st.floats(1e-10, 1e-4), sign=st.sampled_from([-1, 1]))
def test_factor_near_one_says_how_near(seed: int, off: float, sign: int) -> None:
    expected = normal(4, 3, seed=seed)
    found = explain(evidence_of(expected * (1 + sign * off), expected))
    assert found.cause == "constant-factor"
    assert found.sentence == f"it is (1 {'-' if sign < 0 else '+'} {off:.2g}) times the reference"


CONSTANTS: list[tuple[float, str]] = [
    (-1.0, "it is exactly -1 times the reference"),
    (2.0, "it is exactly 2 times the reference"),
    (-2.0, "it is minus exactly 2 times the reference"),
    (1 / 7, "it is 1/7 of the reference, and 7 is the batch size (axis 0 of 'x'): a mean was applied twice, or to a sum"),
    (6 / 7, "it is (7 - 1)/7 times the reference, and 7 is the batch size (axis 0 of 'x')"),
    (7 / 6, "it is 7/(7 - 1) times the reference, and 7 is the batch size (axis 0 of 'x')"),
    (11**0.5, "it is sqrt(11) times the reference, and 11 is the size of axis 1 of 'x'"),
    (121.0, "it is 11^2 times the reference, and 11 is the size of axis 1 of 'x'"),
    (1 / 77, "it is 1/77 of the reference, and 77 is the number of elements of 'x': a mean was applied twice, or to a sum"),
    (
        5 / 7,
        "it is 5/7 times the reference, and 5 is how often 'target' is not ignore_index = 3, and 7 is "
        "the number of all of them",
    ),
    (0.3, "it is p times the reference, and p is 0.3"),
    (1 / 0.7, "it is 1/(1 - p) times the reference, and p is 0.3"),
    (3.0, "it is 3 times the reference"),
    (1.37, "it is 1.37 times the reference"),
]


@pytest.mark.parametrize(("factor", "sentence"), CONSTANTS, ids=lambda value: str(value)[:8])
@examples(5)
@given(seed=st.integers(0, 2**32 - 1))
def test_constant_is_recognised(factor: float, sentence: str, seed: int) -> None:
    expected = normal(7, 11, seed=seed)
    target = torch.tensor([0, 3, 1, 3, 2, 4, 5])
    tensors = {"x": normal(7, 11, seed=seed + 1), "target": target}
    found = explain(evidence_of(factor * expected, expected, tensors, options={"ignore_index": 3, "p": 0.3, "mean": True}))
    assert found.cause == ("sign" if factor == -1 else "constant-factor")
    assert found.sentence == sentence


@examples(60)
@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(1.1, 1.9), dtype=dtypes)
def test_factor_without_a_name_is_given_as_a_number(seed: int, factor: float, dtype: torch.dtype) -> None:
    expected = normal(7, 11, seed=seed)
    found = explain(evidence_of((factor * expected).to(dtype), expected, {"x": normal(7, 11, seed=seed + 1)}))
    assert found.cause == "constant-factor"
    assert "exactly" not in found.sentence


@some
@given(**sizes, other=st.sampled_from([0.0, 1.0]))
def test_mean_of_repeated_rows_is_a_duplicate_index(n: int, d: int, seed: int, other: float) -> None:
    index = torch.cat([torch.arange(n), torch.tensor([1, 1, 2])])
    g = normal(n + 3, d, seed=seed)
    added = torch.zeros(n, d, dtype=torch.float64).index_add(0, index, g)
    hits = torch.bincount(index).unsqueeze(1)
    last = torch.zeros(n, d, dtype=torch.float64)
    for row, value in zip(index, g, strict=True):
        last[row] = value
    actual = added / hits if other else last
    found = explain(evidence_of(actual, added, {"x": normal(n, d, seed=seed + 1), "index": index}, (g,)))
    assert found.cause == "duplicate-index"
    assert "index" in found.sentence


@some
@given(**sizes)
def test_wrong_part_that_is_trivially_right_elsewhere_is_no_condition(n: int, d: int, seed: int) -> None:
    x, g = normal(n, d, seed=seed), normal(n, d, seed=seed + 1)
    found = explain(evidence_of(torch.sin(3 * g + 1) * (x > 0), g * (x > 0), {"x": x}, (g,)))
    assert found.cause == "wrong-value"


def twice(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return torch.tanh(torch.tanh(x @ w) @ w)


@examples(10)
@given(n=st.integers(2, 5), d=st.integers(2, 4), seed=st.integers(0, 2**16), last=st.booleans(), there=st.booleans())
def test_use_of_a_weight_that_is_missing_is_named(n: int, d: int, seed: int, last: bool, there: bool) -> None:
    """It was overwritten where it was there before, and left out where it was not."""

    def backward(g: Any, y: Any, x: Any, w: Any) -> Any:
        h = torch.tanh(x @ w)
        outer = g * (1 - y * y)
        inner = outer @ w.T * (1 - h * h)
        dw = h.T @ outer if last == there else x.T @ inner
        if there:
            dw = x.T @ inner if last else h.T @ outer
        return inner @ w.T, dw

    x, w = normal(n, d, seed=seed), normal(d, d, seed=seed + 1)
    (finding,) = gl.check(gl.Op(twice, backward, name="twice"), x, w, probes=()).findings
    kept, lost = (1, 2) if last else (2, 1)
    assert finding.cause == ("fan-out-overwritten" if there else "missing-term")
    said = f"only what matmul (use {kept}) sends back arrives" if there else f"the term through matmul (use {lost}) is missing"
    assert finding.explanation == f"'w' is used in matmul (use {kept}) and in matmul (use {lost}), and {said}"


@pytest.mark.parametrize("statistic", [torch.var, torch.std], ids=["var", "std"])
def test_what_a_statistic_centres_is_no_factor_that_was_left_out(statistic: Any) -> None:
    """With 1 in the place of x its variance sends nothing back, as a backward without that term does."""

    def scaled(x: torch.Tensor) -> torch.Tensor:
        return x / (statistic(x, 0) + 1)

    def backward(g: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> Any:
        return (g / (statistic(x, 0) + 1),)

    report = gl.check((scaled, backward), normal(6, 3, seed=0), probes=())
    assert [f.cause for f in report.findings] == ["missing-term"], report


def test_a_value_of_zeros_is_no_operand_that_was_taken_for_another() -> None:
    """With the zeros that a recurrence begins with in the place of its weight, the term through its state is missing."""

    def recurrence(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        h = x.new_zeros(x.shape[1:])
        zeros = h @ w
        return torch.tanh(x[1] + torch.tanh(x[0] + zeros) @ w)

    def backward(g: torch.Tensor, y: torch.Tensor, x: torch.Tensor, w: torch.Tensor) -> Any:
        last = g * (1 - y**2)
        return torch.stack([torch.zeros_like(last), last]), torch.tanh(x[0]).T @ last

    report = gl.check((recurrence, backward), normal(2, 3, 3, seed=0), normal(3, 3, seed=1), probes=())
    assert [(f.gradient, f.cause) for f in report.findings] == [("x", "missing-term")], report


def test_column_against_a_vector_is_named_where_a_sum_would_only_make_the_shape_fit() -> None:
    def mse(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (prediction - target).square().mean()

    def backward(g: torch.Tensor, y: torch.Tensor, prediction: torch.Tensor, target: torch.Tensor) -> Any:
        gradient = g * 2 * (prediction - target) / len(prediction)
        return gradient, -gradient

    report = gl.check((mse, backward), normal(4, 1, seed=0), normal(4, seed=1), probes=())
    found = report.findings[0]
    pair = "'prediction' (4, 1) and 'target' (4,) broadcast to (4, 4)"
    assert (found.cause, found.explanation) == ("missing-broadcast-sum", f"it has shape (4, 4), expected (4, 1): {pair}")
    assert str(found.suggestion).startswith("give 'prediction' and 'target' one shape before the forward")


def test_product_rule_without_one_factor_lacks_a_term() -> None:
    op = gl.Op(lambda x: x * torch.sigmoid(x), lambda g, y, x: (g * torch.sigmoid(x),), name="swish")
    (finding,) = gl.check(op, normal(4, 3, seed=0), probes=()).findings
    assert finding.cause == "missing-term"
    assert finding.explanation == "'x' is used in mul and in sigmoid, and the term through sigmoid is missing"


@examples(40)
@given(**sizes, dtype=dtypes, formula=st.sampled_from(FORMULAS))
def test_narrow_dtype_gets_a_cause_of_the_list(n: int, d: int, seed: int, dtype: torch.dtype, formula: Formula) -> None:
    found = explain(formula.evidence(n, d, seed, dtype))
    assert found.cause in CAUSES
    assert found.cause in {formula.cause, "wrong-value", "constant-factor", "low-precision", "missing-term"}


@some
@given(**sizes, row=st.integers(0, 3))
def test_two_mistakes_in_two_places_are_both_told(n: int, d: int, seed: int, row: int) -> None:
    expected = normal(n, d, seed=seed)
    actual = expected.clone()
    actual[row] *= -1
    actual[:, -1:] = 0
    found = explain(evidence_of(actual, expected, {"x": normal(n, d, seed=seed + 1)}))
    told = {each.cause: each.sentence for each in (found, *found.also)}
    assert told == {
        "sign": f"it is exactly -1 times the reference in row {row}",
        "unwritten-elements": f"the elements from {d - 1} on along axis 1 are wrong, and there they are zero",
    }


@some
@given(n=st.integers(3, 8), seed=st.integers(0, 2**32 - 1), factor=st.sampled_from([-1.0, 2.0, 0.25, 1.37]))
def test_factor_beside_a_transposition_is_told(n: int, seed: int, factor: float) -> None:
    expected = normal(n, n, seed=seed)
    found = explain(evidence_of(factor * expected.T, expected))
    assert found.cause == "transposed"
    assert [each.cause for each in found.also] == ["sign" if factor == -1 else "constant-factor"]


def test_every_mistake_in_one_gradient_is_a_finding() -> None:
    def backward(g: Any, y: Any, x: Any) -> Any:
        grad = 2 * g * x
        grad[1] *= -1
        grad[:, 5:] = 0
        return (grad,)

    report = gl.check(gl.Op(lambda x: x * x, backward, name="square"), normal(6, 7, seed=0), probes=())
    assert {finding.cause for finding in report.findings} == {"sign", "unwritten-elements"}
