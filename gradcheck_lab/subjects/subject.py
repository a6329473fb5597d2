"""What an adapter makes of a user's object: a manual side to run, and the same forward for autograd to follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from gradcheck_lab.model.findings import Finding
from gradcheck_lab.rules.op import Op
from gradcheck_lab.specs import Spec


class Key(NamedTuple):
    """Which gradient: an "input"; a "value", output `second` of call `first`; a "share", what that call sends an input."""

    role: str
    first: int
    second: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One op call within a program; `names` are the variables that the results were assigned to."""

    op: Op
    inputs: tuple[Any, ...]
    options: Mapping[str, Any]
    outputs: tuple[Any, ...]
    several: bool
    names: tuple[str, ...] = ()

    def backward(self, grad_outputs: Sequence[torch.Tensor], inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:
        """Run the op's hand-written rule on given tensors; returns what it returns."""
        return self.op.backward(
            tuple(grad_outputs) if self.several else grad_outputs[0],
            tuple(outputs) if self.several else outputs[0],
            *inputs,
            **self.options,
        )


@dataclass(frozen=True, slots=True)
class Manual:
    """What the hand-written side returned: one raw entry per input, and gradients of intermediates by key."""

    returned: Any
    intermediates: Mapping[Key, torch.Tensor | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recording:
    """One forward of the hand-written side, ready for its backward.

    `backward` calls the hand-written code itself, so that what it returns is seen raw. `engine`, where there is one, runs
    the same backward as torch's autograd engine does, one gradient per input, None where nothing flows. `findings` are what
    the forward alone shows, such as outputs that the backward is not connected to. `kind` is set where only the run could
    tell what the subject is: a "function" that calls no op is no "program". `fixed_grad_outputs` are the only upstream
    gradients that the backward can be checked with, as where it takes none and means ones.
    """

    outputs: tuple[torch.Tensor, ...]
    several: bool
    backward: Callable[[tuple[torch.Tensor, ...]], Manual]
    calls: tuple[Call, ...] = ()
    engine: Callable[[tuple[torch.Tensor, ...]], tuple[torch.Tensor | None, ...]] | None = None
    findings: tuple[Finding, ...] = ()
    kind: str | None = None
    fixed_grad_outputs: tuple[torch.Tensor, ...] | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """One forward on tensors that autograd tracks; `cut` are hand-written rules in it that no gradient reaches."""

    outputs: tuple[Any, ...]
    calls: tuple[Call, ...] = ()
    cut: tuple[str, ...] = ()


def _always(index: int) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Stateful:
    """What a subject that is an object with state says of it.

    `owner` is the user's object, which may have modes; `numpy` whether its forward computes in NumPy. Within `alive()` calls
    leave on it what they leave there, and find what the last one left. `adds_up(index)` says whether a gradient that grows
    with every backward is meant to.
    """

    owner: Any
    numpy: bool = False
    alive: Callable[[], AbstractContextManager[None]] = nullcontext
    adds_up: Callable[[int], bool] = _always


@dataclass(frozen=True, slots=True)
class Subject:
    """A user's object behind its adapter, for one structure of inputs.

    `inputs` are flat: the user's tensors and other values, then the parameters that the object holds; `names` and `labels`
    ("input 0 'x'", "parameter 'W'") go with them. `record(inputs, options)` runs the forward of the hand-written side.
    `trace(inputs, options, substitute)` runs the same forward where autograd can follow it; the calls numbered in
    `substitute` keep their hand-written backward; None where there is no such forward. `forward(inputs, options)` is the
    plain function from inputs to outputs, which numeric oracles evaluate. All three leave what they are given untouched,
    unless the user's code writes to it. `op` is set where the subject is a single op, whose rule can be run on any values.
    `constants` are the floating inputs, by index, that are no variables of the backward: the targets of a loss.
    `call_reference(reference, inputs, options)` runs the user's `reference=` where flat inputs are not what it takes.
    `user` is the Function's class or the operator, for what is registered with it besides the backward.
    `connected(inputs, options)` runs the forward as users run it, on tensors that autograd tracks, whose graph then holds
    the hand-written backward; None where torch's engine does not call that. `state` is set for an object that has some;
    `parameters` are the inputs, by index, that it holds itself.
    """

    name: str
    kind: str
    inputs: tuple[Any, ...]
    names: tuple[str, ...]
    labels: tuple[str, ...]
    record: Callable[[tuple[Any, ...], Mapping[str, Any]], Recording]
    trace: Callable[[tuple[Any, ...], Mapping[str, Any], frozenset[int]], Trace] | None
    forward: Callable[[tuple[Any, ...], Mapping[str, Any]], tuple[Any, ...]]
    target: str | None = None
    specs: tuple[Spec, ...] = ()
    op: Op | None = None
    oracle: str = "autograd"
    constants: frozenset[int] = frozenset()
    call_reference: Callable[[Any, tuple[Any, ...], Mapping[str, Any]], tuple[Any, ...]] | None = None
    user: Any = None
    connected: Callable[[tuple[Any, ...], Mapping[str, Any]], tuple[Any, ...]] | None = None
    state: Stateful | None = None
    parameters: frozenset[int] = frozenset()

    @property
    def is_program(self) -> bool:
        """Whether it is made of ops, each with a rule of its own, whose results Variables add up."""
        return self.kind == "program"

    @property
    def keeps_last_call(self) -> bool:
        """Whether its backward reads what the last forward left on the object, and leaves its gradients there, by design."""
        return self.kind == "layer"

    @property
    def called_by_engine(self) -> bool:
        """Whether torch's autograd engine calls its backward when users run it."""
        return self.kind in ("function", "custom_op", "module")

    @property
    def keeps_calls_apart(self) -> bool:
        """Whether what one forward keeps is its own, so that its backward may run again and again."""
        return self.kind in ("op", "function", "custom_op")

    @property
    def written_in_torch(self) -> bool:
        """Whether it is a module or a plain function, which torch differentiates as it stands but for the rules within it."""
        return self.kind in ("function", "module") and self.user is None

    @property
    def autograd_function(self) -> Any:
        """The `torch.autograd.Function` that it is; None for anything else."""
        return self.user if self.kind == "function" else None

    @property
    def operator(self) -> Any:
        """The operator of `torch.library` that it is; None for anything else."""
        return self.user if self.kind == "custom_op" else None


def input_labels(names: tuple[str, ...]) -> tuple[str, ...]:
    """How messages call positional inputs: `input 0 'x'`."""
    return tuple(f"input {index} {name!r}" for index, name in enumerate(names))


def importable(value: Any) -> str | None:
    """`pkg.module:name` when `value` can be imported by it; None for what lives in a script, notebook or function."""
    import sys

    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None) or getattr(value, "name", None)
    if module in (None, "__main__") or not name or "." in str(name):
        return None
    found = getattr(sys.modules.get(str(module)), str(name), None)
    return f"{module}:{name}" if found is value else None
