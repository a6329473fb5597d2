"""Classes whose objects are nodes of a graph: which they are, how a leaf is made, and what it holds."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from gradcheck_lab.rules.graph import GRADIENTS, VALUES
from gradcheck_lab.subjects.layers.paths import is_user_class


@dataclass(frozen=True, slots=True)
class NodeClass:
    """A class of nodes; `value` and `gradient` are the attributes that hold a node's number or array and its gradient."""

    kind: type
    value: str
    gradient: str

    def leaf(self, value: Any) -> Any:
        """A leaf that holds `value`."""
        return self.kind(value)

    def value_of(self, node: Any) -> Any:
        """The number or array that a node holds."""
        return getattr(node, self.value)

    def gradient_of(self, node: Any) -> Any:
        """The gradient of a node as a number or array, also where it is a node itself; None where there is none."""
        found = getattr(node, self.gradient, None)
        return self.value_of(found) if isinstance(found, self.kind) else found


def node_class(kind: Any) -> NodeClass | None:
    """Read a class of nodes by making a leaf of it; None for any other class."""
    if not isinstance(kind, type) or not is_user_class(kind) or not callable(getattr(kind, "backward", None)):
        return None
    if not _words_of(kind) & set(GRADIENTS):  # nothing is made of a class that keeps no gradient
        return None
    for number in (0.5, np.array(0.5)):
        try:
            leaf = kind(number)
        except Exception:
            continue
        value = next((name for name in VALUES if _holds(leaf, name, number)), None)
        gradient = next((name for name in GRADIENTS if hasattr(leaf, name) and not callable(getattr(leaf, name))), None)
        if value is not None and gradient is not None:
            return NodeClass(kind, value, gradient)
    return None


def node_class_among(values: Sequence[Any]) -> NodeClass | None:
    """The class of the nodes among the inputs, in lists of them too."""
    for value in values:
        inner = value if isinstance(value, (list, tuple)) else value.values() if isinstance(value, dict) else ()
        found = node_class_among(list(inner)) if inner else node_class(type(value))
        if found is not None:
            return found
    return None


def node_class_named_by(function: Callable[..., Any]) -> NodeClass | None:
    """The only class of nodes that a function, or what it calls in the user's own modules, names; None where there is none."""
    found = {kind.kind: kind for value in _named(function, set()) if (kind := node_class(value)) is not None}
    return next(iter(found.values())) if len(found) == 1 else None


def node_class_beside(function: Callable[..., Any]) -> NodeClass | None:
    """The only class of nodes in the module of a function, or in its closure."""
    code = inspect.unwrap(function)
    space: Mapping[str, Any] = getattr(code, "__globals__", {})
    found = {kind.kind: kind for value in list(space.values()) if (kind := node_class(value)) is not None}
    return next(iter(found.values())) if len(found) == 1 else None


def _named(function: Any, seen: set[int]) -> Iterator[Any]:
    function = inspect.unwrap(function) if callable(function) else function
    if not isinstance(function, FunctionType) or id(function) in seen or len(seen) > 64:
        return
    seen.add(id(function))
    free = function.__code__.co_freevars
    cells = zip(free, function.__closure__ or (), strict=True)
    space = {**function.__globals__, **{name: _content(cell) for name, cell in cells}}
    words = (*function.__code__.co_names, *free)
    for word in words:
        value = space.get(word)
        if isinstance(value, ModuleType):
            yield from (getattr(value, other, None) for other in words if isinstance(getattr(value, other, None), type))
        elif isinstance(value, type):
            yield value
        elif isinstance(value, FunctionType):
            yield from _named(value, seen)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is filled later
        return None


def _words_of(kind: type) -> set[str]:
    made = [vars(each).get("__init__") for each in kind.__mro__]
    words = {name for function in made if isinstance(function, FunctionType) for name in function.__code__.co_names}
    return words | {str(name) for each in kind.__mro__ for name in (*vars(each), *vars(each).get("__slots__", ()),
                                                                    *vars(each).get("__annotations__", ()))}  # fmt: skip


def _holds(leaf: Any, name: str, number: Any) -> bool:
    held = getattr(leaf, name, None)
    try:
        return not callable(held) and bool(held == number)
    except Exception:
        return False
