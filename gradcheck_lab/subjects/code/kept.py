"""What a forward keeps for its backward, in the user's own words: saved tensors, attributes, entries of a cache, arguments."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gradcheck_lab.subjects.code.source import plain_function, trees_of

_SAME_VALUES = frozenset("contiguous detach clone copy to float double half bfloat16".split())
_SAVED = ("saved_tensors", "saved_variables")


@dataclass(frozen=True, slots=True)
class Kept:
    """A value that the backward gets: `place` says where, `name` what it is called there, `holds` what it is in the forward."""

    place: str
    name: str
    holds: frozenset[str]

    def __str__(self) -> str:
        return f"{self.place} {self.name!r}" if self.name else self.place


def kept_by(forwards: Iterable[Any], backward: Any) -> tuple[Kept, ...]:
    """What the forward and the setup of a context, or of an object, save for the backward; empty where no source is known."""
    found: list[Kept] = []
    rule = _tree(backward)
    for tree in filter(None, map(_tree, forwards)):
        defined, results = dict(_defined(tree)), _returned(tree)
        for place, position, value in _kept(tree, defined):
            name = _called(rule, place, position) if rule is not None else ""
            held = {_written(value)}
            if isinstance(value, ast.Name):
                held |= {_written(defined[value.id])} if value.id in defined else set()
                held |= {"output"} if value.id in results else set()
            found.append(Kept(place if position is None else f"{place} {position}", name, frozenset(held)))
    return tuple(found)


def arguments_of(backward: Any, inputs: tuple[str, ...]) -> tuple[Kept, ...]:
    """The arguments of a rule that is passed grad_output, output and the inputs."""
    tree = _tree(backward)
    if tree is None:
        return ()
    names = [each.arg for each in (*tree.args.posonlyargs, *tree.args.args)]
    held = zip(names[1:], ("output", *inputs), strict=False)
    return tuple(Kept(f"argument {k}", name, frozenset({what})) for k, (name, what) in enumerate(held, 1))


def concerned(kept: Iterable[Kept], names: Iterable[str]) -> tuple[str, ...]:
    """Those of the kept values that an explanation is about: `names` are the tensors and formulas in it."""
    kept = tuple(kept)
    known = frozenset[str]().union(*(each.holds for each in kept))
    parts = {part for name in names for part in _parts(name, known)}
    return tuple(dict.fromkeys(str(each) for each in kept if each.holds & parts))


def _parts(formula: str, known: frozenset[str]) -> Iterator[str]:
    """Which known values a formula has: `sum(tanh(x) * w^2)` has w, and tanh(x) rather than x where both are known."""
    try:
        pending: list[ast.AST] = [ast.parse(formula.replace("^", "**"), mode="eval").body]
    except (SyntaxError, ValueError):  # words
        pending = []
    while pending:
        node = pending.pop()
        written = ast.unparse(node)
        if written in known:
            yield written
        else:
            pending += [each for each in ast.iter_child_nodes(node) if isinstance(each, ast.expr)]


def _tree(function: Any) -> Any:
    found = plain_function(function)
    trees = trees_of(found.__code__) if found is not None else ()
    return trees[0] if len(trees) == 1 and isinstance(trees[0], (ast.FunctionDef, ast.Lambda)) else None


def _returned(tree: ast.AST) -> frozenset[str]:
    """The names that a function returns as they are."""
    values = [each.value for each in ast.walk(tree) if isinstance(each, ast.Return)]
    return frozenset(value.id for value in values if isinstance(value, ast.Name))


def _pairs(tree: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """The targets of assignments, each with its value; of two tuples entry by entry."""
    for node in ast.walk(tree):
        for target in node.targets if isinstance(node, ast.Assign) else ():
            value = node.value  # type: ignore[attr-defined]
            both = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts)
            yield from zip(target.elts, value.elts, strict=True) if both else [(target, value)]  # type: ignore[attr-defined]


def _defined(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The names that are assigned once, each with its value."""
    pairs = [(target.id, value) for target, value in _pairs(tree) if isinstance(target, ast.Name)]
    names = [name for name, _ in pairs]
    return ((name, value) for name, value in pairs if names.count(name) == 1)


def _spread(values: Iterable[ast.expr], defined: Mapping[str, ast.expr]) -> Iterator[ast.expr]:
    """Arguments one by one, as far as the code says what stands behind a star."""
    for value in values:
        if not isinstance(value, ast.Starred):
            yield value
            continue
        held = defined.get(value.value.id, value.value) if isinstance(value.value, ast.Name) else value.value
        if not isinstance(held, (ast.Tuple, ast.List)):
            return
        yield from held.elts


def _kept(tree: Any, defined: Mapping[str, ast.expr]) -> Iterator[tuple[str, int | None, ast.expr]]:
    """What a forward keeps: the place, the position in it where it has several, and the expression."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="save_for_backward"), args=saved):
                yield from (("saved tensor", k, value) for k, value in enumerate(_spread(saved, defined)))
            case ast.Return(value=ast.Tuple(elts=[_, ast.Tuple(elts=cache)])):
                yield from (("entry of the cache", k, value) for k, value in enumerate(cache))
    own = [each.arg for each in tree.args.args][:1]
    for target, value in _pairs(tree):
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id in own:
            yield f"{target.value.id}.{target.attr}", None, value


def _called(rule: Any, place: str, position: int | None) -> str:
    """What the backward calls a kept value; empty where it has no name of its own there."""
    last = [each.arg for each in rule.args.args][-1:]
    for target, value in _pairs(rule):
        if position is None:
            if isinstance(target, ast.Name) and ast.unparse(value) == place:
                return target.id
            continue
        whole = value.value if isinstance(value, ast.Subscript) else value
        if place == "saved tensor":
            fits = isinstance(whole, ast.Attribute) and whole.attr in _SAVED
        else:
            fits = isinstance(whole, ast.Name) and whole.id in last
        at = value.slice if isinstance(value, ast.Subscript) else None
        if fits and isinstance(at, ast.Constant) and at.value == position and isinstance(target, ast.Name):
            return target.id
        if fits and at is None and isinstance(target, (ast.Tuple, ast.List)) and position < len(target.elts):
            entry = target.elts[position]
            return entry.id if isinstance(entry, ast.Name) and entry.id != "_" else ""
    return ""


def _written(value: ast.expr) -> str:
    """An expression as explanations write it: `torch.exp(x)` and `x.exp()` are both exp(x)."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        if value.func.attr in _SAME_VALUES and not isinstance(value.func.value, ast.Call):
            return _written(value.func.value)
        owner = value.func.value
        of_library = isinstance(owner, ast.Name) and owner.id in ("torch", "np", "numpy", "F", "math")
        arguments = [*([] if of_library else [owner]), *value.args]
        return f"{value.func.attr}({', '.join(map(_written, arguments))})"
    return ast.unparse(value)
