"""An allowed cause excuses one mistake of a gradient, and nothing else that is wrong with it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab.report import Report
from tests.lanes import examples
from tests.mistakes.row import normal

Gradients = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Any, ...]]  # of grad_output, x, w, b
X, W, B = normal(4, 3), normal(5, 3, seed=1), normal(5, seed=2)


def linear(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return x @ w.T + b


def right(g: Tensor, x: Tensor, w: Tensor, b: Tensor) -> tuple[Any, ...]:
    return g @ w, g.T @ x, g.sum(0)


def changed(change: Callable[[Any], Any], only: int = 0, of: Gradients = right) -> Gradients:
    """The gradients with that of one input changed."""

    def gradients(g: Tensor, x: Tensor, w: Tensor, b: Tensor) -> tuple[Any, ...]:
        found = of(g, x, w, b)
        return tuple(change(v) if i == only else v for i, v in enumerate(found))

    return gradients


def of_linear(gradients: Gradients) -> gl.Op:
    return gl.Op(linear, lambda g, y, x, w, b: gradients(g, x, w, b), name="linear")


def with_ones(g: Tensor, x: Tensor, w: Tensor, b: Tensor) -> tuple[Any, ...]:
    return torch.ones_like(g) @ w, g.T @ x, g.sum(0)


def with_first(g: Tensor, x: Tensor, w: Tensor, b: Tensor) -> tuple[Any, ...]:
    return torch.full_like(g, float(g.reshape(-1)[0])) @ w, g.T @ x, g.sum(0)


# each cause by itself: the gradient of x has it and no other
ALONE: dict[str, Gradients] = {
    "sign": changed(torch.neg),
    "constant-factor": changed(lambda v: 2 * v),
    "zero-gradient": changed(torch.zeros_like),
    "missing-gradient": changed(lambda v: None),
    "permuted": changed(lambda v: v.flip(1)),
    "wrong-dtype": changed(lambda v: v.float()),
    "upstream-ignored": with_ones,
    "upstream-scalarized": with_first,
}
# what is beside it, and what has to be said of that; x is to be wrong in its second, w in any
SECOND: dict[str, tuple[Callable[[Any], Any], str]] = {
    "turned": (lambda v: -v, "sign"),
    "tripled": (lambda v: 3 * v, "constant-factor"),
}
HIDES_THEM = {"zero-gradient", "missing-gradient"}  # of nothing there is nothing else to compare


def errors(report: Report) -> set[str]:
    return {finding.cause for finding in report.findings if finding.severity == "error"}


@pytest.mark.parametrize("cause", ALONE)
def test_an_allowed_mistake_by_itself_passes_and_is_told(cause: str) -> None:
    report = gl.check(of_linear(ALONE[cause]), X, W, B, allow={cause})
    assert report.verdict == "pass", report
    assert cause in {finding.cause for finding in report.findings if finding.severity == "note"}
    assert gl.check(of_linear(ALONE[cause]), X, W, B, probes=()).verdict == "fail"


@pytest.mark.parametrize("second", SECOND)
@pytest.mark.parametrize("cause", sorted(ALONE.keys() - HIDES_THEM))
def test_a_second_mistake_of_the_same_gradient_fails_by_name(cause: str, second: str) -> None:
    change, named = SECOND[second]
    report = gl.check(of_linear(changed(change, of=ALONE[cause])), X, W, B, allow={cause})
    if named == cause:
        assert report.verdict == "pass" or errors(report), report
        return
    assert report.verdict == "fail", report
    assert named in errors(report), report


@pytest.mark.parametrize("cause", ALONE)
def test_another_gradient_is_compared_as_ever(cause: str) -> None:
    report = gl.check(of_linear(changed(lambda v: v * 1.5, only=1, of=ALONE[cause])), X, W, B, allow={cause}, probes=())
    wrong = [gradient.name for gradient in report.gradients if gradient.verdict == "fail"]
    if cause == "constant-factor":  # which is allowed in that gradient as well
        assert (report.verdict, wrong) == ("pass", [])
    else:
        assert (report.verdict, wrong, errors(report)) == ("fail", ["w"], {"constant-factor"}), report


@examples(25)
@given(
    seed=st.integers(0, 10_000), rows=st.integers(2, 6), width=st.integers(2, 5), cause=st.sampled_from(sorted(ALONE)),
    second=st.sampled_from([None, *SECOND]),
)  # fmt: skip
def test_any_call_excuses_one_mistake_alone(seed: int, rows: int, width: int, cause: str, second: str | None) -> None:
    inputs = normal(rows, width, seed=seed), normal(5, width, seed=seed + 1), normal(5, seed=seed + 2)
    if cause in HIDES_THEM or second is None:
        assert gl.check(of_linear(ALONE[cause]), *inputs, allow={cause}, probes=()).verdict == "pass"
        return
    change, named = SECOND[second]
    report = gl.check(of_linear(changed(change, of=ALONE[cause])), *inputs, allow={cause}, probes=())
    assert report.verdict == ("pass" if named == cause else "fail"), report


def times(x: Tensor, y: Tensor) -> Tensor:
    return x * y.sin()


SWAPPED: dict[str, tuple[Callable[..., Any], str]] = {
    "alone": (lambda g, o, x, y: (g * x * y.cos(), g * y.sin()), ""),
    "and-negated": (lambda g, o, x, y: (-g * x * y.cos(), g * y.sin()), "sign"),
    "and-tripled": (lambda g, o, x, y: (g * x * y.cos(), 3 * g * y.sin()), "constant-factor"),
}


@pytest.mark.parametrize("name", SWAPPED)
def test_a_swapped_pair_is_swapped_back(name: str) -> None:
    rule, named = SWAPPED[name]
    report = gl.check(gl.Op(times, rule, name="times"), normal(4, 3), normal(4, 3, seed=1), allow={"slots-swapped"})
    assert (report.verdict, errors(report)) == ("fail" if named else "pass", {named} - {""}), report


def skip(x: Tensor, w: Tensor) -> Tensor:
    return x + torch.tanh(x * w)


def without_skip(g: Tensor, o: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    inner = g * (1 - torch.tanh(x * w) ** 2)
    return inner * w, inner * x


@pytest.mark.parametrize(
    ("change", "named"), [(lambda v: v, ""), (torch.neg, "sign"), (lambda v: 2 * v, "constant-factor")]
)
def test_a_missing_term_excuses_no_other_mistake(change: Callable[[Tensor], Tensor], named: str) -> None:
    def rule(g: Tensor, o: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        dx, dw = without_skip(g, o, x, w)
        return change(dx), dw

    report = gl.check(gl.Op(skip, rule, name="skip"), normal(4, 3), normal(4, 3, seed=1), allow={"missing-term"}, probes=())
    assert (report.verdict, errors(report)) == ("fail" if named else "pass", {named} - {""}), report


def test_a_mistake_at_other_sizes_is_seen_beside_the_allowed_one() -> None:
    def rule(g: Tensor, x: Tensor, w: Tensor, b: Tensor) -> tuple[Any, ...]:
        return -(g @ w), g.T @ x, g.sum(0) if len(g) > 1 else 2 * g.sum(0)

    def of_x(g: Tensor, x: Tensor, w: Tensor, b: Tensor) -> tuple[Any, ...]:
        return -(g @ w) if len(g) > 1 else -2 * (g @ w), g.T @ x, g.sum(0)

    assert gl.check(of_linear(rule), X, W, B, allow={"sign"}).verdict == "fail"
    report = gl.check(of_linear(of_x), X, W, B, allow={"sign"})
    assert (report.verdict, errors(report)) == ("fail", {"size-specialised"}), report


def test_a_factor_that_is_a_size_is_another_number_at_other_sizes() -> None:
    by_rows = of_linear(lambda g, x, w, b: (g @ w, g.T @ x, g.mean(0)))
    assert gl.check(by_rows, X, W, B, allow={"constant-factor"}).verdict == "pass"


STRAIGHT: dict[str, tuple[Callable[..., Any], str]] = {
    "through": (lambda g, o, x: (g,), "pass"),
    "clipped": (lambda g, o, x: (g * (x.abs() < 1),), "pass"),
    "through-and-doubled-where-large": (lambda g, o, x: (g * torch.where(x.abs() > 50, 2, 1),), "fail"),
}


@pytest.mark.parametrize("name", STRAIGHT)
def test_what_passes_straight_through_does_so_on_every_call(name: str) -> None:
    rule, verdict = STRAIGHT[name]
    report = gl.check(gl.Op(torch.round, rule, name="round"), normal(4, 3), allow={"wrong-value"})
    assert report.verdict == verdict, report


def test_a_cause_that_predicts_nothing_says_that_nothing_was_compared() -> None:
    surrogate = gl.Op(torch.sign, lambda g, o, x: (g / (1 + x.abs()) ** 2,), name="spike")
    report = gl.check(surrogate, normal(4, 3), allow={"wrong-value"}, probes=())
    assert report.verdict == "pass"
    assert str(report).splitlines()[0].endswith("; not compared, since it is allowed: x"), report
    nothing = "nothing of this gradient was compared: the cause does not say what it is then"
    assert report.findings[0].explanation.endswith(nothing)
    assert report.coverage[0].skipped == {"allowed": 1}


def test_the_first_line_names_what_is_right_but_for_an_allowed_mistake() -> None:
    report = gl.check(of_linear(ALONE["sign"]), X, W, B, allow={"sign"}, probes=())
    first, second, *_ = str(report).splitlines()
    assert first == "linear: pass - 3 gradients agree with autograd in float64, but for what is allowed of x"
    assert second == (
        "  note: gradient of input 0 'x' is right but for the allowed sign: sign - it is exactly -1 times the reference"
    )


def test_what_else_is_wrong_is_said_to_be_beyond_the_allowed_cause() -> None:
    report = gl.check(of_linear(changed(lambda v: -2 * v)), X, W, B, allow={"constant-factor"}, probes=())
    assert report.findings[0].message == (
        "gradient of input 0 'x' is wrong in 12 of 12 elements, beyond the allowed constant-factor"
    )


def test_two_allowed_causes_may_be_in_one_gradient() -> None:
    both = of_linear(changed(lambda v: -2 * v))
    assert gl.check(both, X, W, B, allow={"sign", "constant-factor"}).verdict == "pass"


def test_an_op_of_a_program_may_have_the_allowed_mistake() -> None:
    turned = gl.Op(torch.tanh, lambda g, o, x: (-g * (1 - o * o),), name="turned")
    tripled = gl.Op(torch.tanh, lambda g, o, x: (3 * g * (1 - o * o),), name="tripled")
    good = gl.Op(torch.exp, lambda g, o, x: (g * o,), name="exp")

    def network(x: Tensor, second: gl.Op) -> Tensor:
        hidden = turned(x)
        return second(hidden)

    report = gl.check(lambda x: network(x, good), normal(4, 3), allow={"sign"})
    assert report.verdict == "pass", report
    report = gl.check(lambda x: network(x, tripled), normal(4, 3), allow={"sign"})
    assert (report.verdict, errors(report)) == ("fail", {"constant-factor"}), report


def test_accumulation_over_calls_excuses_no_wrong_gradient() -> None:
    class Adds:
        def __init__(self, factor: float) -> None:
            self.W, self.dW, self.factor = W.numpy().T.copy(), 0.0, factor

        def forward(self, x: Any) -> Any:
            self.x = x
            return x @ self.W

        def backward(self, dy: Any) -> Any:
            self.dW = self.dW + self.factor * self.x.T @ dy
            return dy @ self.W.T

    allow = {"accumulates-across-calls"}
    assert gl.check(Adds(1.0), X.numpy(), allow=allow).verdict == "pass"
    report = gl.check(Adds(3.0), X.numpy(), allow=allow)
    assert (report.verdict, errors(report)) == ("fail", {"constant-factor"}), report


def test_an_allowed_forward_that_differs_leaves_nothing_compared() -> None:
    report = gl.check(of_linear(right), X, W, B, reference=lambda x, w, b: linear(x, w, 2 * b), allow={"forward-mismatch"})
    assert report.verdict == "inconclusive"
