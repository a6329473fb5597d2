"""The statements of a function that did not run, as ranges of lines with what they need."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from gradcheck_lab.subjects.run_lines.source import INNER, Scope, own_lines, statements, suites
from gradcheck_lab.subjects.run_lines.words import beyond_needs, code_text, negated

# these refuse a call, or do nothing: that they did not run says nothing of the gradient
_IDLE = (ast.Raise, ast.Pass, ast.Continue, ast.Break, ast.Global, ast.Nonlocal, ast.Assert, ast.Import, ast.ImportFrom, *INNER)
_LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)


@dataclass(frozen=True, slots=True)
class Unrun:
    """A range of lines that did not run, and the condition for them; empty where the code does not say it."""

    first: int
    last: int
    needs: str


def worth_running(scope: Scope, lines: Collection[int]) -> dict[int, list[int]]:
    """The lines of each statement that a check should run, by its first line; `lines` are those that have instructions."""
    every = [s for s in statements(scope) if _counts(s)]
    own = {s.lineno: [line for line in own_lines(s) if line in lines] for s in every}
    return {line: found for line, found in own.items() if found}


def unrun(scope: Scope, missing: Collection[int]) -> Iterator[Unrun]:
    """The blocks that did not run; `missing` are the first lines of the statements that did not."""
    if not isinstance(scope, ast.Lambda):
        yield from _within(scope.body, "", missing)


def _counts(statement: ast.stmt) -> bool:
    if isinstance(statement, _IDLE) or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
        return False
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        return not ast.unparse(statement.value.func).startswith(("warnings.", "print", "logging.", "logger."))
    return not isinstance(statement, (ast.Try, ast.With))


def _within(suite: Sequence[ast.stmt], needs: str | None, missing: Collection[int]) -> Iterator[Unrun]:
    """The unrun blocks of a suite; `needs` is what has to hold for it, None where that is only which gradients are needed."""
    reason = needs
    for index, statement in enumerate(suite):
        if statement.lineno in missing or _is_all_missing(statement, missing):
            lines = [line for each in suite[index:] for line in _counted(each) if line in missing]
            if lines and reason is not None:
                last = max(each.end_lineno or 0 for each in suite[index:] if set(_counted(each)) & set(lines))
                yield Unrun(min(lines), last, reason)
            return
        if isinstance(statement, INNER):
            continue
        yield from _blocks(statement, missing)
        if not isinstance(statement, _IDLE):
            reason = _after(statement, "")


def _is_all_missing(statement: ast.stmt, missing: Collection[int]) -> bool:
    """Whether nothing ran of a statement that has no line of its own to run, as `try` and `with`."""
    counted = list(_counted(statement))
    return bool(counted) and isinstance(statement, (ast.Try, ast.With)) and all(line in missing for line in counted)


def _counted(statement: ast.stmt) -> Iterator[int]:
    if _counts(statement):
        yield statement.lineno
    if not isinstance(statement, INNER):
        for block in suites(statement):
            for each in block:
                yield from _counted(each)


def _after(statement: ast.stmt, otherwise: str) -> str | None:
    """What has to hold for the statements after one that ran, where it may leave their block."""
    if isinstance(statement, ast.If) and not statement.orelse and isinstance(statement.body[-1], _LEAVES):
        return _words(negated(statement.test))
    if isinstance(statement, ast.If) and statement.orelse and isinstance(statement.orelse[-1], _LEAVES):
        return _words(statement.test)
    return otherwise


def _words(test: ast.expr) -> str | None:
    rest = beyond_needs(test)
    return None if rest is None else code_text(rest)


def _blocks(statement: ast.stmt, missing: Collection[int]) -> Iterator[Unrun]:
    if isinstance(statement, ast.If):
        yield from _within(statement.body, _words(statement.test), missing)
        yield from _within(statement.orelse, _words(negated(statement.test)), missing)
        return
    if isinstance(statement, ast.Match):
        for case in statement.cases:
            yield from _within(case.body, f"{code_text(statement.subject)} to match {code_text(case.pattern)}", missing)
        return
    if isinstance(statement, (ast.For, ast.AsyncFor)):
        yield from _within(statement.body, f"a turn of the loop over {code_text(statement.iter)}", missing)
    elif isinstance(statement, ast.While):
        yield from _within(statement.body, _words(statement.test), missing)
    else:
        yield from _within(getattr(statement, "body", ()), "", missing)
    yield from _within(getattr(statement, "orelse", ()), "", missing)
    for handler in getattr(statement, "handlers", ()):
        raised = "an exception" if handler.type is None else code_text(handler.type)
        yield from _within(handler.body, f"{raised} to be raised", missing)
    yield from _within(getattr(statement, "finalbody", ()), "", missing)
