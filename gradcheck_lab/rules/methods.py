"""The methods of an object that are its forward and its hand-written backward, by the names that people give them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

import torch

FORWARDS = ("forward", "forward_pass", "forward_prop", "forward_propagation", "forwardpass", "fprop", "feed_forward",
            "feedforward")  # fmt: skip
BACKWARDS = ("backward", "backward_pass", "backward_prop", "backward_propagation", "backwardpass", "bprop", "backprop",
             "back_prop", "backpropagate", "back_propagate", "backpropagation", "back_propagation")  # fmt: skip
# the derivative of a function rather than of a layer: it is called with what the function takes
DERIVATIVES = ("gradient", "grad", "derivative", "deriv", "prime", "df", "loss_prime", "loss_gradient", "loss_grad")
FUNCTIONS = (*FORWARDS, "__call__", "fn", "function", "func", "f", "loss", "evaluate")

_HAND_WRITTEN = re.compile(
    r"_*(my|manual|custom|own|hand|handwritten|hand_written|compute|calc|calculate|get|local|analytic|analytical)?_*"
    r"(backwards?|bwd|back_?prop|back_?propagation|bprop|back_?propagate|vjp|pullback|adjoint|grads?|gradients?|derivatives?|"
    r"deriv|prime|df|dx|d)_*"
    r"(pass|prop|manual|custom|input|x|fn|func|function)?_*"
)
_BESIDE = "backward backwards bwd backprop bprop vjp pullback grad gradient prime derivative deriv jacobian df d".split()
# by these names a method asks torch for a gradient, so that it is none written by hand
_AUTOMATIC = frozenset("autograd vjp jvp jacrev jacfwd grad_fn jacobian functional_call backward requires_grad_".split())


@dataclass(frozen=True, slots=True)
class Methods:
    """The names of the two methods; an `elementwise` derivative takes the inputs again and no upstream gradient."""

    forward: str
    backward: str
    elementwise: bool = False


def methods_of(obj: Any, forward: str | None = None, backward: str | None = None) -> Methods | None:
    """The forward and the backward of an object or class, where the user named them and else by their usual names.

    None where there is no pair of them.
    """
    is_class = isinstance(obj, type)
    module = issubclass(obj if isinstance(obj, type) else type(obj), torch.nn.Module)  # whose helpers ask torch for gradients
    candidates = BACKWARDS if module else (*BACKWARDS, *DERIVATIVES)
    found = backward or next((name for name in candidates if _has(obj, name)), None)
    if found is None:
        return None
    elementwise = found in DERIVATIVES
    starts = FUNCTIONS if elementwise or backward is not None else (*FORWARDS, "__call__")
    before = forward or next((name for name in starts if _has(obj, name) and not (is_class and name == "__call__")), None)
    if before is None and is_class and "__call__" in vars(obj):
        before = "__call__"
    return None if before is None else Methods(before, found, elementwise)


def hand_written_methods(obj: Any) -> list[str]:
    """The methods of an object's own classes that are called as a hand-written gradient is, but those that ask torch for one.

    `d` before the name of another method, of the class or of what is called in a method, names a gradient too: `dsigmoid`.
    """
    own = own_functions(obj)
    stems = {*own, type(obj).__name__.lower(), *(word for function in own.values() for word in words_of(function.__code__))}
    return [
        name
        for name, function in own.items()
        if (_HAND_WRITTEN.fullmatch(name) or _is_derivative_of(name, stems - {name})) and not is_automatic(function)
    ]


def gradient_beside(name: str, space: Mapping[str, Any]) -> FunctionType | None:
    """The function that stands in `space` as the gradient of the function of this name: `tanh_backward`, `d_tanh`."""
    forms = [f"{name}_{word}" for word in _BESIDE] + [f"d_{name}", f"d{name}", f"grad_{name}", f"gradient_{name}"]
    for forward, backward in (("forward", "backward"), ("fwd", "bwd")):
        forms += [name.replace(forward, backward)] if forward in name else []
    for form in forms:
        value = space.get(form)
        found = getattr(value, "__func__", value)
        if form != name and isinstance(found, FunctionType):
            return found
    return None


def is_automatic(function: FunctionType) -> bool:
    """Whether a function asks torch for a gradient, so that it is none written by hand."""
    return bool(words_of(function.__code__) & _AUTOMATIC)


def _is_derivative_of(name: str, stems: set[str]) -> bool:
    found = re.fullmatch(r"d_?(\w+)|(\w+)_d", name)
    stem = next(filter(None, found.groups()), "") if found else ""
    return len(stem) > 1 and stem in stems


def _has(obj: Any, name: str) -> bool:
    method = getattr(obj, name, None)
    if not callable(method) or isinstance(method, (type, torch.Tensor)):
        return False
    # a class attribute, or a function of the object itself: not a gradient that happens to be callable
    return hasattr(type(obj), name) or isinstance(obj, type) or inspect.isroutine(method)


def own_functions(obj: Any) -> dict[str, FunctionType]:
    """The functions of the classes that the user wrote, by name."""
    found: dict[str, FunctionType] = {}
    for kind in type(obj).__mro__:
        if kind is object or kind.__module__.partition(".")[0] in ("torch", "builtins", "numpy", "functools"):
            continue
        for name, value in vars(kind).items():
            function = getattr(value, "__func__", value)
            function = inspect.unwrap(function) if callable(function) else function
            if isinstance(function, FunctionType):
                found.setdefault(name, function)
    return found


def reached_from(functions: dict[str, FunctionType], start: str) -> set[str]:
    """The functions among these that calling `start` may call, by the names in their code."""
    reached, todo = set[str](), [start]
    while todo:
        name = todo.pop()
        if name in functions and name not in reached:
            reached.add(name)
            todo += words_of(functions[name].__code__) & functions.keys()
    return reached


def words_of(code: CodeType) -> set[str]:
    """The names of globals and attributes in a piece of code and the functions inside it."""
    return {name for each in _codes(code) for name in each.co_names}


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
