"""Edits of what is computed where: comparisons, indices, the rounds of a loop, options."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import libcst as cst

from gradcheck_lab.edits.kinds.kind import called
from gradcheck_lab.edits.place import Place

_OTHER: dict[type[cst.BaseCompOp], Any] = {
    cst.GreaterThan: cst.GreaterThanEqual,
    cst.GreaterThanEqual: cst.GreaterThan,
    cst.LessThan: cst.LessThanEqual,
    cst.LessThanEqual: cst.LessThan,
}
_OTHER_CALLS = {"gt": "ge", "ge": "gt", "lt": "le", "le": "lt", "greater": "greater_equal", "greater_equal": "greater",
                "less": "less_equal", "less_equal": "less"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class OtherComparison:
    """`x > 0` becomes `x >= 0`."""

    name: str = "other-comparison"
    sentence: str = "a bound is taken in that was out, or left out that was in"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The comparison with the bound on the other side."""
        if isinstance(node, cst.ComparisonTarget) and type(node.operator) in _OTHER:
            operator = _OTHER[type(node.operator)]
            yield node.with_changes(operator=operator())
        elif (call := called(node, _OTHER_CALLS, place)) is not None:
            yield call.renamed(_OTHER_CALLS[call.name])


@dataclass(frozen=True, slots=True)
class FirstIndex:
    """`x[i]` becomes `x[0]`, and `grad_output` becomes its first element."""

    name: str = "first-index"
    sentence: str = "the first entry stands for all"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The first entry."""
        if isinstance(node, cst.SubscriptElement) and isinstance(node.slice, cst.Index) and place.is_load(node.slice.value):
            yield node.with_changes(slice=node.slice.with_changes(value=cst.Integer("0")))
        elif isinstance(node, cst.Name) and node.value in place.upstream and place.is_load(node):
            yield cst.parse_expression(f"{node.value}.ravel()[0]")


@dataclass(frozen=True, slots=True)
class ShortLoop:
    """`for i in range(n)` becomes `for i in range(n - 1)`."""

    name: str = "short-loop"
    sentence: str = "a loop ends one round early"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The loop over all but the last."""
        if isinstance(node, (cst.For, cst.CompFor)):
            yield node.with_changes(iter=_shortened(node.iter))


@dataclass(frozen=True, slots=True)
class IgnoreOption:
    """`reduction == "mean"` becomes `"mean" == "mean"`: the default stands for the option."""

    name: str = "ignore-option"
    sentence: str = "the default of an option stands for its value"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The default in the place of the option."""
        if isinstance(node, cst.Name) and node.value in place.defaults and place.is_load(node):
            yield cst.parse_expression(place.defaults[node.value])
        elif isinstance(node, cst.Attribute) and node.attr.value in place.held and _is_holder(node.value):
            yield cst.parse_expression(place.held[node.attr.value])


def _is_holder(node: cst.BaseExpression) -> bool:
    return isinstance(node, cst.Name) and node.value in ("ctx", "self", "context")


def _shortened(node: cst.BaseExpression) -> cst.BaseExpression:
    is_range = isinstance(node, cst.Call) and isinstance(node.func, cst.Name) and node.func.value == "range"
    if isinstance(node, cst.Call) and is_range and len(node.args) in (1, 2):
        last = node.args[-1]
        less = cst.BinaryOperation(last.value, cst.Subtract(), cst.Integer("1"))
        return node.with_changes(args=[*node.args[:-1], last.with_changes(value=less)])
    code = cst.Module([]).code_for_node(node)
    return cst.parse_expression(f"list({code})[:-1]")
