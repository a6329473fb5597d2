"""Conditions of the user's code in the user's own words: as they stand, and negated."""

from __future__ import annotations

import ast

from gradcheck_lab.model.shown import cut

_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.GtE, ast.GtE: ast.Lt,
    ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


def code_text(node: ast.AST) -> str:
    """The code of a node in one line.

    >>> code_text(ast.parse("x  >  3.0", mode="eval").body)
    'x > 3.0'
    """
    return cut(" ".join(ast.unparse(node).split()))


def negated(test: ast.expr) -> ast.expr:
    """The opposite of a condition.

    >>> code_text(negated(ast.parse("bias is not None and not flag", mode="eval").body))
    'bias is None or flag'
    """
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        return ast.Compare(test.left, [_OPPOSITE[type(test.ops[0])]()], test.comparators)
    if isinstance(test, ast.BoolOp):
        op = ast.Or() if isinstance(test.op, ast.And) else ast.And()
        return ast.BoolOp(op, [negated(value) for value in test.values])
    return ast.UnaryOp(ast.Not(), test)


def beyond_needs(test: ast.expr) -> ast.expr | None:
    """What a condition asks besides which gradients are needed; None where it asks nothing else.

    >>> code_text(beyond_needs(ast.parse("ctx.needs_input_grad[1] and bias is not None", mode="eval").body))
    'bias is not None'
    """
    if not any(isinstance(node, ast.Attribute) and node.attr == "needs_input_grad" for node in ast.walk(test)):
        return test
    if isinstance(test, ast.BoolOp):
        rest = [each for each in map(beyond_needs, test.values) if each is not None]
        return None if not rest else rest[0] if len(rest) == 1 else ast.BoolOp(test.op, rest)
    return None
