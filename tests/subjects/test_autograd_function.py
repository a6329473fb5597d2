"""`torch.autograd.Function`, written in the ways that people write them: each sound, and with a mistake."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

import gradcheck_lab as gl
from gradcheck_lab.subjects.autograd_function import adapt_autograd_function
from gradcheck_lab.subjects.forward_context import ForwardContext
from tests.subjects.functions import NUMERIC, RECTANGLE, TABLE, normal
from tests.subjects.functions.activations import (
    BiasGeluUnsummed,
    DropoutUnscaled,
    DropoutWithMask,
    Gelu,
    RoundStraightThrough,
    Swish,
)
from tests.subjects.functions.contract import MatmulWhereNeeded, ScaleInPlace
from tests.subjects.functions.numeric import Entmax15ByBisection, Entmax15WithoutMean

# mypy: disable-error-code="override"


def causes(report: gl.Report) -> list[tuple[str | None, str]]:
    return [(finding.gradient, finding.cause) for finding in report.findings if finding.severity == "error"]


rows = pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0].__name__)


@rows
def test_sound_function_passes(row: Any) -> None:
    function, _, inputs, _, _ = row
    report = gl.check(function, *inputs)
    assert report.verdict == "pass", report
    assert not [finding for finding in report.findings if finding.severity != "note"], report
    assert report.kind == "function"


@rows
def test_wrong_function_fails_at_the_wrong_input(row: Any) -> None:
    _, function, inputs, gradient, cause = row
    report = gl.check(function.apply, *inputs)
    assert report.verdict == "fail"
    found = set(causes(report))
    assert {name for name, _ in found} == {gradient}, report
    # probes may know a better cause than the comparison alone
    assert (gradient, cause) in found or cause == "wrong-value", report


@rows
def test_comparison_alone_stays_within_its_evaluations(row: Any) -> None:
    report = gl.check(row[0], *row[2], probes=())
    assert report.evaluations["forward"] <= 4
    assert report.evaluations["backward"] <= 2


@rows
def test_inputs_are_left_as_they_were(row: Any) -> None:
    inputs = tuple(value.clone().requires_grad_(value.is_floating_point()) if isinstance(value, Tensor) else value
                   for value in row[2])  # fmt: skip
    gl.check(row[0], *inputs)
    for before, after in zip(row[2], inputs, strict=True):
        if isinstance(after, Tensor):
            assert torch.equal(before, after)
            assert after.grad is None


numeric = pytest.mark.parametrize("row", NUMERIC, ids=lambda row: row[0].__name__)


@numeric
def test_function_that_autograd_cannot_follow_passes(row: Any) -> None:
    report = gl.check(row[0], *row[2])
    assert report.verdict == "pass", report


@numeric
def test_wrong_function_that_autograd_cannot_follow_fails(row: Any) -> None:
    report = gl.check(row[1], *row[2])
    assert report.verdict == "fail", report
    assert {name for name, _ in causes(report)} == {row[3]}, report


def entmax15_by_sorting(z: Tensor) -> Tensor:
    """Peters, Niculae and Martins, "Sparse sequence-to-sequence models" (2019), algorithm 2."""
    ordered = (z / 2).sort(-1, descending=True).values
    rank = torch.arange(1, z.shape[-1] + 1, dtype=z.dtype)
    mean, square = ordered.cumsum(-1) / rank, (ordered**2).cumsum(-1) / rank
    spread = (1 - rank * (square - mean**2)) / rank
    thresholds = mean - torch.where(spread > 0, spread, torch.ones_like(spread)).sqrt() * (spread > 0)
    size = (thresholds <= ordered).sum(-1, keepdim=True)
    return (z / 2 - thresholds.gather(-1, size - 1)).clamp(min=0) ** 2


def test_bisection_that_autograd_follows_wrongly_is_decided_by_numbers() -> None:
    z = 2 * normal(4, 5)
    report = gl.check(Entmax15ByBisection, z)
    assert report.verdict == "pass", report
    (note,) = [finding for finding in report.findings if finding.cause == "oracle-disagrees"]
    assert note.explanation == "manual and numeric agree, so numbers decide"
    assert report.oracle == "central differences (autograd cannot follow Entmax15ByBisection: numbers contradict it)"
    assert gl.check(Entmax15ByBisection, z, reference=entmax15_by_sorting).verdict == "pass"


@pytest.mark.thorough
def test_wrong_backward_of_a_bisection_fails() -> None:
    z = 2 * normal(4, 5)
    report = gl.check(Entmax15WithoutMean, z)
    assert report.verdict == "fail"
    (error,) = [finding for finding in report.findings if finding.severity == "error"]
    assert "central differences" in error.where, "the value that numbers give is the one to show, not autograd's"
    assert gl.check(Entmax15WithoutMean, z, reference=entmax15_by_sorting).verdict == "fail"


def test_scipy_inside_a_function_passes() -> None:
    special = pytest.importorskip("scipy.special")

    class Expit(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            output = torch.as_tensor(special.expit(x.detach().numpy()))
            ctx.save_for_backward(output)
            return output

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (output,) = ctx.saved_tensors
            return grad_output * output * (1 - output)

    assert gl.check(Expit, RECTANGLE).verdict == "pass"


def test_straight_through_rounding_fails_and_is_accepted_when_allowed() -> None:
    report = gl.check(RoundStraightThrough, RECTANGLE)
    assert report.verdict == "fail"
    found = {cause for _, cause in causes(report)}
    assert gl.check(RoundStraightThrough, RECTANGLE, allow=found).verdict == "pass"


def test_straight_through_rounding_passes_against_a_reference_that_states_it() -> None:
    report = gl.check(RoundStraightThrough, RECTANGLE, reference=lambda x: x + (torch.round(x) - x).detach())
    assert report.verdict == "pass", report


def test_none_as_an_input_passes() -> None:
    assert gl.check(MatmulWhereNeeded, RECTANGLE, normal(3, 2), None).verdict == "pass"


def test_options_are_placed_by_the_names_of_the_forward() -> None:
    assert gl.check(Gelu, RECTANGLE, options={"approximate": "tanh"}).verdict == "pass"
    subject = adapt_autograd_function(MatmulWhereNeeded, (RECTANGLE,), {"b": normal(3, 2)})
    assert subject is not None
    assert subject.names == ("a", "b")


def test_reference_is_called_with_the_options_by_keyword() -> None:
    report = gl.check(Gelu, RECTANGLE, options={"approximate": "tanh"}, reference=F.gelu)
    assert report.verdict == "pass", report


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ((RECTANGLE,), {"scale": 2}, "Swish has no option 'scale'; it accepts beta"),
        ((RECTANGLE, 1.0), {"beta": 2}, "Swish has no option 'beta'; it accepts none"),
        ((RECTANGLE, 1.0, 2.0), {}, "Swish takes 2 inputs (x, beta) and 3 were given"),
    ],
)
def test_call_that_does_not_fit_is_refused(inputs: Any, options: Any, message: str) -> None:
    with pytest.raises(gl.InvalidArgument) as caught:
        gl.check(Swish, *inputs, options=options)
    assert str(caught.value) == message


def test_missing_argument_is_refused() -> None:
    with pytest.raises(gl.InvalidArgument) as caught:
        gl.check(DropoutWithMask, RECTANGLE)
    assert str(caught.value) == "DropoutWithMask needs 'p', which was not given; pass it as input 1 or in options="


def test_function_without_backward_is_refused() -> None:
    class Forward(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 2

    with pytest.raises(gl.InvalidArgument) as caught:
        gl.check(Forward, RECTANGLE)
    assert str(caught.value) == ("Forward has no backward; define the static method backward(ctx, *grad_outputs) on it")


def test_vjp_counts_as_the_backward() -> None:
    class Square(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def vjp(ctx: Any, grad_output: Tensor) -> Tensor:
            return 2 * ctx.saved_tensors[0] * grad_output

    assert gl.check(Square, RECTANGLE).verdict == "pass"


def raw_and_engine(function: type[Function], *inputs: Any) -> tuple[Any, Any]:
    subject = adapt_autograd_function(function, inputs, {})
    assert subject is not None
    recording = subject.record(subject.inputs, {})
    assert recording.engine is not None
    upstream = tuple(torch.ones_like(output) for output in recording.outputs)
    return recording.backward(upstream).returned, recording.engine(upstream)


def test_raw_gradient_is_seen_before_the_engine_sums_it() -> None:
    raw, engine = raw_and_engine(BiasGeluUnsummed, RECTANGLE, normal(3, seed=1))
    assert raw[1].shape == (4, 3)
    assert engine[1].shape == (3,)


def test_gradient_that_the_engine_sums_is_a_note() -> None:
    report = gl.check(BiasGeluUnsummed, RECTANGLE, normal(3, seed=1))
    assert report.verdict == "pass"
    assert [(f.cause, f.severity, f.gradient, f.message) for f in report.findings] == [
        ("engine-reduced", "note", "bias", "gradient of input 1 'bias' has shape (4, 3), expected (3,)")
    ]


def test_dropout_in_float32_is_compared_under_the_same_mask() -> None:
    x = normal(40, 3).float()
    sound, wrong = gl.check(DropoutWithMask, x, 0.25), gl.check(DropoutUnscaled, x, 0.25)
    assert (sound.verdict, wrong.verdict) == ("pass", "fail")
    assert float(sound.sensitivity["x"] or 1) < 1e-3


def test_raw_gradient_is_seen_before_the_engine_casts_it() -> None:
    class Wide(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            return 2 * grad_output.double()

    raw, engine = raw_and_engine(Wide, RECTANGLE.float())
    assert raw[0].dtype == torch.float64
    assert engine[0].dtype == torch.float32


def test_trailing_nones_are_ignored_as_torch_does() -> None:
    raw, engine = raw_and_engine(Swish, RECTANGLE)
    assert (len(raw), len(engine)) == (1, 1)


def test_too_few_gradients_are_a_finding() -> None:
    class Product(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
            ctx.factor = factor
            return x * factor

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            return grad_output * ctx.factor

    report = gl.check(Product, RECTANGLE, 3.0)
    assert report.verdict == "fail"
    assert [(f.cause, f.message) for f in report.findings] == [("gradient-count", "backward returned 1 gradients for 2 inputs")]


def test_gradient_that_the_engine_refuses_is_a_finding() -> None:
    class Product(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
            ctx.factor = factor
            return x * factor

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            return grad_output * ctx.factor, grad_output.sum()  # torch wants None for what is no tensor

    assert gl.check(Product, RECTANGLE, 3.0).verdict == "fail"


def test_gradients_in_a_list_are_a_finding() -> None:
    class Double(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            return [2 * grad_output]

    report = gl.check(Double, RECTANGLE)
    assert report.findings[0].message == "gradient of input 0 'x' is a list, expected a tensor"


@pytest.mark.parametrize("outputs", ["marked", "list"])
def test_backward_that_is_never_run_is_disconnected(outputs: str) -> None:
    class Halve(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Any:
            output = x / 2
            if outputs == "list":
                return [output]
            ctx.mark_non_differentiable(output)
            return output

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            return grad_output / 2

    subject = adapt_autograd_function(Halve, (RECTANGLE,), {})
    assert subject is not None
    (finding,) = subject.record((RECTANGLE,), {}).findings
    explanation, suggestion = {
        "marked": (
            "no output leads back to it: each is marked non-differentiable, or was computed apart from the graph",
            "call apply on the inputs themselves, and mark_non_differentiable only outputs that have no gradient",
        ),
        "list": (
            "forward returned a list, and apply hands on without a gradient whatever is no tensor or tuple",
            "return a tuple from forward",
        ),
    }[outputs]
    assert (finding.cause, finding.message) == ("disconnected", "backward of Halve was never run")
    assert (finding.explanation, finding.suggestion) == (explanation, suggestion)
    report = gl.check(Halve, RECTANGLE)
    assert report.verdict == "fail"
    assert "disconnected" in {cause for _, cause in causes(report)}


def test_undeclared_write_is_a_finding_and_a_declared_one_is_not() -> None:
    class Clamp(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, bound: Tensor) -> Tensor:
            bound.abs_()
            ctx.save_for_backward(x > bound)
            return torch.where(x > bound, x, torch.zeros_like(x))

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            return grad_output * ctx.saved_tensors[0], None

    report = gl.check(Clamp, RECTANGLE, -torch.ones(3, dtype=torch.float64))
    assert [finding.message for finding in report.findings if finding.cause == "mutates-input"] == [
        "input 1 'bound' was written to"
    ]
    assert not [finding for finding in gl.check(ScaleInPlace, RECTANGLE, 3.0).findings if finding.severity == "error"]


def test_backward_that_writes_its_upstream_is_seen() -> None:
    class Double(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            return grad_output.mul_(2)

    report = gl.check(Double, RECTANGLE)
    assert "mutates-grad-output" in {cause for _, cause in causes(report)}


def test_exception_in_backward_is_a_finding_with_the_users_line() -> None:
    class Raises(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            raise KeyError("scale")

    report = gl.check(Raises, RECTANGLE)
    (finding,) = report.findings
    assert (finding.cause, finding.message) == ("raises", "backward raised KeyError")
    assert 'raise KeyError("scale")' in str(finding.traceback)


def test_marked_inputs_alone_need_a_gradient() -> None:
    subject = adapt_autograd_function(MatmulWhereNeeded, (RECTANGLE, normal(3, 2), None), {})
    assert subject is not None
    recording = subject.record((RECTANGLE.clone().requires_grad_(), normal(3, 2), None), {})
    first, second, _ = recording.backward((torch.ones(4, 2, dtype=torch.float64),)).returned
    assert first is not None
    assert second is None


def test_stand_in_keeps_what_a_forward_gives_it() -> None:
    ctx: Any = ForwardContext((True,))
    a, b = torch.ones(2, requires_grad=True) * 2, torch.ones(2, requires_grad=True) * 3
    ctx.save_for_backward(a, None)
    ctx.mark_non_differentiable(b)
    ctx.anything = 3
    assert ctx.saved_tensors == (a, None)
    first, second = ctx.finish((a, b))
    assert first is a
    assert not second.requires_grad


class TanhInNumpy(Function):
    factor = 1.0

    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        output = torch.from_numpy(np.tanh(x.detach().numpy()))
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx, grad_output):  # type: ignore[no-untyped-def]
        (output,) = ctx.saved_tensors
        return TanhInNumpy.factor * grad_output * (1 - output * output)


@pytest.mark.parametrize(("factor", "cause"), [(1.0, None), (0.0, "zero-gradient"), (3.0, "constant-factor"), (-1.0, "sign")])
def test_numeric_oracle_tells_right_from_wrong(factor: float, cause: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TanhInNumpy, "factor", factor)
    report = gl.check(TanhInNumpy, normal(4, 5))
    assert report.oracle.startswith("complex step")
    assert [finding.cause for finding in report.findings if finding.severity == "error"] == ([cause] if cause else [])
    assert (report.verdict == "pass") == (cause is None)
    sensitivity = report.sensitivity["x"]
    assert cause is not None or (sensitivity is not None and sensitivity < 1e-8)


class DropoutByDtype(Function):
    @staticmethod
    def forward(ctx, x, p):  # type: ignore[no-untyped-def]
        mask = (torch.rand_like(x) >= p).to(x.dtype) / (1 - p)
        ctx.save_for_backward(mask)
        return x * mask

    @staticmethod
    def backward(ctx, grad_output):  # type: ignore[no-untyped-def]
        return grad_output * ctx.saved_tensors[0], None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_dropout_that_draws_in_the_dtype_of_its_input_passes(dtype: torch.dtype) -> None:
    report = gl.check(DropoutByDtype, normal(6, 5).to(dtype), 0.4)
    assert report.verdict == "pass", report
    assert {(finding.cause, finding.severity) for finding in report.findings} == {("stochastic", "note")}


class ScaledByClass(Function):
    """A family of Functions that differ by a number of the class: forward and backward are class methods."""

    factor = 3.0

    @classmethod
    def forward(cls, ctx: Any, x: Tensor) -> Tensor:
        return cls.factor * x.clamp_min(0).pow(2)

    @classmethod
    def backward(cls, ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * cls.factor * x.clamp_min(0) * grad_output


class ScaledByClassSaving(ScaledByClass):
    @classmethod
    def forward(cls, ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return super().forward(ctx, x)


class ScaledByClassWrong(ScaledByClassSaving):
    @classmethod
    def backward(cls, ctx: Any, grad_output: Tensor) -> Tensor:
        return super().backward(ctx, grad_output) / cls.factor


def test_class_methods_are_called_as_torch_calls_them() -> None:
    report = gl.check(ScaledByClassSaving, normal(4, 3))
    assert report.verdict == "pass", report
    wrong = gl.check(ScaledByClassWrong, normal(4, 3))
    assert causes(wrong) == [("x", "constant-factor")], wrong


class Threshold(Function):
    """A step that comes out in float32 whatever goes in, with the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return (x > 0).float()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output.clone()


class ThresholdHalved(Threshold):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output / 2


def through_threshold(x: Tensor) -> Tensor:
    return (x > 0).float() + (x - x.detach()).float()


class SineInFloat32(Function):
    """A float64 sine, whose gradient is of float32: its digits are lost."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return (grad_output * x.cos()).float()


def test_a_gradient_in_the_dtype_of_a_narrower_output_has_all_its_digits() -> None:
    report = gl.check(Threshold, normal(4, 3), reference=through_threshold)
    assert report.verdict == "pass", report
    assert "torch's engine casts it to the right value" in {f.explanation for f in report.findings}
    assert gl.check(ThresholdHalved, normal(4, 3), reference=through_threshold, probes=()).verdict == "fail"
    assert causes(gl.check(SineInFloat32, normal(4, 3), probes=())) == [("x", "wrong-dtype")]
