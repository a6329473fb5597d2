"""The attributes of an object that are options of its constructor, which only stores them."""

from __future__ import annotations

import ast
import dataclasses
from typing import Any

from gradcheck_lab.subjects.code.source import plain_function, trees_of


def constructor_options(owner: Any) -> dict[str, Any]:
    """The plain values that the constructor was given and only stored, by attribute: another value makes no other object.

    What the constructor computes with, as the width of a weight, is none of them.
    """
    held = getattr(owner, "__dict__", {})
    if dataclasses.is_dataclass(owner):
        names = {f.name for f in dataclasses.fields(owner) if f.init} if not hasattr(owner, "__post_init__") else set()
    else:
        names = _only_stored(type(owner))
    return {name: held[name] for name in held if name in names and isinstance(held[name], (bool, int, float, str))}


def _only_stored(kind: type) -> set[str]:
    function = plain_function(getattr(kind, "__init__", None))
    trees = trees_of(function.__code__) if function is not None else ()
    if function is None or not trees:
        return set()
    own, *parameters = function.__code__.co_varnames[: function.__code__.co_argcount + function.__code__.co_kwonlyargcount]
    read = [each.id for each in ast.walk(trees[0]) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)]
    attributes = [each for each in ast.walk(trees[0]) if isinstance(each, ast.Attribute)]
    used = {each.attr for each in attributes if isinstance(each.ctx, ast.Load)}
    stored = [each.attr for each in attributes if isinstance(each.ctx, ast.Store)]
    return {
        attribute
        for name, attribute in _stores(trees[0], own)
        if name in parameters and read.count(name) == 1 and attribute not in used and stored.count(attribute) == 1
    }


def _stores(tree: ast.AST, own: str) -> list[tuple[str, str]]:
    """The names that are stored as they are, each with the attribute that it is stored as."""
    pairs: list[tuple[ast.expr, ast.expr]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            pairs.append((node.target, node.value))
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
            several = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts)
            pairs += zip(target.elts, value.elts, strict=True) if several else [(target, value)]  # type: ignore[attr-defined]
    return [
        (value.id, target.attr)
        for target, value in pairs
        if isinstance(value, ast.Name)
        and isinstance(target, ast.Attribute)
        and isinstance(target.value, ast.Name)
        and target.value.id == own
    ]
