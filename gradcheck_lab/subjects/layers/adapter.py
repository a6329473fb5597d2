"""The adapter of layers: objects with a forward and a hand-written backward, in torch or NumPy, that hold their parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from inspect import Parameter
from typing import Any

import numpy as np
import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.rules.layer import Layer
from gradcheck_lab.rules.methods import Methods, methods_of
from gradcheck_lab.rules.naming import input_names, option_names
from gradcheck_lab.rules.op import Op
from gradcheck_lab.subjects.code.kept import kept_by
from gradcheck_lab.subjects.layers.arguments import Arguments, arguments_of
from gradcheck_lab.subjects.layers.backward_call import backward_call
from gradcheck_lab.subjects.layers.code import (
    layer_code,
    local_names,
    returned_names,
    returns_mapping,
    through_call,
    uses_numpy,
)
from gradcheck_lab.subjects.layers.first_call import FirstCall
from gradcheck_lab.subjects.layers.found import find, wants_trial
from gradcheck_lab.subjects.layers.live import LiveCopy
from gradcheck_lab.subjects.layers.numpy_boundary import kind_of, to_tensor
from gradcheck_lab.subjects.layers.paths import arrays, attributes, is_array
from gradcheck_lab.subjects.layers.resets import Resets
from gradcheck_lab.subjects.layers.roles import floating_inputs, roles_of
from gradcheck_lab.subjects.layers.run import LayerRun
from gradcheck_lab.subjects.layers.trial import Trials
from gradcheck_lab.subjects.readings.layers import unconstructed
from gradcheck_lab.subjects.subject import Stateful, Subject, importable, input_labels
from gradcheck_lab.subjects.unread import Unread


def adapt_layer(value: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> Subject | None:
    """Translate an object with a forward and a backward, a class of such, or a `gl.Layer`; others are declined.

    The flat inputs are the user's, as tensors, then the parameters. Raises `InvalidArgument` for a class that cannot be
    constructed without arguments, and for parameters whose gradients are not found.
    """
    explicit = value if isinstance(value, Layer) else None
    layer = explicit.obj if explicit is not None else value
    if explicit is None and not _may_be_layer(layer):
        return None
    named = (explicit.forward_name, explicit.backward_name) if explicit is not None else (None, None)
    methods = methods_of(layer, *named)
    if methods is None:
        return None
    layer = _constructed(layer, inputs, methods)
    methods = through_call(layer, methods) if explicit is None else methods
    title = explicit.name if explicit is not None else type(layer).__name__
    first = FirstCall(layer, methods, inputs, options)
    try:
        subject = layer_subject(layer, title, methods, inputs, options, explicit, importable(value))
    except Unread as error:
        raise first.unread(error) from None
    return replace(subject, record=partial(first.record, subject.record))


def layer_subject(
    layer: Any,
    title: str,
    methods: Methods,
    inputs: tuple[Any, ...],
    options: dict[str, Any],
    explicit: Layer | None = None,
    target: str | None = None,
    written: tuple[Callable[..., Any], Callable[..., Any]] | None = None,
    returns_dict: bool = False,
    given: Arguments | None = None,
    names_returned: Sequence[str] | None = None,
) -> Subject:
    """Translate a layer whose methods are known; `written` are the user's functions where the methods only call those.

    `returns_dict` says that its backward returns a dict of gradients, which else is read from its code; `given` are its inputs
    where they are taken apart already. `names_returned` are the names of what the backward returns, where not its code's.
    """
    method, backward = written or (getattr(layer, methods.forward), getattr(layer, methods.backward))
    inputs = _as_the_forward_takes(method, inputs)
    _refuse_options(title, method, len(inputs), options)
    _refuse_incomplete(title, method, inputs, options)
    given_names = input_names(method, len(inputs))
    given = given or arguments_of(inputs, given_names)
    names, labels = given.names, input_labels(given.names)
    numpy = _wants_numpy(layer, methods, given.leaves)
    further = explicit.backward_arguments if explicit else {}
    call = backward_call(title, getattr(layer, methods.backward), given_names, further, methods.elementwise)
    tensors = tuple(to_tensor(v, f"{label} of {title}") for v, label in zip(given.leaves, labels, strict=True))
    trials = Trials(methods, tensors, tuple(kind_of(v, numpy) for v in given.leaves), options, given.rebuild, call)
    returned = returned_names(backward) if names_returned is None else tuple(names_returned)
    several = len(floating_inputs(tensors)) > max(1, len(returned or ()))
    trial = trials.run(layer) if several or returns_dict or returns_mapping(backward) or wants_trial(layer, methods) else None
    keys = trial.keys if trial is not None else ()
    returned = _named_by(keys, layer) or returned
    found = find(layer, title, methods, returned, explicit, trials, trial)
    layer, parameters = found.layer, found.parameters
    numpy = _wants_numpy(layer, methods, given.leaves, [p.value for p in parameters])
    flat = (*given.leaves, *(p.value for p in parameters))
    titles = (*labels, *(f"parameter {p.name!r}" for p in parameters))
    tensors = tuple(to_tensor(v, f"{label} of {title}") for v, label in zip(flat, titles, strict=True))
    code = layer_code(layer, methods)
    kept = {*attributes(layer), *code.names, *local_names(backward)}
    roles = roles_of(
        names,
        tensors[: len(names)],
        parameters,
        returned,
        trial.returned if trial is not None else None,
        loss=not call.required and not call.variadic,
        kept=frozenset(kept) if not code.stores_on_tensors([p.path.last.key for p in parameters]) else None,
        keys=keys,
        numbers=_numbers_beside_arrays(given.leaves),
    )
    run = LayerRun(
        layer=layer,
        title=title,
        methods=methods,
        names=names,
        given=given,
        slots=roles.slots,
        parameters=parameters,
        kinds=tuple(kind_of(v, numpy) for v in flat),
        dtypes=tuple(t.dtype if isinstance(t, torch.Tensor) else None for t in tensors),
        call=call,
        code=code,
        numpy=numpy,
        keys=keys,
        sources=roles.sources,
        rates=found.rates,
        notes=tuple(found.notes),
    )
    adds_up = Resets(layer, methods, len(names), parameters).adds_up
    return Subject(
        name=title,
        kind="layer",
        inputs=tensors,
        names=(*names, *(_distinct_name(p.name, names) for p in parameters)),
        labels=titles,
        record=run.record,
        trace=run.trace,
        forward=run.forward,
        target=target,
        signature=method,
        constants=roles.constants,
        data=roles.data,
        state=Stateful(layer, numpy, run.live.alive, adds_up, stepped=lambda: run.stepped or frozenset()),
        parameters=frozenset(range(len(labels), len(titles))),
        backwards=lambda: (backward,),
        record_as=None if numpy else lambda change: replace(run, methods_as=change, live=LiveCopy()).record,
        kept=lambda: kept_by((method,), backward),
    )


def _as_the_forward_takes(method: Callable[..., Any], inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Several inputs as one tuple for a `forward(xs)` that takes a single argument."""
    try:
        parameters = list(inspect.signature(method).parameters.values())
    except (TypeError, ValueError):
        return inputs
    one = len(parameters) == 1 and parameters[0].kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return (inputs,) if one and len(inputs) > 1 else inputs


def _numbers_beside_arrays(leaves: Sequence[Any]) -> frozenset[int]:
    """The plain numbers of a call that has arrays too: it is set with them, where the backward has no gradient of them."""
    arrayed = any(is_array(v) and v.ndim for v in leaves)
    return frozenset(i for i, v in enumerate(leaves) if arrayed and type(v) in (int, float))


def _named_by(keys: Sequence[str | None], layer: Any) -> tuple[str, ...]:
    """The keys of a returned dict as names of gradients: `dW` where they are called as what the layer holds."""
    held = {str(path.last.key) for path, _ in arrays(layer)}
    return tuple(f"d{key}" if key in held else key or "" for key in keys)


def _may_be_layer(value: Any) -> bool:
    if isinstance(value, (Op, torch.Tensor)) or inspect.ismodule(value) or inspect.isroutine(value):
        return False
    return not (isinstance(value, type) and issubclass(value, torch.autograd.Function))


def _constructed(layer: Any, inputs: Sequence[Any], methods: Methods) -> Any:
    if not isinstance(layer, type):
        return layer
    needed = [
        p.name
        for p in inspect.signature(layer).parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if needed:
        wanted = ", ".join(needed)
        problem = f"{layer.__name__} is a class, and constructing it takes {wanted}"
        raise unconstructed(problem, layer, needed, inputs, methods.forward) or InvalidArgument(
            f"{problem}; pass an object: gl.check({layer.__name__}({wanted}), x)"
        )
    return layer()


def _wants_numpy(layer: Any, methods: Methods, inputs: Sequence[Any], parameters: Sequence[Any] = ()) -> bool:
    """Whether the layer computes in NumPy: decided by its arrays, else by the inputs, else by the names in its code."""
    held = [*parameters, *(value for _, value in arrays(layer))]
    if held:
        return not any(isinstance(value, torch.Tensor) for value in held)
    if any(isinstance(value, np.ndarray | np.generic) for value in inputs):
        return True
    if any(isinstance(value, torch.Tensor) for value in inputs):
        return uses_numpy(layer, methods)
    return True


def _refuse_options(title: str, method: Any, inputs: int, options: Mapping[str, Any]) -> None:
    known = option_names(method, inputs)
    for option in options:
        if known is not None and option not in known:
            accepted = f"it accepts {', '.join(known)}" if known else "it accepts none"
            raise InvalidArgument(f"{title} has no option {option!r}; {accepted}")


def _refuse_incomplete(title: str, method: Any, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> None:
    """Refuse a call that leaves out what the forward needs: it could not be made, whatever the code does."""
    try:
        parameters = list(inspect.signature(method).parameters.values())
    except (TypeError, ValueError):
        return
    needed = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    by_position = [p for p in needed if p.kind is not p.KEYWORD_ONLY]
    missing = [p.name for p in by_position[len(inputs) :] if p.name not in options]
    missing += [p.name for p in needed if p.kind is p.KEYWORD_ONLY and p.name not in options]
    if missing:
        raise InvalidArgument(
            f"the forward of {title} needs {' and '.join(map(repr, missing))} as well; pass what it needs after the inputs, "
            f"or in options={{{', '.join(f'{name!r}: ...' for name in missing)}}}"
        )


def _distinct_name(name: str, taken: Sequence[str]) -> str:
    return f"self.{name}" if name in taken else name
