"""At a kink of a complex input each part is held against the one-sided derivatives along it."""

from __future__ import annotations

import pytest
import torch

import gradcheck_lab as gl

SOME = torch.tensor([0, 1 + 2j, 0, -1j], dtype=torch.complex128)
FORWARDS = {
    "norm": (torch.linalg.norm, torch.zeros(5, dtype=torch.complex128)),
    "abs": (torch.abs, SOME),
    "rows": (lambda x: torch.linalg.vector_norm(x[:, None], dim=1), SOME),
    "relu-of-real-part": (lambda x: torch.relu(x.real) + x.imag**2, SOME),
}


@pytest.mark.parametrize("name", FORWARDS)
def test_convention_of_torch_is_a_note_and_more_than_a_slope_is_wrong(name):
    function, x = FORWARDS[name]

    def changed(amount):
        def run(x):
            value = x.clone()
            if value.requires_grad:
                value.register_hook(lambda grad: grad + amount)
            return function(value)

        return gl.check(run, x, probes=())

    right = changed(0)
    assert right.verdict == "pass", str(right)
    assert [f.cause for f in right.findings] == ["convention"]
    for amount in (9, -9j):
        report = changed(amount)
        assert report.verdict == "fail", str(report)
        assert "outside-subdifferential" in [f.cause for f in report.findings]
