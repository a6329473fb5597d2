"""Arrays among the options of a call, as labels given by keyword: inputs of their own, so that derived calls keep them in step.

A call of another batch size needs other labels, and one in float64 needs its masks in float64. No gradient of them is compared.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from gradcheck_lab.rules.op import Op, as_tuple
from gradcheck_lab.subjects.subject import Manual, Recording, Subject, Trace


@dataclass(frozen=True, slots=True)
class ArrayOptions:
    """The options of a call that are arrays or tensors with at least one dimension: their names, and which are arrays."""

    names: tuple[str, ...]
    arrays: frozenset[str]

    @classmethod
    def of(cls, options: Mapping[str, Any], taken: Sequence[str] = ()) -> ArrayOptions:
        names = tuple(name for name, value in options.items() if _has_rows(value) and name not in taken)
        return cls(names, frozenset(name for name in names if isinstance(options[name], np.ndarray)))

    def tensors(self, options: Mapping[str, Any]) -> tuple[torch.Tensor, ...]:
        """The values as tensors, for a case."""
        return tuple(torch.from_numpy(options[n].copy()) if n in self.arrays else options[n].detach() for n in self.names)

    def given(self, tensors: Sequence[Any]) -> dict[str, Any]:
        """The options by name, each in the form that the user gave it."""
        return {n: t.detach().cpu().numpy() if n in self.arrays else t for n, t in zip(self.names, tensors, strict=True)}


def with_array_options(subject: Subject, options: Mapping[str, Any]) -> Subject:
    """The subject with the arrays among `options` as its last inputs, which no gradient is compared of.

    An op is left as it is: see `with_array_inputs`.
    """
    found = ArrayOptions.of(options, subject.names)
    if not found.names or subject.op is not None:
        return subject
    run = _Run(subject, found, len(subject.inputs))
    count = len(subject.inputs)
    return replace(
        subject,
        inputs=(*subject.inputs, *found.tensors(options)),
        names=(*subject.names, *found.names),
        labels=(*subject.labels, *(f"option {name!r}" for name in found.names)),
        constants=subject.constants | frozenset(range(count, count + len(found.names))),
        record=run.record,
        trace=None if subject.trace is None else run.trace,
        forward=run.forward,
        connected=None if subject.connected is None else run.connected,
        call_reference=run.call_reference,
    )


def with_array_inputs(op: Op, count: int, options: Mapping[str, Any]) -> tuple[Op, tuple[torch.Tensor, ...]]:
    """An op without specs that takes the arrays among `options` as inputs after its own `count` inputs, and these inputs."""
    found = ArrayOptions.of(options)
    if not found.names or op.specs or op.rule is None:
        return op, ()
    rule = op.rule

    def forward(*inputs: Any, **keywords: Any) -> Any:
        return op.forward(*inputs[:count], **{**keywords, **found.given(inputs[count:])})

    def backward(grad_output: Any, output: Any, *inputs: Any, **keywords: Any) -> Any:
        grads = as_tuple(rule(grad_output, output, *inputs[:count], **{**keywords, **found.given(inputs[count:])}))
        return (*grads, *[None] * len(found.names)) if len(grads) == count else grads

    positional = inspect.Parameter.POSITIONAL_ONLY
    names = [name if name.isidentifier() else f"input_{i}" for i, name in enumerate((*op.names(count), *found.names))]
    parameters = [inspect.Parameter(name, positional) for name in names]
    keywords = inspect.Parameter("options", inspect.Parameter.VAR_KEYWORD)
    forward.__signature__ = inspect.Signature([*parameters, keywords])  # type: ignore[attr-defined]
    made = Op(forward, backward, name=op.name)
    made.__doc__, made.__module__ = op.__doc__, op.__module__
    return made, found.tensors(options)


@dataclass(frozen=True, slots=True)
class _Run:
    """Runs a subject on flat inputs of which the last, from `count` on, are options."""

    subject: Subject
    options: ArrayOptions
    count: int

    def record(self, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Recording:
        recording = self.subject.record(inputs[: self.count], self._all(inputs, options))
        engine = recording.engine

        def backward(grad_outputs: tuple[torch.Tensor, ...]) -> Manual:
            manual = recording.backward(grad_outputs)
            return replace(manual, returned=self._with_nones(manual.returned))

        def delivered(grad_outputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor | None, ...]:
            assert engine is not None
            return (*engine(grad_outputs), *[None] * len(self.options.names))

        def keeps_in(place: int | str) -> bool:
            own = isinstance(place, str) or place < self.count
            return recording.keeps_in(place if own else self.options.names[int(place) - self.count])

        return replace(recording, backward=backward, engine=None if engine is None else delivered, keeps_in=keeps_in)

    def trace(self, inputs: tuple[Any, ...], options: Mapping[str, Any], substitute: frozenset[int]) -> Trace:
        assert self.subject.trace is not None
        return self.subject.trace(inputs[: self.count], self._all(inputs, options), substitute)

    def forward(self, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
        return self.subject.forward(inputs[: self.count], self._all(inputs, options))

    def connected(self, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
        assert self.subject.connected is not None
        return self.subject.connected(inputs[: self.count], self._all(inputs, options))

    def call_reference(self, reference: Any, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
        own, given = self.subject.call_reference, self._all(inputs, options)
        return own(reference, inputs[: self.count], given) if own else as_tuple(reference(*inputs[: self.count], **given))

    def _all(self, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> dict[str, Any]:
        return {**options, **self.options.given(inputs[self.count :])}

    def _with_nones(self, returned: Any) -> Any:
        grads = as_tuple(returned)
        return (*grads, *[None] * len(self.options.names)) if len(grads) == self.count else returned


def _has_rows(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim > 0 and value.dtype.kind in "biuf"
    return isinstance(value, torch.Tensor) and value.ndim > 0
