"""`gl.fuzz`: what it finds, in how many examples, how small it shrinks that, and what it lets pass."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings

import gradcheck_lab as gl
from gradcheck_lab import Op, ops
from gradcheck_lab.fuzzing.run import FuzzRun
from gradcheck_lab.specs import Spec, integers, labels, positive, real
from tests.lanes import seed_of, times

Tensor = torch.Tensor
EVERY = tuple(op for family in ops.FAMILIES.values() for op in family)
SEEDS = (0, 1, 2)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty current directory, and no database: each test sees only what it drew itself."""
    monkeypatch.chdir(tmp_path)
    before = settings.get_current_profile_name()
    settings.register_profile("without a database", settings(database=None, deadline=None))
    settings.load_profile("without a database")
    yield
    settings.load_profile(before)


def square(x: Tensor) -> Tensor:
    return x * x


def wrong_where(condition: Callable[[Tensor], bool]) -> Op:
    """A square whose rule is wrong by a factor on the calls that the condition names."""

    def rule(grad_output: Tensor, output: Tensor, x: Tensor) -> Any:
        return ((3 if condition(x) else 2) * x * grad_output,)

    return Op(square, rule, name="square")


def without_the_tail(grad_output: Tensor, output: Tensor, x: Tensor) -> Any:
    """In blocks of four, of which the last, partial one is left out."""
    gradient = 2 * x * grad_output
    gradient[..., x.shape[-1] // 4 * 4 :] = 0
    return (gradient,)


def lookup(table: Tensor, index: Tensor) -> Tensor:
    return table[index]


def lookup_by_assignment(grad_output: Tensor, output: Tensor, table: Tensor, index: Tensor) -> Any:
    """Assigned where it has to be accumulated."""
    gradient = torch.zeros_like(table)
    gradient[index] = grad_output
    return gradient, None


def largest(x: Tensor) -> Tensor:
    return x.amax(-1)


def largest_to_every_tie(grad_output: Tensor, output: Tensor, x: Tensor) -> Any:
    return ((x == output.unsqueeze(-1)).to(x) * grad_output.unsqueeze(-1),)


def largest_among_ties(grad_output: Tensor, output: Tensor, x: Tensor) -> Any:
    tied = (x == output.unsqueeze(-1)).to(x)
    return (tied / tied.sum(-1, keepdim=True) * grad_output.unsqueeze(-1),)


# the wrong op, its specs, the shapes of the smallest call that shows it
NEEDING: dict[str, tuple[Op, tuple[Spec, ...], list[list[int]]]] = {
    "rank-3": (wrong_where(lambda x: x.ndim == 3), (real("*b d"),), [[1, 1, 1]]),
    "size-not-divisible-by-4": (wrong_where(lambda x: x.shape[-1] % 4 > 0), (real("n d"),), [[1, 1]]),
    "partial-block": (Op(square, without_the_tail, name="square"), (real("n d"),), [[1, 1]]),
    "size-5": (wrong_where(lambda x: x.shape[-1] > 4), (real("n d"),), [[1, 5]]),
    "repeated-index": (
        Op(lookup, lookup_by_assignment, name="lookup"),
        (real("n d"), labels("m", classes="n")),
        [[1, 1], [2]],
    ),
    "tie": (Op(largest, largest_to_every_tie, name="largest"), (real("*b d"),), [[1, 2]]),
    "zero": (wrong_where(lambda x: bool((x == 0).any()) and bool(x.any())), (real("n"),), [[2]]),
    "large-value": (wrong_where(lambda x: bool((x.abs() > 1e3).any())), (real("n d"),), [[1, 1]]),
    "stride": (wrong_where(lambda x: not x.is_contiguous() and x.numel() > 0), (real("n d"),), [[1, 1]]),
    "column-against-rank-1": (
        Op(lambda a, b: a + b, lambda grad_output, output, a, b: (grad_output, grad_output), name="add"),
        (real("*#s"), real("*#s")),
        [[1, 1], [1]],
    ),
}


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        pytest.param(name, seed, marks=[] if seed == turn % len(SEEDS) else pytest.mark.thorough)
        for turn, name in enumerate(NEEDING)
        for seed in SEEDS
    ],
)
def test_mistake_is_found_and_shrunk_to_the_smallest_shape(name: str, seed: int) -> None:
    op, specs, smallest = NEEDING[name]
    report = gl.fuzz(op, *specs, max_examples=200, seed=seed)
    assert report.verdict == "fail"
    assert 0 < report.examples <= 200
    assert report.failing_case is not None
    shapes = [entry["shape"] for entry in report.failing_case["inputs"]]
    if name == "column-against-rank-1":  # either operand may be the one that broadcasts
        assert sum(map(len, shapes)) <= 3
    elif name == "stride":
        assert sum(shapes[0]) <= 4
    else:
        assert shapes == smallest


@pytest.mark.drawn
@pytest.mark.parametrize("op", EVERY, ids=lambda op: op.name)
def test_op_of_the_library_passes(op: Op) -> None:
    report = gl.fuzz(op, max_examples=times(6, 300), seed=seed_of(4))
    assert report.verdict == "pass", report
    assert report.examples == times(6, 300)
    assert report.failing_case is None


# as right as what autograd computes, on every call of their specs, or refusing it
SOUND: dict[str, tuple[Op, tuple[Spec, ...]]] = {
    "even-split-of-ties": (Op(largest, largest_among_ties, name="largest"), (real("*b d"),)),
    "half-at-zero": (
        Op(
            torch.relu, lambda grad_output, output, x: (grad_output * torch.heaviside(x, torch.full_like(x, 0.5)),), name="relu"
        ),
        (real("*s"),),
    ),
    "logarithm": (Op(torch.log, lambda grad_output, output, x: (grad_output / x,), name="log"), (positive("*s"),)),
    "overflowing": (Op(torch.exp, lambda grad_output, output, x: (grad_output * output,), name="exp"), (real("*s"),)),
    "accumulated": (
        Op(lookup, lambda g, output, table, index: (torch.zeros_like(table).index_add(0, index, g), None), name="lookup"),
        (real("n d"), labels("m", classes="n")),
    ),
    "scaled-by-integers": (
        Op(lambda x, k: x * k, lambda grad_output, output, x, k: (grad_output * k, None), name="scale"),
        (real("n"), integers("n", low=-2, high=3)),
    ),
    "inverse": (
        Op(torch.linalg.inv, lambda g, output, a: (-output.mT @ g @ output.mT,), name="inverse"),
        (real("n n"),),
    ),
    "softmax": (
        Op(
            lambda x: x.softmax(-1),
            lambda g, output, x: (output * (g - (g * output).sum(-1, keepdim=True)),),
            name="softmax",
        ),
        (real("*b d"),),
    ),
}


@pytest.mark.drawn
@pytest.mark.parametrize("name", SOUND)
def test_sound_op_is_not_flagged(name: str) -> None:
    op, specs = SOUND[name]
    report = gl.fuzz(op, *specs, max_examples=times(100), seed=seed_of(0))
    assert report.verdict == "pass", report


def test_calls_that_the_forward_refuses_are_left_out_and_said() -> None:
    def forward(x: Tensor) -> Tensor:
        if x.shape[-1] % 2 == 0:
            raise ValueError("odd sizes only")
        return x * x

    op = Op(forward, lambda grad_output, output, x: (2 * x * grad_output,), name="odd")
    report = gl.fuzz(op, real("n d"))
    assert report.verdict == "pass", report
    assert [f.explanation for f in report.findings if f.probe == "fuzz"] == ["ValueError: odd sizes only"]


def test_forward_that_takes_no_call_is_no_pass() -> None:
    def forward(x: Tensor) -> Tensor:
        raise ValueError("never")

    report = gl.fuzz(Op(forward, lambda grad_output, output, x: (x,), name="never"), real("n"))
    assert report.verdict == "fail"
    assert any(finding.cause == "raises" for finding in report.findings)


def test_backward_that_raises_without_elements_is_a_warning() -> None:
    def rule(grad_output: Tensor, output: Tensor, x: Tensor) -> Any:
        if not x.numel():
            raise IndexError("no elements")
        return (2 * x * grad_output,)

    report = gl.fuzz(Op(square, rule, name="square"), real("n"), max_examples=200)
    assert report.verdict == "pass"
    assert "raises" in {finding.cause for finding in report.findings if finding.severity == "warning"}


def test_forward_that_takes_float32_only_is_fuzzed_in_it() -> None:
    def forward(x: Tensor) -> Tensor:
        if x.dtype == torch.float64:
            raise TypeError("float32 only")
        return x * x

    op = Op(forward, lambda grad_output, output, x: ((3 if x.shape[0] > 2 else 2) * x * grad_output,), name="narrow")
    report = gl.fuzz(op, real("n"), reference=square)
    assert report.verdict == "fail"
    assert report.failing_case is not None
    assert [entry["shape"] for entry in report.failing_case["inputs"]] == [[3]]
    assert {gradient.dtype for gradient in report.gradients} == {"float32"}


def test_what_is_allowed_does_not_fail() -> None:
    op = wrong_where(lambda x: True)
    assert gl.fuzz(op, real("n")).verdict == "fail"
    assert gl.fuzz(op, real("n"), allow={"constant-factor"}).verdict == "pass"


def test_known_options_are_drawn() -> None:
    def loss(x: Tensor, *, reduction: str = "mean") -> Tensor:
        return {"none": x * x, "sum": (x * x).sum(), "mean": (x * x).mean()}[reduction]

    def rule(grad_output: Tensor, output: Tensor, x: Tensor, *, reduction: str = "mean") -> Any:
        return (2 * x * grad_output / (x.numel() if reduction != "none" else 1),)  # wrong for the sum

    report = gl.fuzz(Op(loss, rule, name="loss"), real("n"))
    assert report.failing_case is not None
    assert report.failing_case["options"] == {"reduction": "sum"}
    assert report.failing_case["inputs"][0]["shape"] == [2]


def test_given_options_go_to_every_call() -> None:
    report = gl.fuzz(ops.mse_loss, options={"reduction": "sum"}, max_examples=30)
    assert report.verdict == "pass"

    def rule(grad_output: Tensor, output: Tensor, x: Tensor, *, times: float) -> Any:
        return (2 * times * x * grad_output,)

    op = Op(lambda x, *, times: times * x * x, rule, name="square")
    assert gl.fuzz(op, real("n"), options={"times": 3.0}, max_examples=30).verdict == "pass"
    op = Op(lambda x, *, times: times * x * x, lambda g, y, x, *, times: (2 * x * g,), name="square")
    assert gl.fuzz(op, real("n"), options={"times": 3.0}, max_examples=30).verdict == "fail"


def test_second_order_is_fuzzed_when_asked_for() -> None:
    def rule(grad_output: Tensor, output: Tensor, x: Tensor) -> Any:
        return ((3 * x**2 if x.ndim < 2 else 3 * x.detach() ** 2) * grad_output,)

    cube = Op(lambda x: x**3, rule, name="cube")
    assert gl.fuzz(cube, real("*b d"), max_examples=40).verdict == "pass"
    report = gl.fuzz(cube, real("*b d"), max_examples=40, order=2)
    assert report.verdict == "fail"
    assert report.failing_case is not None
    assert report.failing_case["inputs"][0]["shape"] == [1, 1]


class HalfTanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:  # type: ignore[override]
        (y,) = ctx.saved_tensors
        return grad_output * (1 - y * y) / (2 if y.ndim > 1 else 1)


def program(x: Tensor, weight: Tensor) -> Tensor:
    z: Tensor = ops.matmul(x, weight)
    return ops.relu(z)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("subject", "specs", "verdict"),
    [
        (HalfTanh, (real("*s"),), "fail"),
        (program, (real("n d"), real("d k")), "pass"),
    ],
    ids=["function", "program"],
)
def test_other_objects_are_fuzzed_too(subject: Any, specs: tuple[Spec, ...], verdict: str) -> None:
    report = gl.fuzz(subject, *specs, max_examples=30)
    assert report.verdict == verdict, report
    assert report.examples <= 30


@pytest.mark.parametrize(
    "name", ["rank-3", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("tie", "repeated-index"))]
)
def test_same_seed_gives_the_same_report(name: str) -> None:
    op, specs, _ = NEEDING[name]
    first, second = (gl.fuzz(op, *specs, seed=11) for _ in range(2))
    assert (first.examples, first.failing_case) == (second.examples, second.failing_case)
    assert first.gradients == second.gradients


def test_global_generators_are_as_before() -> None:
    torch.manual_seed(3)
    random.seed(3)
    before = torch.get_rng_state(), random.getstate()
    gl.fuzz(wrong_where(lambda x: True), real("n"))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_report_round_trips_and_shows_the_smallest_call() -> None:
    report = gl.fuzz(wrong_where(lambda x: x.ndim == 3), real("*b d"))
    assert gl.Report.from_dict(report.to_dict()) == report
    text = str(report)
    assert f"first seen in drawn call {report.examples}; the smallest that shows it is x: float64[1, 1, 1]:" in text
    assert "x = torch.tensor([[[" in text
    assert "the smallest that shows it" in report._repr_html_()


def test_database_of_the_user_replays_a_failure_first() -> None:
    from hypothesis.database import InMemoryExampleDatabase

    settings.register_profile("with a database", settings(database=InMemoryExampleDatabase(), deadline=None))
    settings.load_profile("with a database")
    op, specs, _ = NEEDING["tie"]
    first = gl.fuzz(op, *specs, seed=2)
    again = gl.fuzz(op, *specs, seed=77)
    assert (again.verdict, again.examples) == ("fail", 1)
    assert again.failing_case == first.failing_case
    mended = Op(largest, largest_among_ties, name="largest")
    assert gl.fuzz(mended, *specs, max_examples=20).verdict == "pass"
    assert gl.fuzz(op, *specs, seed=77).examples > 1  # what was mended is forgotten


def test_failure_is_saved_only_where_examples_are_kept(tmp_path: Path) -> None:
    op = wrong_where(lambda x: True)
    gl.fuzz(op, real("n"))
    assert not list(tmp_path.rglob("*.json"))
    settings.register_profile("kept", settings(database=settings.get_profile("default").database, deadline=None))
    FuzzRun(op, (real("n"),), folder=tmp_path / "kept").run()
    assert len(list((tmp_path / "kept").glob("square-*.json"))) == 1


def test_interrupted_run_reports_what_is_known() -> None:
    def interrupt(examples: int, found: int) -> None:
        if examples == 7:
            raise KeyboardInterrupt

    sound = FuzzRun(ops.relu, (), on_example=interrupt).run()
    assert (sound.verdict, sound.examples) == ("inconclusive", 7)
    assert sound.reasons == ("interrupted after 7 of 100 examples",)

    def interrupt_when_found(examples: int, found: int) -> None:
        if found:
            raise KeyboardInterrupt

    wrong = FuzzRun(wrong_where(lambda x: True), (real("n"),), on_example=interrupt_when_found).run()
    assert wrong.verdict == "fail"
    assert wrong.failing_case is not None


def test_health_checks_of_the_user_do_not_end_a_run() -> None:
    settings.register_profile("strict", settings(database=None, deadline=1, suppress_health_check=[HealthCheck.too_slow]))
    settings.load_profile("strict")
    assert gl.fuzz(ops.linear, max_examples=20).verdict == "pass"
