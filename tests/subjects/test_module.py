"""`nn.Module`: its parameters are inputs, it is left as it was, and the Functions inside are held to their own bodies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.subjects import adapt
from gradcheck_lab.subjects.forward_bodies import forward_bodies
from gradcheck_lab.subjects.untraceable import Untraceable


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
        return 2 * Swish.backward(ctx, grad_output)


class Scale(torch.autograd.Function):
    """The other style of context."""

    @staticmethod
    def forward(x: torch.Tensor, factor: torch.Tensor, power: int = 1) -> torch.Tensor:
        return x * factor**power

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.power = inputs[2]

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> Any:  # type: ignore[override]
        x, factor = ctx.saved_tensors
        powered = ctx.power * factor ** (ctx.power - 1)
        return grad_output * factor**ctx.power, (grad_output * x * powered).sum(0), None


swish, wrong_swish = Swish.apply, WrongSwish.apply


class Net(nn.Module):
    def __init__(self, activation: Callable[..., Any] = swish) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.dropout = nn.Dropout(0.5)
        self.activation = activation
        self.calls = 0

    def forward(self, x: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
        self.calls += 1
        return self.dropout(self.activation(self.norm(self.fc(x)))) * scale


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).double()


def test_a_right_module_passes_with_its_parameters_as_inputs(x: torch.Tensor) -> None:
    report = gl.check(Net().double(), x, options={"scale": 3.0}, probes=())
    assert report.verdict == "pass", str(report)
    assert report.kind == "module"
    assert [gradient.label for gradient in report.gradients] == [
        "input 0 'x'",
        "parameter 'fc.weight'",
        "parameter 'fc.bias'",
        "parameter 'norm.weight'",
        "parameter 'norm.bias'",
    ]


def test_a_wrong_function_inside_is_wrong_for_everything_before_it(x: torch.Tensor) -> None:
    report = gl.check(Net(wrong_swish).double().eval(), x, probes=())
    assert report.verdict == "fail"
    assert [finding.message for finding in report.findings] == [
        "gradient of input 0 'x' is wrong in 15 of 15 elements",
        "gradient of parameter 'fc.weight' is wrong in 12 of 12 elements",
        "gradient of parameter 'fc.bias' is wrong in 4 of 4 elements",
        "gradient of parameter 'norm.weight' is wrong in 4 of 4 elements",
        "gradient of parameter 'norm.bias' is wrong in 4 of 4 elements",
    ]
    assert {finding.cause for finding in report.findings} == {"constant-factor"}
    assert "backward" in report.findings[0].where


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_buffers_and_frozen_parameters_are_widened_with_the_inputs(x: torch.Tensor, dtype: torch.dtype) -> None:
    net = Net().eval()
    net.fc.bias.requires_grad_(False)
    report = gl.check(net.to(dtype), x.to(dtype), probes=())
    assert report.verdict == "pass", str(report)
    assert "parameter 'fc.bias'" not in [gradient.label for gradient in report.gradients]


def test_the_module_is_left_as_it_was(x: torch.Tensor) -> None:
    class Counting(Net):
        def forward(self, x: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
            output = super().forward(x, scale=scale)
            self.last = output
            self.eval()
            return output

    net = Counting().double()
    net.fc.weight.grad = torch.ones_like(net.fc.weight)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    names, generator = set(vars(net)), torch.get_rng_state()
    weight, grad = net.fc.weight, net.fc.weight.grad
    assert gl.check(net, x, probes=()).verdict == "pass"
    assert net.training
    assert net.norm.training
    assert net.calls == 0
    assert set(vars(net)) == names
    assert net.fc.weight is weight
    assert net.fc.weight.grad is grad
    assert torch.equal(grad, torch.ones_like(grad))
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)


def test_a_tied_parameter_is_one_input(x: torch.Tensor) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode, self.decode = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
            self.decode.weight = self.encode.weight

        def forward(self, x: torch.Tensor) -> Any:
            return self.decode(swish(self.encode(x)))

    report = gl.check(Tied().double(), x, probes=())
    assert report.verdict == "pass", str(report)
    assert [gradient.name for gradient in report.gradients] == ["x", "encode.weight"]


def test_functions_in_both_styles_and_ops_are_replaced(x: torch.Tensor) -> None:
    factor = torch.rand(3).double().requires_grad_()
    with forward_bodies() as bodies:
        output = ops.relu.as_function()(Scale.apply(Swish.apply(x), factor, 2))  # type: ignore[no-untyped-call]
    assert bodies.replaced == 3
    names = []
    node = output.grad_fn
    while node is not None:
        names.append(node.name())
        node = node.next_functions[0][0] if node.next_functions else None
    assert not any("Swish" in name or "Scale" in name or "HandWritten" in name for name in names)
    assert "Scale" in Scale.apply(x, factor).grad_fn.name()  # type: ignore[no-untyped-call]


def test_nothing_is_replaced_in_another_thread(x: torch.Tensor) -> None:
    import threading

    leaf, found = x.requires_grad_(), []
    with forward_bodies() as bodies:
        thread = threading.Thread(target=lambda: found.append(swish(leaf).grad_fn.name()))
        thread.start()
        thread.join()
    assert found == ["SwishBackward"]
    assert bodies.replaced == 0


def test_a_body_that_leaves_autograd_says_so(x: torch.Tensor) -> None:
    class Detached(Swish):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return Swish.forward(ctx, x.detach())

    with pytest.raises(Untraceable) as caught, forward_bodies():
        Detached.apply(x.requires_grad_())  # type: ignore[no-untyped-call]
    assert str(caught.value) == "the forward of Detached leaves autograd: it detaches its inputs, or leaves torch"


def test_a_custom_op_inside_is_replaced_by_its_kernel(x: torch.Tensor) -> None:
    @torch.library.custom_op("gradcheck_lab_tests::cube", mutates_args=())
    def cube(x: torch.Tensor) -> torch.Tensor:
        return x**3

    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    cube.register_autograd(lambda ctx, grad: 5 * grad * ctx.saved_tensors[0] ** 2, setup_context=setup_context)
    report = gl.check(Net(cube).double().eval(), x, probes=())
    assert report.verdict == "fail"
    assert report.findings[0].explanation == "it is 1.66667 times the reference"


def test_a_module_without_anything_hand_written_cannot_be_its_own_oracle(x: torch.Tensor) -> None:
    subject = adapt(nn.Linear(3, 2).double(), (x,), {})
    leaves = tuple(value.detach().requires_grad_() for value in subject.inputs)
    assert subject.trace is not None
    for _ in range(2):
        with pytest.raises(Untraceable) as caught:
            subject.trace(leaves, {}, frozenset())
        assert str(caught.value) == "nothing inside Linear has a hand-written backward, so autograd would check itself"


PLAIN = {
    "linear": lambda: nn.Linear(3, 2),
    "in-place": lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 2)),
    "spectral-norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2)),
    "several-outputs": lambda: nn.LSTM(3, 2, batch_first=True),
}


@pytest.mark.parametrize("make", PLAIN.values(), ids=PLAIN)
def test_a_module_of_torch_passes_against_numbers(make: Callable[[], nn.Module], x: torch.Tensor) -> None:
    torch.manual_seed(0)
    report = gl.check(make().double(), x, probes=())
    assert report.verdict == "pass", str(report)


def test_what_a_forward_leaves_on_the_module_is_there_for_its_backward(x: torch.Tensor) -> None:
    class Remembering(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.exponential = x.exp().detach()
            module = self

            class Exp(torch.autograd.Function):
                @staticmethod
                def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
                    return x.exp()

                @staticmethod
                def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
                    return grad_output * module.exponential

            found: torch.Tensor = Exp.apply(x)  # type: ignore[no-untyped-call]
            return found

    module = Remembering()
    assert gl.check(module, x, probes=()).verdict == "pass"
    assert not hasattr(module, "exponential")


def test_a_reference_is_a_module_with_the_same_parameters_or_a_function_of_them(x: torch.Tensor) -> None:
    right, wrong = Net(swish).double().eval(), Net(wrong_swish).double().eval()
    for module, verdict in ((right, "pass"), (wrong, "fail")):
        assert gl.check(module, x, reference=Net(nn.functional.silu).double().eval(), probes=()).verdict == verdict
    linear = nn.Linear(3, 2).double()
    assert gl.check(linear, x, reference=nn.functional.linear, probes=()).verdict == "pass"
    with pytest.raises(gl.InvalidArgument) as caught:
        gl.check(linear, x, reference=nn.Bilinear(3, 3, 2, bias=False))
    assert str(caught.value) == "the reference has no parameter 'bias'; it has weight"


def test_a_lazy_module_is_refused(x: torch.Tensor) -> None:
    with pytest.raises(gl.InvalidArgument) as caught:
        gl.check(nn.LazyLinear(2), x)
    assert str(caught.value) == ("the parameter 'weight' of LazyLinear has no shape yet; call the module once before the check")


def test_a_module_that_calls_an_op_on_tensors_is_told_what_runs(x: torch.Tensor) -> None:
    class Direct(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return ops.relu(x)

    with pytest.raises(gl.InvalidArgument) as caught:
        gl.check(Direct(), x)
    assert str(caught.value) == (
        "Direct calls the op relu on tensors, where torch differentiates its forward and its backward never runs; "
        "call relu.as_function() in a module"
    )


def test_a_module_that_returns_no_tensor_is_refused(x: torch.Tensor) -> None:
    class Text(nn.Module):
        def forward(self, x: torch.Tensor) -> str:
            return "nothing"

    with pytest.raises(gl.InvalidArgument) as caught:
        gl.check(Text(), x)
    assert str(caught.value) == (
        "Text returned a str without a tensor; return a tensor, or a tuple, dict or dataclass of tensors"
    )
