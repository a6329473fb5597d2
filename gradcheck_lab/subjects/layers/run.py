"""Runs a layer on copies: its hand-written side, its forward as a function, and its forward under autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import TRACED_LINES
from gradcheck_lab.model.precision import is_narrow
from gradcheck_lab.rules.methods import Methods
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.layers.after_forward import AfterForward
from gradcheck_lab.subjects.layers.arguments import Arguments
from gradcheck_lab.subjects.layers.backward_call import STEP, BackwardCall
from gradcheck_lab.subjects.layers.code import LayerCode
from gradcheck_lab.subjects.layers.copies import copy_with, slots
from gradcheck_lab.subjects.layers.entries import entries_of
from gradcheck_lab.subjects.layers.gradient_names import ON_TENSORS, partners
from gradcheck_lab.subjects.layers.lines_run import lines_run
from gradcheck_lab.subjects.layers.live import LiveCopy
from gradcheck_lab.subjects.layers.numpy_boundary import from_native, like_output, to_native
from gradcheck_lab.subjects.layers.numpy_trace import NumpyTracer, TracedLayer, agree, call, fingerprint, output_of
from gradcheck_lab.subjects.layers.parameters import Parameter
from gradcheck_lab.subjects.layers.paths import ObjectPath, attributes, held_by
from gradcheck_lab.subjects.layers.steps import copied, is_changed, is_step, put_back
from gradcheck_lab.subjects.subject import Manual, Recording, Trace
from gradcheck_lab.subjects.untraceable import Untraceable


@dataclass
class LayerRun:
    """Runs copies of `layer` with given parameters; `kinds` are the forms in which it takes its flat inputs.

    `given` makes arguments of flat inputs, `slots` are the inputs that returned entries belong to where there are fewer
    entries; where the backward returns a dict, with `keys`, `sources` are the entries that belong to the inputs. `notes` are
    said once of every check. `rates` are learning rates on the layer, which steps its parameters.
    `stepped` are the parameters that its backward steps, None before the first backward. The hand-written side runs what
    `methods_as` makes of the two methods, such as their compiled forms; None for the methods themselves.
    """

    layer: Any
    title: str
    methods: Methods
    names: tuple[str, ...]
    given: Arguments
    slots: tuple[int, ...]
    parameters: tuple[Parameter, ...]
    kinds: tuple[str, ...]
    dtypes: tuple[torch.dtype | None, ...]
    call: BackwardCall
    code: LayerCode
    numpy: bool
    keys: tuple[str | None, ...] = ()
    sources: tuple[int | None, ...] | None = None
    notes: tuple[Finding, ...] = ()
    rates: tuple[ObjectPath, ...] = ()
    _recorded: tuple[Any, tuple[Any, ...]] | None = None
    _verified: set[Any] = field(default_factory=set)
    _lines: dict[Any, int] = field(default_factory=dict)
    _refused: Untraceable | None = None
    stepped: frozenset[str] | None = None
    methods_as: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None
    live: LiveCopy = field(default_factory=LiveCopy)

    def __post_init__(self) -> None:
        self._tracer = NumpyTracer(self.title)

    def record(self, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Recording:
        """Run the forward as its users do."""
        detached = {id(v): v.detach() for v in inputs if isinstance(v, torch.Tensor)}
        inputs = tuple(detached.get(id(v), v) for v in inputs)
        native = self._native_inputs(inputs)
        if self._may_step:  # in place, as a rule, which is no write to what the user handed in
            self._refuse_16_bits(inputs)
            native = [copied(v) if k >= len(self.names) else v for k, v in enumerate(native)]
        fresh = partial(self._layer_copy, inputs, native, zero_gradients=True)
        layer = self.live.get(fresh, self.parameters, native[len(self.names) :])
        for path in self.rates:
            path.set(layer, STEP)
        given, before = native[: len(self.names)], held_by(layer)
        with torch.no_grad(), np.errstate(all="ignore"):
            forward = self._as_run(getattr(layer, self.methods.forward))
            output = output_of(layer, forward(*self.given.rebuild(given), **options))
        stored = frozenset(name for name, value in held_by(layer).items() if before.get(name, before) is not value)
        raw = as_tuple(output)
        outputs = tuple(from_native(value) for value in raw)
        if self.numpy:
            self._recorded = (fingerprint(inputs), outputs)

        fixed = None
        if not self.call.takes_upstream and not self._upstream_attribute():
            fixed = tuple(torch.ones_like(o) if isinstance(o, torch.Tensor) else o for o in outputs)
        several = isinstance(output, (tuple, list))
        after = AfterForward(layer, output, given)

        def recorded(after: AfterForward) -> Recording:
            backward = partial(self._backward, after, inputs, fixed)
            return Recording(outputs, several, backward, fixed_grad_outputs=fixed, findings=self.notes, stored=stored)

        if not self.numpy:
            return recorded(after)
        return replace(recorded(after), with_kept=lambda change: recorded(after.changed(change, self.parameters)))

    def _backward(
        self,
        after: AfterForward,
        inputs: tuple[Any, ...],
        fixed: tuple[torch.Tensor, ...] | None,
        grad_outputs: tuple[torch.Tensor, ...],
    ) -> Manual:
        layer = after.layer
        held = [p.path.find(layer) for p in self.parameters]
        before = [copied(value) if self._may_step else None for value in held]
        with torch.no_grad(), np.errstate(all="ignore"):
            returned = self._run_backward(layer, after.output, fixed if fixed is not None else grad_outputs, after.given)
            collected = self._collected(layer, returned, inputs, after.given, before)
        if self._may_step:
            of_parameters = collected.returned[len(collected.returned) - len(held) :]
            self._undo_steps(layer, held, before, of_parameters, inputs[len(self.names) :])
        return collected

    def forward(self, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
        """The outputs as a function of the flat inputs."""
        native = self._native_inputs(inputs)
        layer = self._layer_copy(inputs, native)
        with np.errstate(all="ignore"):
            output = call(layer, self.methods.forward, self.given.rebuild(native), options)
        return tuple(from_native(value) for value in as_tuple(output))

    def trace(self, inputs: tuple[Any, ...], options: Mapping[str, Any], substitute: frozenset[int] = frozenset()) -> Trace:
        """Run the forward under autograd; raises `Untraceable` for a NumPy forward that cannot be traced."""
        if not self.numpy:
            return Trace(self.forward(inputs, options))
        if self._refused is not None:
            raise self._refused
        self._refuse_loops(inputs, options)
        try:
            outputs = self._traced(inputs, options)
            self._verify(inputs, options, outputs)
        except Untraceable as error:
            self._refused = error
            raise
        return Trace(outputs)

    def _traced(self, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
        count = len(self.names)
        layer = self._layer_copy(inputs, inputs)
        places = slots(self.layer, layer, self.parameters)
        target = TracedLayer(layer, self.methods.forward, places, self.given.layout if self.given.nested else None)
        return as_tuple(self._tracer.run(target, inputs[count:], inputs[:count], options))

    def _refuse_loops(self, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        """Decline to trace a forward of many lines, at these sizes: every round of a loop is a step of the trace."""
        key = tuple(v.shape if isinstance(v, torch.Tensor) else repr(v) for v in (*inputs, *options.values()))
        if key not in self._lines:
            self._lines[key] = lines_run(lambda: self.forward(inputs, options), TRACED_LINES.value)
        most = TRACED_LINES.value
        if self._lines[key] > most:
            raise Untraceable(f"the forward of {self.title} runs more than {most} lines, each of which would be traced")

    def _verify(self, inputs: tuple[Any, ...], options: Mapping[str, Any], traced: tuple[Any, ...]) -> None:
        """Compare the traced outputs with NumPy's, once for each signature; random numbers, for example, make them differ."""
        key = tuple((v.dtype, v.shape) if isinstance(v, torch.Tensor) else repr(v) for v in inputs)
        if key in self._verified:
            return
        own = None
        if self._recorded is not None and self._recorded[0] == fingerprint(inputs):
            own = self._recorded[1]
        self._recorded = None
        own = own if own is not None else self.forward(inputs, options)
        if len(own) != len(traced) or not all(agree(a, b) for a, b in zip(traced, own, strict=True)):
            raise Untraceable(f"traced, the forward of {self.title} gives other values than in NumPy, as random numbers do")
        self._verified.add(key)

    def _native_inputs(self, inputs: Sequence[Any]) -> list[Any]:
        made: dict[tuple[int, str], Any] = {}  # one tensor in two places is one array or number in both
        for value, kind in zip(inputs, self.kinds, strict=True):
            if (id(value), kind) not in made:
                made[id(value), kind] = to_native(value, kind)
        return [made[id(value), kind] for value, kind in zip(inputs, self.kinds, strict=True)]

    def _layer_copy(self, inputs: Sequence[Any], native: Sequence[Any], zero_gradients: bool = False) -> Any:
        changes = {
            before: value.dtype.to_real() if value.is_complex() and not before.is_complex else value.dtype
            for before, value in zip(self.dtypes, inputs, strict=True)
            if is_differentiable(value) and before is not None and before != value.dtype
        }
        return copy_with(self.layer, self.title, self.parameters, native[len(self.names) :], changes, zero_gradients)

    def _run_backward(self, layer: Any, output: Any, upstream: Sequence[torch.Tensor], given: Sequence[Any]) -> Any:
        raw, container = as_tuple(output), type(output)
        grads = [like_output(grad, own) for grad, own in zip(upstream, raw, strict=True)]
        attribute = self._upstream_attribute()
        if attribute and not self.call.takes_upstream:
            for own, grad in zip(raw, grads, strict=True):
                setattr(own, attribute, grad)
            grads = []
        sent = grads if self.call.takes_upstream else ()
        positional, keywords = self.call.arguments(sent, self.given.rebuild(given), container)
        return self._as_run(getattr(layer, self.methods.backward))(*positional, **keywords)

    def _as_run(self, method: Callable[..., Any]) -> Callable[..., Any]:
        return method if self.methods_as is None else self.methods_as(method)

    def _upstream_attribute(self) -> str | None:
        """The attribute, such as `out.g`, from which a backward without arguments reads its upstream gradient."""
        if self.numpy or self.call.takes_upstream:
            return None
        return next((name for name in ON_TENSORS if name in self.code.read), None)

    @property
    def _steps(self) -> bool:
        """Whether its backward steps parameters itself."""
        return self.call.rate is not None or bool(self.rates)

    @property
    def _may_step(self) -> bool:
        """Whether its backward steps parameters itself, as far as is known."""
        return bool(self.parameters) and (self._steps or self.stepped is None or bool(self.stepped))

    def _undo_steps(
        self, layer: Any, held: Sequence[Any], before: Sequence[Any], gradients: Sequence[Any], given: Sequence[Any]
    ) -> None:
        """Give the layer the parameters again that its backward stepped; any other write reaches what was handed in."""
        after = [p.path.find(layer) for p in self.parameters]
        changed = [k for k in range(len(after)) if is_changed(before[k], after[k])]
        if self.stepped is None:
            known = self._steps or all(is_step(before[k], after[k], gradients[k]) for k in changed)
            self.stepped = frozenset(self.parameters[k].name for k in changed) if known else frozenset()
        for k in changed:
            if self._may_step:
                put_back(layer, self.parameters[k].path, held[k], before[k])
            elif after[k] is held[k] and isinstance(given[k], torch.Tensor):
                given[k].copy_(from_native(after[k]))

    def _refuse_16_bits(self, inputs: Sequence[Any]) -> None:
        if any(p.stepped and is_narrow(v.dtype) for p, v in zip(self.parameters, inputs[len(self.names) :], strict=True)):
            raise InvalidArgument(f"{self.title} steps its parameters itself, which 16 bits do not show; pass it in float32")

    def _step_of(self, layer: Any, parameter: Parameter, before: Any) -> Any:
        """The gradient that a parameter was stepped with."""
        rate = self.call.rate if self.call.rate is not None else STEP
        return (before - parameter.path.get(layer)) / rate

    def _collected(
        self, layer: Any, returned: Any, inputs: tuple[Any, ...], given: Sequence[Any], before: Sequence[Any]
    ) -> Manual:
        """One gradient per flat input: those returned, or else stored on the layer, then those of the parameters."""
        entries = entries_of(returned, self.keys) if returned is not None else []
        taken = {p.returned for p in self.parameters if p.returned is not None}
        of_inputs = [value for index, value in enumerate(entries) if index not in taken]
        if self.sources is not None:
            of_inputs = [entries[k] if k is not None and k < len(entries) else None for k in self.sources]
        elif not of_inputs or all(value is None for value in of_inputs):
            of_inputs = [self._stored_gradient(layer, index, given[index]) for index in range(len(self.names))]
        floating = [i for i in range(len(self.names)) if is_differentiable(inputs[i])]
        slots = self.slots if len(self.slots) == len(of_inputs) else floating
        slots = list(range(len(self.names))) if len(of_inputs) >= len(self.names) else slots
        if len(of_inputs) <= len(slots):
            spread = dict(zip(slots, of_inputs, strict=False))
            of_inputs = [spread.get(i) for i in range(len(self.names))]
        of_parameters = [
            self._step_of(layer, p, old) if p.stepped
            else entries[p.returned] if p.returned is not None and p.returned < len(entries)
            else p.gradient(layer)
            for p, old in zip(self.parameters, before, strict=True)
        ]  # fmt: skip
        if not self.call.takes_upstream:
            of_inputs = [_as_factor(value, like) for value, like in zip(of_inputs, inputs, strict=False)]
        likes = [*inputs[: len(self.names)], *[None] * (len(of_inputs) - len(self.names)), *inputs[len(self.names) :]]
        found, handed_out = [*of_inputs, *of_parameters], {id(value) for value in entries}
        stored = frozenset(k for k, value in enumerate(found) if id(value) not in handed_out)
        return Manual(tuple(from_native(v, like) for v, like in zip(found, likes, strict=True)), stored=stored)

    def _stored_gradient(self, layer: Any, index: int, value: Any) -> Any:
        for name in partners(self.names[index], {*attributes(layer), *self.code.names}):
            found = getattr(layer, name, None)
            if found is not None:
                return found
        if isinstance(value, torch.Tensor):
            return next((vars(value)[name] for name in ON_TENSORS if name in vars(value)), None)
        return None


def _as_factor(value: Any, like: Any) -> Any:
    """A derivative in whole numbers, as 0 and 1 of a step, in its input's dtype: it is a factor of an upstream gradient."""
    whole = isinstance(value, np.ndarray) and value.dtype.kind in "biu"
    return from_native(value).to(like.dtype) if whole and is_differentiable(like) else value
