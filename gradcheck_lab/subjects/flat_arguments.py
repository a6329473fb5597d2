"""Flatten a call's arguments: the leaves of dicts, lists, NamedTuples and dataclasses, each with its path as a name."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.torch_internals import pytree

Rebuild = Callable[[Iterator[Any]], Any]


@dataclass(frozen=True, slots=True)
class FlatArguments:
    """Flattened arguments: `leaves` with `names` and `labels`; `rebuild` makes arguments from other leaves."""

    leaves: tuple[Any, ...]
    names: tuple[str, ...]
    labels: tuple[str, ...]
    rebuild: Callable[[Sequence[Any]], tuple[Any, ...]]


def flatten_arguments(arguments: Sequence[Any], names: Sequence[str]) -> FlatArguments:
    """Flatten the positional arguments of a call; `params['W']`, `state.h` and `xs[0]` are names of leaves.

    >>> flat = flatten_arguments([{"W": torch.ones(2)}, torch.zeros(1)], ["params", "x"])
    >>> flat.names
    ("params['W']", 'x')
    >>> flat.rebuild([1, 2])
    ({'W': 1}, 2)
    """
    flat: list[tuple[str, str, Any]] = []
    builders: list[Rebuild] = []
    for index, (name, argument) in enumerate(zip(names, arguments, strict=True)):
        found, build = _flatten(argument, name)
        flat += [(path, f"input {index} {path!r}", leaf) for path, leaf in found]
        builders.append(build)

    def rebuild(leaves: Sequence[Any]) -> tuple[Any, ...]:
        following = iter(leaves)
        return tuple(build(following) for build in builders)

    paths, labels, leaves = zip(*flat, strict=True) if flat else ((), (), ())
    return FlatArguments(tuple(leaves), tuple(paths), tuple(labels), rebuild)


def tensors_of(value: Any) -> tuple[torch.Tensor, ...]:
    """The tensors inside a result, in the order of its structure."""
    if isinstance(value, torch.Tensor):
        return (value,)
    return tuple(leaf for _, leaf in _flatten(value, "")[0] if isinstance(leaf, torch.Tensor))


def _flatten(value: Any, name: str) -> tuple[list[tuple[str, Any]], Rebuild]:
    if _is_record(value):
        return _flatten_record(value, name)
    try:
        pairs, spec = pytree.tree_flatten_with_path(value, is_leaf=_is_record)
    except RecursionError:
        raise InvalidArgument(f"{name or 'the output'} is nested too deep to be gone through; use fewer levels") from None
    leaves: list[tuple[str, Any]] = []
    builders: list[Rebuild] = []
    for path, leaf in pairs:
        place = name + pytree.keystr(path)
        if _is_record(leaf):
            found, build = _flatten_record(leaf, place)
            leaves += found
            builders.append(build)
        else:
            leaves.append((place, leaf))
            builders.append(next)
    return leaves, lambda following: pytree.tree_unflatten([build(following) for build in builders], spec)


def _flatten_record(value: Any, name: str) -> tuple[list[tuple[str, Any]], Rebuild]:
    leaves: list[tuple[str, Any]] = []
    builders: dict[str, Rebuild] = {}
    for field in dataclasses.fields(value):
        found, builders[field.name] = _flatten(getattr(value, field.name), f"{name}.{field.name}")
        leaves += found

    def rebuild(following: Iterator[Any]) -> Any:
        made = copy.copy(value)  # copied, because __init__ may compute and validate
        for field, build in builders.items():
            object.__setattr__(made, field, build(following))
        return made

    return leaves, rebuild


def _is_record(value: Any) -> bool:
    if not dataclasses.is_dataclass(value) or isinstance(value, (type, torch.nn.Module)):
        return False
    return type(value) not in pytree.SUPPORTED_NODES
