"""The upstream gradient is used in full and linearly; every output's counts, and a missing one is zero."""

import numpy as np
import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab.ops import linear
from gradcheck_lab.rules.op import Op
from tests.mistakes.calls_upstream import MISTAKES, sin_cos, unary
from tests.mistakes.row import Mistake, normal
from tests.subjects.functions.contract import PolarParts, SinCosUnmaterialized

rows = pytest.mark.parametrize("mistake", MISTAKES, ids=str)


@rows
def test_mistake_is_caught_with_its_cause(mistake: Mistake) -> None:
    wrong, _, inputs, options = mistake.make()
    report = gl.check(wrong, *inputs, options=options, probes={"upstream"})
    assert report.verdict == "fail"
    assert mistake.cause in {finding.cause for finding in report.findings if finding.severity == "error"}, report
    assert all(finding.message and finding.explanation and finding.suggestion for finding in report.findings)


@rows
def test_sound_twin_passes(mistake: Mistake) -> None:
    _, sound, inputs, options = mistake.make()
    report = gl.check(sound, *inputs, options=options, probes={"upstream"})
    assert report.verdict == "pass", report
    assert not report.findings, report


def test_finding_says_what_why_and_what_to_do() -> None:
    decayed = Op(torch.square, lambda g, y, x: (2 * g * x + torch.where(g == 0, x, 0),), name="square")
    (finding,) = gl.check(decayed, normal(4, 3), probes={"upstream"}).findings
    assert finding.cause == "not-linear"
    assert finding.message == "gradient of input 0 'x' is not zero when grad_output is zero"
    assert finding.explanation == "backward adds a term without grad_output"
    assert finding.suggestion == "a gradient is a matrix product with grad_output: remove what is not linear in it"
    assert finding.case == "grad_output zero"
    assert finding.gradient == "x"


def test_homogeneous_and_yet_not_additive_is_caught() -> None:
    largest = torch.ones(4, 3, dtype=torch.float64)
    # right for upstreams of one size, homogeneous of degree one
    rule = unary(torch.exp, lambda g, y, x: (g * y,), lambda g, y, x: (g.sign() * g.abs().amax() * y,))
    wrong, sound, inputs, _ = rule()
    found = gl.check(wrong, *inputs, grad_output=largest, probes={"upstream"}).findings
    assert [finding.cause for finding in found] == ["not-linear"]
    assert found[0].case == "grad_output the sum of two"
    assert not gl.check(sound, *inputs, grad_output=largest, probes={"upstream"}).findings


def test_rule_that_raises_on_a_zero_upstream_is_reported_with_its_traceback() -> None:
    def refusing(g: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor]:
        if not g.any():
            raise ValueError("nothing flows")
        return (g * y,)

    (finding,) = gl.check(Op(torch.exp, refusing, name="exp"), normal(3), probes={"upstream"}).findings
    assert finding.cause == "raises"
    assert finding.message == "backward raised ValueError when grad_output is zero"
    assert finding.explanation == "nothing flows"
    assert "refusing" in (finding.traceback or "")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_ill_conditioned_and_cancelling_rules_are_linear(dtype: torch.dtype) -> None:
    softmax = Op(
        lambda x: torch.softmax(x, -1),
        lambda g, y, x: (y * (g - (g * y).sum(-1, keepdim=True)),),
        name="softmax",
    )
    assert not gl.check(softmax, normal(5, 7, dtype=dtype), probes={"upstream"}).findings


def test_inverse_of_a_hilbert_matrix_is_linear() -> None:
    hilbert = 1 / (torch.arange(6).unsqueeze(1) + torch.arange(6) + 1).double()
    inverse = Op(torch.linalg.inv, lambda g, y, x: (-y.mT @ g @ y.mT,), name="inverse")
    assert not gl.check(inverse, hilbert, probes={"upstream"}).findings


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_gradient_that_is_rounding_noise_is_linear(dtype: torch.dtype) -> None:
    def rule(g: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor]:
        g, p = g.unsqueeze(-1), torch.softmax(x, -1)
        return (p * (g - (g * p).sum(-1, keepdim=True)),)

    total = Op(lambda x: torch.softmax(x, -1).sum(-1), rule, name="total")
    for rows in (1, 3, 6):
        report = gl.check(total, normal(rows, 3, dtype=dtype), probes={"upstream"})
        assert not [finding for finding in report.findings if finding.probe == "upstream"], report


@pytest.mark.parametrize("function", [PolarParts, SinCosUnmaterialized], ids=lambda f: f.__name__)
def test_functions_with_outputs_without_gradients_pass(function: type[torch.autograd.Function]) -> None:
    inputs = (normal(4, 3), normal(4, 3, seed=1))[: 2 if function is PolarParts else 1]
    report = gl.check(function, *inputs, probes={"upstream"})
    assert report.verdict == "pass", report
    assert not report.findings


def test_loss_layer_without_upstream_is_left_alone() -> None:
    class Mean:
        def forward(self, x: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
            self.x = x
            return x.mean()  # type: ignore[return-value]

        def backward(self) -> np.ndarray:  # type: ignore[type-arg]
            return np.full_like(self.x, 1 / self.x.size)

    report = gl.check(Mean(), np.ones((4, 3)), probes={"upstream"}, allow={"constant-factor"})
    assert not [finding for finding in report.findings if finding.probe == "upstream"]


def test_evaluations_do_not_depend_on_the_size() -> None:
    counts = []
    for n in (2, 200):
        report = gl.check(linear, normal(n, 3), normal(2, 3), normal(2), probes={"upstream"})
        counts.append(report.evaluations)
        # a probe that has nothing to do for an op: the comparison, its guard, and the base call once more
        base = gl.check(linear, normal(n, 3), normal(2, 3), normal(2), probes={"needs_input_grad"}).evaluations
        # one recorded forward, tried twice, serves six upstreams
        assert report.evaluations["forward"] - base["forward"] == 1
        assert report.evaluations["backward"] - base["backward"] == 8
    assert counts[0] == counts[1]


def test_two_outputs_of_an_op_cost_no_more_than_one() -> None:
    rule = Op(sin_cos, lambda g, y, x: (g[0] * x.cos() - g[1] * x.sin(),), name="sin_cos")
    one = Op(torch.sin, lambda g, y, x: (g * x.cos(),), name="sin")
    assert (
        gl.check(rule, normal(4), probes={"upstream"}).evaluations == gl.check(one, normal(4), probes={"upstream"}).evaluations
    )
