"""Memory that runs out, on whatever device, is told as that: a finding of the user's code, no verdict where it was our own."""

from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab.examination import pipeline
from tests.mistakes.registry import normal

# mypy: disable-error-code="override"

SAID = "CUDA out of memory. Tried to allocate 20.00 GiB."


def doubling(where: str) -> Any:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            if where == "forward":
                raise torch.OutOfMemoryError(SAID)
            return 2 * x

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            if where == "backward":
                raise torch.OutOfMemoryError(SAID)
            return 2 * grad_output

    return Double


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_memory_that_a_subject_runs_out_of_is_a_finding(where: str) -> None:
    report = gl.check(doubling(where), normal(4))
    (found,) = report.findings
    assert report.verdict == "fail"
    assert (found.cause, found.message, found.explanation) == ("memory-exceeded", f"{where} ran out of memory", SAID)
    assert found.suggestion == "look for a tensor or a list that grows faster than the inputs, or allow more"
    assert (found.stage, found.exception) == (where, "OutOfMemoryError")


def test_memory_that_the_comparison_runs_out_of_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_memory(*arguments: Any, **keywords: Any) -> Any:
        raise torch.OutOfMemoryError(SAID)

    monkeypatch.setattr(pipeline, "compare_returned", without_memory)
    report = gl.check(doubling(""), normal(4))
    assert report.verdict == "inconclusive"
    assert report.reasons == (
        f"memory ran out while the gradients were compared, OutOfMemoryError: {SAID}; check a smaller call",
    )
