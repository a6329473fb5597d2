"""Edits of the order of things: operands, transpositions, what is returned for which input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import libcst as cst

from gradcheck_lab.edits.kinds.kind import attribute, called, enclosed, inside, returned
from gradcheck_lab.edits.place import Place

_ORDERED = (cst.Subtract, cst.Divide, cst.MatrixMultiply, cst.Power)
_ORDERED_CALLS = frozenset("matmul mm bmm mv dot sub subtract div divide true_divide outer pow power".split())
_TRANSPOSED = frozenset("T mT H mH".split())
_TRANSPOSES = frozenset("transpose t swapaxes permute movedim moveaxis".split())
_PRODUCTS = frozenset("matmul mm bmm dot".split())


@dataclass(frozen=True, slots=True)
class SwapOperands:
    """`a - b` becomes `b - a`; products of matrices, quotients, powers and the branches of `where` alike."""

    name: str = "swap-operands"
    sentence: str = "two operands, or two branches, stand in each other's place"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The operation with its operands swapped."""
        if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, _ORDERED):
            yield node.with_changes(left=enclosed(node.right), right=enclosed(node.left))
        call = called(node, _ORDERED_CALLS | {"where"}, place)
        if call is None or any(each.star or each.keyword for each in call.call.args):
            return
        args = list(call.call.args)
        if call.name == "where":
            if call.of_module and len(args) == 3:
                yield call.call.with_changes(args=[args[0], *_swapped(args[1], args[2])])
        elif call.of_module and len(args) >= 2:
            yield call.call.with_changes(args=[*_swapped(args[0], args[1]), *args[2:]])


@dataclass(frozen=True, slots=True)
class SwapReturned:
    """`return dx, dw` becomes `return dw, dx`."""

    name: str = "swap-returned"
    sentence: str = "two gradients are returned for each other's input"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The return with neighbours swapped."""
        values = list(returned(node))
        for (one, statement), (other, _) in pairwise(values):
            yield _exchanged(statement, one, other)


@dataclass(frozen=True, slots=True)
class DropTranspose:
    """`x.T` becomes `x`."""

    name: str = "drop-transpose"
    sentence: str = "a transposition or permutation is left out"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The array itself."""
        if isinstance(node, cst.Attribute) and node.attr.value in _TRANSPOSED:
            yield inside(node, node.value)
        elif (call := called(node, _TRANSPOSES, place)) is not None:
            yield inside(call.call, call.operand)


@dataclass(frozen=True, slots=True)
class AddTranspose:
    """`x @ y` becomes `x.mT @ y` and `x @ y.mT`."""

    name: str = "add-transpose"
    sentence: str = "an operand of a product of matrices is transposed"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The product with one operand transposed."""
        word = "T" if place.numpy else "mT"
        if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, cst.MatrixMultiply):
            for side in ("left", "right"):
                operand = getattr(node, side)
                if not _is_transposed(operand, place):
                    yield node.with_changes(**{side: attribute(operand, word)})
        call = called(node, _PRODUCTS, place)
        if call is not None:
            for each in call.call.args[:2]:
                if not each.star and not _is_transposed(each.value, place):
                    changed = call.call.deep_replace(each.value, attribute(each.value, word))
                    assert isinstance(changed, cst.Call)
                    yield changed


def _is_transposed(node: cst.BaseExpression, place: Place) -> bool:
    return called(node, _TRANSPOSES, place) is not None or (isinstance(node, cst.Attribute) and node.attr.value in _TRANSPOSED)


def _swapped(one: cst.Arg, other: cst.Arg) -> tuple[cst.Arg, cst.Arg]:
    return one.with_changes(value=other.value), other.with_changes(value=one.value)


def _exchanged(node: cst.Return | cst.Lambda, one: cst.BaseExpression, other: cst.BaseExpression) -> cst.CSTNode:
    """The statement with two values in each other's place."""
    changed = node.visit(_Exchange({id(one): other, id(other): one}))
    assert isinstance(changed, cst.CSTNode)
    return changed


class _Exchange(cst.CSTTransformer):
    """Puts for nodes, by identity, the ones that it is given."""

    def __init__(self, instead: dict[int, cst.BaseExpression]) -> None:
        super().__init__()
        self.instead = instead

    def on_leave(self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT) -> Any:
        """The other node for one of them."""
        return self.instead.get(id(original_node), updated_node)
