"""Read from the code of a layer's class which attributes it stores and what its backward returns.

The names of stored attributes are needed for gradients that are None or absent before the first backward.
"""

from __future__ import annotations

import ast
import dis
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import torch

from gradcheck_lab.rules.methods import Methods
from gradcheck_lab.subjects.layers.gradient_names import ON_TENSORS

SELF = "self"


@dataclass(frozen=True, slots=True)
class Access:
    """One access of an attribute: `name` on the attribute `parent`, as grad_ on W in `self.W.grad_`.

    `parent` is `SELF` for attributes of the layer itself, and "" where it cannot be read from the code.
    """

    parent: str
    name: str


@dataclass(frozen=True, slots=True)
class LayerCode:
    """Attribute accesses in a class.

    `stored` are all stores; `saved` are the names that the forward and its callees store; `read` those that the backward reads
    and the class does not store.
    """

    stored: tuple[Access, ...]
    saved: frozenset[str]
    read: frozenset[str]

    @property
    def names(self) -> frozenset[str]:
        """The attributes that the class stores on its objects, without those that may be gradients on tensors."""
        return frozenset(each.name for each in self.stored
                         if each.parent == SELF or not (each.parent or each.name in ON_TENSORS))  # fmt: skip

    def stores_on_tensors(self, parameters: Iterable[Any]) -> bool:
        """Whether the class stores gradients as attributes of other values than the parameters of these names: `self.inp.g`."""
        names = set(parameters)
        return any(each.name in ON_TENSORS and each.parent != SELF and each.parent not in names for each in self.stored)


def layer_code(layer: Any, pair: Methods) -> LayerCode:
    """Read the methods of the layer's class and its bases, and functions stored on the layer itself."""
    methods = _methods(layer)
    stored = tuple(each for code in methods.values() for each in _stores(code))
    properties = tuple(Access(SELF, name) for kind in type(layer).__mro__ for name, v in vars(kind).items()
                       if isinstance(v, property))  # fmt: skip
    saved = {each.name for name in _reached(methods, pair.forward, pair) for each in _stores(methods[name])}
    backward = [methods[name] for name in _reached(methods, pair.backward, pair)]
    read = {each for functions in backward for each in _attributes(functions, "LOAD_ATTR", of_locals=True)}
    written = {each for functions in methods.values() for each in _attributes(functions, "STORE_ATTR", of_locals=True)}
    return LayerCode(stored + properties, frozenset(saved), frozenset(each.name for each in read - written))


def through_call(layer: Any, pair: Methods) -> Methods:
    """The same methods, or `__call__` for the forward where only that stores what the backward reads, and calls the forward."""
    methods = _methods(layer)
    if pair.forward != "forward" or pair.forward not in _names(methods.get("__call__", ())):
        return pair
    kept = {each.name for each in _stores(methods["__call__"]) if each.parent == SELF}
    kept -= {each.name for name in _reached(methods, pair.forward, pair) for each in _stores(methods[name])}
    read = {each.name for name in _reached(methods, pair.backward, pair) for each in _attributes(methods[name], "LOAD_ATTR")}
    return replace(pair, forward="__call__") if kept & read else pair


def uses_numpy(layer: Any, pair: Methods) -> bool:
    """Whether forward and backward compute in NumPy: by the modules and attributes in their code, else by imports."""
    methods = _methods(layer)
    functions = [f for at in (pair.forward, pair.backward) for name in _reached(methods, at, pair) for f in methods[name]]
    named, imported, loaded = set[str](), set[str](), set[str]()
    for function in functions:
        words = _names([function])
        named |= {_module(function.__globals__[word]) for word in words if word in function.__globals__}
        imported |= {_module(value) for value in function.__globals__.values() if inspect.ismodule(value)}
        loaded |= words
    for modules in (named, imported):
        if "numpy" in modules or "torch" in modules:
            return "torch" not in modules
        if any(hasattr(np.ndarray, word) and not hasattr(torch.Tensor, word) for word in loaded):
            return True
    return False


def _module(value: Any) -> str:
    name = getattr(value, "__name__", "") if inspect.ismodule(value) else getattr(value, "__module__", "")
    return str(name).partition(".")[0]


def returned_names(function: Callable[..., Any], with_items: bool = False) -> tuple[str, ...] | None:
    """The names in the longest `return` of `function` ("" for an expression), () for none; None without its source.

    With `with_items`, an item such as `hs[-1]` has the name of what it is taken from.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None
    body = tree.body[0]
    if not isinstance(body, (ast.FunctionDef, ast.AsyncFunctionDef)):  # a lambda stands in a line with other code
        return None
    nodes = [node for node in ast.walk(body) if isinstance(node, ast.Return) and not _is_none(node.value)]
    literal = {
        node.targets[0].id: node.value
        for node in ast.walk(body)
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
    }
    found: tuple[str, ...] = ()
    for node in nodes:
        value = node.value
        if isinstance(value, ast.Name) and isinstance(literal.get(value.id), (ast.Tuple, ast.List)):
            value = literal[value.id]
        parts = value.elts if isinstance(value, (ast.Tuple, ast.List)) else [value]
        names = tuple(_word(part, with_items) for part in parts if part is not None)
        found = max(found, names, key=len)
    return found


def returns_mapping(function: Callable[..., Any]) -> bool:
    """Whether a `return` of `function` may have a dict in it; not where its source cannot be read."""
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError):
        return False
    dicts = {name for node in ast.walk(body) if isinstance(node, ast.Assign) and _is_mapping(node.value)
             for target in node.targets for name in [_word(target)]}  # fmt: skip
    returned = [node.value for node in ast.walk(body) if isinstance(node, ast.Return) and node.value is not None]
    parts = [part for value in returned for part in (value.elts if isinstance(value, (ast.Tuple, ast.List)) else [value])]
    return any(_is_mapping(part) or (_word(part) in dicts and _word(part) != "") for part in parts)


def _is_mapping(node: ast.expr) -> bool:
    called = isinstance(node, ast.Call) and _word(node.func) in ("dict", "OrderedDict", "defaultdict")
    return called or isinstance(node, (ast.Dict, ast.DictComp))


def _is_none(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def local_names(function: Callable[..., Any]) -> frozenset[str]:
    """The names of the local variables of a function; none where its code cannot be read."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return frozenset(code.co_varnames[code.co_argcount :]) if code is not None else frozenset()


def decides_by_attributes(layer: Any, pair: Methods) -> bool:
    """Whether the forward, or what it calls on the layer, tests an attribute, as `if self.W is None` does."""
    methods = _methods(layer)
    functions = [f for name in _reached(methods, pair.forward, pair) for f in methods[name]]
    if "hasattr" in _names(functions):
        return True
    for code in _all_codes(functions):
        before = ""
        for instruction in dis.get_instructions(code):
            tested = instruction.opname.startswith(("POP_JUMP", "TO_BOOL", "UNARY_NOT"))
            if before == "LOAD_ATTR" and (tested or (instruction.opname == "LOAD_CONST" and instruction.argval is None)):
                return True
            if instruction.opname not in ("CACHE", "NOP"):
                before = instruction.opname
    return False


def writes_of(owner: Any, apart: Sequence[str]) -> dict[str, frozenset[str]]:
    """For each method that writes to something, the attributes that it and the methods that it calls name.

    Methods in `apart`, those that call them and those with double underscores are left out.
    """
    methods, found = _methods(owner), dict[str, frozenset[str]]()
    for name in methods:
        if name.startswith("__") or name in apart:
            continue
        reached = _closure(methods, name)
        functions = [f for each in reached for f in methods[each]]
        if not reached & set(apart) and any(_writes(code) for code in _all_codes(functions)):
            found[name] = frozenset(_names(functions))
    return found


def own_methods(owner: Any) -> list[str]:
    """The names of the methods of an object's own classes, without torch's."""
    return list(_methods(owner))


def _closure(methods: dict[str, list[FunctionType]], start: str) -> set[str]:
    reached, todo = set[str](), [start]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += _names(methods[name]) & methods.keys()
    return reached


def _writes(code: CodeType) -> bool:
    stores = any(i.opname in ("STORE_ATTR", "STORE_SUBSCR", "STORE_SLICE", "DELETE_ATTR") for i in dis.get_instructions(code))
    return stores or bool({"fill", "fill_", "zero_", "clear", "setattr", "pop", "copyto", "mul_"} & set(code.co_names))


def _word(node: ast.expr, with_items: bool = False) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    if with_items and isinstance(node, ast.Subscript):
        return _word(node.value, with_items)
    return node.id if isinstance(node, ast.Name) else ""


def _methods(layer: Any) -> dict[str, list[FunctionType]]:
    """The functions of the class and its bases by name, with overridden ones, which an override often calls."""
    found: dict[str, list[FunctionType]] = {}
    held = [vars(kind) for kind in type(layer).__mro__ if kind not in (object, torch.nn.Module)]
    for namespace in [getattr(layer, "__dict__", {}), *held]:
        for name, value in namespace.items():
            function = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
            function = inspect.unwrap(function) if callable(function) else function
            if isinstance(function, FunctionType):
                found.setdefault(name, []).append(function)
    return found


def _reached(methods: dict[str, list[FunctionType]], start: str, pair: Methods) -> list[str]:
    apart = {"__init__", "forward", "backward", pair.forward, pair.backward}
    if start.startswith("adapted_") and start in methods:  # the user's function, which calls the object's own methods
        apart -= _names(methods[start])
    reached, todo = [], [start]
    while todo:
        name = todo.pop()
        if name in methods and name not in reached:
            reached.append(name)
            todo += _names(methods[name]) & methods.keys() - apart
    return reached


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _all_codes(functions: Iterable[FunctionType]) -> Iterator[CodeType]:
    for function in functions:
        yield from _codes(function.__code__)


def _names(functions: Iterable[FunctionType]) -> set[str]:
    return {name for code in _all_codes(functions) for name in code.co_names}


def _stores(functions: Iterable[FunctionType]) -> Iterator[Access]:
    return _attributes(functions, "STORE_ATTR")


def _attributes(functions: Iterable[FunctionType], access: str, of_locals: bool = False) -> Iterator[Access]:
    for code in _all_codes(functions):
        parent = ""
        for instruction in dis.get_instructions(code):
            if instruction.opname == access:
                yield Access(parent, str(instruction.argval))
            if instruction.opname not in ("CACHE", "NOP"):
                parent = _parent(instruction, code, of_locals)


def _parent(instruction: dis.Instruction, code: CodeType, of_locals: bool) -> str:
    if instruction.opname == "LOAD_ATTR":
        return str(instruction.argval)
    loaded = instruction.argval if "LOAD_FAST" in instruction.opname else None
    last = loaded[-1] if isinstance(loaded, tuple) else loaded
    if code.co_argcount and last == code.co_varnames[0]:
        return SELF
    return f"<{last}>" if of_locals and last is not None else ""
