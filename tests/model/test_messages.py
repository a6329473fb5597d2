"""Messages are for people alone: nothing decides by their words."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.package_trees import trees

# the renderers lay messages out, and torch's own are recognised in one place
FREE = {"render", "torch_messages.py"}
WRITTEN = {"message", "explanation", "suggestion", "sentence", "where"}
TO_PEOPLE = {"first_line", "text_of", "class_and_line", "user_traceback"}
PARTED = {
    "startswith", "endswith", "removeprefix", "removesuffix", "partition", "rpartition", "find", "rfind", "index", "rindex",
    "count", "setdefault", "get", "match", "search", "fullmatch", "findall", "sub", "isidentifier", "__contains__",
}  # fmt: skip


def is_message(node: ast.AST, errors: set[str]) -> bool:
    """Whether an expression is text for people: of a finding or explanation, or what an exception says."""
    if isinstance(node, ast.Attribute):
        return node.attr in WRITTEN and not (isinstance(node.value, ast.Name) and node.value.id == "torch")
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        given = {getattr(each, "id", None) or getattr(each, "attr", None) for each in node.args}
        return node.func.id in TO_PEOPLE or (node.func.id in {"str", "repr"} and bool(given & errors))
    return isinstance(node, ast.FormattedValue) and getattr(node.value, "id", None) in errors


def is_text(node: ast.AST, errors: set[str]) -> bool:
    """Whether an expression is a message or made of one by formatting, adding and methods: `str(error).strip()`."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        node = node.func.value
    if isinstance(node, ast.JoinedStr | ast.FormattedValue | ast.BinOp | ast.BoolOp | ast.Subscript | ast.IfExp):
        return any(is_text(each, errors) for each in ast.iter_child_nodes(node))
    return is_message(node, errors)


class Function:
    """One function, the names in it that hold messages, and where it decides by one."""

    def __init__(self, node: ast.AST) -> None:
        self.nodes = list(ast.walk(node))
        handlers = {each.name for each in self.nodes if isinstance(each, ast.ExceptHandler) and each.name}
        self.errors = handlers | {"error", "exception"}
        self.silent = not any(is_message(each, self.errors) for each in self.nodes)
        assigned = [each for each in self.nodes if isinstance(each, ast.Assign) and is_text(each.value, self.errors)]
        self.names = {target.id for each in assigned for target in each.targets if isinstance(target, ast.Name)}

    def reads(self, node: ast.AST) -> bool:
        inner = list(ast.walk(node))
        named = any(isinstance(each, ast.Name) and each.id in self.names for each in inner)
        return named or any(is_message(each, self.errors) for each in inner)

    def decisions(self) -> Iterator[ast.expr]:
        for node in () if self.silent else self.nodes:
            asked: list[ast.AST] = []
            if isinstance(node, ast.Compare) and not all(isinstance(op, ast.Is | ast.IsNot) for op in node.ops):
                asked = [node]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in PARTED:
                asked = [node.func.value, *node.args]
            elif isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Constant | ast.Slice):
                asked = [node.slice]
            if isinstance(node, ast.expr) and any(map(self.reads, asked)):
                yield node


def decisions(tree: ast.AST) -> list[ast.expr]:
    """The comparisons, searches and look-ups in `tree` that read a message, by itself or under a name given to it."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [found for function in functions for found in Function(function).decisions()]


def sources() -> dict[str, ast.AST]:
    return {place: tree for place, tree in trees().items() if not FREE & {place.split("/")[0], place.split("/")[-1]}}


def test_nothing_decides_by_a_message() -> None:
    found = [f"{name}:{node.lineno}: {ast.unparse(node)}" for name, tree in sources().items() for node in decisions(tree)]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        'f.message.startswith("forward")',
        '"dtype" in f"{f.message} {f.explanation}"',
        'any(word in f.message for word in ("ValueError",))',
        "seen.setdefault(f.message, f)",
        'f.explanation == "manual and numeric agree"',
        '"mutated" in str(error)',
        "known[f.message]",
        're.search("x", f.suggestion)',
    ],
)
def test_a_decision_by_a_message_is_seen(line: str) -> None:
    assert decisions(ast.parse(f"def decide(f, error):\n    return {line}"))


def test_a_decision_by_a_name_for_a_message_is_seen() -> None:
    assert decisions(ast.parse("def decide(error):\n    first = str(error).strip()\n    return 'dtype' in first"))
    assert not decisions(ast.parse("def show(f):\n    return f.message if f.case == 'as given' else f.explanation"))
