"""Edits that put in what happens to an array: a shape, a transposition, a copy, a sum by index, a dtype, what is returned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst

from gradcheck_lab.edits.kinds.kind import attribute, called, entries, inside, method, returning, values
from gradcheck_lab.edits.place import Place

_ASSIGNING = {"index_copy_": "index_add_", "index_copy": "index_add", "scatter_": "scatter_add_", "scatter": "scatter_add"}
_CASTS = frozenset("half float double bfloat16 to astype type".split())


@dataclass(frozen=True, slots=True)
class MatchShape:
    """`g` becomes `g.sum_to_size(b.shape)`, `g.sum(tuple(range(g.ndim - 1)))` and `g.reshape(b.shape)`."""

    name: str = "match-shape"
    sentence: str = "a value is summed or reshaped to the shape of a variable"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The value in another shape."""
        for value, statement in values(node):
            new: list[cst.BaseExpression] = []
            if isinstance(value, cst.Name):
                new.append(method(value, "sum", f"tuple(range({value.value}.ndim - 1))"))
            for name in place.upstream[:1]:
                new.append(method(value, "sum", f"tuple(range({name}.ndim - 1))"))
            for name in place.variables:
                if not place.numpy:
                    new.append(method(value, "sum_to_size", f"{name}.shape"))
                new.append(method(value, "reshape", f"{name}.shape"))
            for axes in ("1", "(0, 1)", "(0, 2, 3)", "0, keepdim=True", "1, keepdim=True", "-1, keepdim=True"):
                text = axes.replace("keepdim=", "keepdims=") if place.numpy else axes
                code = cst.Module([]).code_for_node(method(value, "sum"))
                new.append(cst.parse_expression(f"{code[:-1]}{text})"))
            for each in new:
                yield returning(statement, value, each)


@dataclass(frozen=True, slots=True)
class TransposeValue:
    """`g` becomes `g.mT`, and `x.flip(-1)`."""

    name: str = "transpose-value"
    sentence: str = "a value is transposed or flipped"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The transposed value."""
        word = "T" if place.numpy else "mT"
        for value, statement in values(node):
            yield returning(statement, value, attribute(value, word))
            if not place.numpy:
                yield returning(statement, value, method(value, "flip", "-1"))
        if isinstance(node, cst.Name) and place.is_load(node) and node.value in place.variables and not place.numpy:
            yield method(node, "flip", "-1")
            yield method(node, "flip", "0")


@dataclass(frozen=True, slots=True)
class AccumulateIndexed:
    """`dx[i] = g` and `dx[i] += g` become `dx.index_put_((i,), g, accumulate=True)`, or `np.add.at(dx, i, g)`."""

    name: str = "accumulate-indexed"
    sentence: str = "values for one index are added up"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The sum by index in the place of the assignment."""
        if (call := called(node, _ASSIGNING, place)) is not None:
            yield call.renamed(_ASSIGNING[call.name])
            return
        target = node.targets[0].target if isinstance(node, cst.Assign) and len(node.targets) == 1 else None
        target = node.target if isinstance(node, cst.AugAssign) and isinstance(node.operator, cst.AddAssign) else target
        if not isinstance(target, cst.Subscript) or any(not isinstance(e.slice, cst.Index) for e in target.slice):
            return
        assert isinstance(node, (cst.Assign, cst.AugAssign))
        array, value = _code(target.value), _code(node.value)
        index = ", ".join(_code(each.slice) for each in target.slice)
        if place.numpy:
            key = index if len(target.slice) == 1 else f"({index})"
            yield cst.Expr(cst.parse_expression(f"{place.arrays}.add.at({array}, {key}, {value})"))
        else:
            yield cst.Expr(cst.parse_expression(f"{array}.index_put_(({index},), {value}, accumulate=True)"))


@dataclass(frozen=True, slots=True)
class OutOfPlace:
    """`x *= y` becomes `x = x * y`, and `x.mul_(y)` becomes `x.mul(y)`."""

    name: str = "out-of-place"
    sentence: str = "a new array is made where one was written to"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The operation that leaves its operand as it was."""
        if isinstance(node, cst.AugAssign):
            operator = type(node.operator).__name__.removesuffix("Assign")
            binary = getattr(cst, {"Add": "Add"}.get(operator, operator), None)
            if binary is not None and isinstance(node.target, (cst.Name, cst.Attribute)):
                right = node.value if isinstance(node.value, (cst.Name, cst.Call)) else _in_parentheses(node.value)
                yield cst.Assign([cst.AssignTarget(node.target)], cst.BinaryOperation(node.target, binary(), right))
        elif isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute):
            word = node.func.attr.value
            if word.endswith("_") and not word.endswith("__"):
                yield node.with_changes(func=node.func.with_changes(attr=cst.Name(word.rstrip("_"))))
        elif isinstance(node, cst.Expr) and isinstance(node.value, cst.Call) and isinstance(node.value.func, cst.Attribute):
            word, owner = node.value.func.attr.value, node.value.func.value
            if word.endswith("_") and not word.endswith("__") and isinstance(owner, cst.Name):
                call = node.value.with_changes(func=node.value.func.with_changes(attr=cst.Name(word.rstrip("_"))))
                yield cst.Assign([cst.AssignTarget(owner)], call)


@dataclass(frozen=True, slots=True)
class CloneValue:
    """A value that is assigned or returned becomes a copy of it."""

    name: str = "clone-value"
    sentence: str = "a value is copied"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The copy."""
        for value, statement in values(node):
            yield returning(statement, value, method(value, "copy" if place.numpy else "clone"))


@dataclass(frozen=True, slots=True)
class AddContiguous:
    """`g.view(-1)` becomes `g.contiguous().view(-1)`, with each variable, and `view` becomes `reshape`."""

    name: str = "add-contiguous"
    sentence: str = "an array is made contiguous"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The contiguous array."""
        if isinstance(node, cst.Name) and place.is_load(node) and node.value in place.variables and not place.numpy:
            yield method(node, "contiguous")
        elif (call := called(node, ("view", "view_as"), place)) is not None:
            yield call.renamed("reshape" + call.name.removeprefix("view"))


@dataclass(frozen=True, slots=True)
class ReturnName:
    """`return g, None` becomes `return g, dw`, with each variable; and one more gradient is returned, or one less."""

    name: str = "return-name"
    sentence: str = "a variable is returned for an input that got nothing"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """A variable in the place of None, and another number of gradients."""
        value = node.value if isinstance(node, cst.Return) else node.body if isinstance(node, cst.Lambda) else None
        if value is None:
            return
        assert isinstance(node, (cst.Return, cst.Lambda))
        upstream = [f"{g} * {name}" for g in place.upstream for name in place.variables if name != g]
        for each in entries(value):
            if isinstance(each, cst.Name) and each.value == "None":
                for text in (*place.variables, *upstream):
                    yield returning(node, each, cst.parse_expression(text))
        codes = [_code(each) for each in entries(value)] if not isinstance(value, cst.IfExp) else []
        for more in ("None", *place.variables) if codes else ():
            yield returning(node, value, cst.parse_expression(f"{', '.join([*codes, more])}")) if _is_open(node) else node
        if len(codes) > 1 and _is_open(node):
            yield returning(node, value, cst.parse_expression(", ".join(codes[:-1]) + ("," if len(codes) == 2 else "")))


@dataclass(frozen=True, slots=True)
class Cast:
    """`g` becomes `g.to(x.dtype)`, with each variable."""

    name: str = "cast"
    sentence: str = "a value is given the dtype of a variable"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The value in another dtype."""
        for value, statement in values(node):
            for name in place.variables:
                yield returning(statement, value, method(value, "astype" if place.numpy else "to", f"{name}.dtype"))


@dataclass(frozen=True, slots=True)
class DropCast:
    """`x.half()` becomes `x`."""

    name: str = "drop-cast"
    sentence: str = "a cast to another dtype is left out"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The array itself."""
        if (call := called(node, _CASTS, place)) is not None:
            yield inside(call.call, call.operand)


@dataclass(frozen=True, slots=True)
class DropDetach:
    """`x.detach()` and `x.data` become `x`."""

    name: str = "drop-detach"
    sentence: str = "a value keeps its derivative"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The value itself."""
        if (call := called(node, ("detach",), place)) is not None:
            yield inside(call.call, call.operand)
        elif isinstance(node, cst.Attribute) and node.attr.value == "data":
            yield inside(node, node.value)


def _in_parentheses(node: cst.BaseExpression) -> cst.BaseExpression:
    return node if node.lpar else node.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])


def _is_open(node: cst.Return | cst.Lambda) -> bool:
    """Whether a tuple may be returned without parentheses."""
    return isinstance(node, cst.Return)


def _code(node: cst.CSTNode) -> str:
    return cst.Module([]).code_for_node(node)
