"""Whether functions of the user may hand memory to compiled code that nobody has checked, which may trust sizes to fit."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import torch

from gradcheck_lab.model.limits import FUNCTIONS_READ
from gradcheck_lab.subjects.code.source import plain_function

_CHECKED = sys.stdlib_module_names - {"ctypes", "mmap"} | frozenset("torch numpy scipy sklearn jax jaxlib".split())
_RAW = frozenset("ctypes ctypeslib data_ptr ops load_library cdll CDLL __array_interface__ __cuda_array_interface__".split())
_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
_KINDS = frozenset("torch numpy collections builtins".split())


def may_be_native(functions: Sequence[Any], owner: Any = None) -> bool:
    """Whether anything that functions read, and those of the user that they call, is neither Python nor of a known library."""
    found = [plain_function(each) for each in functions]
    held = list(vars(owner).values()) if owner is not None and hasattr(owner, "__dict__") else []
    methods = [each for each in vars(type(owner)).values() if isinstance(each, FunctionType)] if owner is not None else []
    todo, seen = [*found, *held, *methods], set[int]()
    if not any(each is not None for each in found):
        return True
    while todo:
        value = todo.pop()
        if id(value) in seen or value is None:
            continue
        seen.add(id(value))
        function = value if isinstance(value, FunctionType) and _root(value) not in _CHECKED else None
        if function is None:
            further = _parts(value)
            if further is None:
                return True
            todo += further
        elif len(seen) > 8 * FUNCTIONS_READ.value or _RAW & set(_names(function.__code__)):
            return True
        else:
            todo += _read(function)
    return False


def _root(value: Any) -> str:
    return str(getattr(value, "__module__", None) or "builtins").partition(".")[0]


def _parts(value: Any) -> list[Any] | None:
    """What else has to be looked at of a value that is no function of the user; None where it may be anything."""
    if isinstance(value, (*_PLAIN, torch.Tensor)):
        return []
    if isinstance(value, ModuleType):
        return [] if value.__name__.partition(".")[0] in _CHECKED else None
    if isinstance(value, (tuple, list, set, frozenset)):
        return list(value)
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, (staticmethod, classmethod)) or hasattr(value, "__wrapped__"):
        return [plain_function(value)]
    if isinstance(value, (FunctionType, BuiltinFunctionType)):
        return [] if _root(value) in _CHECKED else None
    if isinstance(value, type):
        inside = vars(value).values()
        return [] if _root(value) in _CHECKED else [each for each in inside if isinstance(each, (FunctionType, staticmethod))]
    return [] if _root(type(value)) in _KINDS else None


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _names(each)


def _read(function: FunctionType) -> list[Any]:
    """The values of the globals and of the variables around a function that it reads."""
    found = [function.__globals__[name] for name in _names(function.__code__) if name in function.__globals__]
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # not bound yet
            continue
    return found
