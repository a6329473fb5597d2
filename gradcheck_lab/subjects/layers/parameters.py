"""Find a layer's parameters, and the attributes in which it stores their gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from gradcheck_lab.errors import InvalidArgument
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
    """A trained array. Its gradient is at a path in `held`, or is entry `returned` of the backward's result."""

    name: str
    path: ObjectPath
    value: Any
    held: tuple[Occurrence, ...] = ()
    returned: int | None = None

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
class _Search:
    """Parameters found so far, by the identity of the array.

    `lost` are arrays that look like parameters and have no gradient; `doubtful` are messages about ambiguous gradients.
    """

    title: str
    code: LayerCode
    found: dict[Any, Parameter] = field(default_factory=dict)
    lost: dict[Any, ObjectPath] = field(default_factory=dict)
    doubtful: list[str] = field(default_factory=list)

    def add(self, path: ObjectPath, value: Any, gradients: Sequence[ObjectPath], returned: int | None = None) -> None:
        key = id(value) if is_array(value) else str(path)
        known = self.found.get(key)
        if known is None:
            self.found[key] = Parameter(str(path), path, value, (Occurrence(path, tuple(gradients)),), returned)
            return
        better = path if path.last.attribute and not known.path.last.attribute else known.path
        held = (*known.held, Occurrence(path, tuple(gradients)))
        self.found[key] = replace(known, name=str(better), path=better, held=held)


def find_parameters(
    layer: Any, title: str, forward: str, returned: Sequence[str] | None, taken: Sequence[str] | None = None
) -> tuple[Parameter, ...]:
    """Pair the arrays on `layer`, and on layers within it, with their gradients by the usual names.

    `returned` are the names that its backward returns. With `taken`, only those are looked for. Raises
    `InvalidArgument` where an array looks like a parameter and its gradient is not found, or is ambiguous.
    """
    search = _Search(title, layer_code(layer, forward))
    for path, owner in owners(layer):
        _pair_attributes(search, path, owner, forward if not path.steps else "forward", returned)
    for path, value in arrays(layer):  # the same array may have a better name: W instead of params[0]
        if id(value) in search.found:
            search.add(path, value, ())
    for key in search.found:
        search.lost.pop(key, None)
    if taken is not None:
        return _taken(search, taken)
    if search.doubtful:
        raise InvalidArgument(search.doubtful[0])
    if search.lost:
        raise InvalidArgument(_cannot_tell(search))
    return tuple(search.found.values())


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


def _pair_attributes(search: _Search, path: ObjectPath, owner: Any, forward: str, returned: Sequence[str] | None) -> None:
    code, held = layer_code(owner, forward), attributes(owner)
    buffers = buffer_names(owner) if isinstance(owner, torch.nn.Module) else set()
    method = getattr(owner, forward, None)
    skipped = code.saved | buffers | set(input_names(method, 9) if method is not None else ())
    available = set(held) | code.names
    candidates = {name: value for name, value in held.items() if name not in skipped and _trainable(value)}
    partner = {name: partners(name, available) for name in candidates}
    gradients = {gradient for found in partner.values() for gradient in found}
    left = []
    for name, value in candidates.items():
        if name in gradients:
            continue
        found = partner[name]
        if not found and path.steps and not callable(getattr(owner, "backward", None)):
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
    search: _Search, path: ObjectPath, left: dict[str, Any], available: set[str], returned: Sequence[str] | None
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
        elif name in CONTAINERS:
            search.lost.update({id(inner): at.item(key) for key, inner in _items(value) if is_array(inner)})


def _pair(
    search: _Search, path: ObjectPath, value: Any, gradient: ObjectPath, filled: Any, others: Sequence[ObjectPath]
) -> None:
    if is_array(value) or is_number(value):
        search.add(path, value, [gradient, *others])
        return
    items = _items(value)
    if isinstance(filled, (list, tuple)) and filled and len(filled) != len(items):
        search.doubtful.append(
            f"{search.title} holds {len(items)} arrays in {str(path)!r} and {len(filled)} gradients in {str(gradient)!r}; "
            f"name them with gl.Layer(obj, grads={{{f'{path}[0]'!r}: {f'{gradient}[0]'!r}, ...}})"
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


def _pair_on_tensors(search: _Search, path: ObjectPath, name: str, value: Any, code: LayerCode) -> bool:
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


def _taken(search: _Search, taken: Sequence[str]) -> tuple[Parameter, ...]:
    known = {str(path): parameter for parameter in search.found.values() for path in _names_of(parameter)}
    for name in taken:
        if name not in known:
            raise InvalidArgument(
                f"cannot tell where {search.title} keeps the gradient of {name!r}; "
                f"name it with gl.Layer(obj, grads={{{name!r}: {_guess(name)!r}}})"
            )
    return tuple(replace(known[name], name=name) for name in taken)


def _names_of(parameter: Parameter) -> Iterator[str]:
    yield from {parameter.name, str(parameter.path)}


def _read(title: str, text: str) -> ObjectPath:
    path = read_path(text) if isinstance(text, str) else None
    if path is None:
        raise InvalidArgument(f"{text!r} names nothing on {title}; write it as 'W', \"grads['W']\", 'grads[0]' or 'W.grad_'")
    return path


def _cannot_tell(search: _Search) -> str:
    names = [str(path) for path in search.lost.values()]
    pairs = ", ".join(f"{name!r}: {_guess(name)!r}" for name in names)
    known = [parameter.name for parameter in search.found.values()]
    return (
        f"cannot tell where {search.title} keeps the gradient of {' and '.join(map(repr, names))}; "
        f"name it with gl.Layer(obj, grads={{{pairs}}}), or leave it out with gl.Layer(obj, parameters={known})"
    )


def _two_gradients(title: str, path: ObjectPath, found: Sequence[str]) -> str:
    return (
        f"{title} keeps {' and '.join(map(repr, found))} for {str(path)!r}; name the one that its backward fills with "
        f"gl.Layer(obj, grads={{{str(path)!r}: {found[0]!r}}})"
    )


def _guess(name: str) -> str:
    return f"d{name}" if name.isidentifier() else name.replace("params", "grads")


def _holds(layer: Any) -> str:
    names = [str(path) for path, _ in arrays(layer)]
    return f"it holds {', '.join(names)}" if names else "it holds no floating array"
