"""Functions and static classes as layers: an object that keeps what the forward gave, for the backward that goes with it."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

from gradcheck_lab.rules.methods import Methods
from gradcheck_lab.subjects.forms.backward_plan import Plan
from gradcheck_lab.subjects.layers.paths import attributes, is_array, is_number


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


def loss_place(result: Any) -> int | None:
    """Where a function returns a loss beside its gradients: first, or after a dict of them; None where it does not."""
    if not isinstance(result, (tuple, list)) or len(result) < 2:
        return None
    after = len(result) == 2 and isinstance(result[0], dict) and _is_loss(result[1])
    return 0 if _is_loss(result[0]) else 1 if after else None


def _is_loss(value: Any) -> bool:
    return is_number(value) or (is_array(value) and value.ndim == 0)


class LossWithGradient:
    """A function that returns its value and then its gradients, of some of its inputs."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._gradients: Any = None

    def forward(self, *inputs: Any, **options: Any) -> Any:
        result = self._function(*inputs, **options)
        at = loss_place(result) or 0
        self._gradients = [*result[:at], *result[at + 1 :]]
        return result[at]

    def backward(self) -> Any:
        return self._gradients[0] if len(self._gradients) == 1 else tuple(self._gradients)


def loss_of_object(owner: Any, method: str) -> tuple[Any, Methods]:
    """A copy of `owner`, with the same arrays, whose `method` returns the loss alone, and its backward the rest."""

    class Loss(type(owner)):  # type: ignore[misc]
        def returned_with_loss(self) -> Any:
            rest = self.__dict__.pop("_returned_with_loss")
            return rest[0] if len(rest) == 1 else rest

    def forward(self: Any, *inputs: Any, **options: Any) -> Any:
        result = getattr(super(Loss, self), method)(*inputs, **options)
        at = loss_place(result) or 0
        self.__dict__["_returned_with_loss"] = (*result[:at], *result[at + 1 :])
        return result[at]

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
    """A class with static `forward(ctx, *inputs)` and `backward(ctx, *grad_outputs)` that is no torch Function."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._context: Any = None

    def forward(self, *inputs: Any, **options: Any) -> Any:
        self._context = Context(len(inputs))
        return self._kind.forward(self._context, *inputs, **options)

    def backward(self, *grad_outputs: Any) -> Any:
        return self._kind.backward(self._context, *grad_outputs)


def named(function: Callable[..., Any], otherwise: str) -> str:
    """What a form is called: by its function's name."""
    name = str(getattr(function, "__name__", None) or otherwise)
    owner = getattr(function, "__self__", None)
    return f"{type(owner).__name__}.{name}" if isinstance(function, MethodType) and not isinstance(owner, type) else name
