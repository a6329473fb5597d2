"""Find everything in a module that has a hand-written backward."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

import torch

from gradcheck_lab.discovery.author_calls import AuthorCalls
from gradcheck_lab.discovery.description import DESCRIPTION
from gradcheck_lab.discovery.partners import carries_gradient
from gradcheck_lab.discovery.targets import import_module, listed, public
from gradcheck_lab.rules.layer import Layer
from gradcheck_lab.rules.op import Op
from gradcheck_lab.torch_internals import CustomOpDef


@dataclass(frozen=True, slots=True)
class Defined:
    """The names of the objects to check in a module, and its public names as a message lists them."""

    names: tuple[str, ...]
    public: str


def defined(module: str) -> Defined:
    """What a module, which is imported, has to check."""
    found = import_module(module)
    return Defined(tuple(names_of(found)), listed(public(found)))


def names_of(module: ModuleType) -> list[str]:
    """The names of the objects to check in a module: each object once, and no class with an instance in the module.

    What is imported from elsewhere is one where the module describes it or hands it to `gl.check`.
    """
    described = [*getattr(module, DESCRIPTION, {}), *AuthorCalls(module, "", None).handed_over()]
    imported = _imported(module)
    found = {
        name: value
        for name, value in vars(module).items()
        if name in described
        or (not name.startswith("__") and _is_subject(name, value, module) and _is_own(name, value, module, imported))
    }
    instances = {type(value) for value in found.values()}
    seen: set[int] = set()
    names = []
    for name, value in found.items():
        if id(value) not in seen and not (isinstance(value, type) and value in instances):
            names.append(name)
        seen.add(id(value))
    return names + [name for name in described if not hasattr(module, name)]


def _is_subject(name: str, value: Any, module: ModuleType) -> bool:
    return _is_candidate(value) or carries_gradient(name, value, vars(module))


def _is_candidate(value: Any) -> bool:
    if isinstance(value, (Op, Layer, torch.nn.Module, CustomOpDef)):
        return True
    if isinstance(value, type) and issubclass(value, (torch.autograd.Function, torch.nn.Module)):
        return True
    kind = value if isinstance(value, type) else type(value)
    return callable(getattr(kind, "forward", None)) and callable(getattr(kind, "backward", None))


def _is_own(name: str, value: Any, module: ModuleType, imported: set[str]) -> bool:
    if isinstance(value, (type, FunctionType)):
        return value.__module__ == module.__name__
    return name not in imported


def _imported(module: ModuleType) -> set[str]:
    """The names that import statements bind in the module; empty where its source cannot be read."""
    try:
        tree = ast.parse(inspect.getsource(module))
    except (OSError, TypeError, SyntaxError):
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
                source = importlib.util.resolve_name("." * node.level + (node.module or ""), module.__package__)
                names |= set(vars(sys.modules[source]))
    return names
