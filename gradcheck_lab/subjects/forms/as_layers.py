"""Functions and static classes as layers: an object that keeps what the forward gave, for the backward that goes with it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any

from gradcheck_lab.rules.methods import Methods
from gradcheck_lab.subjects.forms.backward_plan import Plan
from gradcheck_lab.subjects.layers.paths import attributes


class FunctionPair:
    """`forward(*inputs)` and `backward`, which takes what `plan` says; with a cache, that is the last result of the forward."""

    def __init__(self, forward: Callable[..., Any], backward: Callable[..., Any], plan: Plan) -> None:
        self._forward, self._backward, self._plan = forward, backward, plan
        self._given: Any = None

    def forward(self, *inputs: Any, **options: Any) -> Any:
        result = self._forward(*[dict(v) if type(v) is dict else v for v in inputs], **options)
        cache = None
        if self._plan.cached:
            result, cache = list(result[:-1]), result[-1]
            result = result[0] if len(result) == 1 else tuple(result)
        self._given = (inputs, result, cache, options)
        return result

    def backward(self, *grad_outputs: Any) -> Any:
        inputs, output, cache, options = self._given
        upstream = grad_outputs[0] if len(grad_outputs) == 1 else grad_outputs
        return self._backward(*self._plan.arguments(upstream, output, inputs, cache, options))


class Derivative(FunctionPair):
    """A pair whose backward takes no upstream gradient: it is the derivative of an elementwise function, or of a loss."""

    def backward(self) -> Any:
        return super().backward()


class LossWithGradient:
    """A function that returns its value, as entry `loss`, and gradients of some of its inputs, in `kept` or all others."""

    def __init__(self, function: Callable[..., Any], loss: int = 0, kept: Sequence[int] | None = None) -> None:
        self._function, self._loss, self._kept = function, loss, kept
        self._gradients: Any = None

    def forward(self, *inputs: Any, **options: Any) -> Any:
        result = self._function(*inputs, **options)
        self._gradients = [v for k, v in enumerate(result) if (k != self._loss if self._kept is None else k in self._kept)]
        return result[self._loss]

    def backward(self) -> Any:
        return self._gradients[0] if len(self._gradients) == 1 else tuple(self._gradients)


def loss_of_object(owner: Any, method: str, which: int = 0) -> tuple[Any, Methods]:
    """A copy of `owner`, with the same arrays, whose `method` returns the loss, entry `which`, and its backward the rest."""

    class Loss(type(owner)):  # type: ignore[misc]
        def returned_with_loss(self) -> Any:
            rest = self.__dict__.pop("_returned_with_loss")
            return rest[0] if len(rest) == 1 else rest

    def forward(self: Any, *inputs: Any, **options: Any) -> Any:
        rest = list(getattr(super(Loss, self), method)(*inputs, **options))
        loss = rest.pop(which)
        self.__dict__["_returned_with_loss"] = tuple(rest)
        return loss

    Loss.__name__ = type(owner).__name__
    setattr(Loss, method, forward)
    layer = Loss.__new__(Loss)
    for name, value in attributes(owner).items():
        object.__setattr__(layer, name, value)
    return layer, Methods(method, "returned_with_loss")


class Context:
    """What a forward saves on, by any attribute or by `save_for_backward`; read as `saved_values` or `saved_tensors`."""

    def __init__(self, count: int) -> None:
        self.needs_input_grad = (True,) * count
        self.saved_values: tuple[Any, ...] = ()

    def save_for_backward(self, *values: Any) -> None:
        self.saved_values = values

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        return self.saved_values


class WithContext:
    """A class with static `forward(ctx, *inputs)` and `backward(ctx, *grad_outputs)` that is no torch Function.

    Where its own `apply` sets attributes on the context, those are the keyword arguments, as in early tinygrad.
    """

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._context: Any = None
        code = getattr(inspect.unwrap(getattr(kind, "apply", None) or kind), "__code__", None)
        self._sets_options = code is not None and "setattr" in code.co_names

    def forward(self, *inputs: Any, **options: Any) -> Any:
        self._context = Context(len(inputs))
        for name, value in options.items() if self._sets_options else ():
            setattr(self._context, name, value)
        return self._kind.forward(self._context, *inputs, **options)

    def backward(self, *grad_outputs: Any) -> Any:
        return self._kind.backward(self._context, *grad_outputs)


def named(function: Callable[..., Any], otherwise: str) -> str:
    """What a form is called: by its function's name."""
    name = str(getattr(function, "__name__", None) or otherwise)
    owner = getattr(function, "__self__", None)
    return f"{type(owner).__name__}.{name}" if isinstance(function, MethodType) and not isinstance(owner, type) else name
