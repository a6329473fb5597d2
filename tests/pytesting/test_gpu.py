"""The hand-written ops with their tensors on a CUDA device: the same promises as on the CPU."""

from typing import Any

import pytest

import gradcheck_lab as gl
from gradcheck_lab import ops

EVERY = [op for family in ops.FAMILIES.values() for op in family]


@pytest.mark.gpu
@pytest.mark.gradcheck(devices=["cuda"])
@gl.parametrize_checks(EVERY)
def test_promise_on_cuda(gradcheck: Any, check: Any) -> None:
    report = gradcheck(check)
    assert report.gradients
