"""Planted mistakes under seeds that once gave them another name."""

from copy import deepcopy

import pytest
import torch

from gradcheck_lab.diagnosis import Evidence, explain
from tests.mistakes.catalogue import ROWS


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cause_in_float32(actual: torch.Tensor, expected: torch.Tensor) -> str:
    evidence = Evidence(name="x", actual=actual, expected=expected, dtype=torch.float32, tensors={"x": expected.float()})
    return explain(evidence).cause


def test_errors_in_a_few_elements_are_no_rounding_though_every_element_is_rounded() -> None:
    expected = normal(5, 6, seed=2082)
    few = torch.rand(5, 6, generator=torch.Generator().manual_seed(0)) < 0.15
    actual = (expected * (1 + 4e-3 * normal(5, 6, seed=1) * few)).float()
    assert cause_in_float32(actual, expected) == "wrong-value"


def test_errors_in_every_element_are_rounding_of_a_narrower_dtype() -> None:
    expected = normal(5, 6, seed=2082)
    actual = (expected * (1 + 2.0**-9 * normal(5, 6, seed=1))).float()
    assert cause_in_float32(actual, expected) == "low-precision"


@pytest.mark.thorough
def test_epsilon_that_other_sizes_show_too_is_named_as_one() -> None:
    row = next(row for row in ROWS if str(row) == "epsilon-mismatch-probed-layer-norm-epsilon")
    row = type(row)(row.name, row.cause, row.wrong, row.sound, row.inputs, row.options, {"seed": 1339932261})
    report = row.check_wrong()
    assert report.verdict == "fail", report
    assert [finding.cause for finding in report.findings if finding.severity == "error"] == ["epsilon-mismatch"], report
    assert deepcopy(row).check_sound().verdict == "pass"
