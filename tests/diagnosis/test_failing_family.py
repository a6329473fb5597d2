"""A family of explanations whose arithmetic fails hides no error."""

import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab import diagnosis
from gradcheck_lab.diagnosis import Evidence


@pytest.mark.parametrize("error", [RuntimeError, torch.linalg.LinAlgError, ZeroDivisionError, OverflowError, ValueError])
def test_an_error_stands_where_its_explanation_fails(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(evidence: Evidence) -> None:
        raise error("no fit")

    monkeypatch.setattr(diagnosis, "FAMILIES", [fails, *diagnosis.FAMILIES])
    bounded = gl.Op(torch.sin, lambda g, y, x: (g * x.clamp(-20, 20).cos(),), name="sine")
    report = gl.check(bounded, torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4))
    assert report.verdict == "fail"
    assert "value-dependent" in {finding.cause for finding in report.findings}
