"""Which inputs need a gradient: said by `wrt=`, by `requires_grad`, or by a convention that is never one of position."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import Function

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.specs import real
from tests.mistakes.registry import array, normal

X, Y, W = normal(4, 3), normal(4, 3, seed=1), normal(3, 2, seed=2)
BINARY = torch.tensor([[0.0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=torch.float64)
ROWS = torch.tensor([1.0, 0, 1, 1], dtype=torch.float64)


def function(forward: Callable[..., Tensor], backward: Callable[..., Any]) -> Any:
    """A Function whose rule is `backward(grad_output, *inputs)`."""

    def run(ctx: Any, *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs)
        return forward(*inputs)

    def rule(ctx: Any, grad_output: Tensor) -> Any:
        return backward(grad_output, *ctx.saved_tensors)

    run.__signature__ = _after_context(forward)  # type: ignore[attr-defined]
    return type("Rule", (Function,), {"forward": staticmethod(run), "backward": staticmethod(rule)})


def _after_context(forward: Callable[..., Any]) -> Any:
    import inspect

    own = list(inspect.signature(forward).parameters.values())
    return inspect.Signature([inspect.Parameter("ctx", own[0].kind), *own])


def squared(x: Tensor, y: Tensor) -> Tensor:
    return ((x - y) ** 2).mean()


def of_x(g: Tensor, x: Tensor, y: Tensor) -> Any:
    return 2 * g * (x - y) / x.numel(), None


def half_of_x(g: Tensor, x: Tensor, y: Tensor) -> Any:
    return g * (x - y) / x.numel(), None


def numpy_loss(x: Any, y: Any) -> Any:
    return ((x - y) ** 2).mean(), 2 * (x - y) / x.size


def numpy_pair() -> Any:
    return (lambda x, y: (((x - y) ** 2).mean(), (x, y)), lambda dout, cache: 2 * dout * (cache[0] - cache[1]) / cache[0].size)


class Loss:
    """A layer that is a loss, with an upstream gradient, whose target has a name that says nothing."""

    def forward(self, x: Any, y: Any) -> Any:
        self.x, self.y = x, y
        return ((x - y) ** 2).mean()

    def backward(self, dout: Any) -> Any:
        return 2 * dout * (self.x - self.y) / self.x.size


OP = gl.Op(squared, lambda g, output, x, y: of_x(g, x, y), name="squared")
FORMS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "Function": (function(squared, of_x), (X, Y)),
    "Op": (OP, (X, Y)),
    "program": (lambda x, y: OP(ops.mul(x, x), y), (X, Y)),
    "layer": (Loss(), (array(4, 3), array(4, 3, seed=1))),
    "NumPy pair": (numpy_pair(), (array(4, 3), array(4, 3, seed=1))),
    "NumPy loss": (numpy_loss, (array(4, 3), array(4, 3, seed=1))),
}


def errors(report: gl.Report) -> list[tuple[str, str | None]]:
    return [(f.cause, f.gradient) for f in report.findings if f.severity == "error"]


@pytest.mark.parametrize("form", FORMS)
def test_fix_of_a_missing_gradient_helps_when_followed(form: str) -> None:
    subject, inputs = FORMS[form]
    report = gl.check(subject, *inputs)
    assert ("missing-gradient", "y") in errors(report), report
    fixes = [f.suggestion for f in report.findings if f.cause == "missing-gradient"]
    said = next(match for text in fixes if (match := re.search(r"say which inputs need one: wrt=\[(.*)\]", text)))
    followed = gl.check(subject, *inputs, wrt=[name.strip(" '") for name in said[1].split(",")])
    assert followed.verdict == "pass", followed
    assert [gradient.name for gradient in followed.gradients if gradient.op is None][-1] == "x"


@pytest.mark.parametrize("wrt", ["x", ["x"], 0, (0,), {"x"}])
def test_names_and_positions_name_the_same(wrt: Any) -> None:
    assert gl.check(function(squared, of_x), X, Y, wrt=wrt, probes=()).verdict == "pass"
    assert errors(gl.check(function(squared, half_of_x), X, Y, wrt=wrt)) == [("constant-factor", "x")]


@pytest.mark.parametrize(
    ("wrt", "words"),
    [
        ("z", "'z', which is no input of squared; its inputs are x, y"),
        (7, "7, which is no input of squared"),
        (-1, "-1, which is no input of squared"),
        ([], "names no input"),
        (1.5, "pass names or positions of inputs"),
        ([None], "pass names or positions of inputs"),
        (True, "pass names or positions of inputs"),
    ],
)
def test_what_names_no_input_is_refused(wrt: Any, words: str) -> None:
    with pytest.raises(gl.InvalidArgument, match=re.escape(words)):
        gl.check(OP, X, Y, wrt=wrt)


def test_input_without_a_gradient_is_refused() -> None:
    with pytest.raises(gl.InvalidArgument, match=r"no floating tensor; pass target\.double"):
        gl.check(ops.softmax_cross_entropy, X, torch.tensor([0, 1, 2, 0]), wrt=["target"])


class Net:
    def __init__(self) -> None:
        self.W = array(3, 2)

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W

    def backward(self, g: Any) -> None:
        self.dW = self.x.T @ g


def test_parameters_need_a_gradient_unless_some_are_named() -> None:
    assert [g.name for g in gl.check(Net(), array(4, 3), wrt=["W"]).gradients] == ["W"]
    assert errors(gl.check(Net(), array(4, 3), wrt=["x"])) == [("missing-gradient", "x")]


# what a convention takes for data, by its values or its name, and a backward that is right
DATA: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "zeros and ones": (function(squared, of_x), (X, BINARY)),
    "-1 and 1": (function(squared, of_x), (X, 2 * BINARY - 1)),
    "a label for each row": (
        function(lambda x, y: (x.sum(1) * y).mean(), lambda g, x, y: (g * (y / len(y))[:, None].expand_as(x), None)),
        (X, ROWS),
    ),
    "target by name": (
        function(lambda x, target: squared(x, target), lambda g, x, target: of_x(g, x, target)), (X, Y)),
    "loss for each row": (
        function(lambda x, y: ((x - y) ** 2).sum(1), lambda g, x, y: (2 * g[:, None] * (x - y), None)), (X, BINARY)),
    "mask": (function(lambda x, mask: 2 * x * mask, lambda g, x, mask: (2 * g * mask, None)), (X, BINARY)),
    "NumPy loss": (numpy_loss, (array(4, 3), np.eye(3)[[0, 1, 2, 0]])),
    "NumPy pair": (numpy_pair(), (array(4, 3), np.eye(3)[[0, 1, 2, 0]])),
    "NumPy labels": (numpy_loss, (array(4, 3), 2 * np.eye(3)[[0, 1, 2, 0]] - 1)),
}  # fmt: skip


@pytest.mark.parametrize("kind", DATA)
def test_data_without_a_gradient_is_a_note(kind: str) -> None:
    subject, inputs = DATA[kind]
    report = gl.check(subject, *inputs)
    assert report.verdict == "pass", report
    assert [gradient.name for gradient in report.gradients] == ["x"]
    notes = [f.suggestion for f in report.findings if f.cause == "not-compared"]
    # what a layer's backward returns may tell which inputs have a gradient, before it runs
    assert kind == "NumPy pair" or "wrt=['x', " in notes[0], report


def forgetful(g: Tensor, x: Tensor, *others: Tensor) -> Any:
    """The gradient of x of the sum of x times everything else, and of nothing else."""
    factor = torch.ones_like(x)
    for other in others:
        factor = factor * other
    return (g * factor, *[None] * len(others))


# a backward that forgot a gradient: the input is not data, or the user said that it needs one
FORGOTTEN: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
    "square matrix of one-hot rows": (
        function(lambda x, W: x @ W, lambda g, x, W: (g @ W.T, None)), (X, torch.eye(3, dtype=torch.float64)), {}),
    "weight of ones": (
        function(lambda x, w: (x * w).sum(), forgetful), (X, torch.ones(4, 3, dtype=torch.float64)), {}),
    "bias of zeros": (
        function(lambda x, b: (x + b).sum(), lambda g, x, b: (g.expand_as(x), None)),
        (X, torch.zeros(4, 3, dtype=torch.float64)), {}),
    "temperature called t": (
        function(lambda x, t: (x / t).sum(), lambda g, x, t: ((g / t).expand_as(x), None)),
        (X, torch.tensor(2.0, dtype=torch.float64)), {}),
    "named by wrt": (function(squared, of_x), (X, BINARY), {"wrt": ["x", "y"]}),
    "marked": (function(squared, of_x), (X.clone().requires_grad_(), BINARY.clone().requires_grad_()), {}),
    "no loss": (function(lambda x, y: x * y, forgetful), (X, 2 * BINARY - 1), {}),
    "NumPy": (numpy_loss, (array(4, 3), np.eye(3)[[0, 1, 2, 0]]), {"wrt": ["x", "y"]}),
    "declared": (
        gl.Op(squared, lambda g, output, x, y: of_x(g, x, y), name="declared", specs=(real("n d"), real("n d"))),
        (X, BINARY), {}),
}  # fmt: skip


@pytest.mark.parametrize("kind", FORGOTTEN)
def test_forgotten_gradient_is_missing(kind: str) -> None:
    subject, inputs, keywords = FORGOTTEN[kind]
    report = gl.check(subject, *inputs, **keywords)
    assert [cause for cause, _ in errors(report)] == ["missing-gradient"], report


def test_wrong_gradient_beside_labels_is_caught() -> None:
    assert errors(gl.check(function(squared, half_of_x), X, BINARY)) == [("constant-factor", "x")]
    assert errors(gl.check(lambda x, y: (numpy_loss(x, y)[0], -numpy_loss(x, y)[1]), array(4, 3), np.eye(3)[[0, 1, 2, 0]])) == [
        ("sign", "x")
    ]


def test_op_says_which_inputs_have_a_gradient_alone_and_in_programs() -> None:
    data = gl.Op(squared, lambda g, output, x, y: of_x(g, x, y), name="squared", wrt=["x"])
    assert gl.check(data, X, Y).verdict == "pass"
    program = lambda x, y, w: data(ops.mul(x, w), y)  # noqa: E731
    assert gl.check(program, X, Y, X + 1, wrt=["x", "w"]).verdict == "pass"
    assert errors(gl.check(lambda x, w: data(x, ops.mul(x, w)), X, Y)) != [], "a target that is computed needs its gradient"
    wrong = gl.Op(squared, lambda g, output, x, y: half_of_x(g, x, y), name="squared", wrt="x")
    assert ("constant-factor", "x") in errors(gl.check(lambda x, y: wrong(ops.mul(x, x), y), X, Y, wrt="x"))


def test_op_in_a_program_needs_no_gradient_of_the_programs_data() -> None:
    assert gl.check(lambda x, y, w: OP(ops.mul(x, w), y), X, Y, X + 1, wrt=["x", "w"]).verdict == "pass"
    assert ("missing-gradient", "y") in errors(gl.check(lambda x, y, w: OP(ops.mul(x, w), y), X, Y, X + 1))


def test_fuzzing_compares_what_is_wanted() -> None:
    specs = (real("n d"), real("n d"))
    assert gl.fuzz(OP, *specs, max_examples=10, wrt="x").verdict == "pass"
    report = gl.fuzz(OP, *specs, max_examples=10, wrt=["x", "y"])
    assert errors(report) == [("missing-gradient", "y")]
    assert report.to_dict()["failing_case"]["wrt"] == ["x", "y"]


def test_finished_gradients_are_compared_where_wanted() -> None:
    manual, reference = {"x": X, "y": Y}, {"x": X, "y": Y + 1}
    assert gl.compare(manual, reference, wrt=["x"]).verdict == "pass"
    assert gl.compare(manual, reference, wrt=[1]).verdict == "fail"
    with pytest.raises(gl.InvalidArgument, match="'z', which is no input of the gradients"):
        gl.compare(manual, reference, wrt="z")
