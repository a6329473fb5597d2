"""Where an object of the user can be imported from: a statement and a name; or why nothing imports it, and where it stands."""

from __future__ import annotations

import ast
import inspect
import linecache
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from gradcheck_lab.model.places import place_of, shown_path
from gradcheck_lab.rules.op import Op
from gradcheck_lab.torch_internals import CustomOpDef, body_of, custom_ops, is_packet, overload_of

_LIBRARIES = ("torch", "torch.nn.functional", "torch.special", "torch.linalg", "torch.fft", "numpy", "math", "operator")
_SHORT = {"numpy": "np", "gradcheck_lab": "gl"}


@dataclass(frozen=True, slots=True)
class Imported:
    """An expression for an object, and the statements that it needs."""

    text: str
    before: tuple[str, ...]


def imported(value: Any) -> Imported | None:
    """How an object is imported: it is what its module has by its qualified name, or by another name; None for any other."""
    found = _of_a_library(value) or _operator(value)
    if found is not None:
        return found
    module, path = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if isinstance(module, str) and isinstance(path, str) and _resolved(module, path) is value:
        return _from(module, path)
    names = [module, getattr(type(value), "__module__", None), getattr(_definition(value), "__module__", None)]
    for name in (each for each in names if isinstance(each, str)):
        held = _name_in(vars(sys.modules.get(name, ModuleType(""))), value)
        if held is not None and _resolved(name, held) is value:
            return _from(name, held)
    return None


def imported_from(scope: Mapping[str, Any], value: Any) -> Imported | None:
    """The same for an object that a module has under any name, where `scope` are the globals of that module."""
    module, held = scope.get("__name__"), _name_in(scope, value)
    in_module = held is not None and isinstance(module, str) and _resolved(module, held) is value
    return _from(module, held) if in_module and module is not None and held is not None else None


def name_in(scopes: tuple[Mapping[str, Any], ...], value: Any) -> str | None:
    """The name that an object has in the first of the scopes that holds it."""
    return next((name for name in (_name_in(scope, value) for scope in scopes) if name is not None), None)


def defined_at(value: Any) -> str:
    """`file.py:3`, where a function or class is defined; empty for what is of a notebook, of a library, or neither."""
    value = _definition(value)
    if not isinstance(value, type):
        return place_of(value)
    try:
        _, first = inspect.findsource(value)
        return f"{shown_path(inspect.getfile(value))}:{first + 1}"
    except (OSError, TypeError):
        return ""


def _definition(value: Any) -> Any:
    """The user's function that an op or an operator of torch was made of; another value as it is."""
    if isinstance(value, Op):
        return value.rule or value.forward
    return body_of(value) if isinstance(value, CustomOpDef) else value


def _name_in(scope: Mapping[str, Any], value: Any) -> str | None:
    names = [name for name, held in list(scope.items()) if held is value and name.isidentifier()]
    return next(iter(sorted(names, key=lambda name: name.startswith("_"))), None)


def _of_a_library(value: Any) -> Imported | None:
    name = getattr(value, "__name__", None)
    for module in _LIBRARIES if isinstance(name, str) else ():
        if module in sys.modules and getattr(sys.modules[module], str(name), None) is value:
            short = _SHORT.get(module, module)
            return Imported(f"{short}.{name}", (f"import {module}" + (f" as {short}" if short != module else ""),))
    return None


def _operator(value: Any) -> Imported | None:
    """An operator of `torch.ops`, after the module that registers it."""
    if not is_packet(value) and (isinstance(value, CustomOpDef) or overload_of(value) is None):
        return None
    body = body_of(custom_ops().get(f"{value}".replace(".", "::", 1).removesuffix(".default")))
    module = getattr(body, "__module__", "__main__")
    needed = () if module == "__main__" else (*_path_statements(module), f"import {module}")
    return Imported(f"torch.ops.{value}", ("import torch", *needed))


def _resolved(module: str, path: str) -> Any:
    """What a module has by a dotted name; None for what a script, a notebook or a function defines."""
    found: Any = sys.modules.get(module)
    if not _module_name(module):
        return None
    for name in path.split("."):
        found = getattr(found, name, None) if name.isidentifier() else None
    return found


def _module_name(module: str) -> str:
    """The name by which another process imports a module; empty for that of a notebook, or of a script which does more."""
    found = sys.modules.get(module)
    if module != "__main__":
        importable = getattr(found, "__spec__", None) is not None and all(map(str.isidentifier, module.split(".")))
        return module if importable else ""
    file = getattr(found, "__file__", None)
    if not isinstance(file, str) or not file.endswith(".py") or not _only_defines(file):
        return ""
    spec = getattr(found, "__spec__", None)
    name: str = spec.name if spec is not None else os.path.basename(file).removesuffix(".py")
    return name if all(map(str.isidentifier, name.split("."))) else ""


def _only_defines(file: str) -> bool:
    """Whether importing a script runs nothing but definitions, imports and assignments of plain values."""
    try:
        statements = ast.parse("".join(linecache.getlines(file))).body
    except (SyntaxError, ValueError):
        return False
    return bool(statements) and all(map(_defines, statements))


def _defines(statement: ast.stmt) -> bool:
    match statement:
        case ast.FunctionDef() | ast.ClassDef() | ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            return True
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
            return True
        case ast.Assign(value=value):
            return not any(isinstance(each, ast.Call) for each in ast.walk(value))
    return False


def _from(module: str, path: str) -> Imported:
    return Imported(path, (*_path_statements(module), f"from {_module_name(module)} import {path.partition('.')[0]}"))


def _path_statements(module: str) -> Iterator[str]:
    """The statement that lets Python find a module of a file beneath the current directory or elsewhere, where it needs one."""
    file = getattr(sys.modules[module], "__file__", None)
    if not isinstance(file, str):
        return
    root = os.path.abspath(file)
    for _ in range(_module_name(module).count(".") + 1 + file.endswith("__init__.py")):
        root = os.path.dirname(root)
    found = (os.getcwd(), *os.environ.get("PYTHONPATH", "").split(os.pathsep), *sysconfig.get_paths().values())
    if root not in map(os.path.abspath, filter(None, found)):
        yield f"import sys; sys.path.insert(0, {shown_path(root)!r})"
