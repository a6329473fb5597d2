"""`Subject`, which an adapter makes of a user's object: its hand-written side, and the same forward under autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from gradcheck_lab.calls.devices import finished
from gradcheck_lab.diagnosis.allowance import NOTHING_ALLOWED, Allowance
from gradcheck_lab.engine.links import Link
from gradcheck_lab.model.exceptions import Contained
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.rules.op import Op, as_tuple
from gradcheck_lab.specs import Spec
from gradcheck_lab.subjects.code.kept import Kept

Change = Callable[[Callable[..., Any]], Callable[..., Any]]
Record = Callable[[tuple[Any, ...], Mapping[str, Any]], "Recording"]


class Key(NamedTuple):
    """Names a gradient. `role` is "input" (number `first`), "value" (output `second` of op call `first`), or "share":
    what op call `first` contributes to the gradient of its input `second`."""

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
        """Run the op's hand-written rule on these tensors, and return its result unchanged."""
        with Contained():
            returned = self.op.backward(
                tuple(grad_outputs) if self.several else grad_outputs[0],
                tuple(outputs) if self.several else outputs[0],
                *inputs,
                **self.options,
            )
            finished((*inputs, *as_tuple(returned)))
            return returned


@dataclass(frozen=True, slots=True)
class Steps:
    """The operations that a call of a graph consists of, each on many numbers.

    `calls` are these operations as ops; those named in `lost` overwrite what another use of a value of this call sent before.
    `in_order()` gives the gradients of the call when its nodes send theirs on in a right order; None where they cannot.
    """

    calls: tuple[Call, ...]
    lost: tuple[str, ...]
    in_order: Callable[[], tuple[Any, ...] | None]


@dataclass(frozen=True, slots=True)
class Manual:
    """The result of one hand-written backward: one entry per input, as returned, and gradients of intermediates by key.

    The entries in `stored`, by index, were not returned but read from where the user's object stores gradients.
    """

    returned: Any
    intermediates: Mapping[Key, torch.Tensor | None] = field(default_factory=dict)
    stored: frozenset[int] = frozenset()


def _always(index: int) -> bool:
    return True


def _never(place: int | str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Recording:
    """The result of one forward on the hand-written side, and the backward that belongs to it.

    `several` says whether the forward returned a tuple. `backward` calls the hand-written code and returns its result as it is.
    `engine` runs the same backward through torch's autograd engine, where that calls it, and returns one gradient per input,
    None where none arrives. `calls` are the op calls of a program. `findings` are problems that the forward shows, such as
    outputs that are not connected to the backward. `kind` replaces the subject's kind where only a run can tell it: a "program"
    that calls no op is a "function". `fixed_grad_outputs` are the only upstream gradients that the backward can be checked
    with, such as ones where it takes no upstream gradient. `unused` are outputs, by index, that no gradient can be sent to, as
    torch marks the statistics of a normalisation; `constants` inputs that torch refuses to differentiate. `keeps_in(place)`
    says whether torch's own operations keep a state in an input or option, as running statistics: they have no derivative of
    it, and the outputs of the call do not depend on it. `with_kept(change)` is the same recording, but for the arrays that the
    forward kept for its backward outside torch: each is what `change` makes of it. `stored` are the attributes of an object,
    and the entries of dicts there, that its forward set. `links()` says what each step of a program is made of.
    """

    outputs: tuple[torch.Tensor, ...]
    several: bool
    backward: Callable[[tuple[torch.Tensor, ...]], Manual]
    calls: tuple[Call, ...] = ()
    engine: Callable[[tuple[torch.Tensor, ...]], tuple[torch.Tensor | None, ...]] | None = None
    findings: tuple[Finding, ...] = ()
    kind: str | None = None
    fixed_grad_outputs: tuple[torch.Tensor, ...] | None = None
    unused: frozenset[int] = frozenset()
    constants: frozenset[int] = frozenset()
    keeps_in: Callable[[int | str], bool] = _never
    with_kept: Callable[[Callable[[torch.Tensor], torch.Tensor]], Recording] | None = None
    stored: frozenset[str] = frozenset()
    links: Callable[[], tuple[Link, ...]] = tuple


@dataclass(frozen=True, slots=True)
class Trace:
    """The result of one forward under autograd.

    `calls` are the op calls of a program; `cut` names hand-written Functions in the forward that no gradient reaches.
    """

    outputs: tuple[Any, ...]
    calls: tuple[Call, ...] = ()
    cut: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stateful:
    """The state of a subject that is an object.

    `owner` is the user's object, which may have a training mode; `numpy` says whether its forward computes in NumPy. Within
    `alive()`, calls do not restore the object's state, so each call finds what the last one left. `adds_up(index)` says whether
    the gradient of an input accumulates over backwards by design. `stepped()` are the parameters, by name, that the backward
    steps itself, as far as its calls have shown; each call gets them as they were before.
    """

    owner: Any
    numpy: bool = False
    alive: Callable[[], AbstractContextManager[None]] = nullcontext
    adds_up: Callable[[int], bool] = _always
    stepped: Callable[[], frozenset[str]] = frozenset


@dataclass(frozen=True, slots=True)
class Subject:
    """A user's object behind its adapter, for one structure of inputs.

    `inputs` are flat: the user's tensors and other values, then the object's parameters; `names` and `labels`
    ("input 0 'x'", "parameter 'W'") go with them. `record(inputs, options)` runs the forward of the hand-written side.
    `trace(inputs, options, substitute)` runs the same forward under autograd; the op calls whose numbers are in
    `substitute` keep their hand-written backward. It is None where there is no such forward. `forward(inputs, options)` is the
    plain function from inputs to outputs, which numeric oracles evaluate. None of the three writes to its arguments,
    unless the user's code does. `op` is set where the subject is a single op.
    `own_trace` is that of its own forward, where `trace` runs the user's `reference=`.
    `constants` are the floating inputs, by index, that are not compared: the targets of a loss, the data of a network whose
    backward returns nothing, and inputs that do not require grad where others do. `data` are those of them that nobody said
    so of: a note does.
    `reference` is the user's `reference=`; `call_reference(reference, inputs, options)` runs it, where it does not take the
    flat inputs.
    `user` is the Function's class or the operator, from which probes read other registered rules.
    `signature` is the user's function whose parameters the inputs and options are, from which probes read defaults.
    `backwards()` are the hand-written backwards as the user wrote them, as far as runs have shown: where they stand is said.
    `kept()` is what the forward keeps for the backward, in the words of the user's code.
    `connected(inputs, options)` runs the forward as users do, so that the graph of the outputs has the hand-written
    backward. It is None where torch's engine does not call that. `state` is set for an object with state;
    `parameters` are the inputs, by index, that are the object's parameters; `declared` those of which the user said that they
    need a gradient: by `wrt=`, by `requires_grad`, or by the specs of an op. `allowed` are the mistakes that the user allows.
    `record_as(change)` is `record` with what `change` makes of each function that the user wrote, forward and backward, where
    a program or a layer calls several.
    `steps(inputs, options)` are the operations of a graph of numbers, where it is one. `fixed` are the inputs that the call is
    no function of, as far as it is differentiated: data, and what nobody wants a gradient of.
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
    fixed: frozenset[int] = frozenset()
    data: frozenset[int] = frozenset()
    own_trace: Callable[[tuple[Any, ...], Mapping[str, Any], frozenset[int]], Trace] | None = None
    reference: Any = None
    call_reference: Callable[[Any, tuple[Any, ...], Mapping[str, Any]], tuple[Any, ...]] | None = None
    user: Any = None
    signature: Callable[..., Any] | None = None
    connected: Callable[[tuple[Any, ...], Mapping[str, Any]], tuple[Any, ...]] | None = None
    state: Stateful | None = None
    parameters: frozenset[int] = frozenset()
    declared: frozenset[int] = frozenset()
    backwards: Callable[[], tuple[Any, ...]] = tuple
    kept: Callable[[], tuple[Kept, ...]] = tuple
    allowed: Allowance = NOTHING_ALLOWED
    steps: Callable[[tuple[Any, ...], Mapping[str, Any]], Steps | None] | None = None
    record_as: Callable[[Change], Record] | None = None

    @property
    def is_program(self) -> bool:
        """Whether it consists of op calls, each with a hand-written rule."""
        return self.kind == "program"

    @property
    def keeps_last_call(self) -> bool:
        """Whether its backward reads what the last forward stored on the object, and stores gradients there, by design."""
        return self.kind == "layer"

    @property
    def called_by_engine(self) -> bool:
        """Whether torch's autograd engine calls its backward when users run it."""
        return self.kind in ("function", "custom_op", "module")

    @property
    def keeps_calls_apart(self) -> bool:
        """Whether each forward has saved values of its own, so that its backward can run again after other forwards."""
        return self.kind in ("op", "function", "custom_op")

    @property
    def written_in_torch(self) -> bool:
        """Whether it is a module or plain function that torch differentiates, except for hand-written backwards in it."""
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
    """The labels of positional inputs in messages: `input 0 'x'`."""
    return tuple(f"input {index} {name!r}" for index, name in enumerate(names))


def importable(value: Any) -> str | None:
    """The path `pkg.module:name` that imports `value`; None for objects of scripts, notebooks and functions."""
    import sys

    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None) or getattr(value, "name", None)
    if module in (None, "__main__") or not name or "." in str(name):
        return None
    found = getattr(sys.modules.get(str(module)), str(name), None)
    return f"{module}:{name}" if found is value else None
