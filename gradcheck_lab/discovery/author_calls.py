"""The call that a file's author makes of what the file defines: in its main block, at its top, or in a doctest."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import torch

from gradcheck_lab.check import assert_gradients, check
from gradcheck_lab.discovery.plain_code import NotPlain, evaluate, names_behind
from gradcheck_lab.rules.methods import FORWARDS
from gradcheck_lab.rules.op import Op

_VERBS = ("check", "assert_gradients")
_SETTINGS = ("allow", "order", "reference", "wrt")


@dataclass(frozen=True, slots=True)
class AuthorCall:
    """What is called and with what, and where: `line 12` or `the doctest of relu`.

    `settings` are what a call of `gl.check` says beside the inputs and options: `allow`, `order`, `reference` and `wrt`.
    """

    subject: Any
    inputs: tuple[Any, ...]
    options: dict[str, Any]
    where: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Block:
    """Statements in their order, those of `with` and `for` among them; `where` names a block without lines of the file.

    What was `run` when the file was imported has left its values in the module.
    """

    statements: list[ast.stmt]
    where: str = ""
    run: bool = False


@dataclass(slots=True)
class AuthorCalls:
    """Looks for a call of an object of a module; `refusals` say why calls that were found could not be taken."""

    module: ModuleType
    name: str
    found: Any
    refusals: list[str] = field(default_factory=list)

    def first(self) -> AuthorCall | None:
        """The first call whose arguments only compute; None where there is none."""
        for block in self._blocks():
            for number, statement in enumerate(block.statements):
                for node in ast.walk(statement):
                    if isinstance(node, ast.Call):
                        with suppress(_NoCallOfIt):
                            where = block.where or f"line {node.lineno}"
                            try:
                                return self._call(node, () if block.run else block.statements[:number], where)
                            except NotPlain as error:
                                self.refusals.append(f"the call in {where} {error}")
        return None

    def _call(self, node: ast.Call, before: Sequence[ast.stmt], where: str) -> AuthorCall:
        base, attribute = _called(node)
        given = list(node.args)
        of_verb = self._is_verb(base, attribute) and bool(given)
        if of_verb:
            base, attribute, given = given[0], None, given[1:]
        if not self._may_be_it(base, before):
            raise _NoCallOfIt
        starred = any(isinstance(each, ast.Starred) for each in given) or any(word.arg is None for word in node.keywords)
        if starred:
            raise NotPlain("unpacks its arguments")
        words = {str(word.arg): word.value for word in node.keywords}
        values = evaluate([base, *given, *words.values()], before, vars(self.module), self.module.__name__)
        subject = self._subject(values[0], attribute, of_verb)
        inputs, options = tuple(values[1 : 1 + len(given)]), dict(zip(words, values[1 + len(given) :], strict=True))
        if of_verb:
            settings = {name: options[name] for name in _SETTINGS if options.get(name) is not None}
            return AuthorCall(subject, inputs, options.get("options") or {}, where, settings)
        return AuthorCall(subject, *_placed(subject, inputs, options), where)

    def handed_over(self) -> list[str]:
        """The names of the module that stand first in a call of `gl.check` or `gl.assert_gradients`."""
        calls = [n for block in self._blocks() for s in block.statements for n in ast.walk(s) if isinstance(n, ast.Call)]
        first = [call.args[0] for call in calls if call.args and self._is_verb(*_called(call))]
        return [each.id for each in first if isinstance(each, ast.Name) and each.id in vars(self.module)]

    def _is_verb(self, base: ast.expr, attribute: str | None) -> bool:
        """Whether a call is one of `gl.check`, whose first argument is what it checks."""
        found = vars(self.module).get(base.id) if isinstance(base, ast.Name) else None
        if attribute is not None:
            return attribute in _VERBS and getattr(found, "__name__", None) == "gradcheck_lab"
        return found is check or found is assert_gradients

    def _may_be_it(self, base: ast.expr, before: Sequence[ast.stmt]) -> bool:
        if isinstance(base, ast.Name) and base.id in vars(self.module) and base.id != self.name:
            value = vars(self.module)[base.id]
            if _is_apply_of(value, self.found) or value is self.found:
                return True
        return self.name in names_behind(base, before)

    def _subject(self, value: Any, attribute: str | None, of_verb: bool) -> Any:
        """What a call of `value.attribute` checks; raises `_NoCallOfIt` for a call of anything else."""
        is_class = isinstance(self.found, type)
        if attribute is None and _is_apply_of(value, self.found):
            return self.found
        if is_class and not isinstance(value, type) and isinstance(value, self.found):
            if attribute is None or attribute in (*FORWARDS, "__call__"):
                return value
        elif of_verb and _forward_of(value) is not None and _forward_of(value) is _forward_of(self.found):
            return value
        elif value is self.found or (isinstance(self.found, tuple) and value in self.found[:1]):
            makes = is_class and attribute is None and not of_verb
            if not makes and attribute in (None, "apply", *(() if is_class else FORWARDS)):
                return self.found
        raise _NoCallOfIt

    def _blocks(self) -> Iterator[_Block]:
        try:
            tree = ast.parse(inspect.getsource(self.module))
        except (OSError, TypeError, SyntaxError):
            return
        functions = {each.name: each for each in tree.body if isinstance(each, ast.FunctionDef)}
        top = [each for each in tree.body if not _is_main(each)]
        for each in tree.body:
            if _is_main(each):
                inner = each.body  # type: ignore[attr-defined]
                yield _Block([*_flat(inner)])
                yield from (_Block([*_flat(functions[name].body)]) for name in _called_alone(inner) if name in functions)
        yield from self._doctests()
        yield _Block([*_flat(top)], run=True)

    def _doctests(self) -> Iterator[_Block]:
        first = self.found[0] if isinstance(self.found, tuple) else self.found
        forward = getattr(first, "forward", None)
        for holder in (first, forward, self.module):
            text = getattr(holder, "__doc__", None)
            statements: list[ast.stmt] = []
            with suppress(ValueError, SyntaxError):
                for example in doctest.DocTestParser().get_examples(text if isinstance(text, str) else ""):
                    statements += ast.parse(example.source).body
            if statements:
                yield _Block([*_flat(statements)], f"the doctest of {getattr(holder, '__name__', self.name)}")


def _called(node: ast.Call) -> tuple[ast.expr, str | None]:
    """What a call calls: an expression, or the attribute of one."""
    return (node.func.value, node.func.attr) if isinstance(node.func, ast.Attribute) else (node.func, None)


def _forward_of(value: Any) -> Any:
    """The forward of a pair or an op."""
    if isinstance(value, tuple):
        return value[0] if value else None
    return value.forward if isinstance(value, Op) else None


class _NoCallOfIt(Exception):
    pass


def _is_main(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and re.search(r"__name__", ast.unparse(statement.test)) is not None


def _flat(statements: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements, with those in `with`, `for` and `try` in their places; what depends on a condition is left out."""
    for each in statements:
        if isinstance(each, (ast.With, ast.For, ast.While, ast.Try)):
            yield from _flat(each.body)
        elif not isinstance(each, (ast.If, ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            yield each


def _called_alone(statements: Sequence[ast.stmt]) -> list[str]:
    """The functions that are called without arguments, as `main()` is."""
    calls = [each.value for each in statements if isinstance(each, ast.Expr) and isinstance(each.value, ast.Call)]
    return [call.func.id for call in calls if isinstance(call.func, ast.Name) and not call.args and not call.keywords]


def _is_apply_of(value: Any, found: Any) -> bool:
    return isinstance(found, type) and getattr(value, "__self__", None) is found and getattr(value, "__name__", "") == "apply"


def _placed(subject: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arrays that were given by keyword in their places among the inputs; the rest stays an option."""
    arrays = {name: v for name, v in options.items() if isinstance(v, (torch.Tensor, np.ndarray))}
    function = subject[0] if isinstance(subject, tuple) else getattr(subject, "forward", subject)
    with suppress(TypeError, ValueError):
        names = [*inspect.signature(function).parameters]
        names = names[isinstance(subject, type) :]  # a Function's ctx
        taken = [name for name in names[len(inputs) :] if name in arrays]
        if taken == names[len(inputs) : len(inputs) + len(taken)]:
            rest = {name: v for name, v in options.items() if name not in taken}
            return (*inputs, *(arrays[name] for name in taken)), rest
    return inputs, options
