"""Second order: mistakes are named, an error when asked for and else a warning; sound backwards and honest refusals are not."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.calls.case import Case
from gradcheck_lab.report import Report
from gradcheck_lab.rules.op import Op
from gradcheck_lab.strategies import calls
from tests.lanes import examples
from tests.mistakes.row import Mistake, normal
from tests.mistakes.second_order import ASKED_FOR, FIRST_ORDER_IS_ENOUGH, TanhOfIntermediate, function_of, product
from tests.sound import DTYPES

PROBE = {"double_backward"}
EVERY = tuple(op for family in ops.FAMILIES.values() for op in family)
FLOATING = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

every_op = pytest.mark.parametrize("op", EVERY, ids=lambda op: op.name)
shapes = st.lists(st.integers(1, 4), max_size=3)


def tried(report: Report) -> list[tuple[str, str]]:
    return [(f.cause, f.severity) for f in report.findings if f.probe == "double_backward"]


def second_order(report: Report) -> list[str]:
    return [gradient.verdict for gradient in report.gradients if gradient.name.startswith("d grad")]


@pytest.mark.parametrize("mistake", FIRST_ORDER_IS_ENOUGH, ids=lambda mistake: mistake.name)
def test_mistake_is_a_warning_when_first_derivatives_were_asked_for(mistake: Mistake) -> None:
    wrong, sound, inputs, options = mistake.make()
    report = gl.check(wrong, *inputs, options=options, probes=PROBE)
    assert report.verdict == "pass"
    assert set(tried(report)) == {("double-backward", "warning")}, report
    assert all(mistake.cause in finding.message for finding in report.findings), report
    assert gl.check(sound, *inputs, options=options, probes=PROBE).findings == ()


@pytest.mark.parametrize("mistake", [*FIRST_ORDER_IS_ENOUGH, *ASKED_FOR], ids=lambda mistake: mistake.name)
def test_mistake_is_an_error_when_second_derivatives_were_asked_for(mistake: Mistake) -> None:
    wrong, sound, inputs, options = mistake.make()
    report = gl.check(wrong, *inputs, options=options, order=2, probes=())
    assert report.verdict == "fail"
    assert set(tried(report)) == {("double-backward", "error")}, report
    assert all(mistake.cause in finding.message for finding in report.findings), report
    twin = gl.check(sound, *inputs, options=options, order=2, probes=())
    assert (twin.verdict, twin.findings) == ("pass", ()), twin
    assert gl.check(wrong, *inputs, options=options, order=2, probes=(), allow={"double-backward"}).verdict == "pass"


@pytest.mark.parametrize("mistake", ASKED_FOR, ids=lambda mistake: mistake.name)
def test_ops_hear_nothing_of_second_order_unasked(mistake: Mistake) -> None:
    wrong, _, inputs, options = mistake.make()
    bare, probed = (gl.check(wrong, *inputs, options=options, probes=probes) for probes in ({"indices"}, {"indices", *PROBE}))
    assert probed.findings == ()
    assert probed.evaluations == bare.evaluations


def power(exponent: int, *, saved: bool) -> type[Function]:
    """x to a power; its slope is `saved` by forward, or computed in backward."""

    class Power(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(exponent * x ** (exponent - 1) if saved else x)
            return x**exponent

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:  # type: ignore[override]
            (kept,) = ctx.saved_tensors
            return grad_output * (kept if saved else exponent * kept ** (exponent - 1))

    return Power


@examples(30, 1200)
@given(
    shape=shapes,
    dtype=st.sampled_from(FLOATING),
    exponent=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1e-3, 1.0, 30.0]),
)
def test_saved_slope_is_found_wherever_it_has_a_derivative(
    shape: list[int], dtype: torch.dtype, exponent: int, seed: int, scale: float
) -> None:
    x = (scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))).clamp(-9, 9).to(dtype)
    sound = gl.check(power(exponent, saved=False), x, order=2, probes=(), seed=seed)
    assert (sound.verdict, sound.findings) == ("pass", ()), sound
    wrong = gl.check(power(exponent, saved=True), x, order=2, probes=(), seed=seed)
    bent = exponent > 1 and bool((x.double() ** (exponent - 2) != 0).any())
    assert tried(wrong) == ([("double-backward", "error")] if bent else []), wrong


@pytest.mark.drawn
@every_op
def test_every_op_passes_at_second_order(op: Op) -> None:
    compared = 0

    @examples(4, 160)
    @given(case=calls(op), dtype=st.sampled_from(DTYPES), seed=st.integers(0, 2**32 - 1))
    def passes(case: Case, dtype: torch.dtype, seed: int) -> None:
        nonlocal compared
        inputs = [v.to(dtype) if isinstance(v, Tensor) and v.is_floating_point() else v for v in case.inputs]
        first, report = (gl.check(op, *inputs, options=case.options, order=n, probes=(), seed=seed) for n in (1, 2))
        undefined = report.verdict == "inconclusive" and "is not finite in any element" in str(report)  # as of a norm at 0
        assert report.verdict == first.verdict or undefined, report
        assert not tried(report), report
        compared += len(second_order(report))

    passes()
    assert compared, f"no second-order gradient of {op.name} was compared"


def unary(forward: Callable[[Tensor], Tensor], rule: Callable[[Tensor, Tensor, Tensor], Any]) -> type[Function]:
    """A Function that saves its input and output; `rule(g, y, x)`."""

    class Unary(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            y = forward(x)
            ctx.save_for_backward(y, x)
            return y

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:  # type: ignore[override]
            return rule(grad_output, *ctx.saved_tensors)

    return Unary


def tie_split(g: Tensor, y: Tensor, x: Tensor) -> Tensor:
    hit = (x == y.unsqueeze(-1)).to(g.dtype)
    return hit * (g / hit.sum(-1)).unsqueeze(-1)


def normalise(x: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()


def normalise_rule(g: Tensor, y: Tensor, x: Tensor) -> Tensor:
    spread = (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    return (g - g.mean(-1, keepdim=True) - y * (g * y).mean(-1, keepdim=True)) / spread


KINKS = torch.tensor([[-1.0, 0.0, 2.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
HILBERT = 1 / (torch.arange(6).double().unsqueeze(1) + torch.arange(6) + 1)
RECIPROCAL = unary(lambda x: 1 / x, lambda g, y, x: -g * y * y)
TANH = unary(torch.tanh, lambda g, y, x: g * (1 - y * y))
SOFTMAX = unary(lambda x: x.softmax(-1), lambda g, y, x: y * (g - (g * y).sum(-1, keepdim=True)))
NORMALISE = unary(normalise, normalise_rule)
SOUND = {
    "relu": (unary(torch.relu, lambda g, y, x: g * (x > 0)), KINKS),
    "relu-other-convention": (unary(lambda x: x.clamp(min=0), lambda g, y, x: g * (x > 0)), KINKS),
    "clamp": (unary(lambda x: x.clamp(-1, 1), lambda g, y, x: g * ((x >= -1) & (x <= 1))), KINKS),
    "elu-from-the-left": (unary(functional.elu, lambda g, y, x: torch.where(x > 0, g, g * x.clamp(max=0).exp())), 0 * KINKS),
    "abs": (unary(torch.abs, lambda g, y, x: g * x.sign()), KINKS),
    "abs-quotient": (unary(torch.abs, lambda g, y, x: g * x / y), normal(4, 3)),
    "abs-quotient-guarded": (unary(torch.abs, lambda g, y, x: g * torch.where(x == 0, 0.0, x / y)), KINKS),
    "amax-ties": (unary(lambda x: x.amax(-1), tie_split), torch.tensor([[1.0, 1.0, 0.0], [2.0, 2.0, 2.0]]).double()),
    "square-of-relu": (unary(lambda x: x.relu() ** 2, lambda g, y, x: 2 * g * x.clamp(min=0)), KINKS),
    "reciprocal-near-0": (RECIPROCAL, 1e-7 * normal(4, 3)),
    "reciprocal-of-all-sizes": (RECIPROCAL, torch.tensor([1e-8, 1.0, 1e8, 3.0], dtype=torch.float64)),
    "reciprocal-rewritten": (unary(lambda x: 1 / x, lambda g, y, x: -g / x**2), 1e-7 * normal(4, 3)),
    "log-near-0": (unary(torch.log, lambda g, y, x: g / x), torch.tensor([1e-7, 1.0, 5.0]).double()),
    "sqrt-near-0": (unary(torch.sqrt, lambda g, y, x: g / (2 * y)), torch.tensor([1e-8, 1.0, 5.0]).double()),
    "saturated-tanh": (TANH, 20 * normal(4, 3)),
    "saturated-tanh-rewritten": (unary(torch.tanh, lambda g, y, x: g / torch.cosh(x) ** 2), 20 * normal(4, 3)),
    "softmax-of-large-scores": (SOFTMAX, 100 * normal(4, 3)),
    "normalised-constant-rows": (NORMALISE, torch.ones(4, 5).double()),
    "normalised-nearly-constant-rows": (NORMALISE, 1 + 1e-6 * normal(4, 5)),
    "hilbert": (unary(torch.linalg.inv, lambda g, y, x: -y.mH @ g @ y.mH), HILBERT),
    "complex": (unary(torch.linalg.inv, lambda g, y, x: -y.mH @ g @ y.mH), torch.complex(normal(3, 3), normal(3, 3, seed=1))),
    "float32-inside": (
        unary(lambda x: x.float().tanh().to(x), lambda g, y, x: (g.float() * (1 - x.float().tanh() ** 2)).to(x)),
        normal(20, 10),
    ),
    "identity": (unary(torch.clone, lambda g, y, x: g), normal(4, 3)),
    "scaled": (unary(lambda x: 3 * x, lambda g, y, x: 3 * g), normal(4, 3)),
    "0-d": (TANH, normal(1)[0]),
    "expanded": (TANH, normal(1, 3).expand(4, 3)),
}


def dtypes_of_sound() -> Iterator[Any]:
    """Each function in float64 and by turns in one narrower dtype; the thorough lane has the others."""
    for turn, (name, (_, x)) in enumerate(SOUND.items()):
        for index, dtype in enumerate(FLOATING):
            if index and (x.is_complex() or name == "hilbert"):
                continue  # of one dtype
            marks = [] if index in (0, turn % 3 + 1) else [pytest.mark.thorough]
            yield pytest.param(name, dtype, marks=marks, id=f"{name}-{dtype}".replace("torch.", ""))


@pytest.mark.parametrize(("name", "dtype"), list(dtypes_of_sound()))
def test_sound_second_derivative_is_not_flagged(name: str, dtype: torch.dtype) -> None:
    function, x = SOUND[name]
    x = x if x.is_complex() else x.to(dtype)
    if not bool(torch.isfinite(x).all()):
        x = x.clamp(max=torch.finfo(dtype).max)
    for order in (1, 2):
        report = gl.check(function, x, order=order, probes=PROBE)
        assert [finding for finding in report.findings if finding.probe == "double_backward"] == [], report
        assert "fail" not in second_order(report)


def test_root_that_is_nan_only_when_differentiated_again_is_found() -> None:
    rooted = unary(lambda x: x.clamp(min=0) ** 2, lambda g, y, x: 2 * g * y.sqrt())
    x = torch.tensor([[-1.0, 2.0], [3.0, -0.5]], dtype=torch.float64)
    (finding,) = gl.check(rooted, x, order=2, probes=()).findings
    assert finding.message == "second derivative d grad_x / d x is not finite in 2 of 4 elements"
    sound = unary(lambda x: x.clamp(min=0) ** 2, lambda g, y, x: 2 * g * x.clamp(min=0))
    assert gl.check(sound, x, order=2, probes=()).verdict == "pass"


class Refusing(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.exp()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:  # type: ignore[override]
        return grad_output * ctx.saved_tensors[0].exp()


class Once(Refusing):
    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> Any:  # type: ignore[override]
        return grad_output * ctx.saved_tensors[0].exp()


class ThroughNumpy(Refusing):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:  # type: ignore[override]
        return torch.from_numpy(grad_output.numpy() * ctx.saved_tensors[0].exp().numpy())


class NotWritten(Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor) -> Tensor:
        return g * x.exp()

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> Any:  # type: ignore[override]
        raise NotImplementedError("no third derivative")


class Broken(NotWritten):
    @staticmethod
    def backward(ctx: Any, v: Tensor) -> Any:  # type: ignore[override]
        return [][1]


REFUSALS = {
    "once-differentiable": (Once, "backward is marked @once_differentiable"),
    "numpy": (ThroughNumpy, "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."),
    "not-implemented": (function_of(torch.exp, NotWritten.apply), "no third derivative"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_honest_refusal_is_a_note_and_never_a_pass_when_asked_for(name: str) -> None:
    function, words = REFUSALS[name]
    report = gl.check(function, normal(4, 3), probes=PROBE)
    assert report.verdict == "pass"
    assert [(f.cause, f.severity, f.explanation) for f in report.findings] == [("unsupported", "note", words)]
    asked = gl.check(function, normal(4, 3), order=2, probes=())
    assert asked.verdict == "inconclusive"
    assert asked.reasons == (f"the second derivative was not compared: {words}",)
    assert tried(asked) == [("unsupported", "note")]


@pytest.mark.parametrize(("order", "severity"), [(1, "warning"), (2, "error")])
def test_exception_in_a_second_derivative_is_no_refusal(order: int, severity: str) -> None:
    report = gl.check(function_of(torch.exp, Broken.apply), normal(4, 3), order=order, probes=PROBE)
    (finding,) = report.findings
    assert (finding.cause, finding.severity, finding.message, finding.explanation) == (
        "double-backward", severity, "second derivative raised IndexError", "list index out of range",
    )  # fmt: skip
    assert "return [][1]" in str(finding.traceback)


class Envelope(Function):
    """min over z of (z - x)² + z²: forward takes the minimiser for a constant, which is right for one derivative only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        z = (x / 2).detach()
        return (z - x) ** 2 + z**2

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:  # type: ignore[override]
        return grad_output * ctx.saved_tensors[0]


class EnvelopeTwice(Envelope):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return grad_output * 2 * (x - (x / 2).detach())


def test_forward_that_detaches_what_only_second_order_needs_does_not_accuse() -> None:
    for order in (1, 2):
        report = gl.check(Envelope, normal(4, 3), order=order, probes=PROBE)
        assert (report.verdict, report.findings) == ("pass", ()), report


def test_numbers_decide_where_forward_and_backward_detach_the_same() -> None:
    report = gl.check(EnvelopeTwice, normal(4, 3), order=2, probes=())
    assert report.verdict == "fail"
    assert tried(report) == [("double-backward", "error")]


def in_float32_only(inner: type[Function]) -> type[Function]:
    class Narrow(inner):  # type: ignore[valid-type, misc]
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            if x.dtype != torch.float32:
                raise TypeError("this kernel takes float32")
            return inner.forward(ctx, x)  # type: ignore[no-any-return]

    return Narrow


@examples(20)
@given(shape=st.lists(st.integers(1, 4), max_size=3), exponent=st.integers(2, 4), seed=st.integers(0, 2**32 - 1))
def test_kernel_of_one_narrow_dtype_is_judged_in_that(shape: list[int], exponent: int, seed: int) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    sound, wrong = (gl.check(in_float32_only(power(exponent, saved=s)), x, order=2, probes=()) for s in (False, True))
    assert (sound.verdict, sound.findings) == ("pass", ()), sound
    assert tried(wrong) == [("double-backward", "error")], wrong


def test_layer_is_inconclusive() -> None:
    class Square:
        def forward(self, x: Tensor) -> Tensor:
            self.x = x
            return x * x

        def backward(self, grad_output: Tensor) -> Tensor:
            return 2 * grad_output * self.x

    report = gl.check(Square(), normal(4, 3), order=2)
    assert report.verdict == "inconclusive"
    assert report.reasons == (
        "the second derivative was not compared: torch's engine does not call the backward of Square; write it as a Function",
    )
    assert gl.check(Square(), normal(4, 3)).findings == ()


def test_wrong_gradient_is_not_reported_twice() -> None:
    wrong = function_of(torch.exp, lambda g, x: 2 * g * x.exp().detach())
    report = gl.check(wrong, normal(4, 3), order=2)
    assert report.verdict == "fail"
    assert tried(report) == []


def test_dropout_keeps_its_mask() -> None:
    class Dropout(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            mask = (torch.rand_like(x) > 0.5).to(x)
            ctx.save_for_backward(mask, x)
            return mask * x**3

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:  # type: ignore[override]
            mask, x = ctx.saved_tensors
            return 3 * grad_output * mask * x**2

    for dtype in (torch.float64, torch.float32):
        report = gl.check(Dropout, normal(4, 3, dtype=dtype), order=2, probes=())
        assert (report.verdict, report.findings) == ("pass", ()), report


def test_inputs_and_their_gradients_are_left_alone() -> None:
    x = normal(4, 3).requires_grad_()
    x.grad = torch.ones_like(x)
    before, state = x.detach().clone(), torch.get_rng_state()
    gl.check(TanhOfIntermediate, x, order=2)
    assert torch.equal(x, before)
    assert torch.equal(x.grad, torch.ones_like(x))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("n", [3, 300])
def test_sound_function_costs_two_runs_each_way(n: int) -> None:
    x = normal(n, 3)
    bare, probed = (gl.check(TANH, x, probes=probes).evaluations for probes in ({"indices"}, {"indices", *PROBE}))
    assert probed["forward"] - bare["forward"] == 2
    assert probed["backward"] - bare["backward"] == 2


def test_message_names_the_derivative() -> None:
    rule = lambda g, x, y: (g * y.detach().square(), 2 * g * x * y)  # noqa: E731
    named = Op(product, lambda g, out, x, y: rule(g, x, y), name="product")
    x, y = normal(2, 2), normal(2, 2, seed=1)
    lines = str(gl.check(named, x, y, order=2, probes=())).splitlines()
    assert lines[0] == "product: second derivative d grad_x / d y is silently zero"
    assert lines[1].startswith("  worst at [")
    assert "backward" in lines[1]
    assert lines[2:4] == [
        "  cause: double-backward - what backward computes does not lead back to 'y': an intermediate that forward saved, "
        "detach, .data, no_grad or NumPy cuts it off",
        "  fix: write backward in torch functions of grad_output, output and the inputs",
    ]
    assert lines[5].startswith("  reproduce: import gradcheck_lab as gl; ")
    assert "order=2, probes=(), seed=0))  # run it where named (" in lines[5]
