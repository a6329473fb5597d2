"""What a kind of edit is, and the pieces of syntax that several of them make."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import libcst as cst

from gradcheck_lab.edits.place import Place

_ATOMS = (cst.Name, cst.Attribute, cst.Call, cst.Subscript, cst.Integer, cst.Float, cst.Tuple, cst.List, cst.SimpleString)


class Kind(Protocol):
    """A kind of edit: its name, a sentence of what is wrong after it, and what it makes of a piece of syntax."""

    @property
    def name(self) -> str:
        """Its name, as in reports: `drop-sum`."""

    @property
    def sentence(self) -> str:
        """What the edit does."""

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """What may stand in the place of `node`; nothing where the kind does not apply to it."""


def inside(node: cst.BaseExpression, new: cst.BaseExpression) -> cst.BaseExpression:
    """An expression that takes the place of another one, in parentheses where they are needed."""
    if isinstance(new, _ATOMS) or new.lpar:
        return new
    return enclosed(new) if isinstance(node, _ATOMS) or node.lpar else new


def enclosed(node: cst.BaseExpression) -> cst.BaseExpression:
    """An expression that can be called upon: in parentheses, unless it is a name, a call or the like."""
    if isinstance(node, _ATOMS) or node.lpar:
        return node
    return node.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])


def attribute(node: cst.BaseExpression, name: str) -> cst.Attribute:
    """`node.name`."""
    return cst.Attribute(enclosed(node), cst.Name(name))


def method(node: cst.BaseExpression, name: str, *arguments: str) -> cst.Call:
    """`node.name(...)` with arguments written as Python."""
    return cst.Call(attribute(node, name), [cst.Arg(cst.parse_expression(each)) for each in arguments])


def product(factor: str, node: cst.BaseExpression) -> cst.BinaryOperation:
    """`factor * node`."""
    return cst.BinaryOperation(cst.parse_expression(factor), cst.Multiply(), enclosed(node))


def negated(node: cst.BaseExpression) -> cst.UnaryOperation:
    """`-node`."""
    return cst.UnaryOperation(cst.Minus(whitespace_after=cst.SimpleWhitespace("")), enclosed(node))


@dataclass(frozen=True, slots=True)
class Called:
    """A call on an array, as a method `x.sum(0)` or a function `torch.sum(x, 0)`; `rest` are the arguments beside the array."""

    call: cst.Call
    name: str
    operand: cst.BaseExpression
    rest: tuple[cst.Arg, ...]
    of_module: bool

    def with_rest(self, rest: Sequence[cst.Arg]) -> cst.Call:
        """The call with other arguments beside the array."""
        first = self.call.args[:1] if self.of_module else ()
        args = [*first, *rest]
        if args:
            args[-1] = args[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
            comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
            args[:-1] = [a if isinstance(a.comma, cst.Comma) else a.with_changes(comma=comma) for a in args[:-1]]
        return self.call.with_changes(args=args, whitespace_before_args=cst.SimpleWhitespace(""))

    def renamed(self, name: str) -> cst.Call:
        """The call of a function or method of another name."""
        assert isinstance(self.call.func, cst.Attribute)
        return self.call.with_changes(func=self.call.func.with_changes(attr=cst.Name(name)))


def called(node: cst.CSTNode, names: Collection[str], place: Place) -> Called | None:
    """The call that a node is, of a function or method of one of these names; None for any other node."""
    if not isinstance(node, cst.Call) or not isinstance(node.func, cst.Attribute) or node.func.attr.value not in names:
        return None
    name, value = node.func.attr.value, node.func.value
    if not (isinstance(value, cst.Name) and value.value in place.modules):
        return Called(node, name, value, tuple(node.args), False)
    if not node.args or node.args[0].keyword is not None or node.args[0].star:
        return None
    return Called(node, name, node.args[0].value, tuple(node.args[1:]), True)


def argument(call: Called, names: Collection[str]) -> int | None:
    """Where the first argument by position, or one by one of these names, stands in the rest of a call."""
    for index, each in enumerate(call.rest):
        if (each.keyword is None and index == 0 and not each.star) or (each.keyword and each.keyword.value in names):
            return index
    return None


def returned(node: cst.CSTNode) -> Iterator[tuple[cst.BaseExpression, cst.Return | cst.Lambda]]:
    """Each value that a return statement or a lambda returns, but None."""
    value = node.value if isinstance(node, cst.Return) else node.body if isinstance(node, cst.Lambda) else None
    for each in () if value is None else entries(value):
        if not (isinstance(each, cst.Name) and each.value == "None"):
            assert isinstance(node, (cst.Return, cst.Lambda))
            yield each, node


def entries(value: cst.BaseExpression) -> list[cst.BaseExpression]:
    """The parts of a tuple or list, of either branch of a condition, or an expression by itself."""
    if isinstance(value, cst.IfExp):
        return [*entries(value.body), *entries(value.orelse)]
    if isinstance(value, (cst.Tuple, cst.List)):
        return [each.value for each in value.elements if isinstance(each, cst.Element)]
    return [value]


Valued = cst.Return | cst.Lambda | cst.Assign | cst.AugAssign


def values(node: cst.CSTNode) -> Iterator[tuple[cst.BaseExpression, Valued]]:
    """Each value that a statement returns or assigns to one name, attribute or entry, but for None, numbers and texts."""
    found: list[tuple[cst.BaseExpression, Valued]] = list(returned(node))
    if isinstance(node, cst.Assign):
        if len(node.targets) == 1 and not isinstance(node.targets[0].target, (cst.Tuple, cst.List)):
            found.append((node.value, node))
    elif isinstance(node, cst.AugAssign):
        found.append((node.value, node))
    yield from (each for each in found if not isinstance(each[0], (cst.BaseNumber, cst.BaseString)))


def returning(node: Valued, value: cst.BaseExpression, new: cst.BaseExpression) -> cst.CSTNode:
    """The return statement, or lambda, with another value in the place of one of its values."""
    changed = node.deep_replace(value, new)
    assert isinstance(changed, cst.CSTNode)
    return changed
