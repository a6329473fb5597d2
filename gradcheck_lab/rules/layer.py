"""`Layer`: an object with `forward` and `backward`, and the names of its parameters and their gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.rules.methods import BACKWARDS, DERIVATIVES, FORWARDS, methods_of

_FORWARD, _BACKWARD = "adapted_forward", "adapted_backward"


class Layer:
    """Name a layer's methods, parameters and gradients, for layers that do not use the usual names.

    `obj` has a forward (or `__call__`) and a backward, in torch or NumPy; `forward` and `backward` name the methods where they
    are called something else, or are functions of the object and the arguments: `backward=lambda net, g: net.back(g, 0.1)`.
    `grads`, or `parameters` as a dict, maps each parameter to the attribute that holds its gradient
    after the backward, of the parameter's shape: `{"W": "dW"}`, `{"params[0]": "grads[0]"}`, `{"W": "cache['dW']"}`,
    `{"W": "W.grad_"}`. `parameters` as a list names those that are trained; left out, they are the keys of `grads`.
    `arguments` (or `backward` as a dict) holds further arguments of the backward by name, such as a learning rate. `name` is
    what reports call it.

    Raises `InvalidArgument` for an object without the two methods, and for arguments of another form.

    >>> import numpy as np
    >>> class Scale:
    ...     def __init__(self, s):
    ...         self.s, self.sensitivity = s, None
    ...     def forward(self, x):
    ...         self.x = x
    ...         return self.s * x
    ...     def backward(self, dout):
    ...         self.sensitivity = (dout * self.x).sum(axis=0)
    ...         return dout * self.s
    >>> import gradcheck_lab as gl
    >>> layer = gl.Layer(Scale(np.array([2.0, 3.0])), grads={"s": "sensitivity"})
    >>> gl.check(layer, np.array([[1.0, 2.0], [3.0, 4.0]]), probes=()).verdict
    'pass'
    """

    def __init__(
        self,
        obj: Any,
        grads: Mapping[str, str] | None = None,
        parameters: Sequence[str] | Mapping[str, str] | None = None,
        *,
        forward: str | Callable[..., Any] | None = None,
        backward: str | Mapping[str, Any] | Callable[..., Any] | None = None,
        arguments: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        kind = obj.__name__ if isinstance(obj, type) else type(obj).__name__
        obj = _with_methods(obj, {_FORWARD: forward, _BACKWARD: backward})
        self.forward_name = _FORWARD if callable(forward) else forward
        self.backward_name = _BACKWARD if callable(backward) else backward if isinstance(backward, str) else None
        _require_methods(obj, kind, self.forward_name, self.backward_name)
        if grads is not None and not isinstance(grads, Mapping):
            raise InvalidArgument(f"grads is a {type(grads).__name__}; pass a dict: gl.Layer(obj, grads={{'W': 'dW'}})")
        if isinstance(parameters, str):
            raise InvalidArgument(f"parameters is a string; pass a list: parameters=[{parameters!r}]")
        if isinstance(parameters, Mapping):
            grads, parameters = {**(grads or {}), **parameters}, None
        self.obj = obj
        self.grads = dict(grads) if grads is not None else None
        self.parameters = tuple(parameters) if parameters is not None else None
        self.backward_arguments = {**(backward if isinstance(backward, Mapping) else {}), **(arguments or {})}
        self.name = name or kind

    def __repr__(self) -> str:
        return f"<layer {self.name}>"


def _with_methods(obj: Any, functions: Mapping[str, Any]) -> Any:
    """An object of the same attributes that has these functions as methods; the object itself where there are none."""
    methods = {name: _as_function(function) for name, function in functions.items() if callable(function)}
    if not methods:
        return obj
    kind = obj if isinstance(obj, type) else type(obj)
    own = {"__slots__": (), **methods} if not hasattr(obj, "__dict__") else methods  # the same layout in memory
    derived = type(kind.__name__, (kind,), own)
    if isinstance(obj, type):
        return derived
    copied = copy.copy(obj)
    copied.__class__ = derived
    return copied


def _as_function(function: Any) -> Any:
    """What becomes a method as an attribute of a class; other callables are called by one that does."""
    if isinstance(function, FunctionType):
        return function
    return lambda self, *arguments, **options: function(self, *arguments, **options)


def _require_methods(obj: Any, kind: str, forward: str | None, backward: str | None) -> None:
    for method in (forward, backward):
        if method is not None and not callable(getattr(obj, method, None)):
            raise InvalidArgument(f"{kind} has no method {method!r}; name one that it has")
    if methods_of(obj, forward, backward) is None:
        lacking = [role for role, known in (("forward", (*FORWARDS, "__call__")), ("backward", (*BACKWARDS, *DERIVATIVES)))
                   if not any(callable(getattr(obj, name, None)) for name in known)]  # fmt: skip
        raise InvalidArgument(
            f"{kind} has no {' and no '.join(lacking or ['backward'])}; "
            "gl.Layer takes an object with the methods forward and backward"
        )
