"""The private names of torch stand in one file, and those of triton in another."""

import ast
import re

from tests.package_trees import PACKAGE, trees

HOME = "torch_internals.py"
TRITON = "triton_internals.py"  # has those of triton
READS = {"getattr", "setattr", "hasattr", "delattr"}


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def own_names() -> set[str]:
    """Private methods, fields and attributes that classes of the package define."""
    found = set()
    for tree in trees().values():
        for cls in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            found |= {part.name for part in cls.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)}
            found |= {n.id for part in cls.body if isinstance(part, ast.AnnAssign | ast.Assign) for n in names_set(part)}
            found |= {
                node.attr
                for node in ast.walk(cls)
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value)
            }
    return {name for name in found if private(name)}


def names_set(statement):
    return (n for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))


# what only a private name of Python itself gives: frames, an exit without clean-up, locks and servers in a forked process
PYTHON_OWN = {
    "sys._getframe",
    "sys._current_frames",
    "os._exit",
    "TURNS._at_fork_reinit",
    "server._forkserver_alive_fd",
    "server._forkserver_pid",
}
_OF_FORK_SERVER = {"_forkserver", "_forkserver_alive_fd"}


def is_self(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id in ("self", "cls")


def named(node: ast.AST, own: set[str]) -> str | None:
    """The private name of something else than this package that a node reads or imports."""
    if isinstance(node, ast.ImportFrom | ast.Import):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        if not any(module.partition(".")[0] == "torch" for module in modules):
            return None
        parts = [part for module in modules for part in module.split(".")] + [alias.name for alias in node.names]
        return next(filter(private, parts), None)
    if isinstance(node, ast.Attribute) and private(node.attr) and ast.unparse(node) not in PYTHON_OWN:
        return None if node.attr in own else node.attr
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in READS and len(node.args) > 1:
        name = node.args[1]
        if isinstance(name, ast.Constant) and private(str(name.value)) and name.value not in own | _OF_FORK_SERVER:
            return str(name.value)
    return None


def test_no_other_file_names_a_private_attribute_of_torch():
    own = own_names()
    found = [
        f"{place}:{node.lineno}: {name}"
        for place, tree in trees().items()
        # the worker of a judge is sent as text to a process that cannot import HOME
        if place not in (HOME, TRITON) and not place.startswith("judging/worker/")
        for node in ast.walk(tree)
        if (name := named(node, own)) is not None
    ]
    assert not found, "give these a function in torch_internals.py:\n" + "\n".join(found)


def test_no_other_file_imports_triton():
    texts = {place: (PACKAGE / place).read_text(encoding="utf-8") for place in trees()}
    assert not [place for place, text in texts.items() if re.search(r"^\s*(import|from) triton\b", text, re.MULTILINE)]
    assert {place for place, text in texts.items() if 'import_module("triton' in text} == {TRITON}


def test_triton_internals_imports_nothing_of_ours_and_lists_what_it_uses():
    tree = trees()[TRITON]
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom) and "gradcheck_lab" in ast.unparse(n)]
    own = own_names() | {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    used = {name for node in ast.walk(tree) if (name := named(node, own)) is not None}
    listed = " ".join(str(n.value) for n in ast.walk(tree) if isinstance(n, ast.Constant))
    assert len(used) > 8
    assert not [name for name in used if name not in listed.replace(".", " ").split()]


def test_torch_internals_names_them_and_imports_nothing_of_ours():
    imported = {ast.unparse(n) for n in ast.walk(trees()[HOME]) if isinstance(n, ast.Import | ast.ImportFrom)}
    assert not [line for line in imported if "gradcheck_lab" in line]
    names = {name for node in ast.walk(trees()[HOME]) if (name := named(node, set())) is not None}
    assert {"_version", "_schema", "_C", "_dynamo", "_python_dispatch"} <= names


def test_each_says_what_it_is_and_what_comes_in_its_place():
    parts = [node for node in trees()[HOME].body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name != "_pad"]
    silent = [node.name for node in parts if "In its place:" not in (ast.get_docstring(node) or "")]
    assert len(parts) > 15
    assert not silent, f"no word of what comes in the place of {silent}"
