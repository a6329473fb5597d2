"""What a backward returned, as entries in a fixed order: lists are taken apart, and a dict of gradients by name as well."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.layers.gradient_names import partners

_LAST_KEY = re.compile(r"\['([^']*)'\]$")


def keys_of(returned: Any) -> tuple[str | None, ...]:
    """For each entry of a result that has dicts of gradients in it, its key there, None for one beside them; else nothing.

    >>> keys_of((1.0, {"W": 2.0, "b": {"hidden": 3.0}}))
    (None, 'W', 'hidden')
    """
    found = [key for key, _ in _items(returned)]
    return tuple(found) if any(key is not None for key in found) else ()


def entries_of(returned: Any, keys: Sequence[str | None] = ()) -> list[Any]:
    """The entries of a result, those with `keys` in that order and None for a key that it does not have.

    >>> entries_of({"b": 3.0, "W": 2.0}, ("W", "b")), entries_of((1.0, [2.0, 3.0]))
    ([2.0, 3.0], [1.0, 2.0, 3.0])
    """
    items = list(_items(returned))
    if not keys:
        return [value for _, value in items]
    named = {key: value for key, value in items if key is not None}
    beside = [value for key, value in items if key is None]
    ordered = iter(beside)
    return [named.get(key) if key is not None else next(ordered, None) for key in keys] + list(ordered)


def entry_of(name: str, keys: Sequence[str | None]) -> int | None:
    """The entry whose key says that it is the gradient of `name`: `W`, `dW` or `grad_W` for `W` and `params['W']`."""
    plain = last_key(name)
    named = [key for key in keys if key is not None]
    exact = [key for key in named if key == plain] or partners(plain, named)
    return list(keys).index(exact[0]) if len(exact) == 1 else None


def last_key(name: str) -> str:
    """The key at the end of a path, `W` of `params['W']`; the whole name of anything else."""
    found = _LAST_KEY.search(name)
    return found.group(1) if found else name


def _items(returned: Any) -> Iterator[tuple[str | None, Any]]:
    for entry in as_tuple(returned):
        if isinstance(entry, Mapping):
            yield from _named(entry)
        elif type(entry) in (list, tuple):
            for inner in entry:
                yield from _named(inner) if isinstance(inner, Mapping) else [(None, inner)]
        else:
            yield None, entry


def _named(entry: Mapping[Any, Any]) -> Iterator[tuple[str | None, Any]]:
    for key, value in entry.items():
        if isinstance(value, Mapping):
            yield from _named(value)
        else:
            yield str(key), value
