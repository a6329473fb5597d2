"""Run an edited file in the place of the original: the functions that are alive get the edited code, the file stays as it is.

Every function of the file that somebody holds - decorated, registered with torch, in a class, in a closure, in another module -
is the same object as before with other code, so that nothing is imported, registered or defined a second time.
"""

from __future__ import annotations
import __future__

import ast
import gc
import linecache
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

from gradcheck_lab.edits.edit import Edit
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.triton_internals import read_kernels_again

_Key = tuple[str, int, int]  # qualified name, first line, and the number among those that have both in common


def functions_alive(path: str) -> tuple[FunctionType, ...]:
    """The functions of a file that somebody holds; a tenth of a second in a process that has imported torch."""
    frozen = gc.get_freeze_count()
    if frozen:  # what a program sets apart from collection is in no list
        gc.unfreeze()
    found = tuple(v for v in gc.get_objects() if type(v) is FunctionType and v.__code__.co_filename == path)
    if frozen:
        gc.freeze()
    return found


@contextmanager
def applied(edit: Edit, among: Sequence[FunctionType] | None = None) -> Iterator[None]:
    """A block in which the functions of the file run, and `inspect` reads, what `edit.text` says.

    `among` are the functions of the file that are alive, where they were looked up already.

    Blocks may stand within one another, where the inner edit was made of the outer one's text. Raises `InvalidArgument` where
    no function that the edit changes is alive, or where one would need a variable of another function that it did not read.
    """
    changed = _changed_codes(edit)
    held: list[tuple[FunctionType, CodeType]] = []
    source = linecache.cache.get(edit.path)
    try:
        for function, code in _chosen(functions_alive(edit.path) if among is None else among, changed):
            held.append((function, function.__code__))
            _give(function, code, edit)
        if not held:
            raise InvalidArgument(f"no function {edit.function} of {edit.path} is alive; import its module first")
        _say(edit.path, edit.text)
        read_kernels_again([function for function, _ in held])
        yield
    finally:
        for function, code in reversed(held):
            function.__code__ = code
        if source is None:
            linecache.cache.pop(edit.path, None)
        else:
            linecache.cache[edit.path] = source
        read_kernels_again([function for function, _ in held])


@contextmanager
def edited(subject: Any, edit: Edit) -> Iterator[Any]:
    """A block in which the backward of `subject` is the edited one: the same object, which any check takes.

    >>> import gradcheck_lab as gl
    >>> import torch
    >>> from gradcheck_lab.edits.edits_of import edits_of
    >>> from gradcheck_lab.ops import mean
    >>> edit = next(each for each in edits_of(mean) if each.kind == "return-none")
    >>> with edited(mean, edit) as changed:
    ...     print(gl.check(changed, torch.ones(3)).verdict)
    fail
    >>> gl.check(mean, torch.ones(3)).verdict
    'pass'
    """
    with applied(edit):
        yield subject


def _changed_codes(edit: Edit) -> dict[_Key, tuple[CodeType, CodeType]]:
    """The code objects that differ between the two texts, before and after, by key."""
    original, text = _changed_statements(edit)
    flags = _future_features(edit.original)
    before, after = _codes_before(edit.path, original, flags), _codes(edit.path, text, flags)
    keep = {key: code.co_freevars for key, code in before.items() if key in after and code.co_freevars}
    if any(after[key].co_freevars != names for key, names in keep.items()):
        after = _codes(edit.path, text, flags, keep)
    return {key: (before[key], after[key]) for key in before if key in after and not _same(before[key], after[key])}


def _same(one: CodeType, other: CodeType) -> bool:
    return one == other and one.co_freevars == other.co_freevars


def _changed_statements(edit: Edit) -> tuple[str, str]:
    """The statements at the top of the file that the edit changes, before and after, on their own lines: few are compiled."""
    lines, others = edit.original.splitlines(keepends=True), edit.text.splitlines(keepends=True)
    start = 0
    while start < min(len(lines), len(others)) and lines[start] == others[start]:
        start += 1
    kept = 0
    while kept < min(len(lines), len(others)) - start and lines[-1 - kept] == others[-1 - kept]:
        kept += 1
    end = len(lines) - kept
    for first, last in _statements(edit.original):
        if first <= start < last or start <= first < end:
            start, end = min(start, first), max(end, last)
    added = len(others) - len(lines)
    return "\n" * start + "".join(lines[start:end]), "\n" * start + "".join(others[start : end + added])


@lru_cache(maxsize=8)
def _statements(text: str) -> tuple[tuple[int, int], ...]:
    """Where the statements at the top of a file begin and end, as a slice of its lines."""
    found = []
    for node in ast.parse(text).body:
        decorators: list[ast.expr] = getattr(node, "decorator_list", [])
        found.append((min([node.lineno, *(each.lineno for each in decorators)]) - 1, node.end_lineno or node.lineno))
    return tuple(found)


@lru_cache(maxsize=8)
def _future_features(text: str) -> int:
    """The flags of the compiler that the file asks for with `from __future__ import`."""
    names = [
        each.name
        for node in ast.parse(text).body if isinstance(node, ast.ImportFrom) and node.module == "__future__"
        for each in node.names
    ]  # fmt: skip
    return sum(getattr(__future__, name).compiler_flag for name in set(names))


@lru_cache(maxsize=32)
def _codes_before(path: str, text: str, flags: int) -> dict[_Key, CodeType]:
    return _codes(path, text, flags)


def _codes(path: str, text: str, flags: int, keep: dict[_Key, tuple[str, ...]] | None = None) -> dict[_Key, CodeType]:
    tree = ast.parse(text)
    if keep:
        tree = ast.fix_missing_locations(_KeepsVariables(keep).visit(tree))
    found: dict[_Key, CodeType] = {}
    for code in _within(compile(tree, path, "exec", flags, dont_inherit=True)):
        number = 0
        while (key := (code.co_qualname, code.co_firstlineno, number)) in found:
            number += 1
        found[key] = code
    return found


def _within(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _within(constant)


class _KeepsVariables(ast.NodeTransformer):
    """Lets functions read, in a statement that never runs, the variables of outer functions that they read before an edit.

    A function that is alive holds a cell for each of them, and takes no code with fewer.
    """

    def __init__(self, keep: dict[_Key, tuple[str, ...]]) -> None:
        self.keep: dict[tuple[str, int], set[str]] = {}
        for (name, line, _), names in keep.items():
            self.keep.setdefault((name.rpartition(".")[2], line), set()).update(names)

    def _unread(self, name: str, node: Any) -> list[ast.expr]:
        line = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
        return [ast.Name(each, ast.Load()) for each in sorted(self.keep.get((name, line), ()))]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        if names := self._unread(node.name, node):
            never = ast.If(ast.Constant(False), [ast.Expr(ast.Tuple(names, ast.Load()))], [])
            node.body.append(ast.copy_location(never, node.body[-1]))
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        self.generic_visit(node)
        if names := self._unread("<lambda>", node):
            always = ast.IfExp(ast.Constant(True), node.body, ast.Tuple(names, ast.Load()))
            node.body = ast.copy_location(always, node.body)
        return node


def _chosen(
    functions: Sequence[FunctionType], changed: dict[_Key, tuple[CodeType, CodeType]]
) -> Iterator[tuple[FunctionType, CodeType]]:
    """The functions that an edit changes, with the code that each is to get."""
    for function in functions:
        code = function.__code__
        alike = [pair for (name, line, _), pair in changed.items() if (name, line) == (code.co_qualname, code.co_firstlineno)]
        pair = next((each for each in alike if each[0] == code), alike[0] if len(alike) == 1 else None)
        if pair is not None:
            yield function, pair[1]


def _give(function: FunctionType, code: CodeType, edit: Edit) -> None:
    try:
        function.__code__ = code
    except ValueError as error:
        raise InvalidArgument(f"{edit.function} cannot run the edit {edit}: {error}") from error


def _say(path: str, text: str) -> None:
    """Let `inspect` and tracebacks read the text as that of the file."""
    try:
        status = os.stat(path)
        size, time = status.st_size, status.st_mtime
    except OSError:  # a cell of a notebook, or a text that was given to exec
        size, time = len(text), None
    linecache.cache[path] = (size, time, text.splitlines(keepends=True), path)
