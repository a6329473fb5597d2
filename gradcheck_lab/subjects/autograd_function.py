"""The adapter of `torch.autograd.Function` subclasses and their `.apply`: runs them as users do, and as forward bodies."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import CodeType
from typing import Any

import torch

from gradcheck_lab.calls.case import copy_inputs, is_differentiable
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.rules.naming import input_names
from gradcheck_lab.subjects.code.kept import kept_by
from gradcheck_lab.subjects.engine_backward import Alias, EngineBackward, Gradients, as_leaves, entries, reaches
from gradcheck_lab.subjects.forward_bodies import rule_of
from gradcheck_lab.subjects.forward_context import ForwardContext
from gradcheck_lab.subjects.keyword_options import call_like_subject, positional_arguments, with_options
from gradcheck_lab.subjects.subject import Recording, Subject, Trace, importable, input_labels
from gradcheck_lab.torch_internals import node_class

_BASE = torch.autograd.Function
_COPIED = 1 << 20

FunctionClass = type[torch.autograd.Function]


def adapt_autograd_function(value: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> Subject | None:
    """Translate a `torch.autograd.Function` subclass or its `.apply`; anything else is declined.

    Options are placed by the forward's parameter names, since `apply` takes none, and become inputs: the backward
    returns a gradient for each. Raises `InvalidArgument` for a class without a backward and for arguments that do not fit.
    """
    function = _class_of(value)
    if function is None:
        return None
    name = function.__name__
    if rule_of(function) is None:
        raise InvalidArgument(f"{name} has no backward; define the static method backward(ctx, *grad_outputs) on it")
    with_context = not _has_setup(function)
    parameters = list(inspect.signature(function.forward).parameters.values())[with_context:]
    placed = positional_arguments(name, parameters, inputs, options, fill=not with_context)
    names = input_names(function.forward, len(placed) + with_context)[with_context:]
    return Subject(
        name=name,
        kind="function",
        inputs=placed,
        names=names,
        labels=input_labels(names),
        record=partial(_record, function, names),
        trace=partial(_trace, function, names),
        forward=partial(_forward, function, names),
        target=importable(function),
        oracle="autograd of the forward's body",
        call_reference=lambda reference, given, options: _tensors(
            call_like_subject(reference, len(inputs), names, with_options(names, given, options), options)
        ),
        user=function,
        signature=function.forward,
        connected=partial(_connected, function, names),
        backwards=lambda: (rule_of(function),),
        kept=lambda: kept_by((function.forward, function.setup_context), rule_of(function)),
    )


def _class_of(value: Any) -> FunctionClass | None:
    if getattr(value, "__name__", None) == "apply":
        value = getattr(value, "__self__", None)
    return value if isinstance(value, type) and issubclass(value, _BASE) else None


def _has_setup(function: FunctionClass) -> bool:
    return function.setup_context is not _BASE.setup_context


def _record(function: FunctionClass, names: tuple[str, ...], inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Recording:
    returned: list[Any] = []
    capturing = _capturing(function, returned)
    leaves = as_leaves(inputs)
    snapshot = copy_inputs(inputs) if _may_write(function, inputs) else ()
    with torch.enable_grad():
        given = tuple(_alias(v) if snapshot else v for v in with_options(names, leaves, options))
        result = capturing.apply(*given)
    _restore_declared(inputs, given, snapshot, result)
    outputs = _tensors(result)

    def capture(call: Callable[[], Gradients], captured: list[Any]) -> Gradients:
        returned.clear()
        try:
            return call()
        finally:
            captured += returned
            returned.clear()

    engine = EngineBackward(outputs, leaves, capture, lambda found: entries(found, len(leaves)))
    connected = reaches(outputs, node_class(capturing)) or not any(is_differentiable(output) for output in outputs)
    findings = () if connected else (_disconnected(function.__name__, result),)
    return Recording(outputs, isinstance(result, (tuple, list)), engine.backward, engine=engine.delivered, findings=findings)


def _capturing(function: FunctionClass, returned: list[Any]) -> Any:
    """A subclass whose backward also appends its result to `returned`, before the engine sums and casts it."""
    rule: Any = rule_of(function)
    name = "backward" if rule == function.backward else "vjp"  # a class method is made anew each time

    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        result = rule(ctx, *grad_outputs)
        returned.append(result)
        return result

    own = {name: staticmethod(backward), "__module__": function.__module__, "__qualname__": function.__qualname__}
    made: Any = type(function)
    return made(function.__name__, (function,), own)


def _alias(value: Any) -> Any:
    return Alias.apply(value) if isinstance(value, torch.Tensor) and value.requires_grad else value  # type: ignore[no-untyped-call]


def _restore_declared(inputs: tuple[Any, ...], given: tuple[Any, ...], snapshot: tuple[Any, ...], result: Any) -> None:
    """Restore inputs that the forward marked dirty and returned: only undeclared writes are findings."""
    written = {id(value) for value in _tensors(result)}
    for before, after, original in zip(inputs, given, snapshot, strict=False):
        if isinstance(after, torch.Tensor) and id(after) in written:
            before.data = original


def _may_write(function: FunctionClass, inputs: tuple[Any, ...]) -> bool:
    size = sum(value.numel() for value in inputs if isinstance(value, torch.Tensor))
    return size <= _COPIED or _mentions(function, "mark_dirty")


def _mentions(function: FunctionClass, name: str) -> bool:
    codes: list[CodeType] = []
    for method in (function.forward, function.setup_context):
        code = getattr(inspect.unwrap(method), "__code__", None)
        codes += [code] if code is not None else []
    while codes:
        code = codes.pop()
        if name in code.co_names:
            return True
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return False


def _tensors(result: Any) -> tuple[torch.Tensor, ...]:
    values = result if isinstance(result, (tuple, list)) else (result,)
    return tuple(value for value in values if isinstance(value, torch.Tensor))


def _disconnected(name: str, result: Any) -> Finding:
    explanation = "no output leads back to it: each is marked non-differentiable, or was computed apart from the graph"
    suggestion = "call apply on the inputs themselves, and mark_non_differentiable only outputs that have no gradient"
    if isinstance(result, list):
        explanation = "forward returned a list, and apply hands on without a gradient whatever is no tensor or tuple"
        suggestion = "return a tuple from forward"
    return Finding(
        "disconnected",
        "error",
        f"backward of {name} was never run",
        explanation=explanation,
        suggestion=suggestion,
    )


def _trace(
    function: FunctionClass,
    names: tuple[str, ...],
    inputs: tuple[Any, ...],
    options: Mapping[str, Any],
    substitute: frozenset[int],
) -> Trace:
    arguments = with_options(names, inputs, options)
    if _may_write(function, inputs):
        arguments = tuple(value.clone() if isinstance(value, torch.Tensor) else value for value in arguments)
    ctx = ForwardContext(tuple(isinstance(value, torch.Tensor) and value.requires_grad for value in inputs))
    if _has_setup(function):
        result = function.forward(*arguments)
        with torch.no_grad():
            function.setup_context(ctx, arguments, result)
    else:
        result = function.forward(ctx, *arguments)
    outputs = result if isinstance(result, (tuple, list)) else (result,)
    return Trace(_tensors(ctx.finish(tuple(outputs))))


def _connected(
    function: FunctionClass, names: tuple[str, ...], inputs: tuple[Any, ...], options: Mapping[str, Any]
) -> tuple[Any, ...]:
    arguments = with_options(names, inputs, options)
    if _mentions(function, "mark_dirty"):  # no leaf may be written to
        arguments = tuple(value.clone() if isinstance(value, torch.Tensor) else value for value in arguments)
    return _tensors(function.apply(*arguments))


def _forward(
    function: FunctionClass, names: tuple[str, ...], inputs: tuple[Any, ...], options: Mapping[str, Any]
) -> tuple[Any, ...]:
    arguments = with_options(names, inputs, options)
    if _may_write(function, inputs):
        arguments = copy_inputs(arguments)
    with torch.no_grad():
        return _tensors(function.apply(*arguments))
