"""What the source of functions says of names: constants they are compared with, conditions and calls that read them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_UNCHANGED = frozenset("lower upper strip casefold".split())  # methods of a string that tell its words apart as before


@dataclass(slots=True)
class Facts:
    """What functions say of names; an attribute, an entry of a dict and a variable of one name are taken for the same.

    `compared` are constants that a name is compared with, `beside` numbers that it is compared with by size, `tested` the names
    read as a condition or compared with None, `together` the names read in one condition or in conditions within one another,
    or as arguments of one call.
    `same` are the names that a name is a copy of, `decided_by` those of a condition whose truth it is, `made_of` those of any
    other expression that it is. `read` are all names that are read.
    """

    compared: dict[str, list[Any]] = field(default_factory=dict)
    beside: dict[str, list[float]] = field(default_factory=dict)
    tested: set[str] = field(default_factory=set)
    together: list[frozenset[str]] = field(default_factory=list)
    same: dict[str, set[str]] = field(default_factory=dict)
    decided_by: dict[str, set[str]] = field(default_factory=dict)
    made_of: dict[str, set[str]] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)

    def copies_of(self, name: str) -> set[str]:
        """The names whose value is that of `name`, itself included."""
        return _reached(name, _inverse(self.same))

    def sources_of(self, name: str) -> set[str]:
        """The names that the value of `name` is made of, itself included."""
        return _reached(name, _joined(self.same, self.decided_by, self.made_of))

    def tells(self, name: str) -> set[str]:
        """The names whose value `name` tells, as a copy or as the truth of a condition of them; itself included."""
        return _reached(name, _joined(self.same, self.decided_by))


def _joined(*several: Mapping[str, set[str]]) -> dict[str, set[str]]:
    return {key: set().union(*(links.get(key, ()) for links in several)) for links in several for key in links}


def _reached(start: str, links: Mapping[str, set[str]]) -> set[str]:
    found, todo = set[str](), [start]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += links.get(name, ())
    return found


def _inverse(links: Mapping[str, set[str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, others in links.items():
        for other in others:
            found.setdefault(other, set()).add(name)
    return found


def name_of(node: ast.AST | None) -> str | None:
    """The name that an expression reads: of a variable, an attribute, an entry with a constant key; None for any other."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
        return node.slice.value
    if isinstance(node, ast.NamedExpr):
        return name_of(node.target)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        key = node.args[0] if node.args else None
        if node.func.attr in _UNCHANGED and key is None:
            return name_of(node.func.value)
        if node.func.attr in ("get", "pop") and isinstance(key, ast.Constant) and isinstance(key.value, str):
            return key.value
    return None


def names_in(node: ast.AST) -> set[str]:
    """All names that an expression reads."""
    return {name for each in ast.walk(node) if (name := name_of(each)) is not None}
