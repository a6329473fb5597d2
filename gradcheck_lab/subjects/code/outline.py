"""What `reader` visits of the source of a function: found once for each function, and kept."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType

from gradcheck_lab.subjects.code.source import trees_of

_SAYS_SOMETHING = (
    ast.Compare, ast.If, ast.IfExp, ast.While, ast.BoolOp, ast.UnaryOp, ast.Match, ast.Subscript, ast.Call, ast.Assign,
    ast.NamedExpr,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outline:
    """The syntax trees of a function, and the names that it reads: of variables, attributes and keys."""

    trees: tuple[ast.AST, ...]
    read: frozenset[str]


@lru_cache(maxsize=256)
def outline_of(code: CodeType) -> Outline:
    """Read the source of a function once."""
    trees = trees_of(code)
    for tree in trees:
        _link(tree)
    return Outline(trees, frozenset(name for tree in trees for node in ast.walk(tree) for name in _read(node)))


def children_of(node: ast.AST) -> Sequence[ast.AST]:
    """The nearest nodes within a node of an outline that say something of names."""
    found: Sequence[ast.AST] = vars(node)["within"]
    return found


def _link(node: ast.AST) -> list[ast.AST]:
    """Keep at each node the nearest ones within it that say something; return them for the node itself."""
    within = [each for child in ast.iter_child_nodes(node) for each in _link(child)]
    vars(node)["within"] = within
    return [node] if isinstance(node, _SAYS_SOMETHING) else within


def _read(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        yield node.attr
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():  # a key
        yield node.value
