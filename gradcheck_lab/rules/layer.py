"""`Layer`: an object with `forward` and `backward`, and the names of its parameters and their gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gradcheck_lab.errors import InvalidArgument


class Layer:
    """Name a layer's parameters and gradients, for layers that do not use the usual names.

    `obj` has methods `forward` (or `__call__`) and `backward`, in torch or NumPy. `grads` maps each parameter to the
    attribute that holds its gradient after the backward, of the parameter's shape: `{"W": "dW"}`, `{"params[0]": "grads[0]"}`,
    `{"W": "cache['dW']"}`, `{"W": "W.grad_"}`. `parameters` names those that are trained; left out, they are the keys of
    `grads`. `backward` holds further arguments of the backward by name, such as a learning rate. `name` is what reports
    call it.

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
        parameters: Sequence[str] | None = None,
        *,
        backward: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        kind = obj.__name__ if isinstance(obj, type) else type(obj).__name__
        missing = [method for method in ("forward", "backward") if not _has(obj, method)]
        if missing:
            raise InvalidArgument(
                f"{kind} has no {' and no '.join(missing)}; gl.Layer takes an object with the methods forward and backward"
            )
        if grads is not None and not isinstance(grads, Mapping):
            raise InvalidArgument(f"grads is a {type(grads).__name__}; pass a dict: gl.Layer(obj, grads={{'W': 'dW'}})")
        if isinstance(parameters, str):
            raise InvalidArgument(f"parameters is a string; pass a list: parameters=[{parameters!r}]")
        self.obj = obj
        self.grads = dict(grads) if grads is not None else None
        self.parameters = tuple(parameters) if parameters is not None else None
        self.backward_arguments = dict(backward or {})
        self.name = name or kind

    def __repr__(self) -> str:
        return f"<layer {self.name}>"


def _has(obj: Any, method: str) -> bool:
    if callable(getattr(obj, method, None)):
        return True
    return method == "forward" and not isinstance(obj, type) and callable(obj)
