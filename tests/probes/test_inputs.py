"""A gradient depends on no input's strides, on no other input's requires_grad, and not on inputs being different tensors."""

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab.ops import matmul
from gradcheck_lab.rules.op import Op
from tests.mistakes.calls_inputs import MISTAKES
from tests.mistakes.row import Mistake, normal
from tests.subjects.functions.contract import MatmulWhereNeeded, ScaleInPlace

PROBES = {"input_layout", "needs_input_grad", "aliased_inputs"}
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
rows = pytest.mark.parametrize("mistake", MISTAKES, ids=str)


@rows
def test_mistake_is_caught_with_its_cause(mistake: Mistake) -> None:
    wrong, _, inputs, options = mistake.make()
    report = gl.check(wrong, *inputs, options=options, probes=PROBES)
    assert report.verdict == "fail"
    assert {finding.cause for finding in report.findings} == {mistake.cause}, report
    assert all(finding.message and finding.explanation and finding.suggestion for finding in report.findings)


@rows
def test_sound_twin_passes(mistake: Mistake) -> None:
    _, sound, inputs, options = mistake.make()
    report = gl.check(sound, *inputs, options=options, probes=PROBES)
    assert report.verdict == "pass", report
    assert not report.findings, report


def test_layout_finding_names_the_input_and_the_layout() -> None:
    wrong, _, inputs, _ = next(m for m in MISTAKES if m.name == "function-product").make()
    (finding,) = gl.check(wrong, *inputs, probes={"input_layout"}).findings
    assert finding.message == "gradient of input 1 'y' differs when input 0 'x' is transposed in memory"
    assert finding.gradient == "y"
    assert finding.case == "x transposed in memory"


@pytest.mark.parametrize(
    ("word", "reads"),
    [
        ("every second element", lambda x: x.stride()[-1] == 2),
        ("from an offset", lambda x: x.storage_offset() == 3),
        ("stride 0", lambda x: 0 in x.stride()),
        ("transposed", lambda x: x.stride()[0] == 1),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_backward_is_given_each_layout(word: str, reads: object) -> None:
    op = Op(torch.exp, lambda g, y, x: (g * y * (1 + reads(x)),), name="exp")  # type: ignore[operator]
    found = gl.check(op, normal(4, 3), probes={"input_layout"}).findings
    assert [finding.cause for finding in found] == ["input-layout"]
    assert word in found[0].message


def test_forward_that_reads_memory_is_found_by_its_output() -> None:
    def flat(x: Tensor) -> Tensor:
        return torch.as_strided(x, x.shape, (x.shape[1], 1), x.storage_offset()).exp() if x.stride()[0] != 0 else x.exp()

    (finding,) = gl.check(Op(flat, lambda g, y, x: (g * y,), name="exp"), normal(4, 3), probes={"input_layout"}).findings
    assert finding.message == "the output differs when input 0 'x' is transposed in memory"


def test_dropout_draws_another_mask_for_another_layout_and_passes() -> None:
    def drop(x: Tensor) -> tuple[Tensor, Tensor]:
        mask = (torch.rand_like(x) > 0.5).to(x.dtype) * 2
        return x * mask, mask

    dropout = Op(drop, lambda g, y, x: (g[0] * y[1],), name="dropout")
    assert not gl.check(dropout, normal(5, 4), probes={"input_layout"}).findings


def test_forward_that_refuses_a_layout_is_no_finding() -> None:
    op = Op(lambda x: x.view(-1).exp().view(x.shape), lambda g, y, x: (g * y,), name="exp")
    assert not gl.check(op, normal(4, 3), probes={"input_layout"}).findings


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
def test_ops_that_sum_in_another_order_for_another_layout_pass(dtype: torch.dtype) -> None:
    assert not gl.check(matmul, normal(17, 33, dtype=dtype), normal(33, 9, dtype=dtype), probes=PROBES).findings


def test_ill_conditioned_inputs_in_another_layout_pass() -> None:
    hilbert = 1 / (torch.arange(7).unsqueeze(1) + torch.arange(7) + 1).double()

    def solve_rule(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        db = torch.linalg.solve(a.mT, g)
        return -db @ y.mT, db

    solve = Op(torch.linalg.solve, solve_rule, name="solve")
    assert not gl.check(solve, hilbert, normal(7, 2), probes=PROBES).findings


@pytest.mark.parametrize("function", [MatmulWhereNeeded, ScaleInPlace], ids=lambda f: f.__name__)
def test_functions_that_compute_where_needed_or_in_place_pass(function: type[torch.autograd.Function]) -> None:
    inputs = (normal(4, 3), normal(3, 2), normal(2)) if function is MatmulWhereNeeded else (normal(4, 3), 3.0)
    report = gl.check(function, *inputs, probes=PROBES)
    assert report.verdict == "pass", report
    assert not report.findings


def test_parameters_of_modules_keep_their_layout() -> None:
    class Exp(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):  # type: ignore[no-untyped-def, override]
            output = x.exp()
            ctx.save_for_backward(output)
            return output

        @staticmethod
        def backward(ctx, grad_output):  # type: ignore[no-untyped-def, override]
            return grad_output * ctx.saved_tensors[0]

    class Normed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.drop = torch.nn.BatchNorm1d(2).double(), torch.nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Tensor:
            return Exp.apply(self.drop(self.norm(x)))  # type: ignore[no-any-return, no-untyped-call]

    assert not gl.check(Normed(), normal(5, 2), probes=PROBES).findings


def test_refusing_a_gradient_is_no_finding() -> None:
    class FrozenWeight(MatmulWhereNeeded):
        @staticmethod
        def backward(ctx, grad_output):  # type: ignore[no-untyped-def, override]
            if not ctx.needs_input_grad[0]:
                raise NotImplementedError("the weight alone has no gradient yet")
            return MatmulWhereNeeded.backward(ctx, grad_output)

    assert not gl.check(FrozenWeight, normal(4, 3), normal(3, 2), normal(2), probes={"needs_input_grad"}).findings


def test_one_gradient_for_both_places_passes() -> None:
    def rule(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor | None, Tensor | None]:
        return (2 * g * a, None) if a is b else (g * b, g * a)

    assert not gl.check(Op(torch.mul, rule, name="product"), normal(4), normal(4, seed=1), probes={"aliased_inputs"}).findings


def test_forward_in_place_is_not_aliased() -> None:
    class AddTo(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a, b):  # type: ignore[no-untyped-def, override]
            ctx.mark_dirty(a)
            return a.add_(b)

        @staticmethod
        def backward(ctx, grad_output):  # type: ignore[no-untyped-def, override]
            return grad_output, grad_output

    assert not gl.check(AddTo, normal(4), normal(4, seed=1), probes=PROBES).findings


def test_evaluations_stay_within_the_bound() -> None:
    everything = PROBES | {"upstream", "state", "second_backward"}
    for subject, inputs in ((matmul, (normal(5, 5), normal(5, 5))), (MatmulWhereNeeded, (normal(5, 5), normal(5, 5)))):
        base = gl.check(subject, *inputs, probes=()).evaluations
        full = gl.check(subject, *inputs, probes=everything).evaluations
        assert full["forward"] - base["forward"] <= 30
        assert full["backward"] - base["backward"] <= 30
