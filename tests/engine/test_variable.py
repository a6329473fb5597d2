"""The manual engine: operators, accumulation, several outputs, order of the walk, and no autograd underneath."""

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck_lab.engine.variable import Variable
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops import add, matmul, mul, neg, relu
from gradcheck_lab.rules.op import Op

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "truediv": operator.truediv,
    "matmul": operator.matmul,
}

split = Op(
    lambda x: (x[0], 2 * x[1]),
    lambda grad_outputs, outputs, x: (torch.stack([grad_outputs[0], 2 * grad_outputs[1]]),),
    name="split",
)


def leaf(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


A, B = leaf([[1.0, -2.0], [3.0, 0.5]]), leaf([[2.0, 1.5], [-1.0, 4.0]])


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_of_two_variables_has_autograds_gradients(name: str) -> None:
    apply = OPERATORS[name]
    a, b = A.clone().requires_grad_(), B.clone().requires_grad_()
    expected = apply(a, b)
    expected.sum().backward()
    x, y = Variable(A), Variable(B)
    output = apply(x, y)
    output.backward(torch.ones(2, 2).double())
    torch.testing.assert_close(output.data, expected.detach())
    torch.testing.assert_close(x.grad, a.grad)
    torch.testing.assert_close(y.grad, b.grad)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv"])
@pytest.mark.parametrize("other", [3, 2.5, B], ids=["int", "float", "tensor"])
def test_operator_takes_numbers_and_tensors_on_either_side(name: str, other: Any) -> None:
    apply = OPERATORS[name]
    for swap in (False, True):
        a = A.clone().requires_grad_()
        expected = apply(other, a) if swap else apply(a, other)
        expected.sum().backward()
        x = Variable(A)
        output = apply(other, x) if swap else apply(x, other)
        assert isinstance(output, Variable)
        output.backward(torch.ones(2, 2).double())
        torch.testing.assert_close(output.data, expected.detach())
        torch.testing.assert_close(x.grad, a.grad)


def test_tensor_times_variable_is_a_matrix_product() -> None:
    x = Variable(A)
    output = B @ x
    output.backward(torch.ones(2, 2).double())
    torch.testing.assert_close(output.data, B @ A)
    torch.testing.assert_close(x.grad, B.T @ torch.ones(2, 2).double())


def test_negation_flips_the_gradient() -> None:
    x = Variable(2.0)
    (-x).backward()
    assert x.grad == -1.0


def test_gradients_add_up_on_fan_out() -> None:
    x = Variable(3.0)
    y = x * x + x * 2 + x
    y.backward()
    assert x.grad == 2 * 3.0 + 2 + 1


def test_every_intermediate_gets_a_gradient() -> None:
    x = Variable(3.0)
    doubled = x + x
    squared = doubled * doubled
    squared.backward()
    assert squared.grad == 1.0
    assert doubled.grad == 12.0
    assert x.grad == 24.0


def test_second_backward_adds_to_the_first() -> None:
    x = Variable(3.0)
    y = x * x
    y.backward()
    y.backward()
    assert x.grad == 12.0


def test_long_way_round_is_walked_before_the_short_one() -> None:
    calls: list[str] = []

    def named(name: str) -> Op:
        return Op(lambda x: x + 0, lambda g, y, x: calls.append(name) or (g,), name=name)

    first, second, third = named("first"), named("second"), named("third")
    x = Variable(1.0)
    a = first(x)
    (a + third(second(a))).backward()
    assert calls == ["third", "second", "first"]
    assert x.grad == 2.0


def test_chain_of_ten_thousand_does_not_overflow_the_stack() -> None:
    x = y = Variable(1.0)
    for _ in range(10_000):
        y = neg(y)
    y.backward()
    assert x.grad == 1.0


def test_several_outputs_send_their_gradients_together() -> None:
    x = Variable(leaf([[1.0, 2.0], [3.0, 4.0]]))
    first, second = split(x)
    (first * second).backward(leaf([1.0, 10.0]))
    torch.testing.assert_close(x.grad, leaf([[6.0, 80.0], [2.0, 40.0]]))


def test_unused_output_counts_as_zero() -> None:
    x = Variable(leaf([[1.0, 2.0], [3.0, 4.0]]))
    _, second = split(x)
    second.backward(leaf([1.0, 10.0]))
    torch.testing.assert_close(x.grad, leaf([[0.0, 0.0], [2.0, 20.0]]))


def test_none_for_an_input_stops_there() -> None:
    first_only = Op(lambda x, y: x * 2, lambda g, out, x, y: (2 * g, None), name="first_only")
    x, y = Variable(1.0), Variable(1.0)
    first_only(x, y).backward()
    assert x.grad == 2.0
    assert y.grad is None


def test_variable_takes_no_part_in_autograd() -> None:
    tensor = torch.tensor([1.0, 2.0], requires_grad=True)
    x = Variable(tensor)
    y = relu(x * 2)
    y.backward(torch.ones(2))
    assert not y.data.requires_grad
    assert x.grad is not None
    assert not x.grad.requires_grad
    assert tensor.grad is None


def test_variable_shares_its_tensor_and_never_writes_it() -> None:
    tensor = torch.tensor([1.0, -2.0])
    x = Variable(tensor)
    relu(x).backward(torch.ones(2))
    assert x.data.data_ptr() == tensor.data_ptr()
    assert tensor.tolist() == [1.0, -2.0]


def test_upstream_is_not_written_by_accumulation() -> None:
    x, upstream = Variable(torch.tensor([1.0, -2.0])), torch.ones(2)
    add(x, x).backward(upstream)
    assert x.grad is not None
    assert upstream.tolist() == [1.0, 1.0]
    assert x.grad.tolist() == [2.0, 2.0]


def test_number_becomes_float64() -> None:
    assert Variable(2).dtype == torch.float64
    assert Variable(2.5).item() == 2.5
    assert Variable(2.5).shape == ()


def test_variable_shows_its_tensor_and_name() -> None:
    assert repr(Variable(2.0)) == "<Variable tensor(2., dtype=torch.float64)>"
    assert repr(Variable(torch.ones(1), name="W")) == "<Variable 'W' tensor([1.])>"


def test_variable_has_a_tensors_size() -> None:
    x = Variable(torch.zeros(2, 3))
    assert (x.ndim, len(x), x.numel(), x.size(), x.size(1)) == (2, 2, 6, torch.Size([2, 3]), 3)
    assert x.device == torch.device("cpu")


@pytest.mark.parametrize("name", ["exp", "mean", "backward_hooks", "_private"])
def test_unknown_attribute_is_an_attribute_error(name: str) -> None:
    assert not hasattr(Variable(1.0), name)


def test_tensor_method_names_the_op_to_use() -> None:
    with pytest.raises(InvalidArgument) as error:
        _ = Variable(1.0).relu
    assert str(error.value) == (
        "torch's relu was applied to a Variable, which runs hand-written ops only; use gradcheck_lab.ops.relu"
    )


steps = st.tuples(st.sampled_from(["add", "mul", "neg", "relu", "matmul"]), st.integers(0, 9), st.integers(0, 9))


@settings(max_examples=100)
@given(steps=st.lists(steps, max_size=8), seed=st.integers(0, 2**32 - 1))
def test_random_graph_has_autograds_gradients_everywhere(steps: list[tuple[str, int, int]], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    upstream = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    unary: dict[str, tuple[Any, Any]] = {"neg": (neg, torch.neg), "relu": (relu, torch.relu)}
    binary: dict[str, tuple[Any, Any]] = {
        "add": (add, torch.add),
        "mul": (mul, torch.mul),
        "matmul": (matmul, torch.matmul),
    }
    mine: list[Any] = [Variable(start)]
    theirs = [start.clone().requires_grad_()]
    for name, i, j in steps:
        i, j = i % len(mine), j % len(mine)
        if name in unary:
            mine.append(unary[name][0](mine[i]))
            theirs.append(unary[name][1](theirs[i]))
        else:
            mine.append(binary[name][0](mine[i], mine[j]))
            theirs.append(binary[name][1](theirs[i], theirs[j]))
        theirs[-1].retain_grad()
    mine[-1].backward(upstream)
    theirs[-1].backward(upstream)
    for found, expected in zip(mine, theirs, strict=True):
        assert (found.grad is None) == (expected.grad is None)
        if expected.grad is not None:
            torch.testing.assert_close(found.grad, expected.grad, rtol=1e-9, atol=1e-9 * float(expected.grad.abs().max()))
