"""Functions of dicts, lists, dataclasses and NamedTuples of tensors; and how a function is told from a program."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import gradcheck_lab as gl
from gradcheck_lab import ops


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        gate = torch.sigmoid(x)
        ctx.save_for_backward(x, gate)
        return x * gate

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        x, gate = ctx.saved_tensors
        return grad_output * gate * (1 + x * (1 - gate))


class WrongSwish(Swish):
    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return -Swish.backward(ctx, grad_output)


class State(NamedTuple):
    h: torch.Tensor
    c: torch.Tensor


@dataclass(frozen=True)
class Weights:
    W: torch.Tensor
    b: torch.Tensor
    activation: str = "swish"
    size: int = field(init=False, default=0)


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape))).double()


def affine(params: dict[str, torch.Tensor], x: torch.Tensor, *, scale: float = 1.0) -> Any:
    return Swish.apply(x @ params["W"] + params["b"]) * scale  # type: ignore[no-untyped-call]


def wrong_affine(params: dict[str, torch.Tensor], x: torch.Tensor) -> Any:
    return WrongSwish.apply(x @ params["W"]) + params["b"]  # type: ignore[no-untyped-call]


def recurrent(state: State, xs: list[torch.Tensor], weights: Weights) -> dict[str, Any]:
    h, c = state
    for x in xs:
        h = Swish.apply(x @ weights.W + h) + weights.b  # type: ignore[no-untyped-call]
        c = c * torch.sigmoid(h)
    return {"state": State(h, c), "steps": len(xs)}


def test_a_right_function_of_a_dict_passes() -> None:
    report = gl.check(affine, {"W": normal(3, 2), "b": normal(2)}, normal(4, 3), options={"scale": 3.0}, probes=())
    assert report.verdict == "pass", str(report)
    assert report.kind == "function"
    assert [gradient.label for gradient in report.gradients] == [
        "input 0 \"params['W']\"",
        "input 0 \"params['b']\"",
        "input 1 'x'",
    ]
    assert report.evaluations == {"forward": 2, "backward": 1}


def test_a_wrong_function_fails_at_the_leaves_behind_it() -> None:
    report = gl.check(wrong_affine, {"W": normal(3, 2), "b": normal(2)}, normal(4, 3), probes=())
    assert report.verdict == "fail"
    assert [(finding.message, finding.cause) for finding in report.findings] == [
        ("gradient of input 0 \"params['W']\" is wrong in 6 of 6 elements", "sign"),
        ("gradient of input 1 'x' is wrong in 12 of 12 elements", "sign"),
    ]


def test_a_reference_takes_the_same_structure() -> None:
    def reference(params: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.silu(x @ params["W"]) + params["b"]

    inputs = ({"W": normal(3, 2), "b": normal(2)}, normal(4, 3))
    report = gl.check(wrong_affine, *inputs, reference=reference, probes=())
    assert {gradient.name: gradient.verdict for gradient in report.gradients} == {
        "params['W']": "fail",
        "params['b']": "pass",
        "x": "fail",
    }


def test_leaves_of_named_tuples_lists_and_dataclasses_have_paths() -> None:
    state = State(normal(4, 3), normal(4, 3))
    report = gl.check(recurrent, state, [normal(4, 3), normal(4, 3)], Weights(normal(3, 3), normal(3)), probes=())
    assert report.verdict == "pass", str(report)
    names = [gradient.name for gradient in report.gradients]
    assert names == ["state.h", "state.c", "xs[0]", "xs[1]", "weights.W", "weights.b"]


PLAIN = {
    "builtin": (torch.atan2, (normal(3), normal(3).abs() + 1), {}),
    "functional": (torch.nn.functional.gelu, (normal(4, 3),), {"approximate": "tanh"}),
    "partial": (partial(torch.softmax, dim=-1), (normal(4, 3),), {}),
    "lambda": (lambda x: x**2 + x.T.T, (normal(4, 3),), {}),
    "number": (lambda x, power: torch.exp(x) ** power, (normal(4, 3), 2), {}),
    "in-place": (lambda x: x.mul_(2), (normal(4, 3),), {}),
}


@pytest.mark.parametrize(("function", "inputs", "options"), PLAIN.values(), ids=PLAIN)
def test_a_function_without_anything_hand_written_passes_against_numbers(function: Any, inputs: Any, options: Any) -> None:
    report = gl.check(function, *inputs, options=options, probes=())
    assert report.verdict == "pass", str(report)
    assert report.kind == "function"
    assert not report.oracle.startswith("autograd")


def test_a_callable_object_is_a_function() -> None:
    class Affine:
        def __init__(self) -> None:
            self.weight = normal(3, 2)

        def __call__(self, x: torch.Tensor) -> Any:
            return WrongSwish.apply(x @ self.weight)  # type: ignore[no-untyped-call]

    report = gl.check(Affine(), normal(4, 3), probes=())
    assert (report.subject, report.kind, report.verdict) == ("Affine", "function", "fail")


@pytest.mark.parametrize(("function", "verdict"), [(Swish.apply, "pass"), (WrongSwish.apply, "fail")])
def test_a_checkpointed_function_is_held_to_its_body(function: Any, verdict: str) -> None:
    def checkpointed(x: torch.Tensor) -> Any:
        return checkpoint(lambda y: function(y * 2) * y, x, use_reentrant=False)

    report = gl.check(checkpointed, normal(4, 3))
    assert report.verdict == verdict, str(report)
    assert report.oracle.startswith("autograd")


def test_an_op_as_a_function_is_held_to_its_forward() -> None:
    wrong = gl.Op(lambda x: x * x, lambda grad_output, output, x: (x * grad_output,), name="square")
    report = gl.check(wrong.as_function(), normal(3), probes=())
    assert (report.subject, report.kind, report.verdict) == ("square", "function", "fail")
    assert report.findings[0].message == "gradient of input 0 'x' is wrong in 3 of 3 elements"


def test_a_function_that_calls_an_op_is_a_program_and_costs_no_more() -> None:
    calls = {"program": 0, "op": 0}

    def forward(x: torch.Tensor) -> torch.Tensor:
        calls["op"] += 1
        return x * x

    square = gl.Op(forward, lambda grad_output, output, x: (2 * x * grad_output,), name="square")

    def program(params: dict[str, torch.Tensor], x: torch.Tensor) -> Any:
        calls["program"] += 1
        Z = ops.mul(square(x), params["W"])
        return Z

    report = gl.check(program, {"W": normal(4, 3)}, normal(4, 3), probes=())
    assert report.verdict == "pass", str(report)
    assert report.kind == "program"
    assert [gradient.name for gradient in report.gradients] == ["square", "params['W']", "x"]
    assert calls["op"] == 2
    assert report.evaluations["forward"] == 2


def test_operators_alone_are_a_program() -> None:
    report = gl.check(lambda x, y: x * y + x, normal(3), normal(3), probes=())
    assert report.kind == "program"
    assert report.verdict == "pass", str(report)


def test_an_op_inside_the_forward_of_a_function_makes_no_program() -> None:
    class Relu(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> Any:
            ctx.save_for_backward(x)
            return ops.relu(x)

        @staticmethod
        def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            return grad_output * (ctx.saved_tensors[0] > 0)

    def function(x: torch.Tensor) -> Any:
        return Relu.apply(x)  # type: ignore[no-untyped-call]

    report = gl.check(function, normal(3), probes=())
    assert report.kind == "function"
    assert report.verdict == "pass", str(report)


def test_the_forward_sees_the_same_random_numbers_on_both_sides() -> None:
    def program(x: torch.Tensor) -> Any:
        mask = (torch.rand(4, 3) < 0.5).double()
        return ops.mul(x, mask)

    assert gl.check(program, normal(4, 3), probes=()).verdict == "pass"


REFUSED = {
    "numbers-read-out-in-a-program": (
        lambda x: ops.relu(torch.tensor(x.tolist())),
        (normal(3),),
        "torch's tolist was applied to a Variable, which runs hand-written ops only; "
        "write it as an op: gl.Op(forward, backward, name='tolist')",
    ),
    "number-in-a-program": (
        lambda x, y: ops.mul(x, y),
        (normal(3), 2.0),
        "input 1 of <lambda> is a float; pass a tensor, such as torch.as_tensor(..., dtype=torch.float64), "
        "or give it by keyword in options=",
    ),
    "array": (
        lambda x: x * x,
        (normal(3).numpy(),),
        "<lambda> takes arrays, and nothing in this call is a gradient of it; pass its backward too: "
        "gl.check((function, backward), x) with backward(dout, x), or a function of tensors",
    ),
    "no-tensor-returned": (
        lambda x: x.sum().item(),
        (normal(3),),
        "<lambda> returned a float without a tensor; return a tensor, or a tuple, dict or dataclass of tensors",
    ),
    "class": (
        dict,
        (normal(3),),
        "cannot check an object of type type; pass gl.Op(forward, backward) or a function that calls ops",
    ),
}


@pytest.mark.parametrize(("function", "inputs", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_checked_is_refused(function: Any, inputs: Any, message: str) -> None:
    with pytest.raises(gl.InvalidArgument) as caught:
        gl.check(function, *inputs)
    assert str(caught.value) == message


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(gl.InvalidArgument) as caught:
        gl.check(affine, {"W": normal(3, 2), "b": normal(2)}, normal(4, 3), options={"factor": 1})
    assert str(caught.value) == "affine has no option 'factor'; it accepts scale"
