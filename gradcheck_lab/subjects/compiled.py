"""A subject that runs as its users run it, with or without `torch.compile` around what they compile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch

from gradcheck_lab.calls.case import copy_inputs, is_differentiable
from gradcheck_lab.model.torch_messages import writes_to_leaf
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.engine_backward import as_leaves
from gradcheck_lab.subjects.subject import Manual, Recording, Subject
from gradcheck_lab.torch_internals import call_of_module, module_called_by

Compile = Callable[[Callable[..., Any]], Callable[..., Any]]
Call = Callable[[tuple[Any, ...], Mapping[str, Any]], tuple[Any, ...]]


def as_is(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself: nothing is compiled."""
    return function


@dataclass(slots=True)
class UsersRun:
    """A subject as its users run it. `in_place` once a run has shown that it writes to its inputs, which are leaves then."""

    subject: Subject
    in_place: bool = False

    def under(self, compile: Compile = as_is) -> Subject | None:
        """The subject with a forward and backward that run what `compile` makes of the user's code.

        Of an op its forward and its rule are compiled, each as a function; of what torch's engine runs the call, whose
        graph has the backward; of a program each op that it calls; of a layer in torch its two methods. None for a layer in
        NumPy, which the compiler does not take for what it is.
        """
        subject = self.subject
        if subject.kind in ("program", "layer"):
            if subject.record_as is None:
                return None
            return subject if compile is as_is else replace(subject, record=subject.record_as(compile))
        if subject.kind == "op" and subject.op is not None:
            return replace(subject, record=_OpCall(compile(subject.op.forward), compile(_rule(subject))).record)
        call = _call_of(subject, compile)
        return None if call is None else replace(subject, record=_EngineCall(call, self).record)


def _rule(subject: Subject) -> Callable[..., Any]:
    assert subject.op is not None
    assert subject.op.rule is not None
    rule: Callable[..., Any] = subject.op.rule
    return rule


def _call_of(subject: Subject, compile: Compile) -> Call | None:
    run = subject.call_reference
    target, around = _target(subject, compile)
    if run is None or target is None:
        return None

    def call(inputs: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
        with around():
            return tuple(value for value in run(target, inputs, options) if isinstance(value, torch.Tensor))

    return call


def _target(subject: Subject, compile: Compile) -> tuple[Any, Callable[[], AbstractContextManager[None]]]:
    """What the user calls, compiled, and the block within which it is called; None for what is not compiled."""
    if subject.kind == "module" and subject.state is not None:
        module = subject.state.owner
        compiled = None if compile is as_is else compile(call_of_module(module))
        return module, lambda: module_called_by(module, compiled)
    if subject.kind == "custom_op":
        operator = subject.user
        return compile(lambda *arguments, **keywords: operator(*arguments, **keywords)), nullcontext
    if subject.autograd_function is not None:
        apply = subject.autograd_function.apply
        return compile(lambda *arguments: apply(*arguments)), nullcontext
    if subject.kind == "function" and subject.signature is not None:
        return compile(subject.signature), nullcontext
    return None, nullcontext


@dataclass(slots=True)
class _EngineCall:
    """A call that torch's engine runs the backward of; `call(inputs, options)` returns its tensors."""

    call: Call
    users: UsersRun

    def record(self, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Recording:
        kept = copy_inputs(inputs)
        outputs, leaves = self._run(inputs, options)
        pending = [(outputs, leaves)]

        def backward(grad_outputs: tuple[torch.Tensor, ...]) -> Manual:
            # a compiled backward may reuse the memory of what it saved, so that each needs a forward of its own
            found = pending.pop() if pending else self._run(copy_inputs(kept), options)
            return Manual(_gradients(*found, grad_outputs))

        return Recording(tuple(output.detach() for output in outputs), len(outputs) != 1, backward)

    def _run(self, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[tuple[torch.Tensor, ...], tuple[Any, ...]]:
        leaves = as_leaves(inputs)
        with torch.enable_grad():
            if not self.users.in_place:
                try:
                    return self.call(leaves, options), leaves
                except RuntimeError as error:
                    if not writes_to_leaf(error):
                        raise
                self.users.in_place = True  # torch allows in-place work on anything but a leaf
            return self.call(tuple(v.clone() if is_differentiable(v) else v for v in leaves), options), leaves


def _gradients(
    outputs: tuple[torch.Tensor, ...], leaves: tuple[Any, ...], grad_outputs: tuple[torch.Tensor | None, ...]
) -> tuple[torch.Tensor | None, ...]:
    pairs = [(o, g) for o, g in zip(outputs, grad_outputs, strict=True) if o.requires_grad and g is not None]
    wanted = [v for v in leaves if isinstance(v, torch.Tensor) and v.requires_grad]
    if not pairs or not wanted:
        return (None,) * len(leaves)
    roots, upstream = zip(*pairs, strict=True)
    found = iter(torch.autograd.grad(roots, wanted, upstream, allow_unused=True))
    return tuple(next(found) if isinstance(v, torch.Tensor) and v.requires_grad else None for v in leaves)


@dataclass(frozen=True, slots=True)
class _OpCall:
    """The forward and the rule of an op."""

    forward: Callable[..., Any]
    rule: Callable[..., Any]

    def record(self, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Recording:
        with torch.no_grad():
            output = self.forward(*inputs, **options)
        several, outputs = isinstance(output, (tuple, list)), as_tuple(output)

        def backward(grad_outputs: tuple[torch.Tensor, ...]) -> Manual:
            with torch.no_grad():
                upstream, given = (grad_outputs, outputs) if several else (grad_outputs[0], outputs[0])
                return Manual(self.rule(upstream, given, *inputs, **options))

        return Recording(outputs, several, backward)
