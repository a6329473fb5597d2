"""Deep copies of a layer with other parameters, so that no state leaks from one call into the next."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.user_errors import text_of
from gradcheck_lab.subjects.layers.numpy_boundary import cast_buffer
from gradcheck_lab.subjects.layers.parameters import Parameter
from gradcheck_lab.subjects.layers.paths import ObjectPath, arrays, is_array
from gradcheck_lab.torch_internals import without_torch_function


def copy_with(
    layer: Any,
    title: str,
    parameters: Sequence[Parameter],
    values: Sequence[Any],
    changes: dict[torch.dtype, torch.dtype],
    zero_gradients: bool,
) -> Any:
    """A deep copy of `layer` with `values` for its parameters everywhere; other arrays are cast by `changes`, old to new dtype.

    With `zero_gradients`, stored gradients start from zero. Raises `InvalidArgument` where `copy.deepcopy` fails.
    """
    with without_torch_function():  # not part of the forward: modes that look for calls in the forward must not see this
        memo: dict[int, Any] = {id(value): cast_buffer(value, changes) for _, value in arrays(layer)}
        if zero_gradients:
            for parameter, new in zip(parameters, values, strict=True):
                held = [path.find(layer) for path in parameter.gradients]
                memo |= {id(v): _buffer(memo.get(id(v), v), parameter.value, new) for v in held if is_array(v)}
    memo |= {id(p.value): value for p, value in zip(parameters, values, strict=True) if is_array(p.value)}
    try:
        copied = copy.deepcopy(layer, memo)
    except Exception as error:
        raise InvalidArgument(
            f"{title} cannot be copied with copy.deepcopy ({type(error).__name__}: {text_of(error)}); "
            "give its class a __deepcopy__, or leave out what cannot be copied"
        ) from error
    for parameter, value in zip(parameters, values, strict=True):
        if not is_array(parameter.value):
            parameter.path.set(copied, value)
        if zero_gradients and isinstance(value, torch.Tensor):
            _zero_on_tensor(layer, copied, parameter, value)
    return copied


def slots(layer: Any, copied: Any, parameters: Sequence[Parameter]) -> list[list[tuple[Any, Any]]]:
    """For each parameter, the owners on the copy, with the attribute name or key that holds it.

    Items of tuples are left out, because they cannot be assigned.
    """
    paths = [[parameter.path] for parameter in parameters]
    index = {id(parameter.value): k for k, parameter in enumerate(parameters) if is_array(parameter.value)}
    for path, value in arrays(layer):
        if id(value) in index and path not in paths[index[id(value)]]:
            paths[index[id(value)]].append(path)
    return [[slot for path in held for slot in _slot(copied, path)] for held in paths]


def _slot(copied: Any, path: ObjectPath) -> list[tuple[Any, Any]]:
    with suppress(AttributeError, LookupError, TypeError):
        owner = path.owner(copied)
        if not isinstance(owner, tuple):
            return [(owner, path.last.key)]
    return []


def _buffer(gradient: Any, parameter: Any, value: Any) -> Any:
    """Zeros for a stored gradient, in the shape of the new value of its parameter."""
    follows = is_array(parameter) and is_array(value) and gradient.shape == parameter.shape != value.shape
    return _zeros(gradient if not follows else value)


def _zeros(value: Any) -> Any:
    return np.zeros_like(value) if isinstance(value, np.ndarray) else torch.zeros_like(value)


def _zero_on_tensor(layer: Any, copied: Any, parameter: Parameter, value: torch.Tensor) -> None:
    """Set the gradient attribute of a parameter's new tensor to zeros, so that `W.grad_ += ...` works."""
    for path in parameter.gradients:
        if is_array(path.find(layer)) and path.find(copied) is None:
            path.set(copied, torch.zeros_like(value))
