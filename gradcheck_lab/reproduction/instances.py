"""An object of the user's class made again: by what its constructor was given and stored, and what differs after that."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from gradcheck_lab.calls.randomness import preserved_randomness
from gradcheck_lab.model.exceptions import Contained

_DEPTH = 4  # of objects within one another
_PLAIN = (bool, int, float, str, bytes, type(None), complex, torch.dtype)


@dataclass(frozen=True, slots=True)
class Construction:
    """The arguments of a constructor, and what is set on the object that it makes: attributes, or the state of a module."""

    arguments: dict[str, Any]
    attributes: dict[str, Any] = field(default_factory=dict)
    state: dict[str, torch.Tensor] = field(default_factory=dict)
    dtype: torch.dtype | None = None
    training: bool = True


def construction_of(value: Any) -> Construction | None:
    """How an object is made again, tried by making one; None where its attributes do not say that."""
    arguments = _arguments(value)
    if arguments is None:
        return None
    try:
        with preserved_randomness(), Contained(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = type(value)(**arguments)
            found = _of_module if isinstance(value, torch.nn.Module) else _of_object
            return found(value, made, arguments)
    except Exception:  # the user's constructor takes something else
        return None


def _arguments(value: Any) -> dict[str, Any] | None:
    """What the object has under the names of its constructor's parameters; None where one that is needed is missing."""
    try:
        parameters = inspect.signature(type(value)).parameters.values()
    except (TypeError, ValueError):
        return None
    found: dict[str, Any] = {}
    for each in parameters:
        held = getattr(value, "__dict__", {}).get(each.name, each.empty)
        optional = each.default is not each.empty or each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        if held is each.empty or each.kind is each.POSITIONAL_ONLY:
            if not optional:
                return None
        elif not (optional and _same(held, each.default)):
            found[each.name] = held
    return found


def _of_object(value: Any, made: Any, arguments: dict[str, Any]) -> Construction | None:
    held, has = vars(value), vars(made)
    if has.keys() - held.keys():
        return None
    return Construction(arguments, {name: held[name] for name in held if not (name in has and _same(held[name], has[name]))})


def _of_module(value: torch.nn.Module, made: torch.nn.Module, arguments: dict[str, Any]) -> Construction | None:
    floating = {each.dtype for each in value.state_dict().values() if each.is_floating_point()}
    dtype = next(iter(floating)) if floating != {torch.get_default_dtype()} and len(floating) == 1 else None
    made = made if dtype is None else made.to(dtype)
    state, has = value.state_dict(), made.state_dict()
    if state.keys() != has.keys() or any(state[name].shape != has[name].shape for name in state):
        return None
    made.load_state_dict(state)
    made.train(value.training)
    if not _same(value, made):
        return None
    return Construction(arguments, state=dict(state), dtype=dtype, training=value.training)


def _same(one: Any, other: Any, depth: int = 0) -> bool:
    """Whether two values are alike as far as a call can tell: numbers by value, objects by their class and attributes."""
    if one is other:
        return True
    if type(one) is not type(other) or depth > _DEPTH:
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one.detach().cpu(), other.detach().cpu())
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, _PLAIN):
        return bool(one == other)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(_same(a, b, depth + 1) for a, b in zip(one, other, strict=True))
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key], depth + 1) for key in one)
    if isinstance(one, (set, frozenset)):
        return bool(one == other)
    if not hasattr(one, "__dict__") or isinstance(one, type) or inspect.isroutine(one):
        return False
    return _same(dict(vars(one)), dict(vars(other)), depth + 1)
