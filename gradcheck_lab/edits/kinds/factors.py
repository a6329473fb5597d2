"""Edits of products and sums of terms: a sign, a factor, a power, an epsilon, the upstream gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst

from gradcheck_lab.edits.kinds.kind import called, inside, negated, product, returned, returning
from gradcheck_lab.edits.place import Place
from gradcheck_lab.model.amounts import LARGEST_EPSILON

_PRODUCT_CALLS = frozenset("mul mul_ multiply div div_ divide true_divide".split())
_POWERS = frozenset("square pow power".split())
_BOUNDS = frozenset("clamp clamp_ clamp_min clamp_min_ clip maximum fmax".split())


@dataclass(frozen=True, slots=True)
class ChangeSign:
    """`-x` becomes `x`, `a + b` becomes `a - b`, a returned `g` becomes `-g`."""

    name: str = "change-sign"
    sentence: str = "a sign is wrong"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The term, or sum of two, with the other sign."""
        if isinstance(node, cst.UnaryOperation) and isinstance(node.operator, cst.Minus):
            if not isinstance(node.expression, cst.Integer):
                yield inside(node, node.expression)
        elif isinstance(node, cst.BinaryOperation) and isinstance(node.operator, (cst.Add, cst.Subtract)):
            other = cst.Subtract() if isinstance(node.operator, cst.Add) else cst.Add()
            yield node.with_changes(operator=other)
        elif isinstance(node, cst.AugAssign) and isinstance(node.operator, (cst.AddAssign, cst.SubtractAssign)):
            opposite = cst.SubtractAssign() if isinstance(node.operator, cst.AddAssign) else cst.AddAssign()
            yield node.with_changes(operator=opposite)
        for value, statement in returned(node):
            if not isinstance(value, cst.UnaryOperation):
                yield returning(statement, value, negated(value))


@dataclass(frozen=True, slots=True)
class DropFactor:
    """`a * b` becomes `a` and `b`, `a / b` becomes `a`."""

    name: str = "drop-factor"
    sentence: str = "a factor or a divisor is left out"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """What is left of the product."""
        if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, (cst.Multiply, cst.Divide)):
            yield inside(node, node.left)
            if isinstance(node.operator, cst.Multiply):
                yield inside(node, node.right)
        elif isinstance(node, cst.AugAssign) and isinstance(node.operator, (cst.MultiplyAssign, cst.DivideAssign)):
            yield cst.Expr(node.target)
        elif (call := called(node, _PRODUCT_CALLS, place)) is not None:
            yield inside(call.call, call.operand)


@dataclass(frozen=True, slots=True)
class DropPower:
    """`x ** 2` and `x.square()` become `x`."""

    name: str = "drop-power"
    sentence: str = "a power is left out"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The base."""
        if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, cst.Power):
            yield inside(node, node.left)
        elif (call := called(node, _POWERS, place)) is not None:
            yield inside(call.call, call.operand)


@dataclass(frozen=True, slots=True)
class Double:
    """A returned `g` becomes `2 * g`, a number in a product is doubled."""

    name: str = "double"
    sentence: str = "a gradient, or a number in a product, is twice what it was"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """Twice the value or number."""
        for value, statement in returned(node):
            yield returning(statement, value, product("2", value))
        if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, (cst.Multiply, cst.Divide)):
            for side in ("left", "right"):
                if (twice := _twice(getattr(node, side))) is not None:
                    yield node.with_changes(**{side: twice})


@dataclass(frozen=True, slots=True)
class Halve:
    """A returned `g` becomes `0.5 * g`."""

    name: str = "halve"
    sentence: str = "a gradient is half of what it was"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """Half of the value."""
        for value, statement in returned(node):
            yield returning(statement, value, product("0.5", value))


@dataclass(frozen=True, slots=True)
class DropUpstream:
    """`grad_output` becomes `torch.ones_like(grad_output)`."""

    name: str = "drop-upstream"
    sentence: str = "ones stand in the place of the upstream gradient"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """Ones of the same shape."""
        if isinstance(node, cst.Name) and node.value in place.upstream and place.is_load(node) and place.arrays is not None:
            yield cst.parse_expression(f"{place.arrays}.ones_like({node.value})")


@dataclass(frozen=True, slots=True)
class MultiplyByUpstream:
    """A returned `d` becomes `grad_output * d`."""

    name: str = "multiply-by-upstream"
    sentence: str = "a gradient is multiplied by the upstream gradient"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The product with each upstream gradient."""
        for value, statement in returned(node):
            for name in place.upstream:
                yield returning(statement, value, product(name, value))


@dataclass(frozen=True, slots=True)
class DropEpsilon:
    """`variance + eps` becomes `variance`, `norm.clamp_min(eps)` becomes `norm`."""

    name: str = "drop-epsilon"
    sentence: str = "a small number that keeps away from zero is left out"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """What the small number is added to, or bounds."""
        if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, (cst.Add, cst.Subtract)):
            if is_epsilon(node.right):
                yield inside(node, node.left)
            elif is_epsilon(node.left) and isinstance(node.operator, cst.Add):
                yield inside(node, node.right)
        call = called(node, _BOUNDS, place)
        if call is not None and any(is_epsilon(each.value) for each in call.rest):
            yield inside(call.call, call.operand)


def is_epsilon(node: cst.BaseExpression) -> bool:
    """Whether a piece of syntax is a small number, or called one."""
    if isinstance(node, cst.Float):
        return float(node.value) <= LARGEST_EPSILON.value
    name = node.value if isinstance(node, cst.Name) else node.attr.value if isinstance(node, cst.Attribute) else ""
    return name.lower().strip("_").startswith("eps") or name.lower().endswith("_eps")


def _twice(node: cst.BaseExpression) -> cst.BaseExpression | None:
    if isinstance(node, cst.Integer):
        return cst.Integer(str(2 * int(node.value, 0)))
    if isinstance(node, cst.Float):
        return cst.Float(repr(2 * float(node.value)))
    return None
