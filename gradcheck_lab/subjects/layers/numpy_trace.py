"""A NumPy forward under autograd: `torch.compiler.wrap_numpy` traces it to torch functions, which are exact.

The first trace of a process takes a few seconds. What it cannot follow raises `Untraceable`: a graph break, a call that
torch's NumPy does not have, a value that steers Python's control flow.
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
from gradcheck_lab.subjects.untraceable import Untraceable
from gradcheck_lab.torch_internals import numpy_pad_traceable, without_modes, without_torch_function

OUTPUT_ATTRIBUTES = ("output", "outputs", "out")

_announced = False


@dataclass
class Target:
    """A copy of a layer, the method to run, and where each parameter is held: owners with an attribute name or a key."""

    layer: Any
    method: str
    places: Sequence[Sequence[tuple[Any, Any]]]


def call(layer: Any, method: str, inputs: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Run the forward; where it returns nothing, its output is what it left on the layer as `output`."""
    output = getattr(layer, method)(*inputs, **options)
    if output is None:
        for name in OUTPUT_ATTRIBUTES:
            if output is None and hasattr(layer, name):
                output = getattr(layer, name)
    return output


@dataclass
class NumpyTracer:
    """Traces one layer's forward, once for each signature of its inputs."""

    name: str
    _compiled: dict[Any, Callable[..., Any]] = field(default_factory=dict)
    _modes: list[Any] = field(default_factory=list)

    def run(self, target: Target, parameters: Sequence[Any], inputs: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """Return what the forward returns, tensors for arrays, tracked by autograd from the tensors that it is given."""
        _announce(self.name)
        values = [*parameters, *inputs, *options.values()]
        key = (*map(_signature, values), *options)
        fresh = key not in self._compiled
        if fresh:
            self._compiled[key] = self._compile()
        try:
            # dynamo declines to run under dispatch modes: they are put back around the traced graph alone
            with without_modes() as modes, without_torch_function(), numpy_pad_traceable() if fresh else nullcontext():
                self._modes[:] = modes
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    return self._compiled[key](target, list(parameters), list(inputs), dict(options))
        except Exception as error:
            raise Untraceable(class_and_line(error)) from error
        finally:
            self._modes.clear()

    def _compile(self) -> Callable[..., Any]:
        def backend(graph: Any, example: Any) -> Callable[..., Any]:
            def run(*arguments: Any) -> Any:
                with ExitStack() as stack:
                    for mode in self._modes:
                        stack.enter_context(mode)
                    return graph(*arguments)

            return run

        namespace = globals() | {"_wrapped": torch.compiler.wrap_numpy(_forward)}
        # a code object of its own: dynamo counts recompilations, and remembers refusals, by code object
        function = types.FunctionType(_outer.__code__.replace(), namespace, "traced_forward")
        return torch.compile(function, backend=backend, fullgraph=True, dynamic=False)


def agree(traced: Any, own: Any) -> bool:
    """Whether a traced output is NumPy's own, but for rounding in the narrower of their dtypes."""
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
    """Equal for inputs of equal values, whatever their dtypes."""
    return tuple((tuple(v.shape), _checksum(v)) if isinstance(v, torch.Tensor) else repr(v) for v in values)


def _checksum(value: torch.Tensor) -> int:
    wide = widened(value.detach())
    return zlib.crc32(wide.resolve_conj().contiguous().numpy().data) if wide.numel() else 0


def _forward(target: Target, parameters: list[Any], inputs: list[Any], options: dict[str, Any]) -> Any:
    for value, places in zip(parameters, target.places, strict=True):
        for owner, key in places:
            if isinstance(owner, (list, dict)):
                owner[key] = value
            else:
                setattr(owner, key, value)
    return call(target.layer, target.method, inputs, options)


def _outer(target: Any, parameters: Any, inputs: Any, options: Any) -> Any:
    return _wrapped(target, parameters, inputs, options)


def _wrapped(target: Any, parameters: Any, inputs: Any, options: Any) -> Any:
    """Becomes `wrap_numpy(_forward)` with the first trace: that imports torch's compiler, which takes a second."""
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
