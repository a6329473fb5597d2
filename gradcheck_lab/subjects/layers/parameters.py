"""Find a layer's parameters, and the attributes in which it stores their gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.rules.methods import Methods, methods_of
from gradcheck_lab.rules.naming import input_names
from gradcheck_lab.subjects.layers.code import LayerCode, layer_code
from gradcheck_lab.subjects.layers.gradient_names import (
    CONTAINERS,
    DICTIONARIES,
    ON_OBJECTS,
    ON_TENSORS,
    abbreviated,
    looks_like_parameter,
    partners,
)
from gradcheck_lab.subjects.layers.paths import (
    ObjectPath,
    Step,
    arrays,
    attributes,
    entries,
    is_array,
    is_number,
    owners,
    read_path,
)
from gradcheck_lab.torch_internals import buffer_names


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One path to a trained array, and the paths to its gradient: the first of `gradients` that holds something counts."""

    path: ObjectPath
    gradients: tuple[ObjectPath, ...]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A trained array. Its gradient is at a path in `held`, or is entry `returned` of the backward's result.

    That of one that is `stepped` is what the backward's own step of it was made of.
    """

    name: str
    path: ObjectPath
    value: Any
    held: tuple[Occurrence, ...] = ()
    returned: int | None = None
    stepped: bool = False

    @property
    def gradients(self) -> tuple[ObjectPath, ...]:
        """Every path where its gradient may be."""
        return tuple(path for held in self.held for path in held.gradients)

    def gradient(self, layer: Any) -> Any:
        """Its gradient on `layer` after a backward; None where there is none.

        For an array shared by several sublayers it is the sum of their gradients. A gradient on an outer object already has
        those of the layers inside it, and an object with two containers of gradients is counted once.
        """
        taken: list[tuple[tuple[Step, ...], str]] = []
        parts: list[Any] = []
        for held in sorted(self.held, key=lambda held: len(held.path.holder[0])):
            owner, container = held.path.holder
            if any(owner[: len(o)] == o and (len(o) < len(owner) or c != container) for o, c in taken):
                continue
            part = next((found for path in held.gradients if (found := path.find(layer)) is not None), None)
            if part is not None:
                taken.append((owner, container))
                if not any(part is other for other in parts):
                    parts.append(part)
        return None if not parts else parts[0] if len(parts) == 1 else sum(parts[1:], parts[0])


@dataclass
class Search:
    """Parameters found so far, by the identity of the array.

    `lost` are arrays that look like parameters and have no gradient, `others` arrays of other names without one; `doubtful`
    are messages about ambiguous gradients. `kept` are the paths of attributes that calls of the forward leave as they are, as
    far as a trial has shown it.
    """

    title: str
    code: LayerCode
    kept: frozenset[str] = frozenset()
    found: dict[Any, Parameter] = field(default_factory=dict)
    lost: dict[Any, ObjectPath] = field(default_factory=dict)
    others: dict[Any, ObjectPath] = field(default_factory=dict)
    doubtful: list[tuple[str, str]] = field(default_factory=list)

    def add(self, path: ObjectPath, value: Any, gradients: Sequence[ObjectPath], returned: int | None = None) -> None:
        key = id(value) if is_array(value) else str(path)
        known = self.found.get(key)
        if known is None:
            self.found[key] = Parameter(str(path), path, value, (Occurrence(path, tuple(gradients)),), returned)
            return
        better = path if path.last.attribute and not known.path.last.attribute else known.path
        held = (*known.held, Occurrence(path, tuple(gradients)))
        self.found[key] = replace(known, name=str(better), path=better, held=held)


def search_parameters(
    layer: Any, title: str, methods: Methods, returned: Sequence[str] | None, kept: frozenset[str] = frozenset()
) -> Search:
    """Pair the arrays on `layer`, and on layers within it, with their gradients by the usual names.

    `returned` are the names that its backward returns, `kept` the paths of attributes that calls of the forward leave alone.
    """
    search = Search(title, layer_code(layer, methods), kept)
    for path, owner in owners(layer):
        pair = methods if not path.steps else methods_of(owner) or Methods("forward", "backward")
        _pair_attributes(search, path, owner, pair, returned)
    for path, value in arrays(layer):  # the same array may have a better name: W instead of params[0]
        if id(value) in search.found:
            search.add(path, value, ())
    for key in search.found:
        search.lost.pop(key, None)
    return search


def named_parameters(layer: Any, title: str, grads: Mapping[str, str], automatic: Sequence[Parameter]) -> tuple[Parameter, ...]:
    """The parameters whose gradients the user named; raises `InvalidArgument` for a name that the layer does not have."""
    found = {parameter.name: parameter for parameter in automatic}
    for name, gradient in grads.items():
        path, at = _read(title, name), _read(title, gradient)
        value = path.find(layer)
        if not (is_array(value) or is_number(value)):
            kind = "has no" if value is None else f"holds a {type(value).__name__} in"
            raise InvalidArgument(f"{title} {kind} {name!r}; {_holds(layer)}")
        found[name] = Parameter(name, path, value, (Occurrence(path, (at,)),))
    return tuple(found.values())


def _pair_attributes(search: Search, path: ObjectPath, owner: Any, pair: Methods, returned: Sequence[str] | None) -> None:
    code, held = layer_code(owner, pair), attributes(owner)
    buffers = buffer_names(owner) if isinstance(owner, torch.nn.Module) else set()
    method = getattr(owner, pair.forward, None)
    saved = {name for name in code.saved if str(path.attribute(name)) not in search.kept}
    skipped = saved | buffers | set(input_names(method, 9) if method is not None else ())
    available = set(held) | code.names
    candidates = {name: value for name, value in held.items() if name not in skipped and _trainable(value)}
    partner = {name: partners(name, available) for name in candidates}
    gradients = {gradient for found in partner.values() for gradient in found}
    left = []
    for name, value in candidates.items():
        if name in gradients:
            continue
        found = partner[name]
        if not found and path.steps and not callable(getattr(owner, pair.backward, None)):
            found = [gradient for gradient in ON_OBJECTS if gradient in available][:1]
        if len(found) > 1:
            search.doubtful.append(_two_gradients(search.title, path.attribute(name), found))
        elif found:
            also = _in_dictionary(path, name, held)
            _pair(search, path.attribute(name), value, path.attribute(found[0]), held.get(found[0]), also)
        elif not _pair_on_tensors(search, path.attribute(name), name, value, code):
            also = _in_dictionary(path, name, held)
            if also and is_array(value):
                search.add(path.attribute(name), value, also)
            else:
                left.append(name)
    _pair_leftovers(search, path, {name: held[name] for name in left}, available - gradients, returned)


def _pair_leftovers(
    search: Search, path: ObjectPath, left: dict[str, Any], available: set[str], returned: Sequence[str] | None
) -> None:
    likely = [n for n, v in left.items() if is_array(v) and (looks_like_parameter(n) or isinstance(v, torch.nn.Parameter))]
    short = abbreviated(likely, available)
    for name, value in left.items():
        at = path.attribute(name)
        named = partners(name, returned or ()) if not path.steps else []
        if name in short:
            search.add(at, value, [path.attribute(short[name])])
        elif named and returned is not None and is_array(value):
            search.add(at, value, (), returned=list(returned).index(named[0]))
        elif name in likely:
            search.lost[id(value)] = at
        else:
            items = [] if is_array(value) else _items(value)
            inside = {}
            for key, inner in items:
                named = partners(str(key), returned or ()) if not path.steps else []
                if named and is_array(inner):
                    search.add(at.item(key), inner, (), returned=list(returned or ()).index(named[0]))
                elif is_array(inner):
                    inside[id(inner)] = at.item(key)
            kind = search.lost if name in CONTAINERS else search.others
            kind.update({id(value): at} if is_array(value) else inside)


def _pair(
    search: Search, path: ObjectPath, value: Any, gradient: ObjectPath, filled: Any, others: Sequence[ObjectPath]
) -> None:
    if is_array(value) or is_number(value):
        search.add(path, value, [gradient, *others])
        return
    items = _items(value)
    if isinstance(filled, (list, tuple)) and filled and len(filled) != len(items):
        search.doubtful.append(
            (
                f"{search.title} holds {len(items)} arrays in {str(path)!r} and {len(filled)} gradients in {str(gradient)!r}",
                f"name them with gl.Layer(obj, grads={{{f'{path}[0]'!r}: {f'{gradient}[0]'!r}, ...}})",
            )
        )
        return
    for key, inner in items:
        if is_array(inner) or is_number(inner):
            also = [gradient.item(f"d{key}")] if isinstance(key, str) else []
            search.add(path.item(key), inner, [gradient.item(key), *also])


def _in_dictionary(path: ObjectPath, name: str, held: Mapping[str, Any]) -> list[ObjectPath]:
    """The paths of a gradient in a dictionary such as `self.grads["W"]`, where that is empty or has the parameter's name."""
    keys = [name, f"d{name}"]
    for container in DICTIONARIES:
        kept = held.get(container)
        if isinstance(kept, dict) and (any(key in kept for key in keys) or (not kept and looks_like_parameter(name))):
            return [path.attribute(container).item(key) for key in keys]
    return []


def _pair_on_tensors(search: Search, path: ObjectPath, name: str, value: Any, code: LayerCode) -> bool:
    """Pair tensors with gradients that are their own attributes: `W.grad_`, `W.g`, `W.grad`."""
    found = False
    inside = [(path, value)] if is_array(value) else [(path.item(key), v) for key, v in _items(value)]
    for at, tensor in inside:
        if not isinstance(tensor, torch.Tensor):
            continue
        likely = looks_like_parameter(name) or name in CONTAINERS or isinstance(tensor, torch.nn.Parameter)
        for attribute in ON_TENSORS:
            parents = {stored.parent for stored in code.stored + search.code.stored if stored.name == attribute}
            if name in parents or ("" in parents and likely) or attribute in vars(tensor):
                search.add(at, tensor, [at.attribute(attribute)])
                found = True
                break
    return found


def _trainable(value: Any) -> bool:
    if isinstance(value, (list, tuple, dict)):
        return any(is_array(inner) for _, inner in _items(value))
    return is_array(value) or is_number(value)


def _items(value: Any) -> list[tuple[Any, Any]]:
    return entries(value) if isinstance(value, (list, tuple, dict)) else []


def taken(search: Search, names: Sequence[str]) -> tuple[Parameter, ...]:
    """The parameters of these names; raises `InvalidArgument` for one whose gradient was not found."""
    known = {str(path): parameter for parameter in search.found.values() for path in _names_of(parameter)}
    for name in names:
        if name not in known:
            raise InvalidArgument(
                f"cannot tell where {search.title} keeps the gradient of {name!r}; "
                f"name it with gl.Layer(obj, grads={{{name!r}: {_guess(name)!r}}})"
            )
    return tuple(replace(known[name], name=name) for name in names)


def _names_of(parameter: Parameter) -> Iterator[str]:
    yield from {parameter.name, str(parameter.path)}


def _read(title: str, text: str) -> ObjectPath:
    path = read_path(text) if isinstance(text, str) else None
    if path is None:
        raise InvalidArgument(f"{text!r} names nothing on {title}; write it as 'W', \"grads['W']\", 'grads[0]' or 'W.grad_'")
    return path


def cannot_tell(search: Search, lost: Sequence[ObjectPath], hints: Mapping[str, str]) -> tuple[str, str]:
    """The problem and the fix for arrays whose gradients are not found; `hints` are stored arrays of their shape."""
    names = [str(path) for path in lost]
    pairs = ", ".join(f"{name!r}: {hints.get(name, _guess(name))!r}" for name in names)
    known = [parameter.name for parameter in search.found.values()]
    return (
        f"cannot tell where {search.title} keeps the gradient of {' and '.join(map(repr, names))}",
        f"name it with gl.Layer(obj, grads={{{pairs}}}), or leave it out with gl.Layer(obj, parameters={known})"
    )


def _two_gradients(title: str, path: ObjectPath, found: Sequence[str]) -> tuple[str, str]:
    return (
        f"{title} keeps {' and '.join(map(repr, found))} for {str(path)!r}",
        f"name the one that its backward fills with gl.Layer(obj, grads={{{str(path)!r}: {found[0]!r}}})"
    )


def _guess(name: str) -> str:
    owner, dot, last = name.rpartition(".")
    return f"{owner}{dot}d{last}" if last.isidentifier() else name.replace("params", "grads")


def _holds(layer: Any) -> str:
    names = [str(path) for path, _ in arrays(layer)]
    return f"it holds {', '.join(names)}" if names else "it holds no floating array"
