"""Conversions between tensors, which cases hold, and the arrays and numbers that NumPy layers take, with the same dtype."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.errors import InvalidArgument

NUMBER, ARRAY, TENSOR, OTHER = "number", "array", "tensor", "other"


def kind_of(value: Any, numpy: bool) -> str:
    """The form in which the layer takes this input: a number, an array (where `numpy`), a tensor, or unchanged."""
    if isinstance(value, float) and not isinstance(value, np.generic):
        return NUMBER if numpy else TENSOR
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufc":
        return ARRAY if numpy else TENSOR
    if isinstance(value, torch.Tensor):
        return ARRAY if numpy else TENSOR
    return OTHER


def to_tensor(value: Any, label: str) -> Any:
    """Convert a user's input for a case: arrays and floating numbers become tensors, other values stay.

    Raises `InvalidArgument` for arrays of a dtype that torch does not have.
    """
    if isinstance(value, float) and not isinstance(value, np.generic):
        return torch.tensor(value, dtype=torch.float64)
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufc":
        try:
            return _shared(np.asarray(value))
        except TypeError as error:
            raise InvalidArgument(f"{label} has dtype {value.dtype}, which torch has not; pass it as float64") from error
    if isinstance(value, (list, tuple)) and any(isinstance(v, (float, np.ndarray, torch.Tensor)) for v in value):
        raise InvalidArgument(f"{label} is a {type(value).__name__} of numbers; pass one array: np.array(...)")
    return value


def to_native(value: Any, kind: str) -> Any:
    """Convert a case's input to the form that the layer takes; arrays share the tensor's memory, so that writes show."""
    if not isinstance(value, torch.Tensor) or kind == OTHER:
        return value
    if kind == TENSOR:
        return value
    plain = value.detach().cpu().resolve_conj().resolve_neg()
    if kind == NUMBER and not plain.ndim:
        return plain.item()
    if plain.dtype == torch.bfloat16:
        raise InvalidArgument("NumPy has no bfloat16; pass float32 or float64 to a NumPy layer")
    return plain.numpy()


def like_output(value: torch.Tensor, output: Any) -> Any:
    """A gradient for `output` in the same form: a tensor, an array, a NumPy scalar or a plain number."""
    if isinstance(output, torch.Tensor):
        return value
    array = value.detach().cpu().numpy()
    if isinstance(output, np.ndarray):
        return array
    return output.dtype.type(array[()]) if isinstance(output, np.generic) else array.item()


def from_native(value: Any, like: Any = None) -> Any:
    """Convert a layer's result: numeric values become tensors; a plain number gets the dtype of `like`."""
    if isinstance(value, np.ndarray | np.generic):
        try:
            return _shared(np.asarray(value))
        except TypeError:  # an array of objects: the comparison reports it
            return value
    if type(value) in (int, float, complex):
        own = {int: torch.int64, float: torch.float64, complex: torch.complex128}[type(value)]
        fits = is_differentiable(like) and (like.is_complex() or not isinstance(value, complex))
        return torch.tensor(value, dtype=like.dtype if fits else own)
    return value


def cast_buffer(value: Any, changes: dict[torch.dtype, torch.dtype]) -> Any:
    """A copy of an array or tensor, in the dtype that `changes` gives for its own."""
    if isinstance(value, torch.Tensor):
        return value.detach().to(changes.get(value.dtype, value.dtype), copy=True)
    tensor = _shared(value)
    return value.astype(tensor.to(changes[tensor.dtype]).numpy().dtype) if tensor.dtype in changes else value.copy()


def _shared(array: np.ndarray[Any, Any]) -> torch.Tensor:
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if any(stride < 0 or stride % max(1, array.itemsize) for stride in array.strides):
        array = array.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # read-only arrays (np.broadcast_to) are only read here
        return torch.from_numpy(array)
