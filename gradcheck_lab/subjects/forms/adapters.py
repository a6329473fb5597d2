"""The adapters of functions that return their own gradient, and of classes with a context of their own."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import torch

from gradcheck_lab.rules.methods import Methods
from gradcheck_lab.rules.naming import input_names
from gradcheck_lab.subjects.forms.as_layers import LossWithGradient, WithContext, loss_of_object, loss_place, named
from gradcheck_lab.subjects.forms.backward_plan import is_cache_name
from gradcheck_lab.subjects.layers.adapter import layer_subject
from gradcheck_lab.subjects.layers.arguments import arguments_of
from gradcheck_lab.subjects.layers.code import returned_names
from gradcheck_lab.subjects.layers.entries import entries_of, entry_of, keys_of, last_key
from gradcheck_lab.subjects.layers.gradient_names import partners
from gradcheck_lab.subjects.layers.paths import arrays, is_array, is_number
from gradcheck_lab.subjects.pair import result_of
from gradcheck_lab.subjects.subject import Subject, importable

_PAIR = Methods("forward", "backward")


def adapt_context_class(value: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> Subject | None:
    """Translate a class with static `forward(ctx, ...)` and `backward(ctx, ...)`; torch Functions and others are declined."""
    if not isinstance(value, type) or issubclass(value, torch.autograd.Function):
        return None
    functions = [inspect.getattr_static(value, name, None) for name in ("forward", "backward")]
    if not all(isinstance(function, staticmethod) for function in functions):
        return None
    first = [next(iter(inspect.signature(function.__func__).parameters), "") for function in functions]
    if not all(is_cache_name(name) for name in first):
        return None
    forward = _after_context(value.forward)  # type: ignore[attr-defined]
    return layer_subject(
        WithContext(value), value.__name__, _PAIR, inputs, options, target=importable(value),
        written=(forward, value.backward),  # type: ignore[attr-defined]
    )  # fmt: skip


def adapt_loss_with_gradient(value: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> Subject | None:
    """Translate a function or method that returns a loss and then gradients: of its inputs, or of what its object holds.

    Anything else is declined, and so is a result in torch whose gradients no name tells from further outputs.
    """
    if not isinstance(value, (FunctionType, MethodType)):
        return None
    names = input_names(value, len(inputs))
    leaves = arguments_of(inputs, names).leaves
    returned = returned_names(value)
    if returned == () or not any(is_array(v) for v in leaves):
        return None
    if any(isinstance(v, torch.Tensor) for v in leaves) and len(returned or ()) < 2:
        return None
    result = result_of(value, inputs, options)
    at = loss_place(result)
    if at is None:
        return None
    result = [result[at], *result[:at], *result[at + 1 :]]
    owner = value.__self__ if isinstance(value, MethodType) else None
    held = {tuple(v.shape): None for _, v in arrays(owner)} if owner is not None and not isinstance(owner, type) else {}
    given = arguments_of(inputs, names)
    gradients, keys = entries_of(list(result[1:])), keys_of(list(result[1:]))
    shapes = {np.shape(v) for v in given.leaves if is_array(v) or is_number(v)} | set(held)
    if not gradients or not all((is_array(v) or is_number(v)) and np.shape(v) in shapes for v in gradients):
        return None
    if any(isinstance(v, torch.Tensor) for v in gradients) and not _named_as_gradients(value, keys, given.names, owner):
        return None
    layer, methods = LossWithGradient(value), _PAIR
    if owner is not None and held:
        layer, methods = loss_of_object(owner, value.__name__)
    return layer_subject(
        layer, named(value, "loss"), methods, inputs, options, target=importable(value), written=(value, value),
        returns_dict=bool(keys), loss_at=at,
    )  # fmt: skip


def _named_as_gradients(function: Any, keys: Sequence[str | None], names: Sequence[str], owner: Any) -> bool:
    """Whether the results after the first are called gradients of inputs, or keys name inputs or what the object holds."""
    known = {last_key(name) for name in names} | {str(path.last.key) for path, _ in arrays(owner)} if owner is not None else (
        {last_key(name) for name in names})  # fmt: skip
    if keys:
        return all(any(entry_of(name, [key]) is not None for name in known) for key in keys if key is not None)
    words = (returned_names(function) or ())[1:]
    return bool(words) and all(any(partners(name, [word]) for name in known) for word in words)


def _after_context(function: Any) -> Any:
    """A function that has the parameters of `function` after the context."""
    signature = inspect.signature(function)

    def forward(*inputs: Any, **options: Any) -> Any:
        raise NotImplementedError  # only its signature is read

    forward.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]
    return forward
