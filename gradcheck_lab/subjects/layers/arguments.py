"""The arguments of a layer's call as flat inputs: lists, tuples and dicts of arrays are taken apart, and built again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True, slots=True)
class Arguments:
    """Flat `leaves` with their `names` (`xs[0]`, `params['W']`); `layout` has, for each argument, where its leaves are."""

    leaves: tuple[Any, ...]
    names: tuple[str, ...]
    layout: tuple[Any, ...]

    @property
    def nested(self) -> bool:
        """Whether an argument holds several leaves."""
        return any(not isinstance(place, int) for place in self.layout)

    def rebuild(self, leaves: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments made of other leaves."""
        return tuple(built(place, leaves) for place in self.layout)


def arguments_of(inputs: Sequence[Any], names: Sequence[str]) -> Arguments:
    """Take the containers of arrays among `inputs` apart.

    >>> import numpy as np
    >>> found = arguments_of([[np.ones(2), np.zeros(1)], 3], ["xs", "n"])
    >>> found.names, found.rebuild([1, 2, 3])
    (('xs[0]', 'xs[1]', 'n'), ([1, 2], 3))
    """
    leaves: list[Any] = []
    found: list[str] = []
    layout = tuple(taken_apart(value, name, leaves, found, _holds_arrays) for value, name in zip(inputs, names, strict=True))
    return Arguments(tuple(leaves), tuple(found), layout)


def built(place: Any, leaves: Sequence[Any]) -> Any:
    """The argument whose leaves are at `place`."""
    if isinstance(place, dict):
        return {key: built(inner, leaves) for key, inner in place.items()}
    if isinstance(place, list):
        return [built(inner, leaves) for inner in place]
    if isinstance(place, tuple):
        return tuple([built(inner, leaves) for inner in place])
    return leaves[place]


def taken_apart(value: Any, name: str, leaves: list[Any], names: list[str], holds_leaves: Callable[[Any], bool]) -> Any:
    """The layout of one argument; its leaves and their names are appended. `holds_leaves` says which containers are opened."""
    if type(value) in (list, tuple, dict) and holds_leaves(value):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        places = {key: taken_apart(inner, f"{name}[{key!r}]", leaves, names, holds_leaves) for key, inner in items}
        return places if isinstance(value, dict) else type(value)(places.values())
    leaves.append(value)
    names.append(name)
    return len(leaves) - 1


def _holds_arrays(value: Any) -> bool:
    items = value.values() if isinstance(value, dict) else value
    return any(
        (isinstance(v, (np.ndarray, torch.Tensor)) and v.ndim > 0) or (type(v) in (list, tuple, dict) and _holds_arrays(v))
        for v in items
    )
