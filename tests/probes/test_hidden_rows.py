"""Masks that hide a whole row: what a softmax or a mean makes of no value at all, forwards and backwards."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab.report import Report
from tests.mistakes.registry import array, normal

SEEN = torch.tensor([[True, False, True], [False, True, True], [True, True, False], [True, False, False]])
ADDED = torch.zeros(4, 3, dtype=torch.float64).masked_fill(~SEEN, -torch.inf)


def causes(subject: Any, *inputs: Any) -> tuple[str, list[str]]:
    report: Report = gl.check(subject, *inputs, probes=("values",))
    return report.verdict, [f.cause for f in report.findings if f.severity == "error"]


def mean_of_seen(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor, seen: Tensor) -> Any:
        count = seen.sum(-1, keepdim=True).clamp(min=0 if wrong else 1)
        return g.unsqueeze(-1) * seen / count, None

    return gl.Op(lambda x, seen: (x * seen).sum(-1) / seen.sum(-1).clamp(min=1), backward, name="mean_of_seen")


def mean_of_kept(wrong: bool) -> Any:
    def forward(x: Any, kept: Any) -> Any:
        return (x * kept).sum(axis=-1) / np.maximum(kept.sum(axis=-1), 1), kept

    def backward(dout: Any, cache: Any) -> Any:
        kept = cache
        count = kept.sum(axis=-1, keepdims=True)
        return dout[:, None] * kept / (count if wrong else np.maximum(count, 1))

    return forward, backward


def weighted_by_seen(wrong: bool) -> Any:
    """Nothing seen gives zeros, which have no gradient."""

    def backward(g: Tensor, y: Tensor, x: Tensor, added: Tensor) -> Any:
        lost = (added < 0).all(-1, keepdim=True)
        return g * (added.exp() + lost if wrong else added.exp()), None

    return gl.Op(lambda x, added: x * added.exp(), backward, name="weighted_by_seen")


@pytest.mark.parametrize(
    ("build", "inputs", "expected"),
    [
        (mean_of_seen, (normal(4, 3), SEEN), {"masked-branch", "non-finite"}),
        (mean_of_kept, (array(4, 3), SEEN.double().numpy()), {"masked-branch", "non-finite"}),
        (weighted_by_seen, (normal(4, 3), ADDED), {"value-dependent"}),
    ],
)
def test_row_that_hides_everything(build: Any, inputs: Any, expected: set[str]) -> None:
    verdict, found = causes(build(True), *inputs)
    assert verdict == "fail", found
    assert set(found) <= expected
    assert causes(build(False), *inputs) == ("pass", [])


@pytest.mark.parametrize("hidden", [-1e9, -torch.inf])
def test_what_a_large_number_leaves_of_such_a_row_says_nothing(hidden: float) -> None:
    def forward(x: Tensor, seen: Tensor) -> Tensor:
        return torch.softmax(torch.where(seen, x, hidden), -1)

    def backward(g: Tensor, y: Tensor, x: Tensor, seen: Tensor) -> Any:
        return y * (g - (g * y).sum(-1, keepdim=True)), None

    assert causes(gl.Op(forward, backward, name="masked_softmax"), normal(4, 3), SEEN) == ("pass", [])


def test_number_that_hides_makes_no_rounding_of_what_it_leaves() -> None:
    def forward(x: Tensor, added: Tensor) -> Tensor:
        return torch.softmax(x + added, -1)

    def backward(wrong: bool) -> Any:
        def rule(g: Tensor, y: Tensor, x: Tensor, added: Tensor) -> Any:
            dx = y * (g - (g * y).sum(-1, keepdim=True))
            return 2 * dx if wrong and x.shape[-1] > 4 else dx, dx

        return rule

    for hidden in (-1e9, -torch.inf):
        added = torch.zeros(4, 3, dtype=torch.float64).masked_fill(~SEEN, hidden)
        for wrong in (True, False):
            report = gl.check(gl.Op(forward, backward(wrong), name="scores"), normal(4, 3), added, probes=("sizes",))
            assert report.verdict == ("fail" if wrong else "pass"), report
