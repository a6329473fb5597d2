"""The lines of a hand-written backward, and those among them that make one of its gradients."""

from __future__ import annotations

import ast
import inspect
import linecache
import re
from collections.abc import Iterator
from types import CodeType
from typing import Any

from gradcheck_lab.model.limits import SHOWN_LINES
from gradcheck_lab.model.source_lines import SourceLines
from gradcheck_lab.subjects.code.source import plain_function

_AFFIXES = re.compile(r"^(d_?|grad_?(of_|wrt_|input_)?|g_)|(_?grad(ient)?s?|_bar)$")


def source_of(function: Any, position: int | None, name: str | None) -> SourceLines | None:
    """The lines of a function of the user; blamed are those that make the gradient at `position` or of `name`.

    None where no source can be found. Nothing is blamed where the code does not say which line makes which gradient.
    """
    plain = plain_function(function)
    if plain is None:
        return None
    try:
        lines, start = inspect.getsourcelines(plain)
    except (OSError, TypeError, IndexError, SyntaxError):
        return None
    tree = _tree(plain.__code__, start)
    blamed = sorted(set(_blamed(tree, position, name))) if tree is not None else []
    kept = slice(0, SHOWN_LINES.value)
    if len(lines) > SHOWN_LINES.value and blamed:
        before = max(0, min(blamed[0] - start - SHOWN_LINES.value // 2, len(lines) - SHOWN_LINES.value))
        kept = slice(before, before + SHOWN_LINES.value)
    shown = tuple(line.rstrip() for line in lines[kept])
    return SourceLines(start + kept.start, shown, tuple(k for k in blamed if 0 <= k - start - kept.start < len(shown)))


def _tree(code: CodeType, start: int) -> ast.FunctionDef | ast.Lambda | None:
    """The function that begins, with its decorators, at line `start`; a lambda is known by its arguments."""
    try:
        module = ast.parse("".join(linecache.getlines(code.co_filename)))
    except (SyntaxError, ValueError, RecursionError):
        return None
    if code.co_name == "<lambda>":
        names = list(code.co_varnames[: code.co_argcount])
        lambdas = (f for f in ast.walk(module) if isinstance(f, ast.Lambda) and f.lineno == code.co_firstlineno)
        there = [f for f in lambdas if [each.arg for each in (*f.args.posonlyargs, *f.args.args)] == names]
        return there[0] if len(there) == 1 else None
    named = (node for node in ast.walk(module) if isinstance(node, ast.FunctionDef) and node.name == code.co_name)
    return next((f for f in named if start == min([f.lineno, *(each.lineno for each in f.decorator_list)])), None)


def _blamed(tree: ast.FunctionDef | ast.Lambda, position: int | None, name: str | None) -> Iterator[int]:
    own = list(_own_nodes(tree))
    returned: list[ast.expr | None] = [node.value for node in own if isinstance(node, ast.Return)]
    if isinstance(tree, ast.Lambda):
        returned = [tree.body]
    for value in returned:
        entry = _entry(value, position, name)
        if isinstance(entry, ast.Name):
            made = [each.lineno for each in own if entry.id in _assigned(each)]
            yield from made or [entry.lineno]
        elif entry is not None:
            yield from range(entry.lineno, (entry.end_lineno or entry.lineno) + 1)
    if name is not None:
        for node in own:
            if any(_is_gradient_of(text, name) for text in _stored(node)):
                yield node.lineno


def _own_nodes(tree: ast.AST) -> Iterator[ast.stmt | ast.expr]:
    """The nodes of a function without those of the functions in it."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
            continue
        if isinstance(child, (ast.stmt, ast.expr)):
            yield child
        yield from _own_nodes(child)


def _entry(value: ast.expr | None, position: int | None, name: str | None) -> ast.expr | None:
    """The part of what is returned that is the gradient; None where that is not plain."""
    if isinstance(value, ast.Dict):
        keys = {key.value: each for key, each in zip(value.keys, value.values, strict=True) if isinstance(key, ast.Constant)}
        return next((each for key, each in keys.items() if name is not None and _is_gradient_of(str(key), name)), None)
    if isinstance(value, (ast.Tuple, ast.List)):
        if position is None or position >= len(value.elts) or any(isinstance(each, ast.Starred) for each in value.elts):
            return None
        return value.elts[position]
    return value if position == 0 else None


def _assigned(node: ast.AST) -> set[str]:
    """The variables that a statement assigns, or writes into."""
    return {found.id for target in _targets(node) for found in ast.walk(target) if isinstance(found, ast.Name)}


def _stored(node: ast.AST) -> Iterator[str]:
    """The attributes, and the constant keys of entries, that a statement assigns."""
    for target in _targets(node):
        for found in ast.walk(target):
            if isinstance(found, ast.Attribute) and isinstance(found.ctx, ast.Store):
                inner = found.value
                yield inner.attr if found.attr in ("grad", "gradient") and isinstance(inner, ast.Attribute) else found.attr
            elif isinstance(found, ast.Subscript) and isinstance(found.slice, ast.Constant):
                yield str(found.slice.value)


def _targets(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, (ast.AugAssign, ast.AnnAssign)) else []


def _is_gradient_of(text: str, name: str) -> bool:
    """Whether `dW`, `grad_W` or `W_grad` is called after `W`."""
    last = re.split(r"[.\[\]'\" ]+", name.rstrip("']\""))[-1]
    return bool(last) and (text == last or _AFFIXES.sub("", text) == last)
