"""The concrete syntax of one function in its file, and the file with a part of it replaced."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType

import libcst as cst
from libcst.metadata import CodeRange, MetadataWrapper, PositionProvider, WhitespaceInclusivePositionProvider

from gradcheck_lab.edits.written import source_lines

Node = cst.FunctionDef | cst.Lambda
_SPLICED = (cst.BaseExpression, cst.BaseSmallStatement)
_Node = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(frozen=True, slots=True)
class Source:
    """A function in the statement at the top of a file that it stands in.

    `spans` are where the parts of the statement stand in its text, with the white space and parentheses that belong to them.
    `first` and `last` are the lines of that statement, counted from 1; `code` is its text, `module` its syntax, `node` the
    function in it.
    """

    text: str
    first: int
    last: int
    code: str
    module: cst.Module
    node: Node
    lines: dict[cst.CSTNode, int]
    spans: dict[cst.CSTNode, tuple[int, int]]

    def line_of(self, node: cst.CSTNode) -> int:
        """The line of the file where a part of the statement begins."""
        return self.lines.get(node, 1) + self.first - 1

    def replaced(self, node: cst.CSTNode, new: cst.CSTNode) -> str | None:
        """The text of the file with `new` in the place of `node`; None where that is no longer Python."""
        code = self._spliced(node, new)
        if code is None:
            changed = self.module.deep_replace(node, new)
            assert isinstance(changed, cst.Module)
            code = changed.code
        try:
            ast.parse(code)
        except SyntaxError:
            return None
        lines = self.text.splitlines(keepends=True)
        return "".join(lines[: self.first - 1]) + code + "".join(lines[self.last :])

    def _spliced(self, node: cst.CSTNode, new: cst.CSTNode) -> str | None:
        """The statement with the text of `new` where that of `node` stands; None where its text alone does not say it.

        To replace a node in the syntax copies the whole statement, which takes ten times as long.
        """
        where = self.spans.get(node)
        if where is None or not isinstance(node, _SPLICED) or not isinstance(new, _SPLICED):
            return None
        start, end = where
        if self.code[start:end] != self.module.code_for_node(node):
            return None
        return self.code[:start] + self.module.code_for_node(new) + self.code[end:]


def source_of(function: FunctionType) -> Source | None:
    """The syntax of a function; None where its text is not at hand or is no longer what it was compiled from."""
    text = "".join(source_lines(function))
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    found = _node_of(tree, function.__code__)
    if found is None:
        return None
    top = next(each for each in tree.body if each.lineno <= found.lineno <= (each.end_lineno or 0) or _decorated(each, found))
    first, last = _first_line(top), top.end_lineno or top.lineno
    lines = text.splitlines(keepends=True)
    try:
        module = cst.parse_module("".join(lines[first - 1 : last]))
    except cst.ParserSyntaxError:
        return None
    wrapper = MetadataWrapper(module, unsafe_skip_copy=True)
    positions = wrapper.resolve(PositionProvider)
    column = len(lines[found.lineno - 1].encode()[: found.col_offset].decode())
    for node, place in positions.items():
        at = (place.start.line + first - 1, place.start.column)
        if isinstance(node, (cst.FunctionDef, cst.Lambda)) and at == (found.lineno, column):
            code = module.code
            spans = _spans(code, wrapper.resolve(WhitespaceInclusivePositionProvider))
            lines_of = {each: where.start.line for each, where in positions.items()}
            return Source(text, first, last, code, module, node, lines_of, spans)
    return None


def _spans(code: str, ranges: Mapping[cst.CSTNode, CodeRange]) -> dict[cst.CSTNode, tuple[int, int]]:
    """Ranges of lines and columns as places in a text."""
    starts = [0, 0]
    for line in code.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    starts.append(starts[-1])  # the end of a text that ends with a line's end
    return {
        node: (starts[where.start.line] + where.start.column, starts[where.end.line] + where.end.column)
        for node, where in ranges.items()
    }


def _first_line(node: ast.stmt | ast.expr) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(each.lineno for each in decorators)])


def _decorated(top: ast.stmt, found: _Node) -> bool:
    """Whether a function stands in the decorators of a statement."""
    return _first_line(top) <= found.lineno <= (top.end_lineno or 0)


def _node_of(tree: ast.Module, code: CodeType) -> _Node | None:
    """The function in a syntax tree that a code object was compiled from."""
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    for node in ast.walk(tree):
        if not isinstance(node, _Node) or _first_line(node) != code.co_firstlineno:
            continue
        name = "<lambda>" if isinstance(node, ast.Lambda) else node.name
        given = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        if name == code.co_name and tuple(given) == names and (name != "<lambda>" or _holds(node, code)):
            return node
    return None


def _holds(node: _Node, code: CodeType) -> bool:
    """Whether the instructions of a lambda stand where its body is: several may be on one line."""
    assert isinstance(node, ast.Lambda)
    body = node.body
    places = [(line, column) for line, _, column, _ in code.co_positions() if line and column]
    start, end = (body.lineno, body.col_offset), (body.end_lineno or 0, body.end_col_offset or 0)
    return all(start <= place <= end for place in places)
