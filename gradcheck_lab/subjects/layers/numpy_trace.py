"""Run a NumPy forward under autograd: `torch.compiler.wrap_numpy` traces it to torch functions.

The first trace of a process takes a few seconds. `Untraceable` is raised for a graph break, a call that torch's NumPy does not
have, and control flow that depends on values.
"""

from __future__ import annotations

import sys
import types
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.model.precision import widened
from gradcheck_lab.model.user_errors import class_and_line
from gradcheck_lab.subjects.layers.arguments import built
from gradcheck_lab.subjects.untraceable import Untraceable
from gradcheck_lab.torch_internals import numpy_pad_traceable, with_function_modes, without_function_modes, without_modes

OUTPUT_ATTRIBUTES = ("output", "outputs", "out")

_announced = False


@dataclass
class TracedLayer:
    """A copy of a layer, the method to run, and for each parameter the owners that hold it, with an attribute name or key.

    `layout` says where in the flat inputs the leaves of each argument are, where an argument is a list or dict of arrays.
    """

    layer: Any
    method: str
    parameter_slots: Sequence[Sequence[tuple[Any, Any]]]
    layout: tuple[Any, ...] | None = None


def call(layer: Any, method: str, inputs: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Run the forward, and return its `output_of`."""
    return output_of(layer, getattr(layer, method)(*inputs, **options))


def output_of(layer: Any, output: Any) -> Any:
    """What a forward returned; where that is None, the layer's attribute `output`, `outputs` or `out`."""
    if output is None:
        for name in OUTPUT_ATTRIBUTES:
            if output is None and hasattr(layer, name):
                output = getattr(layer, name)
    return output


@dataclass
class NumpyTracer:
    """Traces one layer's forward, once for each combination of input shapes and dtypes."""

    name: str
    _compiled: dict[Any, Callable[..., Any]] = field(default_factory=dict)
    _modes: list[Any] = field(default_factory=list)
    _function_modes: list[Any] = field(default_factory=list)

    def run(self, target: TracedLayer, parameters: Sequence[Any], inputs: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """Run the forward on tensors; returns tensors instead of arrays, tracked by autograd."""
        _announce(self.name)
        values = [*parameters, *inputs, *options.values()]
        key = (*map(_signature, values), *options)
        fresh = key not in self._compiled
        if fresh:
            self._compiled[key] = self._compile()
        try:
            # dynamo does not run under dispatch modes, so they are active only around the traced graph
            traceable = numpy_pad_traceable() if fresh else nullcontext()
            with without_modes() as modes, without_function_modes() as self._function_modes, traceable:
                self._modes[:] = modes
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    return self._compiled[key](target, list(parameters), list(inputs), dict(options))
        except Exception as error:
            raise Untraceable(class_and_line(error)) from error
        finally:
            self._modes.clear()
            self._function_modes = []

    def _compile(self) -> Callable[..., Any]:
        def backend(graph: Any, example: Any) -> Callable[..., Any]:
            def run(*arguments: Any) -> Any:
                with ExitStack() as stack:
                    stack.enter_context(with_function_modes(self._function_modes))
                    for mode in self._modes:
                        stack.enter_context(mode)
                    return graph(*arguments)

            return run

        namespace = globals() | {"_wrapped": torch.compiler.wrap_numpy(_forward)}
        # a new code object, because dynamo counts recompilations and remembers failures by code object
        function = types.FunctionType(_outer.__code__.replace(), namespace, "traced_forward")
        return torch.compile(function, backend=backend, fullgraph=True, dynamic=False)


def agree(traced: Any, own: Any) -> bool:
    """Whether a traced output equals NumPy's, up to rounding in the narrower of their dtypes."""
    traced, own = (torch.as_tensor(v).detach() if isinstance(v, (torch.Tensor, int, float)) else v for v in (traced, own))
    if not isinstance(traced, torch.Tensor) or not isinstance(own, torch.Tensor) or traced.shape != own.shape:
        return False
    if not is_differentiable(own):
        return torch.equal(traced.to(own.dtype), own)
    digits = max(torch.finfo(v.dtype).eps if is_differentiable(v) else 0.0 for v in (traced, own)) ** 0.5
    finite = own[torch.isfinite(own)]
    size = float(finite.abs().max()) if finite.numel() else 0.0
    return torch.allclose(traced.to(own.dtype), own, rtol=digits, atol=digits * size, equal_nan=True)


def fingerprint(values: Sequence[Any]) -> tuple[Any, ...]:
    """A fingerprint of values: equal for equal values, whatever their dtypes."""
    return tuple((tuple(v.shape), _checksum(v)) if isinstance(v, torch.Tensor) else repr(v) for v in values)


def _checksum(value: torch.Tensor) -> int:
    wide = widened(value.detach())
    return zlib.crc32(wide.resolve_conj().contiguous().numpy().data) if wide.numel() else 0


def _forward(target: TracedLayer, parameters: list[Any], inputs: list[Any], options: dict[str, Any]) -> Any:
    for value, places in zip(parameters, target.parameter_slots, strict=True):
        for owner, key in places:
            if isinstance(owner, (list, dict)):
                owner[key] = value
            else:
                setattr(owner, key, value)
    arguments = inputs if target.layout is None else [built(place, inputs) for place in target.layout]
    return call(target.layer, target.method, arguments, options)


def _outer(target: Any, parameters: Any, inputs: Any, options: Any) -> Any:
    return _wrapped(target, parameters, inputs, options)


def _wrapped(target: Any, parameters: Any, inputs: Any, options: Any) -> Any:
    """Replaced by `wrap_numpy(_forward)` in each trace; that is made late, because it imports torch's compiler."""
    raise NotImplementedError


def _signature(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return (tuple(value.shape), value.dtype, value.requires_grad)
    return repr(value) if isinstance(value, (bool, int, float, str, type(None))) else type(value)


def _announce(name: str) -> None:
    global _announced
    if not _announced and sys.stderr.isatty():
        print(f"gradcheck_lab: tracing the NumPy forward of {name}; the first one takes a few seconds", file=sys.stderr)
    _announced = True
