"""Which functions the hand-written backward of a subject consists of, and where they stand."""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Literal

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.arguments import name_of
from gradcheck_lab.rules.layer import Layer
from gradcheck_lab.rules.methods import methods_of, own_functions, words_of
from gradcheck_lab.rules.op import Op
from gradcheck_lab.subjects.code.scope import Scope
from gradcheck_lab.torch_internals import (
    body_of,
    definition_of,
    is_packet,
    overload_of,
    registered_backward,
    registered_setup,
)
from gradcheck_lab.triton_internals import function_of_kernel

Form = Literal["op", "function", "layer"]


@dataclass(frozen=True, slots=True)
class Written:
    """One function of a backward.

    `form` is that of the backward itself, None for a function that it calls: "op" takes the upstream gradient first, "function"
    after a context, "layer" after the object. `forward` is the function of the forward whose defaults are those of the options.
    `around` are the names in the code of the forward and of the object's methods.
    """

    function: FunctionType
    form: Form | None
    forward: FunctionType | None
    around: frozenset[str] = frozenset()

    @property
    def path(self) -> str:
        """The file, as its code names it."""
        return self.function.__code__.co_filename

    @property
    def name(self) -> str:
        """Its qualified name, without the functions that it is defined in."""
        return self.function.__qualname__.rpartition("<locals>.")[2]


@dataclass(frozen=True, slots=True)
class _Roots:
    """The functions that a subject names: those of its forward, its backward, and the object that methods belong to."""

    form: Form
    backward: Any
    forwards: tuple[Any, ...]
    owner: Any = None


def written_of(subject: Any) -> tuple[Written, ...]:
    """The functions of the backward of `subject`, its own first, then those that it calls in the same file.

    `subject` is a `gl.Op`, a pair (forward, backward), a `torch.autograd.Function`, a custom op, a `gl.Layer`, or an object or
    class with a forward and a backward. A function that the forward calls too is left out: to edit it changes what is
    differentiated. Raises `InvalidArgument` for any other subject, and where no source is found.
    """
    roots = _roots_of(subject)
    if roots is None:
        raise InvalidArgument(
            f"cannot edit the backward of {name_of(subject)}; pass gl.Op(forward, backward), a pair (forward, backward), "
            "a torch.autograd.Function, a custom op, or an object with the methods forward and backward"
        )
    backward = own_function(roots.backward)
    if backward is None or not source_lines(backward):
        raise InvalidArgument(f"the source of the backward of {name_of(subject)} is not at hand; define it in a file")
    path = backward.__code__.co_filename
    forwards = [found for each in roots.forwards if (found := own_function(each)) is not None]
    shared = {id(each) for each in _reached(forwards, path, roots.owner)}
    reached = [each for each in _reached([backward], path, roots.owner) if id(each) not in shared or each is backward]
    forward = forwards[0] if forwards else None
    around = frozenset[str]().union(*(words_of(each.__code__) for each in (*forwards, *own_functions(roots.owner).values())))
    return tuple(Written(each, roots.form if each is backward else None, forward, around) for each in reached)


def own_function(value: Any) -> FunctionType | None:
    """The function behind a method, its decorators or an interpreted kernel; None where there is none in Python."""
    if (kernel := function_of_kernel(value)) is not None:
        return kernel
    found = getattr(value, "__func__", value)
    found = inspect.unwrap(found) if callable(found) else found
    return found if isinstance(found, FunctionType) else None


def source_lines(function: FunctionType) -> list[str]:
    """The lines of the file, cell or text that a function was compiled from; empty where nobody has them."""
    code = function.__code__
    lines = linecache.getlines(code.co_filename, function.__globals__)
    return lines if code.co_firstlineno <= len(lines) else []


def _roots_of(subject: Any) -> _Roots | None:
    if isinstance(subject, Op):
        return None if subject.rule is None else _Roots("op", subject.rule, (subject.forward,))
    if isinstance(subject, tuple) and len(subject) == 2 and all(callable(each) for each in subject):
        return _Roots("op", subject[1], (subject[0],))
    kind = getattr(subject, "__self__", None) if getattr(subject, "__name__", "") == "apply" else subject
    if kind is not None and _is_function_class(kind):
        return _Roots("function", kind.backward, (kind.forward, kind.setup_context), kind)
    if is_packet(subject) or overload_of(subject) is not None:
        return _roots_of_operator(subject)
    if isinstance(subject, Layer):
        return _roots_of_methods(subject.obj, subject.forward_name, subject.backward_name)
    return _roots_of_methods(subject, None, None)


def _roots_of_operator(subject: Any) -> _Roots | None:
    operator = subject.default if is_packet(subject) else overload_of(subject)
    definition = definition_of(subject, operator)
    if definition is None or registered_backward(definition) is None:
        return None
    return _Roots("function", registered_backward(definition), (body_of(definition), registered_setup(definition)))


def _roots_of_methods(obj: Any, forward: str | None, backward: str | None) -> _Roots | None:
    methods = methods_of(obj, forward, backward)
    if methods is None or methods.elementwise:
        return None
    taken = inspect.getattr_static(obj, methods.backward, None)
    form: Form = "op" if isinstance(taken, staticmethod) else "layer"
    return _Roots(form, getattr(obj, methods.backward), (getattr(obj, methods.forward),), obj)


def _reached(starts: Sequence[FunctionType], path: str, owner: Any) -> list[FunctionType]:
    """Functions, and those in the file `path` that they may call, each once, in the order in which they are met."""
    found: list[FunctionType] = []
    todo = list(starts)
    while todo:
        function = todo.pop(0)
        if any(function is each for each in found):
            continue
        found.append(function)
        todo += [each for each in _called(function, owner) if each.__code__.co_filename == path]
    return [each for each in found if each.__code__.co_filename == path]


def _called(function: FunctionType, owner: Any) -> Iterator[FunctionType]:
    """The functions that the names in a function's code stand for: around it, on its classes and on the object."""
    words = words_of(function.__code__) | set(function.__code__.co_freevars)
    space = Scope(function, None).space
    holders = [] if owner is None else [owner]
    for name in sorted(words):
        value = space.get(name)
        if isinstance(value, type):
            holders.append(value)
        found = own_function(value)
        if found is not None:
            yield found
    for holder in holders:
        for name in sorted(words):
            found = own_function(inspect.getattr_static(holder, name, None))
            if found is not None:
                yield found
        if holder is not owner and "apply" in words and _is_function_class(holder):
            yield from (each for each in map(own_function, (holder.forward, holder.backward)) if each is not None)


def _is_function_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, torch.autograd.Function)
