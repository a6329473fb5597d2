"""Paths from an object to its arrays, over attributes, list items and dict entries: `layers[0].W`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

from gradcheck_lab.torch_internals import registered

_STEP = re.compile(r"\.?([A-Za-z_]\w*)|\[(-?\d+)\]|\[(?:'([^']*)'|\"([^\"]*)\")\]")
_DEEPEST = 6
_LONGEST = 4096
_LIBRARIES = (sys.stdlib_module_names | {"numpy", "torch", "scipy", "pandas", "matplotlib"}) - {"__main__"}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path: an attribute's name, or the key of a list or dict."""

    key: Any
    attribute: bool


@dataclass(frozen=True, slots=True)
class ObjectPath:
    """A path from a root object to a value; the methods take the root, or a copy of it."""

    steps: tuple[Step, ...] = ()

    def __str__(self) -> str:
        parts = (f".{step.key}" if step.attribute else f"[{step.key!r}]" for step in self.steps)
        return "".join(parts).removeprefix(".")

    def attribute(self, name: str) -> ObjectPath:
        return ObjectPath((*self.steps, Step(name, True)))

    def item(self, key: Any) -> ObjectPath:
        return ObjectPath((*self.steps, Step(key, False)))

    @property
    def last(self) -> Step:
        return self.steps[-1]

    def owner(self, root: Any) -> Any:
        """The object, list or dict that the last step of the path is taken on."""
        return ObjectPath(self.steps[:-1]).get(root)

    @property
    def holder(self) -> tuple[tuple[Step, ...], str]:
        """The steps to the object that the value belongs to, and the name of its list or dict there ("" for an attribute)."""
        attribute = max(k for k, step in enumerate(self.steps) if step.attribute)
        inside = attribute < len(self.steps) - 1
        return self.steps[:attribute], str(self.steps[attribute].key) if inside else ""

    def get(self, root: Any) -> Any:
        """The value at this path; raises AttributeError, LookupError or TypeError for a wrong path."""
        for step in self.steps:
            root = getattr(root, step.key) if step.attribute else root[step.key]
        return root

    def find(self, root: Any) -> Any:
        """The value at this path, None for a wrong path."""
        try:
            return self.get(root)
        except (AttributeError, LookupError, TypeError):
            return None

    def set(self, root: Any, value: Any) -> None:
        owner = self.owner(root)
        if self.last.attribute:
            setattr(owner, self.last.key, value)
        else:
            owner[self.last.key] = value


def read_path(text: str) -> ObjectPath | None:
    """Read a path as users write it: "W", "params[0]", "grads['W']", "layers[1].dW"; None for any other text.

    >>> str(read_path("layers[1].grads['W']"))
    "layers[1].grads['W']"
    """
    path, position = ObjectPath(), 0
    while found := _STEP.match(text, position):
        name, index, *keys = found.groups()
        if name is not None and position and not found.group().startswith("."):
            return None
        position = found.end()
        if name is not None:
            path = path.attribute(name)
        else:
            path = path.item(int(index) if index is not None else next(key for key in keys if key is not None))
    return path if path.steps and position == len(text) else None


def is_array(value: Any) -> bool:
    """Whether `value` is a floating or complex array or tensor."""
    if isinstance(value, torch.Tensor):
        return value.is_floating_point() or value.is_complex()
    return isinstance(value, np.ndarray) and value.dtype.kind in "fc"


def is_number(value: Any) -> bool:
    """Whether `value` is a Python or NumPy floating number."""
    return isinstance(value, (float, np.floating))


def attributes(owner: Any) -> dict[str, Any]:
    """The attributes of an object by name, with the parameters, buffers and children of an `nn.Module`."""
    found = dict(getattr(owner, "__dict__", {}))
    for kind in type(owner).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(owner, name):
                found[name] = getattr(owner, name)
    if isinstance(owner, torch.nn.Module):
        found = {name: value for name, value in found.items() if name not in vars(torch.nn.Module())}
        found |= registered(owner)
    return found


def held_by(owner: Any) -> dict[str, Any]:
    """The attributes of an object by name, and the entries of its dicts by key."""
    found = attributes(owner)
    inner = [value for value in found.values() if isinstance(value, dict)]
    return {**{str(key): value for each in inner for key, value in each.items()}, **found}


def owners(root: Any) -> Iterator[tuple[ObjectPath, Any]]:
    """`root` and every object under it that may hold parameters of its own: layers, and objects with a gradient field."""
    seen: set[int] = set()
    todo: list[tuple[ObjectPath, Any]] = [(ObjectPath(), root)]
    while todo:
        path, owner = todo.pop(0)
        if id(owner) in seen or len(path.steps) > _DEEPEST:
            continue
        seen.add(id(owner))
        if isinstance(owner, (list, tuple, dict)):
            todo += [(path.item(key), value) for key, value in entries(owner)]
        elif not path.steps or _may_hold(owner):
            yield path, owner
            todo += [(path.attribute(name), value) for name, value in attributes(owner).items()]


def entries(container: Any) -> list[tuple[Any, Any]]:
    """The keys and values of a list, tuple or dict; empty for a container that is too long to hold parameters."""
    if len(container) > _LONGEST:
        return []
    return list(container.items() if isinstance(container, dict) else enumerate(container))


def arrays(root: Any) -> Iterator[tuple[ObjectPath, Any]]:
    """Every floating array or tensor under `root`, with each path to it."""
    for path, owner in owners(root):
        for name, value in attributes(owner).items():
            yield from _arrays_in(path.attribute(name), value)


def _arrays_in(path: ObjectPath, value: Any) -> Iterator[tuple[ObjectPath, Any]]:
    if is_array(value):
        yield path, value
    elif isinstance(value, (list, tuple, dict)) and len(path.steps) <= _DEEPEST:
        for key, inner in entries(value):
            yield from _arrays_in(path.item(key), inner)


def _may_hold(value: Any) -> bool:
    """Whether a value is an object of the user's, or a module: not one of Python's own, NumPy's or torch's."""
    if isinstance(value, (type, FunctionType, MethodType, ModuleType, torch.Tensor, np.ndarray, str, bytes, int, float)):
        return False
    if isinstance(value, torch.nn.Module):
        return True
    return is_user_class(type(value)) and bool(attributes(value))


def is_user_class(kind: type) -> bool:
    """Whether a class is none of Python's own, NumPy's or torch's."""
    return kind.__module__.partition(".")[0] not in _LIBRARIES
