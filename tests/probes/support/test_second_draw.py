"""An error on a derived call counts only if an independent draw of such a call shows it too."""

from typing import Any

import pytest
import torch

import gradcheck_lab as gl


def square(is_wrong: Any) -> gl.Op:
    def backward(g: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor]:
        return ((3 if is_wrong(x) else 2) * x * g,)

    return gl.Op(lambda x: x * x, backward, name="square")


X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("probe", ["sizes", "values"])
def test_error_of_one_draw_alone_is_none(probe: str) -> None:
    op = square(lambda x: torch.initial_seed() == 0 and (x.shape[0] == 1 or bool((x == 0).any())))
    report = gl.check(op, X, probes=[probe])
    assert report.verdict == "pass", report


@pytest.mark.parametrize(("probe", "cause"), [("sizes", "size-specialised"), ("values", "value-dependent")])
def test_error_of_every_draw_counts(probe: str, cause: str) -> None:
    op = square(lambda x: x.shape[0] == 1 if probe == "sizes" else bool((x == 0).any()))
    report = gl.check(op, X, probes=[probe])
    assert report.verdict == "fail"
    assert cause in {finding.cause for finding in report.findings}, report
