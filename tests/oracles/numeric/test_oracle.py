"""Numeric oracles: the true derivative lies within value ± error, the error is small, and what has none is flagged."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gradcheck_lab import ops
from gradcheck_lab.calls.case import Case
from gradcheck_lab.calls.drawing import draw_inputs
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.oracles.numeric import complex_step, finite_difference, forward_mode
from gradcheck_lab.oracles.numeric.guard import guard
from gradcheck_lab.oracles.numeric.oracle import NumericOracle
from gradcheck_lab.oracles.numeric.scalar_problem import Problem, inner
from gradcheck_lab.oracles.numeric.wide_problem import problem_of
from gradcheck_lab.subjects.op import adapt_op
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Subject

F64 = torch.float64
METHODS = {"complex_step": complex_step, "forward_mode": forward_mode, "finite_difference": finite_difference}


def _draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def _positive(*shape: int) -> torch.Tensor:
    return _draw(*shape).abs() + 0.25


def _subject(function: Callable[..., Any], inputs: tuple[Any, ...]) -> Subject:
    def forward(values: tuple[Any, ...], options: Any) -> tuple[Any, ...]:
        found = function(*values, **options)
        return found if isinstance(found, tuple) else (found,)

    names = tuple(f"x{i}" for i in range(len(inputs)))
    return Subject("f", "function", inputs, names, names, None, None, forward)  # type: ignore[arg-type]


def _problem(function: Callable[..., Any], *inputs: Any, seed: int = 3) -> Problem:
    subject = _subject(function, inputs)
    generator = torch.Generator().manual_seed(seed)
    copies = tuple(x.clone() if isinstance(x, torch.Tensor) else x for x in inputs)
    grads = tuple(random_like(o, generator) for o in subject.forward(copies, {}))
    return problem_of(Runner(subject), Case(inputs, {}, grads, seed))


def _oracle(function: Callable[..., Any], *inputs: Any) -> tuple[NumericOracle, tuple[torch.Tensor, ...]]:
    problem = _problem(function, *inputs)
    case = Case(inputs, {}, problem.grad_outputs, problem.seed)
    return NumericOracle(Runner(_subject(function, inputs)), case), problem.grad_outputs


def _autograd(function: Callable[..., Any], inputs: tuple[Any, ...], grads: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    leaves = [x.clone().requires_grad_() for x in inputs]
    return list(torch.autograd.grad(function(*leaves), leaves, grads[0]))


# name: forward, derivative where it is elementwise (else autograd's), inputs, relative error demanded of central differences
SMOOTH: dict[str, tuple[Callable[..., Any], Callable[..., Any] | None, tuple[torch.Tensor, ...], float]] = {
    "sin": (torch.sin, torch.cos, (_draw(4, 3),), 1e-9),
    "exp": (torch.exp, torch.exp, (_draw(4, 3),), 1e-9),
    "tanh": (torch.tanh, lambda x: 1 / torch.cosh(x) ** 2, (_draw(4, 3),), 1e-9),
    "cube": (lambda x: x**3, lambda x: 3 * x**2, (_draw(4, 3),), 1e-9),
    "power": (lambda x: x**2.5, lambda x: 2.5 * x**1.5, (_positive(4, 3),), 1e-9),
    "log at 1e-7": (torch.log, torch.reciprocal, (1e-7 * _positive(5),), 1e-9),
    "log over decades": (torch.log, torch.reciprocal, (torch.tensor([1e-7, 1e-3, 1.0, 50.0], dtype=F64),), 1e-9),
    "sqrt at 1e-8": (torch.sqrt, lambda x: 0.5 / x.sqrt(), (1e-8 * _positive(5),), 1e-9),
    "reciprocal": (lambda x: 1 / x, lambda x: -1 / x**2, (_draw(4, 3),), 1e-8),
    "linear": (lambda x: 3 * x, lambda x: torch.full_like(x, 3), (_draw(9),), 1e-11),
    "stiff": (lambda x: torch.exp(20 * x), lambda x: 20 * torch.exp(20 * x), (_draw(9),), 1e-7),
    "oscillating": (lambda x: torch.sin(50 * x), lambda x: 50 * torch.cos(50 * x), (_draw(9),), 1e-7),
    "periodic in the steps": (
        lambda x: torch.sin(64 * math.pi * x), lambda x: 64 * math.pi * torch.cos(64 * math.pi * x), (_draw(9),), 1e-7,
    ),
    "large inputs": (lambda x: torch.sin(x / 100), lambda x: torch.cos(x / 100) / 100, (1e3 * _draw(5),), 1e-9),
    "zeros": (torch.sin, torch.cos, (torch.zeros(4, dtype=F64),), 1e-9),
    "product": (torch.mul, None, (_draw(4, 3), _draw(4, 3, seed=2)), 1e-9),
    "matmul": (torch.matmul, None, (_draw(4, 6), _draw(6, 5, seed=2)), 1e-9),
    "softmax": (lambda x: x.softmax(-1), None, (_draw(4, 7),), 1e-9),
    "softmax by hand": (lambda x: x.exp() / x.exp().sum(-1, keepdim=True), None, (_draw(4, 7),), 1e-9),
    "norm": (lambda x: torch.linalg.vector_norm(x, dim=-1), None, (_draw(4, 7),), 1e-9),
    "sum of 10000": (lambda x: (x.sin() * x).sum(), None, (_draw(10_000),), 1e-9),
    "100000 elements": (torch.tanh, None, (_draw(100_000),), 1e-8),
}  # fmt: skip
FORWARD_ONLY = {"softmax", "norm"}


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("method", METHODS)
def test_the_true_derivative_lies_within_a_small_error(name: str, method: str) -> None:
    function, derivative, inputs, demanded = SMOOTH[name]
    problem = _problem(function, *inputs)
    directions = problem.random_directions(5)
    if derivative is None:
        gradients = _autograd(function, inputs, problem.grad_outputs)
    else:
        gradients = [problem.grad_outputs[0] * derivative(inputs[0])]
    expected = sum(inner(g, directions[i]) for i, g in enumerate(gradients))
    size = math.hypot(*(float((g * directions[i]).norm()) for i, g in enumerate(gradients)))
    found = METHODS[method].directional(problem, directions)
    if method == "complex_step" and name in FORWARD_ONLY:
        assert found is None
        return
    assert found is not None
    assert found.flag == ""
    assert abs(found.value - expected) <= found.error + 1e-15 * size
    assert found.error <= size * (demanded if method == "finite_difference" else 1e-11)


def test_complex_step_is_exact_to_rounding() -> None:
    problem = _problem(torch.exp, _draw(4, 3))
    found = complex_step.directional(problem, problem.random_directions(5))
    assert found is not None
    assert found.error <= 1e-13 * abs(found.value)


def test_the_error_holds_over_many_points() -> None:
    compared = 0
    for seed in range(25):
        for function in (
            torch.tanh,
            torch.exp,
            lambda x: (x.sin() * x).sum(),
            lambda x: x.softmax(-1),
            lambda x: x.logsumexp(0),
        ):
            x = _draw(3, 5, seed=seed)
            problem = _problem(function, x, seed=seed)
            directions = problem.random_directions(seed)
            expected = inner(_autograd(function, (x,), problem.grad_outputs)[0], directions[0])
            found = finite_difference.directional(problem, directions)
            assert abs(found.value - expected) <= found.error <= 1e-8
            compared += 1
    assert compared == 125


def _cast_in_place(x: torch.Tensor) -> torch.Tensor:
    buffer = torch.zeros(5, dtype=F64)
    buffer.copy_(x)
    return buffer * x


NOT_HOLOMORPHIC: dict[str, Callable[..., Any]] = {
    "abs": torch.abs,
    "conj": lambda x: x * x.conj(),
    "conj in one element": lambda x: torch.cat([x[:1].conj() ** 2, x[1:] ** 2]),
    "real": lambda x: x * x.real,
    "comparison": lambda x: torch.where(x > 0, x, 0.1 * x),
    "comparison of real parts": lambda x: torch.where(x.real > 0, x * x.real, x),
    "relu": torch.relu,
    "max": lambda x: x.amax(-1),
    "cast in place": _cast_in_place,
    "numpy abs": lambda x: torch.from_numpy(np.abs(x.numpy())),
}


@pytest.mark.parametrize("name", NOT_HOLOMORPHIC)
def test_complex_step_refuses_what_is_not_holomorphic(name: str) -> None:
    problem = _problem(NOT_HOLOMORPHIC[name], _draw(5))
    assert complex_step.directional(problem, problem.random_directions(5)) is None


FORWARD_MODE_LIES: dict[str, Callable[..., Any]] = {
    "detach": lambda x: x.detach() * x,
    "detach in one element": lambda x: x * torch.where(torch.arange(5) == 3, x.detach(), x),
    "numpy": lambda x: torch.from_numpy(x.detach().numpy() ** 2),
    "data": lambda x: x.data.sin() + x,
}


@pytest.mark.parametrize("name", FORWARD_MODE_LIES)
def test_forward_mode_is_refused_where_the_forward_leaves_it(name: str) -> None:
    problem = _problem(FORWARD_MODE_LIES[name], _draw(5))
    assert forward_mode.directional(problem, problem.random_directions(5)) is None


BENT: dict[str, tuple[Callable[..., Any], list[float], str]] = {
    "relu at 0": (torch.relu, [0.0, 1.0, -1.0], "kink"),
    "abs at 0": (torch.abs, [0.0, 0.5], "kink"),
    "max of a tie": (lambda x: x.amax(-1), [0.7, 0.7, 0.5], "kink"),
    "clamp at its bound": (lambda x: x.clamp(-1, 1), [1.0, 0.3], "kink"),
    "relu at 0, summed": (lambda x: torch.relu(x).sum(), [0.0, 1.0, -1.0], "kink"),
    "norm at 0": (torch.linalg.vector_norm, [0.0, 0.0], "kink"),
    "sqrt of abs": (lambda x: x.abs().sqrt(), [0.0, 1.0], "kink"),
    "floor at 2": (torch.floor, [2.0, 0.5], "jump"),
    "round at a half": (torch.round, [0.5, 1.0], "jump"),
    "sign at 0": (torch.sign, [0.0, 1.0], "jump"),
    "sqrt at 0": (torch.sqrt, [0.0, 1.0], "non-finite"),
}


@pytest.mark.parametrize("name", BENT)
def test_kinks_and_jumps_are_flagged(name: str) -> None:
    function, values, flag = BENT[name]
    oracle, _ = _oracle(function, torch.tensor(values, dtype=F64))
    found = oracle.derivative(oracle.problem.random_directions(5))
    assert (found.flag, found.error) == (flag, math.inf)


@pytest.mark.parametrize("name", ["relu", "floor", "sign", "abs"])
def test_away_from_kinks_nothing_is_flagged(name: str) -> None:
    function = getattr(torch, name)
    x = torch.tensor([1e-9, 0.3, -0.7, 1.4], dtype=F64)
    oracle, grads = _oracle(function, x)
    assert oracle.check_directions({0: _autograd(function, (x,), grads)[0]}) == []
    assert oracle.unseen == {}


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (lambda a: np.tanh(a) * a, lambda x: torch.tanh(x) + x / torch.cosh(x) ** 2),
        (lambda a: np.abs(a) ** 3, lambda x: 3 * x * x.abs()),
        (lambda a: np.maximum(a, 0.0), lambda x: (x > 0).double()),
    ],
    ids=["holomorphic", "abs", "maximum"],
)
def test_numpy_forwards_are_differentiated(function: Callable[..., Any], slope: Callable[..., Any]) -> None:
    x = _draw(6)
    oracle, grads = _oracle(lambda x: torch.from_numpy(function(x.numpy())), x)
    estimate = oracle.gradient(0)
    assert estimate.value is not None
    assert float((estimate.value - grads[0] * slope(x)).abs().max()) <= estimate.error <= 1e-10


def _float32_only(x: torch.Tensor) -> torch.Tensor:
    if x.dtype != torch.float32:
        raise TypeError("this kernel takes float32")
    return torch.tanh(x)


@pytest.mark.parametrize(
    "function",
    [
        _float32_only,
        lambda x: torch.tanh(x.float()).double(),
        lambda x: torch.from_numpy(np.tanh(x.numpy().astype(np.float32))),
    ],
    ids=["float32 only", "float32 inside", "numpy float32 inside"],
)
def test_float32_forwards_give_an_honest_larger_error(function: Callable[..., Any]) -> None:
    for seed in range(20):
        x = _draw(7, seed=seed).float()
        problem = _problem(function, x, seed=seed)
        directions = problem.random_directions(seed)
        expected = inner(problem.grad_outputs[0].double() / torch.cosh(x.double()) ** 2, directions[0])
        found = finite_difference.directional(problem, directions)
        assert abs(found.value - expected) <= found.error
        assert 1e-8 < found.error < 1e-2


def test_half_precision_inside_is_seen() -> None:
    x = _draw(7)
    problem = _problem(lambda x: torch.tanh(x.bfloat16()).double(), x)
    directions = problem.random_directions(5)
    expected = inner(problem.grad_outputs[0] / torch.cosh(x) ** 2, directions[0])
    found = finite_difference.directional(problem, directions)
    assert found.error > 1e-3
    assert abs(found.value - expected) <= found.error


@pytest.mark.parametrize("method", ["forward_mode", "finite_difference"])
def test_random_numbers_are_replayed(method: str) -> None:
    problem = _problem(lambda x: torch.nn.functional.dropout(x, 0.5) ** 2, _draw(50))
    directions = problem.random_directions(5)
    first = METHODS[method].directional(problem, directions)
    assert first.flag == ""
    assert first.error < 1e-9
    assert METHODS[method].directional(problem, directions).value == pytest.approx(first.value, abs=first.error)


@pytest.mark.parametrize("function", [torch.tanh, lambda x: x.softmax(-1), lambda x: torch.from_numpy(np.arctan(x.numpy()))])
def test_evaluations_do_not_depend_on_the_size(function: Callable[..., Any]) -> None:
    counts = []
    for n in (100, 10_000):
        oracle, grads = _oracle(function, 2 + 0.1 * torch.rand(n, generator=torch.Generator().manual_seed(0), dtype=F64))
        oracle.check_directions({0: torch.zeros_like(grads[0])}, count=4)
        counts.append(oracle.problem.runner.evaluations.forward)
    # one more stage of a sweep, where the errors of many groups add up, and no more than that
    assert abs(counts[0] - counts[1]) <= 16
    assert max(counts) <= 120


def test_every_call_of_the_forward_is_counted_and_leaves_the_inputs() -> None:
    calls = []

    def function(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return x.mul_(x)

    x = _draw(5)
    runner = Runner(_subject(function, (x,)))
    oracle = NumericOracle(runner, Case((x,), {}, (torch.ones(5, dtype=F64),)))
    oracle.check_directions({0: 2 * x})
    assert runner.evaluations.forward == len(calls) > 8
    assert torch.equal(x, _draw(5))


@pytest.mark.parametrize("op", [ops.mul, ops.div, ops.matmul, ops.relu], ids=lambda op: op.name)
def test_ops_agree_with_their_hand_written_rules(op: Any) -> None:
    inputs = draw_inputs(op.specs, seed=4)
    subject = adapt_op(op, inputs, {})
    assert subject is not None
    output = op(*inputs)
    upstream = random_like(output, torch.Generator().manual_seed(0))
    oracle = NumericOracle(Runner(subject), Case(inputs, {}, (upstream,)))
    manual = dict(enumerate(op.backward(upstream, output, *inputs)))
    assert oracle.check_directions(manual) == []
    assert oracle.sensitivity.keys() == manual.keys()
    assert {failure.index for failure in oracle.check_directions({i: g * (1 + 1e-9) for i, g in manual.items()})} == set(manual)


@pytest.mark.parametrize(
    "function", [torch.tanh, lambda x: torch.from_numpy(np.abs(np.sin(x.numpy())))], ids=["torch", "numpy"]
)
def test_wrong_elements_are_located_by_halving(function: Callable[..., Any]) -> None:
    x = _draw(4, 500)
    oracle, grads = _oracle(function, x)
    right = grads[0] * ((x.sin().sign() * x.cos()) if function is not torch.tanh else 1 / torch.cosh(x) ** 2)
    assert oracle.check_directions({0: right}) == []
    wrong = right.clone()
    wrong.view(-1)[[17, 1203]] += torch.tensor([0.5, -1e-4], dtype=F64)
    assert oracle.check_directions({0: wrong})
    before = oracle.problem.runner.evaluations.forward
    found = oracle.locate(0, wrong)
    assert [position for position, *_ in found] == [17, 1203]
    for position, mine, value, error in found:
        assert mine == float(wrong.view(-1)[position])
        assert abs(value - float(right.view(-1)[position])) <= error + 1e-15
    per_probe = 3 if oracle.method == "complex step" else 40
    assert oracle.problem.runner.evaluations.forward - before <= per_probe * 2 * 2 * 12


def test_complex_inputs_follow_torchs_convention() -> None:
    z = torch.complex(_draw(3), _draw(3, seed=2))
    oracle, grads = _oracle(lambda z: z.abs() ** 2 * z, z)
    right = _autograd(lambda z: z.abs() ** 2 * z, (z,), grads)[0]
    assert oracle.check_directions({0: right}) == []
    assert oracle.check_directions({0: right.conj().resolve_conj()})
    estimate = oracle.gradient(0)
    assert estimate.value is not None
    assert float((estimate.value - right).abs().max()) <= estimate.error + 1e-14


def test_one_sided_derivatives_bracket_the_kink() -> None:
    oracle, grads = _oracle(torch.relu, torch.tensor([0.0, 1.0], dtype=F64))
    assert sorted(oracle.one_sided(0, 0)) == sorted([0.0, float(grads[0][0])])
    assert oracle.one_sided(0, 1) == pytest.approx((float(grads[0][1]),) * 2)
    assert oracle.check_directions({0: grads[0] * torch.tensor([0.3, 1.0])}) == []
    assert oracle.check_directions({0: grads[0] * torch.tensor([0.3, 0.5])})
    assert oracle.unseen == {0: "3 of 3 directions meet a kink of the forward"}
    value = oracle.gradient(0).value
    assert value is not None
    assert bool(value.isnan()[0])


def test_guard_agrees_with_two_evaluations() -> None:
    x = _draw(30, 40)
    problem = _problem(torch.tanh, x)
    before = problem.runner.evaluations.forward
    found = guard(problem, {0: problem.grad_outputs[0] / torch.cosh(x) ** 2})
    assert (found.agrees, found.reason) == (True, "")
    assert problem.runner.evaluations.forward - before == 2


@pytest.mark.parametrize("factor", [0.0, 0.999, -1.0])
def test_guard_contradicts_a_wrong_oracle(factor: float) -> None:
    x = _draw(30, 40)
    problem = _problem(torch.tanh, x)
    right = problem.grad_outputs[0] / torch.cosh(x) ** 2
    found = guard(problem, {0: factor * right})
    assert found.directions is not None
    assert not found.agrees
    assert abs(found.measured - inner(right, found.directions[0])) <= found.error
    assert found.expected == pytest.approx(factor * inner(right, found.directions[0]))


@pytest.mark.parametrize(
    ("function", "values", "reason"),
    [
        (torch.relu, [0.0, 1.0], "the forward has a kink next to these inputs"),
        (torch.floor, [2.0, 1.5], "the forward has a jump next to these inputs"),
        (torch.sqrt, [0.0, 1.0], "the forward is not finite next to these inputs"),
    ],
)
def test_guard_abstains_where_there_is_no_derivative(function: Callable[..., Any], values: list[float], reason: str) -> None:
    problem = _problem(function, torch.tensor(values, dtype=F64))
    found = guard(problem, {0: torch.full((2,), 7.0, dtype=F64)})
    assert (found.agrees, found.reason) == (True, reason)


def test_guard_abstains_in_float32() -> None:
    problem = _problem(_float32_only, _draw(4).float())
    found = guard(problem, {0: torch.zeros(4)})
    assert (found.agrees, found.reason) == (True, "the forward does not take float64, too coarse for differences")


def test_guard_keeps_symmetric_matrices_symmetric() -> None:
    x = 2 * torch.eye(4, dtype=F64) + 0.3
    problem = _problem(torch.linalg.cholesky, x)
    assert guard(problem, {0: _autograd(torch.linalg.cholesky, (x,), problem.grad_outputs)[0]}).agrees


def test_a_forward_that_raises_beside_the_inputs_shrinks_the_step() -> None:
    def guarded_log(x: torch.Tensor) -> torch.Tensor:
        if bool((x <= 0).any()):
            raise ValueError("x has to be positive")
        return x.log()

    x = torch.tensor([1e-3, 1.0], dtype=F64)
    problem = _problem(guarded_log, x)
    directions = problem.random_directions(5)
    found = finite_difference.directional(problem, directions)
    assert abs(found.value - inner(problem.grad_outputs[0] / x, directions[0])) <= found.error <= 1e-6


def test_what_the_forward_raises_at_the_inputs_is_raised() -> None:
    def broken(x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no such kernel")

    x = _draw(3)
    with pytest.raises(RuntimeError, match="no such kernel"):
        NumericOracle(Runner(_subject(broken, (x,))), Case((x,), {}, (x,)))


def test_one_sided_derivatives_that_a_gradient_met_are_not_found_again() -> None:
    x = torch.tensor([0.0, 1.0, 0.0], dtype=F64)
    oracle, grads = _oracle(torch.relu, x)
    oracle.gradient(0)
    before = oracle.problem.runner.evaluations.forward
    assert sorted(oracle.one_sided(0, 2)) == sorted([0.0, float(grads[0][2])])
    assert oracle.problem.runner.evaluations.forward == before
    fresh, _ = _oracle(torch.relu, x)
    assert fresh.one_sided(0, 2) == oracle.one_sided(0, 2)
