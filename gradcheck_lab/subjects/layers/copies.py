"""Deep copies of a layer that hold other parameters, so that no state leaks from one call into the next."""

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
from gradcheck_lab.subjects.layers.paths import Place, arrays, is_array
from gradcheck_lab.torch_internals import without_torch_function


def copy_with(
    layer: Any,
    title: str,
    parameters: Sequence[Parameter],
    values: Sequence[Any],
    changes: dict[torch.dtype, torch.dtype],
    zero_gradients: bool,
) -> Any:
    """A deep copy of `layer` with `values` for its parameters, wherever it holds them; other arrays follow `changes` of dtype.

    With `zero_gradients` the gradients that it holds start from zero. Raises `InvalidArgument` for what cannot be copied.
    """
    with without_torch_function():  # no part of the forward: whoever watches that must not see it
        memo: dict[int, Any] = {id(value): cast_buffer(value, changes) for _, value in arrays(layer)}
        if zero_gradients:
            for parameter, new in zip(parameters, values, strict=True):
                held = [place.find(layer) for place in parameter.gradients]
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
            parameter.place.set(copied, value)
        if zero_gradients and isinstance(value, torch.Tensor):
            _zero_on_tensor(layer, copied, parameter, value)
    return copied


def slots(layer: Any, copied: Any, parameters: Sequence[Parameter]) -> list[list[tuple[Any, Any]]]:
    """For each parameter, the owners and keys on the copy that hold it.

    An item of a tuple cannot be written, and keeps what the copy was made with.
    """
    places = [[parameter.place] for parameter in parameters]
    index = {id(parameter.value): k for k, parameter in enumerate(parameters) if is_array(parameter.value)}
    for place, value in arrays(layer):
        if id(value) in index and place not in places[index[id(value)]]:
            places[index[id(value)]].append(place)
    return [[slot for place in held for slot in _slot(copied, place)] for held in places]


def _slot(copied: Any, place: Place) -> list[tuple[Any, Any]]:
    with suppress(AttributeError, LookupError, TypeError):
        owner = place.owner(copied)
        if not isinstance(owner, tuple):
            return [(owner, place.last.key)]
    return []


def _buffer(gradient: Any, parameter: Any, value: Any) -> Any:
    """Zeros for a gradient that the layer keeps, in the shape of the value that takes the parameter's place."""
    follows = is_array(parameter) and is_array(value) and gradient.shape == parameter.shape != value.shape
    return _zeros(gradient if not follows else value)


def _zeros(value: Any) -> Any:
    return np.zeros_like(value) if isinstance(value, np.ndarray) else torch.zeros_like(value)


def _zero_on_tensor(layer: Any, copied: Any, parameter: Parameter, value: torch.Tensor) -> None:
    """Give the tensor that took a parameter's place the zeroed gradient that `W.grad_ += ...` adds to."""
    for place in parameter.gradients:
        if is_array(place.find(layer)) and place.find(copied) is None:
            place.set(copied, torch.zeros_like(value))
