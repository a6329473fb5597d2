"""An edit by which the statement that another edit changes raises, to see whether it is ever run."""

from __future__ import annotations

import ast
from dataclasses import replace

from gradcheck_lab.edits.edit import Edit


def raising(edit: Edit) -> Edit | None:
    """The edit that puts `raise` before the statement; None where none can stand there, as before `elif`.

    >>> print(raising(Edit("double", "f", "a.py", 2, "def f(x):\\n    return x\\n", "")).text)
    def f(x):
        raise AssertionError
        return x
    <BLANKLINE>
    """
    tree = ast.parse(edit.original)
    around = [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and node.lineno <= edit.line <= _end(node)]
    if not around:
        return None
    statement = min(around, key=lambda node: (_end(node) - node.lineno, -node.col_offset))
    lines = edit.original.splitlines(keepends=True)
    first = statement.lineno - 1
    text = "".join([*lines[:first], f"{' ' * statement.col_offset}raise AssertionError\n", *lines[first:]])
    try:
        ast.parse(text)
    except SyntaxError:
        return None
    return replace(edit, kind="raising", line=statement.lineno, text=text)


def _end(node: ast.stmt) -> int:
    """The last line of a statement, or of what stands before its block."""
    body = getattr(node, "body", None)
    return body[0].lineno - 1 if body and body[0].lineno > node.lineno else node.end_lineno or node.lineno
