"""The hand-written ops with their tensors on an accelerator of whatever kind: the same promises as on the CPU."""

from typing import Any

import pytest

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.calls.devices import accelerator

if accelerator() is None:
    pytest.skip("no accelerator: the hand-written ops are held on the CPU alone", allow_module_level=True)

EVERY = [op for family in ops.FAMILIES.values() for op in family]


@pytest.mark.gradcheck(devices=[accelerator()])
@gl.parametrize_checks(EVERY)
def test_promise_on_the_accelerator(gradcheck: Any, check: Any) -> None:
    report = gradcheck(check)
    assert report.gradients
