"""The autograd oracle: the same gradients as autograd's, by the names of the manual side, at a known cost."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.calls.case import Case
from gradcheck_lab.calls.drawing import draw_inputs, ordinary_call
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.oracles.autograd.passes import AutogradOracle, Pass
from gradcheck_lab.oracles.autograd.simulated_rounding import SimulatedRounding, perturb
from gradcheck_lab.oracles.autograd.subgradients import Interval, Subgradients
from gradcheck_lab.oracles.estimate import Estimate
from gradcheck_lab.rules.op import Op, as_tuple
from gradcheck_lab.subjects import adapt
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Key
from tests.lanes import examples

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
EVERY = tuple(op for family in ops.FAMILIES.values() for op in family)
# their cheap bound is enough in float64, whatever the values
WELL_CONDITIONED = (*ops.FAMILIES["arithmetic"], ops.relu, ops.linear, ops.matmul, ops.softmax_cross_entropy, ops.mse_loss)

seeds = st.integers(0, 2**32 - 1)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))


def oracle_of(value: Any, *inputs: torch.Tensor, **options: Any) -> AutogradOracle:
    subject = adapt(value, inputs, options)
    upstream = tuple(random_like(v, torch.Generator().manual_seed(0)) for v in subject.record(inputs, options).outputs)
    return AutogradOracle(Runner(subject), Case(inputs, options, upstream))


@every_dtype
def test_truth_is_autograd_in_float64_on_the_rounded_inputs(dtype: torch.dtype) -> None:
    for op in EVERY:
        assert_truth_is_autograd_in_float64(op, dtype)


def assert_truth_is_autograd_in_float64(op: Op, dtype: torch.dtype) -> None:
    inputs = ordinary_call(op, op.specs, 0, dtype=dtype).inputs
    oracle = oracle_of(op, *inputs)
    leaves = [v.double().requires_grad_() if v.is_floating_point() else v for v in inputs]
    assert oracle.case.grad_outputs is not None
    torch.autograd.backward(as_tuple(op.forward(*leaves)), [upstream.double() for upstream in oracle.case.grad_outputs])
    for index, leaf in enumerate(leaves):
        found = oracle.truth().gradients.get(Key("input", index))
        if leaf.requires_grad:
            assert found is not None, op.name
            assert found.dtype == torch.float64, op.name
            torch.testing.assert_close(found, leaf.grad, rtol=1e-14, atol=0, msg=lambda said, op=op: f"{op.name}: {said}")
        else:
            assert found is None, op.name


def network(x: Any, weight: Any, bias: Any) -> Any:
    hidden = ops.relu(ops.linear(x, weight, bias))
    return ops.mul(hidden, hidden)


def test_truth_of_a_program_has_every_intermediate() -> None:
    inputs = draw_inputs(ops.linear.specs, 0)
    oracle = oracle_of(network, *inputs)
    truth = oracle.truth()
    x, weight, bias = (value.clone().requires_grad_() for value in inputs)
    linear = x @ weight.T + bias
    hidden = linear.clamp(min=0)
    linear.retain_grad()
    hidden.retain_grad()
    assert oracle.case.grad_outputs is not None
    (hidden * hidden).backward(oracle.case.grad_outputs[0])
    expected = {
        Key("value", 0): linear.grad,
        Key("value", 1): hidden.grad,
        Key("input", 0): x.grad,
        Key("input", 1): weight.grad,
        Key("input", 2): bias.grad,
    }
    for key, grad in expected.items():
        torch.testing.assert_close(truth.gradients[key], grad)
    assert [call.op.name for call in truth.calls] == ["linear", "relu", "mul"]


def test_share_of_an_operand_is_its_own_part_of_a_sum() -> None:
    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    oracle = oracle_of(lambda x: ops.sub(x, ops.mul(x, x)), x)
    truth = oracle.truth()
    assert oracle.case.grad_outputs is not None
    (g,) = oracle.case.grad_outputs
    torch.testing.assert_close(truth.gradients[Key("share", 1, 0)], g)
    torch.testing.assert_close(truth.gradients[Key("share", 0, 0)], -g * x)
    torch.testing.assert_close(truth.gradients[Key("input", 0)], g - 2 * g * x)


def test_truth_is_run_once() -> None:
    oracle = oracle_of(ops.relu, torch.ones(2))
    assert oracle.truth() is oracle.truth()
    assert oracle.runner.evaluations.to_dict() == {"forward": 1, "backward": 0}


def test_integer_inputs_stay_as_they_are() -> None:
    oracle = oracle_of(ops.softmax_cross_entropy, torch.ones(2, 3), torch.tensor([0, 2]))
    assert oracle.truth().inputs[1].dtype == torch.int64


def test_constant_forward_is_not_tracked() -> None:
    constant = Op(lambda x: torch.ones(2), lambda grad_output, output, x: (None,), name="constant")
    assert not oracle_of(constant, torch.ones(2)).truth().tracked


@pytest.mark.parametrize(("dtype", "count"), list(zip(DTYPES, (1, 1, 2, 2), strict=True)))
def test_native_references_are_in_the_dtype_of_the_inputs(dtype: torch.dtype, count: int) -> None:
    oracle = oracle_of(ops.relu, torch.ones(2, dtype=dtype))
    passes = oracle.references("native", dtype)
    assert len(passes) == count
    grads = [each.gradients[Key("input", 0)] for each in passes]
    assert [grad.dtype for grad in grads if grad is not None] == [dtype, torch.float32][:count]


@every_dtype
def test_simulated_references_err_by_about_the_unit_roundoff(dtype: torch.dtype) -> None:
    inputs = draw_inputs(ops.linear.specs, 0, {"b": (20,), "d_in": (10,), "d_out": (10,)}, dtype)
    oracle = oracle_of(ops.linear, *inputs)
    u = float(torch.finfo(dtype).eps) / 2
    truth = oracle.truth().gradients[Key("input", 1)]
    assert truth is not None
    for each in oracle.references("simulated", dtype):
        grad = each.gradients[Key("input", 1)]
        assert grad is not None
        level = float((grad - truth).norm() / truth.norm())
        assert u / 8 <= level <= 16 * u


def test_references_are_the_same_every_time() -> None:
    inputs = draw_inputs(ops.linear.specs, 0)

    def grads() -> list[torch.Tensor | None]:
        found: list[Pass] = oracle_of(ops.linear, *inputs).references("simulated", torch.float64)
        return [each.gradients[Key("input", 1)] for each in found]

    for first, second in zip(grads(), grads(), strict=True):
        assert first is not None
        assert second is not None
        assert torch.equal(first, second)


@given(seed=seeds, salt=st.integers(1, 9), exponent=st.integers(-52, -3))
def test_perturbation_multiplies_by_one_plus_or_minus_u(seed: int, salt: int, exponent: int) -> None:
    value = torch.randn(50, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    u = 2.0**exponent
    ratio = perturb(value, u, salt) / value
    torch.testing.assert_close((ratio - 1).abs(), torch.full((50,), u, dtype=torch.float64), rtol=1.0, atol=1e-15)


@given(seed=seeds, salt=st.integers(1, 9))
def test_perturbation_keeps_ties_and_zeros(seed: int, salt: int) -> None:
    value = torch.randint(-2, 3, (40,), generator=torch.Generator().manual_seed(seed)).double()
    moved = perturb(value, 1e-3, salt)
    for number in range(-2, 3):
        assert len(moved[value == number].unique()) <= 1
    assert bool((moved[value == 0] == 0).all())


def test_perturbation_goes_either_way() -> None:
    value = torch.linspace(1, 2, 200, dtype=torch.float64)
    up = int((perturb(value, 1e-3, 1) > value).sum())
    assert 60 <= up <= 140
    assert not torch.equal(perturb(value, 1e-3, 1), perturb(value, 1e-3, 2))


def test_perturbed_complex_numbers_move_in_both_parts() -> None:
    value = torch.complex(torch.ones(5), 2 * torch.ones(5)).to(torch.complex128)
    moved = perturb(value, 1e-3, 1)
    assert bool((moved.real != 1).all())
    assert bool((moved.imag != 2).all())


def test_rounding_leaves_exact_operations_alone() -> None:
    x = torch.tensor([1.5, -2.5, 3.5], dtype=torch.float64)
    with SimulatedRounding(1e-3, 1, long_sums=True):
        assert torch.equal(x.abs(), torch.tensor([1.5, 2.5, 3.5], dtype=torch.float64))
        assert torch.equal(x.flip(0), torch.tensor([3.5, -2.5, 1.5], dtype=torch.float64))
        assert not torch.equal(x * 3, torch.tensor([4.5, -7.5, 10.5], dtype=torch.float64))


def test_rounding_of_a_long_sum_grows_with_its_terms() -> None:
    ones = torch.ones(10_000, dtype=torch.float64)
    with SimulatedRounding(1e-9, 1, long_sums=True):
        long = abs(float(ones.sum()) / 10_000 - 1)
        short = abs(float(ones[:4].sum()) / 4 - 1)
    assert short == pytest.approx(1e-9, rel=1e-3)
    assert long > 10 * short


KINKS: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], list[float], list[float], list[float]]] = {
    # forward, inputs, least and largest one-sided derivative of each
    "relu": (torch.relu, [0.0, 1.0, -1.0], [0, 1, 0], [1, 1, 0]),
    "abs": (torch.abs, [0.0, 1.0, -1.0], [-1, 1, -1], [1, 1, -1]),
    "hardtanh": (lambda x: x.clamp(-1, 1), [1.0, -1.0, 0.5], [0, 0, 1], [1, 1, 1]),
    "max": (lambda x: x.amax(), [2.0, 2.0, 1.0], [0, 0, 0], [1, 1, 0]),
    "square": (torch.square, [0.0, 1.0, -1.0], [0, 2, -2], [0, 2, -2]),
}


def interval_of(forward: Callable[[torch.Tensor], torch.Tensor], values: list[float]) -> Interval:
    op = Op(forward, lambda grad_output, output, x: (grad_output,), name="op")
    x = torch.tensor(values, dtype=torch.float64)
    oracle = oracle_of(op, x)
    upstream = torch.ones_like(forward(x))
    oracle.case = Case((x,), {}, (upstream,))
    found = list(Subgradients(oracle).intervals(Key("input", 0), lambda known: torch.zeros_like(known.kink)))
    assert len(found) == 6
    return found[-1]


@pytest.mark.parametrize("name", KINKS)
def test_interval_at_a_kink_reaches_to_the_one_sided_derivatives(name: str) -> None:
    forward, values, low, high = KINKS[name]
    found = interval_of(forward, values)
    torch.testing.assert_close(found.low, torch.tensor(low).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.high, torch.tensor(high).double(), atol=1e-5, rtol=0)
    assert found.kink.tolist() == [least != largest for least, largest in zip(low, high, strict=True)]


@given(seed=seeds)
def test_smooth_function_has_no_kinks(seed: int) -> None:
    values = torch.randn(6, generator=torch.Generator().manual_seed(seed)).tolist()
    assert not interval_of(torch.tanh, values).kink.any()


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-8])
@pytest.mark.parametrize("dtype", DTYPES[:3], ids=lambda dtype: str(dtype).removeprefix("torch."))
def test_exact_kinks_excuse_no_factor_however_small_the_gradient(dtype: torch.dtype, scale: float) -> None:
    def verdict(factor: float) -> str:
        def backward(g: Any, output: Any, x: Any, k: Any, c: Any) -> Any:
            above = g * scale * (x * k > c)
            return factor * above * k, above * x, -above

        op = Op(lambda x, k, c: (torch.relu(x * k - c) * scale).sum(), backward, name="hinge")
        return gl.check(op, x, k, c, probes=()).verdict

    generator = torch.Generator().manual_seed(0)
    x, k = torch.randn(2, 4, 4, generator=generator, dtype=torch.float64).to(dtype)
    c = x * k - 1
    c.diagonal().copy_((x * k).diagonal())
    assert (verdict(1.0), verdict(1.5)) == ("pass", "fail")


def test_kink_admits_what_lies_between_the_derivatives() -> None:
    found = interval_of(torch.abs, [0.0, 0.0, 0.0, 1.0])
    inside = torch.tensor([-1.0, 0.3, 1.0, 0.3], dtype=torch.float64)
    assert found.admits(inside).tolist() == [True, True, True, False]
    assert found.admits(1.1 * inside).tolist() == [False, True, False, False]


@pytest.mark.parametrize(("count", "rms"), [(4, 2.0), (9, 0.5)])
def test_estimate_gives_its_error_in_the_unit_of_the_gradient(count: int, rms: float) -> None:
    assert Estimate(torch.full((count,), rms), 1e-3, "autograd").error == pytest.approx(rms * 1e-3)
    assert Estimate(None, 1e-3, "autograd").error == 0.0
    assert Estimate(torch.zeros(0), 1e-3, "autograd").error == 0.0


def test_pass_gives_estimates_by_key() -> None:
    oracle = oracle_of(ops.neg, torch.ones(3, dtype=torch.float64))
    estimate = oracle.truth().estimate(Key("input", 0), torch.float64)
    assert estimate.value is not None
    assert estimate.method == "autograd in float64"
    assert estimate.relative_error == 2.0**-53


# what a check costs: calls of the user's own functions are counted


def counted(op: Op) -> tuple[Op, dict[str, int]]:
    calls = {"forward": 0, "backward": 0}

    def forward(*inputs: torch.Tensor, **options: Any) -> Any:
        calls["forward"] += 1
        return op.forward(*inputs, **options)

    def backward(*arguments: torch.Tensor, **options: Any) -> Any:
        calls["backward"] += 1
        return op.backward(*arguments, **options)

    return Op(forward, backward, name=op.name), calls


@pytest.mark.parametrize("op", EVERY, ids=lambda op: op.name)
@examples(4, 160)
@given(dtype=st.sampled_from(DTYPES), seed=seeds, n=st.integers(1, 6))
def test_comparison_of_a_sound_op_takes_two_forwards_and_two_backwards(op: Op, dtype: torch.dtype, seed: int, n: int) -> None:
    sound, made = counted(op)
    inputs = draw_inputs(op.specs, seed, {"b": (n,), "s": (n, 3)}, dtype)
    inputs = inputs if op.takes(inputs, {}) else ordinary_call(op, op.specs, seed, dtype=dtype).inputs
    report = gl.check(sound, *inputs, probes=())
    assert report.verdict == "pass", report
    assert report.evaluations == made
    # the rule is run in float64 as well, where the report does not say what settled it
    wide = gl.check(op, *(v.double() if v.is_floating_point() else v for v in inputs), probes=())
    if all(gradient.settled_by == "rounding" for lane in (report, wide) for gradient in lane.gradients):
        assert made["forward"] <= 2
        assert made["backward"] <= 2
    else:  # its terms cancel, or its kernel rounds more than once
        assert dtype != torch.float64 or op not in WELL_CONDITIONED


@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_cost_does_not_grow_with_the_size(size: int) -> None:
    sound, made = counted(ops.linear)
    inputs = draw_inputs(ops.linear.specs, 0, {"b": (size,)})
    gl.check(sound, *inputs, probes=())
    assert made == {"forward": 2, "backward": 1}


def test_evaluations_of_a_failing_check_are_counted_too() -> None:
    wrong, made = counted(Op(torch.exp, lambda grad_output, output, x: (-grad_output * output,), name="wrong"))
    report = gl.check(wrong, torch.tensor([1.0, 2.0]), probes=())
    assert report.verdict == "fail"
    assert report.evaluations == made


def test_reference_of_the_user_takes_the_forwards_place() -> None:
    detached = Op(lambda x: x.detach().exp(), lambda grad_output, output, x: (grad_output * output,), name="detached")
    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    report = gl.check(detached, x, reference=torch.exp, probes=())
    assert report.verdict == "pass", report
    wrong = gl.check(detached, x, reference=lambda x: 2 * x, probes=())
    assert wrong.verdict == "fail"


@pytest.mark.parametrize("seed", [90, 187, 219])
def test_noise_of_a_fused_kernel_is_no_gradient(seed: int) -> None:
    """The gradient of one element to a group is exactly 0; torch's kernels return the rounding of what cancels."""

    def exact(g: Any, y: Any, x: Any, w: Any, b: Any) -> Any:
        return torch.zeros_like(x), torch.zeros_like(w), g.sum((0, 2))

    op = Op(lambda x, w, b: torch.group_norm(x, 2, w, b, 0.01), exact, name="one_to_a_group")
    x = torch.tensor([[[0.0123], [1.0123]], [[-0.9877], [-0.9877]]], dtype=torch.float64)
    w, b = torch.tensor([[-4717.972338, -14104.870912], [-0.1119, -0.1443]], dtype=torch.float64)
    report = gl.check(op, x, w, b, probes=(), seed=seed)
    assert report.verdict == "pass", report
