"""The leaves that a function over nodes holds itself: the weights of a network of micrograd's, in its object or its closure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import CodeType, FunctionType, MethodType
from typing import Any

from gradcheck_lab.subjects.forms.nodes import NodeClass, node_class
from gradcheck_lab.subjects.layers.arguments import built
from gradcheck_lab.subjects.layers.paths import ObjectPath, attributes, entries, is_user_class, owners


@dataclass(frozen=True, slots=True)
class HeldNode:
    """A node at a `path` from an object of the user's, or from the names of a closure or module."""

    name: str
    root: Any
    path: ObjectPath

    def get(self) -> Any:
        """The node that stands there."""
        return self.path.get(self.root)

    def put(self, node: Any) -> None:
        """Let another node, or a number, stand there."""
        self.path.set(self.root, node)


@dataclass(frozen=True, slots=True)
class HoldingFunction:
    """A function over nodes with the leaves that it holds: its inputs are `layout`, the last leaves of a call are `held`."""

    function: Callable[..., Any]
    layout: tuple[Any, ...]
    held: tuple[HeldNode, ...] = ()

    def __call__(self, leaves: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """Call it with these leaves; afterwards it holds its own again."""
        own = [each.get() for each in self.held]
        try:
            for each, node in zip(self.held, leaves[len(leaves) - len(own) :], strict=True):
                each.put(node)
            return self.function(*[built(place, leaves) for place in self.layout], **options)
        finally:
            for each, node in zip(self.held, own, strict=True):
                each.put(node)


class _Names:
    """Names of a closure or module as attributes; a copy of a function has the same ones, and so has a copy of this."""

    def __init__(self, get: Callable[[str], Any], put: Callable[[str, Any], None]) -> None:
        self.__dict__.update(get=get, put=put)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["get"](name)
        except (LookupError, ValueError) as error:
            raise AttributeError(name) from error

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__["put"](name, value)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Names:
        return self


def held_nodes(function: Any, kind: type) -> tuple[HeldNode, ...]:
    """The nodes of a class that a function holds, each once: on its object, or in what its code names in closure and module."""
    found: dict[int, HeldNode] = {}
    for root, path in _roots(function):
        for place, node in _nodes_at(path, path.get(root), kind):
            found.setdefault(id(node), HeldNode(str(place), root, place))
    return tuple(found.values())


def node_class_held(function: Any) -> NodeClass | None:
    """The only class of nodes among what an object holds in its attributes, and in lists and dicts of these."""
    kinds = {type(value) for _, owner in owners(function) for each in attributes(owner).values() for value in _inside(each)}
    found = [nodes for kind in kinds if is_user_class(kind) and (nodes := node_class(kind)) is not None]
    return found[0] if len(found) == 1 else None


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, dict)):
        for _, inner in entries(value):
            yield from _inside(inner)
    else:
        yield value


def _roots(function: Any) -> Iterator[tuple[Any, ObjectPath]]:
    """What to look through: what it hangs on, and the path to it from there."""
    if isinstance(function, MethodType):
        yield function.__self__, ObjectPath()
    if not isinstance(function, (FunctionType, MethodType, type)):
        yield function, ObjectPath()
    code = inspect.unwrap(function) if isinstance(function, FunctionType) else None
    if not isinstance(code, FunctionType):
        return
    cells = dict(zip(code.__code__.co_freevars, code.__closure__ or (), strict=True))
    closure = _Names(lambda name: cells[name].cell_contents, lambda name, value: setattr(cells[name], "cell_contents", value))
    module = _Names(code.__globals__.__getitem__, code.__globals__.__setitem__)
    for name in cells:
        with suppress(ValueError):  # a cell that is not filled yet
            closure.get(name)
            yield closure, ObjectPath().attribute(name)
    for name in _names_in(code.__code__):
        if name in code.__globals__:
            yield module, ObjectPath().attribute(name)


def _names_in(code: CodeType) -> set[str]:
    inner = [_names_in(each) for each in code.co_consts if isinstance(each, CodeType)]
    return set(code.co_names).union(*inner)


def _nodes_at(path: ObjectPath, value: Any, kind: type) -> Iterator[tuple[ObjectPath, Any]]:
    """The nodes under a value, with their paths."""
    if isinstance(value, kind):
        yield path, value
    elif isinstance(value, (list, dict)):
        for key, inner in entries(value):
            yield from _nodes_at(path.item(key), inner, kind)
    elif is_user_class(type(value)) and not isinstance(value, (type, FunctionType, MethodType)):
        for place, owner in owners(value):
            if not isinstance(owner, kind):
                for name, inner in attributes(owner).items():
                    if isinstance(inner, (kind, list, dict)):
                        yield from _only_nodes(ObjectPath((*path.steps, *place.attribute(name).steps)), inner, kind)


def _only_nodes(path: ObjectPath, value: Any, kind: type) -> Iterator[tuple[ObjectPath, Any]]:
    """The nodes in a list or dict, not those of objects in it, which are owners themselves."""
    if isinstance(value, kind):
        yield path, value
    elif isinstance(value, (list, dict)):
        for key, inner in entries(value):
            yield from _only_nodes(path.item(key), inner, kind)
