"""Kinds of tensors: which ones hold numbers that can be compared element by element, and what the others are called."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.parameter import is_lazy

from gradcheck_lab.torch_internals import is_wrapped_by_a_transform

_SPARSE = (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)
# torch neither adds up nor compares tensors of the other floating dtypes
_COMPUTED = frozenset(
    {torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex128, torch.complex64}
)  # fmt: skip


def is_sparse(value: Any) -> bool:
    """Whether it is a tensor in one of torch's sparse layouts."""
    return isinstance(value, torch.Tensor) and value.layout in _SPARSE


def as_numbers(value: Any) -> Any:
    """A gradient whose elements can be added and negated: one of booleans or integers in float64, apart from its graph."""
    if not isinstance(value, torch.Tensor):
        return value
    return value.detach() if value.is_floating_point() or value.is_complex() else value.detach().double()


def what_else(value: Any) -> tuple[str, str] | None:
    """What a tensor is, if not a plain one of numbers, with what to pass in its place; None for a plain one, and no tensor.

    >>> what_else(torch.ones(2, device="meta"))
    ('a tensor on meta, which has no values', 'a tensor on a device')
    """
    if not isinstance(value, torch.Tensor):
        return None
    if is_wrapped_by_a_transform(value):
        return "a tensor within a transform of torch.func", "one outside it, where its values are known"
    if is_lazy(value):
        return "a parameter without a shape", "one after the first call of its module"
    if value.is_nested:
        return "a nested tensor", "its parts, or value.to_padded_tensor(0)"
    if type(value).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        return f"a {type(value).__name__}, a class with operations of its own", "a plain tensor"
    if value.is_meta:
        return "a tensor on meta, which has no values", "a tensor on a device"
    if value.is_quantized:
        return "a quantized tensor", "value.dequantize()"
    if value.layout in _SPARSE:
        return "a sparse tensor", "value.to_dense()"
    if value.layout != torch.strided:
        return f"a tensor in the layout {str(value.layout).removeprefix('torch._')}", "value.to_dense()"
    if (value.is_floating_point() or value.is_complex()) and value.dtype not in _COMPUTED:
        return f"of the dtype {str(value.dtype).removeprefix('torch.')}", "value.float()"
    return None
