"""What an edit may know of the function around it: its upstream gradient, what was saved for it, its options."""

from __future__ import annotations

import ast
import dis
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType, ModuleType

import libcst as cst

from gradcheck_lab.edits.written import Written
from gradcheck_lab.rules.methods import words_of

_SKIPPED = {"op": 0, "function": 1, "layer": 1}  # parameters before the upstream gradient: the context, the object


@dataclass(frozen=True, slots=True)
class Place:
    """A function as edits see it.

    `upstream` are the names of the upstream gradients, `saved` those of the other tensors that it is given, `loads` the nodes
    that read a variable. `defaults` has the default of each option that is a plain value, as Python; those of `held` are
    read as attributes, `ctx.eps`. `arrays` is what the file calls the module of its arrays, "torch" or "np", None where it has
    none; `modules` are the names of all modules. `variables` are what of the function's own may be read where it
    ends, as Python: `x`, `self.mask`; `numbers` are those in the forward.
    """

    upstream: tuple[str, ...]
    saved: tuple[str, ...]
    loads: frozenset[int]
    defaults: dict[str, str]
    held: dict[str, str]
    arrays: str | None
    numpy: bool
    modules: frozenset[str]
    variables: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()

    def is_load(self, node: cst.CSTNode) -> bool:
        """Whether a node reads a variable."""
        return id(node) in self.loads


def place_of(written: Written, node: cst.CSTNode) -> Place:
    """What is known of a function, whose syntax is `node`."""
    function = written.function
    positional, keyword = _parameters(function)
    skipped = _SKIPPED[written.form] if written.form is not None else len(positional)
    several = written.form == "function"
    upstream = positional[skipped:] if several else positional[skipped : skipped + 1]
    if several and not upstream and function.__code__.co_flags & inspect.CO_VARARGS:
        upstream = ()
    saved = positional[skipped + 1 :] if written.form == "op" else ()
    modules = {name: value for name, value in function.__globals__.items() if isinstance(value, ModuleType)}
    arrays = _module_of_arrays(written, modules)
    return Place(
        upstream,
        tuple(name for name in saved if name not in keyword),
        frozenset(map(id, _loads(node))),
        keyword,
        {} if written.form is None or written.forward is None else _parameters(written.forward)[1],
        arrays,
        arrays is not None and modules[arrays].__name__ == "numpy",
        frozenset(modules),
        _variables(written, node, positional[skipped if written.form is not None else 0 :]),
        _numbers(written.forward),
    )


def _variables(written: Written, node: cst.CSTNode, parameters: tuple[str, ...]) -> tuple[str, ...]:
    """What of the function's own may be read: its parameters, what it assigns, and attributes of its object or context."""
    code, owner = written.function.__code__, written.function.__code__.co_varnames[:1]
    assigned = code.co_varnames[code.co_argcount + code.co_kwonlyargcount :]
    held: list[str] = []
    if written.form in ("layer", "function") and owner:
        functions = [each.__code__ for each in (written.forward, written.function) if each is not None]
        stored = [i.argval for each in functions for i in dis.get_instructions(each) if i.opname == "STORE_ATTR"]
        read = [i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_ATTR" and written.form == "layer"]
        words = {each.attr.value for each in _attributes(node, owner[0])}
        held = [f"{owner[0]}.{name}" for name in dict.fromkeys([*stored, *(each for each in read if each in words)])]
    return tuple(dict.fromkeys([*parameters, *assigned, *held]))


def _attributes(node: cst.CSTNode, owner: str) -> Iterator[cst.Attribute]:
    if isinstance(node, cst.Attribute) and isinstance(node.value, cst.Name) and node.value.value == owner:
        yield node
    for child in node.children:
        yield from _attributes(child, owner)


def _numbers(forward: FunctionType | None) -> tuple[float, ...]:
    """The numbers of a function that are neither 0 nor 1."""
    values = () if forward is None else (*forward.__code__.co_consts, *(forward.__defaults__ or ()))
    return tuple(dict.fromkeys(v for v in values if type(v) in (int, float) and v not in (0, 1)))


def _parameters(function: FunctionType) -> tuple[tuple[str, ...], dict[str, str]]:
    """The positional parameters by name, and the defaults that are plain values."""
    parameters = inspect.signature(function, follow_wrapped=False).parameters.values()
    positional = tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
    return positional, {p.name: repr(p.default) for p in parameters if _is_plain(p.default)}


def _is_plain(value: object) -> bool:
    if value is None or isinstance(value, type):
        return False
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError):
        return False


def _module_of_arrays(written: Written, modules: dict[str, ModuleType]) -> str | None:
    """The name of torch or NumPy in the file: of the two, the one that the function itself, or the code around it, names."""
    named = words_of(written.function.__code__)

    def order(name: str) -> tuple[bool, bool, bool]:
        return name not in named, name not in written.around, modules[name].__name__ == "numpy"

    return min((name for name, value in modules.items() if value.__name__ in ("torch", "numpy")), key=order, default=None)


def _loads(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """The names in a piece of syntax that read a variable."""
    for name, child in _fields(node):
        if isinstance(child, cst.Name):
            if not _names_only(node, name):
                yield child
        elif not (isinstance(node, cst.AssignTarget) and isinstance(child, cst.Tuple)):
            yield from _loads(child)


def _names_only(node: cst.CSTNode, field: str) -> bool:
    """Whether a name in this field of a node is a word, or is bound, and reads no variable."""
    bound = (cst.AssignTarget, cst.AugAssign, cst.AnnAssign, cst.For, cst.CompFor, cst.NamedExpr, cst.Del)
    words = (cst.Param, cst.FunctionDef, cst.ClassDef, cst.Global, cst.NameItem, cst.ImportAlias)
    if isinstance(node, cst.Attribute):
        return field == "attr"
    if isinstance(node, cst.Arg):
        return field == "keyword"
    return (isinstance(node, bound) and field == "target") or isinstance(node, words)


def _fields(node: cst.CSTNode) -> Iterator[tuple[str, cst.CSTNode]]:
    for name in type(node).__dataclass_fields__:
        value = getattr(node, name)
        for each in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(each, cst.CSTNode):
                yield name, each
