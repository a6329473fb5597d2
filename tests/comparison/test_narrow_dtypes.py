"""Calls in narrow dtypes that fresh draws once led to a wrong verdict, and mistakes beside them that are still caught."""

from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.calls.case import Case
from tests.sound import DTYPES, assert_passes, in_dtype

TINY = Case((torch.tensor([[0.3923], [-0.2236]]).double(), torch.tensor([1.0533e-08, 4.2483e-09]).double()), {}, None, 2)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
def test_divisor_stays_a_divisor_in_every_dtype(dtype: torch.dtype) -> None:
    case = in_dtype(TINY, dtype)
    assert bool((case.inputs[1] > 0).all())
    assert_passes(ops.div, case)


def test_narrow_call_is_brought_into_a_wider_dtype_as_it_is() -> None:
    narrow = in_dtype(TINY, torch.float16)
    for before, after in zip(narrow.inputs, in_dtype(narrow, torch.float64).inputs, strict=True):
        assert torch.equal(before.double(), after)


def forgets_the_square(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Any:
    return ops.div.backward(g, y, a, b)[0], (-g * a / b).sum(0)


def test_wrong_divisor_is_found_where_it_is_small() -> None:
    case = in_dtype(TINY, torch.float16)
    report = gl.check(gl.Op(ops.div.forward, forgets_the_square), *case.inputs, probes=(), seed=2)
    assert [gradient.verdict for gradient in report.gradients] == ["pass", "fail"], report
