"""Messages between the two processes: tensors come back as they were, and no other bytes do anything but raise."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradcheck_lab.judging.connection import Malformed, owned
from gradcheck_lab.judging.worker.messages import pack, unpack

PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=5)
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=8
)
DTYPES = (
    torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool, torch.complex128, torch.uint8
)  # fmt: skip


@given(VALUES)
def test_plain_values_come_back(value: Any) -> None:
    assert unpack(bytearray(pack({"value": value}))) == {"value": value}


@given(st.sampled_from(DTYPES), st.lists(st.integers(0, 4), max_size=3), st.booleans(), st.integers(0, 2))
def test_tensors_come_back_with_their_strides(dtype: torch.dtype, shape: list[int], turned: bool, offset: int) -> None:
    whole = torch.arange(math.prod(shape) + offset, dtype=torch.float64).to(dtype)
    value = whole[offset:].reshape(shape)
    value = value.transpose(0, -1) if turned and value.ndim else value
    found = unpack(bytearray(pack([value])))[0]
    assert (found.dtype, found.shape, found.stride()) == (value.dtype, value.shape, value.stride())
    assert torch.equal(found, value)
    assert found.untyped_storage().data_ptr() != value.untyped_storage().data_ptr() or not value.numel()


HOSTILE = (
    {"tensor": ["float32", [4], [1], 0, 8]},  # longer than its memory
    {"tensor": ["float32", [-1], [1], 0, 8]},
    {"tensor": ["float32", [2], [1], 0, 1 << 40]},  # longer than the message
    {"tensor": ["Tensor", [2], [1], 0, 8]},
    {"tensor": ["float32", [2], [1 << 60], 0, 8]},
    {"dtype": "save"},
    {"call": ["os.system", "true"]},
)


@pytest.mark.parametrize("value", HOSTILE)
def test_a_tensor_that_is_none_raises(value: Any) -> None:
    import json

    head = json.dumps(value).encode()
    with pytest.raises((ValueError, TypeError, RuntimeError, KeyError, AttributeError)):
        unpack(bytearray(len(head).to_bytes(8, "little") + head + bytes(8)))


def test_a_tensor_larger_than_its_memory_is_malformed() -> None:
    with pytest.raises(Malformed, match="a tensor of 1000000000000 elements has the memory of fewer"):
        owned(torch.zeros(1).expand(10**12))


def test_what_is_no_tensor_is_malformed() -> None:
    with pytest.raises(Malformed, match="a list stands for a tensor"):
        owned([1.0])
