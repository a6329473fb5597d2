"""The hand-written ops with their tensors on a CUDA device: the same promises as on the CPU."""

from typing import Any

import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab import ops

if not torch.cuda.is_available():
    pytest.skip("no CUDA device: the hand-written ops are held on the CPU alone", allow_module_level=True)

EVERY = [op for family in ops.FAMILIES.values() for op in family]


@pytest.mark.gradcheck(devices=["cuda"])
@gl.parametrize_checks(EVERY)
def test_promise_on_cuda(gradcheck: Any, check: Any) -> None:
    report = gradcheck(check)
    assert report.gradients
