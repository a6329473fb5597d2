"""The conditions on elements in a function: comparisons, masks, and the bounds of clamps and functions with pieces."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from gradcheck_lab.subjects.run_lines.source import INNER, Scope, own_lines, statements, suites
from gradcheck_lab.subjects.run_lines.words import code_text, negated

_COMPARED = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
_ELSEWHERE = (*INNER, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SPECIAL = frozenset("isnan isinf isfinite isposinf isneginf isreal".split())  # of values of which no gradient is compared
# the arguments of functions with pieces, after the values themselves, with their defaults
_Bounds = dict[str, tuple[tuple[str, str | None], ...]]
_TWO_SIDED: _Bounds = {
    "clamp": (("min", None), ("max", None)),
    "clip": (("min", None), ("max", None)),
    "clamp_": (("min", None), ("max", None)),
    "hardtanh": (("min_val", "-1.0"), ("max_val", "1.0")),
    "relu6": (("", "0"), ("", "6")),
    "hardswish": (("", "-3"), ("", "3")),
    "hardsigmoid": (("", "-3"), ("", "3")),
}
_LOWER: _Bounds = {"clamp_min": (("min", None),), "relu": (("", "0"),), "leaky_relu": (("", "0"),), "elu": (("", "0"),),
                   "celu": (("", "0"),), "selu": (("", "0"),), "relu_": (("", "0"),)}  # fmt: skip
_UPPER: _Bounds = {"clamp_max": (("max", None),), "threshold": (("threshold", None),)}
_PAIRS = frozenset("maximum minimum fmax fmin".split())
_DISTANCES: dict[str, tuple[str, int, str]] = {"smooth_l1_loss": ("beta", 5, "1.0"), "huber_loss": ("delta", 3, "1.0")}
_MASKED = {"where": 0, "masked_fill": 1, "masked_fill_": 1, "masked_select": 1}
_SOFTPLUS = ((1, "beta", "1"), (2, "threshold", "20"))
_MODULES = frozenset("torch np numpy F nn functional linalg".split())
_SHRINKS = frozenset({"softshrink", "hardshrink"})
_ARRAY_NAMES = {"min": "a_min", "max": "a_max"}


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that elements meet or not: `test` is an expression that gives booleans.

    `line` is that of the statement before which it is evaluated. `decides` says that code is run or not by it as a whole, as
    by `if`.
    """

    test: ast.expr
    line: int
    decides: bool = False

    @property
    def sides(self) -> tuple[str, str]:
        """The condition for elements that meet it, and for those that do not."""
        return code_text(self.test), code_text(negated(self.test))

    @property
    def operands(self) -> tuple[ast.expr, ast.expr] | None:
        """The two sides of a comparison; None for a mask."""
        return (self.test.left, self.test.comparators[0]) if isinstance(self.test, ast.Compare) else None


def conditions_of(scope: Scope, lines: frozenset[int]) -> tuple[Condition, ...]:
    """The conditions of a function, each once for a statement; `lines` are those that have instructions."""
    found: dict[tuple[str, int], Condition] = {}
    if isinstance(scope, ast.Lambda):
        first = min((line for line in lines if line >= scope.body.lineno), default=scope.body.lineno)
        parts: list[tuple[ast.AST, int, bool]] = [(scope.body, first, False)]
    else:
        parts = [part for statement in statements(scope) for part in _parts(statement, lines)]
    masks = _named_masks(parts)
    for node, line, decides in parts:
        for test in _tests(node, masks):
            found.setdefault((ast.unparse(test), line), Condition(test, line, decides))
    return tuple(found.values())


def _parts(statement: ast.stmt, lines: frozenset[int]) -> Iterator[tuple[ast.AST, int, bool]]:
    """The expressions of a statement itself, with the line before which they are evaluated."""
    if isinstance(statement, (*INNER, ast.Assert, ast.Raise)):
        return
    line = next((line for line in own_lines(statement) if line in lines), None)
    if line is None or (isinstance(statement, ast.If) and _refuses(statement)):
        return
    if not any(suites(statement)):
        yield statement, line, False
    elif isinstance(statement, (ast.If, ast.While)):
        yield statement.test, line, True


def _refuses(statement: ast.If) -> bool:
    return all(isinstance(each, (ast.Raise, ast.Assert, ast.Pass)) for each in statement.body) and not statement.orelse


def _named_masks(parts: list[tuple[ast.AST, int, bool]]) -> frozenset[str]:
    """The names that conditions are assigned to: what is done by such a name is known from there."""
    stored = [node for node, _, _ in parts if isinstance(node, ast.Assign)]
    tested = [node for node in stored if any(True for _ in _tests(node.value, frozenset()))]
    return frozenset(target.id for node in tested for target in node.targets if isinstance(target, ast.Name))


def _tests(node: ast.AST, masks: frozenset[str]) -> Iterator[ast.expr]:
    if isinstance(node, _ELSEWHERE) or (isinstance(node, ast.Call) and _word(node.func) in _SPECIAL):
        return
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], _COMPARED):
        if ast.dump(node.left) != ast.dump(node.comparators[0]):  # x != x asks for NaN
            yield node
        return
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitAnd, ast.BitOr)):
        inner = [test for side in (node.left, node.right) for test in _tests(side, masks)]
        yield from inner
        if inner:
            yield node  # both at once, which may be another matter
        return
    if isinstance(node, ast.Call):
        yield from _of_call(node, masks)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, (ast.Name, ast.UnaryOp)):
        yield from _mask(node.slice, masks)
    for child in ast.iter_child_nodes(node):
        yield from _tests(child, masks)


def _mask(node: ast.expr, masks: frozenset[str]) -> Iterator[ast.expr]:
    inner = node.operand if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert) else node
    if isinstance(inner, (ast.Name, ast.Attribute)) and not (isinstance(inner, ast.Name) and inner.id in masks):
        yield inner


def _of_call(node: ast.Call, masks: frozenset[str]) -> Iterator[ast.expr]:
    """The conditions by which a call treats its elements; whether it is a method, the number of arguments tells later."""
    name = _word(node.func)
    arguments = _arguments(node)
    if name in _MASKED:
        at = _MASKED[name] if name != "where" or _is_of_module(node.func) else 1
        if at < len(arguments):
            yield from _mask(arguments[at], masks)
    if name in _PAIRS and len(arguments) >= 2:
        yield _compare(arguments[0], ast.Gt(), arguments[1])
    for table, ops in ((_TWO_SIDED, (ast.Lt(), ast.Gt())), (_LOWER, (ast.Lt(),)), (_UPPER, (ast.Gt(),))):
        for index, (word, default) in enumerate(table.get(name, ())):
            bound = _given(node, arguments, index + 1, word, default)
            if bound is not None and arguments:
                yield _compare(arguments[0], ops[index], bound)
    if name in _SHRINKS and arguments:
        bound = _given(node, arguments, 1, "lambd", "0.5")
        yield _compare(_magnitude(arguments[0]), ast.Gt(), bound or ast.Constant(0.5))
    if name in _DISTANCES and len(arguments) >= 2:
        word, place, default = _DISTANCES[name]
        bound = _given(node, arguments, place, word, default) or ast.Constant(1.0)
        yield _compare(_magnitude(ast.BinOp(arguments[0], ast.Sub(), arguments[1])), ast.Gt(), bound)
    if name == "softplus" and arguments:
        beta, limit = (_given(node, arguments, *each) or ast.Constant(1) for each in _SOFTPLUS)
        plain = ast.unparse(beta) == "1"
        yield _compare(arguments[0] if plain else ast.BinOp(arguments[0], ast.Mult(), beta), ast.Gt(), limit)


def _compare(left: ast.expr, op: ast.cmpop, right: ast.expr) -> ast.Compare:
    return ast.Compare(left, [op], [right])


def _magnitude(node: ast.expr) -> ast.expr:
    return ast.Call(ast.Name("abs"), [node], [])


def _arguments(node: ast.Call) -> list[ast.expr]:
    """The arguments by position; of a method, with what it is called on."""
    own = [node.func.value] if isinstance(node.func, ast.Attribute) and not _is_of_module(node.func) else []
    return [*own, *node.args]


def _given(node: ast.Call, arguments: list[ast.expr], place: int, word: str, default: str | None) -> ast.expr | None:
    """An argument by its position or word, else its default; None where there is none, and where it is None."""
    words = (word, _ARRAY_NAMES.get(word))
    by_word = next((k.value for k in node.keywords if k.arg in words and word), None)
    found = by_word if by_word is not None else arguments[place] if word and place < len(arguments) else None
    if found is None and default is not None:
        return ast.parse(default, mode="eval").body
    return None if isinstance(found, ast.Constant) and found.value is None else found


def _is_of_module(function: ast.expr) -> bool:
    """Whether a call is of a function of a module as it is usually named, rather than of a method of a value."""
    owner = function.value if isinstance(function, ast.Attribute) else None
    while isinstance(owner, ast.Attribute):
        owner = owner.value
    return owner is None or (isinstance(owner, ast.Name) and owner.id in _MODULES)


def _word(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
