"""The adapters of functions that return their own gradient, and of classes with a context of their own."""

from __future__ import annotations

import inspect
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import torch

from gradcheck_lab.rules.methods import Methods
from gradcheck_lab.subjects.forms.as_layers import LossWithGradient, WithContext, named
from gradcheck_lab.subjects.forms.backward_plan import is_cache_name
from gradcheck_lab.subjects.layers.adapter import layer_subject
from gradcheck_lab.subjects.layers.paths import is_array
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
    """Translate a NumPy function that returns a loss and then gradients of its inputs; anything else is declined."""
    if not isinstance(value, (FunctionType, MethodType)) or not any(isinstance(v, np.ndarray) for v in inputs):
        return None
    result = result_of(value, inputs, options)
    if not isinstance(result, tuple) or len(result) < 2 or not _is_loss(result[0]):
        return None
    shapes = {tuple(v.shape) for v in inputs if isinstance(v, np.ndarray)}
    if not all(is_array(v) and tuple(v.shape) in shapes for v in result[1:]):
        return None
    function = value
    return layer_subject(
        LossWithGradient(value),
        named(value, "loss"),
        _PAIR,
        inputs,
        options,
        target=importable(value),
        written=(function, function),
    )


def _is_loss(value: Any) -> bool:
    return isinstance(value, (float, np.floating)) or (isinstance(value, np.ndarray) and value.ndim == 0)


def _after_context(function: Any) -> Any:
    """A function that has the parameters of `function` after the context."""
    signature = inspect.signature(function)

    def forward(*inputs: Any, **options: Any) -> Any:
        raise NotImplementedError  # only its signature is read

    forward.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]
    return forward
