"""The adapter of layers: objects with `forward(...)` and `backward(...)`, in torch or NumPy, that hold their parameters."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.rules.layer import Layer
from gradcheck_lab.rules.naming import input_names, option_names
from gradcheck_lab.rules.op import Op
from gradcheck_lab.subjects.layers.backward_call import backward_call
from gradcheck_lab.subjects.layers.code import layer_code, returned_names, uses_numpy
from gradcheck_lab.subjects.layers.numpy_boundary import kind_of, to_tensor
from gradcheck_lab.subjects.layers.parameters import Parameter, find_parameters, named_parameters
from gradcheck_lab.subjects.layers.paths import arrays
from gradcheck_lab.subjects.layers.run import LayerRun
from gradcheck_lab.subjects.subject import Stateful, Subject, importable, input_labels

_TARGETS = frozenset(
    "t target targets label labels y_true ytrue true truth ground_truth onehot one_hot gt expected teacher".split()
)


def adapt_layer(value: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> Subject | None:
    """Translate an object with `forward` (or `__call__`) and `backward`, a class of such, or a `gl.Layer`; others are declined.

    The flat inputs are the user's, as tensors, then the parameters. Raises `InvalidArgument` for a class that cannot be
    constructed without arguments, and for parameters whose gradients are not found.
    """
    explicit = value if isinstance(value, Layer) else None
    layer = explicit.obj if explicit is not None else value
    if explicit is None and not _is_layer(layer):
        return None
    layer = _constructed(layer)
    title = explicit.name if explicit is not None else type(layer).__name__
    forward = "forward" if callable(getattr(layer, "forward", None)) else "__call__"
    method = getattr(layer, forward)
    _refuse_options(title, method, len(inputs), options)
    names = input_names(method, len(inputs))
    returned = returned_names(layer.backward)
    parameters = _parameters(layer, title, forward, returned, explicit)
    labels = input_labels(names)
    numpy = _wants_numpy(layer, forward, [p.value for p in parameters], inputs)
    flat = (*inputs, *(p.value for p in parameters))
    titles = (*labels, *(f"parameter {p.name!r}" for p in parameters))
    tensors = tuple(to_tensor(v, f"{label} of {title}") for v, label in zip(flat, titles, strict=True))
    further = explicit.backward_arguments if explicit is not None else {}
    call = backward_call(title, layer.backward, names, further)
    code = layer_code(layer, forward)
    run = LayerRun(
        layer=layer,
        title=title,
        forward_name=forward,
        names=names,
        parameters=parameters,
        kinds=tuple(kind_of(v, numpy) for v in flat),
        dtypes=tuple(t.dtype if isinstance(t, torch.Tensor) else None for t in tensors),
        call=call,
        code=code,
        numpy=numpy,
    )
    return Subject(
        name=title,
        kind="layer",
        inputs=tensors,
        names=(*names, *(_distinct_name(p.name, names) for p in parameters)),
        labels=titles,
        record=run.record,
        trace=run.trace,
        forward=run.forward,
        target=importable(value),
        constants=_constants(names, tensors, returned, parameters, loss=not call.required and not call.variadic),
        state=Stateful(layer, numpy=numpy, adds_up=run.adds_up),
        parameters=frozenset(range(len(labels), len(titles))),
    )


def _is_layer(value: Any) -> bool:
    if isinstance(value, (Op, torch.Tensor)) or inspect.ismodule(value):
        return False
    if isinstance(value, type) and issubclass(value, torch.autograd.Function):
        return False
    if not callable(getattr(value, "backward", None)):
        return False
    return callable(getattr(value, "forward", None)) or (callable(value) and not isinstance(value, type))


def _constructed(layer: Any) -> Any:
    if not isinstance(layer, type):
        return layer
    needed = [
        p.name
        for p in inspect.signature(layer).parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if needed:
        wanted = ", ".join(needed)
        raise InvalidArgument(
            f"{layer.__name__} is a class, and constructing it takes {wanted}; pass an object: "
            f"gl.check({layer.__name__}({wanted}), x)"
        )
    return layer()


def _parameters(
    layer: Any, title: str, forward: str, returned: Sequence[str] | None, explicit: Layer | None
) -> tuple[Parameter, ...]:
    grads, wanted = (explicit.grads, explicit.parameters) if explicit is not None else (None, None)
    if grads is None and wanted is None:
        return find_parameters(layer, title, forward, returned)
    usual = [name for name in wanted or () if name not in (grads or {})]
    automatic = find_parameters(layer, title, forward, returned, usual) if usual else ()
    return named_parameters(layer, title, grads or {}, automatic)


def _wants_numpy(layer: Any, forward: str, parameters: Sequence[Any], inputs: Sequence[Any]) -> bool:
    """Whether the layer computes in NumPy: decided by its arrays, else by the inputs, else by the names in its code."""
    held = [*parameters, *(value for _, value in arrays(layer))]
    if held:
        return not any(isinstance(value, torch.Tensor) for value in held)
    if any(isinstance(value, np.ndarray | np.generic) for value in inputs):
        return True
    if any(isinstance(value, torch.Tensor) for value in inputs):
        return uses_numpy(layer, forward)
    return True


def _constants(
    names: Sequence[str], inputs: Sequence[Any], returned: Sequence[str] | None, parameters: Sequence[Parameter], loss: bool
) -> frozenset[int]:
    """The floating inputs that are targets: by name or values, and not among those that the backward returns gradients for."""
    floating = [i for i in range(len(names)) if is_differentiable(inputs[i])]
    among = sum(p.returned is not None for p in parameters)
    claimed = 1 if returned is None else max(1, len(returned) - among)
    return frozenset(i for i in floating[claimed:] if claimed < len(names) and (_is_target(names[i], inputs[i]) or loss))


def _is_target(name: str, value: torch.Tensor) -> bool:
    zeros_and_ones = bool(((value == 0) | (value == 1)).all())
    return name.lower().strip("_") in _TARGETS or (value.ndim > 0 and value.numel() > 0 and zeros_and_ones)


def _refuse_options(title: str, method: Any, inputs: int, options: Mapping[str, Any]) -> None:
    known = option_names(method, inputs)
    for option in options:
        if known is not None and option not in known:
            accepted = f"it accepts {', '.join(known)}" if known else "it accepts none"
            raise InvalidArgument(f"{title} has no option {option!r}; {accepted}")


def _distinct_name(name: str, taken: Sequence[str]) -> str:
    return f"self.{name}" if name in taken else name
