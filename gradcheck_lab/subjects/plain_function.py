"""The adapter of functions and callables: programs, whose ops are checked one by one, and functions that torch differentiates.

A first run on tensors decides which of the two a function is. The first call of an op ends that run before the op's forward,
and the function runs again on Variables, as a program.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from gradcheck_lab.calls.randomness import random_states
from gradcheck_lab.engine.variable import ops_run_as
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.rules.methods import methods_of
from gradcheck_lab.rules.naming import input_names, option_names
from gradcheck_lab.rules.op import Op, as_tuple
from gradcheck_lab.subjects.differentiable import Differentiable
from gradcheck_lab.subjects.first_call import result_of
from gradcheck_lab.subjects.flat_arguments import flatten_arguments, tensors_of
from gradcheck_lab.subjects.layers.paths import is_user_class
from gradcheck_lab.subjects.op import require_tensors
from gradcheck_lab.subjects.op_calls import OpCalled, ops_refused
from gradcheck_lab.subjects.program import record_program, trace_program
from gradcheck_lab.subjects.readings.functions import without_gradient
from gradcheck_lab.subjects.readings.layers import unread_layer
from gradcheck_lab.subjects.subject import Change, Record, Recording, Subject, Trace, importable
from gradcheck_lab.subjects.unreached import refuse_unreached, watched

_OPERATORS = frozenset("+ - * / @ += -= *= /= @=".split())
_HARMLESS = ("LOAD_FAST", "LOAD_CONST", "LOAD_SMALL_INT", "LOAD_GLOBAL", "LOAD_DEREF", "COPY_FREE_VARS", "STORE_FAST",
             "UNARY_NEGATIVE", "RETURN", "RESUME", "CACHE", "NOP")  # fmt: skip


def adapt_plain_function(value: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> Subject | None:
    """Translate a function, method, partial or callable object whose arguments hold tensors; classes are declined.

    Raises `InvalidArgument` for unknown options, and for arrays instead of tensors.
    """
    if not callable(value) or isinstance(value, type) or methods_of(value) is not None:
        return None
    name = _name(value)
    refuse_unreached(value, name)
    _refuse_options(value, name, len(inputs), options)
    laid = flatten_arguments(inputs, input_names(value, len(inputs)))
    if any(isinstance(leaf, np.ndarray) for leaf in laid.leaves):
        _refuse_arrays(value, name, inputs, options)
    require_tensors(name, tuple(leaf if hasattr(leaf, "__array__") else None for leaf in laid.leaves))

    def run(given: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        return value(*laid.rebuild(given), **options)

    function = Differentiable(name, run, laid.leaves, len(laid.leaves))
    subject = _ProgramOrFunction(name, run, function, _only_operators(value), value)
    return Subject(
        name=name,
        kind="program",
        inputs=laid.leaves,
        names=laid.names,
        labels=laid.labels,
        record=subject.record,
        trace=subject.trace,
        forward=subject.forward,
        signature=value,
        connected=subject.connected,
        target=importable(value),
        call_reference=lambda reference, given, options: tensors_of(reference(*laid.rebuild(given), **options)),
        backwards=lambda: tuple(subject.function.backwards),
        record_as=subject.record_as,
    )


@dataclass(slots=True)
class _ProgramOrFunction:
    """A function that is treated as a differentiable function until it calls an op, and as a program from then on."""

    name: str
    run: Callable[[tuple[Any, ...], Mapping[str, Any]], Any]
    function: Differentiable
    is_program: bool
    value: Any
    is_watched: bool = False

    def record(self, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Recording:
        if not self.is_program:
            before = random_states()
            try:
                with ops_refused():
                    recording = self._first(lambda: self.function.record(inputs, options))
                    return replace(recording, kind="function")
            except OpCalled:
                before.restore()
                self.is_program = True
        require_tensors(self.name, inputs)
        return self._first(lambda: record_program(self.run, self.name, inputs, options))

    def record_as(self, change: Change) -> Record:
        """The recording of a program whose ops run what `change` makes of their forward and rule."""
        known: dict[int, tuple[Op, Op]] = {}

        def changed(op: Op) -> Op:
            if id(op) not in known:
                known[id(op)] = op, Op(change(op.forward), None if op.rule is None else change(op.rule), name=op.name)
            return known[id(op)][1]

        def record(inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Recording:
            with ops_run_as(changed):
                return self.record(inputs, options)

        return record

    def _first(self, record: Callable[[], Recording]) -> Recording:
        """A run, the first of them watched: one that misses a hand-written gradient is refused."""
        if self.is_watched:
            return record()
        with watched(self.value) as calls:
            recording = record()
        self.is_watched = True
        calls.hand_written |= self.is_program
        calls.refuse(self.name)
        return recording

    def trace(self, inputs: tuple[Any, ...], options: Mapping[str, Any], substitute: frozenset[int]) -> Trace:
        if self.is_program:
            return trace_program(self.run, inputs, options, substitute)
        return self.function.trace(inputs, options, substitute)

    def connected(self, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
        if self.is_program:
            return trace_program(self.run, inputs, options, None).outputs
        return self.function.connected(inputs, options)

    def forward(self, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
        return as_tuple(self.run(inputs, options)) if self.is_program else self.function.forward(inputs, options)


def _refuse_arrays(value: Any, name: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> None:
    """Raise `InvalidArgument` for a function of arrays, which has no gradient but one that a call of it would reach."""
    with watched(value) as calls:
        result = result_of(value, inputs, options)
    calls.refuse(name)
    problem = f"cannot tell which method is the backward of {name}"
    if is_user_class(type(value)) and (error := unread_layer(problem, value, inputs, options)) is not None:
        raise error
    if any(isinstance(v, (np.ndarray, np.generic, float)) for v in as_tuple(result)):
        raise without_gradient(value, name, inputs, result)


def _only_operators(value: Any) -> bool:
    """Whether the function only applies `+ - * / @` to its arguments, as `lambda x, y: x * y`: then it is a program."""
    code = getattr(value, "__code__", None)
    if code is None:
        return False
    applied = 0
    for instruction in dis.get_instructions(code):
        if instruction.opname == "BINARY_OP" and instruction.argrepr in _OPERATORS:
            applied += 1
        elif not instruction.opname.startswith(_HARMLESS):
            return False
    return applied > 0


def _name(value: Any) -> str:
    function = value.func if isinstance(value, partial) else value
    return str(getattr(function, "__name__", None) or type(function).__name__)


def _refuse_options(value: Any, name: str, inputs: int, options: Mapping[str, Any]) -> None:
    known = option_names(value, inputs)
    for option in options:
        if known is not None and option not in known:
            accepted = f"it accepts {', '.join(known)}" if known else "it accepts none"
            raise InvalidArgument(f"{name} has no option {option!r}; {accepted}")
