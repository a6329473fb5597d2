"""The JSON Schema (draft 2020-12) of a report's data, from the types of its fields."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

_NOT_FINITE = {"type": "object", "properties": {"float": {"enum": ["nan", "inf", "-inf"]}}, "required": ["float"]}
_REAL = {"anyOf": [{"type": "number"}, {**_NOT_FINITE, "additionalProperties": False}]}
_COMPLEX = {
    "type": "object",
    "properties": {"complex": {"type": "array", "items": _REAL, "minItems": 2, "maxItems": 2}},
    "required": ["complex"],
    "additionalProperties": False,
}
_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"}, int: {"type": "integer"}, bool: {"type": "boolean"}, float: _REAL, complex: _COMPLEX,
    NoneType: {"type": "null"}, Any: {},
}  # fmt: skip


def json_schema(kind: type[Any], title: str) -> dict[str, Any]:
    """The schema of what `as_dict` makes of a dataclass; numbers that are not finite and complex ones are tagged there."""
    definitions: dict[str, Any] = {}
    root = _schema(kind, definitions)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **root, "$defs": definitions}


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if kind in _PLAIN:
        return _PLAIN[kind]
    if is_dataclass(kind) and isinstance(kind, type):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}  # known while its own fields are read
            definitions[kind.__name__] = _table(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    origin, given = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"enum": list(given)}
    if origin is tuple:
        return {"type": "array", "items": _schema(given[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(given[1], definitions)}
    if origin is UnionType:
        return {"anyOf": [_schema(each, definitions) for each in given]}
    raise TypeError(f"a report has no field of type {kind}")


def _table(kind: type[Any], definitions: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    needed = [each.name for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING]
    return {
        "type": "object",
        "properties": {each.name: _schema(hints[each.name], definitions) for each in fields(kind)},
        "required": needed,
        "additionalProperties": False,
    }
