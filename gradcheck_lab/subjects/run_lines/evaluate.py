"""The value of an expression of the user's, where that only computes: of names, attributes, arithmetic and known calls."""

from __future__ import annotations

import ast
import builtins
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch

from gradcheck_lab.torch_internals import (
    MODULE_TABLES,
    is_wrapped_by_a_transform,
    without_modes,
    without_torch_function,
)

_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow, ast.MatMult: operator.matmul,
    ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.BitXor: operator.xor, ast.Invert: operator.invert,
    ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
# calls of torch, NumPy or Python, and methods of tensors and arrays, that compute a value and do nothing else
_CALLS = frozenset(
    """
    abs absolute square sqrt rsqrt exp log log1p log2 expm1 tanh sigmoid relu sin cos sum mean max min amax amin norm
    vector_norm detach float double clone numel size dim floor ceil round sign clamp clip maximum minimum where logical_and
    logical_or logical_not unsqueeze squeeze reshape view flatten transpose any all item len int bool std var prod
    """.split()
)
_ATTRIBUTES = frozenset("T mT data real shape ndim size dtype pi inf".split())
_PLAIN = (bool, int, float, str, type(None), list, tuple, dict, torch.nn.Module)


class Unknown(Exception):
    """The value of an expression is not known without running the user's code."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names that a running function sees."""

    own: Mapping[str, Any]
    shared: Mapping[str, Any]

    def of(self, name: str) -> Any:
        """The value of a name. Raises `Unknown`."""
        for space in (self.own, self.shared, vars(builtins)):
            if name in space:
                return space[name]
        raise Unknown(name)


@contextmanager
def undisturbed() -> Iterator[None]:
    """A block whose operations nothing of the user's run sees: no graph, no mode, no warning."""
    with ExitStack() as stack:
        for each in (torch.no_grad(), without_modes(), without_torch_function(), np.errstate(all="ignore")):
            stack.enter_context(each)
        yield


def value_of(node: ast.expr, names: Names) -> Any:
    """The value of an expression. Raises `Unknown`, and what torch or NumPy raise."""
    found = _value(node, names)
    if isinstance(found, torch.Tensor) and (type(found) not in _TENSORS or is_wrapped_by_a_transform(found)):
        raise Unknown(type(found).__name__)
    return found


_TENSORS = (torch.Tensor, torch.nn.Parameter)


def _value(node: ast.expr, names: Names) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return names.of(node.id)
        case ast.Attribute():
            return _attribute(value_of(node.value, names), node.attr)
        case ast.UnaryOp():
            return _OPERATORS[type(node.op)](value_of(node.operand, names))
        case ast.BinOp():
            return _OPERATORS[type(node.op)](_operand(node.left, names), _operand(node.right, names))
        case ast.Compare() if len(node.ops) == 1 and type(node.ops[0]) in _OPERATORS:
            return _OPERATORS[type(node.ops[0])](_operand(node.left, names), _operand(node.comparators[0], names))
        case ast.Subscript():
            return _item(value_of(node.value, names), node.slice, names)
        case ast.Tuple() | ast.List():
            return tuple(value_of(each, names) for each in node.elts)
        case ast.Call():
            return _call(node, names)
    raise Unknown(type(node).__name__)


def _operand(node: ast.expr, names: Names) -> Any:
    """A number, tensor or array: the operators of other objects run code of theirs."""
    value = value_of(node, names)
    if isinstance(value, (bool, int, float, torch.Tensor, np.number, np.bool_)) or type(value) is np.ndarray:
        return value
    raise Unknown(type(value).__name__)


def _attribute(value: Any, name: str) -> Any:
    if isinstance(value, ModuleType):
        return getattr(value, name)
    if isinstance(value, torch.Tensor) or type(value) is np.ndarray:
        if name in _ATTRIBUTES:
            return getattr(value, name)
        raise Unknown(name)
    held = getattr(value, "__dict__", {})
    for space in (held, *(held.get(table) or {} for table in MODULE_TABLES)):
        if name in space:
            return space[name]
    for kind in type(value).__mro__:  # a plain value of the class; anything else may be code
        if isinstance(vars(kind).get(name), _PLAIN):
            return vars(kind)[name]
    raise Unknown(name)


def _item(value: Any, index: ast.expr, names: Names) -> Any:
    if not isinstance(value, (torch.Tensor, list, tuple, dict)) and type(value) is not np.ndarray:
        raise Unknown(type(value).__name__)
    return value[_index(index, names)]


def _index(node: ast.expr, names: Names) -> Any:
    if isinstance(node, ast.Slice):
        return slice(*(None if part is None else value_of(part, names) for part in (node.lower, node.upper, node.step)))
    if isinstance(node, ast.Tuple):
        return tuple(_index(each, names) for each in node.elts)
    return value_of(node, names)


def _call(node: ast.Call, names: Names) -> Any:
    name, function, first = called(node, names)
    if name not in _CALLS or any(keyword.arg is None for keyword in node.keywords):
        raise Unknown(name)
    given = [*first, *(value_of(each, names) for each in node.args)]
    if name in ("float", "int", "bool", "item") and isinstance(given[0], torch.Tensor) and given[0].numel() == 1:
        return given[0]  # a number that stays known as one of a tensor
    return function(*given, **{str(keyword.arg): value_of(keyword.value, names) for keyword in node.keywords})


def called(node: ast.Call, names: Names) -> tuple[str, Callable[..., Any], tuple[Any, ...]]:
    """The name and function of a call of torch, NumPy or Python; of a method, with the tensor or array that it is of.

    Raises `Unknown` for other calls.
    """
    if isinstance(node.func, ast.Name):
        function = names.of(node.func.id)
        if _is_known(function):
            return str(getattr(function, "__name__", "")), function, ()
        raise Unknown(node.func.id)
    if not isinstance(node.func, ast.Attribute):
        raise Unknown(type(node.func).__name__)
    owner = value_of(node.func.value, names)
    function = None if isinstance(owner, (str, dict)) else getattr(owner, node.func.attr, None)
    if isinstance(owner, ModuleType) and _is_known(function):
        assert function is not None
        return node.func.attr, function, ()
    if (isinstance(owner, torch.Tensor) or type(owner) is np.ndarray) and function is not None:
        return node.func.attr, getattr(type(owner), node.func.attr), (owner,)
    raise Unknown(node.func.attr)


def _is_known(function: Any) -> bool:
    """Whether a function is torch's, NumPy's or Python's own."""
    module = getattr(function, "__module__", None) or ""
    home = str(module).partition(".")[0] or type(getattr(function, "__self__", None)).__module__.partition(".")[0]
    return home in ("torch", "numpy", "builtins") or isinstance(function, np.ufunc)
