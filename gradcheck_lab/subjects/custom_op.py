"""A `torch.library.custom_op`, or an operator `torch.ops.ns.name`, with the backward that was registered for it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.subjects.code.kept import kept_by
from gradcheck_lab.subjects.engine_backward import EngineBackward, Gradients, as_leaves, entries
from gradcheck_lab.subjects.keyword_options import call_like_subject, positional_arguments, with_options
from gradcheck_lab.subjects.subject import Recording, Subject, Trace, input_labels
from gradcheck_lab.torch_internals import (
    body_of,
    definition_of,
    has_kernel,
    is_packet,
    kernel_of,
    overload_of,
    registered_backward,
    registered_setup,
    registration_behind,
    schema,
    set_registered_backward,
)

_AUTOGRAD_KEYS = ("Autograd", "AutogradCPU", "AutogradCUDA", "CompositeImplicitAutograd")


def adapt_custom_op(value: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> Subject | None:
    """Translate a custom op, an operator or an overload of one; anything else is declined.

    Lists of tensors become one input each. Raises `InvalidArgument` for an operator with several overloads, for one
    without a registered backward, and for arguments that its schema does not have.
    """
    call = operator_call(value, inputs, options)
    if call is None:
        return None
    operator, placed, _ = call
    name = schema(operator).name
    definition = definition_of(value, operator)
    _require_backward(name, operator, definition)
    slots = _Slots(operator, definition, _keyword_only(operator), *_layout(placed, [p.name for p in _parameters(operator)]))
    return Subject(
        name=name,
        kind="custom_op",
        inputs=slots.flatten(placed),
        names=slots.names,
        labels=input_labels(slots.names),
        record=slots.record,
        trace=slots.trace if slots.body(placed) is not None else None,
        forward=slots.forward,
        target=_importable(value, definition),
        oracle="autograd of the kernel's body",
        call_reference=lambda reference, given, options: _tensors(
            call_like_subject(reference, len(inputs), slots.parameters, slots.arguments(given, options), options)
        ),
        user=value,
        connected=lambda given, options: _tensors(slots.call(operator, given, options)),
        backwards=lambda: () if definition is None else (registered_backward(definition),),
        kept=lambda: () if definition is None else kept_by((registered_setup(definition),), registered_backward(definition)),
    )


def operator_call(
    value: Any, inputs: tuple[Any, ...], options: dict[str, Any]
) -> tuple[Any, tuple[Any, ...], dict[str, Any]] | None:
    """The overload of `value`, its positional arguments and its keyword-only arguments; None where `value` is no operator."""
    operator = _operator(value)
    if operator is None:
        return None
    only = _keyword_only(operator)
    placed = positional_arguments(schema(operator).name, _parameters(operator), inputs, options, fill=False, keywords=only)
    return operator, placed, {name: option for name, option in options.items() if name in only}


def operator_name(value: Any) -> str:
    """The qualified name of an operator, as `lab::sine`."""
    return str(schema(_operator(value)).name)


def defaults_of(value: Any) -> dict[str, Any]:
    """The default of every argument of an operator that has one, by name."""
    return {a.name: a.default_value for a in schema(_operator(value)).arguments if a.has_default_value()}


@dataclass(frozen=True, slots=True)
class _Slots:
    """An operator, its Python definition where it has one, and which flat inputs belong to which argument.

    `sizes` has the length of each argument that is a list of tensors, None for every other argument.
    """

    operator: Any
    definition: Any
    keywords: frozenset[str]
    names: tuple[str, ...]
    sizes: tuple[int | None, ...]

    def flatten(self, arguments: Sequence[Any]) -> tuple[Any, ...]:
        flat: list[Any] = []
        for size, value in zip(self.sizes, arguments, strict=True):
            flat += [value] if size is None else value
        return tuple(flat)

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in _parameters(self.operator))[: len(self.sizes)]

    def arguments(self, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> list[Any]:
        """The positional arguments, with lists of tensors built from the flat inputs."""
        values = iter(with_options(self.names, inputs, options))
        return [next(values) if size is None else [next(values) for _ in range(size)] for size in self.sizes]

    def call(self, function: Callable[..., Any], inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        """Run `function` on the arguments that `inputs` and `options` stand for."""
        return function(
            *self.arguments(inputs, options), **{name: value for name, value in options.items() if name in self.keywords}
        )

    def record(self, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Recording:
        leaves = as_leaves(inputs)
        with torch.enable_grad():
            result = self.call(self.operator, leaves, options)
        outputs = _tensors(result)
        info = self.definition or _info_behind(outputs)

        def capture(call: Callable[[], Gradients], returned: list[Any]) -> Gradients:
            with nullcontext() if info is None else _captured(info, returned):
                return call()

        engine = EngineBackward(outputs, leaves, capture, self._raw)
        return Recording(outputs, isinstance(result, (tuple, list)), engine.backward, engine=engine.delivered)

    def trace(self, inputs: tuple[Any, ...], options: Mapping[str, Any], substitute: frozenset[int]) -> Trace:
        body = self.body(inputs)
        assert body is not None
        return Trace(_tensors(self.call(body, inputs, options)))

    def forward(self, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
        with torch.no_grad():
            return _tensors(self.call(self.operator, inputs, options))

    def body(self, inputs: Sequence[Any]) -> Callable[..., Any] | None:
        """The Python kernel for the device of `inputs`; None where it is not known."""
        if self.definition is None:
            return None
        devices = [value.device.type for value in inputs if isinstance(value, torch.Tensor)]
        return kernel_of(self.definition, devices[0] if devices else None)

    def _raw(self, returned: Any) -> tuple[Any, ...]:
        found = entries(returned, len(self.sizes))
        if len(found) != len(self.sizes):
            return found
        flat: list[Any] = []
        for size, value in zip(self.sizes, found, strict=True):
            if size is None:
                flat.append(value)
            else:
                flat += value if isinstance(value, (list, tuple)) else [value] * size
        return tuple(flat)


def _operator(value: Any) -> Any:
    """The overload of an operator, or of a packet that has one only; None for any other value.

    Raises `InvalidArgument` for a packet with several overloads.
    """
    if not is_packet(value):
        return overload_of(value)
    overloads = value.overloads()
    if len(overloads) > 1:
        shown = f"torch.ops.{str(value).replace('::', '.')}"
        listed, one = ", ".join(sorted(overloads)), "default" if "default" in overloads else min(overloads)
        raise InvalidArgument(f"{shown} has the overloads {listed}; pass one, such as {shown}.{one}")
    return getattr(value, overloads[0])


def _require_backward(name: str, operator: Any, definition: Any) -> None:
    if definition is not None:
        if registered_backward(definition) is None:
            called = body_of(definition).__name__
            raise InvalidArgument(
                f"{name} has no backward; register one with {called}.register_autograd(backward, setup_context=setup_context)"
            )
        return
    if not any(has_kernel(operator, key) for key in _AUTOGRAD_KEYS):
        raise InvalidArgument(
            f"{name} has no backward; register one with "
            f"torch.library.register_autograd({name!r}, backward, setup_context=setup_context)"
        )


def _keyword_only(operator: Any) -> frozenset[str]:
    return frozenset(argument.name for argument in schema(operator).arguments if argument.kwarg_only)


def _parameters(operator: Any) -> list[inspect.Parameter]:
    return [
        inspect.Parameter(
            argument.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=argument.default_value if argument.has_default_value() else inspect.Parameter.empty,
        )
        for argument in schema(operator).arguments
        if not argument.kwarg_only
    ]


def _layout(arguments: tuple[Any, ...], parameters: list[str]) -> tuple[tuple[str, ...], tuple[int | None, ...]]:
    names: list[str] = []
    sizes: list[int | None] = []
    for name, value in zip(parameters, arguments, strict=False):
        several = isinstance(value, (list, tuple)) and any(isinstance(item, torch.Tensor) for item in value)
        sizes.append(len(value) if several else None)
        names += [f"{name}[{index}]" for index in range(len(value))] if several else [name]
    return tuple(names), tuple(sizes)


def _tensors(result: Any) -> tuple[torch.Tensor, ...]:
    flat: list[torch.Tensor] = []
    for value in result if isinstance(result, (tuple, list)) else (result,):
        flat += _tensors(value) if isinstance(value, (tuple, list)) else [value]
    return tuple(value for value in flat if isinstance(value, torch.Tensor))


def _info_behind(outputs: tuple[torch.Tensor, ...]) -> Any:
    """Where torch keeps the backward that `torch.library.register_autograd` was given, found from an output's graph."""
    found = (registration_behind(output.grad_fn) for output in outputs)
    return next((each for each in found if each is not None), None)


@contextmanager
def _captured(info: Any, returned: list[Any]) -> Iterator[None]:
    """Append to `returned` what the registered backward returns within the block."""
    rule = registered_backward(info)

    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        result = rule(ctx, *grad_outputs)
        returned.append(result)
        return result

    set_registered_backward(info, backward)
    try:
        yield
    finally:
        set_registered_backward(info, rule)


def _importable(value: Any, definition: Any) -> str | None:
    body = body_of(definition)
    module, name = getattr(body, "__module__", None), getattr(body, "__name__", None)
    if module in (None, "__main__") or getattr(sys.modules.get(str(module)), str(name), None) is not value:
        return None
    return f"{module}:{name}"
