"""Frozen data to JSON-safe dicts and back, by the types of their fields.

JSON has no word for numbers that are not finite and for complex ones: these are tagged, `{"float": "nan"}` and
`{"complex": [1.0, 2.0]}`. Tuples become lists, and tuples again.
"""

from __future__ import annotations

import math
import sys
from dataclasses import is_dataclass
from functools import cache
from types import ModuleType, NoneType, UnionType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.files import refuse_deep
from gradcheck_lab.model.limits import REFUSED_ENTRIES
from gradcheck_lab.model.shown import cut, quoted

if TYPE_CHECKING:
    from cattrs import Converter

Data = TypeVar("Data")

_NOT_FINITE = ("nan", "inf", "-inf")


def as_dict(value: Any) -> dict[str, Any]:
    """The fields of a dataclass as JSON-safe data."""
    data: dict[str, Any] = as_data(value)
    return data


def as_data(value: Any) -> Any:
    """Dataclasses, in containers too, as JSON-safe data; what is neither stays as it is."""
    return _cattrs()[1].unstructure(value)


def from_dict(data: dict[str, Any], kind: type[Data], name: str) -> Data:
    """The dataclass of this `kind` that `as_dict` made the data of.

    Raises `InvalidArgument` with the first few entries of the `name` that do not fit. Nothing is converted: a text is no
    number, and a number no text.
    """
    cattrs, converter = _cattrs()
    try:
        refuse_deep(data)
        _refuse_other_containers(data, kind, name)
    except ValueError as error:
        raise InvalidArgument(f"{name} cannot be read: {error}") from None
    try:
        return converter.structure(data, kind)
    except cattrs.BaseValidationError as error:
        wrong = "; ".join(map(cut, cattrs.transform_error(error, path=name)[: REFUSED_ENTRIES.value]))
        raise InvalidArgument(f"{name} cannot be read: {wrong}") from error


@cache
def _cattrs() -> tuple[ModuleType, Converter]:
    """The library and its converter, imported on use: that takes 0.1 s, and most checks write no JSON.

    They are kept together, so that the errors of the converter are those of the library even where it was imported again.
    """
    import cattrs

    converter = cattrs.Converter(unstruct_collection_overrides={tuple: list}, forbid_extra_keys=True)
    converter.register_unstructure_hook(float, _tagged)
    converter.register_unstructure_hook(complex, lambda value: {"complex": [_tagged(value.real), _tagged(value.imag)]})
    for kind in (str, int, bool):
        converter.register_structure_hook(kind, _exactly)
    converter.register_structure_hook(float, lambda data, _: _real(data))
    converter.register_structure_hook(float | complex | None, lambda data, _: _number(data))
    return cattrs, converter


def _tagged(value: float) -> float | dict[str, str]:
    return value if math.isfinite(value) else {"float": repr(value)}


def _exactly(data: Any, kind: type[Any]) -> Any:
    """A text, a whole number or a truth value as it is; cattrs would make one of anything."""
    if not isinstance(data, kind) or isinstance(data, bool) != (kind is bool):
        raise TypeError(f"{quoted(data)} is no {kind.__name__}")
    return data


def _real(data: Any) -> float:
    if isinstance(data, dict) and data.keys() == {"float"} and data["float"] in _NOT_FINITE:
        return float(data["float"])
    if isinstance(data, (int, float)) and not isinstance(data, bool) and abs(data) <= sys.float_info.max:
        return data
    raise ValueError(f"{quoted(data)} is no number")


def _number(data: Any) -> float | complex | None:
    if isinstance(data, dict) and data.keys() == {"complex"} and isinstance(data["complex"], list):
        real, imaginary = map(_real, data["complex"])
        return complex(real, imaginary)
    return None if data is None else _real(data)


def _refuse_other_containers(data: Any, kind: Any, place: str) -> None:
    """Raise `ValueError` where a list or table stands for the other, or a text for a list of its letters."""
    container = _container(kind)
    if container is None or (data is None and isinstance(kind, UnionType)):
        return
    if get_origin(container) is not tuple:
        if not isinstance(data, dict):
            raise ValueError(f"{place} is {quoted(data)} and has to be a table")
        for field, each in _containers_in(container).items():
            if field in data:
                _refuse_other_containers(data[field], each, f"{place}.{field}")
    elif not isinstance(data, (list, tuple)):
        raise ValueError(f"{place} is {quoted(data)} and has to be a list")
    elif _container(get_args(container)[0]) is not None:
        for index, value in enumerate(data):
            _refuse_other_containers(value, get_args(container)[0], f"{place}[{index}]")


@cache
def _container(kind: Any) -> Any:
    """The dataclass, table or list that a type stands for, also where it may be None; None for any other type."""
    if isinstance(kind, UnionType):
        kind = next((each for each in get_args(kind) if each is not NoneType), None)
    return kind if is_dataclass(kind) or get_origin(kind) in (dict, tuple) else None


@cache
def _containers_in(kind: Any) -> dict[str, Any]:
    """The fields of a dataclass that hold containers, with their types; Python makes these of text each time it is asked."""
    hints = get_type_hints(kind) if is_dataclass(kind) else {}
    return {field: each for field, each in hints.items() if _container(each) is not None}
