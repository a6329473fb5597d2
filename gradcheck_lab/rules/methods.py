"""The methods of an object that are its forward and its hand-written backward, by the names that people give them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

import torch

from gradcheck_lab.errors import InvalidArgument

FORWARDS = ("forward", "forward_pass", "forward_prop", "forward_propagation", "forwardpass", "fprop", "feed_forward",
            "feedforward")  # fmt: skip
BACKWARDS = ("backward", "backward_pass", "backward_prop", "backward_propagation", "backwardpass", "bprop", "backprop",
             "back_prop", "backpropagate", "back_propagate", "backpropagation", "back_propagation")  # fmt: skip
# the derivative of a function rather than of a layer: it is called with what the function takes
DERIVATIVES = ("gradient", "grad", "derivative", "deriv", "prime", "df", "loss_prime", "loss_gradient", "loss_grad")
FUNCTIONS = (*FORWARDS, "__call__", "fn", "function", "func", "f", "loss", "evaluate")

_HAND_WRITTEN = re.compile(
    r"_*(my|manual|custom|own|hand|handwritten|hand_written|compute|calc|calculate|get|local|analytic|analytical)?_*"
    r"(backward|back_?prop|bprop|back_?propagate|vjp|pullback|grads?|gradients?|derivatives?|prime)_*"
    r"(pass|prop|manual|custom|input|x|fn|func|function)?_*"
)
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


def refuse_unreached(obj: Any, name: str) -> None:
    """Raise `InvalidArgument` where a callable object has a hand-written gradient that calling it does not run.

    Helpers that ask torch for a gradient, and methods that its forward calls, are none.
    """
    start = "forward" if callable(getattr(obj, "forward", None)) else "__call__"
    own = _own_functions(obj)
    reached = _reached(own, start)
    for method, function in own.items():
        if _HAND_WRITTEN.fullmatch(method) and method not in reached and not _words(function.__code__) & _AUTOMATIC:
            raise InvalidArgument(
                f"{name} has a method {method!r}, and calling {name} never runs it; check it with "
                f"gl.Layer(obj, backward={method!r}), or pass obj.{start} for what torch differentiates by itself"
            )


def _has(obj: Any, name: str) -> bool:
    method = getattr(obj, name, None)
    if not callable(method) or isinstance(method, (type, torch.Tensor)):
        return False
    # a class attribute, or a function of the object itself: not a gradient that happens to be callable
    return hasattr(type(obj), name) or isinstance(obj, type) or inspect.isroutine(method)


def _own_functions(obj: Any) -> dict[str, FunctionType]:
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


def _reached(functions: dict[str, FunctionType], start: str) -> set[str]:
    reached, todo = set[str](), [start]
    while todo:
        name = todo.pop()
        if name in functions and name not in reached:
            reached.add(name)
            todo += _words(functions[name].__code__) & functions.keys()
    return reached


def _words(code: CodeType) -> set[str]:
    return {name for each in _codes(code) for name in each.co_names}


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
