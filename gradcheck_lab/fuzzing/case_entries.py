"""What each entry of a saved case may hold, one row each. A file is compared with these rows before anything is made of it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.calls.kinds import KINDS, PROFILES, WRITTEN
from gradcheck_lab.calls.layouts import LAYOUT_NAMES
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.limits import SAVED_AXES, SAVED_ELEMENTS, SAVED_INPUTS
from gradcheck_lab.model.shown import quoted

FORMAT = "gradcheck_lab case"
SCHEMA = 1
NOT_IMPORTABLE = "?"
DTYPES: Mapping[str, torch.dtype] = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool)
}
_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_SEEDS = range(-(2**63), 2**64)
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Entry:
    """What an entry may hold: `holds` tells, `words` say it; they are a function where they name a limit."""

    words: str | Callable[[], str]
    holds: Callable[[Any], bool]


def one_of(values: Collection[Any]) -> Entry:
    """An entry that holds one of these values, of the same type."""
    words = " or ".join(map(repr, values)) if len(values) < 3 else f"one of {', '.join(map(str, values))}"
    return Entry(words, lambda value: any(type(value) is type(each) and value == each for each in values))


def is_whole(value: Any, among: range) -> bool:
    """Whether a value is a whole number of a range; True is none."""
    return type(value) is int and value in among


def is_plain(value: Any) -> bool:
    """Whether a value is null, true, false, a finite number, a text, or a list or table of these."""
    if isinstance(value, list):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(each) for key, each in value.items())
    return value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value))


def is_target(value: Any) -> bool:
    """Whether a value has the form `pkg.module:name`."""
    return isinstance(value, str) and _TARGET.fullmatch(value) is not None


def is_shape(value: Any) -> bool:
    """Whether a value is a list of sizes, not too many and none too large."""
    sizes = range(SAVED_ELEMENTS.value + 1)
    return isinstance(value, list) and len(value) <= SAVED_AXES.value and all(is_whole(size, sizes) for size in value)


def are_tables(value: Any) -> bool:
    """Whether a value is a list of tables, not too many."""
    return isinstance(value, list) and len(value) <= SAVED_INPUTS.value and all(isinstance(each, dict) for each in value)


def _inputs_words() -> str:
    return f"a list of at most {SAVED_INPUTS.value} tables"


def _shape_words() -> str:
    return f"a list of at most {SAVED_AXES.value} whole numbers from 0 to {SAVED_ELEMENTS.value}"


TEXT = Entry("a text", lambda value: isinstance(value, str))
SEED = Entry("a whole number from -2**63 to 2**64 - 1", lambda value: is_whole(value, _SEEDS))
BOUND = Entry("a whole number of 64 bits", lambda value: is_whole(value, _INT64))

CASE: Mapping[str, Entry] = {
    "format": one_of([FORMAT]),
    "schema": one_of([SCHEMA]),
    "subject": TEXT,
    "target": Entry("null or pkg.module:name", lambda value: value is None or is_target(value)),
    "reference": Entry(
        f"null, {NOT_IMPORTABLE!r} or pkg.module:name",
        lambda value: value is None or value == NOT_IMPORTABLE or is_target(value),
    ),
    "order": one_of([1, 2]),
    "allow": Entry(
        "a list of causes",
        lambda value: isinstance(value, list) and all(isinstance(each, str) and each in CAUSES for each in value),
    ),
    "seed": SEED,
    "options": Entry(
        "a table of plain values by the names of options",
        lambda value: isinstance(value, dict) and all(key.isidentifier() and is_plain(each) for key, each in value.items()),
    ),
    "inputs": Entry(_inputs_words, are_tables),
    "finding": TEXT,
    "words": TEXT,
    "python": TEXT,
    "made_with": SEED,
    "wrt": Entry(
        "a list of names and positions",
        lambda value: isinstance(value, list) and all(isinstance(each, str) or is_whole(each, _INT64) for each in value),
    ),
}

TENSOR: Mapping[str, Entry] = {
    "kind": one_of(list(KINDS)),
    "shape": Entry(_shape_words, is_shape),
    "dtype": one_of(list(DTYPES)),
    "layout": one_of(LAYOUT_NAMES),
    "profile": one_of([*PROFILES, WRITTEN]),
}
BY_VALUE: Mapping[str, Entry] = {**TENSOR, "values": Entry("a list", lambda value: isinstance(value, list))}
BY_SEED: Mapping[str, Entry] = {**TENSOR, "seed": SEED, "low": BOUND, "high": BOUND}


def refuse_misfits(data: Mapping[str, Any], entries: Mapping[str, Entry], place: str = "") -> None:
    """Raise `InvalidArgument` for the first entry that is missing, unknown, or holds something else than it may."""
    for key, entry in entries.items():
        if key not in data:
            raise InvalidArgument(f"the entry {place + key!r} is missing")
        if not entry.holds(data[key]):
            words = entry.words if isinstance(entry.words, str) else entry.words()
            raise InvalidArgument(f"the entry {place + key!r} is {quoted(data[key])} and has to be {words}")
    for key in data:
        if key not in entries:
            raise InvalidArgument(f"the entry {quoted(place + str(key))} is unknown")


def refuse_misfit_call(data: Mapping[str, Any]) -> None:
    """Raise `InvalidArgument` for data that are no saved case; what passes can be built, and in reasonable memory."""
    refuse_misfits(data, CASE)
    elements = 0
    for index, tensor in enumerate(data["inputs"]):
        place = f"inputs[{index}]."
        refuse_misfits(tensor, BY_VALUE if "values" in tensor else BY_SEED, place)
        elements += _room(tensor)
        if elements > SAVED_ELEMENTS.value:
            raise InvalidArgument(f"the tensors up to 'inputs[{index}]' need more than {SAVED_ELEMENTS.value} elements")
        _refuse_other_dtype(tensor, place)
        if "values" in tensor:
            _refuse_misfit_values(tensor, place)
        elif KINDS[tensor["kind"]].make is None and tensor["low"] >= tensor["high"]:
            raise InvalidArgument(f"the entry {place + 'high'!r} is {tensor['high']} and has to be above {tensor['low']}")


def _room(tensor: Mapping[str, Any]) -> int:
    """How many elements a tensor is built with: a sliced one has gaps, and torch multiplies the sizes of an empty one too."""
    sliced = tensor["layout"] == "sliced"
    return math.prod(2 * size + 1 if sliced else max(1, size) for size in tensor["shape"])


def _refuse_other_dtype(tensor: Mapping[str, Any], place: str) -> None:
    dtype, own = DTYPES[tensor["dtype"]], KINDS[tensor["kind"]].dtype
    if dtype != own and (own is not None or not dtype.is_floating_point):
        words = "a floating dtype" if own is None else str(own).removeprefix("torch.")
        raise InvalidArgument(f"the entry '{place}dtype' is {tensor['dtype']!r} and has to be {words} for {tensor['kind']}")


def _refuse_misfit_values(tensor: Mapping[str, Any], place: str) -> None:
    dtype, values, count = DTYPES[tensor["dtype"]], tensor["values"], math.prod(tensor["shape"])
    if len(values) != count:
        raise InvalidArgument(f"the entry {place + 'values'!r} has {len(values)} values and the shape has {count}")
    types = (float, int) if dtype.is_floating_point else (bool,) if dtype == torch.bool else (int,)
    for index, value in enumerate(values):
        if type(value) not in types or not _is_in(dtype, value):
            raise InvalidArgument(
                f"the entry '{place}values[{index}]' is {quoted(value)}, which is no {str(dtype).removeprefix('torch.')}"
            )


def _is_in(dtype: torch.dtype, value: float) -> bool:
    if dtype.is_floating_point:
        return abs(value) <= torch.finfo(dtype).max
    return value in _INT64
