"""`nn.Module` instances: the call's inputs, then the parameters that require grad, through `torch.func.functional_call`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.rules.methods import methods_of
from gradcheck_lab.rules.naming import input_names
from gradcheck_lab.subjects.buffers import BufferWrites, Writes
from gradcheck_lab.subjects.differentiable import Differentiable, dtype_changes
from gradcheck_lab.subjects.flat_arguments import FlatArguments, flatten_arguments, tensors_of
from gradcheck_lab.subjects.op_calls import OpCalled, ops_refused
from gradcheck_lab.subjects.subject import Recording, Stateful, Subject, Trace
from gradcheck_lab.subjects.unreached import refuse_unreached, watched
from gradcheck_lab.torch_internals import MODULE_TABLES

State = dict[torch.nn.Module, dict[str, Any]]


def adapt_module(value: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> Subject | None:
    """Translate an `nn.Module`; one with a backward of its own is a layer, and declined."""
    if not isinstance(value, torch.nn.Module) or methods_of(value) is not None:
        return None
    name = type(value).__name__
    _refuse(value, name)
    refuse_unreached(value, name)
    laid = flatten_arguments(inputs, input_names(value.forward, len(inputs)))
    parameters = {key: p for key, p in value.named_parameters() if p.requires_grad}
    module = _Module(value, laid, parameters)
    return Subject(
        name=name,
        kind="module",
        inputs=module.flat,
        names=(*laid.names, *parameters),
        labels=(*laid.labels, *(f"parameter {key!r}" for key in parameters)),
        record=module.record,
        trace=module.trace,
        forward=module.forward,
        oracle="autograd of the Functions' bodies",
        call_reference=module.call_reference,
        signature=value.forward,
        connected=module.connected,
        state=Stateful(value, alive=module.alive),
        parameters=frozenset(range(len(laid.labels), len(module.flat))),
        backwards=lambda: tuple(module.inner.backwards),
    )


class _Module:
    """A module as a function of its arguments and parameters; every call restores the module's state afterwards."""

    def __init__(self, module: torch.nn.Module, laid: FlatArguments, parameters: Mapping[str, torch.Tensor]) -> None:
        self.module, self.laid, self.parameters = module, laid, parameters
        self.flat = (*laid.leaves, *parameters.values())
        self.inner = Differentiable(type(module).__name__, self.run, self.flat, len(laid.leaves))
        self.writes: Writes = []
        self.live = self.is_watched = False
        self.state: dict[str, Any] = {}

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Within the block, calls do not restore the module's state, so each call finds what the last one left."""
        with _restored(self.module):
            self.live = True
            try:
                yield
            finally:
                self.live = False

    def run(self, given: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        changes, count = dtype_changes(self.flat, given), len(self.laid.leaves)
        buffers = {key: _copied(value, changes) for key, value in self.module.named_buffers()}
        frozen = {k: _copied(v, changes) for k, v in self.module.named_parameters() if k not in self.parameters}
        state = buffers | frozen | dict(zip(self.parameters, given[count:], strict=True))
        with self.buffer_writes(buffers) if buffers and self.module.training else nullcontext():
            self.state = state
            return torch.func.functional_call(self.module, state, self.laid.rebuild(given[:count]), dict(options))

    def call_reference(self, reference: Any, given: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
        """Run a reference on the call's inputs: a module with the same parameters, else a function of inputs and parameters."""
        count = len(self.laid.leaves)
        arguments, parameters = self.laid.rebuild(given[:count]), given[count:]
        if not isinstance(reference, torch.nn.Module):
            return tensors_of(reference(*arguments, *parameters, **options))
        named = dict(zip(self.parameters, parameters, strict=True))
        known = dict(reference.named_parameters())
        lacking = [key for key in named if key not in known]
        if lacking:
            raise InvalidArgument(f"the reference has no parameter {lacking[0]!r}; it has {', '.join(known) or 'none'}")
        changes = dtype_changes(self.flat, given)
        named |= {key: _copied(value, changes) for key, value in reference.named_buffers()}
        with _restored(reference):
            return tensors_of(torch.func.functional_call(reference, named, arguments, dict(options)))

    @contextmanager
    def buffer_writes(self, buffers: Mapping[str, torch.Tensor]) -> Iterator[None]:
        """Record what the first run of a case writes to the buffers, and write the same values in the other runs."""
        with torch.enable_grad(), BufferWrites(buffers, self.writes) as mode:
            yield
        self.writes = self.writes or mode.writes

    def record(self, given: tuple[Any, ...], options: Mapping[str, Any]) -> Recording:
        self.writes = []
        with nullcontext() if self.live else _restored(self.module):
            recording = self._first(given, options)
            after, state = _attributes(self.module), self.state

        def backward(grad_outputs: tuple[torch.Tensor, ...]) -> Any:
            with nullcontext() if self.live else _restored(self.module):
                if not self.live:
                    _set_attributes(after)  # a hand-written backward may read what its forward left on the module
                held = {f"module.{key}": value for key, value in state.items()}
                return torch.func.functional_call(_Holder(self.module), held, (lambda: recording.backward(grad_outputs),))

        return replace(recording, backward=backward)

    def _first(self, given: tuple[Any, ...], options: Mapping[str, Any]) -> Recording:
        """A run, the first of them watched: one that misses a hand-written gradient is refused."""
        if self.is_watched:
            return _recorded(self.inner, given, options)
        with watched(self.module) as calls:
            recording = _recorded(self.inner, given, options)
        self.is_watched = True
        calls.refuse(self.inner.name)
        return recording

    def trace(self, given: tuple[Any, ...], options: Mapping[str, Any], substitute: frozenset[int]) -> Trace:
        with _restored(self.module):
            return self.inner.trace(given, options, substitute)

    def connected(self, given: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
        with _restored(self.module):
            return self.inner.connected(given, options)

    def forward(self, given: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
        with _restored(self.module):
            return self.inner.forward(given, options)


class _Holder(torch.nn.Module):
    """Run a callback while `module` holds other parameters: with checkpointing, a backward runs parts of the forward again."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, call: Callable[[], Any]) -> Any:
        return call()


def _recorded(inner: Differentiable, given: tuple[Any, ...], options: Mapping[str, Any]) -> Recording:
    try:
        with ops_refused():
            return inner.record(given, options)
    except OpCalled as called:
        op = called.op.name
        raise InvalidArgument(
            f"{inner.name} calls the op {op} on tensors, where torch differentiates its forward and its backward never runs; "
            f"call {op}.as_function() in a module"
        ) from None


def _refuse(module: torch.nn.Module, name: str) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        raise InvalidArgument(f"{name} is a scripted module, whose parameters are fixed; pass the module that it was made from")
    for key, parameter in module.named_parameters():
        if is_lazy(parameter):
            raise InvalidArgument(f"the parameter {key!r} of {name} has no shape yet; call the module once before the check")


def _copied(value: torch.Tensor, changes: Mapping[torch.dtype, torch.dtype]) -> torch.Tensor:
    """A copy that the forward may write to, cast as the inputs were."""
    return value.detach().to(changes.get(value.dtype, value.dtype), copy=True)


@contextmanager
def _restored(module: torch.nn.Module) -> Iterator[None]:
    """Restore afterwards what the block changes on the module: mode, plain attributes, registered tensors and `.grad`."""
    attributes = _attributes(module)
    tables = {m: {table: dict(vars(m)[table]) for table in MODULE_TABLES} for m in module.modules()}
    grads = {p: p.grad for p in module.parameters()}
    try:
        yield
    finally:
        _set_attributes(attributes)
        for m, saved in tables.items():
            for table, entries in saved.items():
                vars(m)[table].clear()
                vars(m)[table].update(entries)
        for parameter, grad in grads.items():
            parameter.grad = grad


def _attributes(module: torch.nn.Module) -> State:
    return {m: {key: v for key, v in vars(m).items() if key not in MODULE_TABLES} for m in module.modules()}


def _set_attributes(state: State) -> None:
    for m, attributes in state.items():
        own = vars(m)
        for key in own.keys() - attributes.keys() - set(MODULE_TABLES):
            del own[key]
        own.update(attributes)
