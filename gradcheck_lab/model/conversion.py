"""Frozen data to JSON-safe dicts and back, by the types of their fields.

JSON has no word for numbers that are not finite and for complex ones: these are tagged, `{"float": "nan"}` and
`{"complex": [1.0, 2.0]}`. Tuples become lists, and tuples again.
"""

from __future__ import annotations

import math
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from gradcheck_lab.errors import InvalidArgument

if TYPE_CHECKING:
    from cattrs import Converter

Data = TypeVar("Data")


def as_dict(value: Any) -> dict[str, Any]:
    """The fields of a dataclass as JSON-safe data."""
    data: dict[str, Any] = _cattrs()[1].unstructure(value)
    return data


def from_dict(data: dict[str, Any], kind: type[Data], name: str) -> Data:
    """The dataclass of this `kind` that `as_dict` made the data of.

    Raises `InvalidArgument` with each entry of the `name` that does not fit.
    """
    cattrs, converter = _cattrs()
    try:
        return converter.structure(data, kind)
    except cattrs.BaseValidationError as error:
        wrong = "; ".join(cattrs.transform_error(error, path=name))
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
    converter.register_structure_hook(float, lambda data, _: _real(data))
    converter.register_structure_hook(float | complex | None, lambda data, _: _number(data))
    return cattrs, converter


def _tagged(value: float) -> float | dict[str, str]:
    return value if math.isfinite(value) else {"float": repr(value)}


def _real(data: Any) -> float:
    if isinstance(data, dict) and data.keys() == {"float"}:
        return float(data["float"])
    if isinstance(data, (int, float)):
        return data
    raise ValueError(f"{data!r} is no number")


def _number(data: Any) -> float | complex | None:
    if isinstance(data, dict) and data.keys() == {"complex"}:
        return complex(*map(_real, data["complex"]))
    return None if data is None else _real(data)
