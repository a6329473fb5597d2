"""Of a large gradient only the elements that are off are sampled beside the call, with the same outcome."""

import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab.calls.case import Case
from gradcheck_lab.model.limits import SAMPLED_WHOLE
from gradcheck_lab.oracles.autograd.passes import AutogradOracle
from gradcheck_lab.oracles.autograd.subgradients import Subgradients
from gradcheck_lab.subjects.op import adapt_op
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Key


def absolute(at_zero: float) -> gl.Op:
    def backward(g: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (g * torch.where(x == 0, at_zero, x.sign()),)

    return gl.Op(torch.abs, backward, name="absolute")


def with_zeros(rows: int) -> torch.Tensor:
    x = torch.randn(rows, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[::7, 3] = 0
    return x


@pytest.mark.parametrize(("at_zero", "verdict"), [(-1.0, "pass"), (0.5, "pass"), (1.5, "fail")])
def test_kinks_of_a_large_gradient_are_judged_as_those_of_a_small_one(at_zero: float, verdict: str) -> None:
    for rows in (8, 2 * SAMPLED_WHOLE.value // 64):
        report = gl.check(absolute(at_zero), with_zeros(rows), probes=())
        assert report.verdict == verdict, report


def test_intervals_within_a_mask_are_those_of_the_whole_there() -> None:
    x = with_zeros(9)
    case = Case((x,), {}, (torch.ones_like(x),))
    within = x.abs() < 0.5
    oracles = [Subgradients(AutogradOracle(Runner(adapt_op(absolute(0.0), (x,), {})), case)) for _ in range(2)]
    whole, part = (
        list(oracle.intervals(Key("input", 0), lambda interval: interval.at & (x == 0), mask))
        for oracle, mask in zip(oracles, (None, within), strict=True)
    )
    assert len(whole) == len(part) > 3
    for a, b in zip(whole, part, strict=True):
        assert torch.equal(a.at & within, b.at), "the same kinks"
        assert torch.equal(a.low[within], b.low[within]), "the same lower ends"
        assert torch.equal(a.high[within], b.high[within]), "the same upper ends"
