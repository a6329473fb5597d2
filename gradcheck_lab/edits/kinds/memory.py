"""Edits of what is written, kept and returned: accumulation, copies, saved tensors, dtypes, None."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst

from gradcheck_lab.edits.kinds.kind import called, inside, method, returned, returning
from gradcheck_lab.edits.place import Place

_COPIES = frozenset("clone contiguous copy ascontiguousarray".split())
_ADDING = {"index_add_": "index_copy_", "index_add": "index_copy", "scatter_add_": "scatter_", "scatter_add": "scatter"}


@dataclass(frozen=True, slots=True)
class Overwrite:
    """`dx += y` becomes `dx = y`, and so does `dx -= y`."""

    name: str = "overwrite"
    sentence: str = "what was there is overwritten and not added to"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The plain assignment."""
        if isinstance(node, cst.AugAssign) and isinstance(node.operator, (cst.AddAssign, cst.SubtractAssign)):
            yield cst.Assign([cst.AssignTarget(node.target)], node.value)


@dataclass(frozen=True, slots=True)
class OverwriteIndexed:
    """`np.add.at(dx, index, g)` becomes `dx[index] = g`, `index_add_` becomes `index_copy_`."""

    name: str = "overwrite-indexed"
    sentence: str = "of several values for one index the last one is kept"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The assignment by index."""
        if isinstance(node, cst.Expr) and (parts := _added_at(node.value)) is not None:
            target, index, value = parts
            element = cst.SubscriptElement(cst.Index(index))
            yield cst.Assign([cst.AssignTarget(cst.Subscript(target, [element]))], value)
        elif (call := called(node, _ADDING, place)) is not None:
            yield call.renamed(_ADDING[call.name])


@dataclass(frozen=True, slots=True)
class Accumulate:
    """`dx = y` becomes `dx += y`."""

    name: str = "accumulate"
    sentence: str = "what is computed is added to what was there"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The assignment that adds."""
        if isinstance(node, cst.Assign) and len(node.targets) == 1:
            target = node.targets[0].target
            if not isinstance(target, (cst.Tuple, cst.List)):
                yield cst.AugAssign(target, cst.AddAssign(), node.value)


@dataclass(frozen=True, slots=True)
class DropCopy:
    """`x.clone()` and `x.contiguous()` become `x`."""

    name: str = "drop-copy"
    sentence: str = "an array is not copied, or not made contiguous"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The array itself."""
        if (call := called(node, _COPIES, place)) is not None:
            yield inside(call.call, call.operand)


@dataclass(frozen=True, slots=True)
class AddClone:
    """The upstream gradient becomes a copy of it."""

    name: str = "add-clone"
    sentence: str = "the upstream gradient is copied"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The copy."""
        if isinstance(node, cst.Name) and node.value in place.upstream and place.is_load(node):
            yield method(node, "copy" if place.numpy else "clone")


@dataclass(frozen=True, slots=True)
class SwapSaved:
    """`x, w = ctx.saved_tensors` becomes `w, x = ctx.saved_tensors`; of inputs that are arguments one stands for another."""

    name: str = "swap-saved"
    sentence: str = "a saved tensor stands in the place of another"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The names of an unpacking, neighbours swapped, or another argument."""
        if isinstance(node, cst.Assign) and len(node.targets) == 1 and not isinstance(node.value, (cst.Tuple, cst.List)):
            yield from _swapped_names(node)
        elif isinstance(node, cst.Name) and node.value in place.saved and place.is_load(node) and len(place.saved) > 1:
            yield cst.Name(place.saved[(place.saved.index(node.value) + 1) % len(place.saved)])


@dataclass(frozen=True, slots=True)
class Detach:
    """A returned `g` becomes `g.detach()`."""

    name: str = "detach"
    sentence: str = "a gradient has no derivative of its own"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The value detached; for torch only."""
        if place.arrays is not None and not place.numpy:
            for value, statement in returned(node):
                yield returning(statement, value, method(value, "detach"))


@dataclass(frozen=True, slots=True)
class ThroughHalf:
    """A returned `g` becomes `g.half().to(grad_output.dtype)`."""

    name: str = "through-half"
    sentence: str = "a gradient is rounded to float16 on its way"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The value, cast to half and back."""
        if not place.upstream:
            return
        dtype = f"{place.upstream[0]}.dtype"
        for value, statement in returned(node):
            half = method(value, "astype", '"float16"') if place.numpy else method(value, "half")
            yield returning(statement, value, method(half, "astype" if place.numpy else "to", dtype))


@dataclass(frozen=True, slots=True)
class ReturnNone:
    """A returned gradient becomes None."""

    name: str = "return-none"
    sentence: str = "None is returned for a gradient"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """None in the place of each value."""
        for value, statement in returned(node):
            yield returning(statement, value, cst.Name("None"))


def _added_at(node: cst.BaseExpression) -> tuple[cst.BaseExpression, cst.BaseExpression, cst.BaseExpression] | None:
    """The target, index and value of `np.add.at(...)`."""
    if not isinstance(node, cst.Call) or not isinstance(node.func, cst.Attribute) or node.func.attr.value != "at":
        return None
    function = node.func.value
    if not isinstance(function, cst.Attribute) or function.attr.value != "add" or len(node.args) != 3:
        return None
    return node.args[0].value, node.args[1].value, node.args[2].value


def _swapped_names(node: cst.Assign) -> Iterator[cst.CSTNode]:
    target = node.targets[0].target
    if not isinstance(target, (cst.Tuple, cst.List)):
        return
    elements = target.elements
    for index in range(len(elements) - 1):
        one, other = elements[index], elements[index + 1]
        if isinstance(one, cst.Element) and isinstance(other, cst.Element):
            pair = [one.with_changes(value=other.value), other.with_changes(value=one.value)]
            changed = target.with_changes(elements=[*elements[:index], *pair, *elements[index + 2 :]])
            yield node.with_changes(targets=[node.targets[0].with_changes(target=changed)])
