"""Read with `ast` what the code of a forward and a backward says of names: constants they are compared with, what is read."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from types import CodeType, FunctionType
from typing import Any

import torch

from gradcheck_lab.model.limits import FUNCTIONS_READ
from gradcheck_lab.subjects.code.facts import Facts, name_of, names_in
from gradcheck_lab.subjects.code.outline import children_of, outline_of
from gradcheck_lab.subjects.code.scope import PLAIN, Scope
from gradcheck_lab.subjects.code.source import plain_function

_BOUNDED = frozenset("clip clip_ clamp clamp_ clamp_min clamp_max minimum maximum hardtanh".split())


def read_code(functions: Sequence[Any], owner: Any = None) -> Facts:
    """Read functions, and those of the user that they call; `owner` is the object that `self` stands for.

    A function whose source cannot be found says nothing.
    """
    facts = Facts()
    todo, seen = [plain_function(each) for each in functions], set[CodeType]()
    while todo:
        function = todo.pop(0)
        if function is None or function.__code__ in seen or len(seen) >= FUNCTIONS_READ.value:
            continue
        seen.add(function.__code__)
        reader = _Reader(facts, function, owner)
        outline = outline_of(function.__code__)
        facts.read |= outline.read
        for tree in outline.trees:
            reader.visit(tree)
        todo += reader.called
    return facts


class _Reader(ast.NodeVisitor):
    """Adds what one function says to `facts`; `called` are the user's functions that it calls."""

    def __init__(self, facts: Facts, function: FunctionType, owner: Any) -> None:
        self.facts, self.scope = facts, Scope(function, owner)
        self.called: list[FunctionType] = []
        self.outer: list[set[str]] = []

    def generic_visit(self, node: ast.AST) -> None:
        for child in children_of(node):
            self.visit(child)

    def visit_Compare(self, node: ast.Compare) -> None:
        sides = [node.left, *node.comparators]
        for operator, left, right in zip(node.ops, sides, sides[1:], strict=False):
            if isinstance(operator, (ast.In, ast.NotIn)):
                self._compare(left, self.scope.members(right))
                self._compare(right, [v for v in self.scope.constant(left) if isinstance(v, str)])
            elif isinstance(operator, (ast.Eq, ast.NotEq, ast.Is, ast.IsNot)):
                self._compare(left, self.scope.constant(right))
                self._compare(right, self.scope.constant(left))
            else:
                for one, other in ((left, right), (right, left)):
                    numbers = [v for v in self.scope.constant(other) if isinstance(v, (int, float))]
                    self.facts.beside.setdefault(name_of(one) or "", []).extend(numbers)
        self.generic_visit(node)

    def visit_If(self, node: ast.If | ast.IfExp | ast.While) -> None:
        read = self._condition(node.test)
        self.visit(node.test)
        self.outer.append(read)
        for part in [*_listed(node.body), *_listed(node.orelse)]:
            self.visit(part)
        self.outer.pop()

    visit_IfExp = visit_While = visit_If

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self._condition(node)
        for value in node.values:
            self._tested(value)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self._tested(node.operand)
        self.generic_visit(node)

    def visit_Match(self, node: ast.Match) -> None:
        read = self._condition(node.subject)
        subjects = node.subject.elts if isinstance(node.subject, ast.Tuple) else [node.subject]
        for case in node.cases:
            patterns = case.pattern.patterns if isinstance(case.pattern, ast.MatchSequence) else [case.pattern]
            for subject, pattern in zip(subjects, patterns, strict=False):
                for each in ast.walk(pattern):
                    if isinstance(each, ast.MatchValue):
                        self._compare(subject, self.scope.constant(each.value))
                    elif isinstance(each, ast.MatchSingleton):
                        self._compare(subject, [each.value])
        self.outer.append(read)
        self.generic_visit(node)
        self.outer.pop()

    def visit_Subscript(self, node: ast.Subscript) -> None:
        keys = self.scope.members(node.value, of_dicts=True)
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        for position, part in enumerate(parts):
            self._compare(part, [k[position] if isinstance(k, tuple) and len(parts) > 1 else k for k in keys])
        if keys:
            self._condition(node.slice)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        if isinstance(function, ast.Attribute) and node.args:
            if function.attr in ("startswith", "endswith"):
                self._compare(function.value, self.scope.constant(node.args[0]) or self.scope.members(node.args[0]))
            if function.attr == "get":
                self._compare(node.args[0], self.scope.members(function.value, of_dicts=True))
        if name_of(function) in _BOUNDED or (isinstance(function, ast.Attribute) and function.attr in _BOUNDED):
            bounds = [v for each in (*node.args, *(k.value for k in node.keywords)) for v in self.scope.constant(each)]
            self.facts.beside.setdefault("", []).extend(float(v) for v in bounds if isinstance(v, (int, float)))
        arguments = frozenset(name for each in node.args if (name := name_of(each)) is not None)
        self.facts.together.append(arguments | {n for k in node.keywords if (n := name_of(k.value)) is not None})
        self._follow(node)
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._link(target, node.value)
        self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._link(node.target, node.value)
        self.generic_visit(node)

    def _link(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, (ast.Tuple, ast.List)):
            for one, other in zip(target.elts, value.elts, strict=False):
                self._link(one, other)
            return
        name, source = name_of(target), name_of(value)
        if name is None:
            return
        if source is not None and source != name:
            self.facts.same.setdefault(name, set()).add(source)
        elif isinstance(value, (ast.Compare, ast.BoolOp, ast.UnaryOp)):
            self.facts.decided_by.setdefault(name, set()).update(names_in(value) - {name})
        elif isinstance(value, (ast.IfExp, ast.BinOp)):
            self.facts.made_of.setdefault(name, set()).update(names_in(value) - {name})

    def _condition(self, node: ast.expr) -> set[str]:
        self._tested(node)
        read = names_in(node)
        self.facts.together.append(frozenset(read.union(*self.outer)))
        return read

    def _tested(self, node: ast.expr) -> None:
        name = name_of(node)
        if name is not None:
            self.facts.tested.add(name)

    def _compare(self, node: ast.expr, constants: Sequence[Any]) -> None:
        name = name_of(node)
        if name is None:
            return
        known = self.facts.compared.setdefault(name, [])
        known += [each for each in constants if each is not None and isinstance(each, PLAIN)]
        if any(each is None for each in constants):
            self.facts.tested.add(name)

    def _follow(self, node: ast.Call) -> None:
        """Read what the call calls too, whose parameters are copies of the arguments."""
        function, skipped = node.func, False
        values = self.scope.value(function)
        if isinstance(function, ast.Attribute) and function.attr == "apply":
            classes: list[Any] = [v for v in self.scope.value(function.value)
                                  if isinstance(v, type) and issubclass(v, torch.autograd.Function)]  # fmt: skip
            values = [v for each in classes for v in (each.forward, each.setup_context, each.backward)]
            skipped = any(each.setup_context is torch.autograd.Function.setup_context for each in classes)
        elif isinstance(function, ast.Attribute) and self.scope.is_own(function.value):
            skipped = any(not isinstance(value, staticmethod) for value in values)
        found = [each for value in values if (each := plain_function(value)) is not None]
        for each in found[:1]:
            parameters = each.__code__.co_varnames[skipped : each.__code__.co_argcount]
            given = [*zip(parameters, node.args, strict=False), *((k.arg, k.value) for k in node.keywords)]
            for name, value in given:
                source = name_of(value)
                if name is not None and source is not None and source != name:
                    self.facts.same.setdefault(name, set()).add(source)
        self.called += found


def _listed(part: Any) -> Iterator[Any]:
    return iter(part if isinstance(part, list) else [part])
