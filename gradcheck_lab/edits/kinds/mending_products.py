"""Edits that put in what a product or a sum of terms lacks: a factor, a size, a square, a term, a number of the forward."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst

from gradcheck_lab.edits.kinds.factors import is_epsilon
from gradcheck_lab.edits.kinds.kind import called, enclosed, inside, method, product, returning, values
from gradcheck_lab.edits.place import Place

_SIZES = ("shape[0]", "shape[-1]")
_ROOTS = frozenset("sqrt rsqrt log".split())
_FILLED = frozenset("ones_like ones".split())


@dataclass(frozen=True, slots=True)
class MultiplyByName:
    """`g` becomes `g * x` and `g / x`, with each variable; of a sum, each term."""

    name: str = "multiply-by-name"
    sentence: str = "a variable is put in as a factor or a divisor"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The value, or the term, times each variable and over it."""
        for variable in place.variables:
            for operator in (cst.Multiply(), cst.Divide()):
                for value, statement in values(node):
                    if not _makes(statement, variable):
                        yield returning(statement, value, _with_factor(value, operator, variable))
                for side, term in _terms(node):
                    yield node.with_changes(**{side: _with_factor(term, operator, variable)})


@dataclass(frozen=True, slots=True)
class ScaleBySize:
    """`g` becomes `g / x.shape[0]` and `g * x.shape[0]`, with the sizes of each variable, and `2 * g`, `0.5 * g`, `-g`."""

    name: str = "scale-by-size"
    sentence: str = "a value is multiplied or divided by a size"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The value times each size and over it."""
        sizes = (*_SIZES, "size" if place.numpy else "numel()")
        for value, statement in values(node):
            for factor in () if isinstance(statement, (cst.Return, cst.Lambda)) else ("2", "0.5", "-1"):
                yield returning(statement, value, product(factor, value))
            for variable in place.variables:
                if _makes(statement, variable):
                    continue
                for size in sizes:
                    for operator in (cst.Divide(), cst.Multiply()):
                        yield returning(statement, value, _with_factor(value, operator, f"{variable}.{size}"))


@dataclass(frozen=True, slots=True)
class ChangeInteger:
    """`x ** 3` becomes `x ** 2` and `x ** 4`; whole numbers in sums, products and powers alike."""

    name: str = "change-integer"
    sentence: str = "a whole number is one more or one less"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The operation with the number one lower and one higher, and half of it and its inverse in a product."""
        if not isinstance(node, cst.BinaryOperation):
            return
        for side in ("left", "right"):
            number = getattr(node, side)
            if isinstance(number, cst.Integer):
                value = int(number.value, 0)
                for other in (value - 1, value + 1):
                    if other > 1 or (other >= 0 and isinstance(node.operator, (cst.Add, cst.Subtract))):
                        yield node.with_changes(**{side: cst.Integer(str(other))})
        other_operator = {cst.Multiply: cst.Divide, cst.Divide: cst.Multiply}.get(type(node.operator))
        if other_operator is not None:
            yield node.with_changes(operator=other_operator())


@dataclass(frozen=True, slots=True)
class Complement:
    """`y` becomes `(1 - y)`, and `g` becomes `g * (1 - y)` and `g * (1 - y**2)`, with each variable."""

    name: str = "complement"
    sentence: str = "one minus a variable, or its square, is put in"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The complement of a variable in a product, and products with the complement of each."""
        if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, cst.Multiply):
            for side in ("left", "right"):
                operand = getattr(node, side)
                if _is_variable(operand, place):
                    yield node.with_changes(**{side: cst.parse_expression(f"(1 - {_code(operand)})")})
        for value, statement in values(node):
            for variable in place.variables:
                for factor in () if _makes(statement, variable) else (f"(1 - {variable})", f"(1 - {variable}**2)"):
                    yield returning(statement, value, _with_factor(value, cst.Multiply(), factor))


@dataclass(frozen=True, slots=True)
class SquareName:
    """`1 - y` becomes `1 - y**2`."""

    name: str = "square-name"
    sentence: str = "a variable is squared"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The square of a variable that an operation takes."""
        if isinstance(node, cst.BinaryOperation) and not isinstance(node.operator, (cst.MatrixMultiply, cst.Power)):
            for side in ("left", "right"):
                operand = getattr(node, side)
                if _is_variable(operand, place):
                    yield node.with_changes(**{side: cst.parse_expression(f"{_code(operand)}**2")})


@dataclass(frozen=True, slots=True)
class AddTerm:
    """`g` becomes `g - g.mean(0)`, `g - y * (g * y).sum(-1, keepdim=True)`, `g + grad_output` and the like."""

    name: str = "add-term"
    sentence: str = "a term is put in: the upstream, a mean, a projection"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The value with another term."""
        keep = "keepdims=True" if place.numpy else "keepdim=True"
        for value, statement in values(node):
            code = _code(enclosed(value))
            variables = [name for name in place.variables if not _makes(statement, name)]
            terms = [f"{code} + {name}" for name in variables]
            for axis in ("-1", "0"):
                terms.append(f"{code} - {code}.mean({axis}, {keep})")
                for name in variables:
                    for reduction in ("sum", "mean"):
                        terms.append(f"{code} - {name} * ({code} * {name}).{reduction}({axis}, {keep})")
            for term in terms:
                yield returning(statement, value, cst.parse_expression(term))


@dataclass(frozen=True, slots=True)
class UseUpstream:
    """`torch.ones_like(grad_output)` becomes `grad_output`."""

    name: str = "use-upstream"
    sentence: str = "the upstream gradient stands where ones were"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """Each upstream gradient in the place of ones."""
        if called(node, _FILLED, place) is not None:
            yield from map(cst.Name, place.upstream)


@dataclass(frozen=True, slots=True)
class WholeArray:
    """`x[0]`, `x.ravel()[0]` and `x[0].item()` become `x`."""

    name: str = "whole-array"
    sentence: str = "an array stands where one entry of it was"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The array that was indexed, or of which a number was made."""
        if isinstance(node, cst.Subscript):
            yield inside(node, node.value)
            if (call := called(node.value, ("ravel", "flatten", "reshape", "view"), place)) is not None:
                yield inside(node, call.operand)
        elif (call := called(node, ("item", "max", "min", "amax", "amin"), place)) is not None:
            yield inside(call.call, call.operand)


@dataclass(frozen=True, slots=True)
class ReplaceName:
    """`x` becomes another variable."""

    name: str = "replace-name"
    sentence: str = "a variable stands where another was"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """Each other variable in the place of one."""
        if isinstance(node, (cst.Name, cst.Attribute)) and _is_variable(node, place):
            for variable in place.variables:
                if variable != _code(node):
                    yield cst.parse_expression(variable)


@dataclass(frozen=True, slots=True)
class NumberOfForward:
    """A number becomes one of the forward's: `1e-6` becomes `1e-5`."""

    name: str = "number-of-forward"
    sentence: str = "a number is the one that the forward has"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """Each number of the forward in the place of a number."""
        if isinstance(node, (cst.Float, cst.Integer)):
            for number in place.numbers:
                if float(number) != float(node.evaluated_value):
                    yield cst.parse_expression(repr(number))


@dataclass(frozen=True, slots=True)
class ReadOption:
    """The default of an option becomes the option: `2` becomes `p`, `ctx.p`."""

    name: str = "read-option"
    sentence: str = "an option is read where its default stood"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The options in the place of a plain value."""
        if isinstance(node, (cst.Float, cst.Integer, cst.SimpleString)):
            same = [name for name, value in place.defaults.items() if value == _code(node)]
            held = [each for each in place.variables if "." in each and each.rpartition(".")[2] in place.held]
            same += [each for each in held if place.held[each.rpartition(".")[2]] == _code(node)]
            for each in same:
                yield cst.parse_expression(each)


@dataclass(frozen=True, slots=True)
class AddEpsilon:
    """`x.sqrt()` becomes `(x + 1e-5).sqrt()`, and `g / s` becomes `g / (s + 1e-5)`, with the small numbers of the forward."""

    name: str = "add-epsilon"
    sentence: str = "the small number of the forward is added under a root, or to a divisor"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The root or quotient with each small number."""
        numbers = [cst.parse_expression(repr(each)) for each in place.numbers if each > 0]
        small = [each for each in numbers if is_epsilon(each)]
        small += [each for name in place.variables if is_epsilon(each := cst.parse_expression(name))]
        for each in small:
            if (call := called(node, _ROOTS, place)) is not None:
                yield call.call.deep_replace(call.operand, _plus(call.operand, each))
            elif isinstance(node, cst.BinaryOperation) and isinstance(node.operator, cst.Divide):
                yield node.with_changes(right=_plus(node.right, each))


@dataclass(frozen=True, slots=True)
class DropOffset:
    """`n - 1` becomes `n`, and `x[1:]` and `x[:-1]` become `x[:]`."""

    name: str = "drop-offset"
    sentence: str = "what is added to or taken from a count or bound is left out"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The count without what is added to it."""
        if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, (cst.Add, cst.Subtract)):
            if isinstance(node.right, (cst.Integer, cst.Float)):
                yield inside(node, node.left)
            if isinstance(node.left, (cst.Integer, cst.Float)) and isinstance(node.operator, cst.Add):
                yield inside(node, node.right)
        elif isinstance(node, cst.Slice):
            if node.lower is not None:
                yield node.with_changes(lower=None)
            if node.upper is not None:
                yield node.with_changes(upper=None)


@dataclass(frozen=True, slots=True)
class AddConjugate:
    """`x` becomes `x.conj()`."""

    name: str = "add-conjugate"
    sentence: str = "a variable is conjugated"

    def replacements(self, node: cst.CSTNode, place: Place) -> Iterator[cst.CSTNode]:
        """The conjugate of a variable, and of a value."""
        if isinstance(node, (cst.Name, cst.Attribute)) and _is_variable(node, place):
            yield method(node, "conj")
        for value, statement in values(node):
            yield returning(statement, value, method(value, "conj"))


def _with_factor(value: cst.BaseExpression, operator: cst.BaseBinaryOp, factor: str) -> cst.BaseExpression:
    return cst.BinaryOperation(_as_factor(value), operator, cst.parse_expression(factor))


def _makes(statement: cst.CSTNode, variable: str) -> bool:
    """Whether a statement assigns the variable, which cannot be read in it then."""
    return isinstance(statement, cst.Assign) and _code(statement.targets[0].target) == variable


def _as_factor(value: cst.BaseExpression) -> cst.BaseExpression:
    """The value as the left operand of a product, in parentheses where it binds less."""
    is_product = isinstance(value, cst.BinaryOperation) and isinstance(
        value.operator, (cst.Multiply, cst.Divide, cst.MatrixMultiply, cst.Power)
    )
    return value if is_product else enclosed(value)


def _terms(node: cst.CSTNode) -> Iterator[tuple[str, cst.BaseExpression]]:
    """The two terms of a sum, with the side on which each stands."""
    if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, (cst.Add, cst.Subtract)):
        yield "left", node.left
        yield "right", node.right


def _plus(value: cst.BaseExpression, number: cst.BaseExpression) -> cst.BaseExpression:
    return enclosed(cst.BinaryOperation(value, cst.Add(), number))


def _is_variable(node: cst.CSTNode, place: Place) -> bool:
    if isinstance(node, cst.Attribute):
        return _code(node) in place.variables
    return isinstance(node, cst.Name) and place.is_load(node) and node.value in place.variables


def _code(node: cst.CSTNode) -> str:
    return cst.Module([]).code_for_node(node)
