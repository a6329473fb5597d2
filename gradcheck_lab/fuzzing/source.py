"""The body of a function as lines of Python, its parameters replaced: what a printed reproduction is made of."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from functools import cache
from textwrap import dedent
from typing import Any


def assigned(function: Callable[..., Any], name: str, **arguments: str) -> list[str]:
    """Lines that assign what `function` returns to `name`; `arguments` are the expressions for its parameters.

    Its body is assignments and one `return` at the end. Returns nothing where `name` would be assigned to itself.

    >>> def halved(value):
    ...     half = value / 2
    ...     return half + 1
    >>> assigned(halved, "y", value="x")
    ['half = x / 2', 'y = half + 1']
    """
    *before, last = _body(function)
    assert isinstance(last, ast.Return)
    assert last.value is not None
    known = _numbers(function) | arguments
    lines = [_written(statement, known) for statement in before]
    result = _written(last.value, known)
    return lines if result == name else [*lines, f"{name} = {result}"]


def returned(function: Callable[..., Any], **arguments: str) -> str:
    """The one expression that `function` returns, with the expressions of `arguments` for its parameters."""
    (last,) = _body(function)
    assert isinstance(last, ast.Return)
    assert last.value is not None
    return _written(last.value, _numbers(function) | arguments)


@cache
def _body(function: Callable[..., Any]) -> tuple[ast.stmt, ...]:
    (definition,) = ast.parse(dedent(inspect.getsource(function))).body
    assert isinstance(definition, ast.FunctionDef)
    documented = ast.get_docstring(definition) is not None
    return tuple(definition.body[1:] if documented else definition.body)


def _numbers(function: Callable[..., Any]) -> dict[str, str]:
    """The numbers that stand beside a function in its module, by name: the printed lines have them as literals."""
    return {name: repr(value) for name, value in function.__globals__.items() if type(value) in (int, float)}


def _written(node: ast.AST, arguments: dict[str, str]) -> str:
    class Replaced(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.AST:
            return ast.parse(arguments[name.id], mode="eval").body if name.id in arguments else name

    return ast.unparse(Replaced().visit(ast.parse(ast.unparse(node))))
