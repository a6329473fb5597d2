"""The adapters of functions that return their own gradient, and of classes with a context of their own."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from types import FunctionType, MethodType
from typing import Any

import torch

from gradcheck_lab.rules.methods import Methods
from gradcheck_lab.rules.naming import input_names
from gradcheck_lab.subjects.first_call import result_of
from gradcheck_lab.subjects.forms.as_layers import LossWithGradient, WithContext, loss_of_object, named
from gradcheck_lab.subjects.forms.backward_plan import is_cache_name
from gradcheck_lab.subjects.forms.claimed_gradients import claimed_entries
from gradcheck_lab.subjects.layers.adapter import layer_subject
from gradcheck_lab.subjects.layers.arguments import Arguments, arguments_of
from gradcheck_lab.subjects.layers.code import returned_names
from gradcheck_lab.subjects.layers.entries import entries_of, entry_of, keys_of, last_key
from gradcheck_lab.subjects.layers.gradient_names import is_usual, looks_like_gradient, partners
from gradcheck_lab.subjects.layers.paths import arrays, is_array, is_number
from gradcheck_lab.subjects.pair import adapt_pair
from gradcheck_lab.subjects.readings.losses import unclaimed_gradient
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


def adapt_static_class(value: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> Subject | None:
    """Translate a class that holds a pair of functions, `forward(x, w)` and `backward(dout, cache)`; others are declined."""
    if not isinstance(value, type) or issubclass(value, torch.autograd.Function):
        return None
    functions = [inspect.getattr_static(value, name, None) for name in ("forward", "backward")]
    if not all(isinstance(function, staticmethod) for function in functions):
        return None
    return adapt_pair((value.forward, value.backward), inputs, options, value.__name__)  # type: ignore[attr-defined]


def adapt_loss_with_gradient(value: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> Subject | None:
    """Translate a function or method that returns a loss and gradients: of its inputs, or of what its object holds.

    Anything else is declined, and so is a result in torch whose gradients no name tells from further outputs. Raises
    `InvalidArgument` for an array beside a number that nothing claims to be its gradient.
    """
    if not isinstance(value, (FunctionType, MethodType)):
        return None
    names = input_names(value, len(inputs))
    given = arguments_of(inputs, names)
    returned = returned_names(value)
    if returned == () or not any(is_array(v) for v in given.leaves):
        return None
    if any(isinstance(v, torch.Tensor) for v in given.leaves) and len(returned or ()) < 2:
        return None
    result = result_of(value, inputs, options)
    loss = _loss_of(result, returned)
    if loss is None:
        return None
    rest = [v for k, v in enumerate(result) if k != loss]
    owner = value.__self__ if isinstance(value, MethodType) else None
    held = {tuple(v.shape): None for _, v in arrays(owner)} if owner is not None and not isinstance(owner, type) else {}
    gradients, keys = entries_of(rest), keys_of(rest)
    shapes = {_shape(v) for v in given.leaves if is_array(v) or is_number(v)} | set(held)
    if not gradients or not all(is_array(v) or is_number(v) for v in gradients):
        return None
    words = keys or [word for k, word in enumerate(returned or ()) if k != loss]
    if not all(_shape(v) in shapes for v in gradients) and not _named_in_any_shape(words, gradients, given, owner):
        return None
    if any(isinstance(v, torch.Tensor) for v in gradients):
        if not _named_as_gradients(value, keys, given.names, owner):
            return None
        kept = None
    else:
        # gradients in a tuple of their own, or by key, are set apart from other results already
        apart = bool(keys) or any(isinstance(v, (tuple, list)) for v in rest)
        kept = None if apart or held else _claimed(value, result, loss, given, options)
    layer, methods = LossWithGradient(value, loss, kept), _PAIR
    if owner is not None and held:
        layer, methods = loss_of_object(owner, value.__name__, loss)
    return layer_subject(
        layer, named(value, "loss"), methods, inputs, options, target=importable(value), written=(value, value),
        returns_dict=bool(keys), names_returned=None if returned is None else _names_of(returned, loss, kept),
    )  # fmt: skip


def _loss_of(result: Any, returned: Sequence[str] | None) -> int | None:
    """Which entry of a result is the loss: the first, or the last after a dict of gradients or what is called one."""
    if not isinstance(result, (tuple, list)) or len(result) < 2:
        return None
    if _is_loss(result[0]):
        return 0
    first = isinstance(result[0], dict) or looks_like_gradient(next(iter(returned or ()), ""))
    return len(result) - 1 if first and _is_loss(result[-1]) else None


def _names_of(returned: Sequence[str], loss: int, kept: Sequence[int] | None) -> tuple[str, ...]:
    """The names of what is returned beside the loss, as far as it is kept."""
    return tuple(name for k, name in enumerate(returned) if (k != loss if kept is None else k in kept))


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape) if is_array(value) else ()


def _claimed(function: Any, result: Sequence[Any], loss: int, given: Arguments, options: Mapping[str, Any]) -> list[int]:
    """The entries of a result that are gradients; raises `InvalidArgument` where it cannot be told."""

    def call(leaves: Sequence[Any]) -> Any:
        return function(*given.rebuild(leaves), **options)[loss]

    found = claimed_entries(function, result, loss, given.names, given.leaves, call)
    if found is None:
        raise unclaimed_gradient(function, loss, len(result), given)
    return found


def _is_loss(value: Any) -> bool:
    return is_number(value) or (is_array(value) and value.ndim == 0)


def _named_as_gradients(function: Any, keys: Sequence[str | None], names: Sequence[str], owner: Any) -> bool:
    """Whether the results after the first are called gradients of inputs, or keys name inputs or what the object holds."""
    known = {last_key(name) for name in names} | {str(path.last.key) for path, _ in arrays(owner)} if owner is not None else (
        {last_key(name) for name in names})  # fmt: skip
    if keys:
        return all(any(entry_of(name, [key]) is not None for name in known) for key in keys if key is not None)
    words = (returned_names(function) or ())[1:]
    return bool(words) and all(any(partners(name, [word]) for name in known) for word in words)


def _named_in_any_shape(words: Sequence[str | None], gradients: Sequence[Any], given: Arguments, owner: Any) -> bool:
    """Whether names claim each result as the gradient of an input or of what the object holds, so that its shape is a mistake.

    It is one of those that are made: a sum too few or too many, a transposition. Under the name of the input itself, where
    norms and means of it are kept as well, only a sum too few is.
    """
    named = [(last_key(name), _shape(value)) for name, value in zip(given.names, given.leaves, strict=True)]
    named += [(str(path.last.key), _shape(value)) for path, value in arrays(owner)] if owner is not None else []

    def claimed(word: str | None, got: tuple[int, ...]) -> bool:
        def mistaken(wanted: tuple[int, ...]) -> bool:
            return _broadcasts(wanted, got) or _broadcasts(got, wanted) or sorted(got) == sorted(wanted)

        return word is not None and any(
            (is_usual(name, word) and mistaken(wanted)) or (name == word and _broadcasts(wanted, got)) for name, wanted in named
        )

    return len(words) == len(gradients) and all(map(claimed, words, map(_shape, gradients)))


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether a tensor of one shape can be expanded to another."""
    return len(shape) <= len(to) and all(size in (1, other) for size, other in zip(shape[::-1], to[::-1], strict=False))


def _after_context(function: Any) -> Any:
    """A function that has the parameters of `function` after the context."""
    signature = inspect.signature(function)

    def forward(*inputs: Any, **options: Any) -> Any:
        raise NotImplementedError  # only its signature is read

    forward.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]
    return forward
