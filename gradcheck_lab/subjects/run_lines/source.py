"""The source of a code object as a tree: its definition, its statements, and the lines that it runs."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType

from gradcheck_lab.model.limits import READ_LINES

Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
INNER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def scope_of(code: CodeType) -> Scope | None:
    """The definition of a function; None where its source cannot be read, and for what is no function, as a comprehension."""
    lines = linecache.getlines(code.co_filename)
    if not lines or len(lines) > READ_LINES.value:
        return None
    found = [s for s in _scopes(code.co_filename, "".join(lines)).get(code.co_firstlineno, ()) if _name(s) == code.co_name]
    if len(found) == 1:
        return found[0]
    at = _start(code)
    return next((s for s in reversed(found) if isinstance(s, ast.Lambda) and _holds(s.body, at)), None)


def lines_of(code: CodeType) -> frozenset[int]:
    """The lines for which a code object has instructions."""
    return frozenset(line for _, _, line in code.co_lines() if line is not None)


def suites(statement: ast.AST) -> Iterator[list[ast.stmt]]:
    """The blocks of statements within a statement."""
    for name in ("body", "orelse", "finalbody"):
        block = getattr(statement, name, None)
        if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
            yield block
    for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        yield part.body


def own_lines(statement: ast.stmt) -> range:
    """The lines of a statement without those of the blocks within it."""
    inner = [each.lineno for block in suites(statement) for each in block]
    end = statement.end_lineno or statement.lineno
    return range(statement.lineno, max(statement.lineno + 1, min(inner)) if inner else end + 1)


def statements(scope: Scope) -> Iterator[ast.stmt]:
    """Every statement of a function, without those of functions and classes defined in it."""
    todo = [] if isinstance(scope, ast.Lambda) else list(reversed(scope.body))
    while todo:
        statement = todo.pop()
        yield statement
        if not isinstance(statement, INNER):
            todo += reversed([each for block in suites(statement) for each in block])


@lru_cache(maxsize=32)
def _scopes(file: str, text: str) -> dict[int, list[Scope]]:
    """The functions of a file by the line in which their code begins: that of the first decorator."""
    found: dict[int, list[Scope]] = {}
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return found
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found.setdefault(min([node.lineno, *(d.lineno for d in node.decorator_list)]), []).append(node)
        elif isinstance(node, ast.Lambda):
            found.setdefault(node.lineno, []).append(node)
    return found


def _name(scope: Scope) -> str:
    return "<lambda>" if isinstance(scope, ast.Lambda) else scope.name


def _start(code: CodeType) -> tuple[int, int]:
    """The first place of an expression that the code has an instruction for."""
    places = [(line, column) for line, _, column, _ in code.co_positions() if line is not None and column is not None]
    return min((place for place in places if place != (code.co_firstlineno, 0)), default=(0, 0))


def _holds(node: ast.expr, at: tuple[int, int]) -> bool:
    end = (node.end_lineno or node.lineno, node.end_col_offset or 0)
    return (node.lineno, node.col_offset) <= at < end
