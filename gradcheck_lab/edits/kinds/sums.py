"""Edits of reductions: whether there is one, over which axes, and what becomes of the reduced dimension."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst

from gradcheck_lab.edits.kinds.kind import Called, argument, called, inside, method, returned, returning
from gradcheck_lab.edits.place import Place

_SUMS = frozenset("sum nansum mean nanmean sum_to_size".split())
_REDUCTIONS = frozenset("sum nansum mean nanmean prod amax amin max min std var logsumexp norm all any argmax argmin".split())
_WITH_AXIS = _REDUCTIONS | frozenset(
    "softmax log_softmax cumsum cumprod flip roll unsqueeze squeeze expand_dims cat concatenate concat stack split chunk "
    "tensor_split index_select index_add index_add_ gather scatter_add scatter_add_ scatter_ select narrow unbind repeat "
    "repeat_interleave sort argsort topk take_along_dim take_along_axis diff".split()
)
_LATER = frozenset("roll gather index_select stack cat concatenate concat split chunk tensor_split diff topk take_along_dim "
                   "take_along_axis repeat repeat_interleave".split())  # fmt: skip  # the axis is not their first argument
_AXIS, _KEEP = ("dim", "axis", "axes", "dims"), ("keepdim", "keepdims")
_OTHER_REDUCTION = {"sum": "mean", "nansum": "nanmean", "mean": "sum", "nanmean": "nansum"}


@dataclass(frozen=True, slots=True)
class DropSum:
    """`x.sum(0)` becomes `x`."""

    name: str = "drop-sum"
    sentence: str = "a sum or mean is left out"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The array itself."""
        if (call := called(node, _SUMS, place)) is not None:
            yield inside(call.call, call.operand)


@dataclass(frozen=True, slots=True)
class DropAxis:
    """`x.sum((0, 2))` becomes `x.sum()`, `x.sum(2)` and `x.sum(0)`."""

    name: str = "drop-axis"
    sentence: str = "a reduction is over all axes, or over one axis too few"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The reduction without its axis, and without one of several."""
        call = called(node, _REDUCTIONS, place)
        index = None if call is None else argument(call, _AXIS)
        if call is None or index is None:
            return
        yield call.with_rest([])
        axis = call.rest[index].value
        if isinstance(axis, (cst.Tuple, cst.List)) and len(axis.elements) > 1:
            for each in axis.elements:
                kept = [one for one in axis.elements if one is not each]
                yield _with_axis(call, index, axis.with_changes(elements=_separated(kept)))


@dataclass(frozen=True, slots=True)
class SumForMean:
    """`x.mean(0)` becomes `x.sum(0)`, and the other way round."""

    name: str = "sum-for-mean"
    sentence: str = "a sum stands for a mean, or a mean for a sum"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The other of the two reductions."""
        if (call := called(node, _OTHER_REDUCTION, place)) is not None:
            yield call.renamed(_OTHER_REDUCTION[call.name])


@dataclass(frozen=True, slots=True)
class ChangeAxis:
    """`x.sum(0)` becomes `x.sum(1)`, `softmax(-1)` becomes `softmax(-2)`."""

    name: str = "change-axis"
    sentence: str = "a reduction, or another function of an axis, is along a neighbouring one"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The call along the neighbouring axis; of several axes the first or last is moved."""
        call = called(node, _WITH_AXIS, place)
        index = None if call is None else argument(call, _AXIS)
        if call is None or index is None or (call.name in _LATER and call.rest[index].keyword is None):
            return
        axis = call.rest[index].value
        if (other := _neighbour(axis)) is not None:
            yield _with_axis(call, index, other)
        elif isinstance(axis, (cst.Tuple, cst.List)):
            for each in axis.elements:
                if (other := _neighbour(each.value)) is not None:
                    changed = axis.deep_replace(each.value, other)
                    assert isinstance(changed, cst.BaseExpression)
                    yield _with_axis(call, index, changed)


@dataclass(frozen=True, slots=True)
class FlipKeepdim:
    """`x.sum(0, keepdim=True)` becomes `x.sum(0)`, and `x.sum(0)` becomes `x.sum(0, keepdim=True)`."""

    name: str = "flip-keepdim"
    sentence: str = "a reduced dimension is kept, or is not"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The reduction with the other choice."""
        call = called(node, _REDUCTIONS, place)
        if call is None or argument(call, _AXIS) is None:
            return
        rest = [each for each in call.rest if each.keyword is None or each.keyword.value not in _KEEP]
        if len(rest) < len(call.rest):
            yield call.with_rest(rest)
        elif len(rest) == 1:
            word = "keepdims" if place.numpy else "keepdim"
            tight = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
            yield call.with_rest([*rest, cst.Arg(cst.Name("True"), cst.Name(word), equal=tight)])


@dataclass(frozen=True, slots=True)
class AddSum:
    """A returned `g` becomes `g.sum(0)`, `g.sum(-1)` and `g.sum()`."""

    name: str = "add-sum"
    sentence: str = "a returned gradient is summed over an axis, or over all"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The returned value summed."""
        for value, statement in returned(node):
            for axis in ("0", "-1", None):
                yield returning(statement, value, method(value, "sum", *([] if axis is None else [axis])))


def _with_axis(call: Called, index: int, axis: cst.BaseExpression) -> cst.Call:
    rest = [each.with_changes(value=axis) if k == index else each for k, each in enumerate(call.rest)]
    return call.with_rest(rest)


def _neighbour(node: cst.BaseExpression) -> cst.BaseExpression | None:
    """The axis beside a plain one: 1 for 0, -2 for -1."""
    if isinstance(node, cst.Integer):
        number = int(node.value, 0)
        return cst.Integer(str(number - 1 if number else 1))
    if not isinstance(node, cst.UnaryOperation) or not isinstance(node.operator, cst.Minus):
        return None
    if not isinstance(node.expression, cst.Integer):
        return None
    number = int(node.expression.value, 0)
    return node.with_changes(expression=cst.Integer(str(2 if number == 1 else number - 1)))


def _separated(elements: list[cst.BaseElement]) -> list[cst.BaseElement]:
    comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    if len(elements) == 1:
        return [elements[0].with_changes(comma=cst.Comma())]
    last = elements[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
    return [*(each.with_changes(comma=comma) for each in elements[:-1]), last]
