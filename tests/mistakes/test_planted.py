"""Wrong backwards fail, with the right input named and the cause; right ones written in another way pass."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.calls.case import Case
from gradcheck_lab.calls.drawing import draw_inputs
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.report import Report
from gradcheck_lab.rules.op import Op
from gradcheck_lab.strategies import calls
from tests.lanes import examples
from tests.mistakes import Planted, Twin, broadcasting, changed, copy_of, linear, losses, relu, scaled
from tests.mistakes.twins import OPS, TWINS
from tests.sound import DTYPES, assert_passes_over_calls

MAIN = (ops.linear, ops.relu, ops.softmax_cross_entropy, ops.mse_loss)
MISTAKES = [*linear.MISTAKES, *relu.MISTAKES, *losses.MISTAKES, *broadcasting.MISTAKES]

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
every_main_op = pytest.mark.parametrize("op", MAIN, ids=lambda op: op.name)


def errors(report: Report) -> dict[str | None, str]:
    return {finding.gradient: finding.cause for finding in report.findings if finding.severity == "error"}


def failed(report: Report) -> set[str]:
    return {gradient.name for gradient in report.gradients if gradient.verdict == "fail"}


def the_finding(report: Report) -> Finding:
    assert len(report.findings) == 1, report
    return report.findings[0]


def sizes_of(planted: Planted, widths: list[int]) -> Mapping[str, tuple[int, ...]]:
    """Sizes for the letters of a planted mistake's specs: two dimensions for a `*` unless the mistake binds it to one."""
    spare = iter(widths)
    sizes: dict[str, tuple[int, ...]] = {}
    for dim in (dim for spec in planted.sound.signatures[planted.signature] for dim in spec.dims):
        if dim.name not in sizes:
            count = 2 if dim.variadic and not planted.sizes else 1
            sizes[dim.name] = tuple(next(spare) for _ in range(count))
    return sizes | {name: sizes[other] for name, other in planted.sizes.items()}


# the mistakes are told from sizes that show them: with one row a forgotten mean is no mistake
widths = st.lists(st.integers(4, 6), min_size=5, max_size=5)


@pytest.mark.parametrize("planted", MISTAKES, ids=str)
@examples(2, 80)
@given(dtype=st.sampled_from(DTYPES), widths=widths, seed=st.integers(0, 2**32 - 1))
def test_planted_mistake_is_caught_at_its_input(planted: Planted, dtype: torch.dtype, widths: list[int], seed: int) -> None:
    inputs = draw_inputs(planted.sound.signatures[planted.signature], seed, sizes_of(planted, widths), dtype)
    report = gl.check(planted.op, *inputs, options=planted.options, probes=(), seed=seed)
    assert report.verdict == "fail"
    assert failed(report) == set(planted.causes)
    assert errors(report) == dict(planted.causes), report


@examples(20)
@given(
    case=calls(ops.linear).filter(lambda case: len(case.inputs) == 3), index=st.integers(0, 2), seed=st.integers(0, 2**32 - 1)
)
def test_one_wrong_element_of_linear_is_caught(case: Case, index: int, seed: int) -> None:
    x, weight, bias = (torch.randn(v.shape, generator=torch.Generator().manual_seed(seed)).double() for v in case.inputs)
    position = 0

    def change(grad: torch.Tensor) -> torch.Tensor:
        nonlocal position
        if grad.numel():
            position = seed % grad.numel()
            grad = grad.clone()
            grad.view(-1)[position] += 1e-9 * (1 + grad.abs().max())
        return grad

    report = gl.check(copy_of(ops.linear, changed(ops.linear, index, change)), x, weight, bias, probes=())
    name = ("x", "weight", "bias")[index]
    wrong = report.gradients[index]
    if not wrong.elements:
        return
    assert failed(report) == {name}
    assert wrong.wrong_elements == 1
    assert wrong.worst_index == tuple(int(k) for k in torch.unravel_index(torch.tensor(position), wrong.shape))


@every_main_op
@examples(15)
@given(data=st.data(), exponent=st.integers(3, 9), sign=st.sampled_from([-1, 1]))
def test_scale_error_of_1e_9_is_caught_in_float64(op: Op, data: st.DataObject, exponent: int, sign: int) -> None:
    inputs = draw_inputs(op.specs, data.draw(st.integers(0, 2**32 - 1)), {"s": (5, 4)})
    wrong = copy_of(op, scaled(op, 0, lambda *inputs: 1 + sign * 10.0**-exponent))
    report = gl.check(wrong, *inputs, probes=())
    assert report.verdict == "fail"
    assert failed(report) == {report.gradients[0].name}


@pytest.mark.parametrize("op", [op for op in MAIN if op is not ops.relu], ids=lambda op: op.name)
def test_float16_inside_float64_is_low_precision(op: Op) -> None:
    inputs = draw_inputs(op.specs, 3, {"b": (16,), "s": (16, 5)})
    rule = changed(op, 0, lambda grad: grad.half().double())
    report = gl.check(copy_of(op, rule), *inputs, probes=())
    assert report.verdict == "fail"
    assert errors(report) == {report.gradients[0].name: "low-precision"}
    assert the_finding(report).explanation == "every value is a float16 number"


@pytest.mark.parametrize("op", [op for op in MAIN if op is not ops.relu], ids=lambda op: op.name)
def test_float32_inside_float64_is_low_precision(op: Op) -> None:
    inputs = draw_inputs(op.specs, 3, {"b": (16,), "s": (16, 5)})
    rule = changed(op, 0, lambda grad: grad.float().double())
    report = gl.check(copy_of(op, rule), *inputs, probes=())
    assert errors(report) == {report.gradients[0].name: "low-precision"}
    assert the_finding(report).explanation == "every value is a float32 number"


@every_main_op
def test_narrower_dtype_is_an_error(op: Op) -> None:
    inputs = draw_inputs(op.specs, 0)
    report = gl.check(copy_of(op, changed(op, 0, torch.Tensor.float)), *inputs, probes=())
    name = report.gradients[0].name
    assert report.verdict == "fail"
    assert errors(report) == {name: "wrong-dtype"}
    assert the_finding(report).message == f"gradient of input 0 {name!r} is float32, expected float64"


@every_main_op
def test_wider_dtype_is_a_warning(op: Op) -> None:
    inputs = draw_inputs(op.specs, 0, dtype=torch.float32)
    report = gl.check(copy_of(op, changed(op, 0, torch.Tensor.double)), *inputs, probes=())
    finding = the_finding(report)
    assert report.verdict == "pass"
    assert (finding.cause, finding.severity) == ("wrong-dtype", "warning")
    assert finding.message == f"gradient of input 0 {report.gradients[0].name!r} is float64, expected float32"


@every_main_op
def test_too_few_gradients_are_counted(op: Op) -> None:
    inputs = draw_inputs(op.specs, 0)
    report = gl.check(copy_of(op, lambda *args, **options: op.backward(*args, **options)[:-1]), *inputs, probes=())
    finding, n = the_finding(report), len(inputs)
    assert report.verdict == "fail"
    assert (finding.cause, finding.gradient) == ("gradient-count", None)
    assert finding.message == f"backward returned {n - 1} gradients for {n} inputs"
    assert finding.suggestion == "return one gradient per input, in order, None where not differentiable"


@every_main_op
def test_too_many_gradients_are_counted(op: Op) -> None:
    inputs = draw_inputs(op.specs, 0)
    report = gl.check(copy_of(op, lambda *args, **options: (*op.backward(*args, **options), None)), *inputs, probes=())
    finding, n = the_finding(report), len(inputs)
    assert report.verdict == "fail"
    assert finding.message == f"backward returned {n + 1} gradients for {n} inputs"


def test_nothing_returned_is_a_missing_gradient() -> None:
    report = gl.check(copy_of(ops.relu, lambda grad_output, output, x: None), torch.tensor([1.0, 2.0]), probes=())
    assert report.verdict == "fail"
    assert errors(report) == {"x": "missing-gradient"}


def test_number_in_place_of_a_gradient_is_refused() -> None:
    report = gl.check(copy_of(ops.relu, lambda grad_output, output, x: (1.0,)), torch.tensor([1.0, 2.0]), probes=())
    assert report.verdict == "fail"
    assert the_finding(report).message == "gradient of input 0 'x' is a float, expected a tensor"


@every_main_op
def test_not_a_number_is_non_finite(op: Op) -> None:
    inputs = draw_inputs(op.specs, 0)
    report = gl.check(copy_of(op, scaled(op, 0, lambda *inputs: float("nan"))), *inputs, probes=())
    assert report.verdict == "fail"
    assert errors(report) == {report.gradients[0].name: "non-finite"}


def test_zero_over_zero_names_its_position() -> None:
    quotient = copy_of(ops.relu, lambda grad_output, output, x: (grad_output * output / x,))
    report = gl.check(quotient, torch.tensor([[1.0, -1.0], [0.0, 2.0]]), probes=())
    assert errors(report) == {"x": "non-finite"}
    assert report.gradients[0].worst_index == (1, 0)
    assert report.gradients[0].wrong_elements == 1


def test_value_beyond_the_one_sided_derivatives_is_outside() -> None:
    at_zero = copy_of(ops.relu, lambda grad_output, output, x: (torch.where(x >= 0, 1 + (x == 0), 0) * grad_output,))
    x = torch.tensor([[1.0, -1.0, 0.5], [0.0, 2.0, -2.0]], dtype=torch.float64)
    report = gl.check(at_zero, x, probes=())
    assert report.verdict == "fail"
    assert errors(report) == {"x": "outside-subdifferential"}


def test_gradient_wrong_beside_a_kink_is_caught() -> None:
    doubled = Op(lambda x: x.clamp(-1, 1), lambda g, y, x: (2 * g * ((x >= -1) & (x <= 1)),), name="hardtanh")
    generator = torch.Generator().manual_seed(0)
    for seed in range(20):
        x = torch.randint(-2, 3, (4, 4), generator=generator).double()
        assert gl.check(doubled, x, probes=(), seed=seed).verdict == "fail", x


def test_writing_to_an_input_is_found() -> None:
    def rule(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (x.copy_(torch.where(x > 0, grad_output, 0)).clone(),)

    report = gl.check(copy_of(ops.relu, rule), torch.tensor([1.0, -2.0]), probes=())
    assert report.verdict == "fail"
    assert the_finding(report).cause == "mutates-input"
    assert the_finding(report).message == "input 0 'x' was written to"


def test_writing_to_the_upstream_is_found() -> None:
    def rule(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (grad_output.mul_(x > 0),)

    report = gl.check(copy_of(ops.relu, rule), torch.tensor([1.0, -2.0]), probes=())
    assert report.verdict == "fail"
    assert the_finding(report).cause == "mutates-grad-output"
    assert the_finding(report).message == "grad_output was written to"


@pytest.mark.parametrize("role", ["forward", "backward"])
def test_exception_of_the_user_is_a_finding_with_its_traceback(role: str) -> None:
    def broken(*args: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError("no rows")

    op = Op(broken if role == "forward" else torch.relu, broken, name="broken")
    report = gl.check(op, torch.ones(2), probes=())
    finding = the_finding(report)
    assert report.verdict == "fail"
    assert (finding.cause, finding.message, finding.explanation) == (
        "raises",
        f"{role} raised ZeroDivisionError",
        "no rows",
    )
    assert finding.traceback is not None
    assert 'raise ZeroDivisionError("no rows")' in finding.traceback


@examples(20)
@given(seed=st.integers(0, 2**32 - 1), total=st.sampled_from([0.5, 2.0, 3.0]))
def test_weights_that_do_not_sum_to_one_show_a_forgotten_sum(seed: int, total: float) -> None:
    logits, target = draw_inputs(ops.softmax_cross_entropy.signatures[1], seed, {"b": (4,), "c": (5,)})
    wrong = losses.NOT_SUMMING_TO_ONE.op
    assert gl.check(wrong, logits, target, probes=()).verdict == "pass"
    report = gl.check(wrong, logits, total * target, probes=())
    assert failed(report) == {"logits"}


@pytest.mark.drawn
@pytest.mark.parametrize("twin", TWINS, ids=str)
def test_sound_twin_passes(twin: Twin) -> None:
    assert_passes_over_calls(twin.op, 6, 240)


@pytest.mark.drawn
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_sound_op_of_a_user_passes(op: Op) -> None:
    assert_passes_over_calls(op, 5, 200)


def test_zeros_and_none_are_the_same_where_nothing_depends_on_an_input() -> None:
    def second_is_unused(x: torch.Tensor, unused: torch.Tensor) -> torch.Tensor:
        return 2 * x

    for nothing in (None, torch.zeros(3)):
        op = Op(second_is_unused, lambda g, y, x, unused, nothing=nothing: (2 * g, nothing))
        report = gl.check(op, torch.ones(2), torch.ones(3), probes=())
        assert report.verdict == "pass", report
        assert [gradient.verdict for gradient in report.gradients] == ["pass", "pass"]


@pytest.mark.parametrize("value", [0.0, 0.25, 0.5, 1.0])
def test_any_value_between_the_one_sided_derivatives_passes(value: float) -> None:
    op = copy_of(ops.relu, lambda g, y, x: (g * torch.heaviside(x, torch.full_like(x, value)),))
    x = torch.tensor([[0.0, 1.0, -1.0], [2.0, 0.0, 0.0]], dtype=torch.float64)
    report = gl.check(op, x, probes=())
    assert report.verdict == "pass", report
    notes: list[Any] = [(finding.cause, finding.severity) for finding in report.findings]
    assert notes in ([], [("convention", "note")])
