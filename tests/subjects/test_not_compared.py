"""Nothing passes that was never called or compared: refusals name the method or the gradient, notes what was left out."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import Function

import gradcheck_lab as gl
from tests.mistakes.registry import array, normal

# mypy: disable-error-code="override"

X = normal(4, 3)


class Squared(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return 2 * ctx.saved_tensors[0] * g


def outside(kind: str) -> Any:
    def function(x: Tensor) -> Tensor:
        if kind == "numpy":
            return Squared.apply(x) * torch.from_numpy(np.exp(x.detach().numpy()))
        if kind == "asarray":
            return Squared.apply(x) + torch.as_tensor(np.sin(np.asarray(x.detach())))
        return Squared.apply(x) + torch.tensor([sum(row) for row in x.tolist()], dtype=x.dtype)[:, None]

    return function


@pytest.mark.parametrize("kind", ["numpy", "asarray", "tolist"])
def test_part_outside_torch_beside_a_rule_is_inconclusive(kind: str) -> None:
    report = gl.check(outside(kind), X)
    assert report.verdict == "inconclusive", report
    assert "outside torch" in report.reasons[0]


@pytest.mark.parametrize("stop", [lambda x: x.detach().exp(), lambda x: x.abs().max().item(), lambda x: float(x.numel())])
def test_stopped_gradient_beside_a_rule_passes(stop: Any) -> None:
    assert gl.check(lambda x: Squared.apply(x) * stop(x), X).verdict == "pass"


class ModuleWithGradient(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x**2

    def gradient(self, x: Tensor) -> Tensor:
        return 99 * x


class Callable:
    def __call__(self, x: Tensor) -> Tensor:
        return x.sin()

    def compute_gradient(self, g: Tensor) -> Tensor:
        return g


@pytest.mark.parametrize(
    ("subject", "name"), [(ModuleWithGradient(), "gradient"), (Callable(), "compute_gradient")], ids=["module", "callable"]
)
def test_gradient_that_no_call_runs_is_refused_by_its_name(subject: Any, name: str) -> None:
    with pytest.raises(gl.InvalidArgument, match=f"has a method '{name}', and calling .* never runs it"):
        gl.check(subject, X)
    assert gl.check(gl.Layer(subject, backward=name), X).verdict == "fail"


class AsksTorch(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 1).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).tanh()

    def gradient(self, x: Tensor) -> Tensor:
        return torch.autograd.grad(self(x.requires_grad_()).sum(), x)[0]


class CallsIt(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return self.local_gradient(x)

    def local_gradient(self, x: Tensor) -> Tensor:
        return 2 * x


@pytest.mark.parametrize("module", [AsksTorch(), CallsIt()], ids=lambda module: type(module).__name__)
def test_helper_that_is_no_hand_written_gradient_is_not_refused(module: Any) -> None:
    assert gl.check(module, X).verdict == "pass"


class Coefficients:
    """A parameter of an unusual name."""

    def __init__(self, coefficients: Any, stores: bool) -> None:
        self.coefficients, self.stores = coefficients, stores

    def forward(self, x: Any) -> Any:
        if self.coefficients is None:
            self.coefficients = np.full((x.shape[1], 2), 0.3)
        self.x = x
        return x @ self.coefficients

    def backward(self, g: Any) -> Any:
        if self.stores:
            self.slope = 99 * self.x.T @ g
        return g @ self.coefficients.T


@pytest.mark.parametrize("coefficients", [array(3, 2), None], ids=["given", "late"])
def test_stored_gradient_without_a_parameter_is_refused_and_named(coefficients: Any) -> None:
    with pytest.raises(gl.InvalidArgument, match=r"gl\.Layer\(\w+, .*\{'coefficients': 'slope'\}\)"):
        gl.check(Coefficients(coefficients, True), array(4, 3))


def test_gradient_named_in_the_parameters_is_compared() -> None:
    layer = gl.Layer(Coefficients(array(3, 2), True), parameters={"coefficients": "slope"})
    report = gl.check(layer, array(4, 3))
    assert [finding.gradient for finding in report.findings if finding.severity == "error"] == ["coefficients"]


def test_constant_that_the_forward_reads_is_said_not_to_be_compared() -> None:
    report = gl.check(Coefficients(array(3, 2), False), array(4, 3))
    assert report.verdict == "pass"
    assert [f.message for f in report.findings if f.cause == "not-compared"] == [
        "Coefficients reads 'coefficients' in its forward and keeps no gradient of it, so that none was compared"
    ]


class Network:
    def __init__(self) -> None:
        self.W = array(3, 2)

    def forward(self, X: Any) -> Any:
        self.X = X
        return X @ self.W

    def backward(self, g: Any) -> None:
        self.dW = self.X.T @ g


def test_data_without_a_gradient_is_said_not_to_be_compared() -> None:
    report = gl.check(Network(), array(4, 3))
    assert [gradient.name for gradient in report.gradients] == ["W"]
    assert [f.message for f in report.findings if f.cause == "not-compared"] == [
        "the backward of Network gives input 0 'X' no gradient, so that none was compared"
    ]


def test_inputs_that_require_grad_are_compared_and_no_others() -> None:
    op = gl.Op(lambda a, b: a * b, lambda g, y, a, b: (g * b, None), name="half")
    assert gl.check(op, X.clone().requires_grad_(), normal(4, 3, seed=1)).verdict == "pass"
    assert gl.check(op, X, normal(4, 3, seed=1)).verdict == "fail"
    assert gl.check(op, X, normal(4, 3, seed=1).requires_grad_()).verdict == "fail"


def test_reference_decides_about_a_program_whose_op_is_meant_to_differ() -> None:
    through = gl.Op(torch.round, lambda g, y, x: (g,), name="through")
    square = gl.Op(lambda x: x * x, lambda g, y, x: (2 * g * x,), name="square")
    report = gl.check(lambda x: square(through(x)), X, reference=lambda x: (x + (x.round() - x).detach()) ** 2)
    assert report.verdict == "pass", report
    assert gl.check(lambda x: square(through(x)), X).verdict == "fail"


class MaskedSoftmax(torch.autograd.Function):
    """Scores and what is added to them: a mask, for which the backward gives no gradient."""

    @staticmethod
    def forward(ctx: Any, scores: torch.Tensor, added: torch.Tensor) -> torch.Tensor:
        y = torch.softmax(scores + added, -1)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return y * (g - (g * y).sum(-1, keepdim=True)), None


def test_mask_of_infinities_needs_no_gradient_and_a_bias_in_its_place_does() -> None:
    scores = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mask = torch.triu(torch.full((4, 4), -torch.inf, dtype=torch.float64), 1)
    report = gl.check(MaskedSoftmax, scores, mask)
    assert report.verdict == "pass", report
    assert [gradient.name for gradient in report.gradients] == ["scores"]
    bias = torch.zeros(4, 4, dtype=torch.float64)
    report = gl.check(MaskedSoftmax, scores, bias)
    (error,) = [finding for finding in report.findings if finding.severity == "error"]
    assert error.cause == "missing-gradient"
    assert gl.check(MaskedSoftmax, scores.requires_grad_(), bias).verdict == "pass", "requires_grad says which need a gradient"
