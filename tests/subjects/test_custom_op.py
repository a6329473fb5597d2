"""`torch.library.custom_op` and `torch.ops` overloads: sound, with mistakes, and opcheck's own tests."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.library import custom_op

import gradcheck_lab as gl
from gradcheck_lab.subjects.custom_op import adapt_custom_op
from gradcheck_lab.subjects.operator_checks import opcheck_findings

Finding = tuple[str, str, str, str, str]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@custom_op("gcl_tests::soft_clip", mutates_args=())
def soft_clip(x: Tensor, limit: float = 1.0) -> Tensor:
    return limit * torch.tanh(x / limit)


@soft_clip.register_fake
def _(x: Tensor, limit: float = 1.0) -> Tensor:
    return torch.empty_like(x)


def save_input(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(inputs[0])
    ctx.limit = inputs[1]


def soft_clip_backward(ctx: Any, grad_output: Tensor) -> Any:
    (x,) = ctx.saved_tensors
    return grad_output / torch.cosh(x / ctx.limit) ** 2, None


soft_clip.register_autograd(soft_clip_backward, setup_context=save_input)


@custom_op("gcl_tests::soft_clip_wrong", mutates_args=())
def soft_clip_wrong(x: Tensor, limit: float = 1.0) -> Tensor:
    return limit * torch.tanh(x / limit)


soft_clip_wrong.register_autograd(
    lambda ctx, grad_output: (soft_clip_backward(ctx, grad_output)[0] / ctx.limit, None), setup_context=save_input
)


def make_standardize(name: str, backward: Callable[..., Any]) -> Any:
    """Row-wise (x - mean) * inverse deviation * weight, which also returns the inverse deviation for the backward."""

    @custom_op(f"gcl_tests::{name}", mutates_args=())
    def standardize(x: Tensor, weight: Tensor, *, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
        inverse = (x.var(-1, keepdim=True, correction=0) + eps).rsqrt()
        return (x - x.mean(-1, keepdim=True)) * inverse * weight, inverse

    @standardize.register_fake
    def _(x: Tensor, weight: Tensor, *, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
        return torch.empty_like(x), x.new_empty(*x.shape[:-1], 1)

    def save(ctx: Any, inputs: tuple[Any, ...], keyword_only_inputs: dict[str, Any], output: Any) -> None:
        x, weight = inputs
        _, inverse = output
        ctx.save_for_backward(x, weight, inverse)

    standardize.register_autograd(backward, setup_context=save)
    return standardize


def standardize_backward(ctx: Any, grad_output: Tensor, grad_inverse: Tensor) -> Any:
    x, weight, inverse = ctx.saved_tensors
    centred = x - x.mean(-1, keepdim=True)
    unit = centred * inverse
    inner = grad_output * weight
    grad_x = inverse * (inner - inner.mean(-1, keepdim=True) - unit * (inner * unit).mean(-1, keepdim=True))
    grad_x = grad_x - grad_inverse * inverse**3 * centred / x.shape[-1]
    return grad_x, (grad_output * unit).sum_to_size(weight.shape)


def standardize_without_inverse(ctx: Any, grad_output: Tensor, grad_inverse: Tensor) -> Any:
    return standardize_backward(ctx, grad_output, torch.zeros_like(grad_inverse))


standardize = make_standardize("standardize", standardize_backward)
standardize_wrong = make_standardize("standardize_wrong", standardize_without_inverse)


@custom_op("gcl_tests::sorted_by_numpy", mutates_args=())
def sorted_by_numpy(x: Tensor) -> tuple[Tensor, Tensor]:
    values = x.detach().numpy()
    order = np.argsort(values, -1)
    return torch.from_numpy(np.take_along_axis(values, order, -1)), torch.from_numpy(order)


@sorted_by_numpy.register_fake
def _(x: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(x, dtype=torch.int64)


def save_order(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(output[1])
    ctx.mark_non_differentiable(output[1])


sorted_by_numpy.register_autograd(
    lambda ctx, grad, _: torch.zeros_like(grad).scatter(-1, ctx.saved_tensors[0], grad), setup_context=save_order
)


def make_weighted_sum(name: str, factor: float) -> Any:
    @custom_op(f"gcl_tests::{name}", mutates_args=())
    def weighted_sum(parts: list[Tensor], weights: Tensor) -> Tensor:
        return torch.stack([part * weight for part, weight in zip(parts, weights, strict=True)]).sum(0)

    def save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        parts, weights = inputs
        ctx.save_for_backward(*parts, weights)

    def backward(ctx: Any, grad_output: Tensor) -> Any:
        *parts, weights = ctx.saved_tensors
        grads = [grad_output * weight for weight in weights]
        grads[1] = grads[1] * factor
        return grads, torch.stack([(grad_output * part).sum() for part in parts])

    weighted_sum.register_autograd(backward, setup_context=save)
    return weighted_sum


weighted_sum = make_weighted_sum("weighted_sum", 1.0)
weighted_sum_wrong = make_weighted_sum("weighted_sum_wrong", 2.0)


@pytest.fixture(scope="module")
def library() -> Iterator[torch.library.Library]:
    """Operators defined by schema, as C++ extensions and older code do."""
    fragment = torch.library.Library("gcl_tests", "FRAGMENT")
    for name in ("cube", "cube_wrong", "cube_forward_only"):
        fragment.define(f"{name}(Tensor x) -> Tensor")
        fragment.impl(name, lambda x: x.detach() ** 3, "CompositeExplicitAutograd")
    for name, factor in (("cube", 3), ("cube_wrong", 2)):
        torch.library.register_autograd(
            f"gcl_tests::{name}",
            lambda ctx, grad_output, factor=factor: factor * ctx.saved_tensors[0] ** 2 * grad_output,
            setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
            lib=fragment,
        )
    yield fragment
    fragment._destroy()


X = normal(4, 3)


@pytest.mark.parametrize(
    ("op", "inputs", "options"),
    [
        (soft_clip, (X,), {}),
        (soft_clip, (X, 2.0), {}),
        (soft_clip, (X,), {"limit": 0.5}),
        (torch.ops.gcl_tests.soft_clip, (X,), {}),
        (torch.ops.gcl_tests.soft_clip.default, (X, 2.0), {}),
        (standardize, (X, normal(3, seed=1)), {}),
        (standardize, (X, normal(3, seed=1)), {"eps": 0.1}),
        (weighted_sum, ([X, normal(4, 3, seed=1)], normal(2)), {}),
    ],
)
def test_sound_custom_op_passes(op: Any, inputs: Any, options: Any) -> None:
    report = gl.check(op, *inputs, options=options)
    assert report.verdict == "pass", report
    assert report.kind == "custom_op"
    assert report.evaluations["forward"] <= 100


@pytest.mark.parametrize(
    ("op", "inputs", "gradient"),
    [
        (soft_clip_wrong, (X, 2.0), "x"),
        (torch.ops.gcl_tests.soft_clip_wrong, (X, 2.0), "x"),
        (standardize_wrong, (X, normal(3, seed=1)), "x"),
        (weighted_sum_wrong, ([X, normal(4, 3, seed=1)], normal(2)), "parts[1]"),
    ],
)
def test_wrong_custom_op_fails_at_the_wrong_input(op: Any, inputs: Any, gradient: str) -> None:
    report = gl.check(op, *inputs)
    assert report.verdict == "fail"
    assert {finding.gradient for finding in report.findings if finding.severity == "error"} == {gradient}, report


def test_constant_factor_is_named() -> None:
    report = gl.check(soft_clip_wrong, X, 2.0, probes=())
    assert [finding.cause for finding in report.findings] == ["constant-factor"]


def weighted_sum_in_torch(parts: list[Tensor], weights: Tensor) -> Tensor:
    return (torch.stack(parts) * weights[:, None, None]).sum(0)


@pytest.mark.parametrize(
    ("op", "inputs", "options", "reference"),
    [
        (soft_clip, (X,), {"limit": 0.5}, lambda x, limit: limit * torch.tanh(x / limit)),
        (soft_clip, (X, 0.5), {}, lambda x, bound: bound * torch.tanh(x / bound)),
        (weighted_sum, ([X, normal(4, 3, seed=1)], normal(2)), {}, weighted_sum_in_torch),
    ],
    ids=["option", "position", "list"],
)
def test_reference_is_called_as_the_op_was(op: Any, inputs: Any, options: Any, reference: Any) -> None:
    report = gl.check(op, *inputs, options=options, reference=reference)
    assert report.verdict == "pass", report


def test_kernel_in_numpy_passes_by_the_numeric_oracle() -> None:
    report = gl.check(sorted_by_numpy, X)
    assert report.verdict == "pass", report


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(("name", "verdict"), [("cube", "pass"), ("cube_wrong", "fail")])
def test_operator_defined_by_schema_is_checked_numerically(name: str, verdict: str) -> None:
    report = gl.check(getattr(torch.ops.gcl_tests, name), X)
    assert report.verdict == verdict, report


def raw_and_engine(op: Any, *inputs: Any) -> tuple[Any, Any]:
    subject = adapt_custom_op(op, inputs, {})
    assert subject is not None
    recording = subject.record(subject.inputs, {})
    assert recording.engine is not None
    upstream = tuple(torch.ones_like(output) for output in recording.outputs)
    return recording.backward(upstream).returned, recording.engine(upstream)


@custom_op("gcl_tests::add_bias", mutates_args=())
def add_bias(x: Tensor, bias: Tensor) -> Tensor:
    return x + bias


add_bias.register_autograd(lambda ctx, grad_output: (grad_output, grad_output))


@pytest.mark.parametrize("op", [add_bias, torch.ops.gcl_tests.add_bias, torch.ops.gcl_tests.add_bias.default], ids=str)
def test_raw_gradient_is_seen_before_the_engine_sums_it(op: Any) -> None:
    raw, engine = raw_and_engine(op, X, normal(3))
    assert raw[1].shape == (4, 3)
    assert engine[1].shape == (3,)


@pytest.mark.usefixtures("library")
def test_raw_gradient_is_seen_of_an_operator_defined_by_schema() -> None:
    torch.ops.gcl_tests.cube(X)
    raw, engine = raw_and_engine(torch.ops.gcl_tests.cube, X)
    assert torch.equal(raw[0], 3 * X**2)
    assert raw[0] is engine[0]


def test_registered_backward_is_put_back() -> None:
    gl.check(soft_clip, X)
    assert soft_clip._backward_fn is soft_clip_backward


@custom_op("gcl_tests::forward_only", mutates_args=())
def forward_only(x: Tensor) -> Tensor:
    return x * 2


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("op", "inputs", "options", "message"),
    [
        (
            lambda: forward_only,
            (X,),
            {},
            "gcl_tests::forward_only has no backward; register one with "
            "forward_only.register_autograd(backward, setup_context=setup_context)",
        ),
        (
            lambda: torch.ops.gcl_tests.cube_forward_only,
            (X,),
            {},
            "gcl_tests::cube_forward_only has no backward; register one with "
            "torch.library.register_autograd('gcl_tests::cube_forward_only', backward, setup_context=setup_context)",
        ),
        (
            lambda: standardize,
            (X, normal(3)),
            {"epsilon": 1.0},
            "gcl_tests::standardize has no option 'epsilon'; it accepts eps",
        ),
        (
            lambda: standardize,
            (X,),
            {},
            "gcl_tests::standardize needs 'weight', which was not given; pass it as input 1 or in options=",
        ),
        (
            lambda: torch.ops.aten.sin,
            (X,),
            {},
            "torch.ops.aten.sin has the overloads Scalar, complex, default, float, int, out; "
            "pass one, such as torch.ops.aten.sin.default",
        ),
    ],
)
def test_call_that_does_not_fit_is_refused(op: Any, inputs: Any, options: Any, message: str) -> None:
    with pytest.raises(gl.InvalidArgument) as caught:
        gl.check(op(), *inputs, options=options)
    assert str(caught.value) == message


@custom_op("gcl_tests::writes_input", mutates_args=())
def writes_input(x: Tensor) -> Tensor:
    output = x * 2
    x.zero_()
    return output


writes_input.register_fake(torch.empty_like)
writes_input.register_autograd(lambda ctx, grad_output: 2 * grad_output)


@custom_op("gcl_tests::wrong_fake", mutates_args=())
def wrong_fake(x: Tensor) -> Tensor:
    return x * 2


wrong_fake.register_fake(lambda x: torch.empty_like(x, dtype=torch.float32))
wrong_fake.register_autograd(lambda ctx, grad_output: 2 * grad_output)


@custom_op("gcl_tests::numpy_backward", mutates_args=())
def numpy_backward(x: Tensor) -> Tensor:
    return x * 2


numpy_backward.register_fake(torch.empty_like)
numpy_backward.register_autograd(lambda ctx, grad_output: torch.from_numpy(grad_output.numpy() * 2))


def summary(finding: gl.Finding) -> Finding:
    return finding.cause, finding.severity, finding.message, finding.explanation, finding.suggestion


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (standardize, []),
        (
            writes_input,
            [
                (
                    "mutates-input",
                    "error",
                    "opcheck's test_schema failed for gcl_tests::writes_input",
                    "Argument x is not defined as mutable but was mutated",
                    "declare what the kernel writes to in mutates_args, and return clones instead of inputs",
                )
            ],
        ),
        (
            wrong_fake,
            [
                (
                    "forward-mismatch",
                    "error",
                    "opcheck's test_faketensor failed for gcl_tests::wrong_fake",
                    "When comparing the output of gcl_tests.wrong_fake.default on FakeTensor and concrete Tensors, found "
                    "mismatched tensor metadata: Dtypes torch.float64 and torch.float32 are not equal!",
                    "make the function given to register_fake return the kernel's shapes, strides and dtypes",
                )
            ],
        ),
        (
            soft_clip_wrong,
            [
                (
                    "unsupported",
                    "warning",
                    "opcheck's test_faketensor failed for gcl_tests::soft_clip_wrong",
                    "it has no fake kernel, which torch.compile and torch.export need",
                    "add one with register_fake",
                )
            ],
        ),
        (
            numpy_backward,
            [
                (
                    "unsupported",
                    "warning",
                    "opcheck's test_aot_dispatch_dynamic failed for gcl_tests::numpy_backward",
                    ".numpy() is not supported for tensor subclasses.",
                    "write the backward with torch functions or further custom ops, so that torch.compile can trace it",
                )
            ],
        ),
    ],
    ids=["sound", "schema", "fake", "no-fake", "compiled"],
)
def test_opcheck_failures_are_findings(op: Any, expected: list[Finding]) -> None:
    inputs = (X, normal(3)) if op is standardize else (X,)
    assert [summary(finding) for finding in opcheck_findings(op, inputs, {})] == expected


def test_backward_at_a_backend_key_is_disconnected() -> None:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.detach() * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:  # type: ignore[override]
            return 2 * grad_output

    with torch.library._scoped_library("gcl_tests", "FRAGMENT") as fragment:
        fragment.define("double_at_cpu(Tensor x) -> Tensor")
        fragment.impl("double_at_cpu", Double.apply, "CPU")
        findings = opcheck_findings(torch.ops.gcl_tests.double_at_cpu, (X,), {})
    assert [(finding.cause, finding.severity, finding.message) for finding in findings] == [
        ("disconnected", "error", "opcheck's test_autograd_registration failed for gcl_tests::double_at_cpu"),
        ("unsupported", "warning", "opcheck's test_faketensor failed for gcl_tests::double_at_cpu"),
    ]
