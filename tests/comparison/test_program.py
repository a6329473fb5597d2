"""Random programs: every intermediate and parameter agrees, and a wrong op among sound ones is the one that is blamed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.calls.drawing import ordinary_call
from gradcheck_lab.engine.variable import Variable
from gradcheck_lab.ops import add, linear, matmul, mse_loss, mul, neg, relu, softmax_cross_entropy, sub
from gradcheck_lab.rules.op import Op
from tests.lanes import examples
from tests.mistakes import copy_of, scaled

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
ROWS, WIDTH = 3, 4

# every step reads earlier values by their number and keeps the shape (ROWS, WIDTH)
STEPS: dict[str, tuple[Op, int]] = {
    "relu": (relu, 1),
    "neg": (neg, 1),
    "add": (add, 2),
    "sub": (sub, 2),
    "mul": (mul, 2),
    "linear": (linear, 1),
    "matmul": (matmul, 1),
    "shift": (add, 1),
    "tanh": (ops.tanh, 1),
    "gelu": (ops.gelu, 1),
    "maximum": (ops.maximum, 2),
    "cumsum": (ops.cumsum, 1),
    "flip": (ops.flip, 1),
}


@dataclass(frozen=True)
class Step:
    kind: str
    sources: tuple[int, ...]


@st.composite
def programs(draw: st.DrawFn) -> tuple[Step, ...]:
    """Chains, and diamonds where a value is read more than once; the last step reads the one before it."""
    steps = []
    for number in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from([*STEPS]))
        # the newest value is read more often, so that few steps are dead
        source = st.sampled_from([number, number, *range(number + 1)])
        steps.append(Step(kind, tuple(draw(source) for _ in range(STEPS[kind][1]))))
    return tuple(steps)


def build(steps: Sequence[Step], wrong: dict[int, Op] | None = None) -> Callable[..., Any]:
    """The program of some steps, over `x`, a weight, a bias and a target; `wrong` replaces the op of a step."""

    def program(x: Any, weight: Any, bias: Any, target: Any) -> Any:
        values = [x]
        for number, step in enumerate(steps):
            op = (wrong or {}).get(number, STEPS[step.kind][0])
            operands = [values[source] for source in step.sources]
            parameters = {"linear": (weight, bias), "matmul": (weight,), "shift": (bias,)}.get(step.kind, ())
            values.append(op(*operands, *parameters))
        return softmax_cross_entropy(values[-1], target)

    return program


def inputs_of(seed: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(ROWS, WIDTH), (WIDTH, WIDTH), (WIDTH,)]
    tensors = [(torch.randn(shape, generator=generator, dtype=torch.float64) / 2).to(dtype) for shape in shapes]
    return (*tensors, torch.arange(ROWS) % WIDTH)


@examples(30, 1200)
@given(dtype=st.sampled_from(DTYPES), steps=programs(), seed=st.integers(0, 2**32 - 1))
def test_random_program_passes_at_every_intermediate_and_parameter(
    dtype: torch.dtype, steps: tuple[Step, ...], seed: int
) -> None:
    report = gl.check(build(steps), *inputs_of(seed, dtype), probes=(), seed=seed)
    assert report.verdict == "pass", report
    compared = [gradient for gradient in report.gradients if gradient.elements]
    read = {source for step in steps for source in step.sources} | {len(steps)}
    assert len(compared) == 3 + sum(number in read for number in range(1, len(steps) + 1))


@examples(20, 800)
@given(steps=programs(), data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_wrong_op_among_sound_ones_is_blamed(steps: tuple[Step, ...], data: st.DataObject, seed: int) -> None:
    place = data.draw(st.integers(0, len(steps) - 1), label="wrong step")
    sound = STEPS[steps[place].kind][0]
    wrong = copy_of(sound, scaled(sound, 0, lambda *inputs: 3.0))
    wrong.name = "wrong_op"
    program, inputs = build(steps, {place: wrong}), inputs_of(seed)
    report = gl.check(program, *inputs, probes=(), seed=seed)
    if report.verdict == "pass":
        assert not reached(steps, {place: wrong}, inputs), report
        return
    assert report.verdict == "fail"
    errors = [finding for finding in report.findings if finding.severity == "error"]
    assert {finding.op for finding in errors} == {"wrong_op"}, report
    assert {finding.cause for finding in errors} <= {"constant-factor", "outside-subdifferential"}, report  # at a tie
    for gradient in report.gradients:
        assert gradient.verdict == "pass" or gradient.contaminated_by == "wrong_op", report


def reached(steps: Sequence[Step], wrong: dict[int, Op], inputs: tuple[torch.Tensor, ...]) -> bool:
    """Whether the mistake shows: the first operand of the wrong step gets a gradient other than zero from it."""
    (place,) = wrong
    shares: list[torch.Tensor] = []

    def spying(grad_output: torch.Tensor, output: torch.Tensor, *operands: torch.Tensor) -> Any:
        grads = STEPS[steps[place].kind][0].backward(grad_output, output, *operands)
        shares.append(grads[0])
        return grads

    spy = copy_of(wrong[place], spying)
    leaves = [Variable(value) for value in inputs[:3]]
    build(steps, {place: spy})(*leaves, inputs[3]).backward()
    return any(bool(share.any()) for share in shares)


def diamond(x: Any) -> Any:
    doubled = add(x, x)
    squared = mul(doubled, x)
    positive = relu(squared)
    return add(positive, squared)


def test_diamond_lists_its_intermediates_in_backward_order() -> None:
    report = gl.check(diamond, torch.tensor([1.0, -2.0, 3.0]), probes=())
    assert report.verdict == "pass", report
    assert [gradient.name for gradient in report.gradients] == ["positive", "squared", "doubled", "x"]
    labels = [gradient.label for gradient in report.gradients]
    assert labels == ["intermediate 'positive'", "intermediate 'squared'", "intermediate 'doubled'", "input 0 'x'"]


def test_gradients_before_the_wrong_op_are_contaminated_and_those_after_it_pass() -> None:
    halved = copy_of(relu, scaled(relu, 0, lambda *inputs: 0.5))

    def network(x: Any, W1: Any, b1: Any, W2: Any, b2: Any, target: Any) -> Any:
        Z1 = linear(x, W1, b1)
        A1 = halved(Z1)
        Z2 = linear(A1, W2, b2)
        return mse_loss(Z2, target)

    generator = torch.Generator().manual_seed(0)
    shapes = [(5, 3), (4, 3), (4,), (2, 4), (2,), (5, 2)]
    inputs = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    report = gl.check(network, *inputs, probes=())
    verdicts = {gradient.name: (gradient.verdict, gradient.contaminated_by) for gradient in report.gradients}
    right, spoilt = ("pass", None), ("fail", "relu (A1)")
    assert verdicts == {
        "Z2": right,
        "A1": right,
        "Z1": spoilt,
        "x": spoilt,
        "W1": spoilt,
        "b1": spoilt,
        "W2": right,
        "b2": right,
        "target": right,
    }
    (finding,) = report.findings
    assert finding.message == "relu (A1): gradient of input 0 'x' is wrong in 7 of 20 elements"
    assert finding.explanation == "it is exactly half the reference"


def test_two_wrong_ops_are_both_blamed() -> None:
    halved = copy_of(relu, scaled(relu, 0, lambda *inputs: 0.5))
    flipped = copy_of(mul, scaled(mul, 1, lambda *inputs: -1))

    def program(x: Any, y: Any) -> Any:
        first = halved(x)
        second = flipped(first, y)
        return add(second, x)

    report = gl.check(program, torch.tensor([1.0, 2.0]).double(), torch.tensor([3.0, 4.0]).double(), probes=())
    blamed = {(finding.op, finding.cause) for finding in report.findings}
    assert blamed == {("relu (first)", "constant-factor"), ("mul (second)", "sign")}
    assert {g.name: g.verdict for g in report.gradients} == {"second": "pass", "first": "pass", "x": "fail", "y": "fail"}


def test_value_used_twice_accumulates() -> None:
    report = gl.check(lambda x: mul(x, x), torch.tensor([1.0, -2.0, 3.0]).double(), probes=())
    assert report.verdict == "pass", report


def test_program_with_another_convention_at_a_kink_passes() -> None:
    half = copy_of(relu, lambda g, y, x: (g * torch.heaviside(x, torch.full_like(x, 0.5)),))
    x = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    report = gl.check(lambda x: mul(half(x), x), x, probes=())
    assert report.verdict == "pass", report


def test_program_of_several_outputs_passes() -> None:
    def program(x: Any, y: Any) -> Any:
        total = add(x, y)
        product = mul(total, x)
        return product, neg(total)

    report = gl.check(program, torch.tensor([1.0, 2.0]).double(), torch.tensor([3.0]).double(), probes=())
    assert report.verdict == "pass", report
    assert [gradient.name for gradient in report.gradients] == ["total", "x", "y"]


def test_program_that_changes_between_runs_is_inconclusive() -> None:
    turn = iter(range(100))
    report = gl.check(lambda x: (relu if next(turn) % 2 else neg)(x), torch.tensor([1.0, 2.0]).double(), probes=())
    assert report.verdict == "inconclusive"
    assert report.reasons == ("<lambda> called other ops on its second run; make its control flow repeatable",)


def test_operators_of_tensors_and_variables_run_the_same_ops() -> None:
    def program(x: Any, y: Any) -> Any:
        return (2 * x - y) / (1 + y * y) @ x

    x, y = torch.eye(2).double() + 1, torch.ones(2, 2).double()
    report = gl.check(program, x, y, probes=())
    assert report.verdict == "pass", report
    assert [gradient.name for gradient in report.gradients[:2]] == ["div", "add"]


@pytest.mark.parametrize("op", [op for family in ops.FAMILIES.values() for op in family], ids=lambda op: op.name)
def test_every_op_can_stand_in_a_program(op: Op) -> None:
    case = ordinary_call(op, op.specs, 0)

    def program(*inputs: Any) -> Any:
        return op(*inputs, **case.options)

    report = gl.check(program, *case.inputs, probes=())
    assert report.verdict == "pass", report


@pytest.mark.parametrize("program", [lambda x: ops.relu(x**2), lambda x: ops.exp(x**3.0), lambda x: ops.relu(2.0**x)])
def test_a_number_as_an_exponent_has_no_gradient_where_the_base_is_negative(program: Any) -> None:
    x = torch.tensor([[-1.5, 0.5], [0.25, -0.75]], dtype=torch.float64)
    assert gl.check(program, x, probes=()).verdict == "pass"
