"""The syntax trees of the user's functions."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

_LIBRARIES = frozenset("torch numpy scipy".split())


def plain_function(value: Any) -> FunctionType | None:
    """The function behind a method or a wrapper; None for those of torch and NumPy, and for what is none."""
    found = getattr(value, "__func__", value)
    found = inspect.unwrap(found) if callable(found) else found
    if not isinstance(found, FunctionType) or str(found.__module__).partition(".")[0] in _LIBRARIES:
        return None
    return found


@lru_cache(maxsize=256)
def trees_of(code: CodeType) -> tuple[ast.AST, ...]:
    """The syntax trees of a function: of a `lambda` that of each on its line."""
    try:
        lines, start = inspect.findsource(code)
        if code.co_name != "<lambda>":
            return (ast.parse(textwrap.dedent("".join(inspect.getblock(lines[start:])))).body[0],)
        tree = ast.parse("".join(lines))
    except (OSError, TypeError, SyntaxError, ValueError, RecursionError):
        return ()
    return tuple(node for node in ast.walk(tree) if isinstance(node, ast.Lambda) and node.lineno == code.co_firstlineno)
