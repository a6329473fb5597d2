"""`Op` and `@op`: what they run, what they refuse, how they are named, and the op as a differentiable function."""

import pickle
from typing import Any

import pytest
import torch
from hypothesis import given, settings

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.calls.case import Case
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops import linear, mse_loss, relu, softmax_cross_entropy
from gradcheck_lab.rules.op import Op, as_tuple
from gradcheck_lab.specs import positive, real
from gradcheck_lab.strategies import calls

EVERY = tuple(op for family in ops.FAMILIES.values() for op in family)

double = Op(lambda x: 2 * x, lambda grad_output, output, x: (2 * grad_output,), name="double")


def test_op_runs_its_forward_on_tensors() -> None:
    assert double(torch.tensor([1.0, 2.0])).tolist() == [2.0, 4.0]


def test_op_runs_its_rule() -> None:
    (grad,) = double.backward(torch.ones(2), torch.ones(2), torch.ones(2))
    assert grad.tolist() == [2.0, 2.0]


def test_op_takes_its_name_from_its_forward() -> None:
    def squared(x: torch.Tensor) -> torch.Tensor:
        return x * x

    assert Op(squared).name == "squared"
    assert Op(squared, name="square").name == "square"
    assert repr(Op(squared)) == "<op squared>"


def test_op_names_its_inputs_from_the_forward() -> None:
    assert linear.names(3) == ("x", "weight", "bias")
    assert Op(lambda *tensors: tensors[0]).names(2) == ("tensors[0]", "tensors[1]")


def test_op_names_its_inputs_from_the_rule_where_the_forward_has_none() -> None:
    assert Op(torch.exp, lambda grad_output, output, exponent: grad_output * output).names(1) == ("exponent",)


def test_decorator_makes_an_op_of_a_forward_and_its_backward() -> None:
    @gl.op(real("*s"))
    def halve(x: torch.Tensor) -> torch.Tensor:
        """x / 2."""
        return x / 2

    assert halve.rule is None

    @halve.backward
    def halve_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor]:
        """dx = g / 2.

        More about it."""
        return (grad_output / 2,)

    assert halve.rule is halve_backward
    assert halve.formula == "dx = g / 2."
    assert halve.__doc__ == "x / 2."
    assert halve.specs == (real("*s"),)
    assert gl.check(halve, torch.ones(3), probes=()).verdict == "pass"


def test_op_accepts_any_of_its_signatures() -> None:
    @gl.op(real("n d"))
    def rows(x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    rows.accepts(positive("n"))
    rows(torch.ones(2, 3))
    rows(torch.ones(2))
    with pytest.raises(InvalidArgument) as error:
        rows(torch.ones(2, 3, 4))
    assert str(error.value) == "rows: 'x' has shape (2, 3, 4) with 3 dimensions; its spec real('n d') needs 2"


def test_validator_sees_inputs_and_options() -> None:
    seen: list[Any] = []
    checked = Op(lambda x, *, power=2: x**power, name="checked")
    checked.validator(lambda x, **options: seen.append((x.shape, options)))
    checked(torch.ones(2), power=3)
    assert seen == [(torch.Size([2]), {"power": 3})]


def test_op_without_specs_takes_any_inputs() -> None:
    anything = Op(lambda x, scale: x * scale, name="anything")
    assert anything(torch.ones(2), 3).tolist() == [3.0, 3.0]


def test_function_takes_an_option_by_keyword_only() -> None:
    with pytest.raises(InvalidArgument) as error:
        mse_loss(torch.ones(2, 1), torch.ones(2, 1), "sum")
    assert str(error.value) == "mse_loss: it takes 2 inputs and 3 were given"


@pytest.mark.parametrize("op", EVERY, ids=lambda op: op.name)
def test_function_of_an_op_has_the_rules_gradients(op: Op) -> None:
    @settings(max_examples=30)
    @given(calls(op))
    def agrees(case: Case) -> None:
        inputs = [v.detach().clone().requires_grad_() if v.is_floating_point() else v for v in case.inputs]
        output = op.as_function()(*inputs, **case.options)
        outputs = as_tuple(output)
        upstream, values = tuple(map(torch.ones_like, outputs)), tuple(value.detach() for value in outputs)
        torch.autograd.backward(outputs, upstream)
        several = isinstance(output, tuple)
        first, second = (upstream, values) if several else (upstream[0], values[0])
        expected = op.backward(first, second, *(v.detach() for v in inputs), **case.options)
        for value, grad in zip(inputs, expected, strict=True):
            if value.requires_grad:
                torch.testing.assert_close(value.grad, grad, equal_nan=True)

    agrees()


def test_function_passes_gradcheck() -> None:
    x, w, b = (torch.randn(s, generator=torch.Generator().manual_seed(0)).double() for s in ((4, 3), (2, 3), (2,)))
    leaves = [value.requires_grad_() for value in (x, w, b)]
    assert torch.autograd.gradcheck(linear.as_function(), leaves)


def test_function_runs_the_rule_and_not_autograd() -> None:
    tripled = Op(lambda x: 2 * x, lambda grad_output, output, x: (3 * grad_output,), name="tripled")
    x = torch.ones(2, requires_grad=True)
    tripled.as_function()(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [3.0, 3.0]


def test_function_may_stand_twice_in_a_graph() -> None:
    square = Op(lambda x: x * x, lambda grad_output, output, x: (2 * x * grad_output,), name="square").as_function()
    x = torch.tensor([2.0], requires_grad=True)
    square(square(x)).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [4 * 2.0**3]


def test_function_of_several_outputs_gets_every_upstream() -> None:
    pair = Op(lambda x: (x, 2 * x), lambda gs, ys, x: (gs[0] + 2 * gs[1],), name="pair").as_function()
    x = torch.ones(2, requires_grad=True)
    first, second = pair(x)
    (first + 10 * second).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [21.0, 21.0]


def test_function_validates_its_inputs() -> None:
    with pytest.raises(InvalidArgument, match=r"^mse_loss: prediction has shape \(4, 1\) and target \(4,\)"):
        mse_loss.as_function()(torch.ones(4, 1), torch.ones(4))


class Network(torch.nn.Module):
    """Two layers and a loss, each with its hand-written backward."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        shapes = [(8, 2), (8,), (2, 8), (2,)]
        self.parameters_ = torch.nn.ParameterList(torch.randn(s, generator=generator) / 2 for s in shapes)

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        W1, b1, W2, b2 = self.parameters_
        hidden = relu.as_function()(linear.as_function()(x, W1, b1))
        loss: torch.Tensor = softmax_cross_entropy.as_function()(linear.as_function()(hidden, W2, b2), target)
        return loss


def test_functions_train_in_a_module_under_an_optimizer() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 2, generator=generator)
    target = (x[:, 0] * x[:, 1] > 0).long()
    network = Network(generator)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = network(x, target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3


@pytest.mark.parametrize("op", EVERY, ids=lambda op: op.name)
def test_op_of_the_library_is_importable_by_its_name(op: Op) -> None:
    assert pickle.loads(pickle.dumps(op.rule)) is op.rule
    assert getattr(ops, op.name) is op
