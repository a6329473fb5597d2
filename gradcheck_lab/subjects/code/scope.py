"""What expressions in the source of a function stand for, as far as that is known without running it."""

from __future__ import annotations

import ast
import inspect
from collections import ChainMap
from types import FunctionType, ModuleType
from typing import Any

from gradcheck_lab.subjects.code.facts import name_of

PLAIN = (bool, int, float, str, type(None))


class Scope:
    """The names that a function sees, with `self` for `owner` where it is a method of it."""

    def __init__(self, function: FunctionType, owner: Any) -> None:
        code = function.__code__
        held = zip(code.co_freevars, function.__closure__ or (), strict=False)
        self.space = ChainMap({name: value for name, cell in held for value in _contents(cell)}, function.__globals__)
        self.locals = frozenset(code.co_varnames)
        is_method = owner is not None and code.co_argcount and getattr(type(owner), function.__name__, None) is not None
        self.own, self.owner = code.co_varnames[0] if is_method else None, owner

    def is_own(self, node: ast.expr) -> bool:
        """Whether an expression is the object itself: `self`."""
        return isinstance(node, ast.Name) and node.id == self.own

    def constant(self, node: ast.expr) -> list[Any]:
        """The plain value of an expression in a list, which is empty for any other."""
        if isinstance(node, ast.Constant):
            return [node.value] if isinstance(node.value, PLAIN) else []
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return [-v for v in self.constant(node.operand) if isinstance(v, (int, float))]
        if isinstance(node, ast.Call) and name_of(node.func) == "float" and len(node.args) == 1:
            words = [v for v in self.constant(node.args[0]) if isinstance(v, str)]
            return [float(word) for word in words if word.strip("+-").lower() in ("inf", "infinity")]
        return [v for v in self.value(node) if isinstance(v, PLAIN) and not isinstance(v, type(None))]

    def members(self, node: ast.expr, of_dicts: bool = False) -> list[Any]:
        """The plain members of a container, or the keys of a dict, that an expression is."""
        if isinstance(node, ast.Dict):
            return [v for key in node.keys if key is not None for v in self._key(key)]
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)) and not of_dicts:
            return [v for each in node.elts for v in self.constant(each)]
        kinds = dict if of_dicts else (tuple, list, set, frozenset, dict)
        return [v for found in self.value(node) if isinstance(found, kinds) for v in found]

    def _key(self, node: ast.expr) -> list[Any]:
        if isinstance(node, ast.Tuple):
            parts = [self.constant(each) for each in node.elts]
            return [tuple(part[0] for part in parts)] if all(parts) else []
        return self.constant(node)

    def value(self, node: ast.expr) -> list[Any]:
        """What a name stands for in the module, around the function, on a class or on the object, in a list."""
        if isinstance(node, ast.Name):
            return [self.space[node.id]] if node.id in self.space and node.id not in self.locals else []
        if not isinstance(node, ast.Attribute):
            return []
        holders = [self.owner] if self.is_own(node.value) else self.value(node.value)
        found = [inspect.getattr_static(holder, node.attr, None) for holder in holders
                 if holder is self.owner or isinstance(holder, (type, ModuleType))]  # fmt: skip
        return [each for each in found if each is not None]


def _contents(cell: Any) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:  # not bound yet
        return []
