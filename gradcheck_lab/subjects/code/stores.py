"""The attributes that a function stores on either side of a condition on one of its names."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Any

from gradcheck_lab.subjects.code.facts import names_in
from gradcheck_lab.subjects.code.source import plain_function, trees_of


def stored_on_both_sides(function: Any, name: str) -> set[str]:
    """The attributes that a function stores where a condition that reads `name` is met, and otherwise where it is not.

    What follows an `if` that ends in `return` runs where its condition is not met.
    """
    plain = plain_function(function)
    trees = trees_of(plain.__code__) if plain is not None else ()
    return {each for tree in trees for met, unmet in _sides(getattr(tree, "body", []), name) for each in met & unmet}


def _sides(block: Any, name: str) -> Iterator[tuple[set[str], set[str]]]:
    for place, statement in enumerate(block if isinstance(block, list) else []):
        inner = [getattr(statement, part, []) for part in ("body", "orelse")]
        for each in inner:
            yield from _sides(each, name)
        if isinstance(statement, ast.If) and name in names_in(statement.test):
            met, unmet = map(_stored, inner)
            ends = [bool(each) and isinstance(each[-1], ast.Return | ast.Raise) for each in inner]
            rest = _stored(block[place + 1 :])
            yield met | (rest if ends[1] else set()), unmet | (rest if ends[0] else set())


def _stored(statements: Sequence[ast.stmt]) -> set[str]:
    nodes = (node for statement in statements for node in ast.walk(statement))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
